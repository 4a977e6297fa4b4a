//! Gets questions answered by the configured server, as far as the session with it allows.

mod answering;
mod climb;
mod discovery;
mod kept;
mod legacy;
mod memory;
mod portal;
mod proof;
mod route;
mod standing;
mod status;
mod walk;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::upstream::Proof;

use crate::config::FirstUse;
use crate::dot::{DotError, DotLimits, DotPool, Endpoint};
use crate::ladder::Rung;
use crate::place::{Place, Surroundings};
use crate::session::{Advice, Failure, Policy, Route, Session, failure_of};
use crate::store::Store;
use crate::stub::{Answering, StubLimits};
use crate::tally::TALLY;

use discovery::{Allowed, CONNECT_AHEAD, Discovery, Inner, keep};
use kept::Kept;
use legacy::Legacy;
use route::{Begun, Chains, Doubtful, FromEnd, Way};
use standing::Cost;
use walk::wait_for_walk;

pub use proof::{Proven, Unproven};
pub use route::Untraceable;
pub use standing::{Asked, Standing};
pub use status::{describe, describe_all};

/// Walks that one question waits for.
const WALKS_PER_QUESTION: u32 = 2;

/// The configured server.
pub struct Upstream {
    kind: Kind,
    query_budget: Duration,
    walk_budget: Duration,
    kept: Option<Kept>,
    encrypted: AtomicU64,
    cleartext: AtomicU64,
    /// By the name of the reason; the names are few.
    failed: Mutex<BTreeMap<&'static str, u64>>,
    retired: watch::Sender<bool>,
}

enum Kind {
    /// Somebody configured who it is.
    Fixed {
        address: SocketAddr,
        pool: DotPool,
        proof: Proof,
    },
    /// Who it is has to be found out.
    Discovered(Box<Discovery>),
}

impl Upstream {
    /// A server whose proof is configured. `cache_bytes` is room for answers; 0 means that none are kept.
    ///
    /// # Errors
    /// When the proof is nothing that TLS can check.
    pub fn fixed(
        endpoint: &Endpoint,
        limits: &StubLimits,
        cache_bytes: usize,
    ) -> Result<Arc<Self>, crate::dot::ConnectError> {
        let pool = DotPool::new(endpoint, DotLimits::default())?;
        let kind = Kind::Fixed {
            address: endpoint.address,
            pool,
            proof: endpoint.proof.published(),
        };
        Ok(Arc::new(Self::new(kind, limits, cache_bytes)))
    }

    /// A server that is to be discovered, or was before, in its surroundings. Starts at once: with TLS where the store
    /// knows whom to expect there, with a walk elsewhere. Call within a tokio runtime.
    #[must_use]
    pub fn discovered(
        surroundings: Surroundings,
        server: SocketAddr,
        policy: Policy,
        store: Arc<Store>,
        limits: &StubLimits,
        cache_bytes: usize,
    ) -> Arc<Self> {
        let changes = store.changes();
        let expected = store.expected_behind(surroundings.place, server);
        let session = Session::new(server, policy_in(&surroundings, policy), expected, now());
        let in_network = matches!(surroundings.place, Place::Network(_));
        let kind = Kind::Discovered(Box::new(Discovery {
            store,
            unconfirmed: AtomicBool::new(in_network),
            stranger: Mutex::default(),
            inner: Mutex::new(Inner {
                surroundings,
                session,
                pool: None,
                found: None,
            }),
            walks: watch::Sender::new(0),
            standing: watch::Sender::new(Standing::Unknown),
            legacy: Legacy::new(policy.legacy),
            gate: portal::Gate::default(),
            chains: Chains::new(policy.route),
        }));
        let upstream = Arc::new(Self::new(kind, limits, cache_bytes));
        upstream.tell_standing();
        tokio::spawn(keep(Arc::downgrade(&upstream), changes));
        upstream
    }

    fn new(kind: Kind, limits: &StubLimits, cache_bytes: usize) -> Self {
        Self {
            kind,
            query_budget: limits.query_budget(),
            walk_budget: limits.walk_budget(),
            kept: Kept::new(cache_bytes, now()),
            encrypted: AtomicU64::new(0),
            cleartext: AtomicU64::new(0),
            failed: Mutex::default(),
            retired: watch::Sender::new(false),
        }
    }

