//! Gets questions answered by the configured server, as far as the session with it allows.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout_at;
use zzdot_zonegen::clock::{UnixTime, build_date};
use zzdot_zonegen::name::ResolverName;

use crate::config::LegacyPolicy;
use crate::discover::{Tlsa, Verdict, WalkPolicy};
use crate::dot::{DotError, DotLimits, DotPool, Endpoint, PeerProof, without_hop_options};
use crate::exchange::{ExchangeError, ExchangeLimits, udp_then_tcp};
use crate::session::{Advice, Failure, Route, Session, State, failure_of};
use crate::store::Store;
use crate::stub::{Answer, Answering, StubLimits};
use crate::trust::KnownIdentity;
use crate::walker::walk;
use crate::wire::{self, View};

const SERVFAIL: u16 = 2;
/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(5);
/// How long a connection is tried for that no question waits for.
const CONNECT_AHEAD: Duration = Duration::from_secs(5);
/// Questions in cleartext under way, each with a socket of its own; more wait for their turn within
/// their budget. Well below the 1,024 descriptors that a process gets by default.
const PLAIN_IN_FLIGHT: usize = 512;
/// Walks that one question waits for.
const WALKS_PER_QUESTION: u32 = 2;

/// The configured server.
pub struct Upstream {
    kind: Kind,
    query_budget: Duration,
    walk_budget: Duration,
    encrypted: AtomicU64,
    cleartext: AtomicU64,
    failed: AtomicU64,
}

enum Kind {
    /// Somebody configured who it is.
    Fixed { address: SocketAddr, pool: DotPool },
    /// Who it is has to be found out.
    Discovered(Box<Discovery>),
}

struct Discovery {
    store: Arc<Store>,
    inner: Mutex<Inner>,
    /// Counts the walks that ended.
    walks: watch::Sender<u64>,
    plain_turns: Semaphore,
}

struct Inner {
    session: Session,
    /// The pool for the identity of the session, and what it was made for.
    pool: Option<(PoolKey, Arc<DotPool>)>,
}

type PoolKey = (SocketAddr, ResolverName, Vec<Tlsa>);

impl Upstream {
    /// A server whose proof is configured.
    ///
    /// # Errors
    /// When the proof is nothing that TLS can check.
    pub fn fixed(
        endpoint: &Endpoint,
        limits: &StubLimits,
    ) -> Result<Arc<Self>, crate::dot::ConnectError> {
        let pool = DotPool::new(endpoint, DotLimits::default())?;
        let kind = Kind::Fixed {
            address: endpoint.address,
            pool,
        };
        Ok(Arc::new(Self::new(kind, limits)))
    }

    /// A server that is to be discovered, or was before. Starts at once: with TLS where the store
    /// knows whom to expect, with a walk elsewhere. Call within a tokio runtime.
    #[must_use]
    pub fn discovered(
        server: SocketAddr,
        legacy: LegacyPolicy,
        store: Arc<Store>,
        limits: &StubLimits,
    ) -> Arc<Self> {
        let expected = store.expected_at(server);
        let session = Session::new(server, legacy, expected, now());
        let kind = Kind::Discovered(Box::new(Discovery {
            store,
            inner: Mutex::new(Inner {
                session,
                pool: None,
            }),
            walks: watch::Sender::new(0),
            plain_turns: Semaphore::new(PLAIN_IN_FLIGHT),
        }));
        let upstream = Arc::new(Self::new(kind, limits));
        tokio::spawn(keep(Arc::downgrade(&upstream)));
        upstream
    }

