//! What a decision is made of, and what it says.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use zzdot_zonegen::clock::UnixTime;

use super::{Dhcp, Domain, HeldLink, LinkResolvers, Source};

/// What is known when the decision is made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// Where this program listens.
    pub own: Vec<SocketAddr>,
    /// The interfaces that there are.
    pub links: Vec<LinkFacts>,
    /// What systemd-resolved says; none when it cannot be asked.
    pub resolved: Option<ResolvedSays>,
    /// What the others say about links.
    pub sayings: Vec<Saying>,
    /// What stands in files.
    pub files: Vec<FileSays>,
    /// Links whose names this program has taken from them.
    pub held: Vec<HeldLink>,
    /// For leases that end.
    pub now: UnixTime,
}

#[cfg(test)]
impl Inputs {
    /// A machine with one card, whose resolved asks this program and says this of that card.
    pub(in crate::host) fn behind_resolved(card: LinkSays) -> Self {
        let own = [SocketAddr::from(([127, 0, 0, 1], 53))];
        Self {
            own: own.to_vec(),
            links: vec![LinkFacts {
                index: 2,
                name: "eth0".into(),
                up: true,
                ..LinkFacts::default()
            }],
            resolved: Some(ResolvedSays {
                global: own.to_vec(),
                links: vec![card],
            }),
            ..Self::default()
        }
    }
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// It can carry something now.
    pub up: bool,
    /// It is the loopback.
    pub loopback: bool,
    /// It is a tunnel.
    pub tunnel: bool,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

/// Something that a source says about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// Who says it.
    pub source: Source,
    /// What.
    pub says: LinkSays,
}

/// What can be said about a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSays {
    /// Its number, where the source knows it.
    pub index: Option<u32>,
    /// Its name, where the source knows that.
    pub name: Option<String>,
    /// Its servers.
    pub servers: Vec<SocketAddr>,
    /// Its domains; the root among them claims all names.
    pub domains: Vec<Domain>,
    /// Those of the domains that are put behind names of one label, too.
    pub search: Vec<Domain>,
    /// Domains that came with the lease; which of them are in `domains` is for whoever manages the link to say.
    pub lease_domains: Vec<Domain>,
    /// The source manages the link, and nobody else may tell resolved about it.
    pub managed: bool,
    /// Whether names of no domain may be asked here; none where the source leaves it open.
    pub default_route: Option<bool>,
    /// No other link may be asked about such names.
    pub exclusive: bool,
    /// The source knows it as a tunnel.
    pub tunnel: bool,
    /// What DHCP said.
    pub dhcp: Option<Dhcp>,
    /// RFC 8910.
    pub captive_portal: Option<String>,
    /// When the lease ends, where there is one that nobody takes away.
    pub expires: Option<UnixTime>,
    /// The address that the lease is for; without it on the link, the lease is of another day.
    pub leased: Option<IpAddr>,
}

/// What systemd-resolved says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedSays {
    /// Servers for the whole machine.
    pub global: Vec<SocketAddr>,
    /// Links with their servers.
    pub links: Vec<LinkSays>,
}

/// What a file in the manner of `resolv.conf` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSays {
    /// Which file.
    pub kind: FileKind,
    /// Its servers.
    pub servers: Vec<SocketAddr>,
}

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `/etc/resolv.conf`: what applications use today.
    InUse,
    /// What stood there before this program put itself in front, when a person had written it.
    AsideByPerson,
    /// The same, when it repeated what links said then.
    Aside,
    /// Where resolved lists the servers that its stub asks.
    ResolvedUplinks,
    /// Where NetworkManager lists the servers that it knows.
    NetworkManagerUplinks,
    /// The records of resolvconf, for those that are about no link.
    Records,
}

/// Whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decision {
    /// Links with a default route first, in the order in which they should be asked.
    pub links: Vec<LinkResolvers>,
    /// What was said and not followed.
    pub left_out: Vec<LeftOut>,
    /// Names that resolved asks elsewhere although this program is in front of it.
    pub past_us: Vec<PastUs>,
    /// The file in use says what no link says: somebody wrote it.
    #[serde(skip)]
    pub written_by_person: bool,
}

/// Names that resolved answers without asking this program: a domain of a link counts for more than
/// the whole machine's `~.`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastUs {
    /// The link's name.
    pub link: String,
    /// Its domains.
    pub domains: Vec<Domain>,
}

/// Something that was said and not followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeftOut {
    /// Who said it.
    pub source: Source,
    /// About which link.
    pub link: Option<String>,
    /// Which server; none when it is about all of them.
    pub server: Option<SocketAddr>,
    /// Why.
    pub reason: Reason,
}

/// Why something was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is this program: the question would go in a circle.
    Ourselves,
    /// It is the stub of resolved, which asks those that resolved names itself, or asks this program.
    StubOfResolved,
    /// A server on this machine may ask this program, which the machine was told to ask.
    MayAskUs,
    /// A server on this machine stands between, where the link's own servers are known.
    Relay,
    /// Nobody can answer there.
    NobodyThere,
    /// There is no such link.
    NoSuchLink,
    /// The link is down.
    LinkDown,
    /// It is the loopback.
    Loopback,
    /// The lease has ended.
    LeaseEnded,
    /// The lease is for an address that the link does not have.
    LeaseOfAnotherDay,
    /// Somebody wrote a file that names others.
    FileByPerson,
    /// There are too many.
    TooMany,
}
