//! What people decide, and what they carry from one computer to another.

use super::*;
use crate::place::NetworkId;
use crate::trust::{AnchorDs, Enrolled, Verification, VerifiedBy};

const HOME: NetworkId = NetworkId::from_bytes([1; 8]);
const NOW: UnixTime = UnixTime(5000);
const BY_PHRASE: Verification = Verification {
    by: VerifiedBy::Phrase,
    at: NOW,
};

fn home() -> Surroundings {
    Surroundings::of_network(HOME, crate::network::Signals::default())
}

fn open() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn vouched_for(number: u8) -> Enrolled {
    let identity = identity(number);
    Enrolled {
        ds: vec![AnchorDs::of(identity.anchor.active().unwrap())],
        name: identity.name,
        by: VerifiedBy::Uri,
        at: NOW,
    }
}

fn waiting(number: u8, why: WhyPending) -> Pending {
    Pending {
        identity: identity(number),
        surroundings: home(),
        server: server(1),
        since: NOW,
        why,
    }
}

#[test]
fn who_is_approved_at_first_use_is_expected_there_and_not_verified() {
    let (_folder, store) = open();
    let name = identity(1).name;
    let unknown = store.approve(&name, None).unwrap_err();
    assert!(matches!(unknown, DecisionError::Unknown { .. }));
    let pending = waiting(1, WhyPending::FirstUse);
    store.set_pending(pending).unwrap();
    store.approve(&name, None).unwrap();
    let expected = store.expected_at(HOME).unwrap();
    assert_eq!(expected.state, TrustState::Provisional);
    assert_eq!(store.pending(), []);
}

#[test]
fn another_one_than_expected_is_accepted_after_a_comparison_and_not_otherwise() {
    let (_folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    let expected = identity(1).name;
    store
        .set_pending(waiting(2, WhyPending::Mismatch { expected }))
        .unwrap();
    let name = identity(2).name;
    let refused = store.approve(&name, None).unwrap_err();
    assert!(matches!(refused, DecisionError::NotVerified { .. }));
    assert_eq!(store.expected_at(HOME).unwrap().name, identity(1).name);
    assert_eq!(store.pending().len(), 1, "it still waits");
    store.approve(&name, Some(BY_PHRASE)).unwrap();
    let now = store.expected_at(HOME).unwrap();
    assert_eq!((now.name, now.state), (name, TrustState::Verified));
    assert!(store.identity(&identity(1).name).is_some());
}

#[test]
fn a_verification_outlives_what_a_session_read_before_it() {
    let (folder, store) = open();
    remember(&store, server(1), identity(1)).unwrap();
    store.verify(&identity(1).name, BY_PHRASE).unwrap();
    // A session that met it read it before.
    remember(&store, server(1), identity(1)).unwrap();
    drop(store);
    let (store, _) = Store::open(folder.path()).unwrap();
    let known = store.expected_at(server(1)).unwrap();
    assert_eq!(known.state, TrustState::Verified);
    assert_eq!(known.verification, Some(BY_PHRASE));
}

#[test]
fn who_was_revoked_never_returns() {
    let (folder, store) = open();
    let name = identity(1).name;
    remember(&store, server(1), identity(1)).unwrap();
    store.set_pending(waiting(1, WhyPending::FirstUse)).unwrap();
    assert!(store.revoke(&name).unwrap());
    assert!(!store.revoke(&name).unwrap());
    assert_eq!(store.pending(), []);
    store.set_pending(waiting(1, WhyPending::FirstUse)).unwrap();
    let refusals = [
        store.verify(&name, BY_PHRASE).unwrap_err(),
        store.approve(&name, Some(BY_PHRASE)).unwrap_err(),
        store.enrol(vouched_for(1)).unwrap_err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, DecisionError::Revoked { .. }));
    }
    remember(&store, server(1), identity(1)).unwrap();
    let elsewhere = exported(&[identity(1)]);
    store.import(&elsewhere, NOW).unwrap();
    drop(store);
    let (store, _) = Store::open(folder.path()).unwrap();
    assert_eq!(store.identity(&name).unwrap().state, TrustState::Revoked);
}

#[test]
fn who_is_enrolled_is_verified_where_it_is_known_and_waits_where_it_is_not() {
    let (_folder, store) = open();
    remember(&store, server(1), identity(1)).unwrap();
    assert!(store.enrol(vouched_for(1)).unwrap());
    let known = store.identity(&identity(1).name).unwrap();
    assert_eq!(known.state, TrustState::Verified);
    assert_eq!(store.all_enrolled(), []);
    assert!(!store.enrol(vouched_for(2)).unwrap());
    assert_eq!(store.enrolled(&identity(2).name), Some(vouched_for(2)));
    let other_key = Enrolled {
        ds: vouched_for(3).ds,
        ..vouched_for(1)
    };
    let refused = store.enrol(other_key).unwrap_err();
    assert!(matches!(refused, DecisionError::OtherKey { .. }));
    assert!(store.forget(&identity(2).name).is_ok());
    assert_eq!(store.all_enrolled(), []);
}

