//! A small signed internet on loopback: a root, a top-level domain and leaf zones, served by NSD on
//! port 53 of addresses of 127.0.0.0/8, with unbound as the resolver to compare with.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::program::{self, Running};

/// The servers of one internet.
pub struct Internet {
    folder: tempfile::TempDir,
    servers: Vec<Running>,
    /// Root hints in master-file form.
    pub hints: PathBuf,
    /// The root's key in master-file form.
    pub anchor: PathBuf,
    /// Where unbound answers, resolving in the same internet.
    pub unbound: SocketAddr,
}

const SOA: &str = "@ 300 IN SOA ns hostmaster 1 3600 600 86400 60\n";

const SIGNED: &str = "
@ 300 IN NS ns
ns 300 IN A NET.3
www 300 IN A 192.0.2.1
www 300 IN AAAA 2001:db8::1
alias 300 IN CNAME www
c1 300 IN CNAME c2
c2 300 IN CNAME c3.unsigned.test.
cross 300 IN CNAME www.unsigned.test.
far 300 IN CNAME www.nsec3.test.
gone 300 IN CNAME nothing
gone-far 300 IN CNAME nothing.nsec3.test.
nodata-far 300 IN CNAME www.nsec3.test.
to-bogus 300 IN CNAME www.bogus.test.
to-island 300 IN CNAME www.child.island.unsigned.test.
loop1 300 IN CNAME loop2
loop2 300 IN CNAME loop1
*.wild 300 IN A 192.0.2.7
a.b.c.ent 300 IN A 192.0.2.8
mail 300 IN MX 10 www
_sip._tcp 300 IN SRV 1 2 5060 www
";

const UNSIGNED: &str = "
@ 300 IN NS ns
ns 300 IN A NET.3
www 300 IN A 192.0.2.2
c3 300 IN CNAME www.nsec3.test.
back 300 IN CNAME www.signed.test.
gone 300 IN CNAME nothing.signed.test.
";

const PLAIN: &str = "
@ 300 IN NS ns
ns 300 IN A NET.3
www 300 IN A 192.0.2.3
a.b.c.ent 300 IN A 192.0.2.8
*.wild 300 IN TXT \"wild\"
";

/// Below an unsigned parent: an island of security, which nobody anchors.
const ISLAND: &str = "
@ 300 IN NS ns
ns 300 IN A NET.3
www 300 IN A 192.0.2.5
out 300 IN CNAME www.signed.test.
to-bogus 300 IN CNAME www.bogus.test.
";

/// How a leaf zone below `test.` is made.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Unsigned,
    Nsec,
    Nsec3,
    /// An address changed after it was signed.
    Tampered,
    Expired,
    NotYetValid,
    /// The DS record is that of another key.
    WrongDs,
    /// The parent has a DS record, and somebody took the signatures away.
    Stripped,
}

