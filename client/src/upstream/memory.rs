//! What an upstream reads in the store, and what it writes there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_blocking;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::discovery::{CONNECT_AHEAD, Discovery};
use super::now;
use crate::discover::{Refusal, Verdict};
use crate::place::Surroundings;
use crate::session::{Acquaintance, Lesson};
use crate::store::{Pending, Store, StoreError, WhyPending};
use crate::trust::{AnchorEvent, KnownIdentity};
use crate::walker::Walked;

/// How soon another stranger is looked at, and the same one again. Each look is a walk in cleartext.
const STRANGER_PAUSE: Duration = Duration::from_secs(60);
const SAME_STRANGER_PAUSE: Duration = Duration::from_secs(3600);

impl Discovery {
    pub(super) fn surroundings(&self) -> Surroundings {
        self.lock().surroundings.clone()
    }

    /// Whom the store expects here.
    fn expected(&self) -> Option<KnownIdentity> {
        let (place, server) = {
            let inner = self.lock();
            (inner.surroundings.place, inner.session.server())
        };
        self.store.expected_behind(place, server)
    }

    /// Whether the store expects somebody here. If so, so does the session.
    pub(super) async fn is_bound(&self) -> bool {
        if self.expected().is_none() {
            return false;
        }
        let _turn = self.store.turn().await;
        let bound = self.expected();
        let is_bound = bound.is_some();
        if let Some(identity) = bound {
            self.lock().session.bind(identity);
        }
        is_bound
    }

    pub(super) async fn end_walk(&self, walked: Walked) {
        let Walked { verdict, met } = walked;
        let server = self.server();
        tell(server, &verdict);
        let found = match &verdict {
            Verdict::Upgraded(found) => Some(found.clone()),
            _ => None,
        };
        let judged = found
            .as_ref()
            .map(|found| (found.endpoint, found.name.clone(), found.tlsa.clone()));
        let upgraded = {
            let _turn = self.store.turn().await;
            let acquaintance = match verdict.name() {
                Some(name) => Acquaintance {
                    known: self.store.identity(name),
                    enrolled: self.store.enrolled(name),
                },
                None => Acquaintance::default(),
            };
            let bound = self.expected();
            let lesson = {
                let session = &mut self.lock().session;
                if let Some(identity) = bound {
                    session.bind(identity);
                }
                session.end_walk(now(), verdict, acquaintance)
            };
            let upgraded = self.heed(lesson).await;
            if upgraded {
                self.lock().keep_found(found);
            }
            if let (Some(judged), Some(met)) = (judged, met) {
                self.continue_on(&judged, met);
            }
            upgraded
        };
        self.tell_standing();
        self.walks.send_modify(|walks| *walks += 1);
        if upgraded && let Some(pool) = self.pool() {
            // For the first question to come; how it went is told when somebody asks.
            let _ = pool.connect(now() + CONNECT_AHEAD).await;
        }
    }

    /// Writes down what a walk taught; whether there is somebody to ask now.
    async fn heed(&self, lesson: Lesson) -> bool {
        match lesson {
            Lesson::Nothing => false,
            Lesson::Remember(identity, events) => {
                tell_of_keys(&identity.name, &events);
                self.learn(*identity).await;
                true
            }
            Lesson::Ask(identity) => {
                self.put_before_a_person(*identity, WhyPending::FirstUse)
                    .await;
                false
            }
            Lesson::Revoke(name) => {
                tracing::error!(%name, "the resolver revoked its identity: it is never used again");
                let revoke = move |store: &Store| store.revoke(&name).map(drop);
                // Where it cannot be written down, the session knows it as long as it lives, and the next one finds out.
                let _ = self.write("that an identity is revoked", revoke).await;
                false
            }
        }
    }

    /// Latches, durably, before the first question is asked of the identity.
    async fn learn(&self, identity: KnownIdentity) {
        let known = identity.clone();
        let (surroundings, server) = (self.surroundings(), self.server());
        let outcome = self
            .write("what was learned", move |store| {
                store.remember(&surroundings, server, known)
            })
            .await;
        self.gate.open_for_good();
        let session = &mut self.lock().session;
        session.learn(now(), UnixTime::now(), identity, outcome);
    }

    async fn put_before_a_person(&self, identity: KnownIdentity, why: WhyPending) {
        let name = identity.name.clone();
        let pending = Pending {
            identity,
            surroundings: self.surroundings(),
            server: self.server(),
            since: UnixTime::now(),
            why,
        };
        tracing::warn!(%name, why = pending.why.name(), "a person has to decide about a resolver");
        let _ = self
            .write("who waits for a decision", move |store| {
                store.set_pending(pending).map(drop)
            })
            .await;
    }

