//! Whom questions are asked of where the resolver is a forwarder: itself, or the resolver at the end of the chain; and
//! whether they are asked at all. `decision.rs` decides, without IO.

mod decision;
mod ends;
mod survey;
mod told;

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use zzdot_zonegen::name::ResolverName;

use crate::config::RoutePolicy;
use crate::dot::DotPool;
use crate::session::Failure;

use decision::{Link, Routing};
use ends::EndPool;

pub use survey::Untraceable;

/// What is known behind one server, and the connection with the end of it.
pub(super) struct Chains {
    routing: Mutex<Routing>,
    /// Counts the surveys that ended.
    surveys: watch::Sender<u64>,
    end: Mutex<Option<EndPool>>,
    /// Questions answered by an end.
    to_end: AtomicU64,
}

impl Chains {
    pub(super) fn new(policy: RoutePolicy) -> Self {
        Self {
            routing: Mutex::new(Routing::new(policy)),
            surveys: watch::Sender::new(0),
            end: Mutex::default(),
            to_end: AtomicU64::new(0),
        }
    }

    pub(super) fn set_policy(&self, policy: RoutePolicy) {
        self.routing().set_policy(policy);
    }

    /// What was found counts no more.
    pub(super) fn start_over(&self) {
        self.routing().start_over();
        *self.end_pool() = None;
    }

    /// A person decided about somebody, who may be the end that is asked.
    pub(super) fn drop_end(&self, may_be_asked: impl Fn(&ResolverName) -> bool) {
        self.routing().drop_end(&may_be_asked);
        let mut end = self.end_pool();
        if end
            .as_ref()
            .is_some_and(|end| !may_be_asked(&end.end().name))
        {
            *end = None;
        }
    }

    fn routing(&self) -> MutexGuard<'_, Routing> {
        // Nothing in here panics half-way through a change.
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_pool(&self) -> MutexGuard<'_, Option<EndPool>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a question goes that may go over TLS.
pub(super) enum Way {
    /// To the resolver that the session is with.
    Nearest,
    /// To the end of the chain; to the nearest, where that fails.
    End(EndPool),
    /// Nowhere before a survey ended. If that takes too long, this is why.
    AfterSurvey(watch::Receiver<u64>, Failure),
    /// Nowhere.
    Fail(Failure),
}

fn link(pool: &DotPool) -> Link {
    let (pool, connection) = pool.generation();
    Link { pool, connection }
}
