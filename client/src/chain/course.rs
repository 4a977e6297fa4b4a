//! What follows when questions of a survey were answered.

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::owners::upstreams_owner;
use zzdot_zonegen::upstream::UpstreamId;

use super::action::Step;
use super::claim::{claim_questions, port_question, read_claim};
use super::flight::{Flaw, Flight, Lack};
use super::reading::{Own, Reader, Root, place, read_own};
use super::site::{Direct, Edge, Phase, Site, Voucher};
use super::survey::{Survey, Way};
use super::why::{Limit, Why};
use super::{MAX_DEPTH, MAX_HOPS, MAX_NODES, MAX_REREADS};
use crate::discover::DOT_PORT;
use crate::validate::BogusReason;

impl Survey {
    /// All of a flight is back.
    pub(super) fn on_flight(&mut self, site: usize, serial: u32) {
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        if found
            .confirming
            .as_ref()
            .is_some_and(|flight| flight.serial == serial)
        {
            if let Some(flight) = found.confirming.take() {
                self.on_confirmation(site, &flight);
            }
            return;
        }
        if found.flight(serial).is_none() {
            return;
        }
        let meanwhile = Phase::Unread(Why::Limit { limit: Limit::Time });
        match std::mem::replace(&mut found.phase, meanwhile) {
            Phase::Own(flight) => self.on_own_zone(site, &flight),
            Phase::Claims(flight) => self.on_claims(site, &flight),
            Phase::Ports(flight) => self.on_ports(site, &flight),
            phase @ (Phase::AwaitingTls(_) | Phase::Read | Phase::Unread(_)) => found.phase = phase,
        }
    }

    /// Asks a site for its own zone, or waits until it is met, or gives it up.
    pub(super) fn ask_own_zone(&mut self, site: usize, questions: Vec<(Name, RecordType)>) {
        let way = self.way(site);
        let put = way.and_then(|way| Some((self.put(site, &way, questions)?, way)));
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        match put {
            Some((flight, Way { through, .. })) => {
                found.phase = Phase::Own(flight);
                found.through = through;
            }
            None => self.on_no_own_zone(site, Flaw::TooFar),
        }
    }

    fn on_own_zone(&mut self, site: usize, flight: &Flight) {
        let Some(found) = self.sites.get(site) else {
            return;
        };
        let root = match found.voucher() {
            Some(voucher) => Root::Vouched(&voucher.keys),
            None => Root::Anchor(&self.anchor),
        };
        match read_own(flight, &found.name, &root, self.clock) {
            Ok(own) => self.on_own(site, own),
            Err(flaw) => self.on_no_own_zone(site, flaw),
        }
    }

    fn on_own(&mut self, site: usize, own: Own) {
        self.ttl = self.ttl.min(own.ttl);
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        let step = Step::Read {
            name: found.name.clone(),
            serial: own.version.serial,
            upstreams: own.upstreams.len(),
        };
        found.edges.clear();
        let limit = Limit::Upstreams;
        found.cut = own.too_many.then_some(Why::Limit { limit });
        found.confirming = None;
        found.own = Some(own);
        self.tell(step);
        self.on_own_tlsa(site);
        self.ask_claims(site);
    }

    /// Its own zone cannot be read this way: is there another?
    fn on_no_own_zone(&mut self, site: usize, flaw: Flaw) {
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        if found.direct.trusted.is_some() {
            // It answers no more, or says what it did not sign. Perhaps those say more who ask it.
            self.leave(site, &flaw.to_string());
            return self.read_own_zone(site);
        }
        if self.trust_by_claim(site) {
            return self.read_own_zone(site);
        }
        let waiting = self.is_connecting(site);
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        if waiting {
            found.phase = Phase::AwaitingTls(flaw);
        } else if found.voucher + 1 < found.vouchers.len() {
            found.voucher += 1;
            found.direct = Direct::default();
            self.look_for(site);
            self.read_own_zone(site);
        } else {
            let why = flaw.why();
            let name = found.name.clone();
            found.phase = Phase::Unread(why.clone());
            self.tell(Step::NotRead { name, why });
        }
    }

