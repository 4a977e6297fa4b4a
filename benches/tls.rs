//! What TLS costs at each end: a handshake of each kind with the first answer, a record, and an idle connection.
//!
//! `cargo bench --bench tls`, and with `--features aws-lc-rs` for the other library. Each row is the best of many rounds
//! (the machine is never idle), in microseconds of one core; octets are those on the wire above TCP. No sockets.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, ServerConfig, ServerConnection, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};
use zzdot::tls::{Tickets, server_config};
use zzdot_client::tls::{
    provider::{NAME, provider},
    session::{ClientSession, Progress, ServerSession, TlsFailure},
};
use zzdot_zonegen::identity::Identity;

const ROUNDS: usize = 30;
const HANDSHAKES: usize = 40;
const RECORDS: usize = 2000;
const IDLE: usize = 2000;

fn main() {
    // `cargo test --benches` wants to know that it works, not how fast it is.
    let (rounds, handshakes) = match std::env::args().any(|argument| argument == "--bench") {
        true => (ROUNDS, HANDSHAKES),
        false => (1, 2),
    };
    let bench = Bench::new(rounds, handshakes);
    println!("library: {NAME}");
    println!(
        "{:44} {:>9} {:>9} {:>9} {:>9}",
        "handshake and first answer", "server us", "client us", "to server", "to client"
    );
    for group in [
        NamedGroup::X25519,
        NamedGroup::secp256r1,
        NamedGroup::X25519MLKEM768,
    ] {
        for resume in [false, true] {
            bench.handshakes(group, resume);
        }
    }
    bench.tls_1_2();
    bench.buffered();
    for tickets in [0, 2, 4] {
        bench.tickets(tickets);
    }
    bench.records();
    idle(&bench);
}

struct Bench {
    rounds: usize,
    handshakes: usize,
    server: ServerConfig,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    server: Duration,
    client: Duration,
    to_server: usize,
    to_client: usize,
}

impl Bench {
    fn new(rounds: usize, handshakes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let suffix = "zz.".parse().expect("a name");
        let random = ring::rand::SystemRandom::new();
        let identity = Identity::create(&folder.path().join("identity"), &suffix, &random)
            .expect("an identity");
        let tickets = Tickets::in_memory(zzdot_zonegen::clock::UnixTime::now()).expect("keys");
        let server = server_config(vec![identity.certificate()], identity.tls_key(), tickets)
            .expect("the key of the certificate");
        Self {
            rounds,
            handshakes,
            server,
        }
    }

    fn handshakes(&self, group: NamedGroup, resume: bool) {
        let kind = if resume { "resumed" } else { "full" };
        let label = format!("TLS 1.3, {group:?}, {kind}");
        let client = Arc::new(client(group, resume, &TLS13));
        self.row(&label, &Arc::new(self.server.clone()), &client, resume);
    }

    fn tls_1_2(&self) {
        for resume in [false, true] {
            let kind = if resume { "resumed" } else { "full" };
            let client = Arc::new(client(NamedGroup::X25519, resume, &TLS12));
            let server = Arc::new(self.server.clone());
            self.row(
                &format!("TLS 1.2, X25519, {kind}"),
                &server,
                &client,
                resume,
            );
        }
    }

    fn tickets(&self, count: usize) {
        let mut server = self.server.clone();
        server.send_tls13_tickets = count;
        let client = Arc::new(client(NamedGroup::X25519, false, &TLS13));
        let label = format!("TLS 1.3, X25519, full, {count} tickets");
        self.row(&label, &Arc::new(server), &client, false);
    }

    fn row(
        &self,
        label: &str,
        server: &Arc<ServerConfig>,
        client: &Arc<ClientConfig>,
        resume: bool,
    ) {
        let expected = if resume {
            // The session that is resumed.
            connect(server, client);
            HandshakeKind::Resumed
        } else {
            HandshakeKind::Full
        };
        let mut best = Cost {
            server: Duration::MAX,
            client: Duration::MAX,
            ..Cost::default()
        };
        for _ in 0..self.rounds {
            let mut sum = Cost::default();
            for _ in 0..self.handshakes {
                let (cost, kind) = connect(server, client);
                assert_eq!(kind, expected, "{label}");
                sum.server += cost.server;
                sum.client += cost.client;
                (best.to_server, best.to_client) = (cost.to_server, cost.to_client);
            }
            best.server = best.server.min(sum.server / self.handshakes as u32);
            best.client = best.client.min(sum.client / self.handshakes as u32);
        }
        println!(
            "{label:44} {:9.1} {:9.1} {:9} {:9}",
            micros(best.server),
            micros(best.client),
            best.to_server,
            best.to_client
        );
    }

