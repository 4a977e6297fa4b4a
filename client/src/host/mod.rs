//! What the host says about its network: which link has which resolvers, for which names.
//!
//! ```text
//!  NetworkManager, systemd-resolved (D-Bus)  \
//!  networkd, dhclient, resolvconf (files)     -> Inputs -> decide * -> Decision -> split *
//!  resolv.conf and what stands in for it     /
//! ```
//! `*` is without IO. Nothing that is learned here is trusted: it says whom to ask, never whom to believe.

mod bus;
mod decide;
mod domain;
mod files;
pub mod front;
mod held;
mod inputs;
pub mod leases;
mod links;
mod network_manager;
mod records;
mod resolv_conf;
mod resolved;
mod split;
mod watch;

pub use decide::decide;
pub use domain::{Domain, DomainError};
pub use files::Places;
pub use held::{HeldLink, Keeper, Leased};
pub use inputs::{
    Decision, FileKind, FileSays, Inputs, LeftOut, LinkFacts, LinkSays, PastUs, Reason,
    ResolvedSays, Saying,
};
pub use links::links;
pub use resolv_conf::{RESOLV_CONF, SystemServerError, servers_in, system_server};
pub use split::{Elsewhere, SplitTable, Way, split};
pub use watch::{Watcher, look};

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

/// Servers of one link that are looked at; applications look at three (`resolv.conf(5)`).
pub const SERVERS_PER_LINK_MAX: usize = 8;
/// Domains of one link that are looked at.
pub const DOMAINS_PER_LINK_MAX: usize = 64;
/// Links that are looked at.
pub const LINKS_MAX: usize = 64;

/// Whom to ask on one link, and about what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkResolvers {
    /// The link; none where a file names a server without saying on which.
    pub link: Option<Link>,
    /// In the order of preference; never this program itself, and never empty.
    pub servers: Vec<SocketAddr>,
    /// Names below these are asked here, wherever everything else is asked.
    pub domains: Vec<Domain>,
    /// Those of the domains that are put behind names of one label, too.
    pub search: Vec<Domain>,
    /// Names that belong to no domain of any link may be asked here.
    pub default_route: bool,
    /// A tunnel: whoever set it up chose its resolvers, and there is no network to recognise.
    pub tunnel: bool,
    /// What DHCP said besides.
    pub dhcp: Option<Dhcp>,
    /// Where the network's portal is (RFC 8910).
    pub captive_portal: Option<String>,
    /// Who named the servers.
    pub source: Source,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its number in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
}

/// What DHCP said about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dhcp {
    /// Option 54, the server identifier (RFC 2132 §9.7).
    pub server: Option<IpAddr>,
    /// Option 15, the domain name (RFC 2132 §3.17), as it was given.
    pub domain: Option<String>,
}

/// Who named a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// systemd-resolved, over D-Bus.
    Resolved,
    /// NetworkManager, over D-Bus.
    NetworkManager,
    /// The files of systemd-networkd.
    Networkd,
    /// The records of resolvconf.
    Resolvconf,
    /// The leases of dhclient.
    Dhclient,
    /// A file in the manner of `resolv.conf`.
    ResolvConf,
}

impl Source {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolved => "systemd-resolved",
            Self::NetworkManager => "NetworkManager",
            Self::Networkd => "systemd-networkd",
            Self::Resolvconf => "resolvconf",
            Self::Dhclient => "dhclient",
            Self::ResolvConf => "resolv.conf",
        }
    }
}
