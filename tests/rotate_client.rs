//! Keys are replaced while the client asks: the real `zzdot` and the real `zzdot-client`, under a clock that the test moves.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use serde_json::Value;
use support::{
    clock::Clock,
    daemon::{Daemon, PATIENCE, Place, ZZDOT},
    program,
};

const SETTINGS: &str = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n[rotation]\nzsk-days = 0\n";
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// The client's daemon, beside the appliance.
struct Client {
    daemon: Daemon,
    folder: PathBuf,
}

impl Client {
    /// Starts it with this server; what it remembers is in the folder.
    fn start(folder: &Path, server: &str, listen: &str, clock: &Clock) -> Self {
        fs::create_dir_all(folder).unwrap();
        let state = folder.join("state");
        let config =
            format!("listen = [\"{listen}\"]\nstate-dir = {state:?}\nserver = \"{server}\"\n");
        fs::write(folder.join("client.toml"), config).unwrap();
        let mut command = tool(folder, &["run"]);
        clock.rule(&mut command);
        // It looks after its resolver by the time that passes, and not by the date.
        command.env_remove("FAKETIME_DONT_FAKE_MONOTONIC");
        Self {
            daemon: Daemon::start(command, folder),
            folder: folder.to_owned(),
        }
    }

    fn status(&self) -> Value {
        let output = program::run(&mut tool(&self.folder, &["status", "--json"]));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it remembers of this resolver.
    fn remembers(&self, name: &str) -> Value {
        let asked = ["resolvers", "show", name, "--json"];
        let output = program::run(&mut tool(&self.folder, &asked));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until what it remembers is as it should be.
    fn wait_until(&self, name: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let remembered = self.remembers(name);
            if done(&remembered) && self.status()["walking"] == false {
                return remembered;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: {remembered}\n{}\n{}",
                self.status(),
                self.daemon.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// How often it asked in cleartext who the server is.
    fn walks_in_clear(&self) -> usize {
        self.daemon.log().matches("in_clear=true").count()
    }
}

fn tool(folder: &Path, arguments: &[&str]) -> Command {
    let program = Path::new(ZZDOT).with_file_name("zzdot-client");
    assert!(
        program.is_file(),
        "this test needs the client: cargo build -p zzdot-client --bins"
    );
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg("--config")
        .arg(folder.join("client.toml"))
        .env("ZZDOT_LOG", "info")
        .env("NO_COLOR", "1");
    for variable in ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "LISTEN_FDS"] {
        command.env_remove(variable);
    }
    command
}

/// Asks the client what only the appliance can say, again and again.
struct Asker {
    stop: Arc<AtomicBool>,
    /// Held while a question is under way: all of its time would have passed when the clock is moved.
    turn: Arc<Mutex<()>>,
    thread: JoinHandle<Vec<ResponseCode>>,
}

impl Asker {
    fn start(client: &str, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let turn = Arc::new(Mutex::new(()));
        let (stopped, taken) = (Arc::clone(&stop), Arc::clone(&turn));
        let (client, name) = (client.to_owned(), name.to_owned());
        let thread = thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                let asking = taken.lock().unwrap();
                answers.push(ask(&client, &name));
                drop(asking);
                thread::sleep(Duration::from_millis(2));
            }
            answers
        });
        Self { stop, turn, thread }
    }

    /// Moves the clock between two questions.
    fn advance(&self, clock: &mut Clock, secs: u64) {
        let _between = self.turn.lock().unwrap();
        clock.advance(secs);
    }

    /// Insists that all questions were answered, and says how many there were.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let answers = self.thread.join().unwrap();
        let failed = answers
            .iter()
            .filter(|code| **code != ResponseCode::NoError);
        assert_eq!(failed.count(), 0, "of {}", answers.len());
        answers.len()
    }
}

/// One question to the client, which the appliance answers out of its own zone.
fn ask(client: &str, name: &str) -> ResponseCode {
    let owner = Name::from_ascii(format!("server-type.{name}.")).unwrap();
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(owner, RecordType::TXT));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&message.to_vec().unwrap(), client).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    match answer.metadata.response_code {
        ResponseCode::NoError => assert!(!answer.answers.is_empty()),
        code => return code,
    }
    ResponseCode::NoError
}

fn serve(place: &Place, clock: &Clock) -> Daemon {
    let mut command = place.command("serve");
    clock.rule(&mut command);
    Daemon::start(command, place.path())
}

/// The tags of the trust anchor that the appliance has: the active key and the stand-by.
fn anchors(place: &Place) -> Vec<u64> {
    let identity: Value = serde_json::from_str(&place.told("identity", &["--json"])).unwrap();
    let keys = identity["trust-anchor"].as_array().unwrap().iter();
    keys.map(|key| key["key-tag"].as_u64().unwrap()).collect()
}

fn trusts(remembered: &Value, tag: u64) -> bool {
    let tags = remembered["anchor-key-tags"].as_array().unwrap();
    tags.iter().any(|held| held == tag)
}

