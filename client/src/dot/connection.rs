//! One stream with many questions on it.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use super::DotLimits;
use super::connect::{Stream, now};
use super::in_flight::{InFlight, Stray};
use crate::framing::{FrameReader, push_frame};

/// Questions that are written at once at the most.
const BATCH: usize = 64;
/// How long a goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Messages that answer other questions under ids in use, after which the server is not believed
/// to know what it does. (Late answers do not count.)
const WRONG_QUESTIONS_MAX: u32 = 16;

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
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A connection. It says goodbye and ends when the last owner drops it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Rises from one connection of a pool to the next.
    pub(super) serial: u64,
    outgoing: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when `state.ended` is set.
    ending: Notify,
    /// Told when the reader's next timeout may have become an earlier one.
    look_again: Notify,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    in_flight: InFlight<oneshot::Sender<Vec<u8>>>,
    ended: Option<Ended>,
    /// The server asked for no more questions on this connection (RFC 7828 §3.2.2).
    leaving: bool,
    heard: bool,
    idle_limit: Duration,
    silence_limit: Duration,
    last_activity: Instant,
    last_received: Instant,
    /// When the oldest question went out since the server was last heard.
    waiting_since: Option<Instant>,
    wrong_questions: u32,
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) connection: Arc<Connection>,
    id: u16,
    sent_at: Instant,
    answer: oneshot::Receiver<Vec<u8>>,
}

impl Connection {
    /// Takes over `stream`. Call within a tokio runtime.
    pub(super) fn start(
        serial: u64,
        stream: Box<dyn Stream>,
        limits: &DotLimits,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let started = now();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                in_flight: InFlight::new(),
                ended: None,
                leaving: false,
                heard: false,
                idle_limit: limits.idle,
                silence_limit: limits.silence,
                last_activity: started,
                last_received: started,
                waiting_since: None,
                wrong_questions: 0,
            }),
            ending: Notify::new(),
            look_again: Notify::new(),
            counters,
        });
        let (outgoing, queue) = mpsc::channel(limits.in_flight.max(1));
        let (reader, writer) = tokio::io::split(stream);
        tokio::spawn(read(reader, Arc::clone(&shared)));
        tokio::spawn(write(writer, queue, Arc::clone(&shared), limits.write));
        Arc::new(Self {
            serial,
            outgoing,
            shared,
        })
    }

    /// Whether a new question may be sent here.
    pub(super) fn is_open(&self) -> bool {
        let state = self.shared.lock();
        state.ended.is_none() && !state.leaving
    }

    /// Whether the server ever said anything here.
    pub(super) fn was_heard(&self) -> bool {
        self.shared.lock().heard
    }

    /// Whether something was unanswered by then, and the server said nothing since.
    pub(super) fn is_silent_since(&self, then: Instant) -> bool {
        let waiting_since = self.shared.lock().waiting_since;
        waiting_since.is_some_and(|since| since <= then)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.shared.lock().in_flight.len()
    }

    /// Sends `message` under an id of this connection.
    pub(super) async fn send(self: &Arc<Self>, message: &[u8]) -> Result<Ticket, Ended> {
        let slot = self.outgoing.reserve().await.map_err(|_| self.ended())?;
        let mut message = message.to_vec();
        let (waiter, answer) = oneshot::channel();
        let sent_at = now();
        let id = {
            let mut state = self.shared.lock();
            if let Some(ended) = state.ended {
                return Err(ended);
            }
            // 65,536 in flight: the pool's bound is below.
            let id = state
                .in_flight
                .insert(&mut message, waiter)
                .ok_or(Ended::Confused)?;
            if state.waiting_since.is_none() {
                state.waiting_since = Some(sent_at);
                self.shared.look_again.notify_one();
            }
            state.last_activity = sent_at;
            id
        };
        let ticket = Ticket {
            connection: Arc::clone(self),
            id,
            sent_at,
            answer,
        };
        slot.send(message);
        count(&self.shared.counters.sent);
        Ok(ticket)
    }

    /// The server said how long it keeps idle connections; zero asks to leave.
    pub(super) fn keep_alive(&self, timeout: Duration, most: Duration) {
        let mut state = self.shared.lock();
        if timeout.is_zero() {
            state.leaving = true;
        } else {
            state.idle_limit = timeout.min(most);
        }
        self.shared.look_again.notify_one();
    }

    /// How it ended; [`Ended::Released`] while it has not.
    fn ended(&self) -> Ended {
        self.shared.lock().ended.unwrap_or(Ended::Released)
    }
}

