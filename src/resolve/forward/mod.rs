//! Answers from upstream servers.
//!
//! The best upstream is asked first; when it is slow, fails, or sends something that may not be
//! passed on, the next is asked as well. Messages pass bit for bit, except for what concerns one
//! hop only; identical questions share one exchange.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;
use zzdot_client::wire::View;

use self::{
    order::Health,
    reach::{Reached, Tier},
};
use super::{
    MAX_PACKETS_A_QUESTION, Passage, Resolution, ResolveError, Source,
    inflight::{InFlight, key_of},
};

mod describe;
mod discovery;
mod follow;
mod order;
mod pass;
mod published;
mod reach;
mod roster;
pub(super) mod sanitise;
mod streamed;

pub(crate) use reach::{Discovered, Proof, Reach};
pub use roster::Roster;
pub(crate) use streamed::{Protocol, Streamed};

/// What one attempt at one upstream may cost: three datagrams, or two and then TCP, and one spare.
const PACKETS_AN_ATTEMPT: u32 = 9;

/// The option that carries an extended error (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;

const NOERROR: u16 = 0;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;

/// Extended errors with which a server says that it validated and refused (RFC 8914 §4.6 to §4.13):
/// somebody who does not validate must not be asked instead.
const VALIDATION_FAILED: std::ops::RangeInclusive<u16> = 5..=12;

/// One upstream server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) reach: Reach,
}

/// Forwards to upstream servers.
pub struct Forward {
    shared: Arc<Shared>,
    in_flight: InFlight,
}

struct Shared {
    servers: Vec<Server>,
    health: Mutex<Vec<Health>>,
    packets: AtomicU64,
    refused: AtomicU64,
}

impl Forward {
    /// Forwards over UDP and TCP to these servers.
    pub fn plain(addresses: &[SocketAddr]) -> Self {
        Self::new(
            addresses
                .iter()
                .map(|address| Server {
                    address: *address,
                    reach: Reach::Plain,
                })
                .collect(),
        )
    }

    pub(crate) fn new(servers: Vec<Server>) -> Self {
        let health = servers.iter().map(|_| Health::new()).collect();
        Self {
            shared: Arc::new(Shared {
                servers,
                health: Mutex::new(health),
                packets: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            }),
            in_flight: InFlight::default(),
        }
    }

    /// Packets sent upstream since the start.
    pub fn packets_sent(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }
}

impl Source for Forward {
    fn resolve(&self, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_> {
        Box::pin(async move {
            let outgoing = sanitise::outgoing(&query)
                .map_err(|_| ResolveError::Unsupported("the query cannot be changed"))?;
            let key = key_of(&outgoing);
            let shared = self.shared.clone();
            let answer =
                self.in_flight.share(
                    key,
                    move || async move { shared.ask(&outgoing, deadline).await },
                );
            tokio::time::timeout_at(deadline, answer)
                .await
                .unwrap_or(Err(ResolveError::TimedOut))
        })
    }

    fn passage(&self) -> Option<&dyn Passage> {
        Some(self)
    }

    fn upstreams(&self) -> Vec<serde_json::Value> {
        self.describe_in_full()
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "mode": "forward",
            "upstreams": self.describe_upstreams(),
            "in-flight": self.in_flight.len(),
            "packets-sent": self.packets_sent(),
            "answers-refused": self.shared.refused.load(Ordering::Relaxed),
        })
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.shared.servers.iter().map(|server| server.address);
        out.debug_list().entries(addresses).finish()
    }
}

/// What one attempt brought.
struct Attempt {
    at: usize,
    /// Packets that it had been given.
    given: u32,
    spent: u32,
    took: Duration,
    outcome: Result<Vec<u8>, ResolveError>,
}

