//! A stock validating resolver trusts the zones from the printed anchors, and nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::path::Path;

use common::{Lab, Server, ask_with, interesting_names, program, run};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

/// unbound as a validator in front of the lab's server, with the anchors of a file.
fn validator(lab: &Lab, anchors: &Path) -> (Server, SocketAddr) {
    let address = lab.dot();
    let folder = lab.folder.path().display();
    let mut text = format!(
        "server:\n interface: {}@{}\n username: \"\"\n chroot: \"\"\n directory: \"{folder}\"\n pidfile: \"\"\n \
         use-syslog: no\n do-daemonize: no\n do-not-query-localhost: no\n module-config: \"validator iterator\"\n \
         aggressive-nsec: no\n trust-anchor-file: \"{}\"\n",
        address.ip(),
        address.port(),
        anchors.display()
    );
    for origin in lab.origins() {
        text.push_str(&format!(" local-zone: \"{origin}\" transparent\n"));
    }
    text.push_str("remote-control:\n control-enable: no\n");
    for origin in lab.origins() {
        text.push_str(&format!(
            "stub-zone:\n name: \"{origin}\"\n stub-addr: {}\n",
            lab.listen()
        ));
    }
    let config = lab.write("validator.conf", &text);
    run(program("unbound-checkconf", "unbound").arg(&config));
    let mut command = program("unbound", "unbound");
    command.arg("-d").arg("-c").arg(&config);
    (lab.start_at(command, address), address)
}

fn nsd(lab: &Lab) -> Server {
    let mut command = program("nsd", "nsd");
    command.arg("-d").arg("-c").arg(lab.nsd_config());
    lab.start(command)
}

#[test]
fn unbound_validates_both_zones_and_their_denial_from_the_printed_anchors() {
    let lab = Lab::new();
    let _nsd = nsd(&lab);
    let (_unbound, address) = validator(&lab, &lab.path("anchors.zone"));
    for zone in lab.zones() {
        let existing = zone
            .rrsets()
            .map(|(owner, rtype, _)| (owner.clone(), rtype));
        let names = interesting_names(&zone, 100).into_iter();
        let missing = names.map(|name| (name, RecordType::MX));
        for (name, qtype) in existing.chain(missing) {
            let ours = zone.lookup(&name, qtype).unwrap();
            let theirs = ask_with(address, &name, qtype, false)
                .unwrap_or_else(|| panic!("no answer for {name} {qtype}"));
            assert_eq!(theirs.metadata.response_code, ours.rcode, "{name} {qtype}");
            assert!(
                theirs.metadata.authentic_data,
                "{name} {qtype} is not authentic"
            );
        }
    }
}

/// The oracle sees: from another identity's anchors the same zones are bogus.
#[test]
fn unbound_refuses_the_zones_by_the_anchors_of_another_identity() {
    let lab = Lab::new();
    let other = Lab::new();
    let _nsd = nsd(&lab);
    let (_unbound, address) = validator(&lab, &other.path("anchors.zone"));
    let [_, anchor_zone] = lab.origins();
    let answer = ask_with(address, &anchor_zone, RecordType::NS, false).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}
