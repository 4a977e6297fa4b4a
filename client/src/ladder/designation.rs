//! Which encrypted resolvers a server designates: Discovery of Designated Resolvers (RFC 9462).
//!
//! The answer comes in cleartext from whoever sent it. What makes a designation good is the certificate, issued for the
//! address of the server that designates (§4.2); or, for addresses that nobody can certify, that it leads nowhere but to
//! the very same address (§4.3). Only DNS over TLS is of use here.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::{Name, RecordType};

use crate::wire::{self, Section, Svcb, SvcbError, View, WireError};

/// The most designations that are tried.
pub const MAX_DESIGNATIONS: usize = 4;
/// The most addresses of one.
const MAX_ADDRESSES: usize = 4;
/// The most records of an answer that are looked at.
const MAX_RECORDS: usize = 64;

const DOT_PORT: u16 = 853;
const CLASS_IN: u16 = 1;
const NXDOMAIN: u16 = 3;
/// How long a designation holds: no shorter, so that nobody is asked for each question; no longer, so that a resolver
/// that moved is found.
const TTL_SECS: std::ops::RangeInclusive<u32> = 60..=86_400;

/// A resolver that speaks DNS over TLS, as a server designates it. Not proven yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Designation {
    /// The lowest is preferred.
    pub priority: u16,
    /// Its name, for SNI.
    pub target: Name,
    /// Where it is: at least one address, the server's own first.
    pub endpoints: Vec<SocketAddr>,
    /// Seconds for which the designation holds.
    pub ttl: u32,
}

/// Why a server designates nobody who is of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDesignated {
    /// It says that there is none.
    #[error("the server designates no encrypted resolver")]
    None,
    /// It does not want to say.
    #[error("the server answers questions about designated resolvers with code {0}")]
    Code(u16),
    /// The message is broken.
    #[error("the answer about designated resolvers cannot be read: {0}")]
    Unreadable(#[from] WireError),
    /// A record is broken, which spoils the others too (RFC 9460 §2.2).
    #[error("the answer about designated resolvers is broken: {0}")]
    Malformed(#[from] SvcbError),
    /// Those designated do not speak DNS over TLS, or demand what is unknown here.
    #[error("none of the resolvers that the server designates speaks DNS over TLS")]
    OtherProtocols,
    /// Their addresses lead to this computer, to many, to nobody or, from outside, into a private network.
    #[error("the server designates resolvers at addresses that may not be used")]
    Addresses,
}

/// `_dns.resolver.arpa`.
fn owner() -> Name {
    let labels = [&b"_dns"[..], b"resolver", b"arpa"];
    Name::from_labels(labels).expect("three short labels make a name")
}

/// The question that the server is asked, in cleartext: it tells no more than that this program is there.
#[must_use]
pub fn question(id: u16) -> Vec<u8> {
    let flags = wire::QuestionFlags {
        rd: true,
        ..Default::default()
    };
    let edns = wire::Edns::plain(false);
    wire::question(id, &owner(), RecordType::SVCB, flags, Some(&edns))
}

/// The resolvers that `answer` designates, best first, for a server at `server`.
///
/// # Errors
/// [`NotDesignated`] when there is none of use.
pub fn designations(answer: &[u8], server: IpAddr) -> Result<Vec<Designation>, NotDesignated> {
    let view = View::parse(answer)?;
    view.check()?;
    match view.rcode() {
        0 => {}
        NXDOMAIN => return Err(NotDesignated::None),
        code => return Err(NotDesignated::Code(code)),
    }
    let owner = owner();
    let records: Vec<_> = view.records().take(MAX_RECORDS).collect::<Result<_, _>>()?;
    let of = |section: Section, rtype: RecordType| {
        records.iter().filter(move |record| {
            record.section == section
                && record.class == CLASS_IN
                && record.rtype == u16::from(rtype)
        })
    };
    let (mut met, mut speak, mut found) = (false, false, Vec::new());
    for record in of(Section::Answer, RecordType::SVCB) {
        if record.owner.to_name() != owner {
            continue;
        }
        met = true;
        let svcb = Svcb::read(record.data())?;
        let target = svcb.target.to_name();
        // AliasMode is not followed. "." and "resolver.arpa" must not be told (RFC 9462 §4).
        let usable = svcb.priority != 0
            && !svcb.demands_unknown
            && svcb.offers(b"dot")
            && !target.is_root()
            && target != owner.base_name();
        if !usable {
            continue;
        }
        speak = true;
        let glue = of(Section::Additional, RecordType::A)
            .chain(of(Section::Additional, RecordType::AAAA))
            .filter(|record| record.owner.to_name() == target)
            .filter_map(|record| address(record.data()));
        let mut endpoints = Vec::new();
        let port = svcb.port.unwrap_or(DOT_PORT);
        let mut told: Vec<IpAddr> = glue.chain(svcb.hints()).collect();
        if told.is_empty() {
            // Whoever designates without addresses most often means itself; and a certificate has to be for that
            // address anyhow. The name is not looked up: that would be two more questions in cleartext.
            told.push(server);
        }
        for address in told {
            let endpoint = SocketAddr::new(address.to_canonical(), port);
            if may_try(endpoint, server) && !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        // The server's own address first: nobody else has to be believed for it.
        endpoints.sort_by_key(|endpoint| endpoint.ip() != server.to_canonical());
        endpoints.truncate(MAX_ADDRESSES);
        if !endpoints.is_empty() {
            found.push(Designation {
                priority: svcb.priority,
                target,
                endpoints,
                ttl: record.ttl.clamp(*TTL_SECS.start(), *TTL_SECS.end()),
            });
        }
    }
    if found.is_empty() {
        return Err(match (met, speak) {
            (false, _) => NotDesignated::None,
            (true, false) => NotDesignated::OtherProtocols,
            (true, true) => NotDesignated::Addresses,
        });
    }
    found.sort_by_key(|designation| designation.priority);
    found.truncate(MAX_DESIGNATIONS);
    Ok(found)
}

/// Whether no public authority can say whose an address is, so that a certificate for it proves nothing (RFC 9462 §4.3).
#[must_use]
pub fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            // RFC 6598: shared by the customers of a provider.
            let shared = first == 100 && (64..128).contains(&second);
            shared || v4.is_private() || v4.is_loopback() || v4.is_link_local()
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Whether an address that the server told may be connected to: its own, or a public one where its own is public too.
/// A server must not be able to point this program at its computer, at many, or at another's private network.
fn may_try(endpoint: SocketAddr, server: IpAddr) -> bool {
    let (address, server) = (endpoint.ip(), server.to_canonical());
    let nobody = address.is_unspecified()
        || address.is_multicast()
        || matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets().first() == Some(&0));
    let elsewhere = !is_local(server) && !is_local(address);
    endpoint.port() != 0 && !nobody && (address == server || elsewhere)
}

fn address(data: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(data) {
        return Some(IpAddr::V4(v4.into()));
    }
    let v6 = <[u8; 16]>::try_from(data).ok()?;
    Some(IpAddr::V6(v6.into()))
}

#[cfg(test)]
mod tests;
