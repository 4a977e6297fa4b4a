//! A server that is not upgraded and speaks TLS: names that nobody answers push no question into cleartext, and a service
//! that answers nothing at all does.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "support/resolver.rs"]
mod resolver;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zzdot_client::config::LegacyPolicy;
use zzdot_client::exchange::ExchangeLimits;
use zzdot_client::ladder::Rung;
use zzdot_client::place::Surroundings;
use zzdot_client::store::Store;
use zzdot_client::stub::StubLimits;
use zzdot_client::upstream::Upstream;
use zzdot_client::wire::View;

use resolver::{Seen, query, resolver};

/// What nobody ever waits for here: longer than any of these tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The names that were asked in cleartext, as they stood in the questions.
type InClear = Arc<Mutex<Vec<Vec<u8>>>>;

/// The port for plain DNS of a server that designates itself at `dot`.
fn plain(dot: SocketAddr) -> (SocketAddr, InClear) {
    const NXDOMAIN: u8 = 3;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let asked = InClear::default();
    let ours = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut message = buffer[..length].to_vec();
            let view = View::parse(&message).unwrap();
            let (name, end) = (
                view.question().unwrap().wire_name.to_vec(),
                view.records_start(),
            );
            message[2] |= 0x80;
            if name.starts_with(b"\x04_dns") {
                message.truncate(end);
                (message[7], message[11]) = (1, 0);
                let mut data =
                    b"\x00\x01\x03dot\x07example\x00\x00\x01\x00\x04\x03dot\x00\x03\x00\x02"
                        .to_vec();
                data.extend(dot.port().to_be_bytes());
                message.extend([0xC0, 12, 0, 64, 0, 1, 0, 0, 1, 44, 0, data.len() as u8]);
                message.extend(data);
            } else if name.ends_with(b"\x04arpa\x00") {
                message[3] |= NXDOMAIN;
            }
            ours.lock().unwrap().push(name);
            // Who asked may be gone.
            let _ = socket.send_to(&message, from);
        }
    });
    (address, asked)
}

struct Lab {
    runtime: tokio::runtime::Runtime,
    upstream: Arc<Upstream>,
    seen: Arc<Seen>,
    in_clear: InClear,
    _folder: tempfile::TempDir,
}

impl Lab {
    /// In front of the server, on the opportunistic rung.
    fn new(legacy: LegacyPolicy) -> Self {
        let (endpoint, seen) = resolver();
        let (server, in_clear) = plain(endpoint.address);
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&folder.path().join("store")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let upstream = {
            let _entered = runtime.enter();
            let place = Surroundings::of_server(server);
            let limits = StubLimits::default();
            Upstream::discovered(place, server, legacy.into(), Arc::new(store), &limits, 0)
        };
        let lab = Self {
            runtime,
            upstream,
            seen,
            in_clear,
            _folder: folder,
        };
        assert!(lab.ask("www.example.", PATIENCE));
        assert_eq!(lab.upstream.rung(), Some(Rung::Opportunistic));
        lab
    }

    /// Whether a question is answered within that time.
    fn ask(&self, name: &str, within: Duration) -> bool {
        let (query, limits) = (query(7, name), ExchangeLimits::default());
        let asked = self.upstream.ask(&query, limits, Instant::now() + within);
        self.runtime.block_on(asked).answer.is_ok()
    }

    /// How many questions of people were asked in cleartext.
    fn told(&self) -> usize {
        let asked = self.in_clear.lock().unwrap();
        asked
            .iter()
            .filter(|name| name.ends_with(b"\x07example\x00"))
            .count()
    }
}

#[test]
fn names_that_nobody_answers_push_no_question_into_cleartext() {
    let lab = Lab::new(LegacyPolicy::Plain);
    for slow in 0..8 {
        assert!(!lab.ask(&format!("never{slow}.example."), Duration::from_millis(100)));
    }
    assert!(lab.ask("www.example.", PATIENCE));
    assert_eq!(lab.upstream.rung(), Some(Rung::Opportunistic));
    assert_eq!(lab.told(), 0, "{}", lab.upstream.status());
}

#[test]
fn a_service_that_answers_nothing_is_left_and_that_is_told_at_once() {
    let lab = Lab::new(LegacyPolicy::Plain);
    lab.seen.silent.store(true, Ordering::SeqCst);
    let began = Instant::now();
    while !lab.ask("www.example.", Duration::from_millis(300)) {
        assert!(began.elapsed() < PATIENCE, "{}", lab.upstream.status());
    }
    assert_eq!(lab.upstream.rung(), Some(Rung::Cleartext));
    let status = lab.upstream.status();
    let missed = status["legacy"]["ladder"]["missed"].to_string();
    assert!(missed.contains("does not answer"), "{status}");
}
