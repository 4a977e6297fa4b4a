//! Which known network it is: how much each signal says, and how much is enough.
//!
//! A hundred networks of a street call themselves 192.168.1.0/24 and have their router at .1. So what counts is not how
//! many signals agree but how seldom each is found elsewhere, which is judged by its value where it is seen; the store
//! holds digests only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::common;
use super::{Fingerprint, LinkView, MacAddress, Recognised, SignalKind, Signals, fingerprint};
use crate::place::NetworkId;

/// From here on a network is the known one: as much as the hardware address of one router says.
pub const EXPECT: u32 = 60;
/// From here on it looks like the known one: as much as the name of one household's wireless network says.
pub const SUSPECT: u32 = 30;

/// What a signal is worth when it is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    RouterOfItsOwn,
    SharedRouterAddress,
    RandomPrefix,
    PublicPrefix,
    ChosenPrefix,
    FactoryPrefix,
    PublicDhcpServer,
    PrivateDhcpServer,
    DomainOfItsOwn,
    FactoryDomain,
    NameOfItsOwn,
    EverybodysName,
    Protection,
    ProvidersResolver,
    PrivateResolver,
    EverybodysResolver,
}

/// The table: evidence, its weight, and why it is that.
const TABLE: [(Evidence, u32, &str); 16] = [
    (
        Evidence::RouterOfItsOwn,
        EXPECT,
        "given to one device in the world, and only who was near it knows it; enough alone, since ranges and names of \
         a network change while its router stays",
    ),
    (
        Evidence::SharedRouterAddress,
        10,
        "VRRP, HSRP, an emulator or a forgotten factory setting: the same in many networks",
    ),
    (
        Evidence::RandomPrefix,
        30,
        "40 random bits (RFC 4193), or one customer's range of a provider: one network, but its router announced it to all",
    ),
    (
        Evidence::PublicPrefix,
        20,
        "a public range belongs to one organisation, which may use it at several places",
    ),
    (
        Evidence::ChosenPrefix,
        12,
        "a private range that is no vendor's default: somebody chose it, and few others the same",
    ),
    (
        Evidence::FactoryPrefix,
        3,
        "what boxes come with: every second network has it",
    ),
    (
        Evidence::PublicDhcpServer,
        15,
        "a provider's or an organisation's, for all of its networks",
    ),
    (
        Evidence::PrivateDhcpServer,
        5,
        "follows from the range: mostly its first address",
    ),
    (
        Evidence::DomainOfItsOwn,
        20,
        "a name that somebody registered or chose; the same in every office",
    ),
    (
        Evidence::FactoryDomain,
        3,
        "lan, home, fritz.box: what boxes come with",
    ),
    (
        Evidence::NameOfItsOwn,
        25,
        "somebody chose it; anybody can copy it, and it is sent out all the time: with its protection just enough to look",
    ),
    (
        Evidence::EverybodysName,
        4,
        "eduroam, a vendor's or a telephone's default: met in every town",
    ),
    (Evidence::Protection, 5, "one of five"),
    (
        Evidence::ProvidersResolver,
        8,
        "one provider's, for all of its customers",
    ),
    (
        Evidence::PrivateResolver,
        5,
        "follows from the range: mostly its first address",
    ),
    (
        Evidence::EverybodysResolver,
        0,
        "1.1.1.1 and its like say nothing about the place",
    ),
];

impl Evidence {
    fn weight(self) -> u32 {
        let row = TABLE.iter().find(|(evidence, ..)| *evidence == self);
        row.map_or(0, |(_, weight, _)| *weight)
    }
}

/// A network as it is seen now: its signals, and what each would be worth if it were found again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    signals: Signals,
    weights: BTreeMap<(SignalKind, Fingerprint), u32>,
}

impl Sighting {
    /// What `view` shows, under the secret of the installation.
    #[must_use]
    pub fn of(view: &LinkView, secret: &[u8; 32]) -> Self {
        let mut sighting = Self::default();
        let mut see = |kind, value: &[u8], evidence: Evidence| {
            let seen = fingerprint(secret, kind, value);
            sighting.signals.insert(kind, seen);
            sighting.weights.insert((kind, seen), evidence.weight());
        };
        for gateway in &view.gateways {
            let Some(mac) = gateway.mac else { continue };
            let kind = match gateway.address {
                IpAddr::V4(_) => SignalKind::GatewayMacV4,
                IpAddr::V6(_) => SignalKind::GatewayMacV6,
            };
            see(kind, &mac.0, of_mac(mac));
        }
        for prefix in &view.prefixes {
            let prefix = prefix.trunc();
            see(
                SignalKind::OnLinkPrefix,
                prefix.to_string().as_bytes(),
                of_prefix(prefix),
            );
        }
        if let Some(server) = view.dhcp_server {
            let evidence = if is_private(server) {
                Evidence::PrivateDhcpServer
            } else {
                Evidence::PublicDhcpServer
            };
            see(
                SignalKind::DhcpServer,
                server.to_string().as_bytes(),
                evidence,
            );
        }
        if let Some(domain) = &view.dhcp_domain {
            let domain = domain.trim_end_matches('.').to_ascii_lowercase();
            let evidence = if common::is_factory_domain(&domain) {
                Evidence::FactoryDomain
            } else {
                Evidence::DomainOfItsOwn
            };
            see(SignalKind::DhcpDomain, domain.as_bytes(), evidence);
        }
        if let Some(ssid) = &view.ssid {
            let evidence = if common::is_everybodys_ssid(ssid) {
                Evidence::EverybodysName
            } else {
                Evidence::NameOfItsOwn
            };
            see(SignalKind::Ssid, ssid, evidence);
        }
        if let Some(security) = view.security {
            let name = security.name().as_bytes();
            see(SignalKind::Security, name, Evidence::Protection);
        }
        for resolver in &view.resolvers {
            let address = resolver.ip().to_canonical();
            see(
                SignalKind::ResolverAddress,
                address.to_string().as_bytes(),
                of_resolver(address),
            );
        }
        sighting
    }

