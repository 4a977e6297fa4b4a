//! So that a flood of handshakes does not slow those down who have shaken hands.
//!
//! The first step of a handshake costs a thread a hundred times what an answer does. Each worker
//! takes a few of them, then serves whoever else is ready, then takes the next: first come, first
//! served. How long a newcomer may wait is the affair of the limit `handshake-ms`, and how many
//! may, that of the crowd.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    task::{Poll, Waker},
};

use tokio::task::yield_now;

/// Steps that a worker takes before the others' turn.
pub(super) const STEPS_A_TURN: usize = 4;

thread_local! {
    /// The worker's.
    static GATE: RefCell<Gate> = const { RefCell::new(Gate::new()) };
}

/// A place in the queue of a worker.
#[derive(Debug, Default)]
pub(super) struct Ticket(Option<u64>);

/// Whether `ticket` may take a step now. If not, `waker` is woken when it may.
pub(super) fn may_pass(ticket: &mut Ticket, waker: &Waker) -> bool {
    GATE.with_borrow_mut(|gate| gate.may_pass(ticket, waker))
}

/// Opens the worker's gate again and again; each worker runs this.
pub(super) async fn keep() {
    loop {
        poll_fn(|context| GATE.with_borrow_mut(|gate| gate.poll_busy(context.waker()))).await;
        // Whoever else is ready, or becomes so by what the kernel says now, comes first.
        yield_now().await;
        GATE.with_borrow_mut(Gate::open);
    }
}

#[derive(Debug)]
struct Gate {
    /// Steps that are left in this turn.
    left: usize,
    waiting: VecDeque<Waker>,
    /// The ticket of the first in the queue: those before it may pass.
    first: u64,
    keeper: Option<Waker>,
}

impl Gate {
    const fn new() -> Self {
        Self {
            left: STEPS_A_TURN,
            waiting: VecDeque::new(),
            first: 0,
            keeper: None,
        }
    }

    fn may_pass(&mut self, ticket: &mut Ticket, waker: &Waker) -> bool {
        match ticket.0 {
            Some(number) if number < self.first => ticket.0 = None,
            Some(_) => return false,
            None => {
                self.keeper.as_ref().inspect(|keeper| keeper.wake_by_ref());
                if self.left == 0 || !self.waiting.is_empty() {
                    ticket.0 = Some(self.first + self.waiting.len() as u64);
                    self.waiting.push_back(waker.clone());
                    return false;
                }
                self.left -= 1;
            }
        }
        true
    }

    /// Ready when somebody has passed or waits.
    fn poll_busy(&mut self, keeper: &Waker) -> Poll<()> {
        if self.left < STEPS_A_TURN || !self.waiting.is_empty() {
            return Poll::Ready(());
        }
        self.keeper = Some(keeper.clone());
        Poll::Pending
    }

    /// Begins a turn.
    fn open(&mut self) {
        let called = self.waiting.len().min(STEPS_A_TURN);
        for waker in self.waiting.drain(..called) {
            waker.wake();
        }
        self.first += called as u64;
        self.left = STEPS_A_TURN - called;
        if self.waiting.is_empty() {
            // What a flood needed is given back.
            self.waiting.shrink_to(STEPS_A_TURN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, future::Future, rc::Rc};
    use tokio::task::{LocalSet, spawn_local};

    async fn pass(ticket: &mut Ticket) {
        poll_fn(|context| match may_pass(ticket, context.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    async fn locally(test: impl Future<Output = ()>) {
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn between_a_few_steps_everybody_else_has_a_turn() {
        const NEWCOMERS: usize = 1000;
        locally(async {
            let keeper = spawn_local(keep());
            let steps = Rc::new(Cell::new(0));
            for _ in 0..NEWCOMERS {
                let steps = Rc::clone(&steps);
                spawn_local(async move {
                    pass(&mut Ticket::default()).await;
                    steps.set(steps.get() + 1);
                });
            }
            let (mut before, mut turns) = (0, 0);
            while steps.get() < NEWCOMERS {
                yield_now().await;
                let now = steps.get();
                // The end of one turn and the beginning of the next.
                assert!(now - before <= 2 * STEPS_A_TURN, "{} at once", now - before);
                before = now;
                turns += 1;
            }
            assert!(turns >= NEWCOMERS / (2 * STEPS_A_TURN), "{turns}");
            keeper.abort();
        })
        .await;
    }

    #[tokio::test]
    async fn who_came_first_passes_first_and_who_left_does_not_block() {
        locally(async {
            let keeper = spawn_local(keep());
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..100)
                .map(|number| {
                    let order = Rc::clone(&order);
                    spawn_local(async move {
                        pass(&mut Ticket::default()).await;
                        order.borrow_mut().push(number);
                    })
                })
                .collect();
            yield_now().await;
            for task in tasks.iter().skip(50).step_by(2) {
                task.abort();
            }
            for task in tasks {
                let _ = task.await;
            }
            let order = order.borrow();
            assert!(order.is_sorted(), "{order:?}");
            assert_eq!(order.len(), 75, "{order:?}");
            keeper.abort();
        })
        .await;
    }

    #[tokio::test]
    async fn a_gate_that_nobody_waits_at_is_open() {
        locally(async {
            let keeper = spawn_local(keep());
            for _ in 0..10 * STEPS_A_TURN {
                let mut ticket = Ticket::default();
                assert!(may_pass(&mut ticket, Waker::noop()));
                // The keeper notices, yields, and opens.
                for _ in 0..3 {
                    yield_now().await;
                }
            }
            keeper.abort();
        })
        .await;
    }
}
