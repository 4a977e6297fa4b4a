//! A machine with the real programs that manage networks and names: what the client learns from each, how it gets in
//! front of them, and how everything is put back.

mod common;

fn play(case: &str) {
    common::play("desktop", case);
}

#[test]
fn network_manager_is_understood_and_writes_us_into_resolv_conf_until_we_go() {
    play("network-manager");
}

#[test]
fn resolved_asks_us_without_a_circle_until_we_crash() {
    play("resolved");
}

#[test]
fn no_name_goes_past_us_through_resolved_while_networkd_follows_its_networks() {
    play("past-networkd");
}

#[test]
fn no_name_goes_past_us_through_resolved_while_network_manager_follows_its_networks() {
    play("past-network-manager");
}

#[test]
fn debians_resolvconf_names_us_alone_until_we_crash() {
    play("resolvconf");
}

#[test]
fn openresolv_names_us_alone_even_where_a_tunnel_is_exclusive() {
    play("openresolv");
}

#[test]
fn networkd_is_understood_by_its_files_and_followed() {
    play("networkd");
}

#[test]
fn what_dhclient_writes_over_us_is_put_aside_and_put_back() {
    play("dhclient");
}

#[test]
fn a_file_written_by_a_person_is_put_back_to_the_letter() {
    play("static");
}

#[test]
fn a_portal_in_a_lease_is_read_under_the_names_that_real_clients_give_it() {
    play("portal-options");
}

#[test]
fn a_portal_announced_where_somebody_is_known_opens_nothing() {
    play("portal-announced");
}

#[test]
fn a_portal_that_a_router_advertises_is_heard_from_the_kernel() {
    play("portal-advertised");
}
