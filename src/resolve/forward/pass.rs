//! Questions to one given upstream, for who looks behind us.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Forward, PACKETS_AN_ATTEMPT, order, sanitise};
use crate::resolve::{Passage, Resolution, ResolveError, Through};

impl Passage for Forward {
    fn pass(&self, through: &Through, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_> {
        let at = self.shared.find(through);
        Box::pin(async move {
            let at = at.ok_or(ResolveError::NoUpstream)?;
            let outgoing = sanitise::outgoing(&query)
                .map_err(|_| ResolveError::Unsupported("the query cannot be changed"))?;
            let attempt = self
                .shared
                .attempt(at, PACKETS_AN_ATTEMPT, &outgoing, deadline);
            let attempt = tokio::time::timeout_at(deadline, attempt)
                .await
                .map_err(|_| ResolveError::TimedOut)?;
            self.shared.judge(attempt)
        })
    }
}

impl super::Shared {
    /// The first that is published under that name, or whichever is preferred now.
    fn find(&self, through: &Through) -> Option<usize> {
        let published = |at: &usize| self.servers[*at].id();
        let now = Instant::now().into_std();
        let mut order = order::order(&self.health(), &self.tiers(), now).into_iter();
        match through {
            Through::Preferred => order.find(|at| published(at).is_some()),
            Through::Upstream(id) => order.find(|at| published(at).as_ref() == Some(id)),
        }
    }
}
