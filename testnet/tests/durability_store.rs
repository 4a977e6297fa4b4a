//! What the client's store acknowledged is never lost, whatever happens at whatever call.
//!
//! A driver lives through the life of a store ([`memory::life`]); after each fault the store must hold what it held
//! before the step that was interrupted, or after it, and nothing else. An acknowledged identity that came back as
//! "never seen" would be trusted anew in silence.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use tempfile::TempDir;
use zzdot_client::store::{DATABASE_FOLDER, SNAPSHOT_FILE, Store};
use zzdot_testnet::faults::{
    self, End, Fault, Kind, Outcome, Traced, example,
    memory::{Memory, life},
    walk,
};

/// What the store is when the driver starts.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// Not there.
    Nothing,
    /// After so many steps.
    After(usize),
    /// The same, but the database is lost.
    WithoutDatabase(usize),
    /// The same, but the snapshot is lost.
    WithoutSnapshot(usize),
    /// The same, but the snapshot is damaged.
    DamagedSnapshot(usize),
}

struct Lab {
    _folder: TempDir,
    path: PathBuf,
    start: Start,
}

impl Lab {
    fn new(start: Start, template: &Path) -> Self {
        let folder = faults::folder().unwrap();
        let path = folder.path().canonicalize().unwrap().join("state");
        if !matches!(start, Start::Nothing) {
            copy(template, &path);
        }
        Self {
            _folder: folder,
            path,
            start,
        }
    }

    fn run(&self, end: usize, tries: usize, fault: Option<Fault>) -> Outcome {
        Traced::new(&example("store_walk").unwrap(), &self.path)
            .arg(&self.path)
            .arg(self.start.steps().to_string())
            .arg(end.to_string())
            .arg(tries.to_string())
            .run(fault)
            .unwrap()
    }

    /// How a process without faults finds the store, and what is remembered.
    fn reopen(&self, context: &str) -> (String, Memory) {
        let output = Command::new(example("store_walk").unwrap())
            .arg(&self.path)
            .args(["0", "0", "1"])
            .output()
            .unwrap();
        let said = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let complaint = said(&output.stderr);
        assert!(output.status.success(), "{complaint}: {context}");
        let stdout = said(&output.stdout);
        let (found, memory) = stdout.trim_end().split_once('\n').unwrap();
        (found.to_owned(), serde_json::from_str(memory).unwrap())
    }
}

