//! A resolver to meet, and the client's binary to meet it with.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ring::rand::SystemRandom;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use zzdot_client::framing::{FrameReader, push_frame};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::owners::tlsa_owner;
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::{Published, publish};
use zzdot_zonegen::upstream::{
    Proof, PublishedTls, PublishedUpstream, ServerKind, Transport, UpstreamId,
};
use zzdot_zonegen::zone::{Publication, ServerType};

/// How the resolver behaves on its port of plain DNS.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    Upgraded,
    Legacy,
    /// As a legacy one, but what it cannot answer it answers with half a message.
    Broken,
    Silent,
}

/// A resolver on loopback: its zones, `www.example`, and a record of what it was asked in clear.
pub struct Resolver {
    pub address: SocketAddr,
    pub dot: SocketAddr,
    pub identity: Arc<Identity>,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    zones: RwLock<(Stamp, Published)>,
    manner: AtomicU8,
    tls_works: AtomicBool,
    /// What everything but questions about resolvers is answered with, where that is no answer.
    code: AtomicU8,
    in_clear: Mutex<Vec<String>>,
    /// The names that were asked over TLS, without those that are about resolvers, or about nobody.
    over_tls: Mutex<Vec<String>>,
    handshakes: AtomicUsize,
}

impl Resolver {
    pub fn start(manner: Manner) -> Self {
        let identity = Identity::invent(&Name::from_ascii("zz.").unwrap(), &SystemRandom::new());
        Self::start_as(manner, Arc::new(identity.unwrap()), None)
    }

    /// Another resolver in the place of this one: the same addresses, an identity of its own.
    pub fn replace(self) -> Self {
        let identity = Identity::invent(&Name::from_ascii("zz.").unwrap(), &SystemRandom::new());
        self.restart_as(Arc::new(identity.unwrap()))
    }

    /// The same addresses, this identity.
    pub fn restart_as(self, identity: Arc<Identity>) -> Self {
        let at = (self.address, self.dot);
        drop(self);
        Self::start_as(Manner::Upgraded, identity, Some(at))
    }

    /// A resolver with this identity, at these addresses for DNS and DNS over TLS or at any.
    pub fn start_as(
        manner: Manner,
        identity: Arc<Identity>,
        at: Option<(SocketAddr, SocketAddr)>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (at, dot_at) = at.unwrap_or((any, any));
        let udp = UdpSocket::bind(at).unwrap();
        udp.set_nonblocking(true).unwrap();
        let address = udp.local_addr().unwrap();
        let dot = std::net::TcpListener::bind(dot_at).unwrap();
        dot.set_nonblocking(true).unwrap();
        let dot_at = dot.local_addr().unwrap();
        let publication = Publication {
            server_type: ServerType::Resolver,
            addresses: vec![address.ip()],
            dot_port: dot_at.port(),
            upstreams: Vec::new(),
        };
        let stamp = Stamp::next(None, UnixTime::now()).unwrap();
        let shared = Arc::new(Shared {
            zones: RwLock::new((
                stamp.clone(),
                publish(&identity, &publication, &stamp).unwrap(),
            )),
            manner: AtomicU8::new(manner as u8),
            tls_works: AtomicBool::new(true),
            code: AtomicU8::new(ResponseCode::NoError.low()),
            in_clear: Mutex::default(),
            over_tls: Mutex::default(),
            handshakes: AtomicUsize::new(0),
        });
        runtime.spawn(serve_udp(udp, Arc::clone(&shared)));
        runtime.spawn(serve_dot(dot, acceptor(&identity), Arc::clone(&shared)));
        Self {
            address,
            dot: dot_at,
            identity,
            shared,
            _runtime: runtime,
        }
    }

    pub fn set_manner(&self, manner: Manner) {
        self.shared.manner.store(manner as u8, Ordering::SeqCst);
    }

    /// From now on connections are closed before TLS; open ones with their next question.
    pub fn break_tls(&self) {
        self.shared.tls_works.store(false, Ordering::SeqCst);
    }

    /// TLS works again.
    pub fn mend_tls(&self) {
        self.shared.tls_works.store(true, Ordering::SeqCst);
    }

