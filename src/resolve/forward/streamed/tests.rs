#![allow(clippy::unwrap_used)]
use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use h2::Reason;
use hickory_proto::{
    op::{Message, MessageType},
    rr::{Name, RecordType},
};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{net::TcpListener, sync::watch, time::advance};
use tokio_rustls::TlsAcceptor;
use zzdot_client::dot::{PeerProof, client_config_for, spki_sha256};

use super::{
    super::tests::played::{Clock, until},
    *,
};

/// Longer than a question may take.
const LONG: Duration = Duration::from_secs(60);

/// A server that answers at once, but for names below `slow.`: those when it is told to.
struct Played {
    connections: AtomicUsize,
    slow: AtomicUsize,
    released: watch::Sender<bool>,
}

impl Played {
    /// Serves over `protocol`, and is asked as the second says.
    async fn start(protocol: &Protocol) -> (Arc<Self>, Arc<Streamed>) {
        let made = rcgen::generate_simple_self_signed(["dns.test".to_owned()]).unwrap();
        let pin = spki_sha256(made.cert.der()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![protocol.alpn().to_vec()];
        let played = Arc::new(Self {
            connections: AtomicUsize::new(0),
            slow: AtomicUsize::new(0),
            released: watch::Sender::new(false),
        });
        let any = (Ipv4Addr::LOCALHOST, 0);
        let address = match protocol {
            Protocol::Https { .. } => {
                let listener = TcpListener::bind(any).await.unwrap();
                let address = listener.local_addr().unwrap();
                tokio::spawn(Arc::clone(&played).serve_https(listener, Arc::new(tls)));
                address
            }
            Protocol::Quic => {
                let crypto = Arc::new(QuicServerConfig::try_from(tls).unwrap());
                let config = quinn::ServerConfig::with_crypto(crypto);
                let endpoint = quinn::Endpoint::server(config, any.into()).unwrap();
                let address = endpoint.local_addr().unwrap();
                tokio::spawn(Arc::clone(&played).serve_quic(endpoint));
                address
            }
        };
        let proof = PeerProof::Spki(vec![pin]);
        let tls = client_config_for(&proof, false, protocol.alpn()).unwrap();
        let name = ServerName::IpAddress(address.ip().into());
        let server = Streamed::new(address, name, protocol, tls).unwrap();
        (played, Arc::new(server))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many slow names it was asked for.
    fn slow(&self) -> usize {
        self.slow.load(Ordering::SeqCst)
    }

    /// None where the question is given up.
    async fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut message = Message::from_vec(query).unwrap();
        if message.queries[0].name().to_ascii().ends_with("given-up.") {
            return None;
        }
        if message.queries[0].name().to_ascii().ends_with("slow.") {
            self.slow.fetch_add(1, Ordering::SeqCst);
            let mut released = self.released.subscribe();
            released.wait_for(|released| *released).await.unwrap();
        }
        message.metadata.message_type = MessageType::Response;
        Some(message.to_vec().unwrap())
    }

    async fn serve_https(self: Arc<Self>, listener: TcpListener, tls: Arc<ServerConfig>) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::SeqCst);
            let (played, acceptor) = (Arc::clone(&self), TlsAcceptor::from(Arc::clone(&tls)));
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((mut request, mut respond))) = connection.accept().await {
                    let played = Arc::clone(&played);
                    tokio::spawn(async move {
                        let mut query = Vec::new();
                        while let Some(part) = request.body_mut().data().await {
                            query.extend_from_slice(&part.unwrap());
                        }
                        let Some(answer) = played.answer(&query).await else {
                            return respond.send_reset(Reason::INTERNAL_ERROR);
                        };
                        let response = http::Response::builder()
                            .header("content-type", "application/dns-message")
                            .body(())
                            .unwrap();
                        let mut body = respond.send_response(response, false).unwrap();
                        body.send_data(Bytes::from(answer), true).unwrap();
                    });
                }
            });
        }
    }

    async fn serve_quic(self: Arc<Self>, endpoint: quinn::Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            self.connections.fetch_add(1, Ordering::SeqCst);
            let played = Arc::clone(&self);
            tokio::spawn(async move {
                let connection = incoming.await.unwrap();
                while let Ok((mut sending, mut receiving)) = connection.accept_bi().await {
                    let played = Arc::clone(&played);
                    tokio::spawn(async move {
                        let query = receiving.read_to_end(65_537).await.unwrap();
                        let Some(answer) = played.answer(&query[2..]).await else {
                            return sending.reset(1_u32.into()).unwrap();
                        };
                        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                        sending.write_all(&length).await.unwrap();
                        sending.write_all(&answer).await.unwrap();
                        sending.finish().unwrap();
                    });
                }
            });
        }
    }
}

