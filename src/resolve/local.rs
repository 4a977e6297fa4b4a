//! Answers from the resolver that already runs on this machine.
//!
//! Its policies and its local names go on as before: messages pass through untouched in both
//! directions, refusals and all. Where it forwards, whoever asks us is told that we ask it
//! (protocol.md §3); whom it asks, only it knows.

use std::{net::SocketAddr, sync::Arc};

use serde_json::Value;
use tokio::time::Instant;
use zzdot_zonegen::zone::ServerType;

use super::{Forward, Passage, Resolution, Source, loops::LoopGuard};

/// The resolver on this machine.
#[derive(Debug)]
pub struct Local {
    resolver: SocketAddr,
    /// What it does, by the word of whoever configured it.
    server_type: ServerType,
    forward: Arc<Forward>,
    guard: LoopGuard,
}

impl Local {
    /// Asks `resolver`, which is a `server_type`, and notices when that asks this server in turn.
    pub fn new(resolver: SocketAddr, server_type: ServerType) -> Self {
        let forward = Arc::new(Forward::plain(&[resolver]));
        Self {
            resolver,
            server_type,
            guard: LoopGuard::new(Arc::clone(&forward)),
            forward,
        }
    }

    /// The upstream that others are told about; none where it is the end of every chain, and as good as a part of us.
    pub(super) fn forward(&self) -> Option<Arc<Forward>> {
        match self.server_type {
            ServerType::Forwarder => Some(Arc::clone(&self.forward)),
            ServerType::Resolver => None,
        }
    }
}

impl Source for Local {
    fn resolve(&self, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_> {
        Box::pin(self.guard.resolve(query, deadline))
    }

    fn describe(&self) -> Value {
        let mut said = self.forward.describe();
        said["mode"] = "local".into();
        said["resolver"] = self.resolver.to_string().into();
        said["upstreams"] = self.upstreams().into();
        said
    }

    fn upstreams(&self) -> Vec<Value> {
        let mut told = self.forward.upstreams();
        for upstream in &mut told {
            // At whichever of the machine's addresses.
            upstream["on-this-machine"] = true.into();
            if self.server_type == ServerType::Resolver {
                upstream["published-as"] = Value::Null;
            }
        }
        told
    }

    fn passage(&self) -> Option<&dyn Passage> {
        match self.server_type {
            ServerType::Forwarder => self.forward.passage(),
            ServerType::Resolver => None,
        }
    }
}