impl Ticket {
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
                let heard = connection.shared.lock().last_received;
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
        self.connection.shared.lock().in_flight.remove(self.id);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, how: Ended) {
        {
            let mut state = self.lock();
            state.ended.get_or_insert(how);
            // Dropping the waiters tells the askers.
            state.in_flight.clear();
        }
        self.ending.notify_waiters();
    }

    async fn ended(&self) {
        let notified = self.ending.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if self.lock().ended.is_none() {
            notified.await;
        }
    }

    fn on_message(&self, now: Instant, message: Vec<u8>) {
        let mut state = self.lock();
        state.heard = true;
        state.last_received = now;
        state.last_activity = now;
        state.waiting_since = None;
        match state.in_flight.take(&message) {
            Ok(waiter) => {
                count(&self.counters.received);
                let _ = waiter.send(message);
            }
            Err(Stray::UnknownId) => count(&self.counters.late),
            Err(Stray::WrongQuestion | Stray::NotAnAnswer) => {
                count(&self.counters.mismatched);
                state.wrong_questions += 1;
            }
        }
        if !state.in_flight.is_empty() {
            state.waiting_since = Some(now);
        }
    }
}

impl State {
    fn on_timeout(&self, now: Instant) -> Option<Ended> {
        let waited = |since: Instant| now.saturating_duration_since(since);
        if self.wrong_questions >= WRONG_QUESTIONS_MAX {
            Some(Ended::Confused)
        } else if self
            .waiting_since
            .is_some_and(|since| waited(since) >= self.silence_limit)
        {
            Some(Ended::Silent)
        } else if self.in_flight.is_empty()
            && (self.leaving || waited(self.last_activity) >= self.idle_limit)
        {
            Some(Ended::Idle)
        } else {
            None
        }
    }

    /// When to look again.
    fn next_timeout(&self) -> Instant {
        let idle = self.last_activity + self.idle_limit;
        match self.waiting_since.map(|since| since + self.silence_limit) {
            Some(silent) if self.in_flight.is_empty() => idle.min(silent),
            Some(silent) => silent,
            None => idle,
        }
    }
}

async fn read<R: AsyncRead + Unpin>(mut stream: R, shared: Arc<Shared>) {
    let mut frames = FrameReader::new();
    let how = loop {
        let wake = {
            let state = shared.lock();
            if let Some(ended) = state.on_timeout(now()) {
                break ended;
            }
            state.next_timeout()
        };
        tokio::select! {
            received = frames.next(&mut stream) => match received {
                Ok(Some(message)) => shared.on_message(now(), message),
                Ok(None) => break Ended::ByServer,
                Err(error) => break Ended::Broken(error.kind()),
            },
            () = sleep_until(wake.into()) => {}
            () = shared.look_again.notified() => {}
            () = shared.ended() => return,
        }
    };
    shared.end(how);
}

async fn write<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut queue: mpsc::Receiver<Vec<u8>>,
    shared: Arc<Shared>,
    patience: Duration,
) {
    let mut messages = Vec::with_capacity(BATCH);
    let mut bytes = Vec::new();
    loop {
        messages.clear();
        bytes.clear();
        tokio::select! {
            taken = queue.recv_many(&mut messages, BATCH) => if taken == 0 {
                shared.end(Ended::Released);
                break;
            },
            () = shared.ended() => break,
        }
        for message in &messages {
            // The pool refuses what is longer than a message can be.
            let _ = push_frame(&mut bytes, message);
        }
        let written = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        let broken = tokio::select! {
            written = timeout(patience, written) => match written {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => Ended::Broken(error.kind()),
                Err(_) => Ended::Broken(io::ErrorKind::TimedOut),
            },
            () = shared.ended() => break,
        };
        shared.end(broken);
        break;
    }
    // close_notify (RFC 8446 §6.1), so that the other end knows that nothing is missing.
    let _ = timeout(FAREWELL, stream.shutdown()).await;
}
