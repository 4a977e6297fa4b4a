//! What a forwarder says about those whom it asks (protocol.md §3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::rr::rdata::TLSA;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::ResolverName;
use crate::owners::PASSAGE;
use crate::zone::ServerType;

/// The port that the label of an upstream without a name leaves out.
const DNS_PORT: u16 = 53;

/// An upstream, as its forwarder publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedUpstream {
    /// Which one. A resolver that is reached at several addresses is one upstream.
    pub id: UpstreamId,
    /// What it does with a question, as it says itself.
    pub kind: ServerKind,
    /// How questions reach it now.
    pub transport: Transport,
    /// How it is known that it is the one at the other end.
    pub proof: Proof,
    /// Where it is reached. Those that can be nobody's address are left out of the zone, and those for which
    /// there is no room in answers: what an upstream says of itself never keeps us from publishing.
    pub addresses: Vec<IpAddr>,
    /// The key-signing keys of its zone; none where it has no name. Those with the REVOKE bit are left
    /// out of the zone, and those for which there is no room.
    pub ksks: Vec<DNSKEY>,
    /// The port of its encrypted service, and what it publishes in TLSA about that.
    pub tls: Option<PublishedTls>,
}

/// The encrypted service of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedTls {
    /// Its port.
    pub port: u16,
    /// Its TLSA records; none where it is known in another way than by DANE. Those for which there is no
    /// room are left out of the zone.
    pub tlsa: Vec<TLSA>,
}

/// Which upstream is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamId {
    /// It has told its name.
    Named(ResolverName),
    /// It has none, or none that was told.
    Unnamed(UnnamedLabel),
}

/// The address of an upstream without a name, as one label: `192-0-2-1`, `2001-db8--1`,
/// `192-0-2-1-p5353`.
///
/// Colons and dots become hyphens; a label that would begin or end with one gets a zero. A port other
/// than 53 follows as `-pPORT`, the interface of an address that is one link's own as `-sNUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnnamedLabel(SocketAddr);

/// Why a text is not the label of an upstream without a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an address as a label")]
pub struct LabelError(pub String);

/// What a server does with a question, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// It asks the authoritative servers itself.
    Resolver,
    /// It asks another resolver.
    Forwarder,
    /// It does not say.
    Unknown,
}

/// How questions reach an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In cleartext, over UDP and TCP.
    Plain,
    /// Over TLS, to whoever answers: hidden from those who listen, not from those who lie.
    Opportunistic,
    /// DNS over TLS (RFC 7858) to a peer that is known.
    Dot,
    /// DNS over HTTPS (RFC 8484).
    Doh,
    /// DNS over QUIC (RFC 9250).
    Doq,
}

/// How it is known who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proof {
    /// It is not.
    None,
    /// By the TLSA records in its own signed zone (RFC 7671).
    Dane,
    /// By the digest of its key, which the operator gave.
    Pin,
    /// By a certificate for this name, or this address, from an authority that the forwarder trusts.
    Pkix(String),
}

/// Why a text is none of the words that the records of a forwarder may hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not {what}")]
pub struct WordError {
    /// The text.
    pub text: String,
    /// What it should be.
    pub what: &'static str,
}

impl UpstreamId {
    /// Which upstream the resolver `name` is, configured at `address`: its name, or the address where there is
    /// no room below that name.
    pub fn of(name: &ResolverName, address: SocketAddr) -> Self {
        match is_describable(name) {
            true => Self::Named(name.clone()),
            false => Self::Unnamed(UnnamedLabel::new(address)),
        }
    }
}

/// Whether anything can stand at `<UP>.NAME.`: not below the DNAME `q.NAME.`, nor below that of another upstream, after
/// which this one may have named itself. Nor could anybody be asked for such a name through another server.
pub(crate) fn is_describable(name: &ResolverName) -> bool {
    !name
        .as_name()
        .iter()
        .any(|label| label.eq_ignore_ascii_case(PASSAGE))
}

