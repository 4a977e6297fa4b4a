//! The way to the resolver: routers that know nothing, and lines that are bad.

mod common;

#[test]
fn the_walk_crosses_a_router_that_was_never_upgraded() {
    common::play("run", "behind-legacy-router");
}

#[test]
fn the_upgrade_survives_delay_and_loss() {
    common::play("run", "slow-line");
}

#[test]
fn forwarders_of_today_do_what_is_written_about_them() {
    common::play("run", "boxes");
}

#[test]
fn each_trace_is_what_the_lab_knows_hop_by_hop() {
    common::play("run", "chains");
}

#[test]
fn resolvers_of_one_address_on_both_sides_of_a_nat_are_told_apart() {
    common::play("run", "chains-nat");
}

#[test]
fn questions_go_to_the_end_of_the_chain_or_nowhere_where_a_hop_is_in_cleartext() {
    common::play("run", "routes");
}
