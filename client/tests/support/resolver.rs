//! A resolver on a thread of its own, and the stub in front of it.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use rcgen::{CertificateParams, KeyPair};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use zzdot_client::config::Askers;
use zzdot_client::dot::{Endpoint, PeerProof, spki_sha256};
use zzdot_client::stub::{Answer, Sockets, Stub, StubCounters, StubLimits};
use zzdot_client::upstream::Upstream;
use zzdot_client::wire::{Edns, QuestionFlags, View, question};

/// What it saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The names that were asked once.
    names: Mutex<HashSet<Vec<u8>>>,
    /// How the connections began.
    pub(crate) handshakes: Mutex<Vec<HandshakeKind>>,
    /// Nothing is answered any more but who is designated.
    pub(crate) silent: AtomicBool,
}

/// Starts a resolver that repeats each question as its answer. Of names that begin so, it treats the first question
/// differently: `hangup` ends the connection, `mute` makes it one that is never written to again, `broken` gets an answer
/// that is none. The second is answered like any other. `never` is not answered at all, `large` with 1,000 bytes,
/// and `kept` with an address that may be kept for 300 seconds.
pub(crate) fn resolver() -> (Endpoint, Arc<Seen>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["dot.example".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().der().clone();
    let pin = spki_sha256(&certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"dot".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint {
        address: listener.local_addr().unwrap(),
        server_name: None,
        proof: PeerProof::Spki(vec![pin]),
    };
    let (config, seen) = (Arc::new(config), Arc::new(Seen::default()));
    let ours = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, seen) = (Arc::clone(&config), Arc::clone(&ours));
            // A connection that ends is no event here: who asked sees it.
            std::thread::spawn(move || converse(stream?, config, &seen));
        }
    });
    (endpoint, seen)
}

fn converse(stream: TcpStream, config: Arc<ServerConfig>, seen: &Seen) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    let (mut told, mut mute) = (false, false);
    let mut message = Vec::new();
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        message.resize(usize::from(u16::from_be_bytes(length)), 0);
        stream.read_exact(&mut message)?;
        if !std::mem::replace(&mut told, true) {
            seen.handshakes
                .lock()
                .unwrap()
                .extend(stream.conn.handshake_kind());
        }
        let view = View::parse(&message).unwrap();
        let name = view.question().unwrap().wire_name.to_vec();
        let is = |kind: &[u8]| name[1..].starts_with(kind);
        let first = seen.names.lock().unwrap().insert(name.clone());
        if first && is(b"hangup") {
            return Ok(());
        }
        mute |= first && is(b"mute");
        let silent = seen.silent.load(Ordering::SeqCst) && !is(b"_dns");
        if mute || silent || is(b"never") {
            continue;
        }
        let end = view.records_start();
        message[2] |= 0x80;
        if is(b"kept") {
            message[7] = 1;
            let record = [0xC0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1];
            message.splice(end..end, record);
        } else if first && is(b"broken") {
            message[7] = 1;
        } else if is(b"large") {
            message.truncate(end);
            (message[7], message[11]) = (1, 0);
            message.extend_from_slice(&[0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 1, 3, 232]);
            message.resize(message.len() + 1000, 0);
        }
        let mut frame = (message.len() as u16).to_be_bytes().to_vec();
        frame.extend_from_slice(&message);
        stream.write_all(&frame)?;
    }
}

/// The stub before `endpoint`, and where it listens. Call within a tokio runtime.
pub(crate) fn stub(
    endpoint: &Endpoint,
    limits: StubLimits,
    cache_bytes: usize,
) -> (Stub, Arc<Upstream>, SocketAddr) {
    let upstream = Upstream::fixed(endpoint, &limits, cache_bytes).unwrap();
    let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = sockets.addresses()[0];
    let source = Arc::clone(&upstream) as Arc<dyn Answer>;
    let counters = Arc::new(StubCounters::default());
    let stub = Stub::start(sockets, source, Askers::Loopback, limits, counters).unwrap();
    (stub, upstream, address)
}

/// A question for the address of `name`.
pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    let (name, edns) = (Name::from_str(name).unwrap(), Edns::plain(false));
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    question(id, &name, RecordType::A, flags, Some(&edns))
}

/// A program that asks `stub`.
pub(crate) fn program(stub: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(stub).unwrap();
    // Longer than anything takes that works.
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket
}
