//! Surveys that an upstream makes, for its questions and for people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::upstream::{Proof, Transport};

use super::super::discovery::{Allowed, CONNECT_AHEAD, Discovery};
use super::super::walk::wait_for_walk;
use super::super::{Kind, Upstream, now};
use super::decision::{self, Ticket};
use super::ends::EndPool;
use super::{Way, link};
use crate::chain::draw::{Circumstances, Trace};
use crate::chain::driver::{Surveyed, survey};
use crate::chain::{Chain, Nearest, SURVEY_TIMEOUT, Why};
use crate::config::{LegacyPolicy, RoutePolicy};
use crate::dot::DotPool;
use crate::ladder::Rung;
use crate::session::{Failure, Route, State};
use crate::trust::TrustState;

/// How long a person waits: for a connection, and for a survey that others began and one more.
const PATIENCE: Duration = Duration::from_secs(28);
/// For how long what is told of a server holds that says nothing about itself, in seconds.
const SILENT_TTL: u32 = 60;

/// Why there is no chain to be told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Untraceable {
    /// Nobody is asked now.
    #[error("nothing is asked now: {}", .0.ede().1)]
    Down(Box<Failure>),
    /// It is not known yet who the server is, or what it offers.
    #[error("it is not known yet who the server is")]
    Unknown,
    /// A survey could not begin, or took too long.
    #[error("nobody could look at the chain: {0}")]
    Failed(String),
}

impl Upstream {
    /// Where a question goes whose session allows TLS with the nearest, which `pool` leads to. Begins a survey where one
    /// is due.
    pub(in crate::upstream) fn way(
        self: &Arc<Self>,
        discovery: &Discovery,
        pool: &Arc<DotPool>,
    ) -> Way {
        let chains = &discovery.chains;
        {
            let mut routing = chains.routing();
            if routing.policy() == RoutePolicy::Nearest {
                return Way::Nearest;
            }
            routing.on_question(now());
        }
        // Before the look, so that no survey's end is missed.
        let ended = chains.surveys.subscribe();
        self.survey_if_due(discovery, pool);
        let routing = chains.routing();
        match routing.way(link(pool), now(), UnixTime::now()) {
            decision::Way::Nearest => Way::Nearest,
            decision::Way::End => match chains.current_end().filter(EndPool::works) {
                Some(end) => Way::End(end),
                None => Way::Nearest,
            },
            decision::Way::AfterSurvey(why) => Way::AfterSurvey(ended, why),
            decision::Way::Fail(failure) => Way::Fail(failure),
        }
    }

    /// Begins a survey if one is due.
    pub(in crate::upstream) fn survey_if_due(
        self: &Arc<Self>,
        discovery: &Discovery,
        pool: &Arc<DotPool>,
    ) {
        let due = discovery
            .chains
            .routing()
            .wants_survey(link(pool), now(), UnixTime::now());
        if due {
            self.begin_survey(discovery);
        }
    }

    /// Begins a survey, unless one is under way or ended this very moment.
    fn begin_survey(self: &Arc<Self>, discovery: &Discovery) {
        let Some((nearest, pool)) = discovery.nearest() else {
            return;
        };
        let ticket = {
            let mut routing = discovery.chains.routing();
            if self.is_retired() || !routing.may_begin(now()) {
                return;
            }
            routing.begin(link(&pool), now(), UnixTime::now())
        };
        let upstream = Arc::clone(self);
        self.spawn(async move {
            let outcome = match pool.connect(now() + CONNECT_AHEAD).await {
                Err(error) => Err(error),
                Ok(()) => {
                    let name = nearest.name.clone();
                    let told = |step: &_| tracing::debug!(%name, "{step}");
                    Ok(survey(nearest, Arc::clone(&pool), SURVEY_TIMEOUT, told).await)
                }
            };
            if let Kind::Discovered(discovery) = &upstream.kind {
                let outcome = outcome.map_err(|error| {
                    let failure = discovery.lock().session.explain(&error);
                    failure.ede().1
                });
                upstream.end_survey(discovery, ticket, &pool, outcome);
            }
        });
    }

