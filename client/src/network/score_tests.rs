#![allow(clippy::unwrap_used)]

use super::*;
use crate::network::{Gateway, Medium, Security};

const SECRET: [u8; 32] = [3; 32];
const HOME: NetworkId = NetworkId::from_bytes([1; 8]);
const OFFICE: NetworkId = NetworkId::from_bytes([2; 8]);

fn gateway(address: &str, mac: &str) -> Gateway {
    Gateway {
        address: address.parse().unwrap(),
        mac: Some(mac.parse().unwrap()),
    }
}

/// A household with nothing but what its box came with.
fn household() -> LinkView {
    LinkView {
        index: 2,
        name: "wlan0".to_owned(),
        medium: Medium::Wireless,
        gateways: vec![gateway("192.168.1.1", "3c:a6:2f:01:02:03")],
        prefixes: vec!["192.168.1.0/24".parse().unwrap()],
        dhcp_server: Some("192.168.1.1".parse().unwrap()),
        dhcp_domain: Some("lan".to_owned()),
        captive_portal: None,
        ssid: Some(b"Villa Kunterbunt".to_vec()),
        security: Some(Security::Personal),
        resolvers: vec!["192.168.1.1:53".parse().unwrap()],
        domains: vec![],
        settled: true,
    }
}

fn by_cable(mut view: LinkView) -> LinkView {
    view.ssid = None;
    view.security = None;
    view.medium = Medium::Wired;
    view.name = "eth0".to_owned();
    view
}

fn behind_another_router(mut view: LinkView) -> LinkView {
    view.gateways[0].mac = Some("5c:49:79:aa:bb:cc".parse().unwrap());
    view
}

fn against(known: &LinkView, now: &LinkView, stayed_with: Option<NetworkId>) -> Recognised {
    let known = Sighting::of(known, &SECRET);
    recognise(
        &Sighting::of(now, &SECRET),
        [(HOME, known.signals())],
        stayed_with,
    )
}

fn suspect(differs: &[SignalKind]) -> Recognised {
    Recognised::Suspect {
        network: HOME,
        differs: differs.to_vec(),
    }
}

#[test]
fn each_row_of_the_table_stands_once_and_has_its_reason() {
    for (index, (evidence, weight, why)) in TABLE.iter().enumerate() {
        assert!(!TABLE[..index].iter().any(|(before, ..)| before == evidence));
        assert_eq!(evidence.weight(), *weight);
        assert!(why.len() > 8, "{evidence:?}");
    }
}

#[test]
fn the_same_network_is_expected() {
    let home = household();
    assert_eq!(against(&home, &home, None), Recognised::Expect(HOME));
}

#[test]
fn the_same_network_is_expected_over_cable_and_over_wireless() {
    let (air, cable) = (household(), by_cable(household()));
    assert_eq!(against(&air, &cable, None), Recognised::Expect(HOME));
    assert_eq!(against(&cable, &air, None), Recognised::Expect(HOME));
}

#[test]
fn two_networks_that_came_out_of_the_same_box_are_two() {
    let other = behind_another_router(by_cable(household()));
    let known = by_cable(household());
    assert_eq!(against(&known, &other, None), Recognised::New);
}

#[test]
fn a_router_that_was_renumbered_is_still_the_known_one() {
    let mut now = household();
    now.prefixes = vec!["10.1.2.0/24".parse().unwrap()];
    now.dhcp_server = Some("10.1.2.1".parse().unwrap());
    now.resolvers = vec!["10.1.2.1:53".parse().unwrap()];
    now.gateways[0].address = "10.1.2.1".parse().unwrap();
    assert_eq!(against(&household(), &now, None), Recognised::Expect(HOME));
}

#[test]
fn the_known_name_and_another_router_are_suspect() {
    let twin = behind_another_router(household());
    assert_eq!(
        against(&household(), &twin, None),
        suspect(&[SignalKind::GatewayMacV4])
    );
}

#[test]
fn the_known_name_without_its_protection_is_suspect_even_with_the_known_router() {
    let mut twin = household();
    twin.security = Some(Security::Open);
    assert_eq!(
        against(&household(), &twin, None),
        suspect(&[SignalKind::Security])
    );
}