    /// What can be remembered of it.
    #[must_use]
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// What a signal of this kind that is in `known` too is worth; the best, where there are several.
    fn worth(&self, kind: SignalKind, known: &Signals) -> u32 {
        let shared = known
            .of(kind)
            .filter_map(|seen| self.weights.get(&(kind, seen)));
        shared.copied().max().unwrap_or(0)
    }

    fn differs(&self, kind: SignalKind, known: &Signals) -> bool {
        let both = |signals: &Signals| signals.of(kind).next().is_some();
        both(&self.signals) && both(known) && !self.signals.share(known, kind)
    }
}

/// Which of the `known` networks, oldest first, this is.
///
/// `stayed_with` is the one that this link was taken for since it last came up. A network does not turn into another
/// while the cable stays in: whoever answers for the router's address from one moment to the next is looked at with
/// suspicion, and never met as somebody new.
#[must_use]
pub fn recognise<'a>(
    sighting: &Sighting,
    known: impl IntoIterator<Item = (NetworkId, &'a Signals)>,
    stayed_with: Option<NetworkId>,
) -> Recognised {
    let mut best: Option<(Match, NetworkId, &Signals)> = None;
    for (network, signals) in known {
        let found = compare(sighting, signals, stayed_with == Some(network));
        let found = match found {
            Some(found) => found,
            None => continue,
        };
        if best.as_ref().is_none_or(|(best, ..)| found > *best) {
            best = Some((found, network, signals));
        }
    }
    match best {
        None => Recognised::New,
        Some((found, network, _)) if found.whole => Recognised::Expect(network),
        Some((_, network, signals)) => Recognised::Suspect {
            network,
            differs: SignalKind::ALL
                .into_iter()
                .filter(|kind| sighting.differs(*kind, signals))
                .collect(),
        },
    }
}

/// How well a network fits, the better the greater.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    whole: bool,
    stayed: bool,
    score: u32,
}

fn compare(sighting: &Sighting, known: &Signals, stayed: bool) -> Option<Match> {
    use SignalKind as Kind;
    // One router says the same thing twice where it speaks both families.
    let router = [Kind::GatewayMacV4, Kind::GatewayMacV6]
        .map(|kind| sighting.worth(kind, known))
        .into_iter()
        .max()
        .unwrap_or(0);
    let others = [
        Kind::OnLinkPrefix,
        Kind::DhcpServer,
        Kind::DhcpDomain,
        Kind::Ssid,
        Kind::Security,
        Kind::ResolverAddress,
    ];
    let others: u32 = others.iter().map(|kind| sighting.worth(*kind, known)).sum();
    let score = router + others;
    // Before the router is the known one nothing is said that only a visitor of that network would say.
    let router_is_known = router > 0
        && !sighting.differs(Kind::GatewayMacV4, known)
        && !sighting.differs(Kind::GatewayMacV6, known);
    // The known name without its protection is how a twin is set up that needs no passphrase.
    let twin = sighting.signals.share(known, Kind::Ssid) && sighting.differs(Kind::Security, known);
    let whole = score >= EXPECT && router_is_known && !twin;
    (whole || stayed || score >= SUSPECT).then_some(Match {
        whole,
        stayed,
        score,
    })
}

fn of_mac(mac: MacAddress) -> Evidence {
    if common::is_shared_mac(mac) {
        Evidence::SharedRouterAddress
    } else {
        Evidence::RouterOfItsOwn
    }
}

fn of_prefix(prefix: IpNet) -> Evidence {
    match prefix {
        IpNet::V6(prefix) if common::is_made_up(prefix) => Evidence::ChosenPrefix,
        IpNet::V6(_) => Evidence::RandomPrefix,
        IpNet::V4(prefix) if common::is_factory_prefix(prefix) => Evidence::FactoryPrefix,
        IpNet::V4(prefix) if is_private(prefix.addr().into()) => Evidence::ChosenPrefix,
        IpNet::V4(_) => Evidence::PublicPrefix,
    }
}

fn of_resolver(address: IpAddr) -> Evidence {
    if common::is_everybodys_resolver(address) {
        Evidence::EverybodysResolver
    } else if is_private(address) {
        Evidence::PrivateResolver
    } else {
        Evidence::ProvidersResolver
    }
}

/// Whether the address means another host in another network: private (RFC 1918), shared by a provider's customers (RFC
/// 6598), or of the link. Unique local addresses (RFC 4193) belong here too: here it is about a host's address, which
/// follows from the prefix.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_link_local()
        || address.is_loopback()
        || (first == 100 && second & 0xc0 == 64)
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback()
}

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
