#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, PublicKeyBuf};
use zzdot_zonegen::zone::ServerType;

use super::*;
use crate::trust::{AnchorSet, TrustState, ZoneVersion, ZoneVersions};

fn identity(number: u8) -> KnownIdentity {
    let version = ZoneVersion {
        serial: 7,
        inception: UnixTime(1000),
        accepted: UnixTime(2000),
    };
    let key = DNSKEY::with_flags(
        257,
        PublicKeyBuf::new(vec![number; 64], Algorithm::ECDSAP256SHA256),
    );
    KnownIdentity {
        name: format!("{:0>20}.zz", number).parse().unwrap(),
        state: TrustState::Provisional,
        verification: None,
        anchor: AnchorSet::first_use(std::slice::from_ref(&key), Some(&key), UnixTime(1000)),
        tlsa: vec![format!("3 1 1 {}", "ab".repeat(32)).parse().unwrap()],
        endpoint: "192.0.2.1:853".parse().unwrap(),
        server_type: ServerType::Resolver,
        first_seen: UnixTime(1000),
        last_seen: UnixTime(2000 + u64::from(number)),
        signatures_expire: UnixTime(9000),
        versions: ZoneVersions {
            anchor_zone: version,
            name_zone: version,
        },
    }
}

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 53))
}

fn remember(store: &Store, server: SocketAddr, identity: KnownIdentity) -> Result<(), StoreError> {
    store.remember(&Surroundings::of_server(server), server, identity)
}

/// A folder with two identities in it, and the store closed.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, found) = Store::open(folder.path()).unwrap();
    assert_eq!(found, Found::Nothing);
    remember(&store, server(1), identity(1)).unwrap();
    remember(&store, server(2), identity(2)).unwrap();
    folder
}

fn assert_filled(store: &Store) {
    assert_eq!(store.identities(), [identity(1), identity(2)]);
    assert_eq!(store.expected_at(server(1)), Some(identity(1)));
    assert_eq!(store.expected_at(server(2)), Some(identity(2)));
    assert_eq!(store.expected_at(server(3)), None);
}

#[test]
fn what_was_remembered_is_there_after_reopening() {
    let folder = filled();
    let (store, found) = Store::open(folder.path()).unwrap();
    assert_eq!(found, Found::Whole);
    assert_filled(&store);
    assert_eq!(store.clock_floor(), UnixTime(2002).minus(CLOCK_SLACK));
    assert_eq!(store.servers_of(&identity(2).name), [server(2)]);
}

#[test]
fn a_link_with_another_number_and_an_address_in_another_guise_are_the_same_server() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    let at = |text: &str| text.parse().unwrap();
    remember(&store, at("[fe80::1%3]:53"), identity(1)).unwrap();
    remember(&store, at("192.0.2.9:53"), identity(2)).unwrap();
    drop(store);
    let (store, _) = Store::open(folder.path()).unwrap();
    for again in ["[fe80::1%3]:53", "[fe80::1%7]:53", "[fe80::1]:53"] {
        assert_eq!(store.expected_at(at(again)), Some(identity(1)), "{again}");
    }
    let guise = at("[::ffff:192.0.2.9]:53");
    assert_eq!(store.expected_at(guise), Some(identity(2)));
    assert_eq!(store.expected_at(at("192.0.2.9:5353")), None);
}

#[test]
fn forgetting_takes_the_bindings_along_and_lasts() {
    let folder = filled();
    let (store, _) = Store::open(folder.path()).unwrap();
    assert!(store.forget(&identity(1).name).unwrap());
    assert!(!store.forget(&identity(1).name).unwrap());
    assert_eq!(store.expected_at(server(1)), None);
    drop(store);
    let (store, found) = Store::open(folder.path()).unwrap();
    assert_eq!(found, Found::Whole);
    assert_eq!(store.identities(), [identity(2)]);
}

#[test]
fn forgetting_everything_is_not_a_first_use() {
    let folder = filled();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.forget(&identity(1).name).unwrap();
    store.forget(&identity(2).name).unwrap();
    drop(store);
    let (store, found) = Store::open(folder.path()).unwrap();
    assert_eq!(found, Found::Whole);
    assert!(store.identities().is_empty());
}

#[test]
fn another_identity_at_the_same_server_replaces_the_binding_alone() {
    let folder = filled();
    let (store, _) = Store::open(folder.path()).unwrap();
    remember(&store, server(1), identity(2)).unwrap();
    assert_eq!(store.expected_at(server(1)), Some(identity(2)));
    assert_eq!(store.identity(&identity(1).name), Some(identity(1)));
}

#[test]
fn one_process_at_a_time() {
    let folder = filled();
    let _store = Store::open(folder.path()).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
}

#[test]
fn a_lost_copy_is_made_anew_from_the_other() {
    let folder = filled();
    fs::remove_file(folder.path().join(SNAPSHOT_FILE)).unwrap();
    let (store, found) = Store::open(folder.path()).unwrap();
    assert!(matches!(found, Found::Mended { .. }));
    assert_filled(&store);
    drop(store);
    fs::remove_dir_all(folder.path().join(DATABASE_FOLDER)).unwrap();
    let (store, found) = Store::open(folder.path()).unwrap();
    assert!(matches!(found, Found::Mended { .. }));
    assert_filled(&store);
    drop(store);
    assert_eq!(Store::open(folder.path()).unwrap().1, Found::Whole);
}

#[test]
fn both_copies_lost_is_an_error_and_not_a_first_use() {
    let folder = filled();
    fs::remove_file(folder.path().join(SNAPSHOT_FILE)).unwrap();
    fs::remove_dir_all(folder.path().join(DATABASE_FOLDER)).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    let again = Store::open(folder.path()).unwrap_err();
    assert!(
        matches!(again, StoreError::Unreadable { .. }),
        "it stays one"
    );
}

