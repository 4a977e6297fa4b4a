//! The connection with the resolver at the end of the chain, and what is asked of it. How it stands, and what follows,
//! says `service.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::super::{Kind, Upstream, now};
use super::decision::End;
use super::service::{Comparison, Judgement, Service, Standing};
use super::voucher::Voucher;
use super::{Begun, Chains};
use crate::chain::NodeId;
use crate::dot::{
    DotError, DotLimits, DotPool, Endpoint, Lane, Patron, PeerProof, Recalled, Terms, Unanswered,
};
use crate::ladder;
use crate::tally::TALLY;

/// How long a question waits for the end, before the nearest is asked.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long the end may take to show that it answers questions.
const TRIAL: Duration = Duration::from_secs(2);
/// After a trial that failed, the next one follows so soon, and later each time.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The end that is asked in place of the nearest.
#[derive(Clone)]
pub(in crate::upstream) struct EndPool(Arc<State>);

struct State {
    end: End,
    pool: Arc<DotPool>,
    service: Arc<Mutex<Service>>,
    /// Somebody looks whether it serves us.
    on_trial: AtomicBool,
    /// Told when a trial may come out otherwise than the last one.
    again: Notify,
}

/// What came of a question to the end.
pub(in crate::upstream) enum FromEnd {
    /// Its answer.
    Answer(Vec<u8>),
    /// An answer that the nearest may have a better one to.
    Doubtful(Doubtful),
    /// Nothing: the nearest is to be asked.
    Nothing,
}

/// An answer of the end that the nearest may have a better one to.
pub(in crate::upstream) struct Doubtful {
    end: EndPool,
    answer: Vec<u8>,
}

impl FromEnd {
    /// What is to be compared, if there is anything.
    fn doubtful(self) -> Option<Doubtful> {
        match self {
            Self::Doubtful(doubtful) => Some(doubtful),
            Self::Answer(_) | Self::Nothing => None,
        }
    }
}

impl EndPool {
    /// Its place in the chain.
    pub(super) fn node(&self) -> usize {
        self.0.end.node
    }

    pub(super) fn works(&self) -> bool {
        self.standing() == Standing::InUse
    }

    pub(super) fn standing(&self) -> Standing {
        self.service().standing()
    }

    pub(super) fn end(&self) -> &End {
        &self.0.end
    }

    pub(super) fn pool(&self) -> &Arc<DotPool> {
        &self.0.pool
    }

    /// The short way there, for questions of `upstream`.
    pub(in crate::upstream) fn lane(&self, upstream: Arc<Upstream>) -> Option<Lane> {
        let patron = Arc::new(AtEnd {
            upstream,
            end: self.clone(),
        });
        self.0.pool.lane(patron)
    }

    /// Asks something that says nothing about anybody: it may be one that does not want to answer us. The code of what
    /// came.
    async fn try_out(&self) -> Option<u8> {
        let question = ladder::harmless_question(true);
        let answer = self.0.pool.ask(&question, now() + TRIAL).await;
        answer.ok().as_deref().map(code)
    }

