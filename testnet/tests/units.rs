//! The units as they are shipped, under the real service manager as the first process of a machine.

use std::process::Command;

fn play(case: &str) {
    let status = Command::new(env!("CARGO_BIN_EXE_zzdot-testnet"))
        .args(["units", case])
        .status()
        .expect("the binary of this package is built with its tests");
    assert!(
        status.success(),
        "the case '{case}' ended with {status}; what it said is above"
    );
}

#[test]
fn the_appliance_is_ready_confined_watched_and_back_after_whatever_ends_it() {
    play("appliance");
}

#[test]
fn the_client_is_in_front_only_while_it_answers_and_a_power_cut_leaves_nothing_behind() {
    play("client");
}

#[test]
fn the_client_in_front_of_resolved_goes_and_comes_with_its_unit() {
    play("client-resolved");
}
