//! The search for resolvers themselves, by TLS.

use std::net::{IpAddr, SocketAddr};

use super::action::{Action, Connect, ConnectId, Step, Trust};
use super::flight::Flight;
use super::reading::{confirming_questions, confirms};
use super::site::{Direct, Phase};
use super::surroundings::Word;
use super::survey::{Attempt, Survey};
use super::why::Why;
use super::{MAX_CONNECTS, MAX_CONNECTS_PER_ADDRESS, MAX_CONNECTS_PER_NODE};
use crate::discover::{Tlsa, peer_named_by};

impl Survey {
    /// Begins the search anew, by the word of another one who vouches for the site. Where it was looked for before, who
    /// was found there is not forgotten: it may be the one of whom this one speaks.
    pub(super) fn look_anew(&mut self, site: usize) {
        let made = self.attempts.iter().enumerate();
        let made = made.filter(|(_, attempt)| attempt.site == site);
        let made = made.map(|(place, _)| ConnectId(place as u16)).collect();
        if let Some(found) = self.sites.get_mut(site) {
            found.direct = Direct {
                attempts: made,
                tried: std::mem::take(&mut found.direct.tried),
                bounded: found.direct.bounded,
                trusted: None,
                met: None,
                failure: None,
            };
        }
        self.look_for(site);
    }

    /// Connects to a site where those say that it is who vouch for it.
    pub(super) fn look_for(&mut self, site: usize) {
        let voucher = self.sites.get(site).and_then(|found| found.voucher());
        // Nobody could be recognised without.
        if voucher.is_some_and(|voucher| !voucher.tlsa.is_empty()) {
            self.connect(site);
        }
    }

    /// Whether an attempt at TLS is under way that may find the site.
    pub(super) fn is_connecting(&self, site: usize) -> bool {
        self.sites.get(site).is_some_and(|found| {
            let mut attempts = found.direct.attempts.iter();
            attempts.any(|id| {
                self.attempt(*id)
                    .is_some_and(|tried| tried.outcome.is_none())
            })
        })
    }

    /// Whether nothing more is to come of a site.
    pub(super) fn is_settled(&self, site: usize) -> bool {
        self.sites.get(site).is_none_or(|found| match found.phase {
            Phase::Unread(_) => true,
            Phase::Read => found.confirming.is_none() && !self.is_connecting(site),
            _ => false,
        }) && self
            .sites
            .get(site)
            .is_none_or(|found| found.checking.is_none())
    }

    /// An attempt came out.
    pub(super) fn on_attempt(&mut self, site: usize) {
        match self.sites.get(site).map(|found| &found.phase) {
            Some(Phase::AwaitingTls(_)) => self.on_awaited(site),
            // While its zone is read, what is held of it is of another version, or of others; it is judged by what comes.
            Some(Phase::Own(_) | Phase::Unread(_)) | None => {}
            Some(_) => self.on_own_tlsa(site),
        }
    }

    /// Trusts a connection with whom those name who vouch for the site, before its own zone was read: it is to be asked
    /// for that.
    pub(super) fn trust_by_claim(&mut self, site: usize) -> bool {
        let Some(tlsa) = self
            .sites
            .get(site)
            .and_then(|found| Some(found.voucher()?.tlsa.clone()))
        else {
            return false;
        };
        match self.find_peer(site, &tlsa) {
            Some(attempt) => {
                self.trust(site, attempt, tlsa);
                true
            }
            None => false,
        }
    }

    /// What its own zone says about its TLS keys is known: is it there?
    pub(super) fn on_own_tlsa(&mut self, site: usize) {
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        let Some(own) = &found.own else {
            return;
        };
        if site == 0 || found.direct.met.is_some() || found.confirming.is_some() {
            return;
        }
        let (tlsa, read_itself) = (own.tlsa.clone(), found.through.is_none());
        let Some(attempt) = self.find_peer(site, &tlsa) else {
            if read_itself {
                self.leave(site, "its zone names another TLS key");
            } else if !self.is_connecting(site) && !(self.connect(site)) {
                self.leave(site, "");
            }
            return;
        };
        if read_itself {
            return self.meet(site, attempt);
        }
        self.trust(site, attempt, tlsa);
        self.confirm(site);
    }