    /// TLS with a site that nobody passes questions on to came out.
    pub(super) fn on_awaited(&mut self, site: usize) {
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        let meanwhile = Phase::Unread(Why::Limit { limit: Limit::Time });
        match std::mem::replace(&mut found.phase, meanwhile) {
            Phase::AwaitingTls(flaw) => self.on_no_own_zone(site, flaw),
            phase => found.phase = phase,
        }
    }

    pub(super) fn ask_claims(&mut self, site: usize) {
        let Some(Site {
            name,
            own: Some(own),
            ..
        }) = self.sites.get(site)
        else {
            return;
        };
        if own.upstreams.is_empty() {
            return self.set_phase(site, Phase::Read);
        }
        // The version once more: what it said before was of the same one. And the list once more: answers overtake each
        // other, so that the one that came may be older than the version that came with it.
        let mut questions = vec![
            (name.as_name().clone(), RecordType::SOA),
            (upstreams_owner(name), RecordType::PTR),
        ];
        for upstream in &own.upstreams {
            questions.extend(claim_questions(name, upstream));
        }
        self.ask_more(site, questions, Phase::Claims);
    }

    fn ask_more(
        &mut self,
        site: usize,
        questions: Vec<(Name, RecordType)>,
        phase: impl FnOnce(Flight) -> Phase,
    ) {
        let put = self
            .way(site)
            .and_then(|way| self.put(site, &way, questions));
        match put {
            Some(flight) => self.set_phase(site, phase(flight)),
            None => self.stop_at(site, &Flaw::TooFar),
        }
    }

    /// What a site says about itself was read, what it says about its upstreams cannot be.
    fn stop_at(&mut self, site: usize, flaw: &Flaw) {
        let why = flaw.claim_why();
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        found.phase = Phase::Read;
        found.cut = Some(why.clone());
        found.edges.clear();
        let name = found.name.clone();
        self.tell(Step::NotRead { name, why });
    }

    fn set_phase(&mut self, site: usize, phase: Phase) {
        if let Some(found) = self.sites.get_mut(site) {
            found.phase = phase;
        }
    }

    fn on_claims(&mut self, site: usize, flight: &Flight) {
        let Some(found) = self.sites.get(site) else {
            return;
        };
        let (name, Some(own)) = (&found.name, &found.own) else {
            return;
        };
        let clock = self.clock;
        let mut reader = Reader::new(flight, &own.keys, clock);
        let version = match reader.version(place::SOA) {
            Ok(version) => version,
            Err(flaw) if found.direct.trusted.is_some() => {
                self.leave(site, &flaw.to_string());
                if let Some(found) = self.sites.get_mut(site) {
                    found.confirming = None;
                }
                return self.ask_claims(site);
            }
            Err(flaw) => return self.stop_at(site, &flaw),
        };
        let listed = match reader.upstreams(name) {
            Ok((listed, ..)) => listed,
            Err(flaw) => return self.stop_at(site, &flaw),
        };
        let mut changed = version.serial != own.version.serial || listed != own.upstreams;
        let (mut edges, mut first, mut ports) = (Vec::new(), place::CLAIMS, Vec::new());
        for to in &own.upstreams {
            let claim = read_claim(flight, first, to, &own.keys, clock);
            first += claim_questions(name, to).len();
            if let Ok(claim) = &claim {
                // No record of a version is signed after its SOA is.
                changed |= claim.newest > version.inception;
                self.ttl = self.ttl.min(claim.ttl);
                if claim.port != DOT_PORT {
                    ports.push(port_question(name, to, claim.port));
                }
            }
            edges.push(Edge {
                to: to.clone(),
                claim: claim.map_err(|flaw| flaw.claim_why()),
            });
        }
        if changed {
            return self.on_change(site);
        }
        if let Some(found) = self.sites.get_mut(site) {
            found.edges = edges;
        }
        if ports.is_empty() {
            self.on_edges(site);
        } else {
            self.ask_more(site, ports, Phase::Ports);
        }
    }