impl Internet {
    /// Signs the zones and starts the servers.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let net = free_net();
        let big: String = (0..20)
            .map(|n| format!("big 300 IN TXT \"{n} {}\"\n", "x".repeat(200)))
            .collect();
        let mut unsigned = UNSIGNED.to_owned();
        let mut tld = format!("@ 300 IN NS ns\nns 300 IN A {net}.2\n");
        // Delegated to a name elsewhere, so that its address has to be looked up.
        tld.push_str("glueless 300 IN NS ns.unsigned.test.\n");
        // Nobody listens there.
        tld.push_str(&format!(
            "dead 300 IN NS ns.dead\nns.dead 300 IN A {net}.99\n"
        ));
        let mut served = Vec::new();
        // The island's own child is secured by it; of two islands the parent publishes the DS of one.
        for island in ["island", "told-island"] {
            let origin = format!("{island}.unsigned.test");
            let child = format!("child.{origin}");
            let text = ISLAND.replace("NET", &net);
            let (file, ds) = make_zone(dir, &child, &text, Kind::Nsec);
            served.push((child, file));
            let with_child =
                format!("{text}child 300 IN NS ns.child\nns.child 300 IN A {net}.3\n{ds}");
            let (file, ds) = make_zone(dir, &origin, &with_child, Kind::Nsec);
            served.push((origin, file));
            unsigned.push_str(&format!(
                "{island} 300 IN NS ns.{island}\nns.{island} 300 IN A {net}.3\n"
            ));
            if island == "told-island" {
                unsigned.push_str(&ds);
            }
        }
        let leaves = [
            ("signed.test", format!("{SIGNED}{big}"), Kind::Nsec),
            ("unsigned.test", unsigned, Kind::Unsigned),
            ("nsec3.test", PLAIN.to_owned(), Kind::Nsec3),
            ("bogus.test", PLAIN.to_owned(), Kind::Tampered),
            ("expired.test", PLAIN.to_owned(), Kind::Expired),
            ("future.test", PLAIN.to_owned(), Kind::NotYetValid),
            ("wrong-ds.test", PLAIN.to_owned(), Kind::WrongDs),
            ("stripped.test", PLAIN.to_owned(), Kind::Stripped),
        ];
        for (origin, text, kind) in &leaves {
            let (file, ds) = make_zone(dir, origin, &text.replace("NET", &net), *kind);
            let label = origin.trim_end_matches(".test");
            tld.push_str(&format!(
                "{label} 300 IN NS ns.{label}\nns.{label} 300 IN A {net}.3\n"
            ));
            tld.push_str(&ds);
            served.push((origin.to_string(), file));
        }
        let (file, _) = make_zone(
            dir,
            "glueless.test",
            "@ 300 IN NS ns.unsigned.test.\nwww 300 IN A 192.0.2.4\n",
            Kind::Unsigned,
        );
        served.push(("glueless.test".into(), file));
        let (tld_file, tld_ds) = make_zone(dir, "test", &tld, Kind::Nsec);
        let root = format!(
            "@ 300 IN NS a.root.\na.root. 300 IN A {net}.1\n\
             test. 300 IN NS ns.test.\nns.test. 300 IN A {net}.2\n{tld_ds}"
        );
        let (root_file, _) = make_zone(dir, ".", &root, Kind::Nsec);

        let servers = vec![
            nsd(dir, &format!("{net}.1"), &[(".".into(), root_file)]),
            nsd(dir, &format!("{net}.2"), &[("test".into(), tld_file)]),
            nsd(dir, &format!("{net}.3"), &served),
        ];
        let hints = dir.join("root.hints");
        fs::write(
            &hints,
            format!(". 300 IN NS a.root.\na.root. 300 IN A {net}.1\n"),
        )
        .unwrap();
        let anchor = dir.join("root.key");
        let key = fs::read_to_string(dir.join("root.ksk.key")).unwrap();
        fs::write(&anchor, key).unwrap();
        let mut internet = Self {
            unbound: format!("{net}.9:53").parse().unwrap(),
            folder,
            servers,
            hints,
            anchor,
        };
        let unbound = internet.start_unbound();
        internet.servers.push(unbound);
        for host in 1..=3 {
            wait_for(format!("{net}.{host}:53").parse().unwrap());
        }
        wait_for(internet.unbound);
        internet
    }

    /// The folder that everything lies in.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn start_unbound(&self) -> Running {
        let conf = self.path().join("unbound.conf");
        fs::write(
            &conf,
            format!(
                "server:\n interface: {address}\n access-control: 127.0.0.0/8 allow\n do-not-query-localhost: no\n\
                  username: \"\"\n chroot: \"\"\n directory: \"{dir}\"\n pidfile: \"\"\n\
                  use-syslog: no\n root-hints: {hints}\n trust-anchor-file: {anchor}\n\
                  local-zone: test. nodefault\n do-ip6: no\n num-threads: 1\n\
                  qname-minimisation: yes\n val-log-level: 2\n module-config: \"validator iterator\"\n\
                 remote-control:\n control-enable: no\n",
                address = self.unbound.ip(),
                dir = self.path().display(),
                hints = self.hints.display(),
                anchor = self.anchor.display(),
            ),
        )
        .unwrap();
        Running::start(
            Command::new(program::find("unbound", "unbound"))
                .arg("-d")
                .arg("-c")
                .arg(&conf),
            &self.path().join("unbound.log"),
        )
    }
}