    /// From now on it answers what is not about resolvers with this code alone, or, with NOERROR, as before.
    pub fn answer_with(&self, code: ResponseCode) {
        self.shared.code.store(code.low(), Ordering::SeqCst);
    }

    /// From now on it says that it is of this type, and asks these.
    pub fn publish(&self, server_type: ServerType, upstreams: Vec<PublishedUpstream>) {
        let publication = Publication {
            server_type,
            addresses: vec![self.address.ip()],
            dot_port: self.dot.port(),
            upstreams,
        };
        let mut zones = self.shared.zones.write().unwrap();
        let stamp = Stamp::next(Some(&zones.0), UnixTime::now()).unwrap();
        *zones = (
            stamp.clone(),
            publish(&self.identity, &publication, &stamp).unwrap(),
        );
    }

    /// What somebody publishes who asks this one over TLS, and says so truly.
    pub fn as_upstream(&self, kind: ServerKind) -> PublishedUpstream {
        let zones = self.shared.zones.read().unwrap();
        let zone = &zones.1.name_zone;
        let name = self.identity.name();
        let found = |owner: &Name, rtype| zone.lookup(owner, rtype).unwrap().answers;
        let keys = found(name.as_name(), RecordType::DNSKEY);
        let keys = keys.into_iter().filter_map(|record| match record.data {
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key),
            _ => None,
        });
        let owner = tlsa_owner(name, self.dot.port());
        let tlsa = found(&owner, RecordType::TLSA);
        let tlsa = tlsa.into_iter().filter_map(|record| match record.data {
            RData::TLSA(tlsa) => Some(tlsa),
            _ => None,
        });
        PublishedUpstream {
            id: UpstreamId::Named(name.clone()),
            kind,
            transport: Transport::Dot,
            proof: Proof::Dane,
            addresses: vec![self.address.ip()],
            ksks: keys.filter(|key| key.secure_entry_point()).collect(),
            tls: Some(PublishedTls {
                port: self.dot.port(),
                tlsa: tlsa.collect(),
            }),
        }
    }

    /// The questions that came over TLS since the last call, without those about resolvers.
    pub fn take_over_tls(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.over_tls.lock().unwrap())
    }

    /// The questions that came in clear since the last call, and the names in handshakes.
    pub fn take_in_clear(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.in_clear.lock().unwrap())
    }
}

impl Resolver {
    /// TLS handshakes so far.
    #[allow(dead_code)] // Not every test program counts them.
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(message).ok()?;
        let asked = query.queries.first()?.clone();
        if asked.name().to_ascii().starts_with("never") {
            return None;
        }
        let mut response = Message::response(query.metadata.id, query.metadata.op_code);
        response.metadata.recursion_available = true;
        response.queries = query.queries.clone();
        let zones = &self.zones.read().unwrap().1;
        let upgraded = self.manner.load(Ordering::SeqCst) == Manner::Upgraded as u8;
        let local = upgraded
            .then(|| {
                let (name, rtype) = (asked.name(), asked.query_type());
                let anchor = zones.anchor_zone.lookup(name, rtype);
                anchor.or_else(|| zones.name_zone.lookup(name, rtype))
            })
            .flatten();
        if let Some(found) = local {
            response.metadata.response_code = found.rcode;
            response.answers = found.answers;
            response.authorities = found.authorities;
        } else if let code @ 1.. = self.code.load(Ordering::SeqCst) {
            response.metadata.response_code = ResponseCode::from(0, code);
        } else if *asked.name() == Name::from_str("www.example.").unwrap()
            && asked.query_type() == RecordType::A
        {
            let address = "192.0.2.80".parse().unwrap();
            let record = Record::from_rdata(asked.name().clone(), 60, RData::A(address));
            response.answers.push(record);
        } else {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        Some(response.to_vec().unwrap())
    }
}

