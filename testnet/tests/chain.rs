//! The way to the resolver: routers that know nothing, and lines that are bad.

mod common;

#[test]
fn the_walk_crosses_a_router_that_was_never_upgraded() {
    common::play("behind-legacy-router");
}

#[test]
fn the_upgrade_survives_delay_and_loss() {
    common::play("slow-line");
}

#[test]
fn forwarders_of_today_do_what_is_written_about_them() {
    common::play("boxes");
}