    fn end_survey(
        self: &Arc<Self>,
        discovery: &Discovery,
        ticket: Ticket,
        pool: &DotPool,
        outcome: Result<Surveyed, String>,
    ) {
        let chains = &discovery.chains;
        let server = discovery.server();
        let (outcome, met) = match outcome {
            Ok(Surveyed { chain, met }) => {
                match chain.fault() {
                    None => tracing::debug!(%server, "the chain is encrypted to the end"),
                    Some(fault) => tracing::debug!(%server, "{fault}"),
                }
                (Ok((link(pool), chain)), met)
            }
            Err(error) => {
                tracing::debug!(%server, error, "no survey");
                (Err(error), Vec::new())
            }
        };
        let failed = outcome.is_err();
        let adopted = {
            let mut routing = chains.routing();
            let before = routing.fault().cloned();
            let may_be_asked = |name: &ResolverName| discovery.may_be_asked(name);
            if routing.end_survey(ticket, now(), outcome, may_be_asked) {
                let after = routing.fault();
                if routing.policy() == RoutePolicy::EncryptedToEnd && before.as_ref() != after {
                    match after {
                        Some(fault) => tracing::warn!(%server, "nothing is asked: {fault}"),
                        None => tracing::info!(%server, "the chain is encrypted to the end"),
                    }
                }
                let wanted = routing.policy() == RoutePolicy::End;
                let end = routing.end(link(pool), now(), UnixTime::now());
                let end = end.filter(|_| wanted);
                if failed {
                    // Nobody looked: what was set aside is not looked at anew.
                    chains.keep_end(end);
                    None
                } else {
                    chains.adopt(end.cloned(), met)
                }
            } else {
                None
            }
        };
        if let Some(end) = adopted {
            self.try_end(end, Duration::ZERO);
        }
        chains.surveys.send_modify(|surveys| *surveys += 1);
    }

    /// Looks who asks whom, from this computer to the end, and whom a question would be asked of now. Call within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`Untraceable`].
    pub async fn trace(self: &Arc<Self>) -> Result<Trace, Untraceable> {
        let discovery = match &self.kind {
            Kind::Discovered(discovery) => discovery,
            Kind::Fixed {
                address,
                pool,
                proof,
            } => {
                let until = now() + CONNECT_AHEAD;
                let connected = pool.connect(until).await;
                connected.map_err(|error| Untraceable::Failed(error.to_string()))?;
                let chain = Chain::of_one(
                    *address,
                    Transport::Dot,
                    proof.clone(),
                    Why::SaysNothing,
                    SILENT_TTL,
                );
                let circumstances = Circumstances {
                    server: *address,
                    looked_at: UnixTime::now(),
                    route: Some(RoutePolicy::Nearest.name()),
                    asks: Some(chain.nearest.0),
                    asks_why: None,
                };
                return Ok(Trace::of(&chain, &circumstances));
            }
        };
        let deadline = now() + PATIENCE;
        let known_by = deadline.min(now() + self.walk_budget);
        loop {
            let mut ended = discovery.chains.surveys.subscribe();
            let walks = discovery.walks.subscribe();
            match self.trace_now(discovery) {
                Ok(Some(told)) => return Ok(told),
                Ok(None) => {}
                Err(Untraceable::Unknown) if now() < known_by => {
                    self.find_out(discovery, walks, known_by).await;
                    continue;
                }
                Err(untraceable) => return Err(untraceable),
            }
            if !discovery.chains.routing().is_surveying() {
                self.begin_survey(discovery);
            }
            // Where none could begin yet, since one just ended or the connection is another, nobody would tell of its end.
            let until = match discovery.chains.routing().is_surveying() {
                true => deadline,
                false => deadline.min(now() + decision::PAUSE),
            };
            let told = tokio::time::timeout_at(until.into(), ended.changed()).await;
            if now() >= deadline {
                return Err(Untraceable::Failed("it takes too long".to_owned()));
            }
            if told.is_err() {
                continue;
            }
            if let Some(failed) = discovery.chains.routing().failed() {
                return Err(Untraceable::Failed(failed.to_owned()));
            }
        }
    }

    /// Finds out who the server is and what it offers, as a question would.
    async fn find_out(
        self: &Arc<Self>,
        discovery: &Discovery,
        walks: watch::Receiver<u64>,
        deadline: Instant,
    ) {
        let is_legacy = matches!(discovery.lock().session.state(), State::Legacy { .. });
        if is_legacy {
            self.find_rung(discovery, deadline).await;
        } else {
            self.begin_walk(Allowed::InClear);
            // Who asks looks what came of it.
            let _ = wait_for_walk(walks, deadline).await;
        }
    }

    /// What can be told without another survey; none where one is needed.
    fn trace_now(self: &Arc<Self>, discovery: &Discovery) -> Result<Option<Trace>, Untraceable> {
        let (route, server) = {
            let inner = discovery.lock();
            if let State::Legacy { .. } = inner.session.state() {
                drop(inner);
                return discovery.trace_legacy().map(Some);
            }
            let route = inner.session.route(now(), UnixTime::now());
            (route, inner.session.server())
        };
        match route {
            Route::Encrypted => {}
            Route::Fail(failure) | Route::FailAndWalk(failure) => {
                return Err(Untraceable::Down(Box::new(failure)));
            }
            Route::Legacy | Route::AfterWalk => return Err(Untraceable::Unknown),
        }
        let pool = discovery.pool().ok_or(Untraceable::Unknown)?;
        let found = {
            let routing = discovery.chains.routing();
            let found = routing.last().filter(|found| found.is_behind(link(&pool)));
            found.cloned()
        };
        let Some(found) = found.filter(|found| found.is_fresh(now())) else {
            return Ok(None);
        };
        let asks = match self.way(discovery, &pool) {
            Way::Nearest => Some(found.chain.nearest.0),
            Way::End(end) => Some(end.node()),
            Way::AfterSurvey(..) | Way::Fail(_) => None,
        };
        let policy = discovery.chains.routing().policy();
        let circumstances = Circumstances {
            server,
            looked_at: found.clock,
            route: Some(policy.name()),
            asks,
            asks_why: match policy {
                RoutePolicy::End if asks == Some(found.chain.nearest.0) => {
                    Some(discovery.chains.why_not_end())
                }
                RoutePolicy::EncryptedToEnd if asks.is_none() => {
                    Some("every hop has to be encrypted, to somebody who is known".to_owned())
                }
                _ => None,
            },
        };
        Ok(Some(Trace::of(&found.chain, &circumstances)))
    }
}