    fn new(kind: Kind, limits: &StubLimits) -> Self {
        Self {
            kind,
            query_budget: limits.query_budget(),
            walk_budget: limits.walk_budget(),
            encrypted: AtomicU64::new(0),
            cleartext: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Forgets an identity; whoever is configured is met anew. False when it is not known.
    ///
    /// # Errors
    /// The store's.
    pub fn forget(&self, name: &ResolverName) -> Result<bool, crate::store::StoreError> {
        let Kind::Discovered(discovery) = &self.kind else {
            return Ok(false);
        };
        let known = discovery.store.forget(name)?;
        let mut inner = discovery.lock();
        if inner
            .session
            .identity()
            .is_some_and(|ours| ours.name == *name)
        {
            inner.session.forget();
            inner.pool = None;
        }
        Ok(known)
    }

    /// Whether this is the session with `server` under `legacy`, which a reload need not disturb.
    #[must_use]
    pub fn is_session_with(&self, server: SocketAddr, legacy: LegacyPolicy) -> bool {
        let Kind::Discovered(discovery) = &self.kind else {
            return false;
        };
        let session = &discovery.lock().session;
        session.server() == server && session.legacy_policy() == legacy
    }

    /// What it is doing, for `zzdot-client status`. The fields are documented there.
    #[must_use]
    pub fn status(&self) -> Value {
        let queries = json!({
            "encrypted": self.encrypted.load(Ordering::Relaxed),
            "cleartext": self.cleartext.load(Ordering::Relaxed),
            "failed": self.failed.load(Ordering::Relaxed),
        });
        match &self.kind {
            Kind::Fixed { address, pool } => json!({
                "server": address,
                "state": "configured",
                "queries": queries,
                "tls": pool.status(),
            }),
            Kind::Discovered(discovery) => discovery.status(&queries),
        }
    }

    async fn resolve(
        self: &Arc<Self>,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let discovery = match &self.kind {
            Kind::Discovered(discovery) => discovery,
            Kind::Fixed { pool, .. } => {
                let answer = pool.ask(query, deadline).await;
                return self.tally(answer).map_err(|error| failure_of(&error));
            }
        };
        let mut walks_left = WALKS_PER_QUESTION;
        let mut met = None;
        loop {
            // Taken before the look at the session, so that no walk's end is missed.
            let ended = discovery.walks.subscribe();
            let route = discovery.lock().session.route(now(), UnixTime::now());
            match route {
                Route::Fail(failure) => return Err(failure),
                Route::Cleartext => return self.pass_on(discovery, query, deadline).await,
                Route::Encrypted => {
                    let Some(pool) = discovery.pool() else {
                        // Forgotten this very moment.
                        return Err(slow(discovery.server()));
                    };
                    let answer = pool.ask(query, deadline).await;
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
                        Advice::Walk => {
                            tracing::debug!(%error, "TLS failed");
                            met = Some(failure_of(&error));
                        }
                    }
                }
                Route::AfterWalk => {}
            }
            self.begin_walk();
            if walks_left == 0 || !wait_for_walk(ended, deadline).await {
                return Err(met.unwrap_or_else(|| slow(discovery.server())));
            }
            walks_left -= 1;
        }
    }

    fn tally(&self, answer: Result<Vec<u8>, DotError>) -> Result<Vec<u8>, DotError> {
        if answer.is_ok() {
            self.encrypted.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn pass_on(
        &self,
        discovery: &Discovery,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let server = discovery.server();
        let unfit = |error: wire::WireError| Failure::NoAnswer(error.to_string());
        let query = without_hop_options(query).map_err(unfit)?;
        let turn = timeout_at(deadline.into(), discovery.plain_turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let detail = format!("more than {PLAIN_IN_FLIGHT} questions in cleartext under way");
            return Err(Failure::NoAnswer(detail));
        };
        self.cleartext.fetch_add(1, Ordering::Relaxed);
        let limits = ExchangeLimits::default();
        let answer = match udp_then_tcp(server, &query, &limits, deadline).await {
            Ok(reply) => reply.message,
            // Old boxes without TCP: the asker sees for himself that something is missing.
            Err(ExchangeError::TcpFailed {
                truncated: Some(message),
                ..
            }) => message,
            Err(error) => return Err(Failure::NoAnswer(error.to_string())),
        };
        without_hop_options(&answer).map_err(unfit)
    }

    /// Starts a walk, unless one is under way.
    fn begin_walk(self: &Arc<Self>) {
        let Kind::Discovered(discovery) = &self.kind else {
            return;
        };
        let Some(expected) = discovery.lock().session.begin_walk() else {
            return;
        };
        let policy = WalkPolicy {
            clock_floor: build_date().max(discovery.store.clock_floor()),
            timeout: self.walk_budget,
        };
        let upstream = Arc::clone(self);
        let server = discovery.server();
        // Here and not where TLS fails: that may be told by a thousand questions at once.
        tracing::info!(%server, "finding out who the server is");
        tokio::spawn(async move {
            let verdict = walk(server, expected, policy, |step| {
                tracing::debug!(%server, "{step}");
            })
            .await;
            if let Kind::Discovered(discovery) = &upstream.kind {
                discovery.end_walk(verdict).await;
            }
        });
    }
}

impl Answer for Upstream {
    fn answer(self: Arc<Self>, query: Vec<u8>) -> Answering {
        Box::pin(async move {
            let deadline = now() + self.query_budget;
            match self.resolve(&query, deadline).await {
                Ok(mut answer) => {
                    // Askers may check the letter case of the question that comes back.
                    if let Some(asked) = View::parse(&query).ok().and_then(|view| view.question()) {
                        wire::restore_case(&mut answer, &asked);
                    }
                    answer
                }
                Err(failure) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    let (code, text) = failure.ede();
                    tracing::debug!("not answered: {text}");
                    wire::error_reply(&query, SERVFAIL, Some((code, &text))).unwrap_or_default()
                }
            }
        })
    }
}

impl Discovery {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self) -> SocketAddr {
        self.lock().session.server()
    }

    /// The pool for the identity that is expected; none when nobody is.
    fn pool(&self) -> Option<Arc<DotPool>> {
        let mut inner = self.lock();
        let identity = inner.session.identity()?;
        let key = (
            identity.endpoint,
            identity.name.clone(),
            identity.tlsa.clone(),
        );
        if let Some((made_for, pool)) = &inner.pool
            && *made_for == key
        {
            return Some(Arc::clone(pool));
        }
        let endpoint = Endpoint {
            address: key.0,
            server_name: None,
            proof: PeerProof::Dane {
                name: key.1.clone(),
                tlsa: key.2.clone(),
            },
        };
        // Fails for proofs by chain alone, which this is not.
        let pool = Arc::new(DotPool::new(&endpoint, DotLimits::default()).ok()?);
        inner.pool = Some((key, Arc::clone(&pool)));
        Some(pool)
    }

    async fn end_walk(&self, verdict: Verdict) {
        tell(self.server(), &verdict);
        let remembered = match &verdict {
            Verdict::Upgraded(discovered) => self.store.identity(&discovered.name),
            _ => None,
        };
        let (server, change) = {
            let mut inner = self.lock();
            let change = inner
                .session
                .end_walk(now(), UnixTime::now(), verdict, remembered);
            (inner.session.server(), change)
        };
        let upgraded = change.is_some();
        if let Some(identity) = change {
            self.remember(server, identity).await;
        }
        self.walks.send_modify(|walks| *walks += 1);
        if upgraded && let Some(pool) = self.pool() {
            // For the first question to come; how it went is told when somebody asks.
            let _ = pool.connect(now() + CONNECT_AHEAD).await;
        }
    }

    /// Latches, durably, before the first question is asked of the identity.
    async fn remember(&self, server: SocketAddr, identity: KnownIdentity) {
        let store = Arc::clone(&self.store);
        let written = tokio::task::spawn_blocking(move || store.remember(server, identity)).await;
        let outcome = match written {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "what was learned is not remembered");
        }
        self.lock().session.on_remembered(now(), outcome);
    }

