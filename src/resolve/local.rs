//! Answers from the resolver that already runs on this machine.
//!
//! Its policies and its local names go on as before: messages pass through untouched in both
//! directions, refusals and all.

use std::{net::SocketAddr, sync::Arc};

use hickory_proto::rr::Name;
use tokio::time::Instant;

use super::{Forward, Resolution, Source, loops::LoopGuard};

/// The resolver on this machine.
#[derive(Debug)]
pub struct Local {
    resolver: SocketAddr,
    guard: LoopGuard,
}

impl Local {
    /// Asks `resolver`. `own_name` is this server's, by which it notices when the resolver asks
    /// it in turn.
    pub fn new(resolver: SocketAddr, own_name: Name) -> Self {
        let forward = Forward::plain(&[resolver]);
        Self {
            resolver,
            guard: LoopGuard::new(forward, resolver, own_name),
        }
    }
}

impl Source for Local {
    fn resolve(&self, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_> {
        Box::pin(self.guard.resolve(query, deadline))
    }

    fn describe(&self) -> serde_json::Value {
        let mut said = self.guard.inner().describe();
        said["mode"] = "local".into();
        said["resolver"] = self.resolver.to_string().into();
        said
    }
}
