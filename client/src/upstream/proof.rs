//! Whether the resolver that is expected proves itself, now and in these surroundings.

use std::net::SocketAddr;
use std::sync::Arc;

use zzdot_zonegen::clock::UnixTime;

use super::discovery::CONNECT_AHEAD;
use super::{Kind, Upstream, now};
use crate::place::Surroundings;
use crate::session::Route;
use crate::trust::KnownIdentity;

/// The resolver that is expected in `surroundings` proved itself by TLS there.
#[derive(Clone, Debug, PartialEq)]
pub struct Proven {
    /// Who, and where it was reached.
    pub identity: KnownIdentity,
    /// The server that the network names.
    pub server: SocketAddr,
    /// What the network showed before the connection was made, and after.
    pub surroundings: Surroundings,
}

/// Nobody proved anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Nobody is expected here.
    #[error("nobody is expected here")]
    NobodyExpected,
    /// The network changed meanwhile, or the link went down.
    #[error("the network changed while it was looked at")]
    Changed,
    /// The connection failed, or nothing may be asked of the resolver.
    #[error("{0}")]
    Failed(String),
}

impl Upstream {
    /// Makes a new connection with the resolver that is expected. One that there was before says nothing: it may have been
    /// made before the network was in doubt.
    ///
    /// # Errors
    /// [`Unproven`].
    pub async fn prove(&self) -> Result<Proven, Unproven> {
        let Kind::Discovered(discovery) = &self.kind else {
            return Err(Unproven::NobodyExpected);
        };
        let before = discovery.surroundings();
        let pool = discovery.pool().ok_or(Unproven::NobodyExpected)?;
        if let Err(error) = pool.renew(now() + CONNECT_AHEAD).await {
            let failure = discovery.lock().session.explain(&error);
            return Err(Unproven::Failed(failure.ede().1));
        }
        let inner = discovery.lock();
        if self.is_retired() || inner.surroundings != before {
            return Err(Unproven::Changed);
        }
        match inner.session.route(now(), UnixTime::now()) {
            Route::Encrypted => {}
            Route::Fail(failure) | Route::FailAndWalk(failure) => {
                return Err(Unproven::Failed(failure.ede().1));
            }
            Route::Legacy | Route::AfterWalk => return Err(Unproven::NobodyExpected),
        }
        let (identity, endpoint) = match (inner.session.identity(), &inner.pool) {
            // Another pool would be for another identity, or for other keys of it.
            (Some(identity), Some(((endpoint, name, tlsa), made)))
                if Arc::ptr_eq(made, &pool) && (name, tlsa) == (&identity.name, &identity.tlsa) =>
            {
                (identity.clone(), *endpoint)
            }
            _ => return Err(Unproven::Changed),
        };
        Ok(Proven {
            identity: KnownIdentity {
                endpoint,
                ..identity
            },
            server: inner.session.server(),
            surroundings: before,
        })
    }
}