fn protocols() -> [Protocol; 2] {
    let path = "/dns-query".to_owned();
    [Protocol::Https { path }, Protocol::Quic]
}

fn about(name: &str) -> Vec<u8> {
    let name = Name::from_ascii(name).unwrap();
    wire::question(
        7,
        &name,
        RecordType::A,
        wire::QuestionFlags::default(),
        None,
    )
}

#[tokio::test(start_paused = true)]
async fn a_slow_name_waits_and_quick_ones_are_answered_on_the_same_connection() {
    let _clock = Clock::stopped();
    for protocol in protocols() {
        let (played, server) = Played::start(&protocol).await;
        let ask = |name: &'static str| {
            let (server, deadline) = (Arc::clone(&server), Instant::now() + LONG);
            tokio::spawn(async move { server.ask(&about(name), deadline).await })
        };
        let slow = ask("a.slow.");
        until("the slow one is asked", || played.slow() == 1).await;
        for _ in 0..12 {
            advance(LOOK_EVERY).await;
            assert!(ask("quick.").await.unwrap().is_ok());
        }
        assert!(!slow.is_finished());
        assert_eq!(
            (played.connections(), played.slow()),
            (1, 1),
            "{protocol:?}"
        );
        // Where nothing else is asked it may be the connection as well as the name: both ways are tried.
        for _ in 0..40 {
            if played.slow() == 2 {
                break;
            }
            advance(LOOK_EVERY).await;
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
        until("it is asked again", || played.slow() == 2).await;
        assert_eq!(played.connections(), 2);
        assert!(ask("quick.").await.unwrap().is_ok());
        played.released.send_replace(true);
        assert!(slow.await.unwrap().is_ok());
        assert_eq!(
            (played.connections(), played.slow()),
            (2, 2),
            "{protocol:?}"
        );
    }
}

#[tokio::test]
async fn a_question_that_the_server_gives_up_costs_no_connection() {
    for protocol in protocols() {
        let (played, server) = Played::start(&protocol).await;
        for _ in 0..3 {
            let deadline = Instant::now() + LONG;
            let given_up = server.ask(&about("given-up."), deadline).await;
            assert!(
                matches!(given_up, Err(ResolveError::InvalidAnswer { .. })),
                "{given_up:?}"
            );
            assert!(server.ask(&about("quick."), deadline).await.is_ok());
        }
        assert_eq!(played.connections(), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_handshake_goes_on_when_who_began_it_waits_no_longer() {
    // It takes connections and says nothing.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let path = "/dns-query".to_owned();
    let protocol = Protocol::Https { path };
    let proof = PeerProof::Spki(vec![[0; 32]]);
    let tls = client_config_for(&proof, false, protocol.alpn()).unwrap();
    let name = ServerName::IpAddress(address.ip().into());
    let server = Streamed::new(address, name, &protocol, tls).unwrap();
    for _ in 0..3 {
        // As if another upstream had answered meanwhile.
        let soon = Instant::now() + Duration::from_millis(40);
        let answer = server.ask(&about("a."), soon).await;
        assert!(matches!(answer, Err(ResolveError::TimedOut)), "{answer:?}");
    }
    let accepting = async || timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(accepting().await.is_ok());
    assert!(accepting().await.is_err(), "one handshake for all of them");
}
