//! The listeners on this machine: questions of programs in, answers out.

mod limits;
mod screen;
mod sockets;
mod tcp;
mod udp;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use limits::{StubCounters, StubCounts, StubLimits};
pub use sockets::{BindError, Sockets};

use crate::config::Askers;
use crate::dot::Lane;

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// Where answers come from.
pub trait Answer: Send + Sync + 'static {
    /// The answer to a sound question, whatever it takes: in the worst case a failure, in time,
    /// under the question's id. EDNS options that are between two neighbours are left to the
    /// caller.
    fn answer(self: Arc<Self>, query: Vec<u8>) -> Answering;

    /// The short way for sound questions in datagrams, where there is one now. It is taken anew for each batch of
    /// them, and what it does not take is for [`Answer::answer`].
    fn lane(self: Arc<Self>) -> Option<Lane> {
        None
    }
}

/// The listeners, at work until they are drained or dropped.
#[derive(Debug)]
pub struct Stub {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    addresses: Vec<SocketAddr>,
}

struct Shared {
    source: Arc<dyn Answer>,
    askers: Askers,
    limits: StubLimits,
    counters: Arc<StubCounters>,
    udp_turns: Arc<Semaphore>,
    tcp_turns: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether somebody at `peer` may ask at `local`. Who asks from the very address that listens
    /// is this machine.
    fn admits(&self, peer: IpAddr, local: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.askers == Askers::Any || peer.is_loopback() || peer == local.to_canonical()
    }
}

impl Stub {
    /// Starts to serve. Call within a tokio runtime.
    ///
    /// # Errors
    /// When the runtime does not take a socket.
    pub fn start(
        sockets: Sockets,
        source: Arc<dyn Answer>,
        askers: Askers,
        limits: StubLimits,
        counters: Arc<StubCounters>,
    ) -> io::Result<Self> {
        let addresses = sockets.addresses();
        let permits = |count: u32| Arc::new(Semaphore::new(count.max(1) as usize));
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            source,
            askers,
            udp_turns: permits(limits.udp_in_flight),
            tcp_turns: permits(limits.tcp_connections),
            limits,
            counters,
            stopping,
        });
        let mut tasks = JoinSet::new();
        for socket in sockets.udp {
            let listener = udp::listener(socket, &shared.counters)?;
            tasks.spawn(udp::serve(listener, Arc::clone(&shared)));
        }
        for listener in sockets.tcp {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks.spawn(tcp::serve(listener, Arc::clone(&shared)));
        }
        Ok(Self {
            shared,
            tasks,
            stop,
            addresses,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no more questions and waits for the answers under way, for `patience` at the most.
    pub async fn drain(mut self, patience: Duration) {
        self.stop.send_replace(true);
        let all_udp = self.shared.limits.udp_in_flight.max(1);
        let all_tcp = self.shared.limits.tcp_connections.max(1);
        let idle = async {
            let _ = self.shared.udp_turns.acquire_many(all_udp).await;
            let _ = self.shared.tcp_turns.acquire_many(all_tcp).await;
        };
        if tokio::time::timeout(patience, idle).await.is_err() {
            tracing::warn!("stopped with answers under way");
        }
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
