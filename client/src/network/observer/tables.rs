//! The kernel's tables, as far as they matter here; bounded, whatever the kernel has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Wireless;
use crate::network::netlink::{AddressRow, Event, LinkRow, RouteRow};
use crate::network::{MacAddress, Medium};

const LINKS_MAX: usize = 1024;
const ADDRESSES_MAX: usize = 4096;
const ROUTES_MAX: usize = 256;
const NEIGHBOURS_MAX: usize = 4096;
/// Links below one another that are followed: more are a loop, or nothing that anybody set up on purpose.
const DEPTH_MAX: u32 = 8;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_POINT_TO_POINT: u32 = 0x10;
const IFF_RUNNING: u32 = 0x40;
const IFF_NOARP: u32 = 0x80;
const ARPHRD_ETHER: u16 = 1;
/// Modems without Ethernet headers.
const ARPHRD_RAWIP: u16 = 519;

/// A link with what can be read off it.
pub(super) type Row = LinkRow;

impl LinkRow {
    /// Something can pass.
    pub(super) fn is_up(&self) -> bool {
        self.flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING
    }

    /// There are hardware addresses on it.
    pub(super) fn has_neighbours(&self) -> bool {
        self.hardware == ARPHRD_ETHER && self.flags & (IFF_POINT_TO_POINT | IFF_NOARP) == 0
    }
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    links: BTreeMap<u32, LinkRow>,
    addresses: BTreeSet<AddressRow>,
    routes: BTreeSet<RouteRow>,
    neighbours: BTreeMap<(u32, IpAddr), MacAddress>,
    portals: BTreeMap<u32, String>,
}