    /// The resolver that is expected here proved itself. Where there is doubt about the surroundings, a person is told
    /// what differs.
    pub(super) async fn confirm(&self) {
        if !self.unconfirmed.swap(false, Ordering::Relaxed) {
            return;
        }
        let (surroundings, server, identity, endpoint) = {
            let inner = self.lock();
            let Some(identity) = inner.session.identity().cloned() else {
                return;
            };
            let endpoint = inner.pool.as_ref().map(|((address, ..), _)| *address);
            (
                inner.surroundings.clone(),
                inner.session.server(),
                identity,
                endpoint,
            )
        };
        if let Some(differs) = surroundings.doubt.clone() {
            let why = WhyPending::Changed { differs };
            return self.put_before_a_person(identity, why).await;
        }
        let endpoint = endpoint.unwrap_or(identity.endpoint);
        let _ = self
            .write("that the network is confirmed", move |store| {
                store
                    .confirm(&surroundings, server, endpoint, UnixTime::now())
                    .map(drop)
            })
            .await;
    }

    /// Who it is that a walk met in the place of whom is expected, if that is worth a look.
    pub(super) fn stranger_in(&self, verdict: &Verdict) -> Option<ResolverName> {
        let Verdict::Refused {
            refusal: Refusal::NameChanged { told, .. },
        } = verdict
        else {
            return None;
        };
        let mut looked_at = self
            .stranger
            .lock()
            .unwrap_or_else(|lock| lock.into_inner());
        if let Some((when, who)) = &*looked_at {
            let pause = if who == told {
                SAME_STRANGER_PAUSE
            } else {
                STRANGER_PAUSE
            };
            if now().saturating_duration_since(*when) < pause {
                return None;
            }
        }
        *looked_at = Some((now(), told.clone()));
        Some(told.clone())
    }

    /// A walk that expected nobody ended: if the stranger is what it says that it is, a person can decide between it and
    /// whom is expected. Nothing else comes of it.
    pub(super) async fn meet_stranger(&self, verdict: Verdict) {
        let Verdict::Upgraded(found) = verdict else {
            return;
        };
        let expected = self.lock().session.identity().map(|it| it.name.clone());
        let Some(expected) = expected.filter(|expected| *expected != found.name) else {
            return;
        };
        let identity = match self.store.identity(&found.name) {
            None => KnownIdentity::first_met(&found),
            Some(known) => match known.met_again(&found) {
                Ok(identity) => identity,
                Err(_) => return,
            },
        };
        self.put_before_a_person(identity, WhyPending::Mismatch { expected })
            .await;
    }

    /// Forgets an identity; false when it is not known.
    pub(super) async fn forget(&self, name: &ResolverName) -> Result<bool, StoreError> {
        // A walk that ends now is remembered before, or counts for nothing after.
        let _turn = self.store.turn().await;
        let known = self.store.forget(name)?;
        let mut inner = self.lock();
        let is_ours = |ours: &KnownIdentity| ours.name == *name;
        if inner.session.identity().is_some_and(is_ours) {
            inner.session.forget();
            inner.pool = None;
            inner.found = None;
            self.legacy.start_over();
        }
        drop(inner);
        self.chains.start_over();
        self.tell_standing();
        Ok(known)
    }

    /// The store changed: the session expects whom it expects.
    pub(super) async fn reread(&self) {
        let _turn = self.store.turn().await;
        let expected = self.expected();
        let mut inner = self.lock();
        let before = inner.session.identity().map(|it| it.name.clone());
        let vouched = |name: &ResolverName| {
            self.store.enrolled(name).is_some() || self.store.identity(name).is_some()
        };
        if expected.is_none() && inner.session.undecided().is_some_and(vouched) {
            inner.session.forget();
        }
        inner.session.rebind(expected);
        if inner.session.identity().map(|it| &it.name) != before.as_ref() {
            inner.pool = None;
            inner.found = None;
            self.legacy.start_over();
            self.chains.start_over();
        }
        drop(inner);
        self.chains.on_decision(|name| self.may_be_asked(name));
    }

    /// Writes to the store on a thread that may wait for the disk.
    async fn write(
        &self,
        what: &str,
        write: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), String> {
        let store = Arc::clone(&self.store);
        let written = spawn_blocking(move || write(&store)).await;
        let outcome = match written {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "{what} is not remembered");
        }
        outcome
    }
}

/// A roll-over as people can follow it. That nobody said that keys would change may be worth a question to who runs it.
fn tell_of_keys(name: &ResolverName, events: &[AnchorEvent]) {
    for event in events {
        if event.is_remarkable() {
            tracing::warn!(%name, "trust anchor: {event}");
        } else {
            tracing::info!(%name, "trust anchor: {event}");
        }
    }
}

fn tell(server: SocketAddr, verdict: &Verdict) {
    match verdict {
        Verdict::Upgraded(discovered) => tracing::info!(
            %server, name = %discovered.name, endpoint = %discovered.endpoint,
            "the server is upgraded: private from now on"
        ),
        Verdict::Legacy { reason, .. } => {
            let cure = reason.cure();
            tracing::warn!(%server, cure, "the server is not upgraded: {reason}");
        }
        Verdict::Refused { refusal } => tracing::error!(
            %server, reason = refusal.name(), cure = refusal.cure(), "refused: {refusal}"
        ),
        Verdict::NoAnswer => tracing::warn!(%server, "the server does not answer"),
    }
}