async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let message = &buffer[..length];
        if let Ok(query) = Message::from_vec(message)
            && let Some(asked) = query.queries.first()
        {
            let asked = format!("{} {}", asked.name(), asked.query_type());
            shared.in_clear.lock().unwrap().push(asked);
        }
        if shared.manner.load(Ordering::SeqCst) == Manner::Silent as u8 {
            continue;
        }
        if let Some(mut answer) = shared.answer(message) {
            let broken = shared.manner.load(Ordering::SeqCst) == Manner::Broken as u8;
            if broken && answer[3] & 0xF != 0 {
                answer.pop();
            }
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate()], identity.tls_key())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve_dot(listener: std::net::TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            if !shared.tls_works.load(Ordering::SeqCst) {
                return;
            }
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            shared.handshakes.fetch_add(1, Ordering::SeqCst);
            if let Some(name) = stream.get_ref().1.server_name() {
                let told = format!("{name} SNI");
                shared.in_clear.lock().unwrap().push(told);
            }
            let mut frames = FrameReader::new();
            while let Ok(Some(message)) = frames.next(&mut stream).await {
                if !shared.tls_works.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(query) = Message::from_vec(&message)
                    && let Some(asked) = query.queries.first()
                    && !asked.name().is_root()
                    && !asked.name().to_ascii().contains("arpa")
                    && !asked.name().to_ascii().contains(".zz.")
                {
                    let asked = format!("{} {}", asked.name(), asked.query_type());
                    shared.over_tls.lock().unwrap().push(asked);
                }
                let mut reply = Vec::new();
                if let Some(answer) = shared.answer(&message) {
                    assert!(push_frame(&mut reply, &answer));
                }
                if stream.write_all(&reply).await.is_err() {
                    return;
                }
            }
        });
    }
}

pub fn client(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zzdot-client"));
    command.args(arguments);
    for variable in [
        "STATE_DIRECTORY",
        "RUNTIME_DIRECTORY",
        "ZZDOT_LOG",
        "LISTEN_FDS",
    ] {
        command.env_remove(variable);
    }
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    config: PathBuf,
}

impl Daemon {
    /// Starts and waits until it says that it is ready.
    pub fn start(folder: &Path, settings: &str) -> Self {
        let config = folder.join("client.toml");
        write_config(folder, settings);
        let arguments = ["run", "--config", config.to_str().unwrap()];
        let mut child = command(&arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let pipe = BufReader::new(child.stderr.take().unwrap());
        let filled = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in pipe.lines().map_while(Result::ok) {
                filled.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let daemon = Self { child, log, config };
        daemon.wait_for_log("ready");
        daemon
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn wait_for_log(&self, text: &str) {
        wait_until(
            || self.log().contains(text),
            || format!("{text:?} in {}", self.log()),
        );
    }

    pub fn wait_for_state(&self, state: &str) {
        wait_until(
            || self.status()["state"] == state,
            || format!("state {state}: {}", self.status()),
        );
    }

    pub fn tool(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--config", self.config.to_str().unwrap()]);
        client(&all)
    }

    /// Begins the same, and does not wait for its end.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut all = arguments.to_vec();
        all.extend(["--config", self.config.to_str().unwrap()]);
        let mut command = command(&all);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    pub fn status(&self) -> Value {
        let output = self.tool(&["status", "--json"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Reads another configuration, and goes on.
    pub fn reload(&self, settings: &str) {
        write_config(self.config.parent().unwrap(), settings);
        let times = self.log().matches("reloaded").count();
        self.signal(nix::sys::signal::Signal::SIGHUP);
        wait_until(
            || self.log().matches("reloaded").count() > times,
            || self.log(),
        );
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Stops it as a service manager does; gives back its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes `client.toml` into `folder`: any free port, state beside it, and `settings`.
pub fn write_config(folder: &Path, settings: &str) {
    let state = folder.join("state");
    let text = format!("listen = [\"127.0.0.1:0\"]\nstate-dir = {state:?}\n{settings}\n");
    std::fs::write(folder.join("client.toml"), text).unwrap();
}

pub fn wait_until(mut done: impl FnMut() -> bool, what: impl Fn() -> String) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < patience, "waited in vain for {}", what());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All that is left of a pipe.
pub fn rest(mut pipe: impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text
}
