//! What follows when questions of a survey were answered.

use hickory_proto::rr::{Name, RecordType};

use super::MAX_REREADS;
use super::action::Step;
use super::claim::{claim_questions, port_question, read_claim};
use super::flight::{Flaw, Flight, Lack};
use super::reading::{Own, Reader, Root, frame_questions, place, read_own};
use super::site::{Edge, Phase, Site};
use super::survey::Survey;
use super::ways::Way;
use super::why::{Limit, Why};
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
        if let Some(flight) = found.checking.take_if(|flight| flight.serial == serial) {
            return self.on_check(site, &flight);
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
            Ok(own) if own.mixed => self.on_change(site),
            Ok(own) => self.on_own(site, own),
            Err(flaw) => {
                self.doubt(flight, &flaw);
                self.on_no_own_zone(site, flaw);
            }
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
        found.cut = own.cut();
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
            self.look_anew(site);
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
        let mut questions = frame_questions(name);
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
        let way = self.way(site);
        let passed = way.as_ref().is_some_and(|way| way.through.is_some());
        let put = way.and_then(|way| self.put(site, &way, questions));
        match (put, self.sites.get_mut(site)) {
            (Some(flight), Some(found)) => {
                found.phase = phase(flight);
                let more = matches!(found.phase, Phase::Ports(_));
                found.claims_passed = passed || (more && found.claims_passed);
            }
            _ => self.stop_at(site, &Flaw::TooFar),
        }
    }

    /// Something went wrong with a flight. Who passed it on to whomever he prefers may prefer somebody else by now: is
    /// what he says still what he said?
    fn doubt(&mut self, flight: &Flight, flaw: &Flaw) {
        let of_others = match flaw {
            Flaw::Lacking(lack, _) => lack.is_of_others(),
            Flaw::Bogus(_) | Flaw::Useless(_) => true,
            Flaw::TooFar => false,
        };
        for near in flight.preferred.iter().filter(|_| of_others) {
            let Some(found) = self.sites.get(*near) else {
                continue;
            };
            if found.checking.is_some() || !matches!(found.phase, Phase::Read) {
                continue;
            }
            let questions = frame_questions(&found.name);
            let way = self.way(*near);
            let checking = way.and_then(|way| self.put(*near, &way, questions));
            if let Some(found) = self.sites.get_mut(*near) {
                found.checking = checking;
            }
        }
    }

    fn on_check(&mut self, site: usize, flight: &Flight) {
        let Some(Site {
            name,
            own: Some(own),
            phase: Phase::Read,
            ..
        }) = self.sites.get(site)
        else {
            return;
        };
        let mut reader = Reader::new(flight, &own.keys, self.clock);
        let (version, listed) = (reader.version(place::SOA), reader.upstreams(name));
        if let (Ok(version), Ok((listed, ..))) = (version, listed)
            && (version.serial != own.version.serial || listed != own.upstreams)
        {
            self.on_change(site);
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

    pub(super) fn set_phase(&mut self, site: usize, phase: Phase) {
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
            // Who passed it on says nothing about the one that was met meanwhile.
            Err(_) if found.direct.trusted.is_some() && found.claims_passed => {
                return self.ask_claims(site);
            }
            Err(flaw) if found.direct.trusted.is_some() => {
                self.leave(site, &flaw.to_string());
                if let Some(found) = self.sites.get_mut(site) {
                    found.confirming = None;
                }
                return self.ask_claims(site);
            }
            Err(flaw) => {
                self.doubt(flight, &flaw);
                return self.stop_at(site, &flaw);
            }
        };
        let listed = match reader.upstreams(name) {
            Ok((listed, ..)) => listed,
            Err(flaw) => {
                self.doubt(flight, &flaw);
                return self.stop_at(site, &flaw);
            }
        };
        let mut changed = version.serial != own.version.serial || listed != own.upstreams;
        let (mut edges, mut first, mut ports) = (Vec::new(), place::CLAIMS, Vec::new());
        let mut lacking = None;
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
                claim: claim.map_err(|flaw| {
                    let why = flaw.claim_why();
                    lacking = Some(flaw);
                    why
                }),
            });
        }
        let cut = own.cut();
        if changed {
            return self.on_change(site);
        }
        if let Some(flaw) = lacking {
            self.doubt(flight, &flaw);
        }
        if let Some(found) = self.sites.get_mut(site) {
            (found.edges, found.cut) = (edges, cut);
        }
        if ports.is_empty() {
            self.on_edges(site);
        } else {
            self.ask_more(site, ports, Phase::Ports);
        }
    }

    fn on_ports(&mut self, site: usize, flight: &Flight) {
        let clock = self.clock;
        let (mut changed, mut lacking) = (false, None);
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
                        Ok(()) => {
                            changed |= claim.newest > own.version.inception;
                            self.ttl = self.ttl.min(claim.ttl);
                        }
                        Err(flaw) => {
                            edge.claim = Err(flaw.claim_why());
                            lacking = Some(flaw);
                        }
                    }
                }
            }
        }
        if changed {
            return self.on_change(site);
        }
        if let Some(flaw) = lacking {
            self.doubt(flight, &flaw);
        }
        self.on_edges(site);
    }

    /// What a site says is another version than before: it is read again.
    pub(super) fn on_change(&mut self, site: usize) {
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        let name = found.name.clone();
        (found.confirming, found.checking) = (None, None);
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
                Phase::Own(_) => {
                    site.phase = Phase::Unread(why);
                    site.edges.clear();
                }
                Phase::AwaitingTls(ref flaw) => {
                    site.phase = Phase::Unread(flaw.why());
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
