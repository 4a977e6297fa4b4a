//! The programs themselves, as people start them: the appliance's first start, and the client's command that
//! forgets, killed or failing at each call.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use zzdot_testnet::{
    faults::{
        self, End, Fault, Kind, Outcome, Traced, example,
        memory::{Memory, Step, life},
        walk,
    },
    products,
};

/// The appliance, with its state in a folder that does not exist yet.
struct Appliance {
    _folder: TempDir,
    path: PathBuf,
}

impl Appliance {
    fn new() -> Self {
        let folder = faults::folder().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let (dns, dot) = free_ports();
        let config = format!(
            "state-dir = \"{}\"\n\
             [listen]\ndns = [\"127.0.0.1:{dns}\"]\ndot = [\"127.0.0.1:{dot}\"]\n\
             [resolve]\nmode = \"forward\"\nupstreams = [\"127.0.0.1:{dot}\"]\n",
            path.join("state").display()
        );
        fs::write(path.join("zzdot.toml"), config).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    /// Starts it; ends it once it serves.
    fn run(&self, fault: Option<Fault>) -> Outcome {
        Traced::new(&products::find("zzdot").unwrap(), &self.path.join("state"))
            .arg("serve")
            .arg("--config")
            .arg(self.path.join("zzdot.toml"))
            .env("NO_COLOR", "1")
            .stop_at(" serving ")
            .run(fault)
            .unwrap()
    }
}

/// Two ports that nobody listens on.
fn free_ports() -> (u16, u16) {
    let port = || {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        UdpSocket::bind(("127.0.0.1", port)).map(|udp| (port, tcp, udp))
    };
    let mut held = Vec::new();
    while held.len() < 2 {
        held.extend(port().ok());
    }
    (held[0].0, held[1].0)
}

/// What stands behind `key=` in what a program said, each time.
fn values<'a>(said: &'a str, key: &str) -> Vec<&'a str> {
    said.split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        .collect()
}

fn first_starts(kind: Kind) -> usize {
    walk(kind, |fault| {
        let appliance = Appliance::new();
        let outcome = appliance.run(Some(fault));
        let context = format!(
            "{fault:?} at {:?}: {:?} {}",
            outcome.hit, outcome.end, outcome.stderr
        );
        let expected = match outcome.end {
            End::Exited(0) => outcome.stderr.contains(" serving "),
            End::Exited(3) => {
                kind.is_error() && outcome.stderr.contains(appliance.path.to_str().unwrap())
            }
            End::Signaled(9) => !kind.is_error(),
            _ => false,
        };
        assert!(expected, "{context}");
        let again = appliance.run(None);
        let context = format!("{context}\nthen: {}", again.stderr);
        assert_eq!(again.end, End::Exited(0), "{context}");
        let names = values(&again.stderr, "name");
        assert!(!names.is_empty(), "{context}");
        for name in values(&outcome.stderr, "name") {
            assert_eq!(name, names[0], "another identity: {context}");
        }
        let serial = |said: &str| {
            values(said, "serial")
                .first()
                .map(|serial| serial.parse::<u32>().unwrap())
        };
        assert!(serial(&again.stderr) > serial(&outcome.stderr), "{context}");
        outcome
    })
}

#[test]
fn an_appliance_killed_at_any_call_of_its_first_start_is_who_it_said_it_is_at_the_next() {
    let points = first_starts(Kind::Kill);
    println!("{points} points");
    assert!(points > 70, "{points}");
}

#[test]
fn an_appliance_without_space_at_any_call_of_its_first_start_starts_once_there_is_some() {
    let points = first_starts(Kind::NoSpace);
    println!("{points} points");
    assert!(points > 50, "{points}");
}

/// Six steps of a life, of which the last identity met is forgotten by the command.
const STEPS: usize = 6;

/// Fills a store, in a process of its own: sled lets go of its lock late in this one.
fn live(folder: &Path) {
    let status = Command::new(example("store_walk").unwrap())
        .arg(folder)
        .args(["0", &STEPS.to_string(), "1"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

fn remembered(folder: &Path, context: &str) -> (String, Memory) {
    let output = Command::new(example("store_walk").unwrap())
        .arg(folder)
        .args(["0", "0", "1"])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}: {context}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let (found, memory) = stdout.trim_end().split_once('\n').unwrap();
    (found.to_owned(), serde_json::from_str(memory).unwrap())
}

fn forget(kind: Kind) -> usize {
    let mut steps = life()[..STEPS].to_vec();
    let Some(Step::Remember(_, last)) = steps.last().cloned() else {
        panic!("the last step is a meeting");
    };
    let before = Memory::after(&steps);
    steps.push(Step::Forget(last.name.clone()));
    let after = Memory::after(&steps);
    walk(kind, |fault| {
        let folder = faults::folder().unwrap();
        let path = folder.path().canonicalize().unwrap().join("state");
        live(&path);
        let outcome = Traced::new(&products::find("zzdot-client").unwrap(), &path)
            .args(["resolvers", "forget"])
            .arg(last.name.to_string())
            .arg("--state-dir")
            .arg(&path)
            .run(Some(fault))
            .unwrap();
        let context = format!(
            "{fault:?} at {:?}: {:?} {}",
            outcome.hit, outcome.end, outcome.stderr
        );
        let (found, held) = remembered(&path, &context);
        assert_ne!(found, "nothing", "first use all over: {context}");
        match outcome.end {
            End::Exited(0) => assert!(held == after, "{held:?}: {context}"),
            End::Exited(3) => {
                assert!(held == before || held == after, "{held:?}: {context}");
                let named = outcome.stderr.contains(path.to_str().unwrap());
                assert!(kind.is_error() && named, "{context}");
            }
            End::Signaled(9) => assert!(held == before || held == after, "{held:?}: {context}"),
            end => panic!("{end:?}: {context}"),
        }
        outcome
    })
}

#[test]
fn what_is_to_be_forgotten_is_forgotten_or_an_error_is_told() {
    let points: usize = [Kind::Kill, Kind::Torn, Kind::NoSpace, Kind::BadSector]
        .map(forget)
        .iter()
        .sum();
    println!("{points} points");
    assert!(points > 100, "{points}");
}