#[test]
fn no_more_are_enrolled_than_there_is_room_for() {
    let (_folder, store) = open();
    let content = &mut store.lock().content;
    for number in 0..ENROLLED_MAX {
        let name: ResolverName = format!("{number:0>20}.zz").parse().unwrap();
        let enrolled = Enrolled {
            name: name.clone(),
            ..vouched_for(1)
        };
        content.enrolled.insert(name, enrolled);
    }
    let one_more = Enrolled {
        name: "88888888888888888888.zz".parse().unwrap(),
        ..vouched_for(1)
    };
    let refused = content.enrol(one_more.clone()).unwrap_err();
    assert!(matches!(refused, DecisionError::Full));
    content.enrolled.pop_first();
    assert!(!content.enrol(one_more).unwrap());
}

fn exported(identities: &[KnownIdentity]) -> Exported {
    let named = |identity: &KnownIdentity| (identity.name.clone(), identity.clone());
    Exported {
        identities: identities.iter().map(named).collect(),
        enrolled: BTreeMap::new(),
    }
}

#[test]
fn an_export_carries_who_is_known_and_not_where() {
    let (_folder, store) = open();
    store.remember(&home(), server(1), identity(1)).unwrap();
    store.verify(&identity(1).name, BY_PHRASE).unwrap();
    remember(&store, server(9), identity(2)).unwrap();
    store.enrol(vouched_for(3)).unwrap();
    let text = store.export().text().unwrap();
    let secret = data_encoding::HEXLOWER.encode(&store.secret());
    for kept_back in [secret.as_str(), &HOME.to_string(), "192.0.2.9"] {
        assert!(!text.contains(kept_back), "{kept_back}");
    }

    let (folder, other) = open();
    let imported = other.import(&Exported::read(&text).unwrap(), NOW).unwrap();
    let names = |numbers: &[u8]| -> Vec<_> {
        numbers
            .iter()
            .map(|number| identity(*number).name)
            .collect()
    };
    assert_eq!(imported.added, names(&[1, 2, 3]));
    drop(other);
    let (other, _) = Store::open(folder.path()).unwrap();
    let first = other.identity(&identity(1).name).unwrap();
    assert_eq!(first.verification.unwrap().by, VerifiedBy::Imported);
    let second = other.identity(&identity(2).name).unwrap();
    assert_eq!(second.state, TrustState::Provisional);
    assert_eq!(other.enrolled(&identity(3).name), Some(vouched_for(3)));
    assert!(other.networks().is_empty());
    assert_eq!(other.expected_at(server(9)), None);
}

#[test]
fn an_import_raises_trust_and_replaces_nothing() {
    let (_folder, store) = open();
    for number in 1..=3 {
        remember(&store, server(number), identity(number)).unwrap();
    }
    let older = KnownIdentity {
        tlsa: Vec::new(),
        ..identity(1)
    };
    let told = exported(&[
        older,
        identity(2).verified(BY_PHRASE),
        identity(3).revoked(),
    ]);
    let imported = store.import(&told, NOW).unwrap();
    assert_eq!(imported.unchanged, [identity(1).name]);
    assert_eq!(imported.verified, [identity(2).name]);
    assert_eq!(imported.revoked, [identity(3).name]);
    let known = |number: u8| store.identity(&identity(number).name).unwrap();
    assert_eq!(known(1), identity(1));
    assert_eq!(known(2).state, TrustState::Verified);
    assert_eq!(known(3).state, TrustState::Revoked);
}

#[test]
fn an_import_with_another_key_under_a_known_name_changes_nothing_at_all() {
    let (_folder, store) = open();
    remember(&store, server(2), identity(2)).unwrap();
    let impostor = KnownIdentity {
        name: identity(2).name,
        ..identity(66)
    };
    let before = store.export();
    let told = exported(&[identity(1), impostor]);
    let refused = store.import(&told, NOW).unwrap_err();
    assert!(matches!(refused, DecisionError::OtherKey { .. }));
    assert_eq!(store.export(), before);
}

#[test]
fn a_clock_that_was_ahead_elsewhere_is_not_imported() {
    let (_folder, store) = open();
    let mut ahead = identity(1);
    ahead.last_seen = UnixTime(4_000_000_000);
    ahead.versions.anchor_zone.accepted = UnixTime(4_000_000_000);
    store.import(&exported(&[ahead]), NOW).unwrap();
    assert!(store.clock_floor() <= NOW);
    let known = store.identity(&identity(1).name).unwrap();
    assert_eq!(known.versions.anchor_zone.accepted, NOW);
}

#[test]
fn half_an_export_and_one_with_a_byte_changed_are_refused() {
    let (_folder, store) = open();
    remember(&store, server(1), identity(1)).unwrap();
    let told = store.export();
    let text = told.text().unwrap();
    let bytes = text.trim_end().as_bytes();
    for end in 0..bytes.len() {
        let half = std::str::from_utf8(&bytes[..end]).unwrap();
        assert!(Exported::read(half).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x01;
        let changed = String::from_utf8(changed).unwrap();
        // A letter of a name may change its case, and between words may stand another white-space.
        if let Ok(read) = Exported::read(&changed) {
            assert_eq!(read, told, "byte {at}");
        }
    }
    let later = text.replacen("\"version\": 1", "\"version\": 2", 1);
    let refused = Exported::read(&later).unwrap_err().to_string();
    assert!(refused.contains("version 2"), "{refused}");
    assert!(Exported::read("{}").is_err());
}
