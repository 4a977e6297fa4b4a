//! The exported configuration makes unmodified servers publish the name and serve DNS over TLS with
//! the certificate: each is started with it and asked as a stranger would.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Lab, ask, interesting_names, printed, program, run};
use data_encoding::HEXLOWER;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::master_file::record_text;
use zzdot_zonegen::signed_zone::SignedZone;

/// Exports for `server` into the folder `export`; returns the configuration's text.
fn export(lab: &Lab, server: &str, more: &str) -> String {
    let files = lab.zonegen(&format!(
        "export @identity --for {server} --out @export --dns-port {} {}{more}",
        lab.dns_port,
        lab.service()
    ));
    let configuration = files.lines().next().unwrap();
    std::fs::read_to_string(configuration).unwrap()
}

/// The exported zones have another serial than those of the lab; all else is the same.
fn zones(lab: &Lab) -> Vec<SignedZone> {
    let zones = lab.path("export");
    for origin in lab.origins() {
        let file = zones.join(format!("{}zone", origin.to_ascii()));
        std::fs::copy(&file, lab.zone_file(&origin)).unwrap();
    }
    lab.zones().into()
}

/// DNS over TLS with the exported certificate: by its pin, and by the TLSA record of the zone.
fn assert_serves_dot(lab: &Lab) {
    let name = lab.identity.name();
    let pin = data_encoding::BASE64.encode(&lab.identity.spki_sha256());
    for origin in lab.origins() {
        let mut kdig = program("kdig", "knot-dnsutils");
        kdig.arg(format!("@{}", lab.address))
            .args(["-p", &lab.dot_port.to_string()])
            .args(["+tls", "+dnssec", "+noidn", "+retry=0", "+time=10"])
            .arg(format!("+tls-pin={pin}"))
            .arg(origin.to_ascii())
            .arg("DNSKEY");
        let text = run(&mut kdig);
        assert!(text.contains(";; TLS session (TLS1.3)"), "{text}");
        assert!(text.contains("status: NOERROR"), "{text}");
        assert!(text.contains("RRSIG\tDNSKEY 13"), "{text}");
    }
    let mut openssl = program("openssl", "openssl");
    openssl
        .args(["s_client", "-brief", "-verify_return_error", "-no_ign_eof"])
        .args(["-alpn", "dot"])
        .args(["-connect", &lab.dot().to_string()])
        .args(["-servername", &name.to_string()])
        .args(["-dane_tlsa_domain", &name.to_string()])
        .arg("-dane_tlsa_rrdata")
        .arg(format!(
            "3 1 1 {}",
            HEXLOWER.encode(&lab.identity.spki_sha256())
        ));
    let text = run(&mut openssl);
    assert!(text.contains("Verification: OK"), "{text}");
    assert!(text.contains("DANE TLSA 3 1 1"), "{text}");
    // The oracle sees: with another TLSA the same server is refused.
    let mut other = program("openssl", "openssl");
    other
        .args(["s_client", "-brief", "-verify_return_error"])
        .args(["-connect", &lab.dot().to_string()])
        .args(["-dane_tlsa_domain", &name.to_string()])
        .args(["-dane_tlsa_rrdata", &format!("3 1 1 {}", "00".repeat(32))]);
    let output = other.output().unwrap();
    assert!(!output.status.success(), "{}", printed(&output));
}

/// Each record of the zones is there with its signatures, and each denial has the proofs needed.
fn assert_publishes(lab: &Lab, zones: &[SignedZone]) {
    for zone in zones {
        let existing = zone
            .rrsets()
            .map(|(owner, rtype, _)| (owner.clone(), rtype));
        let missing = interesting_names(zone, 150).into_iter();
        let missing = missing.map(|name| (name, RecordType::TXT));
        for (name, qtype) in existing.chain(missing) {
            // A name with a NUL is not for the C strings on the way.
            if name.iter().any(|label| label.contains(&0)) {
                continue;
            }
            let ours = zone.lookup(&name, qtype).unwrap();
            let theirs = ask(lab.dns(), &name, qtype)
                .unwrap_or_else(|| panic!("no answer for {name} {qtype}"));
            assert_eq!(theirs.metadata.response_code, ours.rcode, "{name} {qtype}");
            let given: Vec<String> = theirs
                .answers
                .iter()
                .chain(&theirs.authorities)
                .map(|record| record_text(record).to_ascii_lowercase())
                .collect();
            for record in ours.answers.iter().chain(&ours.authorities) {
                let wanted = record_text(record).to_ascii_lowercase();
                assert!(
                    given.contains(&wanted),
                    "{name} {qtype}: no {wanted} in {given:#?}"
                );
            }
        }
    }
}

