//! A front on loopback, a source of answers that can be held back, and clients.

use std::{
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use hickory_proto::rr::{Name, RecordType};
use ring::rand::SystemRandom;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use zzdot::{
    answer::{Responder, cookie::Secret},
    counters::{Counters, Event},
    listen::{Front, FrontConfig, Inherited, Limits},
    resolve::{Resolution, ResolveError, Source},
    tls::{Tickets, server_config},
};
use zzdot_client::{
    cache::{self, Cache},
    wire::{self, Edns, QuestionFlags, View},
};
use zzdot_zonegen::identity::Identity;

/// How long a test waits for what has to happen: far more than it takes, less than a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Enough for connections of one address to meet on different ones.
pub(crate) const WORKERS: usize = 2;

/// Answers every A question with 192.0.2.1 and every TXT question with 3,000 octets, at once; for
/// names that start with `slow`, once a permit was given; for `never`, not even then.
pub(crate) struct Answers {
    pub(crate) release: Semaphore,
}

impl Source for Answers {
    fn resolve(&self, query: Arc<[u8]>, _deadline: Instant) -> Resolution<'_> {
        Box::pin(async move {
            let name = label(&query);
            if name.starts_with("never") {
                std::future::pending::<()>().await;
            }
            if name.starts_with("slow") {
                let permit = self.release.acquire().await;
                permit.map_err(|_| ResolveError::NoUpstream)?.forget();
            }
            Ok(answer_to(&query))
        })
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!("answers of the test")
    }
}

/// The first label of the question.
pub(crate) fn label(message: &[u8]) -> String {
    let view = View::parse(message).unwrap();
    let first = view
        .question()
        .unwrap()
        .name
        .labels()
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(first).into_owned()
}

fn answer_to(query: &[u8]) -> Vec<u8> {
    let view = View::parse(query).unwrap();
    let (count, data) = match view.question().unwrap().qtype {
        16 => (30, [&[100][..], &[b'x'; 100]].concat()),
        _ => (1, vec![192, 0, 2, 1]),
    };
    let mut message = query[..view.records_start()].to_vec();
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[6..12].copy_from_slice(&[0, count, 0, 0, 0, 0]);
    let qtype = view.question().unwrap().qtype.to_be_bytes();
    // The owner is a pointer to the question; class IN, 60 seconds.
    let fixed = [
        &[0xC0, 12][..],
        &qtype,
        &[0, 1, 0, 0, 0, 60, 0, data.len() as u8],
    ]
    .concat();
    for _ in 0..count {
        message.extend_from_slice(&fixed);
        message.extend_from_slice(&data);
    }
    message
}

/// A front that is running.
pub(crate) struct Running {
    pub(crate) front: Front,
    pub(crate) responder: Arc<Responder>,
    pub(crate) source: Arc<Answers>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) tls: Arc<ArcSwap<rustls::ServerConfig>>,
    pub(crate) dns: SocketAddr,
    pub(crate) dot: SocketAddr,
}

pub(crate) fn identity() -> Identity {
    Identity::invent(&Name::from_ascii("zz.").unwrap(), &SystemRandom::new()).unwrap()
}

/// Starts a front on 127.0.0.1 with ports of its own.
pub(crate) fn start(limits: Limits) -> Running {
    start_on("127.0.0.1:0", limits)
}

pub(crate) fn start_on(address: &str, limits: Limits) -> Running {
    start_with(vec![address.parse().unwrap()], Inherited::default(), limits)
}

pub(crate) fn tickets() -> Arc<Tickets> {
    Tickets::in_memory(zzdot_zonegen::clock::UnixTime::now()).unwrap()
}

pub(crate) fn start_with(
    addresses: Vec<SocketAddr>,
    inherited: Inherited,
    limits: Limits,
) -> Running {
    start_workers(WORKERS, addresses, inherited, limits)
}

pub(crate) fn start_workers(
    workers: usize,
    addresses: Vec<SocketAddr>,
    inherited: Inherited,
    limits: Limits,
) -> Running {
    let identity = identity();
    let tls = server_config(vec![identity.certificate()], identity.tls_key(), tickets()).unwrap();
    let tls = Arc::new(ArcSwap::from_pointee(tls));
    let source = Arc::new(Answers {
        release: Semaphore::new(0),
    });
    let counters = Arc::new(Counters::default());
    let responder = Arc::new(Responder::new(
        Arc::clone(&source) as Arc<dyn Source>,
        Secret([1; 16]),
        Arc::clone(&counters),
    ));
    let cache = Cache::new(cache::Limits::default(), [5; 16], std::time::Instant::now());
    responder.replace_cache(Some(cache));
    let config = FrontConfig {
        dns: addresses.clone(),
        dot: addresses,
        workers,
        limits,
        tls: Arc::clone(&tls),
        inherited,
    };
    let front = Front::start(config, Arc::clone(&responder)).unwrap();
    let status = front.status();
    Running {
        dns: status.dns[0],
        dot: status.dot[0],
        front,
        responder,
        source,
        counters,
        identity: Arc::new(identity),
        tls,
    }
}

