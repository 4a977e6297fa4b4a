//! Answers from the resolver that already runs on this machine.
//!
//! Its policies and its local names go on as before: messages pass through untouched in both
//! directions, refusals and all.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use super::{Forward, Resolution, Source, loops::LoopGuard};

/// The resolver on this machine.
#[derive(Debug)]
pub struct Local {
    resolver: SocketAddr,
    guard: LoopGuard,
}

impl Local {
    /// Asks `resolver`, and notices when that asks this server in turn.
    pub fn new(resolver: SocketAddr) -> Self {
        let forward = Arc::new(Forward::plain(&[resolver]));
        Self {
            resolver,
            guard: LoopGuard::new(forward, resolver),
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
