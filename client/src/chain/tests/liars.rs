//! Resolvers that lie, and those that change while they are looked at.

use std::net::SocketAddr;

use hickory_proto::rr::RecordType;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::upstream::{ServerKind, Transport};
use zzdot_zonegen::zone::ServerType;

use super::world::*;
use crate::chain::*;

/// The hop from 0 to 1, when 0 says this about 1, which forwards to 2.
fn lied(lie: impl Fn(&mut World)) -> (World, Trip) {
    let mut world = World::of(4);
    world.hop(0, 1);
    world.hop(1, 2);
    lie(&mut world);
    let trip = world.survey();
    (world, trip)
}

/// What 0 makes of the truth.
type Lie = fn(&mut World);

fn said(world: &mut World) -> &mut zzdot_zonegen::upstream::PublishedUpstream {
    &mut world.resolvers[0].upstreams[0].published
}

#[test]
fn each_lie_about_an_upstream_makes_the_hop_opaque_by_its_name() {
    let lies: [(&str, Lie); 4] = [
        ("other-server-type", |world| {
            said(world).kind = ServerKind::Resolver;
        }),
        ("other-addresses", |world| {
            said(world).addresses = vec!["203.0.113.9".parse().unwrap()];
        }),
        ("other-tlsa", |world| {
            let tls = world.hop(3, 0).tls.clone();
            said(world).tls = tls;
        }),
        ("other-key", |world| {
            let ksk = world.resolvers[3].identity.name_keys().ksk.dnskey().clone();
            said(world).ksks = vec![ksk];
        }),
    ];
    for (name, lie) in lies {
        let (_, trip) = lied(lie);
        let hop = format!("0>1 opaque {name}");
        assert_eq!(trip.hops[1], hop, "{:#?}", trip.hops);
        assert!(trip.chain.weakness().is_some());
    }
}

#[test]
fn who_hides_an_upstream_of_its_upstream_is_found_out() {
    // 1 asks 2 and nobody else, by the word of 0; it says itself that it forwards, where 0 says that it does not.
    let (_, trip) = lied(|world| {
        said(world).kind = ServerKind::Resolver;
        said(world).transport = Transport::Doh;
    });
    assert_eq!(trip.hops[1], "0>1 opaque other-server-type");
    assert_eq!(trip.hops[2], "1>2 proven met");
}

#[test]
fn a_resolver_that_asks_others_after_all_contradicts_itself() {
    let (_, trip) = lied(|world| {
        world.resolvers[1].server_type = ServerType::Resolver;
        said(world).kind = ServerKind::Resolver;
    });
    assert_eq!(trip.hops[1], "0>1 opaque asks-after-all");
}

/// Two of whom one vouches for a key of its own: the honest one's hop stays what it is.
#[test]
fn a_liar_does_not_spoil_the_hop_of_another_to_the_same_resolver() {
    let mut world = World::of(5);
    world.hop(0, 1);
    world.hop(0, 2);
    let ksk = world.resolvers[4].identity.name_keys().ksk.dnskey().clone();
    world.hop(1, 3).ksks = vec![ksk];
    world.hop(2, 3);
    let trip = world.survey();
    let has = |hop: &str| assert!(trip.hops.iter().any(|it| it == hop), "{:#?}", trip.hops);
    has("1>3 opaque other-key");
    has("2>3 proven met");
    assert_eq!(trip.node(&world, 3).behind, Behind::Resolves);
}

/// The one in between answers for the far one out of an old zone; the far one itself says something newer.
#[test]
fn an_old_zone_passed_on_is_seen_through_where_the_far_end_can_be_met() {
    let mut world = World::of(4);
    world.hop(0, 1);
    // Number 1 was a resolver, and asks 3 in cleartext by now. 0 keeps showing what was.
    let trip = world.survey_while(|world, round| {
        if round == 3 {
            world.unnamed(1, "198.51.100.1:53");
            world.clock.0 += 1;
            world.publish(1);
        }
    });
    // What was read through 0 in the third round is not what 1 says itself in the fourth.
    assert!(
        trip.steps
            .iter()
            .any(|step| matches!(step, Step::Changed { .. }))
    );
    assert_eq!(
        trip.hops.last().unwrap(),
        "1>198.51.100.1:53 cleartext says-plain"
    );
}

/// A second handshake with it comes out between the old zone that was passed on and the new one.
#[test]
fn nobody_is_met_by_the_word_of_a_zone_that_is_being_replaced() {
    let mut world = World::of(2);
    let second: SocketAddr = "192.0.2.77:853".parse().unwrap();
    world.hop(0, 1).addresses.push(second.ip());
    world.reach.insert(second, 1);
    world.late.insert(second, 4);
    let trip = world.survey_while(|world, round| {
        if round == 3 {
            world.clock.0 += 1;
            world.publish(1);
        }
    });
    let far = world.resolvers[1].identity.name();
    let at = |is: fn(&Step, &ResolverName) -> bool| {
        let mut steps = trip.steps.iter();
        let found = steps.rposition(|step| is(step, far));
        found.unwrap_or_else(|| panic!("missing in {:#?}", trip.steps))
    };
    let changed = at(|step, far| matches!(step, Step::Changed { name } if name == far));
    let read = at(|step, far| matches!(step, Step::Read { name, .. } if name == far));
    let met = at(|step, far| matches!(step, Step::PeerProven { name, .. } if name == far));
    assert!(changed < read && read < met, "{:#?}", trip.steps);
    assert_eq!(trip.hops, ["->0 proven met", "0>1 proven met"]);
}