impl UnnamedLabel {
    /// The label of the upstream at `address`, which is the address that was configured: one that
    /// is upgraded keeps its label.
    pub fn new(address: SocketAddr) -> Self {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        Self(match (ip, address) {
            (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
                SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.scope_id()))
            }
            _ => SocketAddr::new(ip, port),
        })
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for UnnamedLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut label = match self.0.ip() {
            IpAddr::V4(ip) => ip.to_string().replace('.', "-"),
            IpAddr::V6(ip) => groups(ip),
        };
        if label.starts_with('-') {
            label.insert(0, '0');
        }
        if label.ends_with('-') {
            label.push('0');
        }
        f.write_str(&label)?;
        if self.0.port() != DNS_PORT {
            write!(f, "-p{}", self.0.port())?;
        }
        match self.0 {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => write!(f, "-s{}", v6.scope_id()),
            _ => Ok(()),
        }
    }
}

/// The groups of an address in hexadecimal (RFC 5952 §4), also where the last two are customarily
/// written as IPv4.
fn groups(ip: Ipv6Addr) -> String {
    let text = ip.to_string();
    if !text.contains('.') {
        return text.replace(':', "-");
    }
    let groups = ip.segments().map(|group| format!("{group:x}"));
    groups.join("-")
}

impl FromStr for UnnamedLabel {
    type Err = LabelError;

    /// Accepts exactly what [`fmt::Display`] writes, in either case.
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let refuse = || LabelError(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let (rest, scope) = match lower.split_once("-s") {
            Some((rest, scope)) => (rest, scope.parse().map_err(|_| refuse())?),
            None => (lower.as_str(), 0),
        };
        let (rest, port) = match rest.split_once("-p") {
            Some((rest, port)) => (rest, port.parse().map_err(|_| refuse())?),
            None => (rest, DNS_PORT),
        };
        let v4 = || rest.replace('-', ".").parse::<Ipv4Addr>().ok();
        let v6 = || rest.replace('-', ":").parse::<Ipv6Addr>().ok();
        let address = match (v4(), v6()) {
            (Some(ip), _) => SocketAddr::new(ip.into(), port),
            (None, Some(ip)) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)),
            (None, None) => return Err(refuse()),
        };
        let label = Self::new(address);
        // One text for each address: `01`, `+53` and their like are refused.
        if label.to_string() == lower {
            Ok(label)
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Unnamed(label) => label.fmt(f),
        }
    }
}

impl From<ServerType> for ServerKind {
    fn from(server_type: ServerType) -> Self {
        match server_type {
            ServerType::Resolver => Self::Resolver,
            ServerType::Forwarder => Self::Forwarder,
        }
    }
}

impl ServerKind {
    /// The text of the `server-type` TXT record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolver => "resolver",
            Self::Forwarder => "forwarder",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ServerKind {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let all = [Self::Resolver, Self::Forwarder, Self::Unknown];
        let found = all.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| WordError::new(text, "\"resolver\", \"forwarder\" or \"unknown\""))
    }
}

impl Transport {
    const ALL: [Self; 5] = [
        Self::Plain,
        Self::Opportunistic,
        Self::Dot,
        Self::Doh,
        Self::Doq,
    ];

    /// The text of the `transport` TXT record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Opportunistic => "opportunistic",
            Self::Dot => "dot",
            Self::Doh => "doh",
            Self::Doq => "doq",
        }
    }

    /// Whether those who listen on the way read nothing.
    pub fn is_encrypted(self) -> bool {
        self != Self::Plain
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let found = Self::ALL
            .into_iter()
            .find(|transport| transport.as_str() == text);
        found.ok_or_else(|| {
            WordError::new(
                text,
                "\"plain\", \"opportunistic\", \"dot\", \"doh\" or \"doq\"",
            )
        })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Dane => f.write_str("dane"),
            Self::Pin => f.write_str("pin"),
            Self::Pkix(name) => write!(f, "pkix {name}"),
        }
    }
}

