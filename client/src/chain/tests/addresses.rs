//! Where resolvers are looked for, and where not.

use std::net::SocketAddr;

use super::world::*;
use crate::chain::*;

fn place(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A line of three at these addresses.
fn line_at(addresses: [&str; 3]) -> World {
    let mut world = World::of(3);
    for (number, address) in addresses.into_iter().enumerate() {
        world.locate(number, address);
    }
    world.hop(0, 1);
    world.hop(1, 2);
    world
}

#[test]
fn who_was_met_on_loopback_may_say_that_others_are_there() {
    let mut world = line_at(["127.0.0.1", "127.0.0.2", "::1"]);
    let trip = world.survey();
    let expected = ["->0 proven met", "0>1 proven met", "1>2 proven met"];
    assert_eq!(trip.hops, expected, "{:#?}", trip.steps);
    // The handshake that allows it comes late, after all else was read.
    let mut world = line_at(["127.0.0.1", "127.0.0.2", "::1"]);
    world.late.insert(place("127.0.0.2:853"), 9);
    let trip = world.survey();
    assert_eq!(trip.hops, expected, "{:#?}", trip.steps);
    // As it does where nobody passes questions on.
    world.resolvers[1].passes = false;
    let trip = world.survey();
    assert_eq!(trip.hops, expected, "{:#?}", trip.steps);
}

#[test]
fn who_was_met_elsewhere_may_not_send_anybody_to_loopback() {
    for addresses in [
        ["192.0.2.10", "127.0.0.2", "127.0.0.3"],
        ["127.0.0.1", "192.0.2.11", "127.0.0.3"],
        ["192.0.2.10", "192.0.2.11", "::1"],
    ] {
        let mut world = line_at(addresses);
        let trip = world.survey();
        let loopback = |place: &&SocketAddr| place.ip().is_loopback();
        assert_eq!(trip.connected.iter().find(loopback), None, "{addresses:?}");
        assert!(trip.chain.complete, "{:#?}", trip.steps);
        assert!(
            trip.hops.last().unwrap().starts_with("1>2 claimed not-met"),
            "{:?}",
            trip.hops
        );
    }
}

/// A forwarder of this computer asks somebody elsewhere, whose zone says that he is on loopback, too.
#[test]
fn nobody_says_of_himself_that_he_is_on_loopback() {
    let mut world = line_at(["127.0.0.1", "127.0.0.2", "192.0.2.12"]);
    world.reach.remove(&place("127.0.0.2:853"));
    world.resolvers[0].upstreams[0].published.addresses = vec!["192.0.2.11".parse().unwrap()];
    let trip = world.survey();
    assert!(!trip.connected.contains(&place("127.0.0.2:853")));
    assert!(trip.connected.contains(&place("192.0.2.11:853")));
}

#[test]
fn where_this_computer_is_itself_nobody_is_looked_for() {
    let mut world = line_at(["192.0.2.10", "192.0.2.11", "192.0.2.12"]);
    let own = ["192.0.2.10", "192.0.2.11"].map(|own| own.parse().unwrap());
    world.own_addresses = OwnAddresses::Known(own.into());
    let trip = world.survey();
    // The nearest is on this computer, and stays whom questions go to.
    assert_eq!(
        trip.hops,
        ["->0 proven met", "0>1 claimed not-met", "1>2 proven met"]
    );
    assert_eq!(trip.connected, [place("192.0.2.12:853")]);
    world.own_addresses = OwnAddresses::Unknown;
    let trip = world.survey();
    assert!(trip.chain.complete);
    assert_eq!(trip.connected, []);
}

#[test]
fn a_resolver_is_looked_for_at_four_addresses_whoever_vouches_for_it() {
    let mut world = World::of(6);
    let ksk = world.resolvers[5].identity.name_keys().ksk.dnskey().clone();
    for near in 1..=3 {
        world.hop(0, near);
        // None of them says what is true, so that the next one is heard.
        let claim = world.hop(near, 4);
        let address = |last| format!("203.0.{near}.{last}").parse().unwrap();
        claim.addresses = (1..=3).map(address).collect();
        claim.ksks = vec![ksk.clone()];
    }
    let trip = world.survey();
    let lies = trip
        .hops
        .iter()
        .filter(|hop| hop.ends_with(">4 opaque other-key"));
    assert_eq!(lies.count(), 3, "{:?}", trip.hops);
    let tried = trip.connected.iter();
    let tried = tried.filter(|place| place.to_string().starts_with("203.0."));
    assert_eq!(tried.count(), MAX_CONNECTS_PER_NODE, "{:?}", trip.connected);
}
