//! Who is met where nobody or somebody else is expected: what is asked, what is answered, what is learned.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "strangers/doubt.rs"]
mod doubt;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{Manner, Resolver};
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;
use zzdot_client::chain::draw::{Trace, TracedServer};
use zzdot_client::comparison::phrase_of;
use zzdot_client::config::FirstUse;
use zzdot_client::control::{Rejection, Request};
use zzdot_client::network::{Fingerprint, SignalKind, Signals};
use zzdot_client::orders::{Household, carry_out};
use zzdot_client::place::{NetworkId, Place, Surroundings};
use zzdot_client::places::{Suspect, Wanted};
use zzdot_client::session::Policy;
use zzdot_client::store::{Pending, Store, StoreError, WhyPending};
use zzdot_client::stub::{Answer, StubLimits};
use zzdot_client::trust::{
    AnchorDs, Enrolled, KnownIdentity, TrustState, Verification, VerifiedBy,
};
use zzdot_client::upstream::{Untraceable, Upstream};
use zzdot_client::wire::{Edns, QuestionFlags, View, question};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

const HOME: NetworkId = NetworkId::from_bytes([1; 8]);
const CAFE: NetworkId = NetworkId::from_bytes([2; 8]);

/// A client's memory, and a runtime to use it in.
struct Client {
    store: Arc<Store>,
    _folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        Self {
            store: Arc::new(store),
            _folder: folder,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn enter(&self, place: Surroundings, server: SocketAddr, first_use: FirstUse) -> Arc<Upstream> {
        let _entered = self.runtime.enter();
        let policy = Policy {
            first_use,
            ..Policy::default()
        };
        let limits = StubLimits::default();
        Upstream::discovered(place, server, policy, Arc::clone(&self.store), &limits, 0)
    }

    /// What becomes of a question for an address: none where it is answered, or the extended error.
    fn ask(&self, upstream: &Arc<Upstream>) -> Option<String> {
        let name = Name::from_ascii("www.example.").unwrap();
        let flags = QuestionFlags {
            rd: true,
            ..QuestionFlags::default()
        };
        let edns = Edns::plain(false);
        let query = question(7, &name, RecordType::A, flags, Some(&edns));
        let answer = self.runtime.block_on(Arc::clone(upstream).answer(query));
        let view = View::parse(&answer).unwrap();
        if view.rcode() == 0 {
            return None;
        }
        assert_eq!(view.rcode(), 2, "SERVFAIL");
        let edns = view.edns().unwrap().unwrap();
        let (_, error) = edns.options().find(|(code, _)| *code == 15).unwrap();
        Some(String::from_utf8(error[2..].to_vec()).unwrap())
    }

    fn assert_answered(&self, upstream: &Arc<Upstream>) {
        assert_eq!(self.ask(upstream), None);
    }

    fn assert_refused(&self, upstream: &Arc<Upstream>, reason: &str) {
        let told = self.ask(upstream).expect("it is refused");
        assert!(told.starts_with(&format!("{reason}: ")), "{told}");
    }

    /// Asks until it is answered.
    fn wait_for_answer(&self, upstream: &Arc<Upstream>) {
        common::wait_until(
            || self.ask(upstream).is_none(),
            || format!("an answer: {}", upstream.status()),
        );
    }

    /// Meets `resolver` at home, so that it is expected there.
    fn meet_at_home(&self, resolver: &Resolver) -> KnownIdentity {
        let upstream = self.enter(home(), resolver.address, FirstUse::Auto);
        self.assert_answered(&upstream);
        upstream.retire();
        resolver.take_in_clear();
        self.store.expected_at(HOME).unwrap()
    }

    fn wait_for_pending(&self, name: &ResolverName) -> Pending {
        let found = || self.store.pending_of(name);
        common::wait_until(|| found().is_some(), || format!("{name} to wait"));
        found().unwrap()
    }
}

fn signals(gateway: u8) -> Signals {
    let mut signals = Signals::default();
    signals.insert(
        SignalKind::GatewayMacV4,
        Fingerprint::from_bytes([gateway; 16]),
    );
    signals
}

fn home() -> Surroundings {
    Surroundings::of_network(HOME, signals(1))
}

fn cafe() -> Surroundings {
    Surroundings::of_network(CAFE, signals(2))
}

/// Home, with another gateway than ever.
fn doubtful() -> Surroundings {
    Surroundings {
        doubt: Some(vec![SignalKind::GatewayMacV4]),
        ..Surroundings::of_network(HOME, signals(66))
    }
}

fn by_phrase() -> Option<Verification> {
    Some(Verification {
        by: VerifiedBy::Phrase,
        at: UnixTime::now(),
    })
}

/// The names that were asked about in clear.
fn heard(resolver: &Resolver) -> BTreeSet<String> {
    resolver.take_in_clear().into_iter().collect()
}

#[test]
fn where_the_policy_is_to_ask_nothing_is_answered_before_a_person_decided() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    let name = resolver.identity.name().clone();
    let upstream = client.enter(home(), resolver.address, FirstUse::Ask);
    client.assert_refused(&upstream, "not-approved");
    let pending = client.wait_for_pending(&name);
    assert_eq!(pending.why, WhyPending::FirstUse);
    assert_eq!(client.store.expected_at(HOME), None);
    assert!(client.store.identities().is_empty(), "nothing is learned");
    client.assert_refused(&upstream, "not-approved");
    assert!(
        !heard(&resolver)
            .iter()
            .any(|asked| asked.starts_with("www")),
        "no question of a program left in clear"
    );
    client.store.approve(&name, None).unwrap();
    client.wait_for_answer(&upstream);
    assert_eq!(heard(&resolver), BTreeSet::new(), "over TLS, at once");
    let known = client.store.expected_at(HOME).unwrap();
    assert_eq!(known.state, TrustState::Provisional);
}