/// Writes a zone and signs it; gives back the file to serve and the DS lines for its parent.
fn make_zone(dir: &Path, origin: &str, text: &str, kind: Kind) -> (PathBuf, String) {
    let label = if origin == "." { "root" } else { origin };
    let file = dir.join(format!("{label}.zone"));
    let absolute = if origin == "." {
        ".".to_owned()
    } else {
        format!("{origin}.")
    };
    fs::write(&file, format!("$ORIGIN {absolute}\n$TTL 300\n{SOA}{text}")).unwrap();
    if kind == Kind::Unsigned {
        return (file, String::new());
    }
    let (ksk, ds) = make_key(dir, &absolute, label, true);
    let (zsk, _) = make_key(dir, &absolute, label, false);
    let signed = dir.join(format!("{label}.signed"));
    let mut sign = Command::new(program::find("ldns-signzone", "ldnsutils"));
    sign.current_dir(dir)
        .args(["-o", origin])
        .arg("-f")
        .arg(&signed);
    match kind {
        Kind::Nsec3 => {
            sign.arg("-n");
        }
        Kind::Expired => {
            sign.args(["-i", "20200101000000", "-e", "20200201000000"]);
        }
        Kind::NotYetValid => {
            sign.args(["-i", "20370101000000", "-e", "20370201000000"]);
        }
        _ => {}
    }
    program::run(sign.arg(&file).arg(&ksk).arg(&zsk));
    if kind == Kind::Tampered {
        let text = fs::read_to_string(&signed).unwrap();
        assert!(text.contains("192.0.2.3"));
        fs::write(&signed, text.replace("192.0.2.3", "192.0.2.66")).unwrap();
    }
    if kind == Kind::Stripped {
        return (file, ds);
    }
    let ds = if kind == Kind::WrongDs {
        make_key(dir, &absolute, "another", true).1
    } else {
        ds
    };
    (signed, ds)
}

fn make_key(dir: &Path, origin: &str, label: &str, ksk: bool) -> (String, String) {
    let mut keygen = Command::new(program::find("ldns-keygen", "ldnsutils"));
    keygen.current_dir(dir).args(["-a", "ECDSAP256SHA256"]);
    if ksk {
        keygen.arg("-k");
    }
    let output = program::run(keygen.arg(origin));
    let base = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    if !ksk {
        return (base, String::new());
    }
    let key = dir.join(format!("{base}.key"));
    fs::copy(&key, dir.join(format!("{label}.ksk.key"))).unwrap();
    let ds = program::run(
        Command::new(program::find("ldns-key2ds", "ldnsutils"))
            .current_dir(dir)
            .args(["-n", "-2"])
            .arg(&key),
    );
    (base, String::from_utf8(ds.stdout).unwrap())
}

fn nsd(dir: &Path, address: &str, zones: &[(String, PathBuf)]) -> Running {
    let conf = dir.join(format!("nsd-{address}.conf"));
    let mut text = format!(
        "server:\n ip-address: {address}\n username: \"\"\n zonesdir: \"{dir}\"\n pidfile: \"\"\n\
          database: \"\"\n xfrdfile: \"{dir}/xfrd-{address}\"\n zonelistfile: \"{dir}/zones-{address}\"\n\
          xfrdir: \"{dir}\"\n server-count: 1\n hide-version: yes\nremote-control:\n control-enable: no\n",
        dir = dir.display()
    );
    for (origin, file) in zones {
        text.push_str(&format!(
            "zone:\n name: \"{origin}\"\n zonefile: \"{}\"\n",
            file.display()
        ));
    }
    fs::write(&conf, text).unwrap();
    Running::start(
        Command::new(program::find("nsd", "nsd"))
            .arg("-d")
            .arg("-c")
            .arg(&conf),
        &dir.join(format!("nsd-{address}.log")),
    )
}

/// A part of 127.0.0.0/8 that no other test uses: each process has an internet of its own.
fn free_net() -> String {
    let pid = std::process::id();
    let net = format!("127.{}.{}", 64 + (pid >> 8) % 128, pid % 256);
    UdpSocket::bind(format!("{net}.1:53")).unwrap_or_else(|error| {
        panic!(
            "port 53 of {net}.1: {error}: run as root, or set net.ipv4.ip_unprivileged_port_start"
        )
    });
    net
}

/// Waits until a server answers anything.
fn wait_for(server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(250)))
        .unwrap();
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01";
    for _ in 0..80 {
        let _ = socket.send_to(query, server);
        if socket.recv_from(&mut [0; 4096]).is_ok() {
            return;
        }
    }
    panic!("{server} does not answer");
}