/// Other names of the suffix are denied at once, without anybody else being asked.
fn assert_keeps_the_suffix(lab: &Lab) {
    for name in ["zz.", "other.zz.", "00000000000000000000.zz."] {
        let name = Name::from_ascii(name).unwrap();
        let answer = ask(lab.dns(), &name, RecordType::A).expect("an answer at once");
        let code = answer.metadata.response_code;
        let denied = code == ResponseCode::NXDomain
            || (name.num_labels() == 1 && code == ResponseCode::NoError);
        assert!(denied && answer.answers.is_empty(), "{name}: {code}");
    }
}

#[test]
fn unbound_publishes_the_name_and_serves_dns_over_tls() {
    let lab = Lab::new();
    let exported = export(&lab, "unbound", " --allow 127.0.0.0/8");
    let folder = lab.folder.path().display();
    // What an unbound has configured before; validation is on, its anchor leads nowhere.
    let text = format!(
        "server:\n username: \"\"\n chroot: \"\"\n directory: \"{folder}\"\n pidfile: \"\"\n use-syslog: no\n \
         do-daemonize: no\n module-config: \"validator iterator\"\n \
         trust-anchor: \". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\"\n\
         {exported}\nremote-control:\n control-enable: no\n"
    );
    let config = lab.write("unbound.conf", &text);
    run(program("unbound-checkconf", "unbound").arg(&config));
    let mut command = program("unbound", "unbound");
    command.arg("-d").arg("-c").arg(&config);
    let _server = lab.start(command);
    assert_publishes(&lab, &zones(&lab));
    assert_keeps_the_suffix(&lab);
    assert_serves_dot(&lab);
}

#[test]
fn bind_publishes_the_name_and_serves_dns_over_tls() {
    let lab = Lab::new();
    let exported = export(&lab, "bind", " --allow 127.0.0.0/8");
    let options = lab.path("export").join("named.conf.zzdot-options");
    let text = format!(
        "options {{ {} listen-on-v6 {{ none; }}; include \"{}\"; }};\ncontrols {{ }};\n{exported}",
        lab.bind_settings(),
        options.display()
    );
    let config = lab.write("named.conf", &text);
    run(program("named-checkconf", "bind9-utils")
        .arg("-z")
        .arg(&config));
    let mut command = program("named", "bind9");
    command.arg("-g").arg("-c").arg(&config);
    let _server = lab.start(command);
    assert_publishes(&lab, &zones(&lab));
    assert_keeps_the_suffix(&lab);
    assert_serves_dot(&lab);
}

#[test]
fn nsd_publishes_the_name_and_serves_dns_over_tls() {
    let lab = Lab::new();
    let exported = export(&lab, "nsd", "");
    let text = format!("server:\n{}{exported}", lab.nsd_settings());
    let config = lab.write("nsd.conf", &text);
    run(program("nsd-checkconf", "nsd").arg(&config));
    let mut command = program("nsd", "nsd");
    command.arg("-d").arg("-c").arg(&config);
    let _server = lab.start(command);
    assert_publishes(&lab, &zones(&lab));
    assert_serves_dot(&lab);
}

#[test]
fn knot_resolver_publishes_the_name_and_serves_dns_over_tls() {
    let lab = Lab::new();
    export(&lab, "knot-resolver", "");
    let exported = lab.path("export").join("kresd.conf");
    let text = format!(
        "log_target('stderr')\ncache.size = 1 * MB\ndofile('{}')\n",
        exported.display()
    );
    let config = lab.write("kresd.conf", &text);
    let run_folder = lab.path("kresd");
    std::fs::create_dir(&run_folder).unwrap();
    let mut command = program("kresd", "knot-resolver");
    command.arg("-n").arg("-c").arg(&config).arg(&run_folder);
    let _server = lab.start(command);
    assert_publishes(&lab, &zones(&lab));
    assert_keeps_the_suffix(&lab);
    assert_serves_dot(&lab);
}
