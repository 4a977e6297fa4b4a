//! Networks with a page that wants people to log in first.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Manner, Resolver};
use hickory_proto::rr::{Name, RecordType};
use zzdot_client::config::LegacyPolicy;
use zzdot_client::network::{Fingerprint, SignalKind, Signals};
use zzdot_client::place::{NetworkId, Place, Surroundings};
use zzdot_client::portal::ProbeUrl;
use zzdot_client::store::Store;
use zzdot_client::stub::{Answer, StubLimits};
use zzdot_client::upstream::Upstream;
use zzdot_client::wire::{Edns, QuestionFlags, View, question};

const CAFE: NetworkId = NetworkId::from_bytes([7; 8]);
/// The portal's page, and a name that is nobody's.
const LOGIN: &str = "login.portal.example.";
const WWW: &str = "www.example.";

/// Answers HTTP as a portal does until somebody logs in, and as the page behind it does then.
struct Gatekeeper {
    address: SocketAddr,
    logged_in: Arc<AtomicBool>,
    visits: Arc<AtomicUsize>,
}

impl Gatekeeper {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let logged_in = Arc::new(AtomicBool::new(false));
        let visits = Arc::new(AtomicUsize::new(0));
        let (free, count) = (Arc::clone(&logged_in), Arc::clone(&visits));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /check HTTP/1.1\r\n"));
                let answer = if free.load(Ordering::SeqCst) {
                    "HTTP/1.1 204 No Content\r\n\r\n"
                } else {
                    "HTTP/1.1 302 Found\r\nLocation: https://login.portal.example/start\r\n\r\n"
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self {
            address,
            logged_in,
            visits,
        }
    }

    fn probe(&self) -> ProbeUrl {
        format!("http://{}/check", self.address).parse().unwrap()
    }
}

