#![allow(clippy::unwrap_used)]

use ring::rand::SystemRandom;
use tempfile::TempDir;

use super::*;
use crate::durable::PrivacyError;

struct Lab {
    folder: TempDir,
    dir: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("identity");
        Self { folder, dir }
    }

    fn create(&self) -> Result<Identity, IdentityError> {
        let suffix = Name::from_ascii("zz.").unwrap();
        Identity::create(&self.dir, &suffix, &SystemRandom::new())
    }

    fn load(&self) -> Result<Identity, IdentityError> {
        Identity::load(&self.dir)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

#[test]
fn what_is_created_is_loaded() {
    let lab = Lab::new();
    assert!(!Identity::exists(&lab.dir).unwrap());
    let created = lab.create().unwrap();
    assert!(Identity::exists(&lab.dir).unwrap());
    let loaded = lab.load().unwrap();
    assert_eq!(loaded.name(), created.name());
    assert_eq!(loaded.certificate(), created.certificate());
    assert_eq!(loaded.trust_anchor(), created.trust_anchor());
    assert_eq!(contents(&loaded), contents(&created));
}

#[test]
fn an_identity_is_private_and_nothing_is_left_beside_it() {
    let lab = Lab::new();
    lab.create().unwrap();
    for file in lab.files() {
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    check_private(&lab.dir).unwrap();
    assert_eq!(fs::read_dir(lab.folder.path()).unwrap().count(), 1);
}

#[test]
fn an_existing_identity_is_never_replaced_even_a_damaged_one() {
    let lab = Lab::new();
    let first = lab.create().unwrap();
    assert!(matches!(lab.create(), Err(IdentityError::Exists(_))));
    assert_eq!(lab.load().unwrap().name(), first.name());
    for file in lab.files().split_off(1) {
        fs::remove_file(file).unwrap();
    }
    assert!(matches!(lab.create(), Err(IdentityError::Exists(_))));
    assert_eq!(lab.files().len(), 1);
}

#[test]
fn leftovers_of_a_crash_are_swept_unless_somebody_is_still_building() {
    let lab = Lab::new();
    let leftover = lab.folder.path().join(".identity.new-crash");
    let busy = lab.folder.path().join(".identity.new-busy");
    for folder in [&leftover, &busy] {
        durable::create_folders(folder).unwrap();
        create_exclusive(&folder.join(TLS_KEY), b"secret", 0o600).unwrap();
    }
    let _lock = lock_folder(&busy).unwrap();
    lab.create().unwrap();
    assert!(!leftover.exists());
    assert!(busy.join(TLS_KEY).exists());
}

#[test]
fn each_missing_file_is_named_and_only_the_standby_key_may_be_away() {
    let lab = Lab::new();
    lab.create().unwrap();
    for file in lab.files() {
        let aside = lab.folder.path().join("aside");
        fs::rename(&file, &aside).unwrap();
        if file.ends_with(STANDBY_KEY) {
            let identity = lab.load().unwrap();
            assert!(identity.standby_key().is_none());
            assert_eq!(identity.trust_anchor().len(), 2);
        } else {
            match lab.load() {
                Err(IdentityError::Missing(path)) => assert_eq!(path, file),
                other => panic!("{}: {other:?}", file.display()),
            }
        }
        fs::rename(&aside, &file).unwrap();
    }
    lab.load().unwrap();
}

#[test]
fn each_file_and_the_folder_must_be_private() {
    let lab = Lab::new();
    lab.create().unwrap();
    let mut paths = lab.files();
    paths.push(lab.dir.clone());
    for path in paths {
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() | 0o040)).unwrap();
        match lab.load() {
            Err(IdentityError::Privacy(PrivacyError::Mode { path: named, .. })) => {
                assert_eq!(named, path);
            }
            other => panic!("{}: {other:?}", path.display()),
        }
        fs::set_permissions(&path, before).unwrap();
    }
    lab.load().unwrap();
}

#[test]
fn parts_of_another_identity_do_not_belong() {
    let lab = Lab::new();
    lab.create().unwrap();
    let other = Lab::new();
    other.create().unwrap();
    for file in lab.files() {
        let name = file.file_name().unwrap();
        let own = fs::read(&file).unwrap();
        fs::copy(other.dir.join(name), &file).unwrap();
        // The public half of a stand-by key whose private half is away is all that is known of it.
        let error = lab.load().unwrap_err();
        let shown = error.to_string();
        assert!(
            matches!(
                error,
                IdentityError::Mismatch { .. } | IdentityError::Malformed { .. }
            ),
            "{shown}"
        );
        assert!(shown.contains(lab.dir.to_str().unwrap()), "{shown}");
        fs::write(&file, own).unwrap();
    }
    lab.load().unwrap();
}

#[test]
fn any_file_cut_short_is_refused() {
    let lab = Lab::new();
    lab.create().unwrap();
    for file in lab.files() {
        let own = fs::read(&file).unwrap();
        for keep in [0, 1, own.len() / 2, own.len() - 5, own.len() - 2] {
            fs::write(&file, &own[..keep]).unwrap();
            assert!(
                matches!(lab.load(), Err(IdentityError::Malformed { path, .. }) if path == file),
                "{} cut to {keep}",
                file.display()
            );
        }
        fs::write(&file, own).unwrap();
    }
    lab.load().unwrap();
}
