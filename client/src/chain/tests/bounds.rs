//! Each bound, met and exceeded by one.

use std::time::Instant;

use super::world::*;
use crate::chain::*;

/// Whether anything in the chain was left out for this.
fn is_cut(trip: &Trip, limit: Limit) -> bool {
    let why = Why::Limit { limit };
    let behind = Behind::Unknown { why: why.clone() };
    let nodes = trip.chain.nodes.iter().any(|node| node.behind == behind);
    nodes || trip.chain.hops.iter().any(|hop| hop.why == why)
}

/// Nine forwarders behind the nearest; what they name takes exactly as many questions as may be asked.
#[test]
fn six_hundred_questions_are_asked_and_not_one_more() {
    let mut world = World::of(10);
    world.reach.clear();
    for far in 1..10 {
        world.hop(0, far);
    }
    let mut extra = 50;
    for step in 1..=6 {
        for near in 1..10 {
            if extra > 0 {
                world.hop(near, (near + step) % 10);
                extra -= 1;
            }
        }
    }
    for near in 1..10 {
        world.unnamed(near, "198.51.100.1:53");
        world.unnamed(near, "198.51.100.2:53");
    }
    let trip = world.survey();
    assert_eq!(trip.asked.len(), MAX_QUESTIONS);
    assert!(!is_cut(&trip, Limit::Questions), "{:?}", trip.hops);
    world.unnamed(9, "198.51.100.3:53");
    let trip = world.survey();
    assert_eq!(trip.asked.len(), MAX_QUESTIONS);
    assert!(is_cut(&trip, Limit::Questions), "{:?}", trip.hops);
}

/// So many questions are never asked that there could be as many hops: here they are.
#[test]
fn two_hundred_and_fifty_six_hops_are_looked_at_and_not_one_more() {
    let mut world = World::of(17);
    world.reach.clear();
    world.most_questions = Some(10_000);
    for near in 0..16 {
        for far in 0..16 {
            // The last one is named by the first alone, and names one.
            let claim = world.hop(near, if near == 0 { far + 1 } else { far });
            (claim.addresses, claim.tls) = (Vec::new(), None);
        }
    }
    world.hop(16, 0);
    let trip = world.survey();
    assert_eq!(trip.chain.hops.len(), 1 + MAX_HOPS);
    let limit = Limit::Hops;
    let behind = Behind::Unknown {
        why: Why::Limit { limit },
    };
    let cut = trip.chain.nodes.iter().filter(|node| node.behind == behind);
    assert_eq!(cut.count(), 1, "{:?}", trip.hops);
}

#[test]
fn sixty_four_resolvers_are_looked_at_and_not_one_more() {
    let mut world = World::of(4);
    for near in 1..4 {
        world.hop(0, near);
        for number in 1..=16 {
            world.unnamed(near, &format!("198.51.100.{number}:53"));
        }
    }
    for number in 1..=12 {
        world.unnamed(0, &format!("198.51.100.{number}:53"));
    }
    let trip = world.survey();
    assert_eq!(trip.chain.nodes.len(), 1 + MAX_NODES, "and the client");
    assert!(!is_cut(&trip, Limit::Nodes));
    world.unnamed(0, "198.51.100.13:53");
    let trip = world.survey();
    assert_eq!(trip.chain.nodes.len(), 1 + MAX_NODES);
    assert!(is_cut(&trip, Limit::Nodes));
}

