//! Passes questions on to a server that is not upgraded, on the best rung of the ladder that is within reach.

mod probe;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::timeout_at;

use super::climb::{Reached, climb};
use super::discovery::{self, Discovery};
use super::standing::Cost;
use super::{Kind, Upstream, now};
use crate::config::LegacyPolicy;
use crate::discover::{LegacyReason, Refusal};
use crate::dot::{DotPool, without_hop_options};
use crate::exchange::{ExchangeError, udp_then_tcp};
use crate::ladder::{Climb, Climbed, Ladder, Rung, Step};
use crate::session::{Failure, State};
use crate::tally::TALLY;
use crate::wire::WireError;
use probe::AfterFailure;

/// Questions in cleartext under way, each with a socket of its own; more wait for their turn within
/// their budget. Well below the 1,024 descriptors that a process gets by default.
const PLAIN_IN_FLIGHT: usize = 512;
/// Climbs and probes that one question waits for.
const WAITS_PER_QUESTION: u32 = 2;

/// What is known about a server below discovery.
pub(super) struct Legacy {
    inner: Mutex<Inner>,
    /// Counts the climbs and the probes that ended, and those that are not to be waited for any more.
    ended: watch::Sender<u64>,
    plain_turns: Semaphore,
    designated: AtomicU64,
    opportunistic: AtomicU64,
}

struct Inner {
    ladder: Ladder,
    /// The connection on the rung that was reached.
    reached: Option<Reached>,
}

impl Legacy {
    pub(super) fn new(policy: LegacyPolicy) -> Self {
        Self {
            inner: Mutex::new(Inner {
                ladder: Ladder::new(floor(policy)),
                reached: None,
            }),
            ended: watch::Sender::new(0),
            plain_turns: Semaphore::new(PLAIN_IN_FLIGHT),
            designated: AtomicU64::new(0),
            opportunistic: AtomicU64::new(0),
        }
    }

    pub(super) fn set_policy(&self, policy: LegacyPolicy) {
        self.lock().ladder.set_floor(floor(policy));
        self.wake();
    }

    /// Another network, or awake after a long sleep: what was reached may be somebody else now.
    pub(super) fn start_over(&self) {
        let mut inner = self.lock();
        inner.ladder.start_over();
        inner.reached = None;
        drop(inner);
        self.wake();
    }