    fn status(&self, queries: &Value) -> Value {
        let inner = self.lock();
        let session = &inner.session;
        let mut status = json!({
            "server": session.server(),
            "state": "discovering",
            "walking": session.is_walking(),
            "queries": queries,
        });
        match session.state() {
            State::Unknown => {}
            State::Strict { identity, fault } => {
                status["state"] = "strict".into();
                status["resolver"] = describe(identity);
                status["refusal"] = json!(fault);
                status["unremembered"] = json!(session.unremembered());
            }
            State::Legacy { reason, until } => {
                status["state"] = "legacy".into();
                status["legacy"] = json!({
                    "reason": reason,
                    "cause": reason.to_string(),
                    "policy": match session.legacy_policy() {
                        LegacyPolicy::Plain => "plain",
                        LegacyPolicy::Refuse => "refuse",
                    },
                    "looks-again-secs": until.saturating_duration_since(now()).as_secs(),
                });
            }
            State::Refused { refusal, .. } => {
                status["state"] = "refused".into();
                status["refusal"] = json!(refusal);
            }
            State::NoAnswer { .. } => status["state"] = "no-answer".into(),
        }
        if let Some((_, pool)) = &inner.pool {
            status["tls"] = json!(pool.status());
        }
        status
    }
}

/// An identity as `zzdot-client` tells about it in JSON: `status` and `resolvers`.
#[must_use]
pub fn describe(identity: &KnownIdentity) -> Value {
    use zzdot_zonegen::keys::key_tag;
    json!({
        "name": identity.name,
        "trust": identity.state,
        "trust-in-words": identity.state.to_string(),
        "server-type": identity.server_type,
        "endpoint": identity.endpoint,
        "anchor-key-tags": identity.anchor.iter().map(key_tag).collect::<Vec<_>>(),
        "tlsa": identity.tlsa,
        "first-seen": identity.first_seen.to_string(),
        "last-seen": identity.last_seen.to_string(),
        "signatures-expire": identity.signatures_expire.to_string(),
    })
}

