//! Whom questions are asked of where the resolver is a forwarder: itself, or the resolver at the end of the chain; and
//! whether they are asked at all. `decision.rs` decides, without IO.

mod decision;
mod ends;
mod service;
mod survey;
mod told;
mod voucher;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use zzdot_zonegen::name::ResolverName;

use crate::config::{FirstUse, RoutePolicy};
use crate::dot::{DotPool, Pursuit};
use crate::session::{Failure, Policy};

use decision::{Link, Routing};
use ends::EndPool;

pub(super) use ends::{Doubtful, FromEnd};
pub use survey::Untraceable;

/// What is known behind one server, and the connection with the end of it.
pub(super) struct Chains {
    routing: Mutex<Routing>,
    /// Counts the surveys that ended.
    surveys: watch::Sender<u64>,
    end: Mutex<Option<EndPool>>,
    /// Questions answered by an end.
    to_end: AtomicU64,
    /// Told when a survey may be due that no question asks for.
    wanted: Arc<Notify>,
}

impl Chains {
    pub(super) fn new(policy: RoutePolicy) -> Self {
        Self {
            routing: Mutex::new(Routing::new(policy)),
            surveys: watch::Sender::new(0),
            end: Mutex::default(),
            to_end: AtomicU64::new(0),
            wanted: Arc::default(),
        }
    }

    /// Takes over a policy that was `before`. Where it makes a difference to who may be the end, that is chosen anew.
    pub(super) fn set_policy(&self, policy: Policy, before: Policy) {
        let bears = |policy: Policy| (policy.route, policy.first_use == FirstUse::EnrolledOnly);
        if bears(policy) == bears(before) {
            return;
        }
        let mut routing = self.routing();
        routing.set_policy(policy.route);
        routing.look_soon();
        *self.end_pool() = None;
        self.wanted.notify_one();
    }

    /// What was found counts no more.
    pub(super) fn start_over(&self) {
        let mut routing = self.routing();
        routing.start_over();
        *self.end_pool() = None;
    }

    /// A person decided about somebody, who may be on the way, or the end that is asked.
    pub(super) fn on_decision(&self, may_be_asked: impl Fn(&ResolverName) -> bool) {
        let mut routing = self.routing();
        routing.on_decision(&may_be_asked);
        let mut end = self.end_pool();
        let stays = |end: &EndPool| may_be_asked(&end.end().name);
        *end = end.take().filter(stays);
        if let Some(end) = &*end {
            end.on_decision();
        }
    }

    /// Completes when it may be time for a survey that no question asks for.
    pub(super) fn wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.wanted)
    }

    fn routing(&self) -> MutexGuard<'_, Routing> {
        // Nothing in here panics half-way through a change.
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked within `routing`, where both are, so that both are always of one survey.
    fn end_pool(&self) -> MutexGuard<'_, Option<EndPool>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a question is that somebody has to look after.
pub(super) enum Begun {
    /// Nobody was asked yet.
    No,
    /// The nearest was asked, over TLS.
    AtNearest(Pursuit),
    /// The end was asked: it gave an answer to be compared, or none.
    AtEnd(Option<Doubtful>),
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
