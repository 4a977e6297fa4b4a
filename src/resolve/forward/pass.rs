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
        let now = Instant::now().into_std();
        let order = order::order(&self.health(), &self.tiers(), now);
        let id = |at: &usize| self.servers[*at].id();
        match through {
            Through::Preferred => order.into_iter().find(|at| id(at).is_some()),
            Through::Upstream(wanted) => {
                // One that is left out of the order is published all the same.
                let mut all = order.into_iter().chain(0..self.servers.len());
                all.find(|at| id(at).as_ref() == Some(wanted))
            }
        }
    }
}
