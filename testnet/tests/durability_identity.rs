//! An identity appears whole or not at all, whatever happens while `zzdot-zonegen new` makes it.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use hickory_proto::rr::Name;
use ring::rand::SystemRandom;
use tempfile::TempDir;
use zzdot_testnet::{
    faults::{self, End, Fault, Kind, Outcome, Traced, walk},
    products,
};
use zzdot_zonegen::identity::{Identity, IdentityError};

struct Lab {
    _folder: TempDir,
    path: PathBuf,
    dir: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let folder = faults::folder().unwrap();
        let path = folder.path().canonicalize().unwrap();
        Self {
            _folder: folder,
            dir: path.join("state/identity"),
            path,
        }
    }

    /// `zzdot-zonegen new`; the folder above the identity's does not exist yet either.
    fn run(&self, fault: Option<Fault>) -> Outcome {
        Traced::new(&products::find("zzdot-zonegen").unwrap(), &self.path)
            .arg("new")
            .arg(&self.dir)
            .run(fault)
            .unwrap()
    }

    fn create(&self) -> Result<Identity, IdentityError> {
        let suffix = Name::from_ascii("zz.").unwrap();
        Identity::create(&self.dir, &suffix, &SystemRandom::new())
    }

    fn state_entries(&self) -> Vec<String> {
        fs::read_dir(self.path.join("state"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// Walks through one kind of fault and returns how many there were.
fn walk_through(kind: Kind) -> usize {
    walk(kind, |fault| {
        let lab = Lab::new();
        let outcome = lab.run(Some(fault));
        let context = format!(
            "{fault:?} at {:?}: {:?} {}",
            outcome.hit, outcome.end, outcome.stderr
        );
        let there = Identity::exists(&lab.dir).unwrap();
        let acknowledged = outcome.stdout.trim_end();
        if there {
            let loaded =
                Identity::load(&lab.dir).unwrap_or_else(|error| panic!("{context}: {error}"));
            let name = loaded.name().to_string();
            assert!(acknowledged.is_empty() || acknowledged == name, "{context}");
            // Whoever tries again learns that it is there, and gets no other one.
            assert!(
                matches!(lab.create(), Err(IdentityError::Exists(_))),
                "{context}"
            );
            let again = Identity::load(&lab.dir).unwrap();
            assert_eq!(again.name().to_string(), name, "{context}");
        } else {
            assert_eq!(acknowledged, "", "{context}: acknowledged and lost");
            assert_ne!(outcome.end, End::Exited(0), "{context}");
            // Whoever tries again succeeds, and nothing is left of the first try.
            lab.create()
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            Identity::load(&lab.dir).unwrap();
            assert_eq!(lab.state_entries(), ["identity"], "{context}");
        }
        match outcome.end {
            End::Exited(0) => assert_ne!(acknowledged, "", "{context}"),
            End::Exited(3) => {
                assert!(kind.is_error() && acknowledged.is_empty(), "{context}");
                let named = outcome.stderr.contains(lab.path.to_str().unwrap());
                assert!(named, "no file is named: {context}");
            }
            End::Signaled(9) => assert!(!kind.is_error(), "{context}"),
            end => panic!("{end:?}: {context}"),
        }
        outcome
    })
}

#[test]
fn a_kill_at_any_call_leaves_a_whole_identity_or_none() {
    let points = walk_through(Kind::Kill);
    println!("{points} points");
    assert!(points > 60, "{points}");
}

#[test]
fn a_torn_write_is_never_taken_for_an_identity() {
    let points = walk_through(Kind::Torn);
    println!("{points} points");
    assert!(points >= 13, "{points}");
}

#[test]
fn a_full_disk_at_any_call_is_told_and_leaves_a_whole_identity_or_none() {
    let points = walk_through(Kind::NoSpace) + walk_through(Kind::FullDisk);
    println!("{points} points");
    assert!(points > 110, "{points}");
}

#[test]
fn a_failing_disk_at_any_call_is_told_and_leaves_a_whole_identity_or_none() {
    let points = walk_through(Kind::BadSector) + walk_through(Kind::DeadDisk);
    println!("{points} points");
    assert!(points > 160, "{points}");
}

/// Reading is not to change anything, and an error on the way is not to look like "there is none".
#[test]
fn a_failing_disk_while_an_identity_is_read_never_makes_it_look_absent() {
    let lab = Lab::new();
    lab.create().unwrap();
    let show = |fault| {
        Traced::new(&products::find("zzdot-zonegen").unwrap(), &lab.path)
            .arg("show")
            .arg(&lab.dir)
            .run(fault)
            .unwrap()
    };
    let whole = show(None);
    assert_eq!(whole.end, End::Exited(0), "{}", whole.stderr);
    for kind in [Kind::BadSector, Kind::DeadDisk] {
        let points = walk(kind, |fault| {
            let outcome = show(Some(fault));
            let context = format!("{fault:?} at {:?}: {}", outcome.hit, outcome.stderr);
            match outcome.end {
                End::Exited(0) => assert_eq!(outcome.stdout, whole.stdout, "{context}"),
                End::Exited(3) => {
                    assert_eq!(outcome.stdout, "", "{context}");
                    assert!(outcome.stderr.contains("Input/output error"), "{context}");
                }
                end => panic!("{end:?}: {context}"),
            }
            outcome
        });
        println!("{points} points");
        assert!(points > 26, "{points}");
    }
    for kind in [Kind::BadSector, Kind::DeadDisk] {
        walk(kind, |fault| {
            let outcome = lab.run(Some(fault));
            let context = format!("{fault:?} at {:?}: {}", outcome.hit, outcome.stderr);
            assert_eq!(outcome.end, End::Exited(3), "{context}");
            outcome
        });
    }
    assert_eq!(show(None).stdout, whole.stdout);
}