#[test]
fn a_change_in_between_is_read_again() {
    let mut world = World::of(3);
    world.hop(0, 1);
    let trip = world.survey_while(|world, round| {
        if round == 1 {
            world.clock.0 += 1;
            world.resolvers[0].upstreams.clear();
            world.hop(0, 2);
            world.publish(0);
        }
    });
    assert_eq!(trip.hops, ["->0 proven met", "0>2 proven met"]);
    assert!(
        trip.steps
            .iter()
            .any(|step| matches!(step, Step::Changed { .. }))
    );
    assert!(trip.chain.complete);
}

/// Who passes questions on passes answers on as they come.
#[test]
fn a_list_that_is_older_than_the_version_beside_it_is_read_again() {
    let mut world = World::of(3);
    world.hop(0, 1);
    let trip = world.survey_while(|world, round| {
        world.resolvers[0].overtaken = None;
        if round == 0 {
            let before = world.resolvers[0].zones.take().unwrap();
            world.resolvers[0].overtaken = Some((RecordType::PTR, before));
            world.clock.0 += 1;
            world.hop(0, 2);
            world.publish(0);
        }
    });
    let hops = trip.sorted_hops();
    let expected = ["->0 proven met", "0>1 proven met", "0>2 proven met"];
    assert_eq!(hops, expected, "{:#?}", trip.steps);
}

/// The end of a chain is asked once, and has no other frame.
#[test]
fn a_version_that_is_older_than_what_is_read_with_it_is_read_again() {
    let mut world = World::of(3);
    world.hop(0, 1);
    world.reach.clear();
    let trip = world.survey_while(|world, round| {
        world.resolvers[1].overtaken = None;
        if round == 2 {
            let before = world.resolvers[1].zones.take().unwrap();
            world.resolvers[1].overtaken = Some((RecordType::SOA, before));
            world.clock.0 += 1;
            world.publish(1);
        }
    });
    let is_change = |step: &&Step| matches!(step, Step::Changed { .. });
    assert_eq!(trip.steps.iter().filter(is_change).count(), 1);
    assert_eq!(trip.hops, ["->0 proven met", "0>1 claimed not-met"]);
    assert!(trip.chain.complete);
}

#[test]
fn what_changes_each_time_is_opaque() {
    let mut world = World::of(3);
    world.hop(0, 1);
    world.hop(1, 2);
    let trip = world.survey_while(|world, _| {
        world.clock.0 += 1;
        world.publish(1);
    });
    assert_eq!(trip.hops, ["->0 proven met", "0>1 opaque changing"]);
    let why = Why::Changing;
    assert_eq!(trip.node(&world, 1).behind, Behind::Unknown { why });
    assert!(!trip.chain.complete);
}

#[test]
fn a_far_end_that_is_silent_is_claimed_and_not_known_behind() {
    let (world, trip) = lied(|world| {
        world.resolvers[1].answers = false;
        world.reach.clear();
    });
    assert_eq!(trip.hops, ["->0 proven met", "0>1 claimed not-read"]);
    assert!(trip.node(&world, 1).is_unread());
    assert!(trip.chain.weakness().is_some());
}

/// It is met while what it says about its upstreams is asked for through the one before it, who passes nothing on.
#[test]
fn who_passes_nothing_on_does_not_spoil_what_is_said_by_one_who_was_met() {
    let mut world = World::of(3);
    world.hop(0, 1);
    world.hop(1, 2);
    world.late.insert("192.0.2.11:853".parse().unwrap(), 3);
    let trip = world.survey_while(|world, round| world.resolvers[0].passes = round < 3);
    let expected = ["->0 proven met", "0>1 proven met", "1>2 proven met"];
    assert_eq!(trip.hops, expected, "{:#?}", trip.steps);
    assert!(trip.chain.complete);
}

/// It shakes hands, and says nothing after that: what is read of it comes through the one before it.
#[test]
fn a_connection_that_dies_is_not_missed() {
    let mut world = World::of(3);
    world.hop(0, 1);
    world.hop(1, 2);
    let trip = world.survey_while(|world, round| {
        // The second time that 1 is asked anything, which is over the connection with it.
        world.resolvers[1].answers = round != 3;
    });
    assert!(trip.chain.complete, "{:#?}", trip.steps);
    assert_eq!(trip.hops.len(), 3);
    assert!(
        trip.hops[1].starts_with("0>1 claimed not-met"),
        "{:?}",
        trip.hops
    );
}

#[test]
fn expired_zones_are_opaque_and_say_so() {
    let mut world = World::of(2);
    world.hop(0, 1);
    world.publish_all();
    let trip = world.survey_while(|world, round| {
        if round == 1 {
            // Number 1 stopped signing two weeks ago; 0 did not.
            world.clock.0 += 15 * 86_400;
            world.publish(0);
        }
    });
    assert_eq!(trip.hops.len(), 2, "{:?}", trip.hops);
    assert!(
        trip.hops[1].starts_with("0>1 opaque zone-unreadable"),
        "{:?}",
        trip.hops
    );
}
