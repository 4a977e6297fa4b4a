//! Who vouches for whom, and whom to go on with.

use zzdot_zonegen::upstream::UpstreamId;

use super::reading::is_signed_by;
use super::site::{Edge, Phase, Site, Voucher};
use super::survey::Survey;
use super::why::{Limit, Why};
use super::{MAX_DEPTH, MAX_HOPS, MAX_NODES};

impl Survey {
    /// Goes on with the upstreams of a site that was read.
    pub(super) fn on_edges(&mut self, site: usize) {
        self.set_phase(site, Phase::Read);
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        let (depth, mut edges) = (found.depth + 1, std::mem::take(&mut found.edges));
        let hops: usize = self.sites.iter().map(|site| site.edges.len()).sum();
        let room = MAX_HOPS.saturating_sub(hops);
        let mut cut = (edges.len() > room).then_some(Limit::Hops);
        edges.truncate(room);
        let mut kept = Vec::new();
        for edge in edges {
            match self.on_edge(site, depth, &edge, &kept) {
                Ok(()) => kept.push(edge),
                Err(limit) => cut = cut.or(Some(limit)),
            }
        }
        if let Some(found) = self.sites.get_mut(site) {
            found.edges = kept;
            let cut = cut.map(|limit| Why::Limit { limit });
            found.cut = found.cut.take().or(cut);
        }
    }

    /// Takes note of who vouches for whom, and begins to read those that are met for the first time.
    fn on_edge(&mut self, near: usize, depth: u8, edge: &Edge, kept: &[Edge]) -> Result<(), Limit> {
        let known = match &edge.to {
            UpstreamId::Named(name) => self.by_name.get(name).copied(),
            UpstreamId::Unnamed(_) => None,
        };
        if known.is_none() && depth > MAX_DEPTH {
            return Err(Limit::Depth);
        }
        let unnamed = |edge: &&Edge| matches!(edge.to, UpstreamId::Unnamed(_));
        let edges = self.sites.iter().flat_map(|site| &site.edges).chain(kept);
        let nodes = self.sites.len() + edges.filter(unnamed).count();
        if known.is_none() && nodes >= MAX_NODES {
            return Err(Limit::Nodes);
        }
        let UpstreamId::Named(name) = &edge.to else {
            return Ok(());
        };
        let site = known.unwrap_or_else(|| {
            let why = match &edge.claim {
                Ok(_) => Why::Limit { limit: Limit::Time },
                Err(why) => why.clone(),
            };
            self.by_name.insert(name.clone(), self.sites.len());
            let site = Site::new(name.clone(), depth, Phase::Unread(why));
            self.sites.push(site);
            self.sites.len() - 1
        });
        if let Ok(claim) = &edge.claim
            && site != 0
        {
            let voucher = Voucher {
                near,
                keys: claim.keys.clone(),
                port: claim.port,
                addresses: claim.addresses.clone(),
                tlsa: claim.tlsa.clone(),
            };
            self.add_voucher(site, voucher);
        }
        Ok(())
    }

    /// One more vouches for a site, or one vouches anew: where it could not be read by the word of those before, it is
    /// read by this.
    fn add_voucher(&mut self, site: usize, voucher: Voucher) {
        let clock = self.clock;
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        if voucher.near == site {
            // Its own word is what is to be vouched for.
            return;
        }
        let mut held = found.vouchers.iter();
        let place = match held.position(|held| held.near == voucher.near) {
            Some(place) => place,
            None => {
                found.vouchers.push(voucher.clone());
                found.vouchers.len() - 1
            }
        };
        let Some(held) = found.vouchers.get_mut(place) else {
            return;
        };
        *held = voucher;
        let lacking = match &found.phase {
            Phase::Unread(why) => *why != Why::Changing,
            Phase::Read => matches!(found.cut, Some(Why::ClaimUnreadable { .. })),
            _ => false,
        };
        if lacking {
            found.voucher = place;
            self.look_anew(site);
            return self.read_own_zone(site);
        }
        let judged = matches!(
            found.phase,
            Phase::Claims(_) | Phase::Ports(_) | Phase::Read
        );
        // Whoever it is read by names other keys by now: so may it.
        if judged
            && place == found.voucher
            && let (Some(own), Some(voucher)) = (&found.own, found.voucher())
            && !is_signed_by(own, &voucher.keys, clock)
        {
            self.on_change(site);
        }
    }
}
