//! The zone checkers of other projects accept every zone we write, and refuse one that is changed.
#![allow(clippy::unwrap_used)]

mod common;
mod upstreams;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Lab, program, run};
use hickory_proto::rr::Name;
use upstreams::{as_many_as_there_may_be, upstreams};

fn ldns_verify_zone(_: &Name, file: &Path) -> Command {
    let mut command = program("ldns-verify-zone", "ldnsutils");
    command.arg(file);
    command
}

fn named_checkzone(origin: &Name, file: &Path) -> Command {
    let mut command = program("named-checkzone", "bind9-utils");
    command.args(["-i", "local", "-k", "fail", "-n", "fail", "-r", "fail"]);
    command.arg(origin.to_ascii()).arg(file);
    command
}

fn kzonecheck(origin: &Name, file: &Path) -> Command {
    let mut command = program("kzonecheck", "knot-dnssecutils");
    command.args(["--dnssec", "on", "--origin", &origin.to_ascii()]);
    command.arg(file);
    command
}

#[test]
fn the_checkers_of_ldns_bind_and_knot_accept_both_zones() {
    let lab = Lab::new();
    for origin in lab.origins() {
        assert_accepted(&lab, &origin);
    }
}

#[test]
fn the_checkers_of_ldns_bind_and_knot_accept_what_a_forwarder_says() {
    let lab = Lab::forwarder(upstreams());
    let [origin, _] = lab.origins();
    let text = fs::read_to_string(lab.zone_file(&origin)).unwrap();
    assert_eq!(text.matches(" DNAME .\n").count(), 5, "{text}");
    assert_accepted(&lab, &origin);
}

#[test]
fn the_checkers_of_ldns_bind_and_knot_accept_as_much_as_a_forwarder_can_say() {
    for suffix in ["zz.", "home.dns.example."] {
        let lab = Lab::below(suffix).asking(as_many_as_there_may_be());
        let [origin, _] = lab.origins();
        let text = fs::read_to_string(lab.zone_file(&origin)).unwrap();
        for (found, times) in [
            (" IN DNAME .\n", 17),
            (" IN PTR ", 16),
            (" IN KEY ", 32),
            (" IN TLSA 3 1 1 ", 33),
        ] {
            assert_eq!(text.matches(found).count(), times, "{found}");
        }
        assert_accepted(&lab, &origin);
    }
}

fn assert_accepted(lab: &Lab, origin: &Name) {
    let file = lab.zone_file(origin);
    for checker in [ldns_verify_zone, named_checkzone, kzonecheck] {
        run(&mut checker(origin, &file));
    }
}

/// The oracles see: one changed record, and those that verify signatures refuse.
#[test]
fn the_checkers_of_ldns_and_knot_refuse_a_changed_zone() {
    let lab = Lab::new();
    for origin in lab.origins() {
        let text = fs::read_to_string(lab.zone_file(&origin)).unwrap();
        let changed = text.replace(" 3600 600 604800 60\n", " 3601 600 604800 60\n");
        assert_ne!(text, changed);
        let file = lab.write("changed.zone", &changed);
        for checker in [ldns_verify_zone, kzonecheck] {
            let output = checker(&origin, &file).output().unwrap();
            assert!(!output.status.success(), "{output:?}");
        }
    }
}
