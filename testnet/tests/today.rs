//! The world before the upgrade.

mod common;

#[test]
fn todays_chain_works_and_every_name_is_read_in_cleartext() {
    common::play("legacy");
}
