//! The units as they are shipped, under the real service manager as the first process of a machine.

mod common;

fn play(case: &str) {
    common::play("units", case);
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
