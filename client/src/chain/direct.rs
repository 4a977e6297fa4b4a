//! The search for resolvers themselves, by TLS.

use std::net::SocketAddr;

use super::action::{Action, Connect, ConnectId, Step, Trust};
use super::flight::Flight;
use super::reading::{confirming_questions, confirms};
use super::site::{Direct, Phase};
use super::survey::{Attempt, Survey};
use super::{MAX_CONNECTS, MAX_CONNECTS_PER_NODE};
use crate::discover::{Tlsa, may_try, peer_named_by};

impl Survey {
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
        })
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
                if let Some(attempt) = found.direct.trusted {
                    self.meet(site, attempt);
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
    }

    /// The site is not asked itself any more.
    pub(super) fn leave(&mut self, site: usize, why: &str) {
        let tried = |direct: &Direct| match direct.tried.as_slice() {
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
        let name = found.name.clone();
        let (mut peer, mut waiting, mut steps) = (None, Vec::new(), Vec::new());
        for id in &found.direct.attempts {
            let Some(tried) = self.attempt(*id) else {
                continue;
            };
            match &tried.outcome {
                None => waiting.push(*id),
                Some(Err(_)) => {}
                Some(Ok(shown)) => match peer_named_by(tlsa, shown, &name, self.clock) {
                    Ok(_) if peer.is_none() => {
                        peer = Some(*id);
                        waiting.push(*id);
                    }
                    Ok(_) => {}
                    Err(mismatch) => steps.push(Step::PeerRejected {
                        name: name.clone(),
                        endpoint: tried.address,
                        why: mismatch.to_string(),
                    }),
                },
            }
        }
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
        let candidates = self.addresses_of(site).into_iter();
        let candidates = candidates
            .filter(|address| may_try(*address, self.server))
            .map(|address| SocketAddr::new(address, port))
            .filter(|endpoint| !tried.contains(endpoint));
        let candidates: Vec<SocketAddr> = candidates.take(room).collect();
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

    fn attempt(&self, id: ConnectId) -> Option<&Attempt> {
        self.attempts.get(usize::from(id.0))
    }
}
