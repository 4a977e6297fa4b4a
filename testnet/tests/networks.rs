//! Going from network to network.

mod common;

#[test]
fn two_networks_of_the_same_addresses_are_told_apart_and_home_is_expected() {
    common::play("run", "networks");
}

#[test]
fn each_link_has_its_own_resolver_a_tunnel_has_none_to_recognise_and_sleep_costs_nothing() {
    common::play("run", "links");
}

#[test]
fn a_new_router_is_met_by_the_name_behind_it_and_a_copied_address_gains_nothing() {
    common::play("run", "networks-anew");
}

#[test]
fn home_is_one_network_by_wireless_and_by_cable_and_a_twin_without_its_passphrase_is_suspect() {
    common::play("run", "wireless");
}