#[test]
fn where_only_the_enrolled_are_used_a_code_that_was_scanned_before_is_enough() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    let name = resolver.identity.name().clone();
    let upstream = client.enter(home(), resolver.address, FirstUse::EnrolledOnly);
    client.assert_refused(&upstream, "not-enrolled");
    let enrolled = Enrolled {
        name: name.clone(),
        ds: resolver
            .identity
            .trust_anchor()
            .iter()
            .map(AnchorDs::of)
            .collect(),
        by: VerifiedBy::Uri,
        at: UnixTime::now(),
    };
    assert!(!client.store.enrol(enrolled).unwrap());
    client.wait_for_answer(&upstream);
    let known = client.store.expected_at(HOME).unwrap();
    assert_eq!(known.state, TrustState::Verified);
    assert_eq!(client.store.all_enrolled(), [], "it was met");
}

#[test]
fn who_shows_another_key_than_the_one_scanned_is_refused() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    let other = Resolver::start(Manner::Upgraded);
    let enrolled = Enrolled {
        name: resolver.identity.name().clone(),
        ds: vec![AnchorDs::of(&other.identity.trust_anchor()[0])],
        by: VerifiedBy::Uri,
        at: UnixTime::now(),
    };
    client.store.enrol(enrolled).unwrap();
    let upstream = client.enter(home(), resolver.address, FirstUse::Auto);
    client.assert_refused(&upstream, "anchor-changed");
    assert_eq!(client.store.expected_at(HOME), None);
}

#[test]
fn a_resolver_that_is_known_is_recognised_in_a_new_network() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    let known = client.meet_at_home(&resolver);
    client
        .store
        .verify(&known.name, by_phrase().unwrap())
        .unwrap();
    // Somebody known is no stranger, whatever is done with those.
    for first_use in [FirstUse::Ask, FirstUse::EnrolledOnly] {
        let upstream = client.enter(cafe(), resolver.address, first_use);
        client.assert_answered(&upstream);
        let here = client.store.expected_at(CAFE).unwrap();
        assert_eq!(
            (here.name, here.state),
            (known.name.clone(), TrustState::Verified)
        );
        upstream.retire();
        client.store.forget_network(CAFE).unwrap();
    }
}

