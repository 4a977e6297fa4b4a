//! What is known about a server that is to be discovered, and the connection made with it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::legacy::Legacy;
use super::portal::Gate;
use super::route::Chains;
use super::standing::Standing;
use super::{Kind, Upstream, now};
use crate::discover::{Discovered, Tlsa};
use crate::dot::{DotError, DotLimits, DotPool, Endpoint, Observed, PeerProof};
use crate::place::Surroundings;
use crate::session::{Route, Session};
use crate::store::{Changes, Store};
use crate::walker::Carrier;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(5);
/// How long a connection is tried for that no question waits for.
pub(super) const CONNECT_AHEAD: Duration = Duration::from_secs(5);

pub(super) struct Discovery {
    pub(super) store: Arc<Store>,
    pub(super) inner: Mutex<Inner>,
    /// The resolver that is expected has yet to prove itself in these surroundings.
    pub(super) unconfirmed: AtomicBool,
    /// When a stranger in the place of whom is expected was looked at last, and which.
    pub(super) stranger: Mutex<Option<(Instant, ResolverName)>>,
    /// Counts the walks that ended.
    pub(super) walks: watch::Sender<u64>,
    /// What the server offers where it is not upgraded.
    pub(super) legacy: Legacy,
    /// Whether a page wants people to log in first.
    pub(super) gate: Gate,
    /// What is behind the server.
    pub(super) chains: Chains,
    /// How things stand, for whoever wants to be told of changes.
    pub(super) standing: watch::Sender<Standing>,
}

pub(super) struct Inner {
    pub(super) surroundings: Surroundings,
    pub(super) session: Session,
    /// The pool for the identity of the session, and what it was made for.
    pub(super) pool: Option<(PoolKey, Arc<DotPool>)>,
    /// What was validated last about the identity of the session, by a walk of this process.
    pub(super) found: Option<Box<Discovered>>,
}

pub(super) type PoolKey = (SocketAddr, ResolverName, Vec<Tlsa>);

/// How a walk to a known resolver may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Over TLS alone: nobody asks for it.
    Encrypted,
    /// In cleartext where the session sees no other way.
    InClear,
}

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
        self.lock().pool()
    }

    /// The same, if questions go over TLS now and to nowhere else.
    pub(super) fn pool_of_strict_session(&self) -> Option<Arc<DotPool>> {
        let mut inner = self.lock();
        let route = inner.session.route(now(), UnixTime::now());
        (route == Route::Encrypted).then(|| inner.pool())?
    }

    /// What a walk to the known resolver goes over.
    pub(super) async fn carrier(&self, allowed: Allowed) -> Result<Carrier, DotError> {
        let Some(pool) = self.pool() else {
            // Forgotten this very moment: what the walk finds counts for nothing.
            return Ok(Carrier::Cleartext);
        };
        match pool.connect(now() + CONNECT_AHEAD).await {
            Ok(()) => {
                self.lock().session.on_tls_connected();
                Ok(Carrier::Encrypted(pool))
            }
            Err(error)
                if allowed == Allowed::InClear
                    && self.lock().session.may_walk_in_clear(now(), &error) =>
            {
                Ok(Carrier::Cleartext)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn abandon_walk(&self, error: &DotError) {
        tracing::debug!(%error, "no walk without TLS");
        self.lock().session.abandon_walk(now(), error);
        self.tell_standing();
        self.walks.send_modify(|walks| *walks += 1);
    }

    /// The first questions go over the connection on which the peer was judged, if it was judged by what questions are
    /// asked under now.
    pub(super) fn continue_on(&self, judged: &PoolKey, met: Observed) {
        let mut inner = self.lock();
        let pool = inner.pool();
        if let (Some(pool), Some((made_for, _))) = (pool, &inner.pool)
            && made_for == judged
        {
            pool.continue_on(met);
        }
    }
}

impl Inner {
    fn pool(&mut self) -> Option<Arc<DotPool>> {
        let server = self.session.server();
        let identity = self.session.identity()?;
        let address = on_link_of(server, identity.endpoint);
        if let Some(((made_for, name, tlsa), pool)) = &self.pool
            && (made_for, name, tlsa) == (&address, &identity.name, &identity.tlsa)
        {
            return Some(Arc::clone(pool));
        }
        let key = (address, identity.name.clone(), identity.tlsa.clone());
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
        self.pool = Some((key, Arc::clone(&pool)));
        Some(pool)
    }
}

/// A link-local endpoint is on the link of the configured server, whose number may have changed
/// since it was remembered.
fn on_link_of(server: SocketAddr, mut endpoint: SocketAddr) -> SocketAddr {
    if let (SocketAddr::V6(server), SocketAddr::V6(endpoint)) = (server, &mut endpoint)
        && server.ip() == endpoint.ip()
    {
        endpoint.set_scope_id(server.scope_id());
    }
    endpoint
}

/// Connects or walks at the start, renews what was validated before it expires, and follows what others change in the
/// store; until the upstream is retired or dropped.
pub(super) async fn keep(upstream: Weak<Upstream>, mut memory: Changes) {
    let mut first = true;
    let mut told = false;
    loop {
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let Kind::Discovered(discovery) = &upstream.kind else {
            return;
        };
        if upstream.is_retired() {
            return;
        }
        if told {
            // A person decided, or another session learned.
            discovery.reread().await;
        }
        let (route, refresh) = {
            let session = &discovery.lock().session;
            (
                session.route(now(), UnixTime::now()),
                session.wants_refresh(now()),
            )
        };
        if first && route == Route::AfterWalk {
            upstream.begin_walk(Allowed::InClear);
        } else if refresh {
            upstream.begin_walk(Allowed::Encrypted);
        } else if (first || told)
            && route == Route::Encrypted
            && let Some(pool) = discovery.pool()
        {
            // How it went is told when somebody asks.
            let _ = pool.connect(now() + CONNECT_AHEAD).await;
        }
        if route == Route::Encrypted
            && discovery.chains.looks_ahead()
            && let Some(pool) = discovery.pool()
        {
            // For the next questions to come.
            upstream.survey_if_due(discovery, &pool);
        }
        let proven = || discovery.pool().is_some_and(|pool| pool.is_connected());
        if discovery.unconfirmed.load(Ordering::Relaxed) && proven() {
            discovery.confirm().await;
        }
        // What changed without a walk or a climb: a connection that failed, for example.
        discovery.tell_standing();
        (first, told) = (false, false);
        let wanted = discovery.chains.wanted();
        drop(upstream);
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = wanted.notified() => {}
            () = memory.changed() => told = true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_endpoint_follows_the_configured_server_to_another_link() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let moved = on_link_of(at("[fe80::1%7]:53"), at("[fe80::1%3]:853"));
        assert_eq!(moved, at("[fe80::1%7]:853"));
        for elsewhere in ["[fe80::2%3]:853", "192.0.2.1:853"] {
            assert_eq!(
                on_link_of(at("[fe80::1%7]:53"), at(elsewhere)),
                at(elsewhere)
            );
        }
    }
}
