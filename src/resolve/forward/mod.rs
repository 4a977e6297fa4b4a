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
use tokio::{runtime::Handle, time::Instant};
use zzdot_client::wire::View;

use self::{
    health::Health,
    reach::{Reached, Tier},
};
use super::{
    MAX_PACKETS_A_QUESTION, Passage, Resolution, ResolveError, Source,
    inflight::{InFlight, key_of},
};

mod describe;
mod discovery;
mod follow;
mod health;
mod order;
mod pass;
mod probe;
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
    /// Where upstreams are looked after; none where this was made outside of any.
    runtime: Option<Handle>,
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

    /// Call within the runtime in which upstreams are to be looked after.
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        let health = servers.iter().map(|_| Health::new()).collect();
        let shared = Arc::new(Shared {
            servers,
            health: Mutex::new(health),
            packets: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            runtime: Handle::try_current().ok(),
        });
        for (at, server) in shared.servers.iter().enumerate() {
            if let Reach::Discovered(discovered) = &server.reach {
                shared.heed(at, discovered.looks());
            }
        }
        Self {
            shared,
            in_flight: InFlight::default(),
        }
    }

    /// The servers, in the order of the configuration.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.shared.servers.iter().map(|server| server.address)
    }

    /// What this server is asked comes back to us, and will until then for all that is known: it is left out.
    pub(super) fn leads_back(&self, at: usize, until: Instant) {
        self.shared.health()[at].on_circle(until.into_std());
    }

    /// That all servers lead back to us, if they do.
    pub(super) fn circle(&self) -> Option<ResolveError> {
        self.shared.circle()
    }

    /// Asks one server, and nobody else when it fails. What it answers does not matter, nor that it does not.
    pub(super) async fn try_one(&self, at: usize, query: &[u8], deadline: Instant) {
        let attempt = self.shared.attempt(at, PACKETS_AN_ATTEMPT, query, deadline);
        if let Ok(attempt) = tokio::time::timeout_at(deadline, attempt).await {
            self.shared.count_packets(attempt.spent);
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
        out.debug_list().entries(self.addresses()).finish()
    }
}

/// What one attempt brought.
struct Attempt {
    at: usize,
    /// Packets that it had been given.
    given: u32,
    spent: u32,
    began: Instant,
    took: Duration,
    outcome: Result<Vec<u8>, ResolveError>,
}

