//! Once private, always private; and told at once where that means no answer.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Daemon, Manner, Resolver, client, code, stderr, stdout, wait_until};
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;
use zzdot_client::discover::{Verdict, WalkPolicy};
use zzdot_client::dot::{DotLimits, DotPool, Endpoint, PeerProof};
use zzdot_client::place::Surroundings;
use zzdot_client::session::Policy;
use zzdot_client::store::Store;
use zzdot_client::stub::{Answer, StubLimits};
use zzdot_client::trust::KnownIdentity;
use zzdot_client::upstream::Upstream;
use zzdot_client::walker::{Carrier, walk_at, walk_over};
use zzdot_client::wire::{QuestionFlags, View, question};
use zzdot_zonegen::clock::UnixTime;

/// Questions after the first one.
const MANY: u32 = 20;

fn nothing() -> Vec<String> {
    Vec::new()
}

fn server(resolver: &Resolver) -> String {
    format!("server = \"{}\"", resolver.address)
}

fn www(daemon: &Daemon) -> Value {
    let output = daemon.tool(&["query", "www.example", "A", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn assert_answered(daemon: &Daemon) {
    let told = www(daemon);
    assert_eq!(told["answers"][0]["data"], "192.0.2.80", "{told}");
}

fn assert_refused(daemon: &Daemon, reason: &str) {
    let told = www(daemon);
    assert_eq!(told["rcode"], "SERVFAIL");
    let error = told["extended-errors"][0].as_str().unwrap();
    assert!(error.starts_with(&format!("{reason}: ")), "{error}");
}

/// Many questions together take less time than one may.
fn assert_all_refused_at_once(daemon: &Daemon, reason: &str) {
    let started = Instant::now();
    for _ in 0..MANY {
        assert_refused(daemon, reason);
    }
    let (took, budget) = (started.elapsed(), StubLimits::default().query_budget());
    assert!(took < budget, "{took:?} for {MANY} questions");
    let counted = &daemon.status()["queries"]["failed-by-reason"];
    assert!(
        counted[reason].as_u64() > Some(u64::from(MANY)),
        "{counted}"
    );
}

/// Meets the resolver, so that `folder` remembers it; gives back what is remembered.
fn meet(resolver: &Resolver, folder: &Path) -> KnownIdentity {
    let state = folder.join("state");
    let address = resolver.address.to_string();
    let output = client(&[
        "discover",
        "--server",
        &address,
        "--state-dir",
        state.to_str().unwrap(),
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    resolver.take_in_clear();
    let (store, _) = Store::open(&state).unwrap();
    store.expected_at(resolver.address).unwrap()
}

fn remember(store: &Store, server: SocketAddr, identity: KnownIdentity) {
    let surroundings = Surroundings::of_server(server);
    store.remember(&surroundings, server, identity).unwrap();
}

fn endpoint_of(known: &KnownIdentity) -> Endpoint {
    Endpoint {
        address: known.endpoint,
        server_name: None,
        proof: PeerProof::Dane {
            tlsa: known.tlsa.clone(),
            name: known.name.clone(),
        },
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_walk_over_the_connection_finds_the_same_and_nothing_leaves_in_cleartext() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let known = meet(&resolver, folder.path());
    let endpoint = endpoint_of(&known);
    let walk_by = |encrypted: bool| {
        runtime().block_on(async {
            let pool = DotPool::new(&endpoint, DotLimits::default()).unwrap();
            let carrier = match encrypted {
                true => Carrier::Encrypted(Arc::new(pool)),
                false => Carrier::Cleartext,
            };
            let (address, known) = (resolver.address, Some(known.clone()));
            walk_over(&carrier, address, known, WalkPolicy::default(), |_| {})
                .await
                .verdict
        })
    };
    let found = |verdict| match verdict {
        Verdict::Upgraded(discovered) => known.met_again(&discovered).unwrap(),
        other => panic!("{other:?}"),
    };
    let over_tls = found(walk_by(true));
    assert_eq!(resolver.take_in_clear(), nothing());
    let in_clear = found(walk_by(false));
    let heard = resolver.take_in_clear();
    assert!(!heard.is_empty());
    assert!(
        !heard.iter().any(|told| told.ends_with(" SNI")),
        "{heard:?}"
    );
    assert_eq!(over_tls.tlsa, in_clear.tlsa);
    assert_eq!(over_tls.signatures_expire, in_clear.signatures_expire);
}

/// What a stranger says in its zones opens no connection with anybody, and its name is told to nobody on the way.
#[test]
fn a_walk_at_a_peer_connects_to_nobody_else_and_says_no_name_in_clear() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let known = meet(&resolver, folder.path());
    let endpoint = endpoint_of(&known);
    // Nobody listens there, and the zone says where somebody does: on another address, or on another port.
    let elsewhere = SocketAddr::new("127.0.0.2".parse().unwrap(), resolver.dot.port());
    let other_port = resolver.address;
    runtime().block_on(async {
        let pool = Arc::new(DotPool::new(&endpoint, DotLimits::default()).unwrap());
        let carrier = Carrier::Encrypted(Arc::clone(&pool));
        let policy = WalkPolicy::default;
        pool.connect(Instant::now() + Duration::from_secs(20))
            .await
            .unwrap();
        // One when it was met, and this one; the resolver may count them later than the client.
        wait_until(
            || resolver.handshakes() == 2,
            || format!("two handshakes: {}", resolver.handshakes()),
        );
        for peer in [elsewhere, other_port] {
            let at = walk_at(&carrier, peer, None, policy(), |_| {}).await;
            assert!(
                !matches!(at.verdict, Verdict::Upgraded(_)),
                "{peer}: {:?}",
                at.verdict
            );
        }
        assert_eq!(resolver.handshakes(), 2);
        for peer in [elsewhere, other_port] {
            let over = walk_over(&carrier, peer, None, policy(), |_| {}).await;
            assert!(
                matches!(over.verdict, Verdict::Upgraded(_)),
                "{peer}: {:?}",
                over.verdict
            );
        }
        let at = walk_at(&carrier, resolver.dot, None, policy(), |_| {}).await;
        assert!(
            matches!(at.verdict, Verdict::Upgraded(_)),
            "{:?}",
            at.verdict
        );
    });
    assert_eq!(resolver.take_in_clear(), nothing());
}

#[test]
fn expired_signatures_are_renewed_over_tls() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let known = meet(&resolver, folder.path());
    let (store, _) = Store::open(&folder.path().join("state")).unwrap();
    let expired = KnownIdentity {
        signatures_expire: UnixTime(UnixTime::now().0 - 1),
        ..known
    };
    remember(&store, resolver.address, expired);
    drop(store);
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    assert_eq!(resolver.take_in_clear(), nothing());
}

#[test]
fn a_clock_that_was_ahead_and_was_set_back_is_no_reason_to_refuse() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let known = meet(&resolver, folder.path());
    let (store, _) = Store::open(&folder.path().join("state")).unwrap();
    let elsewhere = KnownIdentity {
        last_seen: UnixTime(UnixTime::now().0 + 1800),
        ..known
    };
    remember(&store, "192.0.2.1:53".parse().unwrap(), elsewhere);
    drop(store);
    let state = folder.path().join("state");
    let other = Resolver::start(Manner::Upgraded);
    let output = client(&[
        "discover",
        "--server",
        &other.address.to_string(),
        "--state-dir",
        state.to_str().unwrap(),
    ]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
}

#[test]
fn a_dead_resolver_is_told_at_once_and_nothing_is_asked_in_cleartext() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    resolver.break_tls();
    resolver.take_in_clear();
    assert_refused(&daemon, "handshake-failed");
    assert_all_refused_at_once(&daemon, "handshake-failed");
    assert_eq!(resolver.take_in_clear(), nothing());
    let identity = Arc::clone(&resolver.identity);
    let _back = resolver.restart_as(identity);
    let deadline = Instant::now() + Duration::from_secs(20);
    while www(&daemon)["rcode"] != "NOERROR" {
        assert!(Instant::now() < deadline, "{}", daemon.log());
    }
}

#[test]
fn an_impostor_is_told_at_once_and_hears_no_more_than_a_walk() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    let identity = Arc::clone(&resolver.identity);
    let known = identity.name().to_string();
    let impostor = resolver.replace();
    assert_refused(&daemon, "name-changed");
    assert_all_refused_at_once(&daemon, "name-changed");
    let heard = impostor.take_in_clear();
    assert!(
        !heard.is_empty() && heard.len() < MANY as usize,
        "{heard:?}"
    );
    // It is asked who it is, so that a person can be told whom to decide about; and not a word about anybody else.
    let own = impostor.identity.name().to_string();
    for asked in heard {
        let about_itself = asked.contains(&own) || asked.starts_with("resolver-name.arpa.");
        assert!(about_itself, "{asked}");
        assert!(!asked.contains(&known), "{asked}");
    }
    let _back = impostor.restart_as(identity);
    let deadline = Instant::now() + Duration::from_secs(20);
    while www(&daemon)["rcode"] != "NOERROR" {
        assert!(Instant::now() < deadline, "{}", daemon.log());
    }
    assert_eq!(daemon.status()["down"], Value::Null);
}

#[test]
fn a_session_that_took_a_server_for_legacy_obeys_a_binding_that_another_one_stored() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let known = meet(&resolver, folder.path());
    resolver.set_manner(Manner::Legacy);
    let state = folder.path().join("another");
    let (store, _) = Store::open(&state).unwrap();
    let store = Arc::new(store);
    let name = Name::from_ascii("www.example.").unwrap();
    let query = question(7, &name, RecordType::A, QuestionFlags::default(), None);
    let rcode = |answer: &[u8]| View::parse(answer).unwrap().rcode();
    runtime().block_on(async {
        let (store, limits) = (Arc::clone(&store), StubLimits::default());
        let address = resolver.address;
        let upstream = Upstream::discovered(
            Surroundings::of_server(address),
            address,
            Policy::default(),
            Arc::clone(&store),
            &limits,
            0,
        );
        let answer = Arc::clone(&upstream).answer(query.clone()).await;
        assert_eq!(rcode(&answer), 0);
        assert!(
            resolver
                .take_in_clear()
                .iter()
                .any(|asked| asked.starts_with("www")),
            "in cleartext: nobody is known"
        );
        remember(&store, address, known);
        let answer = upstream.answer(query.clone()).await;
        assert_eq!(rcode(&answer), 0, "over TLS, which works");
        assert_eq!(resolver.take_in_clear(), nothing());
    });
}

#[test]
fn the_first_question_goes_over_the_connection_on_which_the_resolver_was_met() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    assert_eq!(resolver.handshakes(), 1);
}
