//! How far questions lead that others pass on, and what comes of it when those change whom they ask.

use zzdot_zonegen::upstream::UpstreamId;

use super::forged::sign_as;
use super::world::*;
use crate::chain::*;

/// A line of eight hops behind a NAT, and two more resolvers.
fn long_line() -> World {
    let mut world = World::of(10);
    for from in 0..7 {
        world.hop(from, from + 1);
    }
    world.reach.clear();
    world
}

/// The round in which the last of [`long_line`] is asked for its own zone: two for each of those before it.
const LAST_READ: usize = 14;

#[test]
fn a_line_of_eight_hops_that_nobody_can_meet_is_read_whole() {
    let mut world = long_line();
    let trip = world.survey();
    assert_eq!(trip.hops.len(), 8, "{:?}", trip.hops);
    let claimed = |hop: &&String| hop.ends_with(" claimed not-met");
    assert_eq!(trip.hops.iter().filter(claimed).count(), 7);
    assert!(trip.chain.complete, "{:#?}", trip.chain);
    assert_eq!(trip.chain.weakness(), None);
    assert_eq!(trip.node(&world, 7).behind, Behind::Resolves);
    let through = Reached::Through { node: NodeId(7) };
    assert_eq!(trip.node(&world, 7).reached, Some(through));
}

#[test]
fn whoever_can_be_told_whom_to_ask_is_told() {
    let mut world = long_line();
    let trip = world.survey();
    let name = |number: usize| world.resolvers[number].identity.name().to_string();
    let exact = format!(".q.{}.{}.", name(1), name(0));
    let short = format!(".q.{}.", name(0));
    // Four hops are told, or three with the longest of names; then none.
    for (number, told) in [(1, true), (3, true), (7, false)] {
        let of = format!("{}.q.", name(number));
        let mut asked = trip.asked.iter().map(|(_, name, _)| name.to_ascii());
        let first = asked.find(|asked| asked.starts_with(&of)).unwrap();
        assert_eq!(first.ends_with(&exact), told, "{first}");
        assert_eq!(first.ends_with(&short), !told, "{first}");
    }
}

#[test]
fn where_there_are_several_to_choose_from_names_become_too_long_and_it_is_told() {
    let limit = Limit::NameLength;
    let behind = Behind::Unknown {
        why: Why::Limit { limit },
    };
    // What the fifth says about its upstreams cannot be asked for.
    let mut world = long_line();
    for near in 0..7 {
        world.unnamed(near, "198.51.100.1:53");
    }
    let trip = world.survey();
    assert_eq!(trip.node(&world, 4).behind, behind, "{:?}", trip.hops);
    assert!(!trip.chain.complete);
    // Where the nearest has one upstream alone, it can; what the sixth says about itself cannot.
    let mut world = long_line();
    for near in 1..7 {
        world.unnamed(near, "198.51.100.1:53");
    }
    let trip = world.survey();
    assert_eq!(trip.hops.last().unwrap(), "4>5 opaque limit");
    let why = &trip.chain.hops.last().unwrap().why;
    assert!(why.to_string().contains("too long for a name"), "{why}");
    assert_eq!(trip.node(&world, 5).behind, behind);
}

/// The sixth asks another one by now, and says so: what was read of whom it asked before is not told.
#[test]
fn who_asks_another_one_by_now_is_read_again() {
    let mut world = long_line();
    let trip = world.survey_while(|world, round| {
        if round == LAST_READ {
            world.clock.0 += 1;
            world.resolvers[5].upstreams.clear();
            world.hop(5, 8);
            world.publish(5);
        }
    });
    let changed = world.resolvers[5].identity.name();
    let is = |step: &&Step| matches!(step, Step::Changed { name } if name == changed);
    assert_eq!(trip.steps.iter().filter(is).count(), 1, "{:#?}", trip.steps);
    assert_eq!(trip.hops.len(), 7, "{:?}", trip.hops);
    assert_eq!(trip.hops[6], "5>8 claimed not-met");
    assert!(trip.chain.complete);
}

/// It went there and back: whom it names is read once more.
#[test]
fn who_asked_another_one_for_a_moment_is_read_again() {
    let mut world = long_line();
    let trip = world.survey_while(|world, round| {
        world.resolvers[6].upstreams[0].real = Some(if round == LAST_READ { 8 } else { 7 });
        if round == LAST_READ {
            world.clock.0 += 1;
            world.publish(6);
        }
    });
    assert_eq!(trip.hops.len(), 8, "{:?}", trip.hops);
    assert_eq!(trip.hops[7], "6>7 claimed not-met");
    assert!(trip.chain.complete, "{:#?}", trip.steps);
}

/// What is asked is answered by somebody else, who is not the one that the zone speaks of.
#[test]
fn whoever_answers_in_the_place_of_another_is_not_believed() {
    // Somebody who says nothing about that name, and one who says all of it under keys of his own.
    for (forged, expected) in [(false, "zone-unreadable"), (true, "other-key")] {
        let mut world = long_line();
        let trip = world.survey_while(|world, round| {
            if round != LAST_READ {
                return;
            }
            world.resolvers[6].upstreams[0].real = Some(8);
            if forged {
                let zone = sign_as(world, 7, 8, |_| {});
                world.resolvers[8].zones.as_mut().unwrap().name_zone = zone;
            }
        });
        assert_eq!(trip.hops[7], format!("6>7 opaque {expected}"));
        assert!(!trip.chain.complete);
        let far = UpstreamId::Named(world.resolvers[7].identity.name().clone());
        assert_eq!(world.resolvers[6].upstreams[0].published.id, far);
    }
}
