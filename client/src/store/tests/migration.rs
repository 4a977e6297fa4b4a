//! A folder that version 0.1 left after it met an appliance, and what becomes of it.

use super::*;
use crate::trust::dnskey_texts;

const NAME: &str = "nmqeqogmsg87aamptsg2.zz";
const ACTIVE_KEY: &str = "257 3 13 AlNI0qFJTegtrbVSvTHkBhynxCfWqRmzsSpmexajiCC0qNPVEEnuWitADrtMJVOsYTFDhwVDj4GoQHLrZPKWGw==";

/// All files of the folder, and what is in them.
const FILES: [(&str, &[u8]); 4] = [
    (SNAPSHOT_FILE, include_bytes!("version1/snapshot.json")),
    (MARKER_FILE, include_bytes!("version1/acknowledged")),
    ("store/conf", include_bytes!("version1/store/conf")),
    ("store/db", include_bytes!("version1/store/db")),
];

/// The folder without some of its files.
fn folder_without(missing: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in FILES {
        if missing.iter().any(|missing| name.starts_with(missing)) {
            continue;
        }
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn assert_met(store: &Store) {
    let server: SocketAddr = "127.0.0.1:15353".parse().unwrap();
    let known = store.expected_at(server).unwrap();
    assert_eq!(known.name.to_string(), NAME);
    assert_eq!(known.state, TrustState::Provisional);
    assert_eq!(known.endpoint, "127.0.0.1:18853".parse().unwrap());
    assert_eq!(known.first_seen, UnixTime(1_795_324_669));
    assert_eq!(known.versions.anchor_zone.serial, 1_795_324_667);
    assert_eq!(known.anchor.trusted().len(), 2);
    assert!(
        known
            .anchor
            .trusted()
            .iter()
            .any(|key| dnskey_texts::text(key) == ACTIVE_KEY)
    );
}

#[test]
fn what_an_earlier_version_left_is_read_and_written_anew_once() {
    let folder = folder_without(&[]);
    let (store, found) = Store::open(folder.path()).unwrap();
    assert_eq!(found, Found::Migrated);
    assert_met(&store);
    let secret = store.secret();
    assert_ne!(secret, [0; 32]);
    drop(store);
    let (store, found) = Store::open(folder.path()).unwrap();
    assert_eq!(found, Found::Whole);
    assert_met(&store);
    assert_eq!(store.secret(), secret, "what it hides stays comparable");
}

#[test]
fn one_copy_of_an_earlier_version_is_enough() {
    for missing in [SNAPSHOT_FILE, DATABASE_FOLDER] {
        let folder = folder_without(&[missing]);
        let (store, found) = Store::open(folder.path()).unwrap();
        assert!(matches!(found, Found::Mended { .. }), "{missing}");
        assert_met(&store);
        drop(store);
        assert_eq!(Store::open(folder.path()).unwrap().1, Found::Whole);
    }
}

#[test]
fn a_migration_that_was_interrupted_is_ended_by_the_next_opening() {
    let done = folder_without(&[]);
    drop(Store::open(done.path()).unwrap());
    // The snapshot was replaced, and then the power went.
    let folder = folder_without(&[SNAPSHOT_FILE]);
    let path = folder.path().join(SNAPSHOT_FILE);
    fs::copy(done.path().join(SNAPSHOT_FILE), path).unwrap();
    let (store, found) = Store::open(folder.path()).unwrap();
    assert!(matches!(found, Found::Mended { .. }));
    assert_met(&store);
}

#[test]
fn a_flipped_byte_of_an_earlier_version_alone_is_an_error() {
    let bytes = FILES[0].1;
    for at in (0..bytes.len()).step_by(7) {
        let folder = folder_without(&[SNAPSHOT_FILE, DATABASE_FOLDER]);
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x01;
        fs::write(folder.path().join(SNAPSHOT_FILE), damaged).unwrap();
        if let Ok((store, found)) = Store::open(folder.path()) {
            assert_ne!(found, Found::Nothing);
            assert_met(&store);
        }
    }
}

#[test]
fn a_store_of_a_later_version_is_refused_by_name_and_left_alone() {
    let folder = filled();
    let snapshot = folder.path().join(SNAPSHOT_FILE);
    let text = fs::read_to_string(&snapshot).unwrap();
    let later = text.replacen("\"version\": 2", "\"version\": 3", 1);
    assert_ne!(later, text);
    fs::write(&snapshot, &later).unwrap();
    fs::remove_dir_all(folder.path().join(DATABASE_FOLDER)).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(
        matches!(error, StoreError::Later { version: 3, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("later program"), "{error}");
    assert_eq!(fs::read_to_string(&snapshot).unwrap(), later);
}

#[test]
fn a_look_into_a_damaged_snapshot_shows_what_no_store_believes() {
    let text = std::str::from_utf8(FILES[0].1).unwrap();
    let changed = text.replacen("\"provisional\"", "\"verified\"", 1);
    assert_ne!(changed, text);
    let told = salvage(changed.as_bytes()).unwrap();
    let name: ResolverName = NAME.parse().unwrap();
    assert_eq!(told.identities[&name].state, TrustState::Verified);
    let folder = folder_without(&[SNAPSHOT_FILE, DATABASE_FOLDER]);
    fs::write(folder.path().join(SNAPSHOT_FILE), changed).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    assert!(salvage(b"{}").is_err());
}