#[test]
fn a_second_router_of_the_other_family_is_suspect() {
    let mut known = household();
    known.gateways.push(gateway("fe80::1", "3c:a6:2f:01:02:03"));
    let mut now = known.clone();
    now.gateways[1].mac = Some("66:66:00:01:02:03".parse().unwrap());
    assert_eq!(
        against(&known, &now, None),
        suspect(&[SignalKind::GatewayMacV6])
    );
    // One that shows up where there was none contradicts nothing.
    assert_eq!(
        against(&household(), &known, None),
        Recognised::Expect(HOME)
    );
}

#[test]
fn a_hotspot_that_makes_up_its_addresses_each_day_is_recognised_by_its_name_and_suspect() {
    let mut known = household();
    known.ssid = Some(b"Evas Telefon".to_vec());
    known.gateways = vec![gateway("192.168.43.1", "da:11:5e:7a:c0:09")];
    known.prefixes = vec!["192.168.43.0/24".parse().unwrap()];
    let mut today = known.clone();
    today.gateways = vec![gateway("192.168.212.7", "7e:50:31:02:99:04")];
    today.prefixes = vec!["192.168.212.0/24".parse().unwrap()];
    today.dhcp_server = Some("192.168.212.7".parse().unwrap());
    today.resolvers = vec!["192.168.212.7:53".parse().unwrap()];
    let differs = [
        SignalKind::GatewayMacV4,
        SignalKind::OnLinkPrefix,
        SignalKind::DhcpServer,
        SignalKind::ResolverAddress,
    ];
    assert_eq!(against(&known, &today, None), suspect(&differs));
}

#[test]
fn names_of_every_town_make_no_network_known() {
    let mut known = household();
    known.ssid = Some(b"eduroam".to_vec());
    known.security = Some(Security::Enterprise);
    let elsewhere = behind_another_router(known.clone());
    assert_eq!(against(&known, &elsewhere, None), Recognised::New);
}

#[test]
fn a_group_address_of_routers_needs_more_to_be_known() {
    let mut campus = by_cable(household());
    campus.gateways = vec![gateway("192.168.1.1", "00:00:5e:00:01:01")];
    assert_eq!(against(&campus, &campus, None), Recognised::New);
    let mut named = campus.clone();
    named.dhcp_domain = Some("physics.example".to_owned());
    named.prefixes = vec!["198.51.100.0/24".parse().unwrap()];
    named.dhcp_server = Some("203.0.113.4".parse().unwrap());
    assert_eq!(against(&named, &named, None), Recognised::Expect(HOME));
}

#[test]
fn without_the_router_nothing_is_expected_however_much_else_agrees() {
    let mut known = household();
    known.dhcp_domain = Some("kunterbunt.example".to_owned());
    known.prefixes.push("fd12:3456:789a::/64".parse().unwrap());
    let mut now = known.clone();
    now.gateways[0].mac = None;
    assert_eq!(against(&known, &now, None), suspect(&[]));
}

#[test]
fn a_network_does_not_turn_into_a_new_one_while_the_cable_stays_in() {
    let known = by_cable(household());
    let spoofed = behind_another_router(known.clone());
    assert_eq!(
        against(&known, &spoofed, Some(HOME)),
        suspect(&[SignalKind::GatewayMacV4])
    );
    // It is no excuse to overlook the known one.
    assert_eq!(
        against(&known, &known, Some(OFFICE)),
        Recognised::Expect(HOME)
    );
}

#[test]
fn of_several_the_best_fit_wins_and_of_equals_the_oldest() {
    let home = Sighting::of(&household(), &SECRET);
    let mut office = behind_another_router(household());
    office.dhcp_domain = Some("firm.example".to_owned());
    let office = Sighting::of(&office, &SECRET);
    let both = [(OFFICE, office.signals()), (HOME, home.signals())];
    assert_eq!(recognise(&home, both, None), Recognised::Expect(HOME));
    let twice = [(OFFICE, home.signals()), (HOME, home.signals())];
    assert_eq!(recognise(&home, twice, None), Recognised::Expect(OFFICE));
}

#[test]
fn another_installation_recognises_nothing() {
    let elsewhere = Sighting::of(&household(), &[4; 32]);
    let here = Sighting::of(&household(), &SECRET);
    let known = [(HOME, elsewhere.signals())];
    assert_eq!(recognise(&here, known, None), Recognised::New);
}
