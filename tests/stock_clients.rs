//! Programs of other makers speak with the appliance: each is given what `zzdot identity` prints, and
//! must refuse when it is given something else.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use support::program::{Running, find, run};
use tempfile::TempDir;

/// The pin of nobody: 32 zeros.
const OTHER_PIN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn stubby_resolves_with_the_printed_pin_and_not_with_another() {
    let appliance = Appliance::start();
    let question = format!("server-type.{}", appliance.name);

    let stubby = Stubby::start(&appliance, &appliance.pin);
    let answer = dig(stubby.port, &[&question, "TXT"]);
    assert!(answer.contains("status: NOERROR"), "{answer}");
    assert!(answer.contains("\"forwarder\""), "{answer}");

    let stubby = Stubby::start(&appliance, OTHER_PIN);
    let answer = dig(stubby.port, &[&question, "TXT"]);
    assert!(!answer.contains("status: NOERROR"), "{answer}");
    assert!(!answer.contains("\"forwarder\""), "{answer}");
}

#[test]
fn kdig_accepts_the_printed_pin_and_no_other_over_tls() {
    let appliance = Appliance::start();
    let kdig = |pin: &str| {
        let output = Command::new(find("kdig", "knot-dnsutils"))
            .args(["@127.0.0.1", "-p", &appliance.dot.to_string()])
            .arg(format!("+tls-pin={pin}"))
            .args([
                "+padding",
                "+nocookie",
                &format!("server-type.{}", appliance.name),
                "TXT",
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let answer = kdig(&appliance.pin);
    assert!(answer.contains("\"forwarder\""), "{answer}");
    assert!(answer.contains("TLS1.3"), "{answer}");
    assert!(answer.contains("Received 468 B"), "padded to 468: {answer}");
    assert!(!kdig(OTHER_PIN).contains("\"forwarder\""));
}

#[test]
fn openssl_verifies_the_printed_tlsa_by_dane_and_refuses_another() {
    let appliance = Appliance::start();
    let verify = |tlsa: &str, version: &str| {
        let output = Command::new(find("openssl", "openssl"))
            .args([
                "s_client",
                "-brief",
                "-verify_return_error",
                "-alpn",
                "dot",
                version,
            ])
            .args(["-connect", &format!("127.0.0.1:{}", appliance.dot)])
            .args([
                "-dane_tlsa_domain",
                &appliance.name,
                "-dane_tlsa_rrdata",
                tlsa,
            ])
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let tlsa = format!("3 1 1 {}", hex(&appliance.pin));
    for version in ["-tls1_3", "-tls1_2"] {
        let (accepted, told) = verify(&tlsa, version);
        assert!(
            accepted && told.contains("Verification: OK"),
            "{version}: {told}"
        );
        assert!(told.contains("matched EE certificate"), "{version}: {told}");
    }
    let (accepted, told) = verify(&format!("3 1 1 {}", "00".repeat(32)), "-tls1_3");
    assert!(!accepted, "{told}");
}

#[test]
fn delv_validates_both_zones_from_the_printed_anchor() {
    let appliance = Appliance::start();
    let anchors = appliance.folder.path().join("anchors");
    let printed = run(Command::new(env!("CARGO_BIN_EXE_zzdot"))
        .args(["identity", "--trust-anchor", "--state-dir"])
        .arg(appliance.folder.path().join("state")));
    std::fs::write(
        &anchors,
        bind_clause(&String::from_utf8(printed.stdout).unwrap()),
    )
    .unwrap();

    let delv = |zone: &str, name: &str, rtype: &str| {
        let output = Command::new(find("delv", "bind9-dnsutils"))
            .args(["@127.0.0.1", "-p", &appliance.dns.to_string(), "-a"])
            .arg(&anchors)
            .args([&format!("+root={zone}"), name, rtype])
            .output()
            .unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let name = &appliance.name;
    for (zone, owner, rtype) in [
        ("resolver-name.arpa", "resolver-name.arpa".to_owned(), "NS"),
        (
            "resolver-name.arpa",
            format!("{name}.resolver-name.arpa"),
            "KEY",
        ),
        (name, name.clone(), "A"),
        (name, format!("_dns.{name}"), "TYPE64"),
        (name, format!("_{}._tcp.{name}", appliance.dot), "TLSA"),
    ] {
        let told = delv(zone, &owner, rtype);
        assert!(
            told.contains("; fully validated"),
            "{owner} {rtype}: {told}"
        );
    }
    // Denials: below an empty non-terminal, of a type, of names all over the zone.
    let mut denied = vec![
        (name.as_str(), format!("_tcp.{name}"), "A"),
        (name.as_str(), name.clone(), "MX"),
        (name.as_str(), format!("*.{name}"), "A"),
        (
            "resolver-name.arpa",
            "zzzz.resolver-name.arpa".to_owned(),
            "KEY",
        ),
    ];
    for letter in "a0_zm~".chars() {
        denied.push((name, format!("{letter}x.{name}"), "A"));
        denied.push((name, format!("{letter}._tcp.{name}"), "A"));
        denied.push((
            "resolver-name.arpa",
            format!("{letter}.resolver-name.arpa"),
            "A",
        ));
    }
    for (zone, owner, rtype) in denied {
        let told = delv(zone, &owner, rtype);
        assert!(
            told.contains("; negative response, fully validated"),
            "{owner} {rtype}: {told}"
        );
    }
}

/// An appliance on loopback, in a folder of its own. Its own zones are all that is asked for.
struct Appliance {
    folder: TempDir,
    dns: u16,
    dot: u16,
    name: String,
    pin: String,
    _running: Running,
}

impl Appliance {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (dns, dot, nobody) = (free_port(), free_port(), free_port());
        let config = folder.path().join("zzdot.toml");
        let state = folder.path().join("state");
        std::fs::write(
            &config,
            format!(
                "state-dir = {state:?}\n[listen]\ndns = [\"127.0.0.1:{dns}\"]\ndot = [\"127.0.0.1:{dot}\"]\n\
                 [resolve]\nupstreams = [\"127.0.0.1:{nobody}\"]\n"
            ),
        )
        .unwrap();
        let log = folder.path().join("log");
        let running = Running::start(
            Command::new(env!("CARGO_BIN_EXE_zzdot"))
                .args(["serve", "--config"])
                .arg(&config),
            &log,
        );
        wait_for_port(dot, &log);
        let printed = run(Command::new(env!("CARGO_BIN_EXE_zzdot"))
            .args(["identity", "--json", "--config"])
            .arg(&config));
        let identity: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
        let pin = identity["pin"]
            .as_str()
            .unwrap()
            .strip_prefix("sha256/")
            .unwrap()
            .to_owned();
        let name = identity["name"].as_str().unwrap().to_owned();
        Self {
            folder,
            dns,
            dot,
            name,
            pin,
            _running: running,
        }
    }
}

struct Stubby {
    port: u16,
    _folder: TempDir,
    _running: Running,
}

impl Stubby {
    fn start(appliance: &Appliance, pin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = folder.path().join("stubby.yml");
        std::fs::write(
            &config,
            format!(
                "resolution_type: GETDNS_RESOLUTION_STUB\n\
                 dns_transport_list: [GETDNS_TRANSPORT_TLS]\n\
                 tls_authentication: GETDNS_AUTHENTICATION_REQUIRED\n\
                 listen_addresses: [127.0.0.1@{port}]\n\
                 timeout: 3000\n\
                 upstream_recursive_servers:\n  - address_data: 127.0.0.1\n    tls_port: {}\n    \
                 tls_pubkey_pinset:\n      - digest: \"sha256\"\n        value: {pin}\n",
                appliance.dot
            ),
        )
        .unwrap();
        let log = folder.path().join("log");
        let running = Running::start(
            Command::new(find("stubby", "stubby"))
                .arg("-C")
                .arg(&config),
            &log,
        );
        wait_for_port(port, &log);
        Self {
            port,
            _folder: folder,
            _running: running,
        }
    }
}

fn dig(port: u16, question: &[&str]) -> String {
    let output = Command::new(find("dig", "bind9-dnsutils"))
        .args([
            "@127.0.0.1",
            "-p",
            &port.to_string(),
            "+tries=1",
            "+time=10",
        ])
        .args(question)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// `zzdot identity --trust-anchor` as the clause that delv reads: its DNSKEY lines, requoted.
fn bind_clause(master_file: &str) -> String {
    let mut clause = String::from("trust-anchors {\n");
    for line in master_file.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [
            owner,
            _ttl,
            "IN",
            "DNSKEY",
            flags,
            protocol,
            algorithm,
            key @ ..,
        ] = &fields[..]
        {
            let key = key.concat();
            clause += &format!("  {owner} static-key {flags} {protocol} {algorithm} \"{key}\";\n");
        }
    }
    clause + "};\n"
}

fn hex(pin: &str) -> String {
    let octets = data_encoding::BASE64.decode(pin.as_bytes()).unwrap();
    data_encoding::HEXLOWER.encode(&octets)
}

/// A port that was free on UDP and TCP a moment ago.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn wait_for_port(port: u16, log: &Path) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let patience = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(address).is_err() {
        assert!(
            Instant::now() < patience,
            "nobody listens on {address}: {}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
