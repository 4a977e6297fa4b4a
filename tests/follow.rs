//! Validators that were given one key follow the trust anchor through two roll-overs (RFC 5011): unbound with
//! `auto-trust-anchor-file`, and our client's table, which comes to the same verdicts. The appliance and unbound run, under
//! one clock that the test moves.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    net::UdpSocket,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    dnssec::{
        Verifier,
        rdata::{DNSKEY, DNSSECRData},
    },
    op::Message,
    rr::{DNSClass, RData, RecordType},
};
use support::{
    clock::Clock,
    daemon::{Daemon, PATIENCE, Place},
    program::{self, Running},
};

use zzdot_client::{
    trust::{AnchorSet, KeySet, KeyState},
    wire::{Edns, QuestionFlags, question},
};
use zzdot_zonegen::{clock::UnixTime, keys::key_tag, owners::anchor_zone};

const NO_UPSTREAM: &str = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n[rotation]\nzsk-days = 0\n";
const DAY: u64 = 24 * 3600;
const REVOKE: u16 = 0x0080;

/// The appliance, unbound in front of it, our client's table, and their clock.
struct Lab {
    place: Place,
    table: AnchorSet,
    clock: Clock,
    appliance: Daemon,
    day: u64,
}

/// What unbound thinks of a key: the states of RFC 5011 §4.
type States = Vec<(u16, String)>;

impl Lab {
    fn new() -> Self {
        let place = Place::new(NO_UPSTREAM);
        let clock = Clock::new(place.path());
        let mut command = place.command("serve");
        clock.rule(&mut command);
        let appliance = Daemon::start(command, place.path());
        // Both are given the active key alone, and have to learn of the stand-by.
        let shown = keys(&place);
        let active = shown.signers.first();
        let mut lab = Self {
            table: AnchorSet::first_use(active.map(std::slice::from_ref).unwrap(), active, now(0)),
            place,
            clock,
            appliance,
            day: 0,
        };
        lab.observe();
        let [active, _] = lab.anchors();
        fs::write(
            lab.anchor_file(),
            format!("resolver-name.arpa. 60 IN DNSKEY {active}\n"),
        )
        .unwrap();
        lab
    }

    /// The active key and the stand-by, as data of DNSKEY records.
    fn anchors(&self) -> [String; 2] {
        let identity = self.place.told("identity", &["--json"]);
        let identity: serde_json::Value = serde_json::from_str(&identity).unwrap();
        [0, 1].map(|at| {
            let key = &identity["trust-anchor"][at]["dnskey"];
            key.as_str().unwrap().to_owned()
        })
    }

    /// Their tags.
    fn tags(&self) -> [u16; 2] {
        let identity = self.place.told("identity", &["--json"]);
        let identity: serde_json::Value = serde_json::from_str(&identity).unwrap();
        [0, 1].map(|at| {
            let tag = identity["trust-anchor"][at]["key-tag"].as_u64().unwrap();
            u16::try_from(tag).unwrap()
        })
    }

    fn anchor_file(&self) -> PathBuf {
        self.place.path().join("anchors")
    }

    /// Lets days pass; the appliance looks at its keys on each of them.
    fn pass_until(&mut self, day: u64) {
        while self.day < day {
            self.clock.advance(DAY);
            self.day += 1;
            self.appliance.reload();
            self.observe();
        }
    }

    /// Our client sees the keys, over TLS as it were.
    fn observe(&mut self) {
        let shown = keys(&self.place);
        self.table.observe(&shown, now(self.day)).unwrap();
    }

    /// What our client thinks of each key; those that are gone for good it never forgets, and unbound does.
    fn ours(&self) -> States {
        let state = |standing| match standing {
            KeyState::AddPend { .. } => Some("ADDPEND"),
            KeyState::Valid => Some("VALID"),
            KeyState::Missing => Some("MISSING"),
            KeyState::Revoked { .. } => Some("REVOKED"),
            _ => None,
        };
        let keys = self.table.keys().iter().filter_map(|held| {
            let revoked = matches!(held.standing, KeyState::Revoked { .. });
            let tag = key_tag(&held.key).wrapping_add(u16::from(revoked) * REVOKE);
            Some((tag, state(held.standing)?.to_owned()))
        });
        let mut states: States = keys.collect();
        states.sort();
        states
    }

