//! The connection with the resolver at the end of the chain.
//!
//! It is used while it works, and somebody else looks whether it does: a question that it does not answer in time is
//! asked of the nearest, and so are all others until the end answered again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::discovery::Discovery;
use super::super::{Kind, Upstream, now};
use super::Chains;
use super::decision::End;
use crate::chain::NodeId;
use crate::dot::{
    DotError, DotLimits, DotPool, Endpoint, Lane, Patron, PeerProof, Recalled, Terms, Unanswered,
};
use crate::ladder;
use crate::tally::TALLY;
use crate::wire::View;

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
    /// It answered the last question that it was tried with.
    works: AtomicBool,
    /// Somebody looks whether it does.
    on_trial: AtomicBool,
}

impl EndPool {
    /// Its place in the chain.
    pub(super) fn node(&self) -> usize {
        self.0.end.node
    }

    pub(super) fn works(&self) -> bool {
        self.0.works.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) -> &End {
        &self.0.end
    }

    pub(super) fn pool(&self) -> &DotPool {
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

    /// Whether it answers questions, and not only TLS: it may be one that does not want to answer us.
    async fn answers(&self) -> bool {
        const NOERROR: u16 = 0;
        const NXDOMAIN: u16 = 3;
        let answer = self.0.pool.ask(&ladder::question(0), now() + TRIAL).await;
        let code = |answer: &[u8]| View::parse(answer).map(|view| view.rcode());
        answer.is_ok_and(|answer| matches!(code(&answer), Ok(NOERROR | NXDOMAIN)))
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Chains {
    /// The end, while it works.
    pub(super) fn usable_end(&self) -> Option<EndPool> {
        self.end_pool().clone().filter(EndPool::works)
    }

    pub(super) fn current_end(&self) -> Option<EndPool> {
        self.end_pool().clone()
    }
}

impl Upstream {
    /// A survey found this end, and connections with those that it met.
    pub(super) fn adopt_end(
        self: &Arc<Self>,
        discovery: &Discovery,
        found: Option<End>,
        met: Vec<(NodeId, Arc<DotPool>)>,
    ) {
        let adopted = {
            let mut current = discovery.chains.end_pool();
            let Some(found) = found else {
                *current = None;
                return;
            };
            let same = current.as_ref().filter(|current| {
                let end = current.end();
                (&end.name, end.address, &end.tlsa) == (&found.name, found.address, &found.tlsa)
            });
            let (pool, works) = match same {
                Some(same) => (Arc::clone(&same.0.pool), same.works()),
                None => {
                    let met = met.into_iter().find(|(node, _)| node.0 == found.node);
                    match met.map(|(_, pool)| pool).or_else(|| pool_for(&found)) {
                        Some(pool) => (pool, false),
                        None => return,
                    }
                }
            };
            let adopted = EndPool(Arc::new(State {
                end: found,
                pool,
                works: AtomicBool::new(works),
                on_trial: AtomicBool::new(false),
            }));
            *current = Some(adopted.clone());
            adopted
        };
        self.try_end(adopted, Duration::ZERO);
    }

    /// Looks, after a pause, whether the end works, and again until it does or is the end no more.
    fn try_end(self: &Arc<Self>, end: EndPool, mut pause: Duration) {
        if end.0.on_trial.swap(true, Ordering::Relaxed) {
            return;
        }
        let upstream = Arc::clone(self);
        self.spawn(async move {
            let Kind::Discovered(discovery) = &upstream.kind else {
                return;
            };
            let current = || discovery.chains.current_end().is_some_and(|it| it.is(&end));
            loop {
                tokio::time::sleep(pause).await;
                if !current() {
                    return;
                }
                let works = end.answers().await;
                let worked = end.0.works.swap(works, Ordering::Relaxed);
                let (name, address) = (&end.end().name, end.end().address);
                if works && !worked {
                    tracing::info!(%name, %address, "questions go to the end of the chain");
                } else if !works && worked {
                    tracing::warn!(%name, %address, "the end of the chain does not answer: questions go to the nearest");
                }
                if works {
                    end.0.on_trial.store(false, Ordering::Relaxed);
                    return;
                }
                pause = (pause * 2).clamp(RETRY, RETRY_MAX);
            }
        });
    }

    /// Asks the end; none where the nearest is to be asked.
    pub(in crate::upstream) async fn ask_end(
        self: &Arc<Self>,
        end: &EndPool,
        query: &[u8],
        deadline: Instant,
    ) -> Option<Vec<u8>> {
        let received = end.pool().status().received;
        let until = deadline.min(now() + PATIENCE);
        match end.pool().ask(query, until).await {
            Ok(answer) => {
                self.count_end(1);
                Some(answer)
            }
            Err(error) => {
                self.on_end_failure(end, received, &error);
                None
            }
        }
    }

    fn on_end_failure(self: &Arc<Self>, end: &EndPool, received: u64, error: &DotError) {
        let at_fault = match error {
            // The question's fault, or that of too many of them.
            DotError::NotAQuery(_)
            | DotError::NoQuestion
            | DotError::Busy { .. }
            | DotError::Broken { .. } => false,
            // It may be busy with this very question.
            DotError::Deadline { connect: None, .. } => end.pool().status().received == received,
            DotError::NoConnection(_) | DotError::Lost { .. } | DotError::Deadline { .. } => true,
        };
        if at_fault && end.0.works.swap(false, Ordering::Relaxed) {
            let (name, address) = (&end.end().name, end.end().address);
            tracing::warn!(%name, %address, %error, "the end of the chain does not answer: questions go to the nearest");
            self.try_end(end.clone(), RETRY);
        }
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
            let answer = match pursuit.answer(&query, until).await {
                Ok(mut answer) => {
                    self.upstream.count_end(1);
                    super::super::answering::restore_case(&query, &mut answer);
                    answer
                }
                Err(error) => {
                    self.upstream.on_end_failure(&self.end, received, &error);
                    let upstream = Arc::clone(&self.upstream);
                    upstream.answer_in_time(query, asked_at, None).await
                }
            };
            asker.reply(&answer).await;
        });
    }
}
