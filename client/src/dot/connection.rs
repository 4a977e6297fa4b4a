//! One stream with many questions on it.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::sleep_until;

use super::DotLimits;
use super::connect::{Link, now};
use super::driver::drive;
use super::express::{Patron, Terms};
use super::mux::Mux;
use super::pool::Inner;
use crate::datagrams::Asker;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server closed it, as it may at any time.
    ByServer,
    /// Nothing was asked for as long as the server keeps idle connections.
    Idle,
    /// The server said nothing for too long while something was unanswered.
    Silent,
    /// The network or the other end broke it.
    Broken(io::ErrorKind),
    /// Too many answers to questions that were not asked.
    Confused,
    /// Nobody needs it any more.
    Released,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByServer => f.write_str("closed by the server"),
            Self::Idle => f.write_str("idle"),
            Self::Silent => f.write_str("the server fell silent"),
            Self::Broken(kind) => write!(f, "{kind}"),
            Self::Confused => f.write_str("the server answers what was not asked"),
            Self::Released => f.write_str("released"),
        }
    }
}

/// What all connections of a pool did.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) mismatched: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) connect_failures: AtomicU64,
    pub(super) resent: AtomicU64,
    pub(super) hedged: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) busy: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// A connection. It says goodbye and ends when the last owner drops it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Rises from one connection of a pool to the next.
    pub(super) serial: u64,
    shared: Arc<Shared>,
}

/// What a connection and its driver have in common.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Told when there is room again for questions, and when there never will be.
    room: Notify,
    pub(super) counters: Arc<Counters>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) mux: Mux<Express>,
    /// The driver's, which is to look again.
    pub(super) waker: Option<Waker>,
    /// Nobody will ask any more.
    pub(super) released: bool,
}

/// What is kept for a question that the driver answers by itself.
pub(super) struct Express {
    pub(super) asker: Asker,
    pub(super) held: Held,
}

/// What must not go before the answer came. Not to be dropped while the connection is locked: it may hold the last of
/// its owners.
pub(super) struct Held {
    pub(super) patron: Arc<dyn Patron>,
    pub(super) pool: Arc<Inner>,
    pub(super) connection: Arc<Connection>,
    /// Its place among the questions of the pool.
    pub(super) turn: OwnedSemaphorePermit,
    /// Under which its answer is kept, if it is.
    pub(super) terms: Option<Terms>,
}

impl fmt::Debug for Express {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Express").field(&self.asker).finish()
    }
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) connection: Arc<Connection>,
    id: Option<u16>,
    sent_at: Instant,
    answer: oneshot::Receiver<Vec<u8>>,
}

impl Connection {
    /// Takes over `link`. Call within a tokio runtime.
    pub(super) fn start(
        serial: u64,
        link: Link,
        limits: &DotLimits,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mux: Mux::new(now(), limits),
                waker: None,
                released: false,
            }),
            room: Notify::new(),
            counters,
        });
        tokio::spawn(drive(link, Arc::clone(&shared), limits.write));
        Arc::new(Self { serial, shared })
    }

    /// Whether a new question may be sent here.
    pub(super) fn is_open(&self) -> bool {
        self.shared.lock().mux.is_open()
    }

    /// Whether the server ever said anything here.
    pub(super) fn was_heard(&self) -> bool {
        self.shared.lock().mux.was_heard()
    }

    /// Whether answers came that could be passed on, since this was asked last.
    pub(super) fn take_answered(&self) -> bool {
        self.shared.lock().mux.take_answered()
    }

    /// Whether something was unanswered by then, and the server said nothing since.
    pub(super) fn is_silent_since(&self, then: Instant) -> bool {
        self.shared.lock().mux.is_silent_since(then)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.shared.lock().mux.in_flight()
    }

    /// Sends `message` under an id of this connection.
    pub(super) async fn send(self: &Arc<Self>, message: &[u8]) -> Result<Ticket, Ended> {
        let room = self.shared.room.notified();
        tokio::pin!(room);
        loop {
            // Before the look, so that no notice is missed.
            room.as_mut().enable();
            {
                let state = self.shared.lock();
                if let Some(ended) = state.mux.ended() {
                    return Err(ended);
                }
                if state.mux.has_room() {
                    return self.send_now(state, message);
                }
            }
            room.as_mut().await;
            room.set(self.shared.room.notified());
        }
    }

    fn send_now(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        message: &[u8],
    ) -> Result<Ticket, Ended> {
        let (waiter, answer) = oneshot::channel();
        let sent_at = now();
        // 65,536 in flight: the pool's bound is below.
        let id = state.mux.ask(sent_at, message, waiter);
        let id = Some(id.ok_or(Ended::Confused)?);
        state.wake();
        count(&self.shared.counters.sent);
        Ok(Ticket::new(Arc::clone(self), id, sent_at, answer))
    }

    /// Sends `query` when [`Connection::hurry`] is called. It comes back where that cannot be.
    pub(super) fn send_express(
        self: &Arc<Self>,
        now: Instant,
        query: &[u8],
        express: Express,
    ) -> Result<(), Express> {
        let mut state = self.shared.lock();
        if !state.mux.is_open() || !state.mux.has_room() {
            return Err(express);
        }
        state.mux.ask_express(now, query, express)?;
        count(&self.shared.counters.sent);
        Ok(())
    }

    /// Has the driver send what waits.
    pub(super) fn hurry(&self) {
        let mut state = self.shared.lock();
        if state.mux.has_outgoing() {
            state.wake();
        }
    }

    /// The server said how long it keeps idle connections; zero asks to leave.
    pub(super) fn on_answer(&self, keepalive: Option<Duration>) {
        let mut state = self.shared.lock();
        state.mux.on_answered();
        if let Some(timeout) = keepalive {
            state.mux.keep_alive(timeout);
            state.wake();
        }
    }

    /// How it ended; [`Ended::Released`] while it has not.
    fn ended(&self) -> Ended {
        self.shared.lock().mux.ended().unwrap_or(Ended::Released)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.released = true;
        state.wake();
    }
}

impl Ticket {
    /// `answer` comes under `id`, if it still can.
    pub(super) fn new(
        connection: Arc<Connection>,
        id: Option<u16>,
        sent_at: Instant,
        answer: oneshot::Receiver<Vec<u8>>,
    ) -> Self {
        Self {
            connection,
            id,
            sent_at,
            answer,
        }
    }

    /// The answer, or how the connection ended before it came.
    pub(super) async fn answer(&mut self) -> Result<Vec<u8>, Ended> {
        (&mut self.answer)
            .await
            .map_err(|_| self.connection.ended())
    }

    /// Comes back when the server has not been heard on this connection for `patience`, in which
    /// this question waited. A server that answers others is only slow with this one.
    pub(super) fn overdue(&self, patience: Duration) -> impl Future<Output = ()> + use<> {
        let connection = Arc::clone(&self.connection);
        let sent_at = self.sent_at;
        async move {
            loop {
                let heard = connection.shared.lock().mux.last_received();
                let due = heard.max(sent_at) + patience;
                if now() >= due {
                    return;
                }
                sleep_until(due.into()).await;
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.connection.shared.lock().mux.give_up(id);
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is room for questions.
    pub(super) fn tell_room(&self) {
        self.room.notify_waiters();
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