    /// The same server behind rustls' buffered API, as other programs use it.
    fn buffered(&self) {
        let mut best = Duration::MAX;
        let server = Arc::new(self.server.clone());
        let client = Arc::new(client(NamedGroup::X25519, false, &TLS13));
        for _ in 0..self.rounds {
            let mut sum = Duration::ZERO;
            for _ in 0..self.handshakes {
                sum += connect_buffered(&server, &client);
            }
            best = best.min(sum / self.handshakes as u32);
        }
        println!(
            "{:44} {:9.1}",
            "TLS 1.3, X25519, full, buffered API",
            micros(best)
        );
    }

    fn records(&self) {
        let client = Arc::new(client(NamedGroup::X25519, false, &TLS13));
        let (mut client, mut server) = established(&Arc::new(self.server.clone()), &client);
        println!("\n{:44} {:>9}", "record", "us");
        for (label, length, count) in [
            ("64 octets each", 64, RECORDS),
            ("100 answers of 128 octets in one", 12_800, RECORDS / 100),
        ] {
            let plain = vec![7; length];
            let (mut sealed, mut opened) = (Duration::MAX, Duration::MAX);
            for _ in 0..self.rounds {
                let mut wire = Vec::new();
                let start = Instant::now();
                for _ in 0..count {
                    server.seal(&plain, &mut wire).expect("keys");
                }
                sealed = sealed.min(start.elapsed() / count as u32);
                let mut heard = Vec::new();
                let start = Instant::now();
                let progress = client.advance(&mut wire, &mut heard, &mut Vec::new());
                opened = opened.min(start.elapsed() / count as u32);
                assert_eq!(progress.expect("sound records").taken, wire.len());
                assert_eq!(heard.len(), count * length);
                black_box(heard);
            }
            println!("{:44} {:9.2}", format!("{label}, sealed"), micros(sealed));
            println!("{:44} {:9.2}", format!("{label}, opened"), micros(opened));
        }
    }
}