impl Shared {
    fn health(&self) -> std::sync::MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one upstream after the other until an answer may be passed on: each at most once, the
    /// next as soon as one failed or is slow.
    async fn ask(&self, query: &[u8], deadline: Instant) -> Result<Vec<u8>, ResolveError> {
        if self.servers.is_empty() {
            return Err(ResolveError::NoUpstream);
        }
        if self.servers.len() == 1 {
            // Nobody to hedge with, nothing to choose from.
            let given = PACKETS_AN_ATTEMPT.min(MAX_PACKETS_A_QUESTION);
            return self.judge(self.attempt(0, given, query, deadline).await);
        }
        if discovery::is_about_resolvers(query) {
            // Two upstreams are two resolvers: what one says of itself and what another one does make nobody whole.
            let health = self.health().clone();
            let now = Instant::now().into_std();
            let at_work = health.iter().position(|upstream| !upstream.rests(now));
            let at = at_work.unwrap_or(0);
            return self.judge(self.attempt(at, PACKETS_AN_ATTEMPT, query, deadline).await);
        }
        let tiers = self.tiers();
        let now = Instant::now().into_std();
        let mut waiting = order::order(&self.health(), &tiers, now).into_iter();
        let mut next = waiting.next();
        let mut budget = MAX_PACKETS_A_QUESTION;
        let mut running = FuturesUnordered::new();
        let mut last_resort = None;
        let mut failure = None;
        let mut hedge_at = Instant::now();
        loop {
            if let Some(at) = next
                && budget > 0
                && Instant::now() >= hedge_at
            {
                let given = budget.min(PACKETS_AN_ATTEMPT);
                budget -= given;
                running.push(self.attempt(at, given, query, deadline));
                next = waiting.next();
                let worse = next.is_some_and(|next| tiers[next] > tiers[at]);
                hedge_at = Instant::now() + self.health()[at].hedge_after(worse);
            }
            let finished = tokio::select! {
                biased;
                Some(finished) = running.next() => finished,
                () = tokio::time::sleep_until(hedge_at), if next.is_some() && budget > 0 => {
                    continue;
                }
                else => {
                    return last_resort.ok_or(failure.unwrap_or(ResolveError::BudgetSpent));
                }
            };
            budget += finished.given.saturating_sub(finished.spent);
            match self.judge(finished) {
                Ok(answer) if is_final(&answer) => return Ok(answer),
                Ok(answer) => {
                    last_resort.get_or_insert(answer);
                }
                Err(error) => failure = Some(more_telling(failure, error)),
            }
            // Who comes after one that failed need not wait.
            hedge_at = Instant::now();
        }
    }

    fn tiers(&self) -> Vec<Tier> {
        let servers = self.servers.iter();
        servers.map(|server| server.reach.tier()).collect()
    }

    async fn attempt(&self, at: usize, given: u32, query: &[u8], deadline: Instant) -> Attempt {
        let server = &self.servers[at];
        let started = Instant::now();
        let reach = &server.reach;
        let Reached { message, spent } = reach.ask(server.address, query, given, deadline).await;
        let outcome = message.and_then(|message| {
            sanitise::incoming(query, &message).map_err(|reason| ResolveError::InvalidAnswer {
                upstream: server.address,
                reason,
            })
        });
        Attempt {
            at,
            given,
            spent,
            took: started.elapsed(),
            outcome,
        }
    }

    /// Remembers what an attempt says about its upstream.
    fn judge(&self, attempt: Attempt) -> Result<Vec<u8>, ResolveError> {
        self.packets
            .fetch_add(u64::from(attempt.spent), Ordering::Relaxed);
        let mut health = self.health();
        let health = &mut health[attempt.at];
        match &attempt.outcome {
            Ok(_) => health.on_answer(attempt.took),
            Err(error) => {
                health.on_failure(Instant::now().into_std());
                if let ResolveError::InvalidAnswer { upstream, reason } = error {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%upstream, reason, "answer refused");
                }
            }
        }
        attempt.outcome
    }
}

/// Whether other upstreams need not be asked: this one knows, or it validated and refused.
fn is_final(answer: &[u8]) -> bool {
    let Ok(view) = View::parse(answer) else {
        return false;
    };
    match view.rcode() {
        NOERROR | NXDOMAIN => true,
        SERVFAIL => view.edns().ok().flatten().is_some_and(|edns| {
            edns.options().any(|(code, content)| {
                code == EXTENDED_ERROR
                    && content
                        .first_chunk()
                        .is_some_and(|info| VALIDATION_FAILED.contains(&u16::from_be_bytes(*info)))
            })
        }),
        _ => false,
    }
}

/// Of two failures the one that says more.
fn more_telling(first: Option<ResolveError>, second: ResolveError) -> ResolveError {
    let weight = |error: &ResolveError| match error {
        ResolveError::InvalidAnswer { .. } => 2,
        ResolveError::Unreachable => 1,
        _ => 0,
    };
    match first {
        Some(first) if weight(&first) >= weight(&second) => first,
        _ => second,
    }
}