    /// Asks the site itself for what was read of it through others.
    fn confirm(&mut self, site: usize) {
        let Some(found) = self.sites.get(site) else {
            return;
        };
        let port = found.voucher().map_or(self.endpoint.port(), |by| by.port);
        let questions = confirming_questions(&found.name, port);
        let way = self.way(site);
        let flight = way.and_then(|way| self.put(site, &way, questions));
        if let Some(found) = self.sites.get_mut(site) {
            found.confirming = flight;
        }
    }

    pub(super) fn on_confirmation(&mut self, site: usize, flight: &Flight) {
        let Some(found) = self.sites.get(site) else {
            return;
        };
        let Some(own) = &found.own else {
            return;
        };
        match confirms(flight, own, &found.name, self.clock) {
            Ok(true) => {
                let passed = found.claims_passed && !own.upstreams.is_empty();
                if let Some(attempt) = found.direct.trusted {
                    self.meet(site, attempt);
                    if passed {
                        // So is what it says about its upstreams: others may have passed on what it said before.
                        self.ask_claims(site);
                    }
                }
            }
            Ok(false) => self.on_change(site),
            Err(flaw) => {
                self.leave(site, &flaw.to_string());
                if matches!(
                    self.sites.get(site).map(|found| &found.phase),
                    Some(Phase::Claims(_) | Phase::Ports(_))
                ) {
                    self.ask_claims(site);
                }
            }
        }
    }

    fn meet(&mut self, site: usize, attempt: ConnectId) {
        let Some(endpoint) = self.attempt(attempt).map(|tried| tried.address) else {
            return;
        };
        if let Some(found) = self.sites.get_mut(site) {
            found.direct.met = Some(endpoint);
            let name = found.name.clone();
            self.tell(Step::PeerProven { name, endpoint });
        }
        if is_loopback(endpoint) {
            self.on_met_on_loopback(site);
        }
    }

    /// What this site says about addresses on loopback may be followed from now on.
    fn on_met_on_loopback(&mut self, site: usize) {
        for far in 1..self.sites.len() {
            let waits = self.sites.get(far).is_some_and(|found| {
                let by_it = found.voucher().is_some_and(|by| by.near == site);
                by_it && found.direct.met.is_none() && found.direct.trusted.is_none()
            });
            if !waits {
                continue;
            }
            self.look_for(far);
            let unread = self.sites.get(far).map(|found| &found.phase);
            if matches!(unread, Some(Phase::Unread(why)) if *why != Why::Changing)
                && self.is_connecting(far)
            {
                self.read_own_zone(far);
            }
        }
    }

    /// The site is not asked itself any more.
    pub(super) fn leave(&mut self, site: usize, why: &str) {
        let tried = |direct: &Direct| match direct.tried.as_slice() {
            [] if direct.bounded => "no more handshakes are tried".to_owned(),
            [] => "no address of it can be tried".to_owned(),
            tried => {
                let tried: Vec<_> = tried.iter().map(SocketAddr::to_string).collect();
                format!("not at {}", tried.join(", "))
            }
        };
        if let Some(found) = self.sites.get_mut(site) {
            let direct = &mut found.direct;
            let why = match why {
                "" => tried(direct),
                why => why.to_owned(),
            };
            direct.failure.get_or_insert(why);
            direct.attempts.clear();
            (direct.trusted, direct.met) = (None, None);
        }
    }

