//! What the tasks of a front share, and where in its life it is.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, sync::watch, time::Instant};

use super::{Limits, ask::Inquirer, crowd::Crowd, flight::Flight, sockets};
use crate::{answer::Responder, counters::Counters};

/// What the tasks of a front share.
pub(super) struct Shared {
    pub(super) responder: Arc<Responder>,
    pub(super) limits: Limits,
    pub(super) tls: Arc<ArcSwap<rustls::ServerConfig>>,
    pub(super) crowd: Arc<Crowd>,
    pub(super) connections_allowed: usize,
    pub(super) udp_flight: Arc<Flight>,
    pub(super) stream_flight: Arc<Flight>,
    pub(super) inquirer: Inquirer,
    /// A [`Phase`], for those who look at every turn.
    phase: AtomicU8,
    /// TLS connections of an earlier era than this are to end.
    era: AtomicU32,
    /// The phase, for those who wait. Every task holds a receiver: none is left once this is
    /// closed.
    pub(super) life: watch::Sender<Phase>,
    /// Of each worker.
    pub(super) runtimes: Vec<Handle>,
    /// The connections of each worker.
    pub(super) seats: Vec<AtomicUsize>,
}

/// Where in its life a front is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    Serving,
    /// Nothing new is read; what is in flight is finished.
    Draining,
    /// Everything ends now.
    Closed,
}

impl Shared {
    /// For workers with these runtimes.
    pub(super) fn new(
        responder: Arc<Responder>,
        limits: Limits,
        tls: Arc<ArcSwap<rustls::ServerConfig>>,
        runtimes: Vec<Handle>,
    ) -> Self {
        let connections_allowed = sockets::descriptors_for(&limits);
        Self {
            tls,
            crowd: Crowd::new(
                connections_allowed,
                limits.connections_per_address,
                Instant::now(),
            ),
            connections_allowed,
            udp_flight: Flight::new(limits.udp_queries, limits.udp_queries_per_address),
            stream_flight: Flight::new(limits.stream_queries, limits.stream_queries_per_address),
            inquirer: Inquirer::new(Arc::clone(&responder), limits.query),
            limits,
            responder,
            phase: AtomicU8::new(Phase::Serving as u8),
            era: AtomicU32::new(0),
            life: watch::Sender::new(Phase::Serving),
            seats: runtimes.iter().map(|_| AtomicUsize::new(0)).collect(),
            runtimes,
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        self.responder.counters()
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    /// The era of a TLS connection that begins now, to be asked for before its certificate is: where both change in
    /// between, it counts as too old.
    pub(super) fn era(&self) -> u32 {
        self.era.load(Ordering::Acquire)
    }

    /// Ends the era of the TLS connections that there are.
    pub(super) fn begin_era(&self) {
        self.era.fetch_add(1, Ordering::AcqRel);
        self.crowd.wake();
    }

    /// Goes on to `phase`; never back.
    pub(super) fn enter(&self, phase: Phase) {
        if self.phase.fetch_max(phase as u8, Ordering::AcqRel) < phase as u8 {
            self.life.send_replace(phase);
            self.crowd.wake();
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Waits until the front is no longer serving or gone.
pub(super) async fn drained(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

/// Waits until the front's deadline has passed; for ever when it is dropped without a drain.
pub(super) async fn closed(phase: &mut watch::Receiver<Phase>) {
    if phase
        .wait_for(|phase| *phase == Phase::Closed)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}
