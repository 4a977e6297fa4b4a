//! Upstreams over HTTPS and QUIC: the real `zzdot` in front of real servers.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use support::{
    daemon::{PATIENCE, Place, own_address},
    program::{self, Running},
};
use zzdot_client::wire::{self, Edns, QuestionFlags};

const SERVER: &str = "dns.test";
/// More than fits into a datagram of DNS, and into a frame of HTTP/2.
const LONG_OCTETS: usize = 20_000;

/// A certificate for [`SERVER`] that vouches for itself, and its key.
struct Certificate {
    pem: String,
    key: String,
    pin: String,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([SERVER.to_owned()]).unwrap();
        let pin = zzdot_client::dot::spki_sha256(made.cert.der()).unwrap();
        Self {
            pem: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            pin: format!("sha256/{}", BASE64.encode(&pin)),
        }
    }

    fn write(&self, folder: &Path) {
        fs::write(folder.join("server.pem"), &self.pem).unwrap();
        fs::write(folder.join("server.key"), &self.key).unwrap();
    }
}

/// Starts unbound with names below `example.`, on 5301 for DNS and 8443 for HTTPS.
fn unbound(folder: &Path) -> Running {
    let address = own_address();
    let text = "x".repeat(250);
    let long: String = (0..LONG_OCTETS / 250)
        .map(|at| format!("  local-data: 'long.example. TXT \"{at:03}{text}\"'\n"))
        .collect();
    let config = format!(
        "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  \
         do-daemonize: no\n  interface: {address}@5301\n  interface: {address}@8443\n  https-port: 8443\n  \
         tls-service-key: \"server.key\"\n  tls-service-pem: \"server.pem\"\n  access-control: 127.0.0.0/8 allow\n  \
         module-config: \"iterator\"\n  local-zone: \"example.\" static\n  local-data: \"www.example. A 192.0.2.7\"\n\
         {long}remote-control:\n  control-enable: no\n",
        folder = folder.display(),
    );
    let file = folder.join("unbound.conf");
    fs::write(&file, config).unwrap();
    let program = program::find("unbound", "unbound");
    let log = folder.join("unbound.log");
    let mut server = Running::start(Command::new(program).arg("-c").arg(file), &log);
    let started = Instant::now();
    while TcpStream::connect((address.as_str(), 8443)).is_err() {
        let said = || fs::read_to_string(&log).unwrap_or_default();
        assert!(server.0.try_wait().unwrap().is_none(), "{}", said());
        assert!(started.elapsed() < PATIENCE, "{}", said());
        std::thread::sleep(Duration::from_millis(5));
    }
    server
}

fn ask(place: &Place, name: &str, qtype: RecordType) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
        .send_to(&question(name, qtype), format!("{}:5300", place.address))
        .unwrap();
    let mut answer = vec![0; 65_535];
    let octets = socket.recv(&mut answer).unwrap();
    Message::from_vec(&answer[..octets]).unwrap()
}

fn ask_over_tcp(place: &Place, name: &str, qtype: RecordType) -> Message {
    let mut stream = TcpStream::connect(format!("{}:5300", place.address)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let question = question(name, qtype);
    let length = u16::try_from(question.len()).unwrap();
    stream.write_all(&length.to_be_bytes()).unwrap();
    stream.write_all(&question).unwrap();
    Message::from_vec(&framed(&mut stream)).unwrap()
}

fn question(name: &str, qtype: RecordType) -> Vec<u8> {
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    let name = Name::from_ascii(name).unwrap();
    wire::question(7, &name, qtype, flags, Some(&Edns::plain(false)))
}

fn framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    message
}

fn is_answered(message: &Message) -> bool {
    message.metadata.response_code == ResponseCode::NoError && !message.answers.is_empty()
}

