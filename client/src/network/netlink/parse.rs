//! What the kernel says on a netlink socket, read without trusting its shape.
//!
//! Only the attributes that matter here are looked at, each by itself: a newer kernel, which says more or says it longer,
//! costs no message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::advertised;
use crate::network::MacAddress;

const HEADER_BYTES: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWNDUSEROPT: u16 = 68;

/// The dump was not consistent, since something changed meanwhile.
const NLM_F_DUMP_INTR: u16 = 16;

const AF_BRIDGE: u8 = 7;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_TENTATIVE: u32 = 0x40;

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
const RT_TABLE_MAIN: u32 = 254;
/// Next hops of one route that are looked at.
const NEXT_HOPS_MAX: usize = 16;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// States in which the kernel sends to the hardware address that it has: permanent, probe, delay, stale, reachable.
const NUD_VALID: u16 = 0x80 | 0x10 | 0x08 | 0x04 | 0x02;

/// Something that the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// About what there is on this machine.
    Event(Event),
    /// The dump of this number is over. What was said is whole unless `interrupted`.
    DumpEnds {
        /// The number of the request.
        sequence: u32,
        /// It has to be asked for again.
        interrupted: bool,
    },
    /// The request of this number was refused.
    Refused {
        /// The number of the request.
        sequence: u32,
        /// The error's number, positive.
        errno: i32,
    },
    /// Messages were lost.
    Overrun,
}

/// Something is as described from now on, or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link.
    Link(LinkRow),
    /// The link of this number is gone.
    LinkGone(u32),
    /// An address.
    Address(AddressRow),
    /// That address is gone.
    AddressGone(AddressRow),
    /// Next hops of a default route.
    Default(Vec<RouteRow>),
    /// Those next hops are gone.
    DefaultGone(Vec<RouteRow>),
    /// A neighbour; without its hardware address where nobody answers for it.
    Neighbour(NeighbourRow),
    /// A router on the link of this number names a page for those who have to log in (RFC 8910 §2.3).
    Portal(u32, String),
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRow {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `ARPHRD_*`: what its hardware addresses are.
    pub hardware: u16,
    /// `IFF_*`.
    pub flags: u32,
    /// Its kind, where it is made of software.
    pub kind: Option<String>,
    /// The link below it, unless that is in another namespace.
    pub below: Option<u32>,
    /// What it is a port of.
    pub master: Option<u32>,
    /// Its other end is in another namespace.
    pub reaches_out: bool,
}

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRow {
    /// The link's number.
    pub index: u32,
    /// The address itself.
    pub address: IpAddr,
    /// What is on the link: differs from the address where there is a peer.
    pub on_link: IpNet,
    /// It is still being checked whether somebody else has it.
    pub tentative: bool,
}

/// A next hop of a default route in the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteRow {
    /// The link's number.
    pub index: u32,
    /// The gateway; none where the link itself leads there.
    pub gateway: Option<IpAddr>,
    /// The lower, the sooner it is used.
    pub metric: u32,
    /// Whether it is for IPv6.
    pub v6: bool,
}

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourRow {
    /// The link's number.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: Option<MacAddress>,
}

/// What the messages of one datagram say, as far as it matters here. Ends where the datagram is no sequence of messages.
pub fn read(datagram: &[u8]) -> impl Iterator<Item = Said> + '_ {
    Messages(datagram).filter_map(|message| message.said())
}

/// A message: its header and what is in it.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// The messages of a datagram.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let whole = self.0.get(..length)?;
        let message = Message {
            kind: u16_at(whole, 4)?,
            flags: u16_at(whole, 6)?,
            sequence: u32_at(whole, 8)?,
            body: whole.get(HEADER_BYTES..)?,
        };
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(message)
    }
}

impl Message<'_> {
    /// How a request ended, if that is what it says.
    pub(super) fn outcome(&self) -> Option<Said> {
        let sequence = self.sequence;
        match self.kind {
            NLMSG_DONE => Some(Said::DumpEnds {
                sequence,
                interrupted: self.flags & NLM_F_DUMP_INTR != 0,
            }),
            NLMSG_ERROR => match u32_at(self.body, 0)?.cast_signed() {
                // An acknowledgement.
                0 => None,
                errno => Some(Said::Refused {
                    sequence,
                    errno: errno.saturating_neg(),
                }),
            },
            NLMSG_OVERRUN => Some(Said::Overrun),
            _ => None,
        }
    }

    fn said(&self) -> Option<Said> {
        let body = self.body;
        let event = match self.kind {
            RTM_NEWLINK => Event::Link(link(body)?),
            // A bridge that loses a port says so in the same words as a link that is gone.
            RTM_DELLINK if body.first() != Some(&AF_BRIDGE) => Event::LinkGone(u32_at(body, 4)?),
            RTM_NEWADDR => Event::Address(address(body)?),
            RTM_DELADDR => Event::AddressGone(address(body)?),
            RTM_NEWROUTE => Event::Default(default_route(body)?),
            RTM_DELROUTE => Event::DefaultGone(default_route(body)?),
            RTM_NEWNEIGH => Event::Neighbour(neighbour(body)?),
            RTM_DELNEIGH => Event::Neighbour(NeighbourRow {
                mac: None,
                ..neighbour(body)?
            }),
            RTM_NEWNDUSEROPT => {
                let (index, page) = advertised::portal(body)?;
                Event::Portal(index, page)
            }
            _ => return self.outcome(),
        };
        Some(Said::Event(event))
    }
}