impl Shared {
    fn health(&self) -> std::sync::MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one upstream after the other until an answer may be passed on: each at most once, the
    /// next as soon as one failed or is slow.
    async fn ask(
        self: &Arc<Self>,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, ResolveError> {
        let tiers = self.tiers();
        let (order, at_work) = {
            let health = self.health();
            let order = order::order(&health, &tiers, Instant::now().into_std());
            let at_work = order::at_work(&health, &order);
            (order, at_work)
        };
        let Some(&first) = order.first() else {
            return Err(self.circle().unwrap_or(ResolveError::NoUpstream));
        };
        if self.servers.len() == 1 {
            // Nobody to hedge with, nothing to choose from.
            let given = PACKETS_AN_ATTEMPT.min(MAX_PACKETS_A_QUESTION);
            return self.judge(self.attempt(first, given, query, deadline).await);
        }
        if discovery::is_about_resolvers(query) {
            // Two upstreams are two resolvers: what one says of itself and what another one does make nobody whole.
            let at = order[..at_work].iter().copied().min().unwrap_or(first);
            return self.judge(self.attempt(at, PACKETS_AN_ATTEMPT, query, deadline).await);
        }
        let mut waiting = order.iter().copied().enumerate().peekable();
        let mut budget = MAX_PACKETS_A_QUESTION;
        let mut running = FuturesUnordered::new();
        // Those at work that were not heard yet, be it that they are still to be asked.
        let mut hoped_for = at_work;
        let mut last_resort = None;
        let mut failure = None;
        let mut hedge_at = Instant::now();
        loop {
            if budget > 0
                && Instant::now() >= hedge_at
                && let Some((place, at)) = waiting.next()
            {
                let given = budget.min(PACKETS_AN_ATTEMPT);
                budget -= given;
                let attempt = self.attempt(at, given, query, deadline);
                running.push(async move { (place, attempt.await) });
                let worse = waiting
                    .peek()
                    .is_some_and(|(_, next)| tiers[*next] > tiers[at]);
                hedge_at = Instant::now() + self.health()[at].hedge_after(worse);
            }
            let (place, finished) = tokio::select! {
                biased;
                Some(finished) = running.next() => finished,
                () = tokio::time::sleep_until(hedge_at), if waiting.peek().is_some() && budget > 0 => {
                    continue;
                }
                else => {
                    return last_resort.ok_or(failure.unwrap_or(ResolveError::BudgetSpent));
                }
            };
            budget += finished.given.saturating_sub(finished.spent);
            hoped_for -= usize::from(place < at_work);
            match self.judge(finished) {
                Ok(answer) if is_final(&answer) => return Ok(answer),
                Ok(answer) => {
                    last_resort.get_or_insert(answer);
                }
                Err(error) => failure = Some(more_telling(failure, error)),
            }
            // Whether those that rest are silent still is not for who has an answer to find out.
            if hoped_for == 0
                && let Some(answer) = last_resort.take()
            {
                return Ok(answer);
            }
            // Who comes after one that failed need not wait.
            hedge_at = Instant::now();
        }
    }

    /// That all of them lead back to us, if they do.
    fn circle(&self) -> Option<ResolveError> {
        let now = Instant::now().into_std();
        let all = self.health().iter().all(|health| health.leads_back(now));
        let first = self.servers.first().filter(|_| all)?;
        Some(ResolveError::Loop {
            upstream: first.address,
        })
    }

    fn tiers(&self) -> Vec<Tier> {
        let servers = self.servers.iter();
        servers.map(|server| server.reach.tier()).collect()
    }

    async fn attempt(
        self: &Arc<Self>,
        at: usize,
        given: u32,
        query: &[u8],
        deadline: Instant,
    ) -> Attempt {
        let server = &self.servers[at];
        let mut waiting = Waiting {
            shared: self,
            at,
            began: Instant::now(),
            in_vain: true,
        };
        let reach = &server.reach;
        let Reached { message, spent } = reach.ask(server.address, query, given, deadline).await;
        waiting.in_vain = false;
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
            began: waiting.began,
            took: waiting.began.elapsed(),
            outcome,
        }
    }

    /// Remembers what an attempt says about its upstream.
    fn judge(self: &Arc<Self>, attempt: Attempt) -> Result<Vec<u8>, ResolveError> {
        self.count_packets(attempt.spent);
        let now = Instant::now().into_std();
        match &attempt.outcome {
            Ok(_) => {
                let is_back = self.health()[attempt.at].on_answer(now, attempt.took);
                if is_back {
                    self.on_return();
                }
            }
            Err(error) => {
                self.health()[attempt.at].on_failure(attempt.began.into_std());
                if let ResolveError::InvalidAnswer { upstream, reason } = error {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%upstream, reason, "answer refused");
                }
            }
        }
        if attempt.outcome.is_err() {
            self.look_after(attempt.at);
        }
        attempt.outcome
    }

    fn count_packets(&self, spent: u32) {
        self.packets.fetch_add(u64::from(spent), Ordering::Relaxed);
    }
}

/// An attempt under way. When it is dropped before anything came of it, another upstream was quicker, or the asker's time
/// was over.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    at: usize,
    began: Instant,
    in_vain: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.in_vain {
            let now = Instant::now().into_std();
            self.shared.health()[self.at].on_overtaken(now, self.began.into_std());
            self.shared.look_after(self.at);
        }
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

#[cfg(test)]
mod tests;