impl Discovery {
    /// The resolver that questions go to, and the way to it.
    fn nearest(&self) -> Option<(Nearest, Arc<DotPool>)> {
        let pool = self.pool()?;
        let inner = self.lock();
        let identity = inner.session.identity()?;
        let ((address, ..), made) = inner.pool.as_ref()?;
        let mut nearest = Nearest::known(identity);
        nearest.endpoint = *address;
        Arc::ptr_eq(made, &pool).then_some((nearest, pool))
    }

    /// Whether nothing that is remembered speaks against asking this resolver.
    pub(in crate::upstream) fn may_be_asked(&self, name: &ResolverName) -> bool {
        let known = self.store.identity(name);
        known.is_none_or(|known| known.state != TrustState::Revoked)
    }

    /// A server that is not upgraded says nothing about whom it asks.
    fn trace_legacy(&self) -> Result<Trace, Untraceable> {
        let (rung, address) = self.legacy.way();
        let (server, policy) = {
            let session = &self.lock().session;
            (session.server(), session.policy())
        };
        let refused = policy.legacy == LegacyPolicy::Refuse;
        let asked = !policy.forbids_cleartext() && !refused && !self.legacy.is_out_of_reach();
        let (at, transport, proof) = match (rung, address) {
            (Some(Rung::Designated), Some(address)) => {
                // What is certified is the address (RFC 9462 §4.2). The name of whom it designates is the server's own word.
                let certified = server.ip().to_canonical().to_string();
                (address, Transport::Dot, Proof::Pkix(certified))
            }
            (Some(Rung::Opportunistic), Some(address)) => {
                (address, Transport::Opportunistic, Proof::None)
            }
            (Some(Rung::Cleartext), _) => (server, Transport::Plain, Proof::None),
            // Nothing is sent; this is what would be.
            _ if !asked => (server, Transport::Plain, Proof::None),
            _ => return Err(Untraceable::Unknown),
        };
        let chain = Chain::of_one(at, transport, proof, Why::SaysNothing, SILENT_TTL);
        let circumstances = Circumstances {
            server,
            looked_at: UnixTime::now(),
            route: Some(policy.route.name()),
            asks: asked.then_some(chain.nearest.0),
            asks_why: (!asked).then(|| {
                if policy.forbids_cleartext() {
                    "it is not upgraded, and every hop has to be encrypted".to_owned()
                } else if refused {
                    "it is not upgraded, and `legacy` is \"refuse\"".to_owned()
                } else {
                    let legacy = policy.legacy.name();
                    format!(
                        "it is not upgraded, and offers nothing that `legacy = \"{legacy}\"` allows"
                    )
                }
            }),
        };
        Ok(Trace::of(&chain, &circumstances))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Chains;
    use super::super::decision::End;
    use super::super::service::{Fault, Standing};
    use crate::config::RoutePolicy;

    const REFUSED: u8 = 5;

    fn found() -> End {
        End {
            name: "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap(),
            address: "192.0.2.1:853".parse().unwrap(),
            tlsa: vec![format!("3 1 1 {}", "00".repeat(32)).parse().unwrap()],
            node: 2,
        }
    }

    #[tokio::test]
    async fn a_survey_that_failed_forgives_an_end_nothing() {
        let chains = Chains::new(RoutePolicy::End);
        let end = chains.adopt(Some(found()), Vec::new()).unwrap();
        {
            let mut service = end.service();
            service.on_trial(Some(0));
            service.on_trial_in_doubt(Some(REFUSED));
        }
        chains.keep_end(Some(&found()));
        let kept = chains.current_end().unwrap();
        assert_eq!(kept.standing(), Standing::SetAside(Fault::Refuses));
        chains.adopt(Some(found()), Vec::new()).unwrap();
        let again = chains.current_end().unwrap();
        assert_eq!(again.standing(), Standing::OnTrial(Some(Fault::Refuses)));
        // Nothing holds any more.
        chains.keep_end(None);
        assert!(chains.current_end().is_none());
    }
}