    /// Whether questions are refused, since nothing is left that the policy allows.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.lock().ladder.step() == Step::Fail
    }

    /// Questions answered on the designated and on the opportunistic rung.
    pub(super) fn answered(&self) -> [u64; 2] {
        [&self.designated, &self.opportunistic].map(|counter| counter.load(Ordering::Relaxed))
    }

    /// What `status` tells of it.
    pub(super) fn status(&self) -> Value {
        let inner = self.lock();
        let reached = inner.reached.as_ref();
        json!({
            "rung": inner.ladder.rung(),
            "climbing": inner.ladder.is_climbing(),
            "missed": inner.ladder.missed(),
            "designated": reached.and_then(|reached| reached.target.clone()),
            "tls": reached.map(|reached| reached.pool.status()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits looks again.
    fn wake(&self) {
        self.ended.send_modify(|ended| *ended += 1);
    }

    fn pool(&self) -> Option<Arc<DotPool>> {
        let inner = self.lock();
        inner.reached.as_ref().map(|found| Arc::clone(&found.pool))
    }

    /// `tell` is called before the questions that wait go on.
    fn end_climb(
        &self,
        server: SocketAddr,
        climb: Climb,
        climbed: Climbed,
        reached: Option<Reached>,
        tell: impl FnOnce(),
    ) {
        let rung = climbed.reached;
        let mut inner = self.lock();
        if !inner.ladder.end_climb(now(), climb, climbed) {
            tracing::debug!(%server, "what was found does not count any more");
            return;
        }
        let told = inner.ladder.rung();
        inner.reached = reached.filter(|_| told == rung);
        drop(inner);
        match told {
            Some(Rung::Cleartext) => tracing::warn!(%server, "questions go in cleartext"),
            Some(rung) => tracing::info!(%server, rung = rung.name(), "questions are {rung}"),
            None => tracing::warn!(%server, "no rung that the configuration allows"),
        }
        tell();
        self.wake();
    }

    /// The rung that questions go on, and the name of the resolver that the server designates there.
    pub(super) fn standing(&self) -> (Option<Rung>, Option<String>) {
        let inner = self.lock();
        let target = inner
            .reached
            .as_ref()
            .and_then(|reached| reached.target.clone());
        (inner.ladder.rung(), target)
    }

    /// The rung that questions go on, and where it leads.
    pub(super) fn way(&self) -> (Option<Rung>, Option<SocketAddr>) {
        let address = self.pool().map(|pool| pool.status().address);
        (self.lock().ladder.rung(), address)
    }

    /// Waits until few enough questions in cleartext are under way.
    async fn turn(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Failure> {
        match timeout_at(deadline.into(), self.plain_turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => {
                let detail =
                    format!("more than {PLAIN_IN_FLIGHT} questions in cleartext under way");
                Err(Failure::NoAnswer(detail))
            }
        }
    }

    fn count(&self, rung: Rung) {
        TALLY.count(rung, 1);
        match rung {
            Rung::Designated => self.designated.fetch_add(1, Ordering::Relaxed),
            Rung::Opportunistic => self.opportunistic.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

/// The lowest rung that a policy allows.
fn floor(policy: LegacyPolicy) -> Rung {
    match policy {
        LegacyPolicy::Plain => Rung::Cleartext,
        LegacyPolicy::Encrypted => Rung::Opportunistic,
        LegacyPolicy::Verified => Rung::Designated,
        LegacyPolicy::Refuse => Rung::Known,
    }
}

/// After which it is looked again at what was about to change.
const MOMENT: Duration = Duration::from_millis(100);

impl Upstream {
    /// On the best rung within reach, as far down as the configuration lets a question go.
    pub(super) async fn pass_on(
        self: &Arc<Self>,
        discovery: &Discovery,
        query: &[u8],
        deadline: Instant,
        cost: &Cost,
    ) -> Result<Vec<u8>, Failure> {
        let legacy = &discovery.legacy;
        let mut waits_left = WAITS_PER_QUESTION;
        loop {
            // Taken before the look at the ladder, so that no end of a climb is missed.
            let mut ended = legacy.ended.subscribe();
            let asked = now();
            let (step, footing, climb, probe, pool) = {
                let inner = legacy.lock();
                let (ladder, reached) = (&inner.ladder, inner.reached.as_ref());
                let pool = reached.map(|found| Arc::clone(&found.pool));
                let due = (ladder.wants_climb(asked), ladder.wants_probe(asked));
                (ladder.step(), ladder.footing(), due.0, due.1, pool)
            };
            if climb {
                self.begin_climb(discovery);
            }
            if probe {
                self.begin_probe(discovery);
            }
            match (step, footing, pool) {
                (Step::Fail, ..) => return Err(discovery.no_rung_left(&discovery.lock())),
                (Step::Ask(Rung::Cleartext), ..) => {
                    return self
                        .pass_on_in_clear(discovery, query, deadline, cost)
                        .await;
                }
                (Step::Ask(rung), Some(footing), Some(pool)) => {
                    let error = match pool.ask(query, deadline).await {
                        Ok(answer) => {
                            legacy.lock().ladder.on_answer(now(), footing);
                            legacy.count(rung);
                            return Ok(answer);
                        }
                        Err(error) => error,
                    };
                    match self.on_rung_failure(discovery, &pool, footing, asked, &error) {
                        AfterFailure::LookAgain if now() < deadline => {}
                        _ => return Err(Failure::NoAnswer(error.to_string())),
                    }
                    if legacy.lock().ladder.is_probing()
                        && !wait(&mut ended, &mut waits_left, deadline).await
                    {
                        return Err(Failure::NoAnswer(error.to_string()));
                    }
                }
                // Without a pool: the ladder was told to start over this very moment.
                (Step::AfterClimb | Step::Ask(_), ..) => {
                    if !wait(&mut ended, &mut waits_left, deadline).await {
                        return Err(slow(discovery.server()));
                    }
                }
            }
        }
    }

    /// Waits until it is known on which rung a question would go, as a question does.
    pub(super) async fn find_rung(self: &Arc<Self>, discovery: &Discovery, deadline: Instant) {
        let legacy = &discovery.legacy;
        // Taken before the look at the ladder, so that no climb's end is missed.
        let mut ended = legacy.ended.subscribe();
        let step = legacy.lock().ladder.step();
        self.climb_if_due(discovery);
        let until = match step {
            Step::AfterClimb => deadline,
            // It changes this very moment.
            Step::Ask(_) | Step::Fail => deadline.min(now() + MOMENT),
        };
        // Who asks looks what came of it.
        let _ = timeout_at(until.into(), ended.changed()).await;
    }

    /// Begins to look for a better rung, or for any, where that is due.
    pub(super) fn climb_if_due(self: &Arc<Self>, discovery: &Discovery) {
        let due = discovery.legacy.lock().ladder.wants_climb(now());
        if due {
            self.begin_climb(discovery);
        }
    }

    fn begin_climb(self: &Arc<Self>, discovery: &Discovery) {
        let Some(begun) = discovery.legacy.lock().ladder.begin_climb() else {
            return;
        };
        let upstream = Arc::clone(self);
        let server = discovery.server();
        self.spawn(async move {
            let (climbed, reached) = climb(server, begun.floor).await;
            if let Kind::Discovered(discovery) = &upstream.kind {
                discovery
                    .legacy
                    .end_climb(server, begun, climbed, reached, || {
                        discovery.tell_standing()
                    });
            }
        });
    }

    pub(super) async fn pass_on_in_clear(
        &self,
        discovery: &Discovery,
        query: &[u8],
        deadline: Instant,
        cost: &Cost,
    ) -> Result<Vec<u8>, Failure> {
        // Nobody comes here then. It is asked again at the one door that all questions in cleartext leave by.
        if discovery.lock().session.policy().forbids_cleartext() {
            return Err(Failure::Refused(Refusal::ChainNotEncrypted {
                hop: None,
                why: format!("{} would be asked in cleartext", discovery.server()),
            }));
        }
        let unfit = |error: WireError| Failure::NoAnswer(error.to_string());
        let query = without_hop_options(query).map_err(unfit)?;
        let _turn = match cost.is_bounded {
            true => None,
            false => Some(discovery.legacy.turn(deadline).await?),
        };
        self.cleartext.fetch_add(1, Ordering::Relaxed);
        TALLY.count(Rung::Cleartext, 1);
        let asked = udp_then_tcp(discovery.server(), &query, &cost.limits, deadline).await;
        cost.spend(match &asked {
            Ok(reply) => reply.tally,
            Err(error) => error.tally(),
        });
        let answer = match asked {
            Ok(reply) => reply.message,
            // Old boxes without TCP: the asker sees for himself that something is missing.
            Err(ExchangeError::TcpFailed {
                truncated: Some(message),
                ..
            }) => message,
            Err(error) => return Err(Failure::NoAnswer(error.to_string())),
        };
        without_hop_options(&answer).map_err(unfit)
    }
}

impl Discovery {
    /// The configuration allows nothing that this server can do.
    pub(super) fn no_rung_left(&self, now: &discovery::Inner) -> Failure {
        let reason = match now.session.state() {
            State::Legacy { reason, .. } => *reason,
            // It changed this very moment.
            _ => LegacyReason::NoSuchZone,
        };
        let inner = self.legacy.lock();
        let missed = inner.ladder.missed().iter();
        let missed = missed.map(|missed| format!("{}: {}", missed.rung.name(), missed.why));
        Failure::Refused(Refusal::NotEncrypted {
            reason,
            missed: missed.collect(),
        })
    }
}

/// Waits for the end of a climb or a probe, unless it was done too often or the time is over.
async fn wait(ended: &mut watch::Receiver<u64>, left: &mut u32, deadline: Instant) -> bool {
    let waited = timeout_at(deadline.into(), ended.changed()).await;
    let goes_on = *left > 0 && matches!(waited, Ok(Ok(())));
    *left = left.saturating_sub(1);
    goes_on
}

fn slow(server: SocketAddr) -> Failure {
    Failure::NoAnswer(format!("finding out what {server} offers takes too long"))
}
