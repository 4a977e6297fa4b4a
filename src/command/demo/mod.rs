//! `zzdot demo`: an appliance and a client on loopback, to look at.
//!
//! Everything is real but the distance: the appliance invents its name and serves it, the client
//! walks to it, checks every record and the TLS key, and asks over TLS from then on. All of it
//! lives in a temporary folder that goes when the demo ends.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use zzdot_client::{
    config::{Askers, LegacyPolicy},
    discover::{Verdict, WalkPolicy},
    exchange::{ExchangeLimits, udp_then_tcp},
    place::Surroundings,
    store::Store,
    stub::{Sockets, Stub, StubCounters, StubLimits},
    upstream::Upstream,
    walker::walk,
    wire::{self, QuestionFlags},
};
use zzdot_zonegen::{
    exit::{Exit, Failure},
    rollover::Intervals,
};

use self::sample::Sample;
use super::print;
use crate::{
    answer::access::AccessList,
    appliance::Appliance,
    config::{self, Config, Resolve},
    host::Host,
    listen::{Inherited, Limits},
    run,
};

mod sample;

/// The name asked for where the host's upstreams answer: nobody's business, and there for this
/// (RFC 2606 §3).
const PUBLIC_NAME: &str = "example.com.";

/// How long an upstream of the host has to show that it is there.
const UPSTREAM_WITHIN: Duration = Duration::from_secs(2);

/// How long the first question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The ports that are tried first, so that the command line printed is the same each time: plain
/// DNS, DNS over TLS, and the client's.
const PORTS: [u16; 3] = [15_353, 15_853, 15_354];

/// Ports free for TCP that may be taken for UDP, before it is given up.
const PORT_TRIES: usize = 16;

/// The arguments of `zzdot demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// End after the first answer
    #[arg(long)]
    once: bool,
    /// Answer from the small built-in zone even where the host has upstreams
    #[arg(long)]
    offline: bool,
}

/// Starts both ends, tells the walk, asks a question, and stays up.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|error| {
        Failure::new(Exit::CannotRun, format!("no temporary folder: {error}"))
            .with_hint("set TMPDIR to a folder that can be written to")
    })?;
    let source = Answers::find(arguments.offline).await?;
    // Bound first and handed over, so that nobody else gets a port in between.
    let (udp, tcp) = bind_both(PORTS[0])?;
    let tls = bind_tcp(PORTS[1])?;
    let dns = tcp.local_addr().map_err(no_port)?;
    let dot = tls.local_addr().map_err(no_port)?;
    let inherited = Inherited {
        udp: vec![udp],
        tcp: vec![tcp],
        tls: vec![tls],
    };
    let config = configuration(folder.path(), dns, dot, &source.upstreams);
    let appliance = Appliance::start(config, None, inherited)?;
    print(&format!(
        "the resolver\n  names itself {}\n  serves plain DNS at {dns} and DNS over TLS at {dot}\n  \
         answers from {}\n\nthe client is told the address {dns} and walks\n",
        appliance
            .identity()
            .map(|identity| identity.name().to_string())
            .unwrap_or_default(),
        source.description
    ))?;
    meet(dns).await?;
    let client = Client::start(&folder.path().join("client"), dns)?;
    let stub = client.stub.addresses()[0];
    client.ask(&source.name, stub).await?;
    print(&format!(
        "\ntry it while this runs\n  dig -p {} @{} {}\n",
        stub.port(),
        stub.ip(),
        source.name.trim_end_matches('.')
    ))?;
    if !arguments.once {
        print("\nCtrl-C ends it\n")?;
        until_interrupted().await?;
        print(&client.summary())?;
    }
    client.stub.drain(Duration::from_secs(1)).await;
    appliance.drain().await;
    Ok(())
}

/// Where the demo's answers come from.
struct Answers {
    upstreams: Vec<config::Upstream>,
    description: String,
    name: String,
    _sample: Option<Sample>,
}

impl Answers {
    async fn find(offline: bool) -> Result<Self, Failure> {
        let host = run::observe()?;
        if !offline && let Some(upstreams) = reachable(&host).await {
            let texts: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
            return Ok(Self {
                description: format!("this host's upstreams, {}", texts.join(" ")),
                upstreams,
                name: PUBLIC_NAME.to_owned(),
                _sample: None,
            });
        }
        let sample = Sample::start().await?;
        Ok(Self {
            upstreams: vec![config::Upstream::at(sample.address)],
            description: "a small built-in zone, \"example\"".to_owned(),
            name: sample::HELLO.to_owned(),
            _sample: Some(sample),
        })
    }
}

/// The host's upstreams, if one of them knows the public name.
async fn reachable(host: &Host) -> Option<Vec<config::Upstream>> {
    let upstreams: Vec<_> = host
        .name_servers
        .iter()
        .copied()
        .map(config::Upstream::at)
        .take(config::value::MAX_UPSTREAMS)
        .collect();
    let query = question(PUBLIC_NAME);
    let deadline = (Instant::now() + UPSTREAM_WITHIN).into_std();
    let limits = ExchangeLimits::default();
    for upstream in &upstreams {
        let reply = udp_then_tcp(upstream.address, &query, &limits, deadline).await;
        let answered = reply
            .ok()
            .and_then(|reply| Message::from_vec(&reply.message).ok())
            .is_some_and(|message| {
                message.metadata.response_code == ResponseCode::NoError
                    && !message.answers.is_empty()
            });
        if answered {
            return Some(upstreams);
        }
    }
    None
}