#[test]
fn both_copies_damaged_is_an_error_and_nothing_is_touched() {
    let folder = filled();
    let snapshot = folder.path().join(SNAPSHOT_FILE);
    fs::write(&snapshot, b"{}").unwrap();
    fs::remove_dir_all(folder.path().join(DATABASE_FOLDER)).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    assert_eq!(fs::read(&snapshot).unwrap(), b"{}");
}

#[test]
fn an_empty_database_beside_a_damaged_snapshot_is_no_first_use() {
    let folder = filled();
    fs::write(folder.path().join(SNAPSHOT_FILE), b"").unwrap();
    fs::remove_dir_all(folder.path().join(DATABASE_FOLDER)).unwrap();
    fs::create_dir(folder.path().join(DATABASE_FOLDER)).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
}

#[test]
fn the_newer_of_two_sound_copies_wins() {
    let folder = filled();
    let snapshot = folder.path().join(SNAPSHOT_FILE);
    let old = fs::read(&snapshot).unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    remember(&store, server(3), identity(3)).unwrap();
    drop(store);
    let new = fs::read(&snapshot).unwrap();
    fs::write(&snapshot, &old).unwrap();
    let (store, found) = Store::open(folder.path()).unwrap();
    assert!(matches!(found, Found::Mended { .. }));
    assert_eq!(store.expected_at(server(3)), Some(identity(3)));
    drop(store);
    assert_eq!(fs::read(&snapshot).unwrap(), new);
}

#[test]
fn copies_of_one_age_that_differ_are_an_error() {
    let folder = filled();
    let other = filled();
    let (store, _) = Store::open(other.path()).unwrap();
    store.forget(&identity(1).name).unwrap();
    drop(store);
    let (store, _) = Store::open(folder.path()).unwrap();
    store.forget(&identity(2).name).unwrap();
    drop(store);
    fs::copy(
        other.path().join(SNAPSHOT_FILE),
        folder.path().join(SNAPSHOT_FILE),
    )
    .unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Disagree { .. }), "{error}");
}

#[test]
fn a_change_that_cannot_be_written_did_not_happen() {
    let folder = filled();
    let (store, _) = Store::open(folder.path()).unwrap();
    // A folder in the place of the snapshot: the rename onto it fails, whoever runs this.
    let snapshot = folder.path().join(SNAPSHOT_FILE);
    let kept = fs::read(&snapshot).unwrap();
    fs::remove_file(&snapshot).unwrap();
    fs::create_dir_all(snapshot.join("in-the-way")).unwrap();
    let error = remember(&store, server(3), identity(3)).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_filled(&store);
    drop(store);
    fs::remove_dir_all(&snapshot).unwrap();
    fs::write(&snapshot, kept).unwrap();
    let (store, found) = Store::open(folder.path()).unwrap();
    assert_eq!(found, Found::Whole);
    assert_filled(&store);
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = filled();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Unsafe { .. }), "{error}");
    assert!(error.to_string().contains("chmod"), "{error}");
}

/// All files below `folder`, with their contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// A copy of `pristine` in which one byte of one file is flipped.
fn damaged(
    pristine: &Path,
    files: &BTreeMap<PathBuf, Vec<u8>>,
    path: &Path,
    at: usize,
) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (original, bytes) in files {
        let target = copy.path().join(original.strip_prefix(pristine).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut bytes = bytes.clone();
        if original == path {
            bytes[at] ^= 0x01;
        }
        fs::write(target, bytes).unwrap();
    }
    copy
}

fn assert_unchanged_or_error(copy: &Path, what: &str) {
    // An error is fine too: it is loud.
    if let Ok((store, found)) = Store::open(copy) {
        assert_ne!(found, Found::Nothing, "{what} made it a first use");
        assert_eq!(store.identities(), [identity(1), identity(2)], "{what}");
        assert_eq!(store.expected_at(server(1)), Some(identity(1)), "{what}");
    }
}

#[test]
fn a_flipped_byte_of_the_snapshot_is_mended_from_the_database() {
    let folder = filled();
    let files = files(folder.path());
    let snapshot = folder.path().join(SNAPSHOT_FILE);
    // That each single byte is noticed is shown below, where it is cheaper.
    for at in (0..files[&snapshot].len()).step_by(13) {
        let copy = damaged(folder.path(), &files, &snapshot, at);
        let (store, _) = Store::open(copy.path()).unwrap();
        assert_filled(&store);
    }
}

#[test]
fn every_flipped_byte_of_the_snapshot_without_a_database_is_an_error_or_changes_nothing() {
    let folder = filled();
    fs::remove_dir_all(folder.path().join(DATABASE_FOLDER)).unwrap();
    let files = files(folder.path());
    let snapshot = folder.path().join(SNAPSHOT_FILE);
    for at in 0..files[&snapshot].len() {
        let copy = damaged(folder.path(), &files, &snapshot, at);
        assert_unchanged_or_error(copy.path(), &format!("byte {at}"));
    }
}

#[test]
fn flipped_bytes_of_the_database_never_change_what_is_remembered() {
    let folder = filled();
    let files = files(folder.path());
    for (path, bytes) in &files {
        if !path.starts_with(folder.path().join(DATABASE_FOLDER)) {
            continue;
        }
        // The files are mostly room, and all bytes of the rest would take minutes: a sample.
        let telling: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        for at in telling.iter().step_by(telling.len().div_ceil(150).max(1)) {
            let copy = damaged(folder.path(), &files, path, *at);
            let (store, found) = Store::open(copy.path()).unwrap();
            assert_ne!(found, Found::Nothing);
            assert_filled(&store);
        }
    }
}

mod decisions;
mod migration;
mod networks;
