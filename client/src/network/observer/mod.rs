//! What there is on this machine, as the kernel tells it bit by bit, and the links that lead to a network.
//!
//! Events are swallowed as they come; who wants to know asks with [`Observer::views`]. Nothing here waits: a link counts
//! as settled the moment the kernel knows its router, and a timer is only there for what may never come.

mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::netlink::Told;
use super::{Gateway, LinkView, Security};
use tables::Tables;

/// How long a second router, or the name of the wireless network, is waited for when a first router is known; and a
/// first one, before the resolver itself is looked for as a neighbour.
const GRACE: Duration = Duration::from_millis(1000);
/// Nothing more is expected of a link when it has told nothing new for so long.
const QUIET: Duration = Duration::from_millis(1000);
/// A cable that is back this soon is in the same socket.
const FLAP: Duration = Duration::from_secs(10);

/// What the host's network manager says about a link, as far as it is a signal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The name servers.
    pub resolvers: Vec<SocketAddr>,
    /// The names that belong to them.
    pub domains: Vec<String>,
    /// The DHCP server.
    pub dhcp_server: Option<IpAddr>,
    /// The domain that came with the lease.
    pub dhcp_domain: Option<String>,
    /// RFC 8910.
    pub captive_portal: Option<String>,
}

/// The wireless network that a link is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wireless {
    /// Its name; none while there is no connection.
    pub ssid: Option<Vec<u8>>,
    /// Its protection, where it is known.
    pub security: Option<Security>,
}

/// A link that leads to a network, and how sure that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// What it shows.
    pub view: LinkView,
    /// Another number, another time: the link was down in between, or in another wireless network.
    pub epoch: u64,
    /// Nothing new was seen for a while. Until then a network is not called new.
    pub quiet: bool,
    /// Neighbours whose hardware address somebody has to provoke.
    pub unknown: Vec<IpAddr>,
}

/// The state of the machine.
#[derive(Debug, Default)]
pub struct Observer {
    tables: Tables,
    /// While everything is told anew, what was known before; it decides which links stayed up.
    whole: bool,
    given: BTreeMap<u32, Given>,
    wireless: BTreeMap<u32, Wireless>,
    lives: BTreeMap<u32, Life>,
    epochs: u64,
}

/// What has become of a link over time.
#[derive(Debug)]
struct Life {
    epoch: u64,
    up_since: Instant,
    down_since: Option<Instant>,
    ssid: Option<Vec<u8>>,
    shown: Option<LinkView>,
    changed_at: Instant,
    /// Enough was known once; what shows up later unsettles nothing.
    settled: bool,
}

impl Observer {
    /// Takes in what the kernel says.
    pub fn told(&mut self, now: Instant, told: Told) {
        match told {
            Told::Afresh => {
                self.whole = false;
                self.tables.begin_afresh();
            }
            Told::Event(event) => {
                self.tables.apply(event);
                self.live(now);
            }
            Told::Whole => {
                self.whole = true;
                self.live(now);
            }
        }
    }

    /// Takes in what the host's network manager says, by link.
    pub fn give(&mut self, given: BTreeMap<u32, Given>) {
        self.given = given;
    }

    /// Takes in which links are wireless, and where they are.
    pub fn tune(&mut self, now: Instant, wireless: BTreeMap<u32, Wireless>) {
        self.wireless = wireless;
        self.live(now);
    }

    /// Whether everything was told at least once, and nothing was lost since. Meanwhile links only seem to be gone.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The link that has this address.
    #[must_use]
    pub fn link_of_address(&self, address: IpAddr) -> Option<u32> {
        self.tables.link_of_address(address)
    }

    /// Whether the link is one that leads to a network outside, of whichever kind; false for tunnels and the like.
    #[must_use]
    pub fn is_physical(&self, index: u32) -> bool {
        self.tables.medium(index, &self.wireless).is_some()
    }

    /// The links that lead to a network now.
    pub fn views(&mut self, now: Instant) -> Vec<Sight> {
        let indices: Vec<u32> = self.lives.keys().copied().collect();
        let sights = indices
            .into_iter()
            .filter_map(|index| self.sight(now, index));
        sights.collect()
    }

