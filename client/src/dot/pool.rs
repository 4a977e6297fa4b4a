//! Keeps a connection to one server and gets questions answered over it.

mod reconnect;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep_until, timeout_at};

use super::backoff::{Backoff, SleepWatch};
use super::connect::{Connect, Link, Observed, TlsConnect, now};
use super::connection::{Connection, Counters, Ended, Ticket, count};
use super::express::{Lane, Patron};
use super::hop::Outbound;
use super::{ConnectError, DotError, DotLimits, Endpoint};
use reconnect::Step;

/// Connections that may end between being handed out and being used, before it is called a loss.
const STILLBORN_MAX: u32 = 3;

/// All questions to one server. When its address or its proof changes, make a new pool: nothing
/// of the old one, sessions included, may be used with the new proof.
#[derive(Debug)]
pub struct DotPool {
    inner: Arc<Inner>,
}

/// Tells pools apart.
static POOLS: AtomicU32 = AtomicU32::new(0);

pub(super) struct Inner {
    number: u32,
    address: std::net::SocketAddr,
    connector: Box<dyn Connect>,
    limits: DotLimits,
    turns: Arc<Semaphore>,
    state: Mutex<State>,
    counters: Arc<Counters>,
    /// A connection that was made elsewhere, for the next connect.
    offered: Mutex<Option<Link>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DotPool")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

type Outcome = Option<Result<Arc<Connection>, ConnectError>>;

struct State {
    current: Option<Arc<Connection>>,
    connecting: Option<watch::Receiver<Outcome>>,
    backoff: Backoff,
    sleep: SleepWatch,
    next_serial: u64,
    last_failure: Option<ConnectError>,
    /// When the first of an unbroken row of failures to connect began.
    failing_since: Option<Instant>,
    last_asked: Instant,
    /// Connecting goes on without questions.
    recovering: bool,
}

impl State {
    /// A server that answered is as good as one that never failed.
    fn note_answers(&mut self) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.take_answered())
        {
            self.backoff.reset();
        }
    }

    /// Whether the server fell silent here before it could not be connected to any more.
    fn is_given_up(&self, connection: &Connection) -> bool {
        self.failing_since
            .is_some_and(|since| connection.is_silent_since(since))
    }

    /// Why there is no use in waiting for a connection: it failed for longer than questions wait,
    /// or because the server is another.
    fn is_down(&self, now: Instant, grace: Duration) -> Option<ConnectError> {
        let since = self.failing_since?;
        let error = self.last_failure.as_ref()?;
        let waited = now.saturating_duration_since(since) >= grace;
        (waited || error.is_about_trust()).then(|| error.clone())
    }
}

/// What a pool is doing and has done, for status pages.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolStatus {
    /// The server.
    pub address: std::net::SocketAddr,
    /// Whether there is a connection now.
    pub connected: bool,
    /// Questions on it that wait for an answer.
    pub in_flight: usize,
    /// Questions sent, those sent again included.
    pub sent: u64,
    /// Answers received.
    pub received: u64,
    /// Answers to questions that had been given up.
    pub late: u64,
    /// Answers to questions that were never asked.
    pub mismatched: u64,
    /// Connections made.
    pub connects: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
    /// Questions sent again because their connection ended.
    pub resent: u64,
    /// Questions sent again on a second connection because the first was silent.
    pub hedged: u64,
    /// Questions whose deadline passed.
    pub expired: u64,
    /// Questions whose turn did not come before their deadline.
    pub busy: u64,
    /// Why the last connect failed; none since one succeeded.
    pub last_failure: Option<String>,
}

impl DotPool {
    /// A pool without a connection yet: the first question makes it.
    ///
    /// # Errors
    /// [`ConnectError`] when the proof is nothing that TLS can check.
    pub fn new(endpoint: &Endpoint, limits: DotLimits) -> Result<Self, ConnectError> {
        let connector = TlsConnect::new(endpoint, &limits)?;
        Ok(Self::with_connector(
            endpoint.address,
            Box::new(connector),
            limits,
        ))
    }

