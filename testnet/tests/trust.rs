//! What the client refuses.

mod common;

#[test]
fn a_known_resolver_is_never_replaced_by_an_impostor_and_is_found_again() {
    common::play("run", "strict");
}

#[test]
fn a_moved_clock_is_refused_by_name() {
    common::play("run", "moved-clock");
}

#[test]
fn a_server_that_is_not_upgraded_is_treated_as_the_policy_says() {
    common::play("run", "legacy-client-policy");
}

#[test]
fn the_best_that_a_server_of_today_offers_is_taken_and_nothing_below_what_is_allowed() {
    common::play("run", "ladder");
}