    pub(super) fn service(&self) -> MutexGuard<'_, Service> {
        // Nothing in there panics half-way through a change.
        let service = self.0.service.lock();
        service.unwrap_or_else(PoisonError::into_inner)
    }

    /// A person decided about somebody: who was not vouched for may be now.
    pub(super) fn on_decision(&self) {
        if self.service().on_decision() {
            self.0.again.notify_one();
        }
    }

    /// Within the service's lock: whoever changes the standing and then begins a trial finds the last one ended, or has
    /// it go on.
    fn end_trial(&self, _within: &Service) {
        self.0.on_trial.store(false, Ordering::Relaxed);
    }

    /// Whether questions that go to `found` go here.
    pub(super) fn is_for(&self, found: &End) -> bool {
        let end = self.end();
        (&end.name, end.address, &end.tlsa) == (&found.name, found.address, &found.tlsa)
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Chains {
    pub(super) fn current_end(&self) -> Option<EndPool> {
        self.end_pool().clone()
    }

    /// A survey failed: the end stays as it stands while what an earlier one found holds, and goes with it.
    pub(super) fn keep_end(&self, holding: Option<&End>) {
        let mut current = self.end_pool();
        let stays = |current: &EndPool| holding.is_some_and(|found| current.is_for(found));
        *current = current.take().filter(stays);
    }

    /// A survey found this end, and connections with those that it met. The one to be tried.
    pub(super) fn adopt(
        &self,
        found: Option<End>,
        met: Vec<(NodeId, Arc<DotPool>)>,
    ) -> Option<EndPool> {
        let mut current = self.end_pool();
        let Some(found) = found else {
            *current = None;
            return None;
        };
        let same = current.as_ref().filter(|current| current.is_for(&found));
        let adopted = match same {
            Some(same) if *same.end() == found => same.clone(),
            other => {
                let (pool, service) = match other {
                    Some(same) => (Arc::clone(same.pool()), Arc::clone(&same.0.service)),
                    None => {
                        let met = met.into_iter().find(|(node, _)| node.0 == found.node);
                        let pool = met.map(|(_, pool)| pool).or_else(|| pool_for(&found));
                        let Some(pool) = pool else {
                            *current = None;
                            return None;
                        };
                        (pool, Arc::default())
                    }
                };
                EndPool(Arc::new(State {
                    end: found,
                    pool,
                    service,
                    on_trial: AtomicBool::new(false),
                    again: Notify::new(),
                }))
            }
        };
        adopted.service().on_survey();
        *current = Some(adopted.clone());
        Some(adopted)
    }
}

impl Upstream {
    /// Looks whether the end still serves us, to which a question was lost.
    fn try_end_again(self: &Arc<Self>, end: EndPool) {
        let pause = {
            let mut service = end.service();
            if end.0.on_trial.swap(true, Ordering::Relaxed) {
                return;
            }
            let pause = service.until_prompted(now());
            service.on_prompted(now() + pause);
            pause
        };
        self.go_on_trying(end, pause);
    }

    /// Looks, after a pause, whether the end serves us, and again until it does or is the end no more.
    pub(super) fn try_end(self: &Arc<Self>, end: EndPool, pause: Duration) {
        if !end.0.on_trial.swap(true, Ordering::Relaxed) {
            self.go_on_trying(end, pause);
        }
    }

    fn go_on_trying(self: &Arc<Self>, end: EndPool, mut pause: Duration) {
        let upstream = Arc::clone(self);
        self.spawn(async move {
            let Kind::Discovered(discovery) = &upstream.kind else {
                return;
            };
            let current = || discovery.chains.current_end().is_some_and(|it| it.is(&end));
            loop {
                // Whether it comes sooner is all the same.
                let _ = timeout(pause, end.0.again.notified()).await;
                if !current() {
                    return;
                }
                let voucher = upstream.voucher(discovery, &end).await;
                let code = match voucher {
                    Voucher::Given => end.try_out().await,
                    Voucher::Missing | Voucher::Unknown => None,
                };
                let (standing, news) = {
                    let mut service = end.service();
                    let news = match voucher {
                        Voucher::Given | Voucher::Unknown => service.on_trial(code),
                        Voucher::Missing => service.on_no_voucher(),
                    };
                    let standing = service.standing();
                    if matches!(standing, Standing::InUse | Standing::SetAside(_)) {
                        end.end_trial(&service);
                    }
                    (standing, news)
                };
                if news {
                    tell(end.end(), standing);
                }
                if matches!(standing, Standing::InUse | Standing::SetAside(_)) {
                    return;
                }
                pause = (pause * 2).clamp(RETRY, RETRY_MAX);
            }
        });
    }

    /// Asks the end.
    pub(in crate::upstream) async fn ask_end(
        self: &Arc<Self>,
        end: &EndPool,
        query: &[u8],
        deadline: Instant,
    ) -> FromEnd {
        let received = end.pool().status().received;
        let until = deadline.min(now() + PATIENCE);
        let answer = end.pool().ask(query, until).await;
        self.from_end(end, received, answer)
    }

    fn from_end(
        self: &Arc<Self>,
        end: &EndPool,
        received: u64,
        answer: Result<Vec<u8>, DotError>,
    ) -> FromEnd {
        match answer {
            Ok(answer) => match end.service().on_answer(code(&answer)) {
                Judgement::PassOn => {
                    self.count_end(1);
                    FromEnd::Answer(answer)
                }
                Judgement::Compare => FromEnd::Doubtful(Doubtful {
                    end: end.clone(),
                    answer,
                }),
            },
            Err(error) => {
                self.on_end_failure(end, received, &error);
                FromEnd::Nothing
            }
        }
    }

    fn on_end_failure(self: &Arc<Self>, end: &EndPool, received: u64, error: &DotError) {
        match error {
            // The question's fault, or that of too many of them.
            DotError::NotAQuery(_)
            | DotError::NoQuestion
            | DotError::Busy { .. }
            | DotError::Broken { .. } => {}
            DotError::NoConnection(_)
            | DotError::Deadline {
                connect: Some(_), ..
            } if !end.pool().is_connected() => {
                if end.service().on_lost() {
                    tracing::debug!(%error, "the end of the chain");
                    tell(end.end(), end.standing());
                    self.try_end(end.clone(), RETRY);
                }
            }
            // It may be busy with this very question, or hang up on whoever asks it; and who answered others meanwhile is
            // not silent. It stays in use until a trial shows that it is.
            DotError::NoConnection(_) | DotError::Lost { .. } | DotError::Deadline { .. } => {
                if end.works() && end.pool().status().received == received {
                    self.try_end_again(end.clone());
                }
            }
        }
    }

    /// Of an answer of the end and what the nearest answered, if it did, the better one.
    pub(in crate::upstream) fn better_of(
        self: &Arc<Self>,
        doubtful: Doubtful,
        nearest: Option<Vec<u8>>,
    ) -> Vec<u8> {
        let Doubtful { end, answer } = doubtful;
        let Some(nearest) = nearest else {
            self.count_end(1);
            return answer;
        };
        let (comparison, before, after) = {
            let mut service = end.service();
            let before = service.standing();
            let comparison = service.on_comparison(code(&answer), code(&nearest));
            (comparison, before, service.standing())
        };
        if before != after {
            tell(end.end(), after);
        }
        match comparison {
            Comparison::AsGood => answer,
            Comparison::Better { doubt } => {
                if doubt {
                    self.try_in_doubt(end);
                }
                nearest
            }
        }
    }

    /// Looks whether an end that refused a question refuses everything, unless somebody looks at it, or just did: the
    /// third in a row counts as well.
    fn try_in_doubt(self: &Arc<Self>, end: EndPool) {
        {
            let mut service = end.service();
            let rests = !service.until_prompted(now()).is_zero();
            if rests || end.0.on_trial.swap(true, Ordering::Relaxed) {
                return;
            }
            service.on_prompted(now());
        }
        let upstream = Arc::clone(self);
        self.spawn(async move {
            let code = end.try_out().await;
            let (before, after) = {
                let mut service = end.service();
                let before = service.standing();
                service.on_trial_in_doubt(code);
                end.end_trial(&service);
                (before, service.standing())
            };
            if before != after {
                tell(end.end(), after);
            }
            if let Standing::OnTrial(_) = after {
                // Who lost it meanwhile found it on trial, and left the next one to this.
                upstream.try_end(end, RETRY);
            }
        });
    }

    fn count_end(&self, answers: u64) {
        self.encrypted.fetch_add(answers, Ordering::Relaxed);
        TALLY.count(ladder::Rung::Known, answers);
        if let Kind::Discovered(discovery) = &self.kind {
            discovery
                .chains
                .to_end
                .fetch_add(answers, Ordering::Relaxed);
        }
    }
}

fn tell(end: &End, standing: Standing) {
    let End { name, address, .. } = end;
    match standing {
        Standing::InUse => {
            tracing::info!(%name, %address, "questions go to the end of the chain");
        }
        Standing::OnTrial(_) | Standing::SetAside(_) | Standing::NotVouched => {
            let why = standing.why().unwrap_or("it was not tried yet");
            tracing::warn!(%name, %address, "the end of the chain is not asked: {why}; questions go to the nearest");
        }
    }
}

/// The response code in the header (RFC 1035 §4.1.1).
fn code(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |octet| octet & 0xF)
}