#[test]
fn what_is_known_about_a_name_from_home_counts_in_a_new_network() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    let mut known = client.meet_at_home(&resolver);
    // The zones that are shown now are older than those seen at home: somebody replays them.
    let ahead = |version: &mut zzdot_client::trust::ZoneVersion| {
        version.serial += 1000;
        version.inception = UnixTime(version.inception.0 + 1000);
        version.accepted = UnixTime(version.accepted.0 - 86_400);
    };
    ahead(&mut known.versions.anchor_zone);
    ahead(&mut known.versions.name_zone);
    let before = known.clone();
    client
        .store
        .remember(&home(), resolver.address, known)
        .unwrap();
    let upstream = client.enter(cafe(), resolver.address, FirstUse::Auto);
    client.assert_refused(&upstream, "rolled-back");
    assert_eq!(client.store.expected_at(CAFE), None);
    assert_eq!(client.store.identity(&before.name), Some(before));
}

#[test]
fn the_same_address_in_another_network_is_another_resolver() {
    let client = Client::new();
    let resolver = Resolver::start(Manner::Upgraded);
    let first = client.meet_at_home(&resolver);
    let other = resolver.replace();
    let upstream = client.enter(cafe(), other.address, FirstUse::Auto);
    client.assert_answered(&upstream);
    let second = client.store.expected_at(CAFE).unwrap();
    assert_ne!(first.name, second.name);
    assert_eq!(client.store.expected_at(HOME).unwrap().name, first.name);
}

#[test]
fn a_stranger_in_the_place_of_whom_is_expected_waits_and_takes_a_comparison() {
    let client = Client::new();
    let resolver = Resolver::start(Manner::Upgraded);
    let expected = client.meet_at_home(&resolver).name;
    let stranger = resolver.replace();
    let name = stranger.identity.name().clone();
    let upstream = client.enter(home(), stranger.address, FirstUse::Auto);
    client.assert_refused(&upstream, "name-changed");
    let pending = client.wait_for_pending(&name);
    assert_eq!(
        pending.why,
        WhyPending::Mismatch {
            expected: expected.clone()
        }
    );
    assert!(
        client.store.approve(&name, None).is_err(),
        "not by a key press"
    );
    client.assert_refused(&upstream, "name-changed");
    assert_eq!(client.store.expected_at(HOME).unwrap().name, expected);
    let in_clear = heard(&stranger);
    assert!(
        !in_clear
            .iter()
            .any(|asked| asked.contains(&expected.to_string()))
    );
    assert!(!in_clear.iter().any(|asked| asked.starts_with("www")));
    client.store.approve(&name, by_phrase()).unwrap();
    client.wait_for_answer(&upstream);
    let here = client.store.expected_at(HOME).unwrap();
    assert_eq!((here.name, here.state), (name, TrustState::Verified));
}

#[test]
fn where_the_network_is_in_doubt_whom_is_expected_is_asked_and_nothing_is_learned() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    let known = client.meet_at_home(&resolver);
    let before = client.store.network(HOME).unwrap();
    let upstream = client.enter(doubtful(), resolver.address, FirstUse::Auto);
    client.assert_answered(&upstream);
    assert_eq!(heard(&resolver), BTreeSet::new());
    let pending = client.wait_for_pending(&known.name);
    let differs = vec![SignalKind::GatewayMacV4];
    assert_eq!(pending.why, WhyPending::Changed { differs });
    assert_eq!(client.store.network(HOME).unwrap(), before);
    // To learn it by what was seen a while ago would take whoever is there now along.
    for verification in [None, by_phrase()] {
        let error = client.store.approve(&known.name, verification).unwrap_err();
        assert!(error.to_string().contains("prove itself"), "{error}");
    }
    assert_eq!(client.store.network(HOME).unwrap(), before);
    client.assert_answered(&upstream);
}