impl Start {
    fn steps(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::After(steps)
            | Self::WithoutDatabase(steps)
            | Self::WithoutSnapshot(steps)
            | Self::DamagedSnapshot(steps) => steps,
        }
    }

    /// The folder that each run starts with a copy of.
    fn template(self) -> TempDir {
        let folder = faults::folder().unwrap();
        if matches!(self, Self::Nothing) {
            return folder;
        }
        let (store, _) = Store::open(folder.path()).unwrap();
        for step in &life()[..self.steps()] {
            step.apply(&store).unwrap();
        }
        drop(store);
        match self {
            Self::Nothing | Self::After(_) => {}
            Self::WithoutDatabase(_) => {
                fs::remove_dir_all(folder.path().join(DATABASE_FOLDER)).unwrap();
            }
            Self::WithoutSnapshot(_) => {
                fs::remove_file(folder.path().join(SNAPSHOT_FILE)).unwrap();
            }
            Self::DamagedSnapshot(_) => {
                let path = folder.path().join(SNAPSHOT_FILE);
                let mut octets = fs::read(&path).unwrap();
                let middle = octets.len() / 2;
                octets[middle] ^= 1;
                fs::write(&path, octets).unwrap();
            }
        }
        folder
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Walks through one kind of fault from one start; returns how many there were.
fn walk_through(kind: Kind, start: Start, end: usize, tries: usize) -> usize {
    let template = start.template();
    let points = walk(kind, |fault| {
        let lab = Lab::new(start, template.path());
        let outcome = lab.run(end, tries, Some(fault));
        judge(
            &lab,
            &outcome,
            kind,
            end,
            tries,
            &format!("{start:?}, {fault:?}"),
        );
        outcome
    });
    println!("{start:?}, {kind:?}: {points} points");
    points
}

fn judge(lab: &Lab, outcome: &Outcome, kind: Kind, end: usize, tries: usize, context: &str) {
    let context = format!(
        "{context} at {:?}: {:?}\n{}{}",
        outcome.hit, outcome.end, outcome.stdout, outcome.stderr
    );
    let said = |start: &str| {
        outcome
            .stdout
            .lines()
            .filter(|line| line.starts_with(start))
            .count()
    };
    let done = lab.start.steps() + said("done ");
    match outcome.end {
        End::Exited(0) => assert_eq!(done, end, "{context}"),
        End::Exited(3) => {
            // sled's threads may be gone after a failure, for as long as the process lives: then the next process goes on.
            let without_threads = outcome.stderr.contains("does not come back from it");
            if tries > 1 && without_threads {
                WITHOUT_THREADS.fetch_add(1, Ordering::Relaxed);
            }
            assert!(
                kind.is_error() && (tries == 1 || without_threads),
                "{context}"
            );
            let named = outcome.stderr.contains(lab.path.to_str().unwrap());
            assert!(named, "no file is named: {context}");
        }
        End::Signaled(9) => assert!(!kind.is_error(), "{context}"),
        other => panic!("{other:?}: {context}"),
    }
    if !matches!(lab.start, Start::Nothing) {
        assert_eq!(said("nothing"), 0, "first use all over: {context}");
    }
    let (found, held) = lab.reopen(&context);
    let nothing_was_promised = outcome.stdout.is_empty();
    assert!(
        nothing_was_promised || found != "nothing",
        "first use all over: {context}"
    );
    let steps = life();
    let interrupted = (done + 1).min(end);
    assert!(
        held == Memory::after(&steps[..done]) || held == Memory::after(&steps[..interrupted]),
        "neither before nor after step {done}: {held:#?}\n{context}"
    );
    if found != "whole" {
        // Whatever had to be mended is mended for good.
        let again = lab.reopen(&context);
        assert_eq!(again, ("whole".to_owned(), held), "{context}");
    }
}

/// Runs in which a change could not be tried again before the process was another.
static WITHOUT_THREADS: AtomicUsize = AtomicUsize::new(0);

const ALL: usize = 8;
/// Meetings, one of them again, and one forgotten.
const SOME: usize = 5;

#[test]
fn a_kill_at_any_call_of_a_life_loses_nothing_acknowledged() {
    assert_eq!(life().len(), ALL);
    let points = walk_through(Kind::Kill, Start::Nothing, ALL, 1)
        + walk_through(Kind::Torn, Start::Nothing, ALL, 1);
    assert!(points > 120, "{points}");
}

#[test]
fn a_kill_at_any_call_of_mending_loses_nothing() {
    let points = [
        Start::After(6),
        Start::WithoutDatabase(6),
        Start::WithoutSnapshot(6),
        Start::DamagedSnapshot(6),
    ]
    .map(|start| walk_through(Kind::Kill, start, 7, 1) + walk_through(Kind::Torn, start, 7, 1));
    let points: usize = points.iter().sum();
    assert!(points > 120, "{points}");
}

#[test]
fn a_full_disk_at_any_call_of_a_life_is_told_and_loses_nothing_acknowledged() {
    let points = walk_through(Kind::NoSpace, Start::Nothing, SOME, 1)
        + walk_through(Kind::FullDisk, Start::Nothing, SOME, 1);
    assert!(points > 170, "{points}");
}

#[test]
fn a_failing_disk_at_any_call_of_a_life_is_told_and_loses_nothing_acknowledged() {
    let points = walk_through(Kind::BadSector, Start::Nothing, SOME, 1)
        + walk_through(Kind::DeadDisk, Start::Nothing, SOME, 1);
    assert!(points > 250, "{points}");
}

#[test]
fn an_error_at_any_call_of_the_next_start_loses_nothing() {
    let points = walk_through(Kind::NoSpace, Start::After(6), 7, 1)
        + walk_through(Kind::BadSector, Start::After(6), 7, 1)
        + walk_through(Kind::FullDisk, Start::WithoutDatabase(6), 7, 1)
        + walk_through(Kind::BadSector, Start::WithoutDatabase(6), 7, 1);
    assert!(points > 170, "{points}");
}

#[test]
fn an_error_at_any_call_of_making_a_lost_snapshot_anew_loses_nothing() {
    let points = walk_through(Kind::NoSpace, Start::WithoutSnapshot(6), 7, 1)
        + walk_through(Kind::DeadDisk, Start::WithoutSnapshot(6), 7, 1);
    assert!(points > 200, "{points}");
}

#[test]
fn an_error_at_any_call_of_replacing_a_damaged_snapshot_loses_nothing() {
    let points = walk_through(Kind::FullDisk, Start::DamagedSnapshot(6), 7, 1)
        + walk_through(Kind::BadSector, Start::DamagedSnapshot(6), 7, 1);
    assert!(points > 200, "{points}");
}

#[test]
fn a_change_that_failed_once_can_be_tried_again_at_once() {
    let points = walk_through(Kind::NoSpace, Start::Nothing, SOME, 2);
    assert!(points > 90, "{points}");
    let without_threads = WITHOUT_THREADS.load(Ordering::Relaxed);
    assert!(
        without_threads <= points / 20,
        "{without_threads} of {points}"
    );
}