impl FromStr for Proof {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        // What a name may hold that a person reads: no controls, nothing that changes direction.
        let shown = |name: &str| {
            !name.is_empty()
                && name.len() <= 253
                && name.bytes().all(|octet| octet.is_ascii_graphic())
        };
        match (text, text.strip_prefix("pkix ")) {
            ("none", _) => Ok(Self::None),
            ("dane", _) => Ok(Self::Dane),
            ("pin", _) => Ok(Self::Pin),
            (_, Some(name)) if shown(name) => Ok(Self::Pkix(name.to_owned())),
            _ => Err(WordError::new(
                text,
                "\"none\", \"dane\", \"pin\" or \"pkix\" and a name",
            )),
        }
    }
}

impl WordError {
    fn new(text: &str, what: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            what,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_label_and_comes_back() {
        for (address, label) in [
            ("192.0.2.1:53", "192-0-2-1"),
            ("192.0.2.1:5353", "192-0-2-1-p5353"),
            ("192.0.2.1:853", "192-0-2-1-p853"),
            ("[2001:db8::1]:53", "2001-db8--1"),
            ("[2001:db8::]:53", "2001-db8--0"),
            ("[::1]:53", "0--1"),
            ("[::]:0", "0--0-p0"),
            ("[fe80::1%3]:53", "fe80--1-s3"),
            ("[fe80::1%3]:5300", "fe80--1-p5300-s3"),
            ("[::ffff:192.0.2.7]:53", "192-0-2-7"),
            (
                "[2001:db8:1:2:3:4:5:6]:65535",
                "2001-db8-1-2-3-4-5-6-p65535",
            ),
        ] {
            let made = UnnamedLabel::new(address.parse().unwrap());
            assert_eq!(made.to_string(), label);
            assert_eq!(label.parse(), Ok(made), "{label}");
            assert_eq!(label.to_uppercase().parse(), Ok(made), "{label}");
        }
    }

    #[test]
    fn a_name_below_which_nothing_can_stand_gives_way_to_the_address() {
        let address = "192.0.2.1:53".parse().unwrap();
        let named = |suffix: &str| {
            let name = format!("aaaaaaaaaaaaaaaaaaaa.{suffix}").parse().unwrap();
            UpstreamId::of(&name, address).to_string()
        };
        assert_eq!(named("zz"), "aaaaaaaaaaaaaaaaaaaa.zz");
        assert_eq!(named("qq.zz"), "aaaaaaaaaaaaaaaaaaaa.qq.zz");
        assert_eq!(named("q.zz"), "192-0-2-1");
        assert_eq!(named("q"), "192-0-2-1");
        assert_eq!(named("example.q"), "192-0-2-1");
    }

    #[test]
    fn no_address_has_two_labels() {
        for text in [
            "",
            "192-0-2",
            "192-0-2-01",
            "192-0-2-1-p53",
            "192-0-2-1-p",
            "192-0-2-1-p+5",
            "192-0-2-1-p99999",
            "192-0-2-1-s0",
            "192-0-2-1-s1",
            "192.0.2.1",
            "2001-db8-0-0-0-0-0-1",
            "--1",
            "0--0001",
            "fe80--1-s3-p5300",
            "8g2l0qv7c4m1t5b9r3se",
        ] {
            assert!(text.parse::<UnnamedLabel>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_words_of_the_records_are_read_as_they_are_written() {
        for transport in Transport::ALL {
            assert_eq!(transport.to_string().parse(), Ok(transport));
        }
        for kind in ["resolver", "forwarder", "unknown"] {
            assert_eq!(kind.parse::<ServerKind>().unwrap().as_str(), kind);
        }
        for proof in ["none", "dane", "pin", "pkix dns.example.net"] {
            assert_eq!(proof.parse::<Proof>().unwrap().to_string(), proof);
        }
        assert!("Dot".parse::<Transport>().is_err());
        assert!("resolver ".parse::<ServerKind>().is_err());
        assert!("pkix ".parse::<Proof>().is_err());
        assert!("pkix a\u{7}b".parse::<Proof>().is_err());
        let long = format!("pkix {}", "a".repeat(254));
        assert!(long.parse::<Proof>().is_err());
    }
}