#[test]
fn where_the_network_is_in_doubt_a_stranger_gets_no_question_and_is_not_learned() {
    let client = Client::new();
    let resolver = Resolver::start(Manner::Upgraded);
    let known = client.meet_at_home(&resolver);
    let twin = resolver.replace();
    let upstream = client.enter(doubtful(), twin.address, FirstUse::Auto);
    client.assert_refused(&upstream, "name-changed");
    assert_eq!(client.store.expected_at(HOME).unwrap().name, known.name);
    assert_eq!(client.store.identities().len(), 1);
    let legacy = twin.restart_as(Arc::clone(&resolver_identity()));
    legacy.set_manner(Manner::Legacy);
    let upstream = client.enter(doubtful(), legacy.address, FirstUse::Auto);
    client.assert_refused(&upstream, "downgraded");
    assert!(!heard(&legacy).iter().any(|asked| asked.starts_with("www")));
}

#[test]
fn whoever_proves_itself_confirms_the_network_and_what_drifted() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    client.meet_at_home(&resolver);
    let mut drifted = home();
    drifted
        .signals
        .insert(SignalKind::DhcpDomain, Fingerprint::from_bytes([9; 16]));
    let upstream = client.enter(drifted, resolver.address, FirstUse::Auto);
    let knows_domain = || {
        let network = client.store.network(HOME).unwrap();
        network.signals.0.contains_key(&SignalKind::DhcpDomain)
    };
    common::wait_until(knows_domain, || "the drift to be learned".to_owned());
    // And one more signal that shows while it goes on.
    let mut later = home();
    later
        .signals
        .insert(SignalKind::Ssid, Fingerprint::from_bytes([8; 16]));
    assert!(upstream.continues_in(&later, resolver.address, Policy::default()));
    let knows_ssid = || {
        let network = client.store.network(HOME).unwrap();
        network.signals.0.contains_key(&SignalKind::Ssid)
    };
    common::wait_until(knows_ssid, || "the second drift to be learned".to_owned());
    assert!(!upstream.continues_in(&cafe(), resolver.address, Policy::default()));
}

#[test]
fn a_known_network_whose_server_shows_legacy_is_not_asked_in_clear() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    client.meet_at_home(&resolver);
    resolver.set_manner(Manner::Legacy);
    resolver.break_tls();
    let upstream = client.enter(home(), resolver.address, FirstUse::Auto);
    for _ in 0..5 {
        client.assert_refused(&upstream, "handshake-failed");
    }
    assert_eq!(heard(&resolver), BTreeSet::new());
}

#[test]
fn after_a_sleep_the_connection_is_made_anew_before_anybody_asks() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    client.meet_at_home(&resolver);
    let met = resolver.handshakes();
    let upstream = client.enter(home(), resolver.address, FirstUse::Auto);
    client.assert_answered(&upstream);
    assert_eq!(resolver.handshakes(), met + 1);
    let _entered = client.runtime.enter();
    upstream.on_resume();
    common::wait_until(
        || resolver.handshakes() == met + 2,
        || "a new connection".to_owned(),
    );
    client.assert_answered(&upstream);
    assert_eq!(resolver.handshakes(), met + 2, "and it is the one used");
    assert_eq!(heard(&resolver), BTreeSet::new());
}

#[test]
fn who_left_a_network_asks_nothing_there_any_more() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    client.meet_at_home(&resolver);
    let upstream = client.enter(home(), resolver.address, FirstUse::Auto);
    client.assert_answered(&upstream);
    upstream.retire();
    let waited = client.runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), upstream.retired()).await
    });
    waited.expect("whoever waits is told");
    assert!(Arc::clone(&upstream).lane().is_none());
}

fn resolver_identity() -> Arc<zzdot_zonegen::identity::Identity> {
    let suffix = Name::from_ascii("zz.").unwrap();
    let random = ring::rand::SystemRandom::new();
    Arc::new(zzdot_zonegen::identity::Identity::invent(&suffix, &random).unwrap())
}
