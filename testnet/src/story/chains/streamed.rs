//! Hops by DNS over HTTPS and over QUIC. Behind them is a resolver of today: Debian's unbound, which serves DNS over HTTPS
//! itself. No program of Debian 12 serves DNS over QUIC; a relay of the lab does it in front of the same unbound.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use hickory_proto::rr::{Name, RecordType};

use super::{
    super::{
        Failure, Scene, Teller, Told,
        checks::{CLIENT, ensure},
    },
    flat::dane,
    ground::{self, Machine, Runs},
    links::{Links, Period},
    route::{self, all_answered},
    truth::{Traced, Truth},
};
use crate::{
    ask::Question,
    quic,
    servers::{self, UnboundSource},
};

/// Who is at the other end, and the name in its certificate.
const SERVER: &str = "streamed";
const ADDRESS: &str = "10.53.0.75";
const CERTIFIED: &str = "dns.streamed.example";
const HTTPS: u16 = 443;
const QUIC: u16 = 853;
/// Names that are asked for over each.
const NAMES: usize = 15;

/// A forwarder, and how it asks on.
struct Forwarder {
    machine: Machine,
    upstream: &'static str,
    /// The same as a trace says it.
    hop: Truth,
    /// Packets by which questions go there.
    port: u16,
    tcp: bool,
}

const FORWARDERS: &[Forwarder] = &[
    Forwarder {
        machine: machine("over-doh", "10.53.0.76"),
        upstream: "https://10.53.0.75/dns-query#dns.streamed.example",
        hop: Truth(
            "over-doh",
            "10.53.0.75:443",
            "claimed",
            "doh",
            "pkix dns.streamed.example",
        ),
        port: HTTPS,
        tcp: true,
    },
    Forwarder {
        machine: machine("over-doq", "10.53.0.77"),
        upstream: "quic://10.53.0.75#dns.streamed.example",
        hop: Truth(
            "over-doq",
            "10.53.0.75:853",
            "claimed",
            "doq",
            "pkix dns.streamed.example",
        ),
        port: QUIC,
        tcp: false,
    },
];

const fn machine(name: &'static str, address: &'static str) -> Machine {
    super::flat::machine(name, address, Runs::Forwarder(&[]))
}

/// What was asked over each, and when.
pub(super) struct Streams(Vec<(&'static Forwarder, Vec<Name>, Period)>);

fn server() -> IpAddr {
    ADDRESS.parse().expect("constants are addresses")
}

pub(super) fn set_up(scene: &mut Scene) -> Told {
    let host = scene.neighbour(SERVER, [ADDRESS, "fd00:53::75"])?;
    let made = rcgen::generate_simple_self_signed([CERTIFIED.to_owned()])?;
    let certificate = host.write("server.pem", &made.cert.pem())?;
    let key = host.write("server.key", &made.signing_key.serialize_pem())?;
    let dns = SocketAddr::new(server(), 53);
    let https = format!(
        "  interface: {ADDRESS}@{HTTPS}\n  https-port: {HTTPS}\n  tls-service-pem: {certificate:?}\n  tls-service-key: {key:?}\n"
    );
    let source = UnboundSource::Internet(&scene.internet);
    let unbound = servers::unbound(&host, &[dns], source, &https)?;
    scene.keep(SERVER, unbound);
    let tls = quic::tls(made.cert.der().clone(), &made.signing_key)?;
    quic::relay(&host, SocketAddr::new(server(), QUIC), dns, tls)?;
    for Forwarder {
        machine, upstream, ..
    } in FORWARDERS
    {
        let host = ground::neighbour(scene, machine)?;
        let resolve =
            format!("mode = \"forward\"\nupstreams = [{upstream:?}]\nca-file = {certificate:?}");
        let process = ground::appliance(machine, &host, &resolve, |it| it.start())?;
        scene.keep(machine.name, process);
    }
    for forwarder in FORWARDERS {
        let transport = forwarder.hop.3;
        ground::settle_at(&scene.provider, forwarder.machine.dns(), &[transport])?;
    }
    Ok(())
}

pub(super) fn play(scene: &mut Scene, teller: &Teller) -> Result<Streams, Failure> {
    let machines: Vec<_> = FORWARDERS.iter().map(|it| it.machine).collect();
    let names: BTreeMap<_, _> = ground::names(scene, &machines)?;
    let mut asked = Vec::new();
    for (number, forwarder) in FORWARDERS.iter().enumerate() {
        let Machine { name, address, .. } = forwarder.machine;
        let traced = Traced::from(&scene.laptop, address, &names)?;
        traced.is(&[dane("laptop", name), forwarder.hop], Some(&[name]))?;
        traced.gives(name, "no-name")?;
        traced.leaves_open(forwarder.hop.1, "says-nothing")?;
        let fresh = scene.internet.names().iter().skip(120 + number * NAMES);
        let fresh: Vec<_> = fresh.take(NAMES).cloned().collect();
        let questions: Vec<_> = fresh
            .iter()
            .map(|name| Question::new(name, RecordType::A))
            .collect();
        route::start(scene, address, "nearest")?;
        let from = SystemTime::now();
        all_answered(&scene.laptop, &questions)?;
        asked.push((forwarder, fresh, Period::since(from)));
        scene.end(CLIENT)?;
        teller.tell(format!(
            "{name}: a hop by {}, known by its certificate, and nothing is known behind it",
            forwarder.hop.3
        ));
    }
    Ok(Streams(asked))
}

impl Streams {
    /// On the link between them there is nothing but HTTPS and QUIC, and the names are spelled by nobody in front of it.
    pub(super) fn check(&self, links: &Links, teller: &Teller) -> Told {
        for (
            Forwarder {
                machine, port, tcp, ..
            },
            names,
            period,
        ) in &self.0
        {
            let hop = links.isp.among([machine.ip(), server()]);
            let other = hop.packets().iter().find(|packet| {
                let expected = packet.transport.is_tcp() == *tcp;
                let ports = [packet.source.port(), packet.destination.port()];
                !expected || !ports.contains(port) || ports.contains(&53)
            });
            ensure(other.is_none(), || {
                format!("{}: {other:?} between the two", machine.name)
            })?;
            for host in [machine.name, SERVER] {
                let spelled = hop.names_spelled(names, host, SystemTime::UNIX_EPOCH);
                ensure(spelled.is_empty(), || {
                    format!("packets of {host} spell {spelled:?}")
                })?;
            }
            let asking = period.of(&hop);
            let sent = asking.packets_between(machine.name, server(), Some(*port));
            let sent = sent.filter(|packet| !packet.payload.is_empty()).count();
            ensure(sent >= names.len() / 4, || {
                format!("{sent} packets for {} questions", names.len())
            })?;
            let asker = links.askers_of(names).find(|host| !behind(host));
            ensure(asker.is_none(), || {
                format!("{asker:?} asked for names of {} in cleartext", machine.name)
            })?;
            teller.tell(format!(
                "{}: {} packets with its upstream, {} of them while {} names were asked for: no cleartext DNS",
                machine.name,
                hop.packets().len(),
                asking.packets().len(),
                names.len()
            ));
        }
        Ok(())
    }
}

/// The resolver itself, and whoever passes on what it asks.
fn behind(host: &str) -> bool {
    [SERVER, "core"].contains(&host)
}