/// Waits until the zone says this of the only upstream.
fn wait_until_published(place: &Place, label: &str, transport: &str, proof: &str) {
    let name = place.status()["name"].as_str().unwrap().to_owned();
    let text = |owner: &str| -> Vec<String> {
        let owner = format!("{owner}.{label}.unnamed.{name}.");
        let answers = ask(place, &owner, RecordType::TXT).answers;
        answers
            .iter()
            .map(|record| record.data.to_string())
            .collect()
    };
    let started = Instant::now();
    loop {
        let told = (text("transport"), text("proof"));
        if told == (vec![transport.to_owned()], vec![proof.to_owned()]) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{told:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn label(port: u16) -> String {
    format!("{}-p{port}", own_address().replace('.', "-"))
}

#[test]
fn unbound_is_asked_over_https_and_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::new();
    certificate.write(folder.path());
    let server = unbound(folder.path());
    let address = own_address();
    let place = Place::new(&format!(
        "[resolve]\nupstreams = [\"https://{address}:8443/dns-query#{SERVER}\"]\nca-file = {:?}\n[cache]\nbytes = 0\n",
        folder.path().join("server.pem")
    ));
    let _daemon = place.serve();
    let answer = ask(&place, "www.example.", RecordType::A);
    assert!(is_answered(&answer), "{answer}");
    assert_eq!(answer.metadata.id, 7);
    assert!(
        ask(&place, "long.example.", RecordType::TXT)
            .metadata
            .truncation
    );
    let long = ask_over_tcp(&place, "long.example.", RecordType::TXT);
    assert_eq!(long.answers.len(), LONG_OCTETS / 250);
    wait_until_published(&place, &label(8443), "doh", &format!("pkix {SERVER}"));
    let status = place.status();
    assert_eq!(
        status["resolve"]["upstreams"][0]["transport"], "doh",
        "{status}"
    );
    drop(server);
    let _server = unbound(folder.path());
    let started = Instant::now();
    while !is_answered(&ask(&place, "www.example.", RecordType::A)) {
        assert!(started.elapsed() < PATIENCE);
    }
}

#[test]
fn whoever_is_somebody_else_gets_no_question_over_https() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::new();
    certificate.write(folder.path());
    let _server = unbound(folder.path());
    let address = own_address();
    let ca_file = folder.path().join("server.pem");
    let other = Certificate::new().pin;
    for upstream in [
        format!("https://{address}:8443/dns-query#other.test"),
        format!("https://{address}:8443/dns-query?pin={other}#{SERVER}"),
        format!("https://{address}:8443/elsewhere#{SERVER}"),
    ] {
        let place = Place::new(&format!(
            "[resolve]\nupstreams = [\"{upstream}\"]\nca-file = {ca_file:?}\n"
        ));
        let _daemon = place.serve();
        let answer = ask(&place, "www.example.", RecordType::A);
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::ServFail,
            "{upstream}"
        );
    }
}

