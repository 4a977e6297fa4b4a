//! unbound follows the same roll-overs by RFC 5011, under a moved clock, and says the same of each set
//! of keys as we do.
//!
//! One difference is kept out of the story: unbound 1.17 trusts a key whose time is up also when the
//! set that it sees then is bogus. RFC 5011 §2.4.1 asks for a set that is validated and holds the key,
//! and we wait for it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::key_tag;
use zzdot_zonegen::owners::anchor_zone;
use zzdot_zonegen::publish::Published;
use zzdot_zonegen::rollover::What;

use super::home::*;
use super::lab::*;
use crate::discover::*;
use crate::trust::dnskey_texts;
use crate::trust::{KeyState, KnownIdentity};
use crate::wire;

/// Steps are no divisor of thirty days, so that a second more or less decides nothing.
const STEP_DAYS: u64 = 4;

/// What unbound thinks, or we do: tags of the keys trusted and of those watched, and whether the
/// zone that was shown is secure.
#[derive(Debug, PartialEq, Eq)]
struct Opinion {
    trusted: BTreeSet<u16>,
    watched: BTreeSet<u16>,
    secure: bool,
}

/// The zones that are served now, over UDP to whoever asks.
struct Served {
    address: SocketAddr,
    zones: Arc<Mutex<Published>>,
}

impl Served {
    fn start(zones: Published) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let served = Self {
            address: socket.local_addr().unwrap(),
            zones: Arc::new(Mutex::new(zones)),
        };
        let zones = Arc::clone(&served.zones);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(query) = Message::from_vec(&buffer[..length]) else {
                    continue;
                };
                let answer = reply(&zones.lock().unwrap(), &query).to_vec().unwrap();
                let _ = socket.send_to(&answer, from);
            }
        });
        served
    }

    fn show(&self, zones: &Published) {
        *self.zones.lock().unwrap() = zones.clone();
    }
}

fn reply(zones: &Published, query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.queries = query.queries.clone();
    response.metadata.authoritative = true;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    edns.set_max_payload(1232);
    response.edns = Some(edns);
    let question = &query.queries[0];
    match zones
        .anchor_zone
        .lookup(question.name(), question.query_type())
    {
        Some(answer) => {
            response.metadata.response_code = answer.rcode;
            response.answers = answer.answers;
            response.authorities = answer.authorities;
        }
        None => response.metadata.response_code = ResponseCode::Refused,
    }
    response
}

/// How often a port is tried that another test may take first.
const STARTS: usize = 5;

/// unbound's memory of the anchor, in a folder.
struct Unbound {
    folder: tempfile::TempDir,
    program: PathBuf,
    clock: PathBuf,
}

impl Unbound {
    fn new(home: &Home, server: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let anchors = home.identity.trust_anchor();
        let lines = anchors.iter().map(|key| {
            let text = dnskey_texts::text(key);
            format!("resolver-name.arpa. 60 IN DNSKEY {text}\n")
        });
        fs::write(folder.path().join("anchors"), lines.collect::<String>()).unwrap();
        let configuration = format!(
            "server:\n  directory: \"{0}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  \
             use-syslog: no\n  logfile: \"{0}/log\"\n  do-ip6: no\n  num-threads: 1\n  \
             do-not-query-localhost: no\n  trust-anchor-signaling: no\n  \
             auto-trust-anchor-file: \"{0}/anchors\"\n  interface: 127.0.0.1@PORT\n\
             stub-zone:\n  name: resolver-name.arpa\n  stub-addr: 127.0.0.1@{1}\n\
             remote-control:\n  control-enable: no\n",
            folder.path().display(),
            server.port()
        );
        fs::write(folder.path().join("template"), configuration).unwrap();
        Self {
            folder,
            program: find("/usr/sbin/unbound", "unbound"),
            clock: libfaketime(),
        }
    }

    /// Starts it at that time, waits until it looked at the keys, and asks for its opinion.
    fn opinion(&self, now: UnixTime) -> Opinion {
        let (_running, port, looked) = (0..STARTS)
            .find_map(|_| self.start(now))
            .unwrap_or_else(|| panic!("it does not stay: {}", self.log()));
        let states = |wanted: &[&str]| {
            let lines = looked.lines().filter(|line| !line.starts_with(';'));
            let held = lines.filter(|line| wanted.iter().any(|state| line.contains(state)));
            held.map(tag_in).collect()
        };
        Opinion {
            trusted: states(&["[  VALID  ]", "[ MISSING ]"]),
            watched: states(&["[ ADDPEND ]"]),
            secure: is_secure(SocketAddr::from(([127, 0, 0, 1], port))),
        }
    }

