//! Three appliances, each of which asks the next, and a client that wants to know who is at the end.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use support::daemon::{PATIENCE, Place, own_address};
use zzdot_client::{
    chain::{
        Behind, Chain, Label, Nearest, NodeId, Reached, SURVEY_TIMEOUT,
        driver::{Surveyed, survey},
    },
    discover::{Discovered, Verdict, WalkPolicy},
    dot::{DotLimits, DotPool, Endpoint, PeerProof},
    walker::{Carrier, Walked, walk_over},
    wire::{Edns, QuestionFlags, View, question},
};
use zzdot_zonegen::{identity::Identity, upstream::ServerKind};

/// An appliance at its own address, on ports of its own.
fn appliance(place: &Place, address: &str, resolve: &str) {
    let state = place.state();
    place.write(&format!(
        "state-dir = {state:?}\nstop-within-secs = 2\n\
         [listen]\ndns = [\"{address}:5300\"]\ndot = [\"{address}:8530\"]\n[resolve]\n{resolve}"
    ));
}

/// Meets the server, and keeps the connection.
async fn meet(server: SocketAddr) -> (Discovered, Arc<DotPool>) {
    let policy = WalkPolicy::default();
    let Walked { verdict, met } =
        walk_over(&Carrier::Cleartext, server, None, policy, |_| {}).await;
    let Verdict::Upgraded(found) = verdict else {
        panic!("{verdict:?}");
    };
    let endpoint = Endpoint {
        address: found.endpoint,
        server_name: None,
        proof: PeerProof::Dane {
            tlsa: found.tlsa.clone(),
            name: found.name.clone(),
        },
    };
    let pool = DotPool::new(&endpoint, DotLimits::default()).unwrap();
    pool.continue_on(met.unwrap());
    (*found, Arc::new(pool))
}

fn labels(chain: &Chain) -> Vec<Label> {
    chain.hops.iter().map(|hop| hop.label).collect()
}

#[tokio::test]
async fn appliances_behind_the_nearest_are_met_and_each_hop_is_proven() {
    let base = own_address();
    let base = base.strip_suffix(".53").unwrap();
    let addresses = [53, 54, 55].map(|last| format!("{base}.{last}"));
    let places = [0; 3].map(|_| Place::new(""));
    let [near, middle, end] = &addresses;
    appliance(
        &places[0],
        near,
        &format!("upstreams = [\"{middle}:5300\"]\n"),
    );
    appliance(
        &places[1],
        middle,
        &format!("upstreams = [\"{end}:5300\"]\n"),
    );
    let resolver = "mode = \"local\"\nserver-type = \"resolver\"\nupstreams = [\"127.0.0.1:9\"]\n";
    appliance(&places[2], end, resolver);
    // The last first: nobody finds nobody.
    let mut daemons: Vec<_> = places.iter().rev().map(Place::serve).collect();
    let names = places.each_ref().map(|place| {
        let identity = Identity::load(&place.identity()).unwrap();
        identity.name().to_string()
    });

    let (found, pool) = meet(format!("{near}:5300").parse().unwrap()).await;
    let began = Instant::now();
    let Surveyed { chain, met } = loop {
        let nearest = Nearest::from(&found);
        let surveyed = survey(nearest, Arc::clone(&pool), SURVEY_TIMEOUT, |_| {}).await;
        if surveyed.chain.weakness().is_none() {
            break surveyed;
        }
        // They find each other while we look.
        let logs: Vec<_> = daemons.iter().map(|daemon| daemon.log()).collect();
        assert!(
            began.elapsed() < PATIENCE,
            "{:#?}\n{logs:#?}",
            surveyed.chain
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(labels(&chain), [Label::Proven; 3], "{chain:#?}");
    let who: Vec<_> = chain
        .nodes
        .iter()
        .map(|node| node.who.to_string())
        .collect();
    assert_eq!(who[1..], names);
    assert_eq!(chain.ends, [NodeId(3)]);
    let last = chain.node(NodeId(3)).unwrap();
    assert_eq!(
        (last.server_type, &last.behind),
        (ServerKind::Resolver, &Behind::Resolves)
    );
    let address = format!("{end}:8530").parse().unwrap();
    assert_eq!(last.reached, Some(Reached::Direct { address }));

    // The connection with the end serves questions, too.
    assert_eq!(
        met.iter().map(|(node, _)| *node).collect::<Vec<_>>(),
        [NodeId(2), NodeId(3)]
    );
    let (_, to_end) = &met[1];
    let name = names[2]
        .parse::<zzdot_zonegen::name::ResolverName>()
        .unwrap();
    let flags = QuestionFlags {
        rd: true,
        cd: false,
        ad: false,
    };
    let asked = question(
        7,
        name.as_name(),
        hickory_proto::rr::RecordType::SOA,
        flags,
        Some(&Edns::plain(false)),
    );
    let until = Instant::now() + PATIENCE;
    let answer = to_end.ask(&asked, until).await.unwrap();
    assert_eq!(View::parse(&answer).unwrap().rcode(), 0);
    assert_eq!(to_end.status().connects, 1, "that of the survey");

    // Without the one in the middle nobody is there to pass anything on, and the way there is as it was told.
    drop(daemons.remove(1));
    let nearest = Nearest::from(&found);
    let alone = survey(nearest, pool, Duration::from_secs(2), |_| {}).await;
    assert!(!alone.chain.complete);
    assert!(alone.chain.weakness().is_some());
    assert!(alone.met.is_empty());
}