    /// When to ask again although nothing was told.
    #[must_use]
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let lives = self.lives.values().filter(|life| life.down_since.is_none());
        lives
            .flat_map(|life| [life.up_since + GRACE, life.changed_at + QUIET])
            .filter(|at| *at > now)
            .min()
    }

    fn sight(&mut self, now: Instant, index: u32) -> Option<Sight> {
        let given = self.given.get(&index).cloned().unwrap_or_default();
        let medium = self.tables.medium(index, &self.wireless)?;
        let life = self.lives.get_mut(&index)?;
        if life.down_since.is_some() {
            return None;
        }
        let link = self.tables.link(index)?;
        let addresses = self.tables.addresses(index);
        let waited = now.saturating_duration_since(life.up_since) >= GRACE;

        let mut hops: Vec<IpAddr> = self.tables.gateways(index);
        if hops.is_empty() && waited {
            // No way out: then the resolver itself is the neighbour to know.
            let on_link =
                |address: &IpAddr| addresses.iter().any(|row| row.on_link.contains(address));
            let servers = given
                .resolvers
                .iter()
                .map(|server| server.ip().to_canonical());
            hops = servers.filter(on_link).collect();
        }
        let gateways: Vec<Gateway> = hops
            .iter()
            .map(|address| Gateway {
                address: *address,
                mac: self.tables.neighbour(index, *address),
            })
            .collect();
        let unknown: Vec<IpAddr> = gateways
            .iter()
            .filter(|gateway| gateway.mac.is_none())
            .map(|gateway| gateway.address)
            .collect();
        let wireless = self.wireless.get(&index);
        let ssid = wireless.and_then(|wireless| wireless.ssid.clone());

        let neighbours = if link.has_neighbours() {
            let one = gateways.iter().any(|gateway| gateway.mac.is_some());
            unknown.is_empty() && !gateways.is_empty()
                || (waited || life.settled) && one
                // Nobody on the link to be known by.
                || waited && gateways.is_empty()
        } else {
            true
        };
        let tuned = wireless.is_none() || ssid.is_some() || waited;
        let settled = self.whole
            && !addresses.is_empty()
            && !given.resolvers.is_empty()
            && neighbours
            && tuned;
        life.settled |= settled;
        let prefixes: BTreeSet<_> = addresses
            .iter()
            .map(|row| row.on_link.trunc())
            .filter(|prefix| !is_link_local(prefix.addr()))
            .collect();
        let view = LinkView {
            index,
            name: link.name.clone(),
            medium,
            gateways,
            prefixes: prefixes.into_iter().collect(),
            dhcp_server: given.dhcp_server,
            dhcp_domain: given.dhcp_domain,
            // DHCP is asked for; what is advertised comes by itself.
            captive_portal: given.captive_portal.or_else(|| self.tables.portal(index)),
            ssid,
            security: wireless.and_then(|wireless| wireless.security),
            resolvers: given.resolvers,
            domains: given.domains,
            settled,
        };
        if life.shown.as_ref() != Some(&view) {
            life.shown = Some(view.clone());
            life.changed_at = now;
        }
        Some(Sight {
            view,
            epoch: life.epoch,
            quiet: now.saturating_duration_since(life.changed_at) >= QUIET,
            unknown: if link.has_neighbours() {
                unknown
            } else {
                Vec::new()
            },
        })
    }

    /// Keeps account of which links are up, and since when.
    fn live(&mut self, now: Instant) {
        if !self.whole {
            // Half told: what is missing is not gone yet.
            return;
        }
        let known: BTreeSet<u32> = self.tables.indices();
        self.lives.retain(|index, _| known.contains(index));
        for index in known {
            let up = self.tables.link(index).is_some_and(tables::Row::is_up)
                && self.tables.medium(index, &self.wireless).is_some();
            let wireless = self.wireless.get(&index);
            let ssid = wireless.and_then(|wireless| wireless.ssid.clone());
            match self.lives.get_mut(&index) {
                None if up => {
                    self.epochs += 1;
                    let life = Life {
                        epoch: self.epochs,
                        up_since: now,
                        down_since: None,
                        ssid,
                        shown: None,
                        changed_at: now,
                        settled: false,
                    };
                    self.lives.insert(index, life);
                }
                None => {}
                Some(life) => {
                    let elsewhere = ssid.is_some() && life.ssid.is_some() && ssid != life.ssid;
                    let back = up && life.down_since.is_some();
                    let for_long = life
                        .down_since
                        .is_some_and(|since| now.saturating_duration_since(since) >= FLAP);
                    if elsewhere || back && (for_long || wireless.is_some()) {
                        self.epochs += 1;
                        life.epoch = self.epochs;
                    }
                    if elsewhere || back {
                        life.up_since = now;
                        life.changed_at = now;
                        life.shown = None;
                        life.settled = false;
                    }
                    if ssid.is_some() {
                        life.ssid = ssid;
                    }
                    if up {
                        life.down_since = None;
                    } else if life.down_since.is_none() {
                        life.down_since = Some(now);
                        // Whoever answers for an address after this has to show it anew.
                        self.tables.forget_what_was_heard(index);
                    }
                }
            }
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
