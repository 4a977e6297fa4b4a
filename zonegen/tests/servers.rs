//! NSD, BIND, Knot and unbound load the zone files unchanged and say the same as our own lookup.
#![allow(clippy::unwrap_used)]

mod common;
mod upstreams;

use common::{Lab, ask, interesting_names, program, run};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, Record, RecordType};
use upstreams::upstreams;
use zzdot_zonegen::lookup::Answer;
use zzdot_zonegen::master_file::record_text;
use zzdot_zonegen::signed_zone::SignedZone;
use zzdot_zonegen::zone::TTL_SECS;

const TYPES: [RecordType; 14] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::NS,
    RecordType::SOA,
    RecordType::TXT,
    RecordType::DNSKEY,
    RecordType::DS,
    RecordType::KEY,
    RecordType::TLSA,
    RecordType::SVCB,
    RecordType::PTR,
    RecordType::DNAME,
    RecordType::NSEC,
    RecordType::MX,
];

/// Compares the sections that matter, in any order, names in lower case.
fn assert_same(server: &str, name: &Name, qtype: RecordType, theirs: &Message, ours: &Answer) {
    let sorted = |records: &[Record]| {
        let mut texts: Vec<String> = records
            .iter()
            .map(|record| record_text(record).to_ascii_lowercase())
            .collect();
        texts.sort();
        texts.dedup();
        texts
    };
    let subject = format!("{server}: {name} {qtype}");
    assert_eq!(theirs.metadata.response_code, ours.rcode, "{subject}");
    assert!(theirs.metadata.authoritative, "{subject}");
    let mut told = theirs.answers.clone();
    if ours.redirected.is_some() && server == "unbound" {
        // As it was before RFC 6672: what is made from a DNAME is not to be kept.
        for made in told.iter_mut().filter(|record| record.ttl == 0) {
            made.ttl = TTL_SECS;
        }
    }
    assert_eq!(sorted(&told), sorted(&ours.answers), "{subject}");
    // Servers may add the NS RRset to a positive answer; what denies must be there, and unbound
    // adds the proof for a wildcard at the next owner above an empty non-terminal, too.
    if ours.answers.is_empty() {
        let theirs = sorted(&theirs.authorities);
        let ours = sorted(&ours.authorities);
        let missing: Vec<_> = ours
            .iter()
            .filter(|record| !theirs.contains(record))
            .collect();
        assert!(missing.is_empty(), "{subject}: {missing:?}");
        assert!(
            theirs.len() == ours.len() || server == "unbound",
            "{subject}: {theirs:?}"
        );
    }
}

/// `skip` says what this server is known not to answer out of its zones.
fn assert_answers_as_we_do(
    server: &str,
    lab: &Lab,
    skip: fn(&SignedZone, &Name, RecordType) -> bool,
) {
    for zone in lab.zones() {
        for (index, name) in interesting_names(&zone, 100).iter().enumerate() {
            // Every type at names that exist, one at the others.
            let exists = zone.rrset(name, RecordType::NSEC).is_some();
            let types = if exists {
                &TYPES[..]
            } else {
                &TYPES[index % TYPES.len()..][..1]
            };
            for qtype in types.iter().filter(|qtype| !skip(&zone, name, **qtype)) {
                assert_same_lookup(server, lab, &zone, name, *qtype);
            }
        }
    }
}

fn assert_same_lookup(server: &str, lab: &Lab, zone: &SignedZone, name: &Name, qtype: RecordType) {
    let ours = zone.lookup(name, qtype).unwrap();
    let theirs = ask(lab.dns(), name, qtype)
        .unwrap_or_else(|| panic!("{server}: no answer for {name} {qtype}"));
    assert_same(server, name, qtype, &theirs, &ours);
}

#[test]
fn nsd_serves_the_files_unchanged() {
    let lab = Lab::forwarder(upstreams());
    let config = lab.nsd_config();
    run(program("nsd-checkconf", "nsd").arg(&config));
    let mut command = program("nsd", "nsd");
    command.arg("-d").arg("-c").arg(&config);
    let _server = lab.start(command);
    assert_answers_as_we_do("nsd", &lab, |_, _, _| false);
}

#[test]
fn bind_serves_the_files_unchanged() {
    let lab = Lab::forwarder(upstreams());
    let config = lab.bind_config();
    run(program("named-checkconf", "bind9-utils").arg(&config));
    let mut command = program("named", "bind9");
    command.arg("-g").arg("-c").arg(&config);
    let _server = lab.start(command);
    assert_answers_as_we_do("named", &lab, |_, _, _| false);
}

#[test]
fn knot_serves_the_files_unchanged() {
    let lab = Lab::forwarder(upstreams());
    let folder = lab.folder.path().display().to_string();
    let mut text = format!(
        "server:\n    rundir: \"{folder}\"\n    listen: {}\n    automatic-acl: off\ndatabase:\n    storage: \"{folder}/db\"\n\
         log:\n  - target: stderr\n    any: info\nzone:\n",
        lab.listen()
    );
    for origin in lab.origins() {
        let file = lab.zone_file(&origin);
        text.push_str(&format!(
            "  - domain: \"{origin}\"\n    file: \"{}\"\n    semantic-checks: on\n    zonefile-sync: -1\n    journal-content: none\n",
            file.display()
        ));
    }
    let config = lab.write("knot.conf", &text);
    run(program("knotc", "knot")
        .arg("-c")
        .arg(&config)
        .arg("conf-check"));
    let mut command = program("knotd", "knot");
    command.arg("-c").arg(&config);
    let _server = lab.start(command);
    // Knot 3.2 keeps names with a NUL between labels, and takes one within a label for that.
    let nul = |_: &SignedZone, name: &Name, _| name.iter().any(|label| label.contains(&0));
    assert_answers_as_we_do("knotd", &lab, nul);
}

#[test]
fn unbound_serves_the_files_unchanged() {
    let lab = Lab::forwarder(upstreams());
    let folder = lab.folder.path().display().to_string();
    let mut text = format!(
        "server:\n interface: {}\n access-control: 127.0.0.0/8 allow\n username: \"\"\n chroot: \"\"\n \
         directory: \"{folder}\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n module-config: \"iterator\"\n",
        lab.listen()
    );
    for origin in lab.origins() {
        text.push_str(&format!(" local-zone: \"{origin}\" transparent\n"));
    }
    for origin in lab.origins() {
        let file = lab.zone_file(&origin);
        text.push_str(&format!(
            "auth-zone:\n name: \"{origin}\"\n zonefile: \"{}\"\n for-downstream: yes\n for-upstream: yes\n fallback-enabled: no\n",
            file.display()
        ));
    }
    let config = lab.write("unbound.conf", &text);
    run(program("unbound-checkconf", "unbound").arg(&config));
    let mut command = program("unbound", "unbound");
    command.arg("-d").arg("-c").arg(&config);
    let _server = lab.start(command);
    // A resolver asks a zone's parent for its DS (RFC 4035 §3.1.4.1).
    let parents =
        |zone: &SignedZone, name: &Name, qtype| qtype == RecordType::DS && name == zone.origin();
    assert_answers_as_we_do("unbound", &lab, parents);
}
