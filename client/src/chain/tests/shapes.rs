//! Graphs of honest resolvers.

use std::net::SocketAddr;

use hickory_proto::rr::RecordType;
use zzdot_zonegen::upstream::{Proof, ServerKind, Transport};

use super::world::*;
use crate::chain::*;

/// Laptop, appliance, appliance, appliance.
fn line() -> World {
    let mut world = World::of(3);
    world.hop(0, 1);
    world.hop(1, 2);
    world
}

#[test]
fn a_line_is_proven_hop_by_hop_in_two_flights_for_each() {
    let mut world = line();
    let trip = world.survey();
    assert_eq!(
        trip.hops,
        ["->0 proven met", "0>1 proven met", "1>2 proven met"]
    );
    assert!(trip.chain.complete);
    assert_eq!(trip.chain.weakness(), None);
    assert_eq!(trip.chain.ends, [NodeId(3)]);
    assert_eq!(trip.chain.ttl, 60);
    assert_eq!(trip.flights, 6, "{:#?}", trip.asked);
    let end = trip.node(&world, 2);
    assert_eq!(end.behind, Behind::Resolves);
    assert_eq!(end.server_type, ServerKind::Resolver);
    let address: SocketAddr = "192.0.2.12:853".parse().unwrap();
    assert_eq!(end.reached, Some(Reached::Direct { address }));
    assert_eq!(end.tlsa.len(), 1);
    assert_eq!(trip.node(&world, 1).behind, Behind::Forwards);
    assert!(trip.asked.len() < 60, "{}", trip.asked.len());
}

