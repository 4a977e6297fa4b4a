//! The upgrade, whatever the router resolves with.

mod common;

#[test]
fn everything_resolves_and_nothing_is_readable_with_a_recursing_router() {
    common::play("upgrade-recursive");
}

#[test]
fn everything_resolves_and_nothing_is_readable_with_a_forwarding_router() {
    common::play("upgrade-forward");
}

#[test]
fn the_local_names_and_policies_of_an_unbound_behind_the_appliance_go_on() {
    common::play("upgrade-local");
}

#[test]
fn the_local_names_and_policies_of_a_dnsmasq_behind_the_appliance_go_on() {
    common::play("upgrade-local-dnsmasq");
}

#[test]
fn an_unmodified_unbound_with_exported_zones_serves_the_client_as_the_appliance_does() {
    common::play("exported-unbound");
}