fn configuration(
    folder: &Path,
    dns: SocketAddr,
    dot: SocketAddr,
    upstreams: &[config::Upstream],
) -> Config {
    let state_dir = folder.join("appliance");
    Config {
        workers: Some(1),
        control_socket: state_dir.join("control.sock"),
        state_dir,
        stop_within: Duration::from_secs(1),
        metrics: None,
        dns: vec![dns],
        dot: vec![dot],
        access: AccessList::default(),
        resolve: Resolve::Forward {
            upstreams: upstreams.to_vec(),
            ca_file: None,
            require: config::Require::Any,
        },
        server_type: zzdot_zonegen::zone::ServerType::Forwarder,
        mode: config::PublishMode::Own,
        published: vec![dns.ip()],
        suffix: Name::from_ascii("zz.").expect("a constant name"),
        rotation: Intervals::default(),
        cache: Some(zzdot_client::cache::Limits::default()),
        limits: Limits::default(),
    }
}

/// Sockets for plain DNS on `port` of loopback, or on another where that is taken.
fn bind_both(port: u16) -> Result<(UdpSocket, TcpListener), Failure> {
    let mut port = port;
    for _ in 0..PORT_TRIES {
        let tcp = bind_tcp(port)?;
        let address = tcp.local_addr().map_err(no_port)?;
        match UdpSocket::bind(address) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(_) => port = 0,
        }
    }
    Err(no_port(std::io::ErrorKind::AddrInUse.into()))
}

/// Sockets for the client, which binds its own.
fn client_sockets() -> Result<Sockets, Failure> {
    let mut port = PORTS[2];
    let mut tries = PORT_TRIES;
    loop {
        match Sockets::bind(&[SocketAddr::from((Ipv4Addr::LOCALHOST, port))]) {
            Ok(sockets) => return Ok(sockets),
            Err(error) if tries == 0 => return Err(no_port(error.source)),
            Err(_) => {
                tries -= 1;
                let (udp, _tcp) = bind_both(0)?;
                port = udp.local_addr().map_err(no_port)?.port();
            }
        }
    }
}

fn bind_tcp(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .map_err(no_port)
}

fn no_port(error: std::io::Error) -> Failure {
    Failure::new(Exit::CannotRun, format!("no free port: {error}"))
}

/// Walks to the resolver and tells each step.
async fn meet(server: SocketAddr) -> Result<(), Failure> {
    let verdict = walk(server, None, WalkPolicy::default(), |step| {
        // A reader that went away ends the demo at the next line that matters.
        let _ = print(&format!("  {step}\n"));
    })
    .await;
    match verdict {
        Verdict::Upgraded(_) => Ok(()),
        Verdict::Refused { refusal } => Err(Failure::new(
            Exit::Distrust,
            format!("{}: {}", refusal.name(), refusal.cause()),
        )
        .with_hint(refusal.cure().to_string())),
        Verdict::Legacy { reason, .. } => Err(Failure::new(
            Exit::NotUpgraded,
            format!("the resolver is not upgraded: {reason}"),
        )),
        Verdict::NoAnswer => Err(Failure::new(
            Exit::CannotRun,
            "the resolver did not answer on loopback",
        )),
    }
}

/// The client's end.
struct Client {
    upstream: Arc<Upstream>,
    stub: Stub,
}

impl Client {
    fn start(folder: &Path, server: SocketAddr) -> Result<Self, Failure> {
        let refuse = |text: String| Failure::new(Exit::CannotRun, text);
        let (store, _) = Store::open(folder).map_err(|error| refuse(error.to_string()))?;
        let limits = StubLimits::default();
        let upstream = Upstream::discovered(
            Surroundings::of_server(server),
            server,
            LegacyPolicy::Refuse.into(),
            Arc::new(store),
            &limits,
            0,
        );
        let sockets = client_sockets()?;
        let stub = Stub::start(
            sockets,
            upstream.clone(),
            Askers::Loopback,
            limits,
            Arc::new(StubCounters::default()),
        )
        .map_err(|error| refuse(error.to_string()))?;
        Ok(Self { upstream, stub })
    }

    /// Asks the client as any program would, and shows what came back and how.
    async fn ask(&self, name: &str, at: SocketAddr) -> Result<(), Failure> {
        let deadline = (Instant::now() + ANSWER_WITHIN).into_std();
        let limits = ExchangeLimits {
            udp_tries: 1,
            ..ExchangeLimits::default()
        };
        let failed = |text: String| {
            Failure::new(Exit::CannotRun, text)
                .with_hint("\"zzdot demo --offline\" needs no network")
        };
        let reply = udp_then_tcp(at, &question(name), &limits, deadline)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let message =
            Message::from_vec(&reply.message).map_err(|error| failed(error.to_string()))?;
        print(&format!("\nthe first private question, {name} A\n"))?;
        if message.answers.is_empty() {
            return Err(failed(format!(
                "no answer: {}",
                message.metadata.response_code
            )));
        }
        for record in &message.answers {
            print(&format!("  {record}\n"))?;
        }
        print(&self.summary())
    }

    fn summary(&self) -> String {
        let status = self.upstream.status();
        let queries = &status["queries"];
        let count = |what: &str| queries[what].as_u64().unwrap_or_default();
        let state = match &status["state"] {
            Value::String(state) => state.as_str(),
            _ => "unknown",
        };
        format!(
            "  {} over TLS, {} in cleartext; the resolver is {state}\n",
            count("encrypted"),
            count("cleartext"),
        )
    }
}

fn question(name: &str) -> Vec<u8> {
    let name = Name::from_ascii(name).expect("a constant name");
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    wire::question(0, &name, RecordType::A, flags, None)
}

async fn until_interrupted() -> Result<(), Failure> {
    let register = |kind| {
        signal(kind).map_err(|error| {
            Failure::new(Exit::CannotRun, format!("cannot wait for signals: {error}"))
        })
    };
    let mut interrupt = register(SignalKind::interrupt())?;
    let mut terminate = register(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