#[test]
fn sixty_four_handshakes_are_tried_and_not_one_more() {
    let mut world = World::of(18);
    world.reach.clear();
    for far in 1..=16 {
        let claim = world.hop(0, far);
        let address = |last| format!("203.0.{far}.{last}").parse().unwrap();
        claim.addresses = (1..=4).map(address).collect();
    }
    let detail_of = |trip: &Trip, far: usize, world: &World| {
        let name = world.resolvers[far].identity.name().clone();
        let who = Who::Named { name };
        let hop = trip
            .chain
            .hops
            .iter()
            .find(|hop| trip.chain.nodes[hop.to.0].who == who);
        hop.unwrap().why.to_string()
    };
    let trip = world.survey();
    assert_eq!(trip.connected.len(), MAX_CONNECTS);
    for far in 1..=16 {
        let detail = detail_of(&trip, far, &world);
        assert!(!detail.contains("no more"), "{detail}");
    }
    world.hop(16, 17);
    let trip = world.survey();
    assert_eq!(trip.connected.len(), MAX_CONNECTS);
    let detail = detail_of(&trip, 17, &world);
    assert!(detail.contains("no more handshakes"), "{detail}");
}

/// A graph of many names that are all at one address would have everybody knock there.
#[test]
fn an_address_is_tried_four_times_whoever_is_said_to_be_there() {
    let mut world = World::of(7);
    world.reach.clear();
    for far in 1..7 {
        let claim = world.hop(0, far);
        let address = match far {
            1..=4 => "203.0.113.1",
            _ => "::ffff:203.0.113.1",
        };
        claim.addresses = vec![address.parse().unwrap()];
    }
    let trip = world.survey();
    let victim =
        |place: &&std::net::SocketAddr| place.ip().to_canonical().to_string() == "203.0.113.1";
    let tried = trip.connected.iter().filter(victim).count();
    assert_eq!(tried, MAX_CONNECTS_PER_ADDRESS, "{:?}", trip.connected);
}

#[test]
fn a_mebibyte_of_answers_waits_and_not_one_octet_more() {
    for (octets, cut) in [(MAX_OCTETS, 0), (MAX_OCTETS + 1, 1)] {
        let mut world = World::of(5);
        world.reach.clear();
        for far in 1..5 {
            world.hop(0, far);
        }
        world.publish_all();
        let mut survey = Survey::new(world.input(Instant::now()));
        let mut round = 0;
        let chain = 'over: loop {
            let mut asks = Vec::new();
            while let Some(action) = survey.next_action() {
                match action {
                    Action::Ask(ask) => asks.push(ask),
                    Action::Done(chain) => break 'over chain,
                    Action::Connect(connect) => {
                        let detail = "no route to host".to_owned();
                        let failure = crate::discover::TlsFailure::NoConnection { detail };
                        survey.on_tls(CLOCK, connect.attempt, Err(failure));
                    }
                    Action::Trust(_) | Action::Event(_) => {}
                }
            }
            let count = asks.len();
            for (number, ask) in asks.into_iter().enumerate() {
                let mut message = world.answer(0, &ask.name, ask.qtype).unwrap();
                let query = hickory_proto::op::Message::from_vec(&ask.message(7)).unwrap();
                message.queries = query.queries;
                let mut message = message.to_vec().unwrap();
                // All that is asked about the upstreams waits together.
                if round == 1 {
                    let share = octets / count;
                    let last = number + 1 == count;
                    pad(&mut message, share + if last { octets % count } else { 0 });
                }
                survey.on_message(CLOCK, ask.id, &message);
            }
            round += 1;
        };
        let limit = Limit::Octets;
        let of_limit = chain
            .hops
            .iter()
            .filter(|hop| hop.why == Why::Limit { limit });
        assert_eq!(of_limit.count(), cut, "{octets}: {:#?}", chain.hops);
        assert_eq!(chain.hops.len(), 5);
    }
}

/// Makes a message so long, with a record that says nothing.
fn pad(message: &mut Vec<u8>, octets: usize) {
    let data = octets - message.len() - 11;
    message.extend([0, 0xff, 0x00, 0, 1, 0, 0, 0, 0]);
    message.extend(u16::try_from(data).unwrap().to_be_bytes());
    message.resize(octets, 0);
    let additional = u16::from_be_bytes([message[10], message[11]]) + 1;
    message[10..12].copy_from_slice(&additional.to_be_bytes());
}
