//! Networks, and resolvers that wait for a person.

use super::*;
use crate::network::{Fingerprint, SignalKind, Signals};
use crate::place::NetworkId;

const HOME: NetworkId = NetworkId::from_bytes([1; 8]);
const CAFE: NetworkId = NetworkId::from_bytes([2; 8]);

fn print(number: u8) -> Fingerprint {
    Fingerprint::from_bytes([number; 16])
}

/// A network with this gateway and this prefix.
fn signals(gateway: u8, prefix: u8) -> Signals {
    let mut signals = Signals::default();
    signals.insert(SignalKind::GatewayMacV4, print(gateway));
    signals.insert(SignalKind::OnLinkPrefix, print(prefix));
    signals
}

fn home() -> Surroundings {
    Surroundings::of_network(HOME, signals(1, 9))
}

fn open() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn reopened(folder: &tempfile::TempDir, store: Store) -> Store {
    drop(store);
    let (store, found) = Store::open(folder.path()).unwrap();
    assert_eq!(found, Found::Whole);
    store
}

#[test]
fn the_same_address_in_two_networks_means_two_resolvers() {
    let (folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    let cafe = Surroundings::of_network(CAFE, signals(2, 9));
    store.remember(&cafe, server(1), identity(2)).unwrap();
    let store = reopened(&folder, store);
    assert_eq!(store.expected_at(HOME).unwrap().name, identity(1).name);
    assert_eq!(store.expected_at(CAFE).unwrap().name, identity(2).name);
    assert_eq!(store.expected_at(server(1)), None, "nobody configured it");
    assert_eq!(store.networks().len(), 2);
}

#[test]
fn one_resolver_is_reached_at_another_address_in_each_place() {
    let (_folder, store) = open();
    let at = |endpoint: &str| KnownIdentity {
        endpoint: endpoint.parse().unwrap(),
        ..identity(1)
    };
    store
        .remember(&home(), server(1), at("192.0.2.1:853"))
        .unwrap();
    let cafe = Surroundings::of_network(CAFE, signals(2, 9));
    store
        .remember(&cafe, server(7), at("198.51.100.7:8853"))
        .unwrap();
    remember(&store, server(9), at("203.0.113.9:853")).unwrap();
    let endpoint = |place: Place| store.expected_at(place).unwrap().endpoint.to_string();
    assert_eq!(endpoint(HOME.into()), "192.0.2.1:853");
    assert_eq!(endpoint(CAFE.into()), "198.51.100.7:8853");
    assert_eq!(endpoint(server(9).into()), "203.0.113.9:853");
}

#[test]
fn a_resolver_moves_along_with_the_servers_address_and_one_behind_it_stays() {
    let (_folder, store) = open();
    let behind = KnownIdentity {
        endpoint: "192.0.2.200:853".parse().unwrap(),
        ..identity(2)
    };
    store.remember(&home(), server(1), identity(1)).unwrap();
    let cafe = Surroundings::of_network(CAFE, signals(2, 9));
    store.remember(&cafe, server(1), behind).unwrap();
    let moved = |id: NetworkId| {
        let expected = store.expected_behind(id.into(), server(77)).unwrap();
        expected.endpoint.to_string()
    };
    assert_eq!(moved(HOME), "192.0.2.77:853");
    assert_eq!(moved(CAFE), "192.0.2.200:853");
}

#[test]
fn signals_that_drift_are_added_when_the_resolver_proved_itself() {
    let (folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    let drifted = Surroundings::of_network(HOME, signals(1, 10));
    let (at, endpoint) = (server(1), identity(1).endpoint);
    let now = UnixTime(2500);
    assert!(store.confirm(&drifted, at, endpoint, now).unwrap());
    assert!(
        !store.confirm(&drifted, at, endpoint, now).unwrap(),
        "there is nothing to write"
    );
    let store = reopened(&folder, store);
    let network = store.network(HOME).unwrap();
    assert_eq!(network.confirmed, now);
    let prefixes = &network.signals.0[&SignalKind::OnLinkPrefix];
    assert!(prefixes.contains(&print(9)) && prefixes.contains(&print(10)));
    let much_later = UnixTime(now.0 + 86_400);
    assert!(store.confirm(&drifted, at, endpoint, much_later).unwrap());
}

#[test]
fn a_network_keeps_no_more_signals_of_a_kind_than_it_may() {
    let (_folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    for gateway in 0..100 {
        let now = Surroundings::of_network(HOME, signals(gateway, 9));
        store
            .confirm(&now, server(1), identity(1).endpoint, UnixTime(2500))
            .unwrap();
        let kept = store.network(HOME).unwrap().signals;
        let gateways = &kept.0[&SignalKind::GatewayMacV4];
        assert!(gateways.len() <= SIGNALS_MAX);
        assert!(gateways.contains(&print(gateway)), "the present one is in");
    }
}

#[test]
fn where_there_is_doubt_nothing_is_learned_about_the_network() {
    let (_folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    let before = store.network(HOME).unwrap();
    let doubtful = Surroundings {
        doubt: Some(vec![SignalKind::GatewayMacV4]),
        ..Surroundings::of_network(HOME, signals(66, 9))
    };
    let now = UnixTime(90_000);
    assert!(
        !store
            .confirm(&doubtful, server(2), identity(1).endpoint, now)
            .unwrap()
    );
    store.remember(&doubtful, server(2), identity(2)).unwrap();
    assert_eq!(store.network(HOME).unwrap(), before);
    let renewed = KnownIdentity {
        last_seen: now,
        ..identity(1)
    };
    store.remember(&doubtful, server(1), renewed).unwrap();
    let after = store.network(HOME).unwrap();
    assert_eq!(after.signals, before.signals);
    assert_eq!(store.expected_at(HOME).unwrap().last_seen, now);
}

#[test]
fn forgetting_a_resolver_forgets_its_networks_and_forgetting_a_network_not_the_resolver() {
    let (_folder, store) = open();
    let cafe = Surroundings::of_network(CAFE, signals(2, 9));
    store.remember(&home(), server(1), identity(1)).unwrap();
    store.remember(&cafe, server(1), identity(2)).unwrap();
    assert!(store.forget(&identity(1).name).unwrap());
    assert_eq!(store.network(HOME), None);
    assert!(store.forget_network(CAFE).unwrap());
    assert!(!store.forget_network(CAFE).unwrap());
    assert_eq!(store.identities(), [identity(2)]);
}

#[test]
fn a_revoked_resolver_that_is_forgotten_stays_revoked() {
    let (folder, store) = open();
    store
        .remember(&home(), server(1), identity(1).revoked())
        .unwrap();
    assert!(store.forget(&identity(1).name).unwrap());
    let store = reopened(&folder, store);
    assert_eq!(store.expected_at(HOME), None);
    let known = store.identity(&identity(1).name).unwrap();
    assert_eq!(known.state, TrustState::Revoked);
}

/// Home, to look at, with another gateway.
fn doubtful(gateway: u8) -> Surroundings {
    Surroundings {
        doubt: Some(vec![SignalKind::GatewayMacV4]),
        ..Surroundings::of_network(HOME, signals(gateway, 9))
    }
}

fn waits(who: u8, at: Surroundings, why: WhyPending) -> Pending {
    Pending {
        identity: identity(who),
        surroundings: at,
        server: server(1),
        since: UnixTime(3000),
        why,
    }
}

#[test]
fn a_network_that_looks_like_another_is_told_apart_for_good_and_takes_nothing_from_it() {
    let (folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    let before = store.network(HOME).unwrap();
    let mismatch = || WhyPending::Mismatch {
        expected: identity(1).name,
    };
    let elsewhere = Surroundings::of_network(HOME, signals(1, 9));
    for (who, place) in [(2, doubtful(2)), (3, elsewhere)] {
        store.set_pending(waits(who, place, mismatch())).unwrap();
    }
    assert!(!store.separate(CAFE, &home(), UnixTime(7000)).unwrap());
    assert!(store.separate(CAFE, &doubtful(2), UnixTime(7000)).unwrap());
    // To accept it would bind it to the network that it was told apart from.
    assert_eq!(store.pending_of(&identity(2).name), None);
    assert!(store.pending_of(&identity(3).name).is_some());
    let store = reopened(&folder, store);
    assert_eq!(store.network(HOME), Some(before));
    assert_eq!(store.expected_at(CAFE), None, "nobody was met there yet");
    let separated = SeparatedNetwork {
        id: CAFE,
        from: HOME,
        signals: signals(2, 9),
        at: UnixTime(7000),
    };
    assert_eq!(store.separated(), std::slice::from_ref(&separated));
    // Whoever is met there is expected there; forgotten, it is still another network.
    let cafe = Surroundings::of_network(CAFE, signals(2, 9));
    store.remember(&cafe, server(1), identity(4)).unwrap();
    store.forget(&identity(4).name).unwrap();
    assert_eq!(store.separated(), [separated]);
    assert!(store.forget_network(CAFE).unwrap());
    assert!(store.separated().is_empty());
    assert!(!store.forget_network(CAFE).unwrap());
}

#[test]
fn nothing_is_told_apart_from_a_network_that_is_not_known() {
    let (_folder, store) = open();
    assert!(!store.separate(CAFE, &doubtful(2), UnixTime(7000)).unwrap());
    assert!(store.separated().is_empty());
}

#[test]
fn networks_that_were_told_apart_make_room_oldest_first() {
    let (_folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    let id = |number: usize| {
        let mut bytes = [7; 8];
        bytes[..2].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
        NetworkId::from_bytes(bytes)
    };
    store
        .change(|content| {
            for number in 0..SEPARATED_MAX {
                let old = SeparatedNetwork {
                    id: id(number),
                    from: HOME,
                    signals: signals(2, 9),
                    at: UnixTime(number as u64),
                };
                content.separated.insert(old.id, old);
            }
            true
        })
        .unwrap();
    assert!(store.separate(CAFE, &doubtful(2), UnixTime(0)).unwrap());
    let separated = store.separated();
    assert_eq!(separated.len(), SEPARATED_MAX);
    assert!(separated.iter().any(|it| it.id == CAFE));
    assert!(!separated.iter().any(|it| it.id == id(0)));
}

#[test]
fn what_is_new_about_a_network_is_learned_by_the_word_of_a_person_and_of_whom_is_expected() {
    let (folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    let differs = vec![SignalKind::GatewayMacV4];
    let why = WhyPending::Changed { differs };
    store.set_pending(waits(1, doubtful(2), why)).unwrap();
    let before = store.network(HOME);
    let accept = |store: &Store, place: &Surroundings, who: u8| {
        let learned = store.accept(place, server(5), &identity(who), UnixTime(8000));
        learned.unwrap()
    };
    assert_eq!(accept(&store, &doubtful(2), 2), None, "another is expected");
    assert_eq!(accept(&store, &home(), 1), None, "there is no doubt");
    assert_eq!(store.network(HOME), before);
    let learned = accept(&store, &doubtful(2), 1);
    assert_eq!(learned, Some(vec![SignalKind::GatewayMacV4]));
    assert_eq!(store.pending(), [], "that is decided");
    let store = reopened(&folder, store);
    let network = store.network(HOME).unwrap();
    let gateways = &network.signals.0[&SignalKind::GatewayMacV4];
    assert_eq!(gateways.len(), 2, "the one of before and the one of now");
    assert_eq!(network.server, server(5));
    assert_eq!(network.confirmed, UnixTime(8000));
}

#[test]
fn the_network_confirmed_longest_ago_makes_room() {
    let mut content = Content::default();
    for number in 0..=NETWORKS_MAX {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
        let place = Surroundings::of_network(NetworkId::from_bytes(bytes), signals(1, 9));
        let met = KnownIdentity {
            last_seen: UnixTime(5000 + number as u64),
            ..identity(1)
        };
        content.bind(&place, server(1), &met);
    }
    assert_eq!(content.networks.len(), NETWORKS_MAX);
    assert!(
        !content
            .networks
            .contains_key(&NetworkId::from_bytes([0; 8]))
    );
}

fn waiting(number: u8, since: u64) -> Pending {
    Pending {
        identity: identity(number),
        surroundings: home(),
        server: server(1),
        since: UnixTime(since),
        why: WhyPending::FirstUse,
    }
}

#[test]
fn who_waits_for_a_person_waits_once_and_in_order() {
    let (folder, store) = open();
    assert!(store.set_pending(waiting(1, 300)).unwrap());
    assert!(store.set_pending(waiting(2, 200)).unwrap());
    assert!(!store.set_pending(waiting(1, 400)).unwrap(), "it waits");
    let store = reopened(&folder, store);
    assert_eq!(store.pending(), [waiting(2, 200), waiting(1, 300)]);
    assert_eq!(
        store.expected_at(HOME),
        None,
        "waiting is not being trusted"
    );
    assert!(store.identities().is_empty());
    assert!(store.dismiss(&identity(1).name).unwrap());
    assert!(!store.dismiss(&identity(1).name).unwrap());
}

#[test]
fn a_flood_of_strangers_takes_no_more_room_than_there_is() {
    let (_folder, store) = open();
    store.remember(&home(), server(1), identity(99)).unwrap();
    for number in 0..60 {
        store
            .set_pending(waiting(number, u64::from(number)))
            .unwrap();
    }
    let waiting = store.pending();
    assert_eq!(waiting.len(), PENDING_MAX);
    assert_eq!(waiting.last().unwrap().identity, identity(59));
    assert!(store.expected_at(HOME).is_some());
}
