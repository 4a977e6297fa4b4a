//! From what was read to the chain that is told.

use std::collections::VecDeque;
use std::net::IpAddr;

use zzdot_zonegen::upstream::{Proof, ServerKind, Transport, UnnamedLabel, UpstreamId};

use super::claim::Claim;
use super::model::{Behind, Chain, Hop, Label, Node, NodeId, Reached, Who};
use super::reading::{Own, is_signed_by};
use super::site::{Edge, Phase, Site};
use super::survey::Survey;
use super::why::Why;
use super::{MAX_TTL, MAX_TTL_INCOMPLETE, MIN_TTL};

impl Survey {
    /// The chain: all that hops lead to from here, each node once, by its distance.
    pub(super) fn conclude(&self) -> Chain {
        let (client, nearest) = (NodeId(0), NodeId(1));
        let mut nodes = vec![Node::client()];
        let mut hops = vec![Hop {
            from: client,
            to: nearest,
            label: Label::Proven,
            transport: Some(Transport::Dot),
            proof: Some(Proof::Dane),
            why: Why::Met {
                address: self.endpoint,
            },
        }];
        let mut ids = vec![None; self.sites.len()];
        let mut next = VecDeque::new();
        if let (Some(site), Some(id)) = (self.sites.first(), ids.first_mut()) {
            *id = Some(nearest);
            nodes.push(self.node_of(site, &[]));
            next.push_back((nearest, site));
        }
        let mut through = vec![(nearest, None)];
        while let Some((from, site)) = next.pop_front() {
            for edge in &site.edges {
                let place = match &edge.to {
                    UpstreamId::Named(name) => self.by_name.get(name).copied(),
                    UpstreamId::Unnamed(_) => None,
                };
                let far = place.and_then(|place| self.sites.get(place));
                let seen = place.and_then(|place| *ids.get(place)?);
                let to = seen.unwrap_or(NodeId(nodes.len()));
                if seen.is_none() {
                    match (&edge.to, place, far) {
                        (UpstreamId::Unnamed(label), ..) => nodes.push(unnamed(*label)),
                        (UpstreamId::Named(_), Some(place), Some(far)) => {
                            if let Some(id) = ids.get_mut(place) {
                                *id = Some(to);
                            }
                            nodes.push(self.node_of(far, claimed_addresses(edge)));
                            next.push_back((to, far));
                            through.push((to, far.through));
                        }
                        // Each edge was looked at, and its far end taken note of.
                        (UpstreamId::Named(_), ..) => continue,
                    }
                }
                let near = nodes.get(from.0).map_or(&[][..], |near| &near.addresses);
                let hop = self.hop((from, near), to, edge, far);
                hops.push(hop);
            }
        }
        for (id, by) in through {
            let by = by.and_then(|place| *ids.get(place)?);
            if let (Some(node), Some(by)) = (nodes.get_mut(id.0), by)
                && node.reached.is_none()
                && !node.is_unread()
            {
                node.reached = Some(Reached::Through { node: by });
            }
        }
        let complete = nodes.iter().all(|node| !node.is_unread());
        // What could not be read now may well be readable soon.
        let most = if complete {
            MAX_TTL
        } else {
            MAX_TTL_INCOMPLETE
        };
        let ends = (1..nodes.len()).map(NodeId);
        let ends = ends.filter(|id| hops.iter().all(|hop| hop.from != *id));
        Chain {
            ends: ends.collect(),
            complete,
            ttl: self.ttl.clamp(MIN_TTL, most),
            nearest,
            nodes,
            hops,
        }
    }
}

impl Survey {
    fn node_of(&self, site: &Site, claimed: &[IpAddr]) -> Node {
        let behind = match (&site.phase, &site.own) {
            (Phase::Read, Some(own)) => behind(site, own),
            (Phase::Unread(why), _) => Behind::Unknown { why: why.clone() },
            _ => Behind::Unknown { why: Why::Changing },
        };
        let own = match &site.phase {
            Phase::Read => site.own.as_ref(),
            _ => None,
        };
        let met = site.direct.met.filter(|_| own.is_some());
        let addresses = own.map_or(claimed, |own| &own.addresses);
        Node {
            who: Who::Named {
                name: site.name.clone(),
            },
            server_type: own.map_or(ServerKind::Unknown, |own| own.server_type),
            addresses: addresses.to_vec(),
            tlsa: own.map_or_else(Vec::new, |own| own.tlsa.clone()),
            reached: met.map(|address| Reached::Direct { address }),
            behind,
        }
    }