    pub(super) fn with_connector(
        address: std::net::SocketAddr,
        connector: Box<dyn Connect>,
        limits: DotLimits,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                number: POOLS.fetch_add(1, Ordering::Relaxed),
                address,
                connector,
                turns: Arc::new(Semaphore::new(
                    limits.in_flight.clamp(1, usize::from(u16::MAX)),
                )),
                limits,
                state: Mutex::new(State {
                    current: None,
                    connecting: None,
                    backoff: Backoff::default(),
                    sleep: SleepWatch::new(now(), SystemTime::now()),
                    next_serial: 0,
                    last_failure: None,
                    failing_since: None,
                    last_asked: now(),
                    recovering: false,
                }),
                counters: Arc::default(),
                offered: Mutex::default(),
            }),
        }
    }

    /// Asks `query`, a whole message, and gives back the answer under the same id: its padding
    /// and the like taken off, everything else as the server sent it.
    ///
    /// # Errors
    /// [`DotError`]; never later than `deadline`.
    pub async fn ask(&self, query: &[u8], deadline: Instant) -> Result<Vec<u8>, DotError> {
        let inner = &self.inner;
        let outbound = Outbound::new(query, inner.limits.padding)?;
        inner.lock().last_asked = now();
        let Ok(Ok(_turn)) = timeout_at(deadline.into(), inner.turns.acquire()).await else {
            count(&inner.counters.busy);
            return Err(DotError::Busy {
                address: inner.address,
                limit: inner.limits.in_flight,
            });
        };
        inner.in_time(deadline, inner.converse(&outbound)).await
    }

    /// The connection as it is now, for questions of `patron` that need nothing but an answer; none while it takes more
    /// than that to ask. [`DotPool::ask`] does what it takes.
    #[must_use]
    pub fn lane(&self, patron: Arc<dyn Patron>) -> Option<Lane> {
        self.inner.lock().last_asked = now();
        match self.inner.next_step(None) {
            (Step::Use(connection), _) => {
                Some(Lane::new(Arc::clone(&self.inner), connection, patron))
            }
            _ => None,
        }
    }

    /// Goes on with a connection whose server gave the proof of this pool, as the caller has seen. Where there is one
    /// already, or about to be, it is left.
    pub fn continue_on(&self, observed: Observed) {
        let inner = &self.inner;
        if observed.address() != inner.address {
            return;
        }
        let state = inner.lock();
        if state.current.is_none() && state.connecting.is_none() {
            *inner.offered() = observed.into_link();
        }
    }

    /// Makes a single attempt at a connection, which the first question then goes over. Told at once where it fails:
    /// for servers of which nobody knows whether they are there at all.
    ///
    /// # Errors
    /// [`ConnectError`], after [`DotLimits::connect`] at the latest.
    pub async fn try_once(&self) -> Result<(), ConnectError> {
        let inner = &self.inner;
        let link = inner.connector.connect().await?;
        let state = inner.lock();
        if state.current.is_none() && state.connecting.is_none() {
            *inner.offered() = Some(link);
        }
        Ok(())
    }

    /// Makes a connection now, so that the first question finds one.
    ///
    /// # Errors
    /// [`DotError::NoConnection`] or [`DotError::Deadline`].
    pub async fn connect(&self, deadline: Instant) -> Result<(), DotError> {
        match timeout_at(deadline.into(), self.inner.connection(None)).await {
            Ok(connected) => Ok(connected.map(drop)?),
            Err(_) => Err(DotError::Deadline {
                address: self.inner.address,
                connect: self.inner.lock().last_failure.clone(),
            }),
        }
    }

    /// Gives up the connection there is, most likely dead, and makes another; the questions that are under way on the
    /// old one are asked again on the new one where the old one stays silent.
    ///
    /// # Errors
    /// As [`DotPool::connect`].
    pub async fn renew(&self, deadline: Instant) -> Result<(), DotError> {
        {
            let mut state = self.inner.lock();
            state.current = None;
            state.failing_since = None;
            state.backoff.reset();
            // It was just noticed.
            state.sleep.slept(now(), SystemTime::now());
        }
        self.connect(deadline).await
    }

    /// Tells this pool from all others, and its connections from one another: neither number comes twice, and the second
    /// rises with each connection.
    #[must_use]
    pub fn generation(&self) -> (u32, u64) {
        (self.inner.number, self.inner.lock().next_serial)
    }

    /// Whether there is a connection: whoever is at the other end gave the proof of this pool.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let state = self.inner.lock();
        let current = state.current.as_ref();
        current.is_some_and(|current| current.is_open())
    }

    /// Why there is no connection; none while there is one, or while nothing speaks against one.
    #[must_use]
    pub fn failure(&self) -> Option<DotError> {
        let state = self.inner.lock();
        if state
            .current
            .as_ref()
            .is_some_and(|current| current.is_open())
            && state.failing_since.is_none()
        {
            return None;
        }
        state.last_failure.clone().map(DotError::NoConnection)
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let state = self.inner.lock();
        let open = state.current.as_ref().filter(|current| current.is_open());
        let counters = &self.inner.counters;
        let value = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        PoolStatus {
            address: self.inner.address,
            connected: open.is_some(),
            in_flight: open.map_or(0, |current| current.in_flight()),
            sent: value(&counters.sent),
            received: value(&counters.received),
            late: value(&counters.late),
            mismatched: value(&counters.mismatched),
            connects: value(&counters.connects),
            connect_failures: value(&counters.connect_failures),
            resent: value(&counters.resent),
            hedged: value(&counters.hedged),
            expired: value(&counters.expired),
            busy: value(&counters.busy),
            last_failure: state.last_failure.as_ref().map(ToString::to_string),
        }
    }
}