impl Tables {
    pub(super) fn begin_afresh(&mut self) {
        // What routers advertise is said when it comes, and not again for the asking.
        let portals = std::mem::take(&mut self.portals);
        *self = Self {
            portals,
            ..Self::default()
        };
    }

    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Link(row) => {
                if self.links.len() < LINKS_MAX || self.links.contains_key(&row.index) {
                    self.links.insert(row.index, row);
                }
            }
            Event::LinkGone(index) => {
                self.links.remove(&index);
                self.addresses.retain(|row| row.index != index);
                self.routes.retain(|row| row.index != index);
                self.forget_what_was_heard(index);
            }
            Event::Address(row) => {
                self.forget_address(row);
                if !row.tentative && self.addresses.len() < ADDRESSES_MAX {
                    self.addresses.insert(row);
                }
            }
            Event::AddressGone(row) => self.forget_address(row),
            Event::Default(rows) => {
                let room = ROUTES_MAX.saturating_sub(self.routes.len());
                self.routes.extend(rows.into_iter().take(room));
            }
            Event::DefaultGone(rows) => {
                for row in rows {
                    self.routes.remove(&row);
                }
            }
            Event::Neighbour(row) => {
                let key = (row.index, row.address);
                // An entry that the kernel drops because nobody asked lately is still true; somebody else who answers
                // for the address shows up with his own.
                if let Some(mac) = row.mac {
                    self.make_room_for_neighbour(key);
                    self.neighbours.insert(key, mac);
                }
            }
            Event::Portal(index, page) => {
                if self.portals.len() < LINKS_MAX || self.portals.contains_key(&index) {
                    self.portals.insert(index, page);
                }
            }
        }
    }

    /// What others on the link said, who may be others when it is up again.
    pub(super) fn forget_what_was_heard(&mut self, index: u32) {
        self.neighbours.retain(|(on, _), _| *on != index);
        self.portals.remove(&index);
    }

    /// The page that a router on the link names (RFC 8910).
    pub(super) fn portal(&self, index: u32) -> Option<String> {
        self.portals.get(&index).cloned()
    }

    fn forget_address(&mut self, gone: AddressRow) {
        self.addresses
            .retain(|row| (row.index, row.address) != (gone.index, gone.address));
    }

    /// Routers stay, whatever else a crowded network has.
    fn make_room_for_neighbour(&mut self, key: (u32, IpAddr)) {
        if self.neighbours.len() < NEIGHBOURS_MAX || self.neighbours.contains_key(&key) {
            return;
        }
        let is_router = |(index, address): &(u32, IpAddr)| {
            let hop = |row: &RouteRow| row.index == *index && row.gateway == Some(*address);
            self.routes.iter().any(hop)
        };
        let someone = self.neighbours.keys().find(|key| !is_router(key)).copied();
        if let Some(someone) = someone {
            self.neighbours.remove(&someone);
        }
    }

    pub(super) fn indices(&self) -> BTreeSet<u32> {
        self.links.keys().copied().collect()
    }

    pub(super) fn link(&self, index: u32) -> Option<&LinkRow> {
        self.links.get(&index)
    }

    /// The addresses of a link; those of the link alone only tell that it is up.
    pub(super) fn addresses(&self, index: u32) -> Vec<AddressRow> {
        let of_link = |row: &&AddressRow| row.index == index;
        let usable = |row: &&AddressRow| !super::is_link_local(row.address);
        let rows = self.addresses.iter().filter(of_link).filter(usable);
        rows.copied().collect()
    }

    pub(super) fn link_of_address(&self, address: IpAddr) -> Option<u32> {
        let row = self.addresses.iter().find(|row| row.address == address)?;
        Some(row.index)
    }

    pub(super) fn neighbour(&self, index: u32, address: IpAddr) -> Option<MacAddress> {
        self.neighbours.get(&(index, address)).copied()
    }

    /// The next hops of the default routes over this link, best first; those of IPv4 before those of IPv6.
    pub(super) fn gateways(&self, index: u32) -> Vec<IpAddr> {
        let mut rows: Vec<&RouteRow> = self
            .routes
            .iter()
            .filter(|row| row.index == index)
            .collect();
        rows.sort_by_key(|row| (row.v6, row.metric, row.gateway));
        let mut gateways: Vec<IpAddr> = rows.into_iter().filter_map(|row| row.gateway).collect();
        let mut seen = BTreeSet::new();
        gateways.retain(|gateway| seen.insert(*gateway));
        gateways
    }

    /// What the link is made of; none where it leads to no network outside of this machine by itself: tunnels, bridges
    /// for guests, ports of something else, and what nobody here knows.
    pub(super) fn medium(&self, index: u32, wireless: &BTreeMap<u32, Wireless>) -> Option<Medium> {
        let row = self.links.get(&index)?;
        if row.master.is_some() {
            // Whatever it is a port of has the addresses.
            return None;
        }
        self.substance(row, wireless, DEPTH_MAX)
    }

    fn substance(
        &self,
        row: &LinkRow,
        wireless: &BTreeMap<u32, Wireless>,
        depth: u32,
    ) -> Option<Medium> {
        let deeper = depth.checked_sub(1)?;
        if row.flags & IFF_LOOPBACK != 0 {
            return None;
        }
        if wireless.contains_key(&row.index) {
            return Some(Medium::Wireless);
        }
        match row.kind.as_deref() {
            None if row.hardware == ARPHRD_ETHER => Some(Medium::Wired),
            None if row.hardware == ARPHRD_RAWIP => Some(Medium::Mobile),
            None => None,
            Some("wwan" | "rmnet") => Some(Medium::Mobile),
            // In a container the end of the pair is all the network there is. On the machine that holds the container
            // the other end is a port, or has no router behind it.
            Some("veth" | "netkit") => Some(Medium::Wired),
            // The other end is out there, in the namespace that holds the real one.
            Some("macvlan" | "ipvlan" | "macvtap" | "ipvtap") if row.reaches_out => {
                Some(Medium::Wired)
            }
            Some("vlan" | "macvlan" | "ipvlan" | "macsec") => {
                let below = self.links.get(&row.below?)?;
                self.substance(below, wireless, deeper)
            }
            // As real as its ports. One for guests has none that is.
            Some("bridge" | "bond" | "team") => self
                .links
                .values()
                .filter(|port| {
                    port.master == Some(row.index) && port.kind.as_deref() != Some("veth")
                })
                .find_map(|port| self.substance(port, wireless, deeper)),
            Some(_) => None,
        }
    }
}