    /// `near` are the addresses of who asks.
    fn hop(
        &self,
        (from, near): (NodeId, &[IpAddr]),
        to: NodeId,
        edge: &Edge,
        far: Option<&Site>,
    ) -> Hop {
        let (label, why) = match &edge.claim {
            Err(why) => (Label::Opaque, why.clone()),
            Ok(claim) if claim.transport == Transport::Plain => {
                (Label::Cleartext, plain(near, &claim.addresses))
            }
            Ok(claim) => match far {
                Some(far) => self.judge(claim, far),
                None if !Edge::is_authenticated(claim) => (Label::Claimed, Why::NotAuthenticated),
                None => (Label::Claimed, Why::NoName),
            },
        };
        let claim = edge.claim.as_ref().ok();
        Hop {
            from,
            to,
            label,
            transport: claim.map(|claim| claim.transport),
            proof: claim.map(|claim| claim.proof.clone()),
            why,
        }
    }

    /// What to make of an encrypted hop to a resolver that has a name.
    fn judge(&self, claim: &Claim, far: &Site) -> (Label, Why) {
        let own = match (&far.phase, &far.own) {
            (Phase::Unread(why @ Why::NotRead { .. }), _) => return (Label::Claimed, why.clone()),
            (Phase::Unread(why), _) => return (Label::Opaque, why.clone()),
            (_, None) => return (Label::Opaque, Why::Changing),
            (_, Some(own)) => own,
        };
        if let Some(why) = self.contradiction(claim, far, own) {
            return (Label::Opaque, why);
        }
        if !Edge::is_authenticated(claim) {
            return (Label::Claimed, Why::NotAuthenticated);
        }
        match far.direct.met {
            Some(address) => (Label::Proven, Why::Met { address }),
            None => {
                let detail = far.direct.failure.clone();
                let detail = detail.unwrap_or_else(|| "no address of it can be tried".to_owned());
                (Label::Claimed, Why::NotMet { detail })
            }
        }
    }

    /// The first thing in which the two ends of a hop contradict each other, or the far one itself.
    fn contradiction(&self, claim: &Claim, far: &Site, own: &Own) -> Option<Why> {
        if !is_signed_by(own, &claim.keys, self.clock) {
            return Some(Why::OtherKey);
        }
        if !matches!(claim.server_type, ServerKind::Unknown) && claim.server_type != own.server_type
        {
            return Some(Why::OtherServerType {
                claimed: claim.server_type,
                published: own.server_type,
            });
        }
        if own.server_type == ServerKind::Resolver && !own.upstreams.is_empty() {
            return Some(Why::AsksAfterAll);
        }
        let apart = |claimed: &[IpAddr], own: &[IpAddr]| {
            !claimed.is_empty() && !own.is_empty() && !claimed.iter().any(|it| own.contains(it))
        };
        if apart(&claim.addresses, &own.addresses) {
            return Some(Why::OtherAddresses);
        }
        // What it publishes for one port says nothing about another.
        let port = far.voucher().map_or(self.endpoint.port(), |by| by.port);
        let same_port = port == claim.port;
        if same_port && !claim.tlsa.is_empty() && !claim.tlsa.iter().any(|it| own.tlsa.contains(it))
        {
            return Some(Why::OtherTlsa);
        }
        None
    }
}

/// How far cleartext goes from somebody at the addresses `near` to the addresses `far`, by his word about both.
fn plain(near: &[IpAddr], far: &[IpAddr]) -> Why {
    let within = |it: &IpAddr| it.is_loopback() || near.contains(it);
    match !far.is_empty() && far.iter().all(within) {
        true => Why::SaysPlainWithin,
        false => Why::SaysPlain,
    }
}

/// What is known of whom a site asks whose zone was read.
fn behind(site: &Site, own: &Own) -> Behind {
    let unknown = |why| Behind::Unknown { why };
    if let Some(why) = &site.cut {
        return unknown(why.clone());
    }
    if own.odd {
        let detail = format!(
            "upstreams.{}: one of them is neither a resolver nor an address",
            site.name
        );
        return unknown(Why::ZoneUnreadable { detail });
    }
    match (own.upstreams.is_empty(), own.server_type) {
        (false, _) => Behind::Forwards,
        (true, ServerKind::Resolver) => Behind::Resolves,
        (true, ServerKind::Forwarder | ServerKind::Unknown) => unknown(Why::NamesNobody),
    }
}

/// An upstream without a name, which says nothing about itself.
fn unnamed(label: UnnamedLabel) -> Node {
    Node {
        who: Who::from(label),
        server_type: ServerKind::Unknown,
        addresses: vec![label.address().ip()],
        tlsa: Vec::new(),
        reached: None,
        behind: Behind::Unknown {
            why: Why::SaysNothing,
        },
    }
}

fn claimed_addresses(edge: &Edge) -> &[IpAddr] {
    match &edge.claim {
        Ok(claim) => &claim.addresses,
        Err(_) => &[],
    }
}