/// DNS over QUIC in front of the server at `behind`. No program of Debian 12 serves it.
struct Relay {
    endpoint: quinn::Endpoint,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    fn start(certificate: &Certificate, address: SocketAddr, behind: SocketAddr) -> Self {
        let chain = vec![
            rustls::pki_types::CertificateDer::from_pem_slice(certificate.pem.as_bytes()).unwrap(),
        ];
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = vec![b"doq".to_vec()];
        let config =
            quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        // The task of one before it may hold the socket for a moment.
        let started = Instant::now();
        let endpoint = loop {
            match quinn::Endpoint::server(config.clone(), address) {
                Ok(endpoint) => break endpoint,
                Err(error) => assert!(started.elapsed() < PATIENCE, "{address}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let connections = Arc::new(AtomicUsize::new(0));
        let (accepting, counted) = (endpoint.clone(), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let connection = incoming.await.unwrap();
                    while let Ok((sending, receiving)) = connection.accept_bi().await {
                        tokio::spawn(relay(sending, receiving, behind));
                    }
                });
            }
        });
        Self {
            endpoint,
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn relay(
    mut sending: quinn::SendStream,
    mut receiving: quinn::RecvStream,
    behind: SocketAddr,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    // To the end of the stream, which the client has to mark.
    let question = receiving.read_to_end(65_537).await.unwrap();
    assert_eq!(question[2..4], [0, 0], "RFC 9250 §4.2.1");
    assert_eq!((question.len() - 2) % 128, 0, "RFC 8467 §4.1");
    let mut stream = tokio::net::TcpStream::connect(behind).await.unwrap();
    stream.write_all(&question).await.unwrap();
    let length = stream.read_u16().await.unwrap();
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.unwrap();
    sending.write_all(&length.to_be_bytes()).await.unwrap();
    sending.write_all(&answer).await.unwrap();
    sending.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_questions_over_quic_are_one_handshake_and_a_lost_connection_costs_none() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::new();
    certificate.write(folder.path());
    let _server = unbound(folder.path());
    let address = own_address();
    let ip = address.parse().unwrap();
    let at = move |port: u16| SocketAddr::new(ip, port);
    let relay = Relay::start(&certificate, at(8853), at(5301));
    let upstream = format!("quic://{address}:8853?pin={}", certificate.pin);
    let place = Place::new(&format!(
        "[resolve]\nupstreams = [\"{upstream}\"]\n[cache]\nbytes = 0\n"
    ));
    tokio::task::spawn_blocking(move || {
        let _daemon = place.serve();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for at in 0..100 {
            // Each its own name: the same question is asked once anyway.
            let question = question(&format!("n{at}.example."), RecordType::A);
            socket
                .send_to(&question, format!("{}:5300", place.address))
                .unwrap();
        }
        let mut buffer = [0; 4096];
        for _ in 0..100 {
            let octets = socket.recv(&mut buffer).unwrap();
            let answer = Message::from_vec(&buffer[..octets]).unwrap();
            assert_eq!(
                answer.metadata.response_code,
                ResponseCode::NXDomain,
                "{answer}"
            );
        }
        assert_eq!(relay.connections(), 1);
        let long = ask_over_tcp(&place, "long.example.", RecordType::TXT);
        assert_eq!(long.answers.len(), LONG_OCTETS / 250);
        wait_until_published(&place, &label(8853), "doq", "pin");
        // It goes away and comes back with the same key.
        relay.endpoint.close(0_u32.into(), b"");
        let handle = tokio::runtime::Handle::current();
        handle.block_on(relay.endpoint.wait_idle());
        drop(relay.endpoint);
        let _entered = handle.enter();
        let relay = Relay::start(&certificate, at(8853), at(5301));
        assert!(is_answered(&ask(&place, "www.example.", RecordType::A)));
        assert_eq!(relay.connections(), 1);
    })
    .await
    .unwrap();
}

/// Somebody in cleartext who answers everything with another address than unbound.
fn answer_in_cleartext(address: String) {
    let socket = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((octets, from)) = socket.recv_from(&mut buffer) {
            let mut message = Message::from_vec(&buffer[..octets]).unwrap();
            let question = message.queries[0].clone();
            message.metadata.message_type = MessageType::Response;
            match question.query_type() {
                RecordType::A => {
                    let address = RData::A(A(ELSEWHERE.into()));
                    message.answers = vec![Record::from_rdata(question.name().clone(), 0, address)];
                }
                _ => message.metadata.response_code = ResponseCode::NXDomain,
            }
            // Whoever asked may be gone.
            let _ = socket.send_to(&message.to_vec().unwrap(), from);
        }
    });
}

const ELSEWHERE: [u8; 4] = [192, 0, 2, 8];

#[test]
fn an_upstream_that_is_stopped_is_left_alone_until_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::new();
    certificate.write(folder.path());
    let server = unbound(folder.path());
    let address = own_address();
    answer_in_cleartext(format!("{address}:5302"));
    let place = Place::new(&format!(
        "[resolve]\nupstreams = [\"https://{address}:8443/dns-query#{SERVER}\", \"{address}:5302\"]\nca-file = {:?}\n\
         [cache]\nbytes = 0\n",
        folder.path().join("server.pem")
    ));
    let _daemon = place.serve();
    let until = |at: usize, key: &str, value: serde_json::Value| {
        let started = Instant::now();
        loop {
            let upstream = place.status()["resolve"]["upstreams"][at].clone();
            if upstream[key] == value {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{upstream}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let is_elsewhere = || {
        let answer = ask(&place, "www.example.", RecordType::A);
        answer.answers[0].data == RData::A(A(ELSEWHERE.into()))
    };
    until(1, "state", "legacy".into());
    assert!(!is_elsewhere());
    let signal = |signal: &str| {
        program::run(
            Command::new(program::find("kill", "procps"))
                .arg(signal)
                .arg(server.0.id().to_string()),
        )
    };
    // The connection stays, and takes whatever is asked.
    signal("-STOP");
    let started = Instant::now();
    assert!(is_elsewhere());
    let first = started.elapsed();
    until(0, "resting", true.into());
    let started = Instant::now();
    assert!((0..8).all(|_| is_elsewhere()));
    // With room for a machine that is busy.
    assert!(
        started.elapsed() < first * 4,
        "each took as long as the first"
    );
    signal("-CONT");
    until(0, "resting", false.into());
    assert!(!is_elsewhere());
}