#[test]
fn questions_want_signatures_and_recursion_and_no_checking() {
    let mut world = line();
    world.publish_all();
    let mut survey = Survey::new(world.input(std::time::Instant::now()));
    let mut seen = 0;
    while let Some(action) = survey.next_action() {
        let Action::Ask(ask) = action else { continue };
        let message = ask.message(9);
        let view = crate::wire::View::parse(&message).unwrap();
        assert!(view.recursion_desired() && view.checking_disabled());
        assert!(view.edns().unwrap().unwrap().dnssec_ok);
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn a_resolver_alone_is_a_chain_of_one_hop() {
    let mut world = World::of(1);
    let trip = world.survey();
    assert_eq!(trip.hops, ["->0 proven met"]);
    assert!(trip.chain.complete);
    assert_eq!((trip.flights, trip.connected.len()), (1, 0));
}

/// What cannot be met is asked for through those before it, three resolvers deep.
#[test]
fn behind_a_nat_the_chain_is_read_through_those_before_it() {
    let mut world = line();
    world.reach.clear();
    let trip = world.survey();
    assert_eq!(
        trip.hops,
        [
            "->0 proven met",
            "0>1 claimed not-met",
            "1>2 claimed not-met"
        ]
    );
    assert!(trip.chain.complete);
    assert_eq!(trip.chain.weakness(), None);
    assert_eq!(trip.node(&world, 2).behind, Behind::Resolves);
    let through = Reached::Through { node: NodeId(2) };
    assert_eq!(trip.node(&world, 2).reached, Some(through));
    assert!(trip.asked.iter().all(|(via, ..)| *via == Via::Nearest));
    assert_eq!(
        trip.flights, 5,
        "two for each that forwards, one for the end"
    );
}

/// Another one, or the nearest itself, has the far one's address on this side of the NAT.
#[test]
fn somebody_else_at_an_address_is_nobody_that_was_met() {
    let mut world = line();
    let taken = SocketAddr::new(world.resolvers[1].address, 853);
    world.reach.insert(taken, 0);
    let trip = world.survey();
    assert_eq!(
        trip.hops,
        ["->0 proven met", "0>1 claimed not-met", "1>2 proven met"]
    );
    let rejected =
        |step: &Step| matches!(step, Step::PeerRejected { endpoint, .. } if *endpoint == taken);
    assert!(trip.steps.iter().any(rejected), "{:#?}", trip.steps);
    // Nothing was ever asked there.
    assert!(trip.chain.complete);
}

#[test]
fn who_can_be_met_is_read_where_nobody_passes_questions_on() {
    let mut world = line();
    world.resolvers[0].passes = false;
    world.resolvers[1].passes = false;
    let trip = world.survey();
    assert_eq!(
        trip.hops,
        ["->0 proven met", "0>1 proven met", "1>2 proven met"]
    );
    let mut world = line();
    world.resolvers[0].passes = false;
    world.reach.clear();
    let trip = world.survey();
    assert_eq!(trip.hops, ["->0 proven met", "0>1 claimed not-read"]);
    let Behind::Unknown { why } = &trip.node(&world, 1).behind else {
        panic!("{:?}", trip.chain);
    };
    assert!(why.to_string().contains("REFUSED"), "{why}");
    assert!(!trip.chain.complete);
    let weakness = trip.chain.weakness().unwrap();
    assert_eq!(weakness.to, None, "{weakness}");
}

#[test]
fn a_diamond_has_each_resolver_once() {
    let mut world = World::of(4);
    for (from, to) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        world.hop(from, to);
    }
    let trip = world.survey();
    let hops = trip.sorted_hops();
    assert_eq!(
        hops,
        [
            "->0 proven met",
            "0>1 proven met",
            "0>2 proven met",
            "1>3 proven met",
            "2>3 proven met"
        ]
    );
    assert_eq!((trip.chain.nodes.len(), trip.chain.ends.len()), (5, 1));
    assert_eq!(trip.flights, 6);
    let keys = |(_, name, qtype): &&(Via, hickory_proto::rr::Name, RecordType)| {
        let end = world.resolvers[3].identity.name();
        *qtype == RecordType::DNSKEY && end.as_name().iter().next() == name.iter().next()
    };
    assert_eq!(trip.asked.iter().filter(keys).count(), 1);
}

#[test]
fn a_cycle_ends_where_it_began() {
    let mut world = World::of(3);
    for (from, to) in [(0, 1), (1, 2), (2, 0), (2, 2)] {
        world.hop(from, to);
    }
    let trip = world.survey();
    let hops = trip.sorted_hops();
    assert_eq!(
        hops,
        [
            "->0 proven met",
            "0>1 proven met",
            "1>2 proven met",
            "2>0 proven met",
            "2>2 proven met"
        ]
    );
    assert!(trip.chain.complete && trip.chain.ends.is_empty());
    assert_eq!(trip.chain.weakness(), None);
}

#[test]
fn cleartext_anywhere_is_told_and_the_first_such_hop_is_named() {
    let mut world = line();
    world.unnamed(1, "198.51.100.1:53");
    let trip = world.survey();
    let hops = trip.sorted_hops();
    assert_eq!(
        hops,
        [
            "->0 proven met",
            "0>1 proven met",
            "1>198.51.100.1:53 cleartext says-plain",
            "1>2 proven met",
        ]
    );
    let weakness = trip.chain.weakness().unwrap();
    assert_eq!(weakness.label, Label::Cleartext);
    assert_eq!(world.number(&weakness.from), "1");
    assert!(weakness.to.is_some());
    // A resolver with a name, too, may be asked in cleartext.
    let mut world = line();
    let claim = world.hop(2, 0);
    (claim.transport, claim.proof) = (Transport::Plain, Proof::None);
    let trip = world.survey();
    assert_eq!(trip.hops.last().unwrap(), "2>0 cleartext says-plain");
}

#[test]
fn cleartext_within_a_machine_is_cleartext_and_told_apart() {
    for (place, reason) in [
        ("127.0.0.1:5335", "says-plain-within"),
        ("[::1]:5335", "says-plain-within"),
        // Its own address on another port.
        ("192.0.2.10:5335", "says-plain-within"),
        // Somebody else's.
        ("192.0.2.11:5335", "says-plain"),
        ("198.51.100.1:53", "says-plain"),
    ] {
        let mut world = World::of(1);
        world.unnamed(0, place);
        let trip = world.survey();
        let hop = format!("0>{place} cleartext {reason}");
        assert_eq!(trip.hops, ["->0 proven met", hop.as_str()]);
        // Nobody connects to what is a loopback address for somebody else, and nobody knows what is behind.
        assert_eq!(trip.connected, [], "{place}");
        assert!(!trip.chain.complete);
        let weakness = trip.chain.weakness().unwrap();
        assert_eq!(weakness.label, Label::Cleartext, "{place}");
    }
}

#[test]
fn encrypted_hops_to_those_without_a_name_are_claimed_and_what_is_behind_is_not_known() {
    let proofs = [
        (Transport::Dot, Proof::Pin, "no-name"),
        (
            Transport::Doh,
            Proof::Pkix("dns.example".to_owned()),
            "no-name",
        ),
        (Transport::Opportunistic, Proof::None, "not-authenticated"),
        (Transport::Dot, Proof::None, "not-authenticated"),
    ];
    for (transport, proof, why) in proofs {
        let mut world = World::of(1);
        let claim = world.unnamed(0, "[2001:db8::1]:853");
        (claim.transport, claim.proof) = (transport, proof.clone());
        let trip = world.survey();
        let hop = format!("0>[2001:db8::1]:853 claimed {why}");
        assert_eq!(trip.hops, ["->0 proven met", hop.as_str()]);
        let behind = Behind::Unknown {
            why: Why::SaysNothing,
        };
        assert_eq!(trip.chain.nodes[2].behind, behind);
        assert!(!trip.chain.complete);
        assert_eq!(trip.chain.hops[1].proof, Some(proof));
        let weakness = trip.chain.weakness().unwrap();
        assert_eq!(weakness.to.is_some(), why == "not-authenticated");
    }
}

#[test]
fn a_forwarder_that_names_nobody_is_an_end_that_is_not_known() {
    let mut world = World::of(1);
    world.resolvers[0].server_type = zzdot_zonegen::zone::ServerType::Forwarder;
    let trip = world.survey();
    assert_eq!(trip.hops, ["->0 proven met"]);
    assert!(!trip.chain.complete);
    assert_eq!(trip.chain.weakness().unwrap().why, Why::NamesNobody);
}

#[test]
fn a_service_on_another_port_is_found_there() {
    let mut world = World::of(2);
    world.resolvers[1].dot_port = 8853;
    world.reach.insert("192.0.2.11:8853".parse().unwrap(), 1);
    world.hop(0, 1);
    let trip = world.survey();
    assert_eq!(trip.hops, ["->0 proven met", "0>1 proven met"]);
    assert!(trip.connected.iter().all(|place| place.port() == 8853));
}

#[test]
fn a_chain_in_json_has_names_that_stay() {
    let mut world = line();
    world.unnamed(2, "198.51.100.1:53");
    let json = serde_json::to_value(world.survey().chain).unwrap();
    assert_eq!(json["nodes"][0]["who"]["kind"], "client");
    assert_eq!(json["nodes"][1]["reached"]["how"], "direct");
    assert_eq!(json["nodes"][2]["behind"]["kind"], "forwards");
    let hop = &json["hops"][3];
    assert_eq!(hop["label"], "cleartext");
    assert_eq!(
        (&hop["transport"], &hop["proof"]),
        (&"plain".into(), &"none".into())
    );
    assert_eq!(hop["why"]["reason"], "says-plain");
    assert_eq!(json["nearest"], 1);
    assert_eq!(json["ends"][0], 4);
}