impl Inner {
    fn offered(&self) -> MutexGuard<'_, Option<Link>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No other pool has it.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn padding(&self) -> usize {
        self.limits.padding
    }

    /// A place among the questions in flight, if one is free.
    pub(super) fn try_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }

    pub(super) async fn in_time(
        &self,
        deadline: Instant,
        answer: impl Future<Output = Result<Vec<u8>, DotError>>,
    ) -> Result<Vec<u8>, DotError> {
        timeout_at(deadline.into(), answer)
            .await
            .unwrap_or_else(|_| {
                count(&self.counters.expired);
                Err(DotError::Deadline {
                    address: self.address,
                    connect: self.lock().last_failure.clone(),
                })
            })
    }

    /// Asks once, and once more if need be.
    async fn converse(self: &Arc<Self>, outbound: &Outbound) -> Result<Vec<u8>, DotError> {
        let first = self.send(None, outbound).await?;
        self.follow(first, outbound).await
    }

    /// Waits for the answer of a question that was asked once, and asks once more if need be.
    pub(super) async fn follow(
        self: &Arc<Self>,
        mut first: Ticket,
        outbound: &Outbound,
    ) -> Result<Vec<u8>, DotError> {
        let serial = first.connection.serial;
        let overdue = first.overdue(self.limits.hedge_after);
        let hurried = tokio::select! {
            answer = first.answer() => match answer {
                Ok(answer) => return self.accept(&first, outbound, answer),
                Err(_) => false,
            },
            () = overdue => true,
        };
        let second = async {
            let mut second = self.send(Some(serial), outbound).await?;
            match second.answer().await {
                Ok(answer) => self.accept(&second, outbound, answer),
                Err(ended) => Err(self.lost(ended)),
            }
        };
        if !hurried {
            count(&self.counters.resent);
            return second.await;
        }
        count(&self.counters.hedged);
        tokio::pin!(second);
        tokio::select! {
            answer = first.answer() => match answer {
                Ok(answer) => self.accept(&first, outbound, answer),
                Err(_) => second.await,
            },
            outcome = &mut second => match outcome {
                Ok(answer) => Ok(answer),
                // Not a word here, and no other connection to be had: it is gone.
                Err(error) if self.lock().is_given_up(&first.connection) => Err(error),
                // The old connection may be slow rather than dead.
                Err(error) => match first.answer().await {
                    Ok(answer) => self.accept(&first, outbound, answer),
                    Err(_) => Err(error),
                },
            },
        }
    }

    fn accept(
        &self,
        ticket: &Ticket,
        outbound: &Outbound,
        answer: Vec<u8>,
    ) -> Result<Vec<u8>, DotError> {
        let inbound = outbound
            .restore(answer)
            .map_err(|reason| DotError::Broken {
                address: self.address,
                reason,
            })?;
        ticket.connection.on_answer(inbound.keepalive);
        Ok(inbound.message)
    }

    fn lost(&self, ended: Ended) -> DotError {
        DotError::Lost {
            address: self.address,
            ended,
        }
    }

    async fn send(
        self: &Arc<Self>,
        newer_than: Option<u64>,
        outbound: &Outbound,
    ) -> Result<Ticket, DotError> {
        let mut ended = Ended::Released;
        for _ in 0..STILLBORN_MAX {
            let connection = self.connection(newer_than).await?;
            match connection.send(outbound.message()).await {
                Ok(ticket) => return Ok(ticket),
                Err(how) => ended = how,
            }
        }
        Err(self.lost(ended))
    }
}