/// All resolvers of `store`, as the daemon and the tools tell them.
#[must_use]
pub fn describe_all(store: &Store) -> Value {
    let resolvers = store.identities().into_iter().map(|identity| {
        let mut told = describe(&identity);
        told["servers"] = json!(store.servers_of(&identity.name));
        told
    });
    json!({ "resolvers": resolvers.collect::<Vec<_>>() })
}

fn tell(server: SocketAddr, verdict: &Verdict) {
    match verdict {
        Verdict::Upgraded(discovered) => tracing::info!(
            %server, name = %discovered.name, endpoint = %discovered.endpoint,
            "the server is upgraded: private from now on"
        ),
        Verdict::Legacy { reason } => {
            tracing::warn!(%server, "the server is not upgraded: {reason}");
        }
        Verdict::Refused { refusal } => tracing::error!(
            %server, reason = refusal.name(), cure = refusal.cure(), "refused: {refusal}"
        ),
        Verdict::NoAnswer => tracing::warn!(%server, "the server does not answer"),
    }
}

/// Connects or walks at the start, and renews what was validated before it expires; until the
/// upstream is dropped.
async fn keep(upstream: Weak<Upstream>) {
    let mut first = true;
    loop {
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let Kind::Discovered(discovery) = &upstream.kind else {
            return;
        };
        let (route, refresh) = {
            let session = &discovery.lock().session;
            (
                session.route(now(), UnixTime::now()),
                session.wants_refresh(now()),
            )
        };
        if refresh || (first && route == Route::AfterWalk) {
            upstream.begin_walk();
        } else if first
            && route == Route::Encrypted
            && let Some(pool) = discovery.pool()
        {
            // How it went is told when somebody asks.
            let _ = pool.connect(now() + CONNECT_AHEAD).await;
        }
        first = false;
        drop(upstream);
        tokio::time::sleep(TICK).await;
    }
}

/// Whether a walk ended before the deadline.
async fn wait_for_walk(mut ended: watch::Receiver<u64>, deadline: Instant) -> bool {
    matches!(
        timeout_at(deadline.into(), ended.changed()).await,
        Ok(Ok(()))
    )
}

fn slow(server: SocketAddr) -> Failure {
    Failure::NoAnswer(format!("finding out who {server} is takes too long"))
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