/// One connection: handshake, a question, tickets and the answer.
fn connect(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (Cost, HandshakeKind) {
    let mut cost = Cost::default();
    let name = ServerName::try_from("resolver.example").expect("a name");
    let (mut to_server, mut to_client) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    let (mut asked, mut answered) = (Vec::with_capacity(64), Vec::with_capacity(64));

    let start = Instant::now();
    let mut client = ClientSession::new(Arc::clone(client), name).expect("a sound configuration");
    progress(client.advance(&mut [], &mut answered, &mut to_server));
    cost.client += start.elapsed();
    cost.to_server += to_server.len();

    let start = Instant::now();
    let mut server = ServerSession::new(Arc::clone(server)).expect("a sound configuration");
    progress(server.advance(&mut to_server, &mut asked, &mut to_client));
    cost.server += start.elapsed();
    cost.to_client += to_client.len();
    to_server.clear();

    while client.is_handshaking() {
        let start = Instant::now();
        progress(client.advance(&mut to_client, &mut answered, &mut to_server));
        if !client.is_handshaking() {
            client.seal(&[1; 40], &mut to_server).expect("keys");
        }
        cost.client += start.elapsed();
        cost.to_server += to_server.len();
        to_client.clear();

        let start = Instant::now();
        progress(server.advance(&mut to_server, &mut asked, &mut to_client));
        if !asked.is_empty() {
            server.seal(&[2; 80], &mut to_client).expect("keys");
        }
        cost.server += start.elapsed();
        cost.to_client += to_client.len();
        to_server.clear();
    }

    let start = Instant::now();
    progress(client.advance(&mut to_client, &mut answered, &mut to_server));
    cost.client += start.elapsed();
    assert_eq!((asked.len(), answered.len()), (40, 80));
    let kind = client.handshake_kind().expect("it is over");
    let start = Instant::now();
    drop(server);
    cost.server += start.elapsed();
    (cost, kind)
}

fn connect_buffered(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Duration {
    use std::io::{Read, Write};
    let name = ServerName::try_from("resolver.example").expect("a name");
    let (mut to_server, mut to_client, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let mut client = ClientSession::new(Arc::clone(client), name).expect("a sound configuration");
    progress(client.advance(&mut [], &mut plain, &mut to_server));
    let mut spent = Duration::ZERO;
    let mut asked = false;
    let start = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a sound configuration");
    spent += start.elapsed();
    while !asked {
        let start = Instant::now();
        let mut rest = to_server.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("octets");
            let state = server.process_new_packets().expect("a sound handshake");
            if state.plaintext_bytes_to_read() > 0 {
                let mut question = [0; 40];
                server
                    .reader()
                    .read_exact(&mut question)
                    .expect("a question");
                server.writer().write_all(&[2; 80]).expect("room");
                asked = true;
            }
        }
        while server.wants_write() {
            server.write_tls(&mut to_client).expect("octets");
        }
        spent += start.elapsed();
        to_server.clear();
        progress(client.advance(&mut to_client, &mut plain, &mut to_server));
        to_client.clear();
        if !client.is_handshaking() && !asked {
            client.seal(&[1; 40], &mut to_server).expect("keys");
        }
    }
    let start = Instant::now();
    drop(server);
    spent + start.elapsed()
}

/// A connection on which nothing waits to be said.
fn established(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> (ClientSession, ServerSession) {
    let name = ServerName::try_from("resolver.example").expect("a name");
    let mut client = ClientSession::new(Arc::clone(client), name).expect("a sound configuration");
    let mut server = ServerSession::new(Arc::clone(server)).expect("a sound configuration");
    let (mut to_server, mut to_client, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    progress(client.advance(&mut [], &mut plain, &mut to_server));
    while !to_server.is_empty() || !to_client.is_empty() {
        progress(server.advance(&mut to_server, &mut plain, &mut to_client));
        to_server.clear();
        progress(client.advance(&mut to_client, &mut plain, &mut to_server));
        to_client.clear();
    }
    (client, server)
}

/// Memory of the process before and after many connections, both ends.
fn idle(bench: &Bench) {
    let config = Arc::new(bench.server.clone());
    let client = Arc::new(client(NamedGroup::X25519, false, &TLS13));
    // The first connections pay for what is made once.
    let warm: Vec<_> = (0..10).map(|_| established(&config, &client)).collect();
    let count = if bench.rounds > 1 { IDLE } else { 10 };
    let (mut servers, mut clients) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let before = resident();
    for _ in 0..count {
        let (ours, other) = established(&config, &client);
        clients.push(ours);
        servers.push(other);
    }
    let both = resident().saturating_sub(before);
    println!(
        "\nidle: {} octets of a server's and a client's end together, of which {} and {} inline",
        both / count,
        size_of::<ServerSession>(),
        size_of::<ClientSession>()
    );
    black_box((warm, servers, clients));
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = pages.split(' ').nth(1).expect("the second is resident");
    pages.parse::<usize>().expect("a number") * 4096
}

fn progress(outcome: Result<Progress, TlsFailure>) {
    let _ = outcome.expect("two sound ends");
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A client that offers one group. It checks the signature as every client of ours does, and no certificate.
fn client(
    group: NamedGroup,
    resume: bool,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let ours = provider();
    let groups = ours.kx_groups.iter().copied();
    let one = Arc::new(CryptoProvider {
        kx_groups: groups.filter(|offered| offered.name() == group).collect(),
        ..(*ours).clone()
    });
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&one))
        .with_protocol_versions(&[version])
        .expect("both versions are there")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(one)))
        .with_no_client_auth();
    config.enable_sni = false;
    config.alpn_protocols = vec![b"dot".to_vec()];
    config.resumption = match resume {
        true => Resumption::in_memory_sessions(8),
        false => Resumption::disabled(),
    };
    config
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
