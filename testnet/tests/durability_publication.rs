//! The state of a publication (serial, inception) survives every fault: what was said never comes again.
//!
//! A client refuses a resolver whose serial or inception falls (roll-back), so a stamp lost would be a resolver lost.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use tempfile::TempDir;
use zzdot_testnet::faults::{self, End, Fault, Kind, Outcome, Traced, example, walk};
use zzdot_zonegen::{
    clock::UnixTime,
    publication::{STATE_FILE, Stamp, StateError},
};

/// How many stamps the program makes: the first file, and replacements of it.
const STAMPS: usize = 3;

struct Lab {
    _folder: TempDir,
    path: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let folder = faults::folder().unwrap();
        let path = folder.path().canonicalize().unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    fn run(&self, fault: Option<Fault>) -> Outcome {
        Traced::new(&example("stamp_walk").unwrap(), &self.path)
            .arg(&self.path)
            .arg(STAMPS.to_string())
            .run(fault)
            .unwrap()
    }
}

/// The stamps that a run acknowledged: serial and inception.
fn acknowledged(outcome: &Outcome) -> Vec<(u32, u64)> {
    let number = |text: Option<&str>| text.unwrap().parse::<u64>().unwrap();
    outcome
        .stdout
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let serial = number(words.next());
            (u32::try_from(serial).unwrap(), number(words.next()))
        })
        .collect()
}

/// Walks through one kind of fault and returns how many there were.
fn walk_through(kind: Kind) -> usize {
    walk(kind, |fault| {
        let lab = Lab::new();
        let outcome = lab.run(Some(fault));
        let said = acknowledged(&outcome);
        let context = format!(
            "{fault:?} at {:?}: {said:?}, {}",
            outcome.hit, outcome.stderr
        );
        let kept = Stamp::load(&lab.path).unwrap_or_else(|error| panic!("{context}: {error}"));
        match (said.last(), &kept) {
            (None, _) => {}
            (Some(said), None) => panic!("{context}: {said:?} was acknowledged and is lost"),
            (Some((serial, inception)), Some(kept)) => {
                // Nothing, or the one stamp that was saved and not yet acknowledged.
                let ahead = kept.serial.wrapping_sub(*serial);
                assert!(ahead == 0 || outcome.end != End::Exited(0), "{context}");
                assert!(ahead < 1000, "{context}: {kept:?}");
                assert!(kept.inception.0 >= *inception, "{context}: {kept:?}");
            }
        }
        if outcome.hit.is_some() && kind.is_error() && said.len() < STAMPS {
            assert_eq!(outcome.end, End::Exited(3), "{context}");
            assert!(outcome.stderr.contains(STATE_FILE), "{context}");
        }
        let next = Stamp::advance(&lab.path, UnixTime::now()).unwrap();
        for (serial, inception) in said {
            assert!(
                next.serial > serial && next.inception.0 >= inception,
                "{context}"
            );
        }
        outcome
    })
}

#[test]
fn a_kill_at_any_call_loses_no_stamp() {
    let points = walk_through(Kind::Kill) + walk_through(Kind::Torn);
    println!("{points} points");
    assert!(points >= STAMPS * 6, "{points}");
}

#[test]
fn a_full_disk_at_any_call_loses_no_stamp_and_is_told() {
    let points = walk_through(Kind::NoSpace) + walk_through(Kind::FullDisk);
    println!("{points} points");
    assert!(points >= STAMPS * 10, "{points}");
}

#[test]
fn a_failing_disk_at_any_call_loses_no_stamp_and_is_told() {
    let points = walk_through(Kind::BadSector) + walk_through(Kind::DeadDisk);
    println!("{points} points");
    assert!(points >= STAMPS * 20, "{points}");
}

#[test]
fn no_octet_of_the_state_can_change_unnoticed() {
    let lab = Lab::new();
    let stamp = Stamp::advance(&lab.path, UnixTime::now()).unwrap();
    let file = lab.path.join(STATE_FILE);
    let own = fs::read(&file).unwrap();
    let mut changed: Vec<Vec<u8>> = (0..own.len()).map(|keep| own[..keep].to_vec()).collect();
    for position in 0..own.len() {
        for bit in 0..8 {
            let mut octets = own.clone();
            octets[position] ^= 1 << bit;
            changed.push(octets);
        }
    }
    for octets in changed {
        fs::write(&file, &octets).unwrap();
        let shown = String::from_utf8_lossy(&octets).into_owned();
        match Stamp::load(&lab.path) {
            Err(StateError::Malformed { path, .. } | StateError::Unreadable { path, .. }) => {
                assert_eq!(path, file, "{shown}");
            }
            // White space may be another white space.
            Ok(Some(loaded)) => assert_eq!(loaded, stamp, "{shown}"),
            other => panic!("{other:?} from {shown}"),
        }
    }
}
