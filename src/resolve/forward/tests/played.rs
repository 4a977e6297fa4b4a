//! Servers that say what a test wants, or nothing.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use zzdot_client::{
    dot::{DotLimits, DotPool, Endpoint, PeerProof, spki_sha256},
    wire::{Edns, QuestionFlags, question},
};

use super::super::{Proof, Reach, Server};

/// How long anything may take by the real clock.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps the clock where it is but for [`tokio::time::advance`], as what is blocking keeps it from running ahead of sockets.
pub(in crate::resolve::forward) struct Clock {
    _stopped: mpsc::Sender<()>,
}

impl Clock {
    /// For a test that was started with the time paused.
    pub(in crate::resolve::forward) fn stopped() -> Self {
        let (stopped, held) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv());
        Self { _stopped: stopped }
    }
}

/// Waits for what sockets and tasks bring, while the clock stands still.
pub(in crate::resolve::forward) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    let clock = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::task::yield_now().await;
    }
    assert_eq!(Instant::now(), clock);
}

/// What a played server was asked, and whether it says anything.
#[derive(Default)]
pub(super) struct Played {
    asked: Mutex<Vec<String>>,
    silent: AtomicBool,
    wants_rd: AtomicBool,
}

impl Played {
    /// The names that it was asked for, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn was_asked(&self, name: &str) -> bool {
        self.asked().iter().any(|asked| asked == name)
    }

    /// How often it was asked what nobody can make slow.
    pub(super) fn probes(&self) -> usize {
        self.asked().iter().filter(|name| *name == ".").count()
    }

    /// It answers nothing that is asked without RD.
    pub(super) fn want_rd(&self) {
        self.wants_rd.store(true, Ordering::SeqCst);
    }

    /// It takes questions and says nothing, or speaks again.
    pub(super) fn keep_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// The answer to `query`: none for names below `slow.`, and while it is silent; a failure for those below `broken.`, and
    /// something that nobody may pass on for those below `odd.`.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut message = Message::from_vec(query).unwrap();
        let name = message.queries[0].name().clone();
        let rd = message.metadata.recursion_desired;
        // The other form of the same probe.
        if !(rd && name.is_root()) {
            self.asked.lock().unwrap().push(name.to_ascii());
        }
        if !rd && self.wants_rd.load(Ordering::SeqCst) {
            return None;
        }
        if self.silent.load(Ordering::SeqCst) || name.to_ascii().ends_with("slow.") {
            return None;
        }
        message.metadata.message_type = MessageType::Response;
        if name.to_ascii().ends_with("broken.") {
            message.metadata.response_code = ResponseCode::ServFail;
        } else if message.queries[0].query_type() == RecordType::A {
            let owner = match name.to_ascii().ends_with("odd.") {
                true => Name::from_ascii("another.").unwrap(),
                false => name,
            };
            let address = RData::A(A(Ipv4Addr::new(192, 0, 2, 7)));
            message.answers = vec![Record::from_rdata(owner, 60, address)];
        }
        Some(message.to_vec().unwrap())
    }
}

/// A server over TLS that is known by its key.
pub(super) async fn over_tls() -> (Server, Arc<Played>) {
    let made = rcgen::generate_simple_self_signed(["dns.test".to_owned()]).unwrap();
    let pin = spki_sha256(made.cert.der()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"dot".to_vec()];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let played = Arc::new(Played::default());
    tokio::spawn(serve_tls(
        listener,
        TlsAcceptor::from(Arc::new(tls)),
        Arc::clone(&played),
    ));
    let endpoint = Endpoint {
        address,
        server_name: None,
        proof: PeerProof::Spki(vec![pin]),
    };
    let pool = DotPool::new(&endpoint, DotLimits::default()).unwrap();
    let reach = Reach::Tls {
        pool: Box::new(pool),
        proof: Proof::Pin,
    };
    (Server { address, reach }, played)
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, played: Arc<Played>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, played) = (acceptor.clone(), Arc::clone(&played));
        tokio::spawn(async move {
            // Whoever asks may think better of it at any time.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; usize::from(length)];
                if stream.read_exact(&mut query).await.is_err() {
                    return;
                }
                let Some(answer) = played.answer(&query) else {
                    continue;
                };
                let mut framed = u16::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
                framed.extend(answer);
                if stream.write_all(&framed).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A server in cleartext.
pub(super) async fn in_cleartext() -> (Server, Arc<Played>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let played = Arc::new(Played::default());
    let told = Arc::clone(&played);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from): (usize, SocketAddr) = socket.recv_from(&mut buffer).await.unwrap();
            if let Some(answer) = told.answer(&buffer[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    let reach = Reach::Plain;
    (Server { address, reach }, played)
}

/// A question of somebody's for the address of `name`.
pub(super) fn about(name: &str) -> Arc<[u8]> {
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    let name = Name::from_ascii(name).unwrap();
    question(7, &name, RecordType::A, flags, Some(&Edns::plain(false))).into()
}
