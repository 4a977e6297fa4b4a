//! What is known about a server that is to be discovered, and the connection made with it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::{Kind, Upstream, now};
use crate::discover::{Tlsa, Verdict};
use crate::dot::{DotLimits, DotPool, Endpoint, PeerProof};
use crate::session::{Route, Session};
use crate::store::Store;
use crate::trust::KnownIdentity;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(5);
/// How long a connection is tried for that no question waits for.
const CONNECT_AHEAD: Duration = Duration::from_secs(5);

pub(super) struct Discovery {
    pub(super) store: Arc<Store>,
    pub(super) inner: Mutex<Inner>,
    /// Counts the walks that ended.
    pub(super) walks: watch::Sender<u64>,
    pub(super) plain_turns: Semaphore,
}

pub(super) struct Inner {
    pub(super) session: Session,
    /// The pool for the identity of the session, and what it was made for.
    pub(super) pool: Option<(PoolKey, Arc<DotPool>)>,
}

pub(super) type PoolKey = (SocketAddr, ResolverName, Vec<Tlsa>);

impl Discovery {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.lock().session.server()
    }

    /// The pool for the identity that is expected; none when nobody is.
    pub(super) fn pool(&self) -> Option<Arc<DotPool>> {
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

    pub(super) async fn end_walk(&self, verdict: Verdict) {
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
    pub(super) async fn remember(&self, server: SocketAddr, identity: KnownIdentity) {
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
}

/// Connects or walks at the start, and renews what was validated before it expires; until the
/// upstream is dropped.
pub(super) async fn keep(upstream: Weak<Upstream>) {
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
