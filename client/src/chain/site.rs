//! A resolver as far as it is surveyed.

use std::net::{IpAddr, SocketAddr};

use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::upstream::{Proof, Transport, UpstreamId};

use super::action::ConnectId;
use super::claim::Claim;
use super::flight::{Flaw, Flight};
use super::reading::Own;
use super::why::Why;
use crate::discover::Tlsa;
use crate::validate::ZoneKey;

/// A resolver with a name. Each is there once, however many ways lead to it.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: ResolverName,
    /// Hops between this computer and it, on the way by which it was found.
    pub(super) depth: u8,
    /// Those who vouch for it, in the order in which they were read; none for the nearest.
    pub(super) vouchers: Vec<Voucher>,
    /// By whose word it is read now.
    pub(super) voucher: usize,
    pub(super) phase: Phase,
    /// What is asked once more, of itself.
    pub(super) confirming: Option<Flight>,
    /// What is asked once more, since questions that it passed on went wrong.
    pub(super) checking: Option<Flight>,
    pub(super) direct: Direct,
    pub(super) own: Option<Own>,
    /// By whom what was read of it last was passed on; none where it came from itself.
    pub(super) through: Option<usize>,
    /// Whether what it says about its upstreams was passed on by others.
    pub(super) claims_passed: bool,
    pub(super) rereads: u8,
    pub(super) edges: Vec<Edge>,
    /// Why there may be more edges.
    pub(super) cut: Option<Why>,
}

/// Who vouches for a resolver, and with what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Voucher {
    /// The place of that one among the sites.
    pub(super) near: usize,
    pub(super) keys: Vec<ZoneKey>,
    pub(super) port: u16,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) tlsa: Vec<Tlsa>,
}

/// How far the reading of a site is.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its own zone is asked for.
    Own(Flight),
    /// Nobody passes on questions to it: it can be read only if it is met.
    AwaitingTls(Flaw),
    /// What it says about its upstreams is asked for.
    Claims(Flight),
    /// The same, about services on other ports; the edges are read but for that.
    Ports(Flight),
    /// All was read that it says.
    Read,
    /// It is not known what it says.
    Unread(Why),
}

/// One upstream of a site.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) to: UpstreamId,
    pub(super) claim: Result<Claim, Why>,
}

/// The search for a site itself, by TLS.
#[derive(Debug, Default)]
pub(super) struct Direct {
    /// Those that may have found it, by what is held of it now.
    pub(super) attempts: Vec<ConnectId>,
    /// Where it was looked for, whoever said that it is there.
    pub(super) tried: Vec<SocketAddr>,
    /// Whether there was an address more than may be tried.
    pub(super) bounded: bool,
    /// The connection that questions may go over.
    pub(super) trusted: Option<ConnectId>,
    /// Where it was met, once what it says there is what was read.
    pub(super) met: Option<SocketAddr>,
    /// Why it was not.
    pub(super) failure: Option<String>,
}

impl Site {
    pub(super) fn new(name: ResolverName, depth: u8, phase: Phase) -> Self {
        Self {
            name,
            depth,
            vouchers: Vec::new(),
            voucher: 0,
            phase,
            confirming: None,
            checking: None,
            direct: Direct::default(),
            own: None,
            through: None,
            claims_passed: false,
            rereads: 0,
            edges: Vec::new(),
            cut: None,
        }
    }

    pub(super) fn voucher(&self) -> Option<&Voucher> {
        self.vouchers.get(self.voucher)
    }

    /// The flight with this number, if it is still waited for.
    pub(super) fn flight(&mut self, serial: u32) -> Option<&mut Flight> {
        let reading = match &mut self.phase {
            Phase::Own(flight) | Phase::Claims(flight) | Phase::Ports(flight) => Some(flight),
            Phase::AwaitingTls(_) | Phase::Read | Phase::Unread(_) => None,
        };
        let others = self.confirming.iter_mut().chain(&mut self.checking);
        let mut flights = reading.into_iter().chain(others);
        flights.find(|flight| flight.serial == serial)
    }

    /// Octets of answers that it holds.
    pub(super) fn octets(&self) -> usize {
        let reading = match &self.phase {
            Phase::Own(flight) | Phase::Claims(flight) | Phase::Ports(flight) => flight.octets(),
            Phase::AwaitingTls(_) | Phase::Read | Phase::Unread(_) => 0,
        };
        let others = self.confirming.iter().chain(&self.checking);
        reading + others.map(Flight::octets).sum::<usize>()
    }
}

impl Edge {
    /// Whether the way is hidden from those who listen, by the word of the near end.
    pub(super) fn is_authenticated(claim: &Claim) -> bool {
        claim.transport.is_encrypted()
            && claim.transport != Transport::Opportunistic
            && claim.proof != Proof::None
    }
}
