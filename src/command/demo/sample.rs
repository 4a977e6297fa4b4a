//! A small zone for machines without a network: something to ask for.

use std::{net::SocketAddr, sync::Arc};

use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{A, AAAA, CNAME, NS, SOA, TXT},
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_server::{
    Server,
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, ZoneType},
};
use tokio::net::{TcpListener, UdpSocket};
use zzdot_zonegen::exit::{Exit, Failure};

/// A name of the zone that has an address.
pub(super) const HELLO: &str = "hello.example.";

/// Serves the zone `example` on loopback, until dropped.
pub(super) struct Sample {
    pub(super) address: SocketAddr,
    _server: Server<Catalog>,
}

impl Sample {
    pub(super) async fn start() -> Result<Self, Failure> {
        let refuse = |error: std::io::Error| {
            Failure::new(
                Exit::CannotRun,
                format!("the built-in zone cannot be served: {error}"),
            )
        };
        let tcp = TcpListener::bind("127.0.0.1:0").await.map_err(refuse)?;
        let address = tcp.local_addr().map_err(refuse)?;
        let udp = UdpSocket::bind(address).await.map_err(refuse)?;
        let mut server = Server::new(catalog());
        server.register_socket(udp);
        server.register_listener(tcp, std::time::Duration::from_secs(5), 4_096);
        Ok(Self {
            address,
            _server: server,
        })
    }
}

fn catalog() -> Catalog {
    let origin = name("example.");
    let mut zone = InMemoryZoneHandler::<TokioRuntimeProvider>::empty(
        origin.clone(),
        ZoneType::Primary,
        AxfrPolicy::Deny,
        None,
    );
    let soa = SOA::new(
        name("ns.example."),
        name("nobody.example."),
        1,
        3600,
        600,
        86_400,
        60,
    );
    let records = [
        ("example.", RData::SOA(soa)),
        ("example.", RData::NS(NS(name("ns.example.")))),
        ("ns.example.", RData::A(A::new(127, 0, 0, 1))),
        (HELLO, RData::A(A::new(192, 0, 2, 1))),
        (
            HELLO,
            RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ),
        (
            HELLO,
            RData::TXT(TXT::new(vec![
                "nobody on the way read this question".into(),
            ])),
        ),
        ("www.example.", RData::CNAME(CNAME(name(HELLO)))),
    ];
    for (owner, data) in records {
        zone.upsert_mut(Record::from_rdata(name(owner), 60, data), 0);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(origin.into(), vec![Arc::new(zone)]);
    catalog
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a constant name")
}
