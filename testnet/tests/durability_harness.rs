//! The harness of the durability tests does what it says: else those tests would prove nothing.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use zzdot_testnet::faults::{Effect, End, Fault, Kind, Outcome, Traced, walk};

const PYTHON: &str = "/usr/bin/python3";

/// Four threads write a file each in turn; then one more file is written.
const PROGRAM: &str = "
import os, sys, threading
folder = sys.argv[1]
def write(name):
    file = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(file, b'0123456789')
    os.fsync(file)
    os.close(file)
    print(name, flush=True)
for name in 'abcd':
    thread = threading.Thread(target=write, args=(name,))
    thread.start()
    thread.join()
write('e')
";

/// Says when it may be ended, and how it was.
const DAEMON: &str = "
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print('ready', flush=True)
signal.sigwait({signal.SIGTERM})
print('bye')
sys.exit(7)
";

struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        assert!(
            Path::new(PYTHON).exists(),
            "{PYTHON} is missing; mend it with: apt-get install python3-minimal"
        );
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    fn run(&self, fault: Option<Fault>) -> Outcome {
        Traced::new(Path::new(PYTHON), &self.path())
            .arg("-c")
            .arg(PROGRAM)
            .arg(self.path())
            .run(fault)
            .unwrap()
    }

    /// The files with their sizes, in order.
    fn files(&self) -> Vec<(String, u64)> {
        let mut files: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, entry.metadata().unwrap().len())
            })
            .collect();
        files.sort();
        files
    }
}

fn sizes(sizes: &[u64]) -> Vec<(String, u64)> {
    let names = ["a", "b", "c", "d", "e"];
    names
        .iter()
        .map(ToString::to_string)
        .zip(sizes.iter().copied())
        .collect()
}

#[test]
fn without_a_fault_the_calls_of_all_threads_are_told_in_their_order() {
    let lab = Lab::new();
    let outcome = lab.run(None);
    assert_eq!(outcome.end, End::Exited(0));
    assert_eq!(outcome.stdout, "a\nb\nc\nd\ne\n");
    assert_eq!(outcome.hit, None);
    let calls: Vec<_> = outcome
        .calls
        .iter()
        .filter(|call| call.effect != Effect::Read)
        .map(|call| {
            let file = call.path.file_name().unwrap().to_str().unwrap();
            format!("{} {file} {:?}", call.name, call.octets)
        })
        .collect();
    let expected: Vec<_> = "abcde"
        .chars()
        .flat_map(|file| {
            [
                format!("openat {file} None"),
                format!("write {file} Some(10)"),
                format!("fsync {file} None"),
            ]
        })
        .collect();
    assert_eq!(calls, expected);
}

#[test]
fn a_kill_comes_before_the_call_and_at_each_one_of_each_thread() {
    let mut seen = Vec::new();
    let points = walk(Kind::Kill, |fault| {
        let lab = Lab::new();
        let outcome = lab.run(Some(fault));
        seen.push((lab.files(), outcome.end, outcome.stdout.len() / 2));
        outcome
    });
    assert_eq!(points, 15);
    let killed = End::Signaled(9);
    assert_eq!(seen[0], (sizes(&[]), killed, 0));
    assert_eq!(seen[1], (sizes(&[0]), killed, 0));
    assert_eq!(seen[2], (sizes(&[10]), killed, 0));
    assert_eq!(seen[3], (sizes(&[10]), killed, 1));
    assert_eq!(seen[10], (sizes(&[10, 10, 10, 0]), killed, 3));
    assert_eq!(seen[14], (sizes(&[10; 5]), killed, 4));
    assert_eq!(seen[15], (sizes(&[10; 5]), End::Exited(0), 5));
}

#[test]
fn a_torn_write_arrives_by_half() {
    let mut seen = Vec::new();
    let points = walk(Kind::Torn, |fault| {
        let lab = Lab::new();
        let outcome = lab.run(Some(fault));
        seen.push(lab.files());
        outcome
    });
    assert_eq!(points, 5);
    assert_eq!(seen[0], sizes(&[5]));
    assert_eq!(seen[4], sizes(&[10, 10, 10, 10, 5]));
}

#[test]
fn an_error_happens_once_or_from_then_on_and_what_failed_was_not_done() {
    let run = |kind| {
        let lab = Lab::new();
        let outcome = lab.run(Some(Fault { kind, after: 4 }));
        assert_eq!(outcome.hit.unwrap().name, "write");
        (lab.files(), outcome.end, outcome.stdout, outcome.stderr)
    };
    // The thread that writes `b` ends with the error, the others go on.
    let (files, end, stdout, stderr) = run(Kind::NoSpace);
    assert_eq!(files, sizes(&[10, 0, 10, 10, 10]));
    assert_eq!((end, stdout.as_str()), (End::Exited(0), "a\nc\nd\ne\n"));
    assert!(stderr.contains("No space left on device"), "{stderr}");
    let (files, end, stdout, _) = run(Kind::FullDisk);
    assert_eq!(files, sizes(&[10, 0]));
    assert_eq!((end, stdout.as_str()), (End::Exited(1), "a\n"));
    let (_, _, _, stderr) = run(Kind::BadSector);
    assert!(stderr.contains("Input/output error"), "{stderr}");
}

#[test]
fn a_daemon_is_stopped_once_it_says_that_it_is_ready() {
    let lab = Lab::new();
    let outcome = Traced::new(Path::new(PYTHON), &lab.path())
        .arg("-c")
        .arg(DAEMON)
        .stop_at("ready")
        .run(None)
        .unwrap();
    assert_eq!(outcome.stdout, "ready\nbye\n");
    assert_eq!(outcome.end, End::Exited(7));
}
