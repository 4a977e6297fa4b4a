//! delv validates what NSD and BIND serve out of our files, from the printed trust anchor alone:
//! positive answers, and the denial of hundreds of names.
#![allow(clippy::unwrap_used)]

mod common;
mod upstreams;

use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use common::{Lab, interesting_names, printed, program, run};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use upstreams::upstreams;
use zzdot_zonegen::master_file::{name_text, type_text};
use zzdot_zonegen::signed_zone::SignedZone;

/// Processes at a time.
const WORKERS: usize = 4;

fn delv(lab: &Lab, origin: &Name, name: &Name, qtype: RecordType) -> Output {
    let mut command: Command = program("delv", "bind9-dnsutils");
    command
        .arg(format!("@{}", lab.address))
        .args(["-p", &lab.dns_port.to_string()])
        .arg("-a")
        .arg(lab.path("anchors.bind"))
        .arg(format!("+root={origin}"))
        .args(["-q", &name_text(name), "-t", &type_text(qtype)]);
    command.output().unwrap()
}

/// Asks for everything there is, for names around each owner, and for `random` names a zone.
fn assert_validates(lab: &Lab, random: usize) {
    for zone in lab.zones() {
        let mut questions: Vec<(Name, RecordType)> = zone
            .rrsets()
            .map(|(owner, rtype, _)| (owner.clone(), rtype))
            .collect();
        let names = interesting_names(&zone, random);
        assert!(names.len() > random, "{}", names.len());
        questions.extend(names.into_iter().map(|name| (name, RecordType::MX)));
        // delv takes a name with a NUL for its C string's end.
        questions.retain(|(name, _)| !name.iter().any(|label| label.contains(&0)));
        assert_all_validated(lab, &zone, questions);
    }
}

fn assert_all_validated(lab: &Lab, zone: &SignedZone, questions: Vec<(Name, RecordType)>) {
    let queue = Mutex::new(questions);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((name, qtype)) = { queue.lock().unwrap().pop() } {
                    assert_validated(lab, zone, &name, qtype);
                }
            });
        }
    });
}

fn assert_validated(lab: &Lab, zone: &SignedZone, name: &Name, qtype: RecordType) {
    let text = printed(&delv(lab, zone.origin(), name, qtype));
    let ours = zone.lookup(name, qtype).unwrap();
    let expected = match (ours.answers.is_empty(), ours.rcode) {
        (false, _) => "; fully validated",
        (true, ResponseCode::NXDomain) => "ncache nxdomain",
        (true, _) => "ncache nxrrset",
    };
    assert!(text.contains(expected), "{name} {qtype}: {text}");
    let validated =
        text.contains("; fully validated") || text.contains("; negative response, fully validated");
    assert!(validated, "{name} {qtype}: {text}");
}

#[test]
fn delv_validates_what_nsd_serves() {
    let lab = Lab::new();
    let config = lab.nsd_config();
    run(program("nsd-checkconf", "nsd").arg(&config));
    let mut command = program("nsd", "nsd");
    command.arg("-d").arg("-c").arg(&config);
    let _server = lab.start(command);
    assert_validates(&lab, 200);
}

#[test]
fn delv_validates_what_bind_serves() {
    let lab = Lab::new();
    let config = lab.bind_config();
    let mut command = program("named", "bind9");
    command.arg("-g").arg("-c").arg(&config);
    let _server = lab.start(command);
    assert_validates(&lab, 50);
}

/// Everything there is, a name below each `q`, and a name that is not there.
#[test]
fn delv_validates_what_a_forwarder_says() {
    let lab = Lab::forwarder(upstreams());
    let config = lab.nsd_config();
    let mut command = program("nsd", "nsd");
    command.arg("-d").arg("-c").arg(&config);
    let _server = lab.start(command);
    let [zone, _] = lab.zones();
    let mut questions: Vec<(Name, RecordType)> = zone
        .rrsets()
        .filter(|(_, rtype, _)| *rtype != RecordType::NSEC)
        .map(|(owner, rtype, _)| (owner.clone(), rtype))
        .collect();
    let dnames: Vec<Name> = questions
        .iter()
        .filter(|(_, rtype)| *rtype == RecordType::DNAME)
        .map(|(owner, _)| owner.clone())
        .collect();
    assert_eq!(dnames.len(), 5);
    for owner in dnames {
        // What an alias leads to is elsewhere; delv would go there.
        let below = owner.prepend_label("resolver-name").unwrap();
        questions.push((below, RecordType::CNAME));
        let beside = owner.base_name().prepend_label("r").unwrap();
        questions.push((beside, RecordType::TXT));
    }
    assert_all_validated(&lab, &zone, questions);
}

/// The oracle sees: from another identity's anchor nothing validates.
#[test]
fn delv_refuses_the_anchor_of_another_identity() {
    let lab = Lab::new();
    let other = Lab::new();
    let config = lab.bind_config();
    let mut command = program("named", "bind9");
    command.arg("-g").arg("-c").arg(&config);
    let _server = lab.start(command);
    let [_, anchor_zone] = lab.origins();
    std::fs::copy(other.path("anchors.bind"), lab.path("anchors.bind")).unwrap();
    let text = printed(&delv(&lab, &anchor_zone, &anchor_zone, RecordType::NS));
    assert!(!text.contains("fully validated"), "{text}");
    assert!(
        text.contains("broken trust chain") || text.contains("no valid"),
        "{text}"
    );
}