fn pool_for(end: &End) -> Option<Arc<DotPool>> {
    let endpoint = Endpoint {
        address: end.address,
        server_name: None,
        proof: PeerProof::Dane {
            tlsa: end.tlsa.clone(),
            name: end.name.clone(),
        },
    };
    // Fails for proofs by chain alone, which this is not.
    DotPool::new(&endpoint, DotLimits::default())
        .ok()
        .map(Arc::new)
}

/// Questions of an upstream on the short way to the end.
struct AtEnd {
    upstream: Arc<Upstream>,
    end: EndPool,
}

impl Patron for AtEnd {
    fn answered(&self, answers: u64) {
        self.upstream.count_end(answers);
    }

    fn recall(&self, query: &[u8], pool: u32, now: Instant, out: &mut Vec<u8>) -> Recalled {
        self.upstream.recall(query, pool, now, out)
    }

    fn is_content(&self, code: u8) -> bool {
        self.end.service().on_answer(code) == Judgement::PassOn
    }

    fn keep(&self, answer: &[u8], terms: Terms, now: Instant) {
        self.upstream.keep(answer, terms, now);
    }

    /// The end had its time, and the rest is the nearest's.
    fn take_over(self: Arc<Self>, question: Unanswered) {
        tokio::spawn(async move {
            let Unanswered {
                query,
                asked_at,
                asker,
                pursuit,
            } = question;
            let received = self.end.pool().status().received;
            let until = (asked_at + self.upstream.query_budget).min(now() + PATIENCE);
            let answer = pursuit.answer(&query, until).await;
            let answer = match self.upstream.from_end(&self.end, received, answer) {
                FromEnd::Answer(mut answer) => {
                    super::super::answering::restore_case(&query, &mut answer);
                    answer
                }
                rest => {
                    let begun = Begun::AtEnd(rest.doubtful());
                    let upstream = Arc::clone(&self.upstream);
                    upstream.answer_in_time(query, asked_at, begun).await
                }
            };
            asker.reply(&answer).await;
        });
    }
}