#[test]
fn whoever_asks_through_the_client_notices_nothing_of_new_keys() {
    let place = Place::new(SETTINGS);
    let mut clock = Clock::new(place.path());
    let mut appliance = serve(&place, &clock);
    let name = place.status()["name"].as_str().unwrap().to_owned();
    let pid = place.status()["pid"].clone();
    let folder = place.path().join("client");
    let (server, listen) = (
        format!("{}:5300", place.address),
        format!("{}:5301", place.address),
    );
    // Of its own: it looks at what the appliance has finished, and at nothing in between.
    fs::create_dir_all(&folder).unwrap();
    let mut watch = Clock::new(&folder);
    let client = Client::start(&folder, &server, &listen, &watch);
    assert_eq!(ask(&listen, &name), ResponseCode::NoError);
    let first = client.wait_until(&name, "met", |_| true);
    assert_eq!(client.walks_in_clear(), 1);
    let asker = Asker::start(&listen, &name);

    // Announced, learned over TLS, and then served.
    place.told("rotate", &["--what", "certificate"]);
    asker.advance(&mut watch, HOUR);
    client.wait_until(&name, "both certificates", |told| {
        told["tlsa"].as_array().unwrap().len() == 2
    });
    clock.advance(HOUR);
    appliance.reload();
    asker.advance(&mut watch, HOUR + 60);
    let second = client.wait_until(&name, "the next certificate", |told| {
        told["tlsa"].as_array().unwrap().len() == 1 && told["tlsa"] != first["tlsa"]
    });
    assert_eq!(client.walks_in_clear(), 1, "{}", client.daemon.log());

    // No connection outlives a certificate whose key is in wrong hands, and no question is lost.
    place.told("rotate", &["--what", "certificate", "--compromised"]);
    client.wait_until(&name, "another certificate", |told| {
        told["tlsa"].as_array().unwrap().len() == 1 && told["tlsa"] != second["tlsa"]
    });

    // The anchor, by RFC 5011.
    let [old, next] = anchors(&place)[..] else {
        panic!("an active key and a stand-by");
    };
    place.told("rotate", &["--what", "anchor"]);
    let mut seen = client.remembers(&name);
    assert!(trusts(&seen, old) && trusts(&seen, next), "{seen}");
    // A month and more, so that all know the stand-by first.
    for _ in 0..12 {
        if !trusts(&seen, old) {
            break;
        }
        // It looks at its keys more often than this, as it does without being told.
        for _ in 0..5 {
            clock.advance(DAY);
            appliance.reload();
        }
        let before = seen["last-seen"].clone();
        asker.advance(&mut watch, 5 * DAY);
        seen = client.wait_until(&name, "a look", |told| told["last-seen"] != before);
    }
    assert!(
        !trusts(&seen, old) && trusts(&seen, next),
        "{seen}\n{}\n{}",
        place.status()["roll-overs"],
        client.daemon.log()
    );
    assert_eq!(anchors(&place)[0], next);
    let log = client.daemon.log();
    for told in [
        format!("key {old} revoked itself"),
        format!("key {next} signs from now on"),
        format!("key {} is new", anchors(&place)[1]),
    ] {
        assert!(log.contains(&told), "{told}: {log}");
    }

    let asked = asker.stop();
    let status = client.status();
    assert!(status["queries"]["encrypted"].as_u64().unwrap() > asked as u64);
    assert_eq!(status["queries"]["cleartext"], 0);
    assert_eq!(status["queries"]["failed"], 0, "{status}");
    assert_eq!(status["state"], "strict");
    assert_eq!(status["resolver"]["name"], name.as_str());
    for same in ["name", "trust", "endpoint", "first-seen", "servers"] {
        assert_eq!(seen[same], first[same]);
    }
    assert_eq!(place.status()["pid"], pid, "no restart");
    assert!(appliance.stop().success() && client.daemon.stop().success());
}

#[test]
fn a_resolver_is_known_in_another_place_though_all_its_keys_were_replaced_meanwhile() {
    let place = Place::new(SETTINGS);
    let other = place.address.replace(".53", ".54");
    let (state, home) = (place.state(), &place.address);
    place.write(&format!(
        "state-dir = {state:?}\n[listen]\ndns = [\"{home}:5300\", \"{other}:5300\"]\n\
         dot = [\"{home}:8530\", \"{other}:8530\"]\n{SETTINGS}"
    ));
    let mut clock = Clock::new(place.path());
    let mut appliance = serve(&place, &clock);
    let name = place.status()["name"].as_str().unwrap().to_owned();
    let folder = place.path().join("client");
    let listen = format!("{home}:5301");
    let client = Client::start(&folder, &format!("{home}:5300"), &listen, &clock);
    assert_eq!(ask(&listen, &name), ResponseCode::NoError);
    let met = client.remembers(&name);
    assert!(client.daemon.stop().success());

    // Two roll-overs: neither the key that was active nor the stand-by of that time is left.
    let gone = anchors(&place);
    for _ in 0..2 {
        place.told("rotate", &["--what", "anchor"]);
        for _ in 0..36 {
            clock.advance(DAY);
            appliance.reload();
        }
    }
    let now = anchors(&place);
    assert!(
        gone.iter().all(|tag| !now.contains(tag)),
        "{gone:?} {now:?}"
    );

    let client = Client::start(&folder, &format!("{other}:5300"), &listen, &clock);
    assert_eq!(
        ask(&listen, &name),
        ResponseCode::NoError,
        "{}",
        client.daemon.log()
    );
    let again = client.remembers(&name);
    assert_eq!(again["first-seen"], met["first-seen"]);
    assert!(
        trusts(&again, now[0]) && !trusts(&again, gone[0]),
        "{again}"
    );
    assert_eq!(again["servers"].as_array().unwrap().len(), 2);
    let told = format!("an earlier key named key {}", now[0]);
    assert!(
        client.daemon.log().contains(&told),
        "{}",
        client.daemon.log()
    );
    assert_eq!(client.status()["queries"]["cleartext"], 0);
}