    /// The attempt of this site at which the peer is one that `tlsa` names. Those with somebody else are dropped.
    fn find_peer(&mut self, site: usize, tlsa: &[Tlsa]) -> Option<ConnectId> {
        let found = self.sites.get(site)?;
        let (name, trusted) = (found.name.clone(), found.direct.trusted);
        let (mut peer, mut waiting, mut steps) = (None, Vec::new(), Vec::new());
        for id in &found.direct.attempts {
            let Some(tried) = self.attempt(*id) else {
                continue;
            };
            match &tried.outcome {
                None => waiting.push(*id),
                Some(Err(_)) => {}
                Some(Ok(shown)) => match peer_named_by(tlsa, shown, &name, self.clock) {
                    // The one that answered before, if it is still the right one.
                    Ok(_) if peer.is_none() || trusted == Some(*id) => peer = Some(*id),
                    Ok(_) => {}
                    Err(mismatch) => steps.push(Step::PeerRejected {
                        name: name.clone(),
                        endpoint: tried.address,
                        why: mismatch.to_string(),
                    }),
                },
            }
        }
        waiting.extend(peer);
        // Before its own zone was read nobody is rejected for good.
        let own = found.own.is_some();
        if own {
            for step in steps {
                self.tell(step);
            }
            if let Some(found) = self.sites.get_mut(site) {
                found.direct.attempts = waiting;
            }
        }
        peer
    }

    fn trust(&mut self, site: usize, attempt: ConnectId, tlsa: Vec<Tlsa>) {
        let Some(found) = self.sites.get_mut(site) else {
            return;
        };
        found.direct.trusted = Some(attempt);
        let name = found.name.clone();
        self.act(Action::Trust(Trust {
            attempt,
            name,
            tlsa,
        }));
    }

    /// Connects to those addresses of a site that were not tried yet. True where there is one.
    fn connect(&mut self, site: usize) -> bool {
        let Some(found) = self.sites.get(site) else {
            return false;
        };
        let port = found.voucher().map_or(self.endpoint.port(), |by| by.port);
        let (name, tried) = (found.name.clone(), found.direct.tried.clone());
        let room = MAX_CONNECTS_PER_NODE.saturating_sub(tried.len());
        let room = room.min(MAX_CONNECTS.saturating_sub(self.attempts.len()));
        let mut candidates: Vec<SocketAddr> = Vec::new();
        for (address, by) in self.addresses_of(site) {
            let endpoint = SocketAddr::new(address.to_canonical(), port);
            if self.own_addresses.may_look(address, by)
                && !tried.contains(&endpoint)
                && !candidates.contains(&endpoint)
            {
                candidates.push(endpoint);
            }
        }
        let wanted = candidates.len();
        candidates.retain(|endpoint| {
            let made = self.attempts.iter();
            let made = made.filter(|made| made.address.ip() == endpoint.ip());
            made.count() < MAX_CONNECTS_PER_ADDRESS
        });
        candidates.truncate(room);
        let bounded = candidates.len() < wanted;
        if let Some(found) = self.sites.get_mut(site) {
            found.direct.bounded |= bounded;
        }
        for endpoint in &candidates {
            // Fewer than 65536 are tried.
            let attempt = ConnectId(self.attempts.len() as u16);
            self.attempts.push(Attempt {
                site,
                address: *endpoint,
                outcome: None,
            });
            if let Some(found) = self.sites.get_mut(site) {
                found.direct.attempts.push(attempt);
                found.direct.tried.push(*endpoint);
            }
            self.tell(Step::Connecting {
                name: name.clone(),
                endpoint: *endpoint,
            });
            self.act(Action::Connect(Connect {
                attempt,
                address: *endpoint,
            }));
        }
        !candidates.is_empty()
    }

    /// All addresses that are known for a site, and by whose word: first those of whoever vouches for it.
    fn addresses_of(&self, site: usize) -> Vec<(IpAddr, Word)> {
        let Some(found) = self.sites.get(site) else {
            return Vec::new();
        };
        let claimed = found.voucher().into_iter().flat_map(|by| {
            let met = self.sites.get(by.near).and_then(|near| near.direct.met);
            let word = match met {
                Some(endpoint) if is_loopback(endpoint) => Word::OnLoopback,
                _ => Word::Elsewhere,
            };
            by.addresses.iter().map(move |address| (*address, word))
        });
        let own = found.own.iter().flat_map(|own| &own.addresses);
        claimed
            .chain(own.map(|address| (*address, Word::Elsewhere)))
            .collect()
    }

    fn attempt(&self, id: ConnectId) -> Option<&Attempt> {
        self.attempts.get(usize::from(id.0))
    }
}

fn is_loopback(endpoint: SocketAddr) -> bool {
    endpoint.ip().to_canonical().is_loopback()
}
