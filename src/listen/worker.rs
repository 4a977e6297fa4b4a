//! The threads that serve: one for each processor, each with a runtime and sockets of its own.
//!
//! What a worker takes from a socket it also answers, and where the source of answers has to be
//! waited for, that is waited for on the same worker.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::timeout,
};

use super::{
    CLOSE_TIME, gate,
    shared::{Phase, Shared, drained},
};

/// After so many tasks a worker looks at its sockets, however many tasks are ready: a task may
/// answer a batch of queries.
const TASKS_BETWEEN_LOOKS: u32 = 8;

/// Runtimes that wait for their threads.
#[derive(Debug)]
pub(super) struct Idle(Vec<Runtime>);

impl Idle {
    /// For so many workers, one at the least.
    pub(super) fn new(workers: usize) -> io::Result<Self> {
        let mut idle = Self(Vec::new());
        for _ in 0..workers.max(1) {
            idle.0.push(
                Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .event_interval(TASKS_BETWEEN_LOOKS)
                    .build()?,
            );
        }
        Ok(idle)
    }

    /// Where the tasks of each worker go.
    pub(super) fn handles(&self) -> Vec<Handle> {
        let handle = |runtime: &Runtime| runtime.handle().clone();
        self.0.iter().map(handle).collect()
    }

    /// Runs each in a thread of its own, until nothing of the front is left.
    pub(super) fn run(mut self, shared: &Arc<Shared>) -> io::Result<()> {
        for (number, runtime) in self.0.drain(..).enumerate() {
            // Dropped on an error, too, without waiting.
            let idle = Self(vec![runtime]);
            let shared = Arc::clone(shared);
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    for runtime in &idle.0 {
                        runtime.block_on(async {
                            tokio::spawn(gate::keep());
                            over(&shared).await;
                        });
                    }
                })?;
        }
        Ok(())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for runtime in self.0.drain(..) {
            // Where this happens may be no place to wait, and there is nothing to wait for.
            runtime.shutdown_background();
        }
    }
}

/// The worker that has the fewest connections, where `own` has so many more that moving one is
/// worth it: to which worker a connection comes is the kernel's dice.
pub(super) fn less_busy(connections: &[AtomicUsize], own: usize) -> Option<usize> {
    let load = |worker: usize| connections[worker].load(Ordering::Relaxed);
    let (least, worker) = (0..connections.len())
        .map(|worker| (load(worker), worker))
        .min()?;
    (load(own) > least + least / 8).then_some(worker)
}

/// Waits until the front has ended, for all workers: what one of them waits for may be a task of
/// another.
async fn over(shared: &Shared) {
    drained(&mut shared.life.subscribe()).await;
    let mut rounds = 0;
    while rounds < 3 && timeout(CLOSE_TIME, shared.life.closed()).await.is_err() {
        if shared.phase() == Phase::Closed {
            rounds += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_all_come_to_one_worker_are_shared_out() {
        let connections: Vec<_> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..1000 {
            let worker = less_busy(&connections, 2).unwrap_or(2);
            connections[worker].fetch_add(1, Ordering::Relaxed);
        }
        let loads: Vec<_> = connections
            .into_iter()
            .map(AtomicUsize::into_inner)
            .collect();
        assert!(
            loads.iter().all(|load| (200..=300).contains(load)),
            "{loads:?}"
        );
        let even: Vec<_> = (0..3).map(|_| AtomicUsize::new(8)).collect();
        assert_eq!(less_busy(&even, 1), None, "nothing is moved for nothing");
    }
}