fn link(body: &[u8]) -> Option<LinkRow> {
    // A bridge's view of its ports is not the link's own.
    if *body.first()? == AF_BRIDGE {
        return None;
    }
    let mut row = LinkRow {
        index: u32_at(body, 4)?,
        name: String::new(),
        hardware: u16_at(body, 2)?,
        flags: u32_at(body, 8)?,
        kind: None,
        below: None,
        master: None,
        reaches_out: false,
    };
    for (kind, value) in Attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => row.name = text(value),
            IFLA_LINK => row.below = u32_at(value, 0),
            IFLA_MASTER => row.master = u32_at(value, 0),
            IFLA_LINK_NETNSID => row.reaches_out = true,
            IFLA_LINKINFO => {
                let mut inner = Attributes(value);
                row.kind =
                    inner.find_map(|(kind, value)| (kind == IFLA_INFO_KIND).then(|| text(value)));
            }
            _ => {}
        }
    }
    if row.reaches_out {
        // The number is of that other namespace.
        row.below = None;
    }
    Some(row)
}

fn address(body: &[u8]) -> Option<AddressRow> {
    let family = *body.first()?;
    let (mut address, mut local) = (None, None);
    let mut flags = u32::from(*body.get(2)?);
    for (kind, value) in Attributes(body.get(8..)?) {
        match kind {
            IFA_ADDRESS => address = ip(family, value),
            IFA_LOCAL => local = ip(family, value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    let on_link = address.or(local)?;
    Some(AddressRow {
        index: u32_at(body, 4)?,
        address: local.unwrap_or(on_link),
        on_link: IpNet::new(on_link, *body.get(1)?).ok()?,
        tentative: flags & IFA_F_TENTATIVE != 0,
    })
}

/// None for every other route: there may be a million of them.
fn default_route(body: &[u8]) -> Option<Vec<RouteRow>> {
    let [family, destination_bits, _, _, table, _, _, kind, ..] = *body else {
        return None;
    };
    if destination_bits != 0 || kind != RTN_UNICAST || !matches!(family, AF_INET | AF_INET6) {
        return None;
    }
    let (mut index, mut gateway, mut metric) = (None, None, 0);
    let (mut table, mut hops) = (u32::from(table), Vec::new());
    for (kind, value) in Attributes(body.get(12..)?) {
        match kind {
            RTA_OIF => index = u32_at(value, 0),
            RTA_GATEWAY => gateway = ip(family, value),
            RTA_VIA => gateway = via(value),
            RTA_PRIORITY => metric = u32_at(value, 0)?,
            RTA_TABLE => table = u32_at(value, 0)?,
            RTA_MULTIPATH => hops = next_hops(family, value),
            _ => {}
        }
    }
    if table != RT_TABLE_MAIN {
        return None;
    }
    hops.extend(index.map(|index| (index, gateway)));
    let row = |(index, gateway)| RouteRow {
        index,
        gateway,
        metric,
        v6: family == AF_INET6,
    };
    Some(hops.into_iter().map(row).collect())
}

fn next_hops(family: u8, mut bytes: &[u8]) -> Vec<(u32, Option<IpAddr>)> {
    let mut hops = Vec::new();
    // struct rtnexthop: length, flags, hops, index; then attributes.
    while hops.len() < NEXT_HOPS_MAX
        && let (Some(length), Some(index)) = (u16_at(bytes, 0), u32_at(bytes, 4))
        && let Some(attributes) = bytes.get(8..usize::from(length))
    {
        let gateway = Attributes(attributes).find_map(|(kind, value)| match kind {
            RTA_GATEWAY => ip(family, value),
            RTA_VIA => via(value),
            _ => None,
        });
        hops.push((index, gateway));
        bytes = bytes.get(aligned(length.into())..).unwrap_or_default();
    }
    hops
}

/// A gateway of the other family (RFC 5549): the family, and the address.
fn via(value: &[u8]) -> Option<IpAddr> {
    let family = u16_at(value, 0)?;
    ip(u8::try_from(family).ok()?, value.get(2..)?)
}

fn neighbour(body: &[u8]) -> Option<NeighbourRow> {
    let family = *body.first()?;
    let state = u16_at(body, 8)?;
    let (mut address, mut mac) = (None, None);
    for (kind, value) in Attributes(body.get(12..)?) {
        match kind {
            NDA_DST => address = ip(family, value),
            NDA_LLADDR => mac = value.try_into().ok().map(MacAddress),
            _ => {}
        }
    }
    Some(NeighbourRow {
        index: u32_at(body, 4)?,
        address: address?,
        mac: mac.filter(|_| state & NUD_VALID != 0),
    })
}

/// Attributes: kind without its flags, and value. Ends where the octets are no sequence of attributes.
#[derive(Clone)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & 0x3fff;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    let value = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(value)
            .ok()
            .map(Ipv4Addr::from)
            .map(IpAddr::V4),
        AF_INET6 => <[u8; 16]>::try_from(value)
            .ok()
            .map(Ipv6Addr::from)
            .map(IpAddr::V6),
        _ => None,
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
