//! The world before the upgrade.

mod common;

#[test]
fn todays_chain_works_and_every_name_is_read_in_cleartext() {
    common::play("run", "legacy");
}

#[test]
fn a_client_that_knows_nothing_of_the_upgrade_is_served_as_ever() {
    common::play("run", "plain-clients");
}