    /// Starts unbound, which asks for the keys, and waits until it has written down what it found. Says what it thinks of
    /// each key, and insists that it holds both zones' apexes for authentic.
    fn look(&self) -> States {
        let before = fs::read_to_string(self.anchor_file()).unwrap();
        let address = format!("{}@5399", self.place.address);
        let folder = self.place.path().display();
        let config = self.place.path().join("unbound.conf");
        let text = format!(
            "server:\n interface: {address}\n username: \"\"\n chroot: \"\"\n directory: \"{folder}\"\n pidfile: \"\"\n \
             use-syslog: no\n do-daemonize: no\n do-not-query-localhost: no\n verbosity: 1\n \
             access-control: 127.0.0.0/8 allow\n module-config: \"validator iterator\"\n \
             trust-anchor-signaling: no\n auto-trust-anchor-file: \"{}\"\n \
             local-zone: \"resolver-name.arpa.\" transparent\n\
             remote-control:\n control-enable: no\n\
             stub-zone:\n name: \"resolver-name.arpa.\"\n stub-addr: {}@5300\n",
            self.anchor_file().display(),
            self.place.address,
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program::find("unbound", "unbound"));
        command.arg("-d").arg("-c").arg(&config);
        self.clock.rule(&mut command);
        let log = self.place.path().join("unbound.log");
        let _unbound = Running::start(&mut command, &log);
        let started = Instant::now();
        loop {
            let now = fs::read_to_string(self.anchor_file()).unwrap();
            // The file says when its keys were last asked for, so that it differs after each look.
            if now != before && now.contains(";;last_success") {
                break;
            }
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(
                started.elapsed() < PATIENCE,
                "day {}: {now}\n{}",
                self.day,
                said()
            );
            thread::sleep(Duration::from_millis(10));
        }
        for rtype in ["NS", "SOA", "DNSKEY"] {
            let answer = program::run(Command::new(program::find("dig", "bind9-dnsutils")).args([
                "-p",
                "5399",
                "+dnssec",
                &format!("@{}", self.place.address),
                "resolver-name.arpa",
                rtype,
            ]));
            let answer = String::from_utf8(answer.stdout).unwrap();
            let flags = answer.lines().find(|line| line.starts_with(";; flags:"));
            assert!(
                flags.is_some_and(|flags| flags.contains(" ad;")),
                "day {}: {answer}",
                self.day
            );
        }
        let states = self.states();
        assert_eq!(states, self.ours(), "day {}", self.day);
        states
    }

    fn states(&self) -> States {
        let file = fs::read_to_string(self.anchor_file()).unwrap();
        let keys = file.lines().filter(|line| line.contains("\tDNSKEY\t"));
        let mut states: States = keys
            .map(|line| {
                let tag = line.split("{id = ").nth(1).unwrap();
                let tag = tag.split([' ', '}']).next().unwrap().parse().unwrap();
                let state = line.split('[').nth(1).unwrap().split(']').next().unwrap();
                (tag, state.trim().to_owned())
            })
            .collect();
        states.sort();
        states
    }
}

/// The time on this day.
fn now(day: u64) -> UnixTime {
    UnixTime::now().plus(Duration::from_secs(day * DAY))
}

/// The keys that the appliance shows, and which of them sign.
fn keys(place: &Place) -> KeySet {
    let edns = Edns::plain(true);
    let zone = anchor_zone();
    let flags = QuestionFlags::default();
    let asked = question(7, &zone, RecordType::DNSKEY, flags, Some(&edns));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
        .send_to(&asked, format!("{}:5300", place.address))
        .unwrap();
    let mut buffer = [0; 1232];
    let length = socket.recv(&mut buffer).unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert!(!answer.metadata.truncation);
    let dnskeys: Vec<_> = answer
        .answers
        .iter()
        .filter(|record| record.record_type() == RecordType::DNSKEY)
        .collect();
    let keys: Vec<DNSKEY> = dnskeys
        .iter()
        .filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key.clone()),
            _ => None,
        })
        .filter(DNSKEY::secure_entry_point)
        .collect();
    let signed = |key: &&DNSKEY| {
        answer.answers.iter().any(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => {
                let records = dnskeys.iter().copied();
                key_tag(key) == rrsig.input().key_tag
                    && key
                        .verify_rrsig(&zone, DNSClass::IN, rrsig, records)
                        .is_ok()
            }
            _ => false,
        })
    };
    KeySet {
        signers: keys.iter().filter(signed).cloned().collect(),
        keys,
        succeeding: Vec::new(),
        original_ttl: 60,
    }
}

/// States, in the order of tags.
fn states<const N: usize>(expected: [(u16, &str); N]) -> States {
    let mut states: States = expected.map(|(tag, state)| (tag, state.to_owned())).into();
    states.sort();
    states
}

#[test]
fn unbound_follows_the_trust_anchor_through_two_roll_overs() {
    let mut lab = Lab::new();
    let [first, second] = lab.tags();
    let asked = lab.place.told("rotate", &["--what", "anchor"]);
    assert!(asked.contains("revoke the old one"), "{asked}");
    assert_eq!(lab.look(), states([(first, "VALID"), (second, "ADDPEND")]));
    lab.pass_until(15);
    assert_eq!(lab.look(), states([(first, "VALID"), (second, "ADDPEND")]));
    lab.pass_until(31);
    assert_eq!(lab.look(), states([(first, "VALID"), (second, "VALID")]));

    // The first roll-over.
    lab.pass_until(35);
    let [active, third] = lab.tags();
    assert_eq!(active, second);
    lab.pass_until(36);
    let revoked = first.wrapping_add(REVOKE);
    assert_eq!(
        lab.look(),
        states([(revoked, "REVOKED"), (second, "VALID"), (third, "ADDPEND")])
    );
    lab.place.told("rotate", &["--what", "anchor"]);
    // unbound forgets a revoked key after thirty days; ours is shown for longer, to those who come late.
    lab.pass_until(68);
    let held = lab.look();
    assert_eq!(held, states([(second, "VALID"), (third, "VALID")]));

    // The second one: of the key that unbound was given nothing is left.
    lab.pass_until(71);
    let [active, fourth] = lab.tags();
    assert_eq!(active, third);
    assert_ne!(fourth, third);
    let held = lab.look();
    assert!(held.contains(&(third, "VALID".to_owned())), "{held:?}");
    let gone = second.wrapping_add(REVOKE);
    assert!(held.contains(&(gone, "REVOKED".to_owned())), "{held:?}");
}