    fn on_ports(&mut self, site: usize, flight: &Flight) {
        let clock = self.clock;
        if let Some(Site {
            own: Some(own),
            edges,
            ..
        }) = self.sites.get_mut(site)
        {
            let mut place = 0;
            for edge in edges {
                if let Ok(claim) = &mut edge.claim
                    && claim.port != DOT_PORT
                {
                    let taken = claim.take_port(flight, place, &own.keys, clock);
                    place += 1;
                    match taken {
                        Ok(()) => self.ttl = self.ttl.min(claim.ttl),
                        Err(flaw) => edge.claim = Err(flaw.claim_why()),
                    }
                }
            }
        }
        self.on_edges(site);
    }

    /// What a site says is another version than before: it is read again.
    pub(super) fn on_change(&mut self, site: usize) {
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        let name = found.name.clone();
        found.confirming = None;
        found.edges.clear();
        if site != 0 {
            // Perhaps it names another key by now.
            found.direct.met = None;
        }
        if found.rereads >= MAX_REREADS {
            let why = Why::Changing;
            found.phase = Phase::Unread(why.clone());
            return self.tell(Step::NotRead { name, why });
        }
        found.rereads += 1;
        self.tell(Step::Changed { name });
        self.read_own_zone(site);
    }

    /// Goes on with the upstreams of a site that was read.
    fn on_edges(&mut self, site: usize) {
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

    /// One more vouches for a site: where it could not be read by the word of those before, it is read by this.
    fn add_voucher(&mut self, site: usize, voucher: Voucher) {
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        if found.vouchers.iter().any(|held| held.near == voucher.near) {
            return;
        }
        found.vouchers.push(voucher);
        let unread = matches!(&found.phase, Phase::Unread(why) if *why != Why::Changing);
        if unread {
            found.voucher = found.vouchers.len() - 1;
            found.direct = Direct::default();
            self.look_for(site);
            self.read_own_zone(site);
        }
    }

    /// What is not over by now is over.
    pub(super) fn give_up(&mut self) {
        for site in &mut self.sites {
            let why = Why::Limit { limit: Limit::Time };
            match site.phase {
                Phase::Read | Phase::Unread(_) => {}
                Phase::Claims(_) | Phase::Ports(_) => {
                    site.phase = Phase::Read;
                    site.edges.clear();
                    site.cut = Some(why);
                }
                Phase::Own(_) | Phase::AwaitingTls(_) => {
                    site.phase = Phase::Unread(why);
                    site.edges.clear();
                }
            }
            if site.direct.met.is_none() {
                let late = || "no answer in time".to_owned();
                site.direct.failure.get_or_insert_with(late);
            }
        }
    }
}

impl Flaw {
    /// Why a zone cannot be read.
    pub(super) fn why(&self) -> Why {
        match self {
            Self::TooFar => Why::Limit {
                limit: Limit::NameLength,
            },
            Self::Lacking(Lack::Questions, _) => Why::Limit {
                limit: Limit::Questions,
            },
            Self::Lacking(Lack::Octets, _) => Why::Limit {
                limit: Limit::Octets,
            },
            Self::Lacking(..) => Why::NotRead {
                detail: self.to_string(),
            },
            Self::Bogus(bogus) if bogus.reason == BogusReason::NotSignedByAnchor => Why::OtherKey,
            Self::Bogus(_) | Self::Useless(_) => Why::ZoneUnreadable {
                detail: self.to_string(),
            },
        }
    }

    /// Why it cannot be read what is said about an upstream.
    fn claim_why(&self) -> Why {
        match self.why() {
            limit @ Why::Limit { .. } => limit,
            _ => Why::ClaimUnreadable {
                detail: self.to_string(),
            },
        }
    }
}