impl Running {
    /// Lets so many slow questions be answered.
    pub(crate) fn release(&self, questions: usize) {
        self.source.release.add_permits(questions);
    }

    /// Waits until `event` was counted so often.
    pub(crate) async fn counted(&self, event: Event, times: u64) {
        self.until(event.name(), || self.counters.value(event) >= times)
            .await;
    }

    /// Waits until `condition` holds.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain for {what}: {}, {:?}",
                serde_json::to_string(&*self.counters).unwrap(),
                self.front.status(),
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn tcp(&self) -> Client<TcpStream> {
        Client(soon(TcpStream::connect(self.dns)).await.unwrap())
    }

    pub(crate) async fn tls(&self) -> Client<TlsStream<TcpStream>> {
        Client(connect_tls(self.dot, &self.identity).await.unwrap())
    }
}

/// Limits times to what a test can wait for.
pub(crate) fn short(time: Duration) -> Limits {
    Limits {
        handshake: time,
        first_query: time,
        read: time,
        write: time,
        ..Limits::default()
    }
}

/// What `future` gives, if it does not hang.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it hangs")
}

pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    typed_query(id, name, RecordType::A, None)
}

pub(crate) fn typed_query(id: u16, name: &str, qtype: RecordType, edns: Option<&Edns>) -> Vec<u8> {
    let flags = QuestionFlags {
        rd: true,
        cd: false,
        ad: false,
    };
    wire::question(id, &Name::from_ascii(name).unwrap(), qtype, flags, edns)
}

/// The message as it goes over a stream.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

pub(crate) fn rcode(reply: &[u8]) -> u16 {
    View::parse(reply).unwrap().rcode()
}

/// Checks that `reply` answers `query` with the address that the source gives.
#[track_caller]
pub(crate) fn assert_answers(query: &[u8], reply: &[u8]) {
    let (asked, told) = (View::parse(query).unwrap(), View::parse(reply).unwrap());
    assert!(wire::answers_exactly(&asked, &told), "{reply:?}");
    assert_eq!((told.rcode(), told.counts().answers), (0, 1), "{reply:?}");
}

/// A UDP socket that hears nobody but `server`.
pub(crate) async fn udp(server: SocketAddr) -> UdpSocket {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => "127.0.0.1:0".parse().unwrap(),
        SocketAddr::V6(_) => "[::1]:0".parse().unwrap(),
    };
    let socket = UdpSocket::bind(local).await.unwrap();
    socket.connect(server).await.unwrap();
    socket
}

pub(crate) async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let length = soon(socket.recv(&mut buffer)).await.unwrap();
    buffer.truncate(length);
    buffer
}

/// Asks over UDP; fails where nobody answers.
pub(crate) async fn ask_udp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = udp(server).await;
    socket.send(query).await.unwrap();
    receive(&socket).await
}

/// A connection that speaks in messages.
pub(crate) struct Client<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, message: &[u8]) {
        self.0.write_all(&framed(message)).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        soon(async {
            let length = self.0.read_u16().await.unwrap();
            let mut message = vec![0; length.into()];
            self.0.read_exact(&mut message).await.unwrap();
            message
        })
        .await
    }

    pub(crate) async fn ask(&mut self, query: &[u8]) -> Vec<u8> {
        self.send(query).await;
        self.receive().await
    }

    /// Checks that the server ends the connection without another word; says how.
    pub(crate) async fn end(&mut self) -> std::io::Result<()> {
        let mut rest = Vec::new();
        let end = soon(self.0.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "not a word more: {rest:?}");
        end.map(|_| ())
    }
}

pub(crate) async fn connect_tls(
    server: SocketAddr,
    identity: &Identity,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = Arc::new(client_config(identity));
    soon(async {
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::try_from(identity.name().to_string()).unwrap();
        TlsConnector::from(config).connect(name, stream).await
    })
    .await
}

pub(crate) fn client_config(identity: &Identity) -> ClientConfig {
    let provider = Arc::new(default_provider());
    let verifier = ThisCertificate {
        certificate: identity.certificate(),
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"dot".to_vec()];
    config
}

/// Trusts one certificate and no other.
#[derive(Debug)]
struct ThisCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ThisCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Runs a program of the host; its absence is a failure that says what mends it.
pub(crate) async fn run(program: &str, package: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let (program, package) = (program.to_owned(), package.to_owned());
    tokio::task::spawn_blocking(move || match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{program}: {error}; apt-get install {package}"),
    })
    .await
    .unwrap()
}
