//! The scene that all stories share: a household, its provider, and the internet.
//!
//! ```text
//! laptop ── lan ── router ── isp ──┬── provider (unbound, recursive, validating)
//!                                  └── core ── net ── root, registry, hoster-a, hoster-b, web
//! ```

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::SystemTime,
};

use super::Failure;
use crate::{
    host::Host,
    internet::{self, Internet},
    lab::Lab,
    process::Process,
    relay::RelayCounters,
    servers::{self, UnboundSource},
};

/// The household's link.
pub(super) const LAN: &str = "lan";
/// The provider's link.
pub(super) const ISP: &str = "isp";

pub(super) const LAPTOP_LAN: [&str; 2] = ["192.168.77.10", "fd00:77::10"];
pub(super) const ROUTER_LAN: [&str; 2] = ["192.168.77.1", "fd00:77::1"];
const ROUTER_ISP: [&str; 2] = ["10.53.0.2", "fd00:53::2"];
const PROVIDER_ISP: [&str; 2] = ["10.53.0.53", "fd00:53::53"];
pub(super) const CORE_ISP: [&str; 2] = ["10.53.0.1", "fd00:53::1"];
const CORE_NET: [&str; 2] = ["198.18.0.1", "2001:2::1"];
const HOUSEHOLD: [&str; 2] = ["192.168.77.0/24", "fd00:77::/64"];

/// Hosts, internet and running programs.
pub struct Scene {
    /// The programs of this story, by name; taken out and dropped, they are gone.
    pub(super) running: BTreeMap<String, Process>,
    /// Where people and their applications are.
    pub(super) laptop: Host,
    /// The household's router.
    pub(super) router: Host,
    /// The provider's resolver; also the reference that answers are compared with.
    pub(super) provider: Host,
    /// What all resolve.
    pub(super) internet: Internet,
    /// When the client on the laptop had answered for the first time.
    pub(super) first_answer: Option<SystemTime>,
    /// Counters of the bad line, where a story has one.
    pub(super) weather: Option<RelayCounters>,
    _reference: Process,
    pub(super) lab: Lab,
}

impl Scene {
    /// Builds it below `folder`: everything up to the provider's resolver is there and answers.
    ///
    /// # Errors
    /// A program or the kernel refused.
    pub fn build(folder: &Path) -> Result<Self, Failure> {
        let mut lab = Lab::new(folder)?;
        for link in [LAN, ISP, internet::LINK] {
            lab.link(link)?;
        }
        let [laptop, router, provider, core] =
            ["laptop", "router", "provider", "core"].map(|name| lab.host(name));
        let (laptop, router, provider, core) = (laptop?, router?, provider?, core?);
        for host in [&router, &core] {
            lab.forward_packets(host)?;
        }
        for (host, link, addresses) in [
            (&laptop, LAN, LAPTOP_LAN),
            (&router, LAN, ROUTER_LAN),
            (&router, ISP, ROUTER_ISP),
            (&provider, ISP, PROVIDER_ISP),
            (&core, ISP, CORE_ISP),
            (&core, internet::LINK, CORE_NET),
        ] {
            let [v4, v6] = addresses;
            lab.plug(host, link, &[&format!("{v4}/24"), &format!("{v6}/64")])?;
        }
        for family in 0..2 {
            lab.route(&laptop, "default", ROUTER_LAN[family])?;
            lab.route(&router, "default", CORE_ISP[family])?;
            lab.route(&provider, "default", CORE_ISP[family])?;
            lab.route(&provider, HOUSEHOLD[family], ROUTER_ISP[family])?;
            lab.route(&core, HOUSEHOLD[family], ROUTER_ISP[family])?;
        }
        let internet = Internet::start(&mut lab, CORE_NET)?;
        let listen = [
            provider_dns(),
            SocketAddr::new(address(PROVIDER_ISP[1]), 53),
        ];
        let reference =
            servers::unbound(&provider, &listen, UnboundSource::Internet(&internet), "")?;
        Ok(Self {
            running: BTreeMap::new(),
            laptop,
            router,
            provider,
            internet,
            first_answer: None,
            weather: None,
            _reference: reference,
            lab,
        })
    }

    /// Keeps a program running under a name.
    pub(super) fn keep(&mut self, name: &str, process: Process) {
        self.running.insert(name.to_owned(), process);
    }

    /// Another host on the provider's link, reachable from the household.
    pub(super) fn neighbour(&mut self, name: &str, addresses: [&str; 2]) -> Result<Host, Failure> {
        let host = self.lab.host(name)?;
        let [v4, v6] = addresses;
        self.lab
            .plug(&host, ISP, &[&format!("{v4}/24"), &format!("{v6}/64")])?;
        for family in 0..2 {
            self.lab.route(&host, "default", CORE_ISP[family])?;
            self.lab
                .route(&host, HOUSEHOLD[family], ROUTER_ISP[family])?;
        }
        Ok(host)
    }

    /// Ends a program of this scene, politely, and fails when it does not go.
    pub(super) fn end(&mut self, name: &str) -> Result<(), Failure> {
        let process = self
            .running
            .remove(name)
            .ok_or_else(|| Failure::new(format!("{name} does not run")))?;
        process.end()?;
        Ok(())
    }

    /// The host that people sit at.
    #[must_use]
    pub fn laptop(&self) -> &Host {
        &self.laptop
    }
}

/// The router's address towards the household.
pub(super) fn router_dns() -> SocketAddr {
    SocketAddr::new(address(ROUTER_LAN[0]), 53)
}

/// The same for IPv6.
pub(super) fn router_dns_v6() -> SocketAddr {
    SocketAddr::new(address(ROUTER_LAN[1]), 53)
}

/// The router's address and port of DNS over TLS, both families.
pub(super) fn router_dot() -> [SocketAddr; 2] {
    ROUTER_LAN.map(|ip| SocketAddr::new(address(ip), 853))
}

/// The router's address towards the provider.
pub(super) fn router_upstream_ip() -> IpAddr {
    address(ROUTER_ISP[0])
}

/// The provider's resolver.
pub(super) fn provider_dns() -> SocketAddr {
    SocketAddr::new(address(PROVIDER_ISP[0]), 53)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("constants are addresses")
}