    /// Starts it; its port, and what it says of the keys once it looked at them. None when it ended at once: other tests
    /// take ports, too, and this one was free a moment ago.
    fn start(&self, now: UnixTime) -> Option<(Running, u16, String)> {
        let port = {
            let unused = UdpSocket::bind("127.0.0.1:0").unwrap();
            unused.local_addr().unwrap().port()
        };
        let file = |name: &str| self.folder.path().join(name);
        let template = fs::read_to_string(file("template")).unwrap();
        let configuration = template.replace("PORT", &port.to_string());
        fs::write(file("configuration"), configuration).unwrap();
        let shown = now.to_string();
        let moment = shown.replace('T', " ").replace('Z', "");
        let unbound = Command::new(&self.program)
            .args(["-d", "-c"])
            .arg(file("configuration"))
            .env("LD_PRELOAD", &self.clock)
            .env("FAKETIME", format!("@{moment}"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut running = Running(unbound);
        let looked = self.wait_until_it_looked(&mut running, now)?;
        Some((running, port, looked))
    }

    /// The file once it says that the keys were looked at since `now`; none when the program ended before.
    fn wait_until_it_looked(&self, running: &mut Running, now: UnixTime) -> Option<String> {
        let path = self.folder.path().join("anchors");
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let queried = text.lines().find_map(|line| {
                let number = line.strip_prefix(";;last_queried: ")?;
                number.split(' ').next()?.parse::<u64>().ok()
            });
            if queried.is_some_and(|queried| queried >= now.0) {
                return Some(text);
            }
            if running.0.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(Instant::now() < until, "{text}\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The key tag in unbound's remark behind a key: `;;state=2 [  VALID  ] ;;count=…` has none, the
/// remark before it does: `;{id = 4711 (ksk), size = 256b}`.
fn tag_in(line: &str) -> u16 {
    let (_, behind) = line.split_once("{id = ").expect("a key has a tag");
    behind.split(' ').next().unwrap().parse().unwrap()
}

/// Whether it calls the zone secure; a set that it does not believe is a failure.
fn is_secure(resolver: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wait = Duration::from_millis(500);
    socket.set_read_timeout(Some(wait)).unwrap();
    let flags = wire::QuestionFlags {
        rd: true,
        cd: false,
        ad: true,
    };
    let question = wire::question(
        7,
        &anchor_zone(),
        RecordType::SOA,
        flags,
        Some(&wire::Edns::plain(true)),
    );
    for _ in 0..40 {
        socket.send_to(&question, resolver).unwrap();
        let mut buffer = [0; 4096];
        let Ok((length, _)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        let failed = answer.metadata.response_code == ResponseCode::ServFail;
        assert!(
            failed || answer.metadata.authentic_data,
            "neither secure nor bogus: {answer:?}"
        );
        return !failed;
    }
    panic!("unbound does not answer");
}

fn find(path: &str, package: &str) -> PathBuf {
    let path = PathBuf::from(path);
    let told = path.display();
    assert!(
        path.is_file(),
        "{told} is missing: apt-get install {package}"
    );
    path
}

fn libfaketime() -> PathBuf {
    let libraries = Path::new("/usr/lib").read_dir().into_iter().flatten();
    libraries
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.is_file())
        .expect("libfaketime is missing: apt-get install faketime")
}

/// Our opinion after a walk; a thief has his own TLS key, which unbound does not look at.
fn ours(known: &mut KnownIdentity, trip: &Trip) -> Opinion {
    let secure = match &trip.verdict {
        Verdict::Upgraded(discovered) => {
            *known = known.met_again(discovered).unwrap();
            true
        }
        Verdict::Refused { .. } => false,
        other => panic!("{other:?}"),
    };
    let watched = known.anchor.keys().iter();
    let watched = watched.filter(|held| matches!(held.standing, KeyState::AddPend { .. }));
    Opinion {
        trusted: known.anchor.trusted().iter().map(key_tag).collect(),
        watched: watched.map(|held| key_tag(&held.key)).collect(),
        secure,
    }
}

#[test]
fn unbound_gives_the_same_verdict_at_each_step_of_two_roll_overs_and_a_theft() {
    let mut home = Home::new();
    let zones = home.zones();
    let mut known = KnownIdentity::first_met(home.met_with(None, &zones).discovered());
    let served = Served::start(zones);
    let unbound = Unbound::new(&home, served.address);
    let stolen = home.identity.anchor_keys().ksk.clone();
    let thief = Thief::new();
    let his = new_ksk();
    assert!(home.rotate(What::Anchor, false));
    let mut seen = BTreeSet::new();
    for step in 0..=31_u64 {
        home.live_until(step * STEP_DAYS);
        if home.today == 20 * STEP_DAYS {
            assert!(home.rotate(What::Anchor, true));
        }
        let now = UnixTime(day(home.today).0 + 60);
        let zones = home.zones();
        // The thief of the first anchor comes before it is revoked, stays for less than the
        // hold-down, and is back long after.
        let (shown, trip) = if matches!(step, 3..=6 | 29..=30) {
            let forged = thief.forge(&zones, stolen.clone(), std::slice::from_ref(&his), now);
            let trip = thief.met_by(&known, &forged, now);
            (forged, trip)
        } else {
            let trip = home.met_with(Some(&known), &zones);
            (zones, trip)
        };
        served.show(&shown);
        let we = ours(&mut known, &trip);
        assert_eq!(we, unbound.opinion(now), "day {}", home.today);
        seen.insert((we.trusted.len(), we.watched.len(), we.secure));
    }
    // A key was watched, a pair of keys trusted, a key lost, and a theft refused.
    for expected in [(1, 1, true), (2, 0, true), (2, 1, true), (2, 0, false)] {
        assert!(seen.contains(&expected), "{expected:?}: {seen:?}");
    }
}
