//! Three appliances, each of which asks the next, and a client that wants to know who is at the end.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, RecordType, rdata::NS},
};
use support::{
    daemon::{Daemon, PATIENCE, Place, own_address},
    program::{self, Running},
};
use zzdot_client::{
    chain::{
        Behind, Chain, Label, Nearest, NodeId, Reached, SURVEY_TIMEOUT, Step, Who, Why,
        driver::{Surveyed, survey},
    },
    discover::{Discovered, Verdict, WalkPolicy},
    dot::{DotLimits, DotPool, Endpoint, PeerProof},
    walker::{Carrier, Walked, walk_over},
    wire::{Edns, QuestionFlags, View, question},
};
use zzdot_zonegen::{
    identity::Identity,
    upstream::{ServerKind, Transport},
    zone::ServerType,
};

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
        RecordType::SOA,
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

/// Asks over the connection; gives back response code and what is said.
async fn told(pool: &DotPool, name: &str, rtype: RecordType) -> (ResponseCode, Vec<RData>) {
    let flags = QuestionFlags {
        rd: true,
        cd: true,
        ad: false,
    };
    let name = Name::from_ascii(name).unwrap();
    let asked = question(7, &name, rtype, flags, Some(&Edns::plain(true)));
    let until = Instant::now() + PATIENCE;
    let answer = Message::from_vec(&pool.ask(&asked, until).await.unwrap()).unwrap();
    let data = answer.answers.into_iter().map(|record| record.data);
    (answer.metadata.response_code, data.collect())
}

/// Who stands behind an appliance with mode `local`: dnsmasq, as the router had it before, and behind that an appliance.
struct Beside {
    near: Place,
    daemon: Daemon,
    local: String,
    end: Place,
    _programs: (Daemon, Running),
}

impl Beside {
    fn start() -> Self {
        let base = own_address();
        let base = base.strip_suffix(".53").unwrap();
        let end = Place::new("");
        appliance(
            &end,
            &format!("{base}.55"),
            "mode = \"local\"\nserver-type = \"resolver\"\nupstreams = [\"127.0.0.1:9\"]\n",
        );
        let last = end.serve();
        let local = format!("{base}.54");
        let near = Place::new("");
        let dnsmasq = Running::start(
            Command::new(program::find("dnsmasq", "dnsmasq-base"))
                .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv"])
                .args(["--no-hosts", "--user=", "--pid-file=", "--bind-interfaces"])
                .args(["--port=5335", &format!("--listen-address={local}")])
                .arg("--address=/printer.lan/192.0.2.7")
                .arg(format!("--server={base}.55#5300")),
            &near.path().join("dnsmasq"),
        );
        let began = Instant::now();
        while TcpStream::connect((&*local, 5335)).is_err() {
            assert!(began.elapsed() < PATIENCE, "dnsmasq does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self::configure(&near, &local, "forwarder");
        let daemon = near.serve();
        Self {
            near,
            daemon,
            local,
            end,
            _programs: (last, dnsmasq),
        }
    }

    fn configure(near: &Place, local: &str, server_type: &str) {
        let resolve = format!(
            "mode = \"local\"\nserver-type = \"{server_type}\"\nupstreams = [\"{local}:5335\"]\n"
        );
        appliance(near, &near.address, &resolve);
    }
}

#[tokio::test]
async fn an_appliance_beside_a_forwarder_says_that_it_asks_it_and_where_its_own_knowledge_ends() {
    let mut beside = Beside::start();
    let (near, local) = (&beside.near, &*beside.local);
    let (found, pool) = meet(format!("{}:5300", near.address).parse().unwrap()).await;
    assert_eq!(found.server_type, ServerType::Forwarder);
    let own = found.name.to_string();
    let label = format!("{}-p5335.unnamed.{own}.", local.replace('.', "-"));

    // What it says, and that dnsmasq goes on as before.
    let targets = told(&pool, &format!("upstreams.{own}."), RecordType::PTR)
        .await
        .1;
    assert!(
        targets.iter().any(|data| data.to_string() == label),
        "{targets:?}"
    );
    let printer = told(&pool, "printer.lan.", RecordType::A).await.1;
    assert_eq!(printer, [RData::A("192.0.2.7".parse().unwrap())]);

    // Through it the one behind is read, and nothing but that is asked.
    let behind = Identity::load(&beside.end.identity()).unwrap();
    let behind = RData::NS(NS(behind.name().as_name().clone()));
    for through in [&*label, &format!("{own}.")] {
        let name = format!("resolver-name.arpa.q.{through}");
        let (rcode, data) = told(&pool, &name, RecordType::NS).await;
        assert_eq!(rcode, ResponseCode::NoError);
        assert!(data.contains(&behind), "{data:?}");
        let name = format!("printer.lan.q.{through}");
        let (rcode, data) = told(&pool, &name, RecordType::A).await;
        assert_eq!((rcode, &data[..]), (ResponseCode::Refused, &[][..]));
    }

    // Whoever looks is told no more than anybody knows, and connects to nobody's loopback.
    let looked = survey(
        Nearest::from(&found),
        Arc::clone(&pool),
        SURVEY_TIMEOUT,
        |step| {
            assert!(!matches!(step, Step::Connecting { .. }), "{step:?}");
        },
    );
    let chain = looked.await.chain;
    assert_eq!(
        labels(&chain),
        [Label::Proven, Label::Cleartext],
        "{chain:#?}"
    );
    let hop = &chain.hops[1];
    assert_eq!(
        (hop.transport, &hop.why),
        (Some(Transport::Plain), &Why::SaysPlainWithin)
    );
    let node = chain.node(hop.to).unwrap();
    let address = format!("{local}:5335").parse().unwrap();
    assert_eq!(node.who, Who::Unnamed { address });
    assert!(matches!(node.behind, Behind::Unknown { .. }) && !chain.complete);
    assert_eq!(chain.weakness().unwrap().label, Label::Cleartext);
    let list = near.told("upstreams", &[]);
    let line = format!("{local}:5335 plain on this machine, ");
    assert!(
        list.starts_with(&line) && list.lines().count() == 1,
        "{list}"
    );

    // Where it is the end of the chain it is a part of the appliance, and nobody is told of it.
    Beside::configure(near, local, "resolver");
    beside.daemon.reload();
    let until = Instant::now() + PATIENCE;
    let name = format!("upstreams.{own}.");
    while told(&pool, &name, RecordType::PTR).await.0 == ResponseCode::NoError {
        assert!(Instant::now() < until, "{}", beside.daemon.log());
    }
    let (rcode, data) = told(
        &pool,
        &format!("resolver-name.arpa.q.{own}."),
        RecordType::NS,
    )
    .await;
    assert_eq!((rcode, &data[..]), (ResponseCode::NXDomain, &[][..]));
    let printer = told(&pool, "printer.lan.", RecordType::A).await.1;
    assert_eq!(printer.len(), 1, "it is asked all the same");
    assert!(near.told("upstreams", &[]).starts_with(&line));
    let upstream = near.status()["resolve"]["upstreams"][0].clone();
    assert_eq!(upstream["published-as"], serde_json::Value::Null);
}
