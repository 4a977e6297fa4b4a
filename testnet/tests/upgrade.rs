//! The upgrade, whatever the router resolves with.

mod common;

#[test]
fn everything_resolves_and_nothing_is_readable_with_a_recursing_router() {
    common::play("run", "upgrade-recursive");
}

#[test]
fn everything_resolves_and_nothing_is_readable_with_a_forwarding_router() {
    common::play("run", "upgrade-forward");
}

#[test]
fn the_local_names_and_policies_of_an_unbound_behind_the_appliance_go_on() {
    common::play("run", "upgrade-local");
}

#[test]
fn the_local_names_and_policies_of_a_dnsmasq_behind_the_appliance_go_on() {
    common::play("run", "upgrade-local-dnsmasq");
}

#[test]
fn an_unmodified_unbound_with_exported_zones_serves_the_client_as_the_appliance_does() {
    common::play("run", "exported-unbound");
}