    /// Forgets an identity; whoever is configured is met anew. False when it is not known.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(&self, name: &ResolverName) -> Result<bool, crate::store::StoreError> {
        match &self.kind {
            Kind::Fixed { .. } => Ok(false),
            Kind::Discovered(discovery) => discovery.forget(name).await,
        }
    }

    /// It is not the server to ask any more: nothing is begun, and what is under way is given up. No walk, no climb and
    /// no question in cleartext goes on in the next network.
    pub fn retire(&self) {
        self.retired.send_replace(true);
        if let Kind::Discovered(discovery) = &self.kind {
            discovery.lock().pool = None;
            discovery.chains.start_over();
        }
    }

    /// Waits until it is retired.
    pub async fn retired(&self) {
        let mut retired = self.retired.subscribe();
        // It cannot be dropped while somebody asks.
        let _ = retired.wait_for(|retired| *retired).await;
    }

    /// Does `work` aside, until it is done or this is retired: whoever has the same address in the next network is
    /// somebody else.
    fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let upstream = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = upstream.retired() => {}
                () = work => {}
            }
        });
    }

    fn is_retired(&self) -> bool {
        *self.retired.borrow()
    }

    /// Answers a question that was asked at `asked_at`: its budget runs since then.
    pub fn answer_since(self: Arc<Self>, query: Vec<u8>, asked_at: Instant) -> Answering {
        Box::pin(self.answer_in_time(query, asked_at, Begun::No))
    }

    /// The computer slept, or the link was gone: whatever was connected is replaced at once, and no failure of before
    /// counts any more. Nothing that is known about the server is given up.
    /// Call within a tokio runtime.
    pub fn on_resume(self: &Arc<Self>) {
        let upstream = Arc::clone(self);
        tokio::spawn(async move {
            let until = now() + CONNECT_AHEAD;
            // How it went is told when somebody asks.
            let _ = match &upstream.kind {
                Kind::Fixed { pool, .. } => pool.renew(until).await,
                Kind::Discovered(discovery) => {
                    discovery.lock().session.on_resume(now());
                    discovery.legacy.start_over();
                    discovery.chains.start_over();
                    match discovery.pool() {
                        Some(pool) => pool.renew(until).await,
                        None => Ok(()),
                    }
                }
            };
        });
    }

    /// Whether this is the session with the configured `server`. If so it goes on, under `policy`: what it knows, and
    /// the connection, survive a reload.
    #[must_use]
    pub fn continues_with(&self, server: SocketAddr, policy: Policy) -> bool {
        self.continues_in(&Surroundings::of_server(server), server, policy)
    }

    /// Whether this is the session with `server` in this place. If so it goes on, under `policy`, and what the
    /// surroundings show now is what they show: signals may come one after the other.
    #[must_use]
    pub fn continues_in(
        &self,
        surroundings: &Surroundings,
        server: SocketAddr,
        policy: Policy,
    ) -> bool {
        let Kind::Discovered(discovery) = &self.kind else {
            return false;
        };
        let mut inner = discovery.lock();
        let at = (inner.surroundings.place, inner.session.server());
        if at != (surroundings.place, server) {
            return false;
        }
        let before = inner.session.policy();
        inner.session.set_policy(policy_in(surroundings, policy));
        discovery.legacy.set_policy(policy.legacy);
        discovery.chains.set_policy(inner.session.policy(), before);
        if inner.surroundings != *surroundings {
            inner.surroundings = surroundings.clone();
            discovery.unconfirmed.store(true, Ordering::Relaxed);
        }
        true
    }

    /// What it is doing, for `zzdot-client status`. The fields are documented there.
    #[must_use]
    pub fn status(&self) -> Value {
        let failures = self.failures().clone();
        let [designated, opportunistic] = match &self.kind {
            Kind::Fixed { .. } => [0, 0],
            Kind::Discovered(discovery) => discovery.legacy.answered(),
        };
        let identified = self.encrypted.load(Ordering::Relaxed);
        let queries = json!({
            "encrypted": identified + designated + opportunistic,
            "designated": designated,
            "opportunistic": opportunistic,
            "cleartext": self.cleartext.load(Ordering::Relaxed),
            "kept": self.kept.as_ref().map_or(0, Kept::hits),
            "end": match &self.kind {
                Kind::Fixed { .. } => 0,
                Kind::Discovered(discovery) => discovery.chains.answered_by_end(),
            },
            "failed": failures.values().sum::<u64>(),
            "failed-by-reason": failures,
        });
        match &self.kind {
            Kind::Fixed { address, pool, .. } => json!({
                "server": address,
                "state": "configured",
                "rung": Rung::Verified,
                "queries": queries,
                "tls": pool.status(),
                "down": pool.failure().map(|error| status::down(&failure_of(&error))),
            }),
            Kind::Discovered(discovery) => discovery.status(&queries),
        }
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn resolve_or_log_in(
        self: &Arc<Self>,
        query: &[u8],
        deadline: Instant,
        begun: Begun,
    ) -> Result<Vec<u8>, Failure> {
        match self.resolve(query, deadline, begun, &Cost::default()).await {
            Err(failure) => self.past_failure(query, deadline, failure).await,
            answer => answer,
        }
    }

    /// The answer, of the one that is asked first; or, where that is the end of a chain and has none, of the nearest.
    async fn resolve(
        self: &Arc<Self>,
        query: &[u8],
        deadline: Instant,
        begun: Begun,
        cost: &Cost,
    ) -> Result<Vec<u8>, Failure> {
        let mut doubtful = None;
        let asked = self.ask_along(query, deadline, begun, cost, &mut doubtful);
        match (asked.await, doubtful) {
            (answered, None) => answered,
            (answered, Some(doubtful)) => Ok(self.better_of(doubtful, answered.ok())),
        }
    }

    /// The same, without a comparison: where the end gave an answer that is to be compared, that is `doubtful`, and
    /// what comes back is the nearest's.
    async fn ask_along(
        self: &Arc<Self>,
        query: &[u8],
        deadline: Instant,
        begun: Begun,
        cost: &Cost,
        doubtful: &mut Option<Doubtful>,
    ) -> Result<Vec<u8>, Failure> {
        let (mut begun, mut asks_end) = match begun {
            Begun::No => (None, true),
            Begun::AtNearest(pursuit) => (Some(pursuit), true),
            Begun::AtEnd(compare) => {
                *doubtful = compare;
                (None, false)
            }
        };
        let discovery = match &self.kind {
            Kind::Discovered(discovery) => discovery,
            Kind::Fixed { pool, .. } => {
                let answer = match begun {
                    Some(pursuit) => pursuit.answer(query, deadline).await,
                    None => pool.ask(query, deadline).await,
                };
                return self.tally(answer).map_err(|error| failure_of(&error));
            }
        };
        let mut walks_left = WALKS_PER_QUESTION;
        let mut met = None;
        loop {
            // Taken before the look at the session, so that no walk's end is missed.
            let ended = discovery.walks.subscribe();
            if begun.is_none()
                && let Some(answer) = self.at_portal(discovery, query, deadline).await
            {
                return answer;
            }
            let route = match &begun {
                // It was when it was sent.
                Some(_) => Route::Encrypted,
                None => discovery.lock().session.route(now(), UnixTime::now()),
            };
            match route {
                Route::Fail(failure) => return Err(failure),
                Route::FailAndWalk(failure) => {
                    self.begin_walk(Allowed::InClear);
                    return Err(failure);
                }
                // The store has the last word: nothing leaves in cleartext to a server that any
                // session ever met.
                Route::Legacy if discovery.is_bound().await => continue,
                Route::Legacy => {
                    return self.pass_on(discovery, query, deadline, cost).await;
                }
                Route::Encrypted => {
                    let answer = match (begun.take(), discovery.pool()) {
                        (Some(pursuit), _) => pursuit.answer(query, deadline).await,
                        (None, Some(pool)) => {
                            match self.way(discovery, &pool) {
                                Way::End(end) if asks_end => {
                                    asks_end = false;
                                    match self.ask_end(&end, query, deadline).await {
                                        FromEnd::Answer(answer) => return Ok(answer),
                                        FromEnd::Doubtful(compare) => *doubtful = Some(compare),
                                        FromEnd::Nothing => {}
                                    }
                                    // Whether the nearest may be asked is as it is now.
                                    continue;
                                }
                                Way::Nearest | Way::End(_) => {}
                                Way::AfterSurvey(ended, why) => {
                                    if !wait_for_walk(ended, deadline).await {
                                        return Err(why);
                                    }
                                    continue;
                                }
                                Way::Fail(failure) => return Err(failure),
                            }
                            pool.ask(query, deadline).await
                        }
                        // Forgotten this very moment.
                        (None, None) => return Err(slow(discovery.server())),
                    };
                    let error = match self.tally(answer) {
                        Ok(answer) => {
                            discovery.lock().session.on_tls_answer();
                            return Ok(answer);
                        }
                        Err(error) => error,
                    };
                    let advice = discovery.lock().session.on_tls_failure(now(), &error);
                    match advice {
                        Advice::Fail(failure) => return Err(failure),
                        Advice::FailAndWalk(failure) => {
                            self.begin_walk(Allowed::InClear);
                            return Err(failure);
                        }
                        Advice::Walk => {
                            tracing::debug!(%error, "TLS failed");
                            met = Some(failure_of(&error));
                        }
                    }
                }
                Route::AfterWalk => {}
            }
            self.begin_walk(Allowed::InClear);
            if walks_left == 0 || !wait_for_walk(ended, deadline).await {
                return Err(met.unwrap_or_else(|| slow(discovery.server())));
            }
            walks_left -= 1;
        }
    }

    fn tally(&self, answer: Result<Vec<u8>, DotError>) -> Result<Vec<u8>, DotError> {
        if answer.is_ok() {
            self.encrypted.fetch_add(1, Ordering::Relaxed);
            TALLY.count(Rung::Known, 1);
        }
        answer
    }
}

/// Where there is doubt about the surroundings, nobody is learned silently.
fn policy_in(surroundings: &Surroundings, policy: Policy) -> Policy {
    match (&surroundings.doubt, policy.first_use) {
        (Some(_), FirstUse::Auto) => Policy {
            first_use: FirstUse::Ask,
            ..policy
        },
        _ => policy,
    }
}

fn slow(server: SocketAddr) -> Failure {
    Failure::NoAnswer(format!("finding out who {server} is takes too long"))
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
