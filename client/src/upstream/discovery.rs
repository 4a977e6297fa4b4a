//! What is known about a server that is to be discovered, and the connection made with it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::legacy::Legacy;
use super::{Kind, Upstream, now};
use crate::discover::{Tlsa, Verdict};
use crate::dot::{DotError, DotLimits, DotPool, Endpoint, Observed, PeerProof};
use crate::place::Surroundings;
use crate::session::{Route, Session};
use crate::store::Store;
use crate::trust::KnownIdentity;
use crate::walker::{Carrier, Walked};

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(5);
/// How long a connection is tried for that no question waits for.
const CONNECT_AHEAD: Duration = Duration::from_secs(5);

pub(super) struct Discovery {
    pub(super) surroundings: Surroundings,
    pub(super) store: Arc<Store>,
    pub(super) inner: Mutex<Inner>,
    /// Held while session and store change together.
    pub(super) memory: tokio::sync::Mutex<()>,
    /// Counts the walks that ended.
    pub(super) walks: watch::Sender<u64>,
    /// What the server offers where it is not upgraded.
    pub(super) legacy: Legacy,
}

pub(super) struct Inner {
    pub(super) session: Session,
    /// The pool for the identity of the session, and what it was made for.
    pub(super) pool: Option<(PoolKey, Arc<DotPool>)>,
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
        self.walks.send_modify(|walks| *walks += 1);
    }

    /// Whom the store expects here.
    fn expected(&self) -> Option<KnownIdentity> {
        let place = self.surroundings.place;
        self.store.expected_behind(place, self.server())
    }

    /// Whether the store expects somebody at the configured server. If so, so does the session.
    pub(super) async fn is_bound(&self) -> bool {
        if self.expected().is_none() {
            return false;
        }
        let _memory = self.memory.lock().await;
        let bound = self.expected();
        let is_bound = bound.is_some();
        if let Some(identity) = bound {
            self.lock().session.bind(identity);
        }
        is_bound
    }

    pub(super) async fn end_walk(&self, walked: Walked) {
        let Walked { verdict, met } = walked;
        tell(self.server(), &verdict);
        let judged = match &verdict {
            Verdict::Upgraded(found) => {
                Some((found.endpoint, found.name.clone(), found.tlsa.clone()))
            }
            _ => None,
        };
        let upgraded = {
            let _memory = self.memory.lock().await;
            let remembered = match &verdict {
                Verdict::Upgraded(discovered) => self.store.identity(&discovered.name),
                _ => None,
            };
            let server = self.server();
            let bound = self.expected();
            let change = {
                let session = &mut self.lock().session;
                if let Some(identity) = bound {
                    session.bind(identity);
                }
                session.end_walk(now(), verdict, remembered)
            };
            let upgraded = change.is_some();
            if let Some(identity) = change {
                self.learn(server, identity).await;
            }
            if let (Some(judged), Some(met)) = (judged, met) {
                self.continue_on(&judged, met);
            }
            upgraded
        };
        self.walks.send_modify(|walks| *walks += 1);
        if upgraded && let Some(pool) = self.pool() {
            // For the first question to come; how it went is told when somebody asks.
            let _ = pool.connect(now() + CONNECT_AHEAD).await;
        }
    }

    /// The first questions go over the connection on which the peer was judged, if it was judged by what questions are
    /// asked under now.
    fn continue_on(&self, judged: &PoolKey, met: Observed) {
        let mut inner = self.lock();
        let pool = inner.pool();
        if let (Some(pool), Some((made_for, _))) = (pool, &inner.pool)
            && made_for == judged
        {
            pool.continue_on(met);
        }
    }

    /// Latches, durably, before the first question is asked of the identity.
    async fn learn(&self, server: SocketAddr, identity: KnownIdentity) {
        let store = Arc::clone(&self.store);
        let known = identity.clone();
        let surroundings = self.surroundings.clone();
        let write = move || store.remember(&surroundings, server, known);
        let written = tokio::task::spawn_blocking(write).await;
        let outcome = match written {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "what was learned is not remembered");
        }
        let session = &mut self.lock().session;
        session.learn(now(), UnixTime::now(), identity, outcome);
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
        if first && route == Route::AfterWalk {
            upstream.begin_walk(Allowed::InClear);
        } else if refresh {
            upstream.begin_walk(Allowed::Encrypted);
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
