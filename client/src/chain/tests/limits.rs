//! What a malicious graph can cost.

use std::collections::BTreeSet;
use std::time::Instant;

use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record};
use zzdot_zonegen::owners::upstreams_owner;
use zzdot_zonegen::zone::TTL_SECS;

use super::forged::sign_as;
use super::world::*;
use crate::chain::*;

/// Each resolver names ten upstreams that nobody named before: there are as many names as one cares to ask for, and ten
/// thousand within four hops.
#[test]
fn a_graph_without_end_costs_bounded_questions_and_connections() {
    let mut world = World::of(1);
    world.brood = 10;
    let trip = world.survey();
    assert!(world.resolvers.len() > 100, "{}", world.resolvers.len());
    assert_eq!(trip.asked.len(), MAX_QUESTIONS);
    assert!(trip.most_in_flight <= MAX_IN_FLIGHT);
    assert!(trip.connected.len() <= MAX_CONNECTS);
    assert!(trip.chain.nodes.len() <= MAX_NODES + 1);
    assert!(trip.chain.hops.len() <= MAX_HOPS + 1);
    assert!(!trip.chain.complete);
    let named = trip.chain.nodes.iter().map(|node| node.who.to_string());
    let named: BTreeSet<_> = named.collect();
    assert_eq!(named.len(), trip.chain.nodes.len());
    let limit = Limit::Questions;
    let behind = Behind::Unknown {
        why: Why::Limit { limit },
    };
    assert!(trip.chain.nodes.iter().any(|node| node.behind == behind));
    // The first hops are none the worse for it.
    assert!(trip.hops[1].ends_with(" proven met"), "{}", trip.hops[1]);
}

#[test]
fn more_resolvers_than_are_looked_at_are_told() {
    let mut world = World::of(6);
    for near in 1..6 {
        world.hop(0, near);
        for far in 1..=15 {
            world.unnamed(near, &format!("198.51.100.{far}:53"));
        }
    }
    let trip = world.survey();
    assert_eq!(trip.chain.nodes.len(), MAX_NODES + 1, "and the client");
    assert!(!trip.chain.complete);
    let limit = Limit::Nodes;
    let behind = Behind::Unknown {
        why: Why::Limit { limit },
    };
    let cut = trip.chain.nodes.iter().filter(|node| node.behind == behind);
    assert_eq!(cut.count(), 2, "of one there is a part, of one nothing");
}

/// Each answer is of sixty thousand octets, and genuine as far as anybody asked for it.
#[test]
fn fat_answers_cost_bounded_memory() {
    let mut world = World::of(10);
    for far in 1..10 {
        world.hop(0, far);
    }
    let slim = world.survey();
    assert!(slim.chain.complete);
    world.fat = 220;
    let trip = world.survey();
    let limit = Limit::Octets;
    assert_eq!(trip.hops.len(), 10, "{:?}", trip.hops);
    let cut = trip
        .chain
        .hops
        .iter()
        .filter(|hop| hop.why == Why::Limit { limit });
    assert!(cut.count() > 0, "{:?}", trip.hops);
    // A record that is held takes more room than in a message.
    let most = 8 * MAX_OCTETS as i64;
    assert!(trip.most_octets < most, "{} octets", trip.most_octets);
    assert!(trip.most_octets > slim.most_octets);
}

#[test]
fn a_line_longer_than_ways_may_be_ends_at_its_eighth_hop() {
    let mut world = World::of(12);
    for from in 0..11 {
        world.hop(from, from + 1);
    }
    let trip = world.survey();
    assert_eq!(trip.hops.len(), usize::from(MAX_DEPTH));
    assert!(trip.hops.iter().all(|hop| hop.ends_with("proven met")));
    let limit = Limit::Depth;
    let behind = Behind::Unknown {
        why: Why::Limit { limit },
    };
    assert_eq!(trip.chain.nodes.last().unwrap().behind, behind);
    // It is as long where nobody can be met.
    world.reach.clear();
    let trip = world.survey();
    assert_eq!(trip.hops.len(), usize::from(MAX_DEPTH), "{:?}", trip.hops);
    assert_eq!(trip.chain.nodes.last().unwrap().behind, behind);
}

#[test]
fn more_upstreams_than_are_looked_at_are_told() {
    let mut world = World::of(1);
    for number in 1..=16 {
        world.unnamed(0, &format!("198.51.100.{number}:53"));
    }
    let trip = world.survey();
    assert_eq!(trip.chain.hops.len(), 17);
    // That many may be published; a zone of others' making may have more.
    let nearest = world.resolvers[0].identity.name();
    let owner = upstreams_owner(nearest);
    let one_more = Name::from_ascii("198-51-100-99.unnamed.").unwrap();
    let one_more = RData::PTR(PTR(one_more.append_domain(nearest.as_name()).unwrap()));
    let signed = sign_as(&world, 0, 0, |records| {
        records.push(Record::from_rdata(owner, TTL_SECS, one_more));
    });
    let trip = world.survey_while(|world, _| {
        world.resolvers[0].zones.as_mut().unwrap().name_zone = signed.clone();
    });
    assert_eq!(trip.chain.hops.len(), 17);
    let limit = Limit::Upstreams;
    let behind = Behind::Unknown {
        why: Why::Limit { limit },
    };
    assert_eq!(trip.node(&world, 0).behind, behind);
}

#[test]
fn silence_costs_no_more_than_the_time_given() {
    let mut world = World::of(2);
    world.hop(0, 1);
    world.publish_all();
    let now = Instant::now();
    let mut survey = Survey::new(world.input(now));
    let asks = std::iter::from_fn(|| survey.next_action());
    let asks: Vec<_> = asks
        .filter(|action| matches!(action, Action::Ask(_)))
        .collect();
    assert!(!asks.is_empty());
    let due = survey.next_timeout().unwrap();
    assert_eq!(due, now + SURVEY_TIMEOUT);
    survey.on_timeout(now);
    assert_eq!(survey.next_timeout(), Some(due), "too early");
    survey.on_timeout(due);
    let Some(Action::Done(chain)) = survey.next_action() else {
        panic!("not over");
    };
    assert!(!chain.complete);
    assert_eq!(chain.hops.len(), 1);
    assert_eq!(chain.ttl, 60, "looked at again soon");
    assert_eq!((survey.next_timeout(), survey.next_action()), (None, None));
    // What comes afterwards changes nothing.
    for action in asks {
        let Action::Ask(ask) = action else { continue };
        survey.on_no_answer(CLOCK, ask.id);
        survey.on_message(CLOCK, ask.id, &[0; 12]);
    }
    assert_eq!(survey.next_action(), None);
}

#[test]
fn addresses_that_nobody_should_connect_to_are_not_tried() {
    let mut world = World::of(2);
    let claim = world.hop(0, 1);
    claim.addresses = ["127.0.0.1", "::1", "fe80::1"]
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    let trip = world.survey();
    let own = "192.0.2.11:853".parse().unwrap();
    assert!(
        trip.connected.iter().all(|place| *place == own),
        "{:?}",
        trip.connected
    );
}