/// A client whose tasks run while it is asked, as those of the daemon.
struct Client {
    store: Arc<Store>,
    _folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        Self {
            store: Arc::new(store),
            _folder: folder,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn enter(
        &self,
        server: SocketAddr,
        legacy: LegacyPolicy,
        advertised: Option<&str>,
        probe: Option<&ProbeUrl>,
    ) -> Arc<Upstream> {
        let _entered = self.runtime.enter();
        let limits = StubLimits::default();
        let upstream = Upstream::discovered(
            cafe(),
            server,
            legacy.into(),
            Arc::clone(&self.store),
            &limits,
            0,
        );
        upstream.look_for_portal(advertised, probe);
        upstream
    }

    /// The response code, and the text of the extended error.
    fn ask(&self, upstream: &Arc<Upstream>, name: &str) -> (u16, String) {
        let name = Name::from_ascii(name).unwrap();
        let flags = QuestionFlags {
            rd: true,
            ..QuestionFlags::default()
        };
        let query = question(7, &name, RecordType::A, flags, Some(&Edns::plain(false)));
        let answer = self.runtime.block_on(Arc::clone(upstream).answer(query));
        let view = View::parse(&answer).unwrap();
        let error = view.edns().unwrap().and_then(|edns| {
            let (_, error) = edns.options().find(|(code, _)| *code == 15)?;
            Some(String::from_utf8(error[2..].to_vec()).unwrap())
        });
        (view.rcode(), error.unwrap_or_default())
    }

    fn wait(&self, until: impl Fn() -> bool, what: &str) {
        let passes = || {
            self.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
            until()
        };
        common::wait_until(passes, || what.to_owned());
    }
}

fn cafe() -> Surroundings {
    let mut signals = Signals::default();
    signals.insert(SignalKind::GatewayMacV4, Fingerprint::from_bytes([7; 16]));
    Surroundings::of_network(CAFE, signals)
}

fn asked_for(resolver: &Resolver, name: &str) -> bool {
    resolver
        .take_in_clear()
        .iter()
        .any(|asked| asked.starts_with(name))
}

#[test]
fn on_a_new_network_only_the_portals_own_name_passes_and_nothing_is_learned_until_somebody_logs_in()
{
    let resolver = Resolver::start(Manner::Upgraded);
    let gatekeeper = Gatekeeper::start();
    let client = Client::new();
    let probe = gatekeeper.probe();
    let upstream = client.enter(resolver.address, LegacyPolicy::Plain, None, Some(&probe));
    let (rcode, error) = client.ask(&upstream, WWW);
    assert_eq!(rcode, 2);
    assert!(
        error.starts_with("captive-portal: ") && error.contains("login.portal.example"),
        "{error}"
    );
    let status = upstream.status();
    assert_eq!(status["portal"]["open"], true);
    assert_eq!(status["down"]["reason"], "captive-portal");
    assert_eq!(
        resolver.take_in_clear(),
        Vec::<String>::new(),
        "not even who is there is asked"
    );
    let (rcode, _) = client.ask(&upstream, LOGIN);
    assert_eq!(rcode, 3, "answered, by the network's own server");
    assert!(asked_for(&resolver, LOGIN));
    for stranger in ["portal.example.", "a.login.portal.example."] {
        let (rcode, error) = client.ask(&upstream, stranger);
        assert!(
            rcode == 2 && error.starts_with("captive-portal: "),
            "{stranger}: {error}"
        );
    }
    assert!(client.store.networks().is_empty() && client.store.identities().is_empty());

    gatekeeper.logged_in.store(true, Ordering::SeqCst);
    client.wait(
        || upstream.status()["state"] == "strict",
        "the first meeting",
    );
    assert!(upstream.status()["portal"].is_null());
    resolver.take_in_clear();
    assert_eq!(client.ask(&upstream, WWW).0, 0);
    assert_eq!(client.ask(&upstream, LOGIN).0, 3);
    assert_eq!(
        resolver.take_in_clear(),
        Vec::<String>::new(),
        "over TLS, the portal's name too"
    );
}

#[test]
fn a_network_that_is_known_is_never_probed_and_never_relaxed() {
    let resolver = Resolver::start(Manner::Upgraded);
    let gatekeeper = Gatekeeper::start();
    let client = Client::new();
    let known = client.enter(resolver.address, LegacyPolicy::Plain, None, None);
    assert_eq!(client.ask(&known, WWW).0, 0);
    known.retire();
    assert!(client.store.expected_at(Place::Network(CAFE)).is_some());
    resolver.break_tls();
    resolver.take_in_clear();
    let advertised = Some("https://login.portal.example/");
    let upstream = client.enter(
        resolver.address,
        LegacyPolicy::Plain,
        advertised,
        Some(&gatekeeper.probe()),
    );
    for name in [LOGIN, WWW] {
        let (rcode, error) = client.ask(&upstream, name);
        assert!(
            rcode == 2 && error.starts_with("handshake-failed: "),
            "{name}: {error}"
        );
    }
    assert_eq!(resolver.take_in_clear(), Vec::<String>::new());
    assert!(upstream.status()["portal"].is_null());
    assert_eq!(gatekeeper.visits.load(Ordering::SeqCst), 0);
}

#[test]
fn who_may_not_speak_cleartext_can_log_in_where_the_network_says_all_the_same() {
    let resolver = Resolver::start(Manner::Legacy);
    let client = Client::new();
    let advertised = Some("https://login.portal.example/");
    let upstream = client.enter(resolver.address, LegacyPolicy::Refuse, advertised, None);
    assert_eq!(client.ask(&upstream, LOGIN).0, 3);
    assert!(asked_for(&resolver, LOGIN));
    let (rcode, error) = client.ask(&upstream, WWW);
    assert!(rcode == 2 && error.starts_with("legacy: "), "{error}");
    assert!(!asked_for(&resolver, WWW));
    assert_eq!(upstream.status()["portal"]["open"], false);
}

#[test]
fn a_network_without_a_portal_is_as_any_other() {
    let resolver = Resolver::start(Manner::Upgraded);
    let gatekeeper = Gatekeeper::start();
    gatekeeper.logged_in.store(true, Ordering::SeqCst);
    let client = Client::new();
    let upstream = client.enter(
        resolver.address,
        LegacyPolicy::Plain,
        None,
        Some(&gatekeeper.probe()),
    );
    assert_eq!(client.ask(&upstream, WWW).0, 0);
    assert_eq!(upstream.status()["state"], "strict");
    assert_eq!(
        gatekeeper.visits.load(Ordering::SeqCst),
        1,
        "one look was enough"
    );
}

#[test]
fn where_somebody_was_met_nobody_is_asked_about_portals_any_more() {
    let resolver = Resolver::start(Manner::Upgraded);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let probe: ProbeUrl = format!("http://{}/check", nobody.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(nobody);
    let client = Client::new();
    let upstream = client.enter(resolver.address, LegacyPolicy::Plain, None, Some(&probe));
    assert_eq!(client.ask(&upstream, WWW).0, 0, "silence is no portal");
    assert_eq!(upstream.status()["state"], "strict");
    assert!(
        upstream.status()["portal"].is_null(),
        "who plays one later finds nothing to open or to hold up"
    );
}
