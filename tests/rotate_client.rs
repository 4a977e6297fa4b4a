//! Keys are replaced while the client asks: the real `zzdot` and the real `zzdot-client`, under a clock that the test moves.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use serde_json::Value;
use support::{
    client::{Client, ask},
    clock::Clock,
    daemon::{Daemon, Place},
};

const SETTINGS: &str = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n[rotation]\nzsk-days = 0\n";
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

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
