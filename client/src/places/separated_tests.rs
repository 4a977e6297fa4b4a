//! Two cafes of one chain: the same name and protection, another router in each.

use super::*;
use crate::network::Security;

const FIRST: &str = ROUTER;
const SECOND: &str = OTHER_ROUTER;
const THIRD: &str = "9c:c7:a6:0d:0e:0f";

fn cafe(mac: &str, epoch: u64) -> Sight {
    let mut sight = sight(2, mac);
    sight.view.ssid = Some(b"Three Beans".to_vec());
    sight.view.security = Some(Security::Personal);
    sight.epoch = epoch;
    sight
}

fn number(id: u8) -> NetworkId {
    NetworkId::from_bytes([id; 8])
}

fn signals(sight: &Sight) -> crate::network::Signals {
    Sighting::of(&sight.view, &SECRET).signals().clone()
}

/// The first cafe is known, and this machine is in the one whose router is this.
fn in_cafe(mac: &str) -> World {
    let mut world = at_home(mac);
    world.sights = vec![cafe(mac, 1)];
    world.known = vec![KnownNetwork {
        signals: signals(&cafe(FIRST, 1)),
        ..known(1, FIRST)
    }];
    world
}

/// What the store does when a person says so.
fn separate(world: &mut World, stop: &Stop, id: u8) {
    assert_eq!(stop.taken, Taken::Suspect);
    assert!(stop.recognisable && !stop.turned);
    world.separated.push(SeparatedNetwork {
        id: number(id),
        from: network(stop),
        signals: stop.surroundings.signals.clone(),
        at: UnixTime(u64::from(id)),
    });
}

fn taken(world: &mut World) -> (Taken, NetworkId) {
    let stop = world.default_stop();
    assert_eq!(
        stop.surroundings.doubt.is_some(),
        stop.taken == Taken::Suspect
    );
    (stop.taken, network(&stop))
}

#[test]
fn the_second_cafe_of_a_chain_is_suspect_until_a_person_tells_it_apart() {
    let mut world = in_cafe(SECOND);
    let stop = world.default_stop();
    assert_eq!(network(&stop), number(1));
    separate(&mut world, &stop, 2);
    assert_eq!(taken(&mut world), (Taken::New, number(2)), "at once");
    world.sights = vec![cafe(FIRST, 2)];
    assert_eq!(taken(&mut world), (Taken::Expected, number(1)));
    world.sights = vec![cafe(SECOND, 3)];
    assert_eq!(taken(&mut world), (Taken::New, number(2)), "back again");
    // After a restart nothing is left but what the store holds.
    world.director = Director::default();
    assert_eq!(taken(&mut world), (Taken::New, number(2)));
}

#[test]
fn whoever_is_met_in_the_second_cafe_is_expected_there_and_in_no_other() {
    let mut world = in_cafe(SECOND);
    let stop = world.default_stop();
    separate(&mut world, &stop, 2);
    world.known.push(KnownNetwork {
        id: number(2),
        signals: signals(&cafe(SECOND, 1)),
        first_seen: UnixTime(5),
        ..known(2, SECOND)
    });
    for (mac, id) in [(SECOND, 2), (FIRST, 1), (SECOND, 2)] {
        world.director = Director::default();
        world.sights = vec![cafe(mac, 1)];
        assert_eq!(taken(&mut world), (Taken::Expected, number(id)));
    }
    // Forgetting who was met makes it a new network, and none that is taken for the first one.
    world.known.pop();
    assert_eq!(taken(&mut world), (Taken::New, number(2)));
}

#[test]
fn a_third_cafe_and_a_twin_of_the_first_are_as_suspect_as_ever() {
    let mut world = in_cafe(SECOND);
    let stop = world.default_stop();
    separate(&mut world, &stop, 2);
    world.sights = vec![cafe(THIRD, 2)];
    let third = world.default_stop();
    assert_eq!((third.taken, network(&third)), (Taken::Suspect, number(1)));
    separate(&mut world, &third, 3);
    assert_eq!(taken(&mut world), (Taken::New, number(3)));
    // The name without its protection, in front of the router that is known: not even the second one's word counts.
    for mac in [FIRST, SECOND] {
        let mut twin = cafe(mac, 4);
        twin.view.security = Some(Security::Open);
        world.sights = vec![twin];
        assert_eq!(taken(&mut world), (Taken::Suspect, number(1)), "{mac}");
    }
}

#[test]
fn where_somebody_is_expected_is_expected_though_the_router_of_the_second_cafe_shows_too() {
    let mut world = in_cafe(SECOND);
    let stop = world.default_stop();
    separate(&mut world, &stop, 2);
    let mut both = cafe(FIRST, 2);
    both.view.gateways.extend(cafe(SECOND, 2).view.gateways);
    world.sights = vec![both];
    assert_eq!(taken(&mut world), (Taken::Expected, number(1)));
}

#[test]
fn the_first_cafe_does_not_turn_into_the_second_while_the_link_stays() {
    let mut world = in_cafe(SECOND);
    let stop = world.default_stop();
    separate(&mut world, &stop, 2);
    world.sights = vec![cafe(FIRST, 2)];
    assert_eq!(taken(&mut world), (Taken::Expected, number(1)));
    // Somebody answers for the router there, with the address of the second cafe's.
    world.sights = vec![cafe(SECOND, 2)];
    for _ in 0..2 {
        let stop = world.default_stop();
        assert_eq!((stop.taken, network(&stop)), (Taken::Suspect, number(1)));
        assert!(stop.turned, "a person who is asked to say so is declined");
    }
    world.sights = vec![cafe(SECOND, 3)];
    assert_eq!(taken(&mut world), (Taken::New, number(2)));
}

#[test]
fn a_network_that_shows_no_router_of_its_own_cannot_be_told_apart() {
    for mac in [None, Some("00:00:5e:00:01:01".parse().unwrap())] {
        let mut world = in_cafe(SECOND);
        world.sights[0].view.gateways[0].mac = mac;
        let stop = world.default_stop();
        assert_eq!(stop.taken, Taken::Suspect);
        assert!(!stop.recognisable, "{mac:?}");
    }
}

#[test]
fn a_network_that_was_told_apart_waits_until_all_has_shown() {
    let mut world = in_cafe(SECOND);
    let stop = world.default_stop();
    separate(&mut world, &stop, 2);
    world.director = Director::default();
    world.sights[0].quiet = false;
    assert_eq!(world.plan().default, None);
}
