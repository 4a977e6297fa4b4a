//! Looks whether a rung is silent, beside the questions of people: see `ladder/silence.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::discovery::Discovery;
use super::super::{Kind, Upstream, now};
use crate::dot::{DotError, DotPool};
use crate::exchange::{ExchangeLimits, udp_then_tcp};
use crate::ladder::{Fall, Footing, Probed, Rung, harmless_question};

/// How long the answer to a probe may take, on the rung and then in cleartext.
const PROBE: Duration = Duration::from_millis(1500);

/// What a question that failed on a rung is to make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// It looks again where questions go.
    LookAgain,
    /// Nothing.
    Fail,
}

impl Upstream {
    /// A question that went out at `asked` came to nothing on the rung of `footing`.
    pub(super) fn on_rung_failure(
        self: &Arc<Self>,
        discovery: &Discovery,
        pool: &DotPool,
        footing: Footing,
        asked: Instant,
        error: &DotError,
    ) -> AfterFailure {
        let legacy = &discovery.legacy;
        match error {
            // The question's fault, or that of too many of them.
            DotError::NotAQuery(_)
            | DotError::NoQuestion
            | DotError::Busy { .. }
            | DotError::Broken { .. } => AfterFailure::Fail,
            DotError::NoConnection(_)
            | DotError::Deadline {
                connect: Some(_), ..
            } if !pool.is_connected() => {
                let why = error.to_string();
                let fall = {
                    let mut inner = legacy.lock();
                    let fall = inner.ladder.on_broken(now(), footing, &why);
                    inner.after(fall)
                };
                self.on_fall(discovery, fall, &why);
                AfterFailure::LookAgain
            }
            // The server may be busy with this very question, or hang up on whoever asks it.
            DotError::NoConnection(_) | DotError::Lost { .. } | DotError::Deadline { .. } => {
                legacy.lock().ladder.on_silence(footing, asked);
                self.begin_probe(discovery);
                let stands = {
                    let ladder = &legacy.lock().ladder;
                    ladder.footing() == Some(footing) && !ladder.is_probing()
                };
                match stands {
                    true => AfterFailure::Fail,
                    false => AfterFailure::LookAgain,
                }
            }
        }
    }

    /// Looks whether the rung is silent, if that is due.
    pub(super) fn begin_probe(self: &Arc<Self>, discovery: &Discovery) {
        let (probe, pool, in_clear) = {
            let mut inner = discovery.legacy.lock();
            let Some(pool) = inner.reached.as_ref().map(|found| Arc::clone(&found.pool)) else {
                return;
            };
            let Some(probe) = inner.ladder.begin_probe(now()) else {
                return;
            };
            (probe, pool, inner.ladder.floor() == Rung::Cleartext)
        };
        let upstream = Arc::clone(self);
        let server = discovery.server();
        self.spawn(async move {
            let outcome = look(&pool, server, in_clear).await;
            tracing::debug!(%server, ?outcome, "looked whether it is silent");
            let Kind::Discovered(discovery) = &upstream.kind else {
                return;
            };
            let fall = {
                let mut inner = discovery.legacy.lock();
                let fall = inner.ladder.end_probe(now(), probe, outcome);
                inner.after(fall)
            };
            upstream.on_fall(discovery, fall, "it takes questions and does not answer");
            discovery.legacy.wake();
        });
    }

    /// Says loudly what becomes of the questions that follow.
    fn on_fall(self: &Arc<Self>, discovery: &Discovery, fall: Fall, why: &str) {
        let server = discovery.server();
        let lowest = discovery.legacy.lock().ladder.floor();
        match fall {
            Fall::None => return,
            Fall::Unknown => {
                tracing::info!(%server, why, "finding out anew what the server offers");
                self.begin_climb(discovery);
            }
            Fall::Ground if lowest == Rung::Cleartext => {
                tracing::warn!(%server, why, "questions go in cleartext for a minute");
            }
            Fall::Ground => {
                tracing::warn!(%server, why, "no rung that the configuration allows, for a minute");
            }
        }
        discovery.tell_standing();
    }
}

impl super::Inner {
    /// What was reached is of no use after a fall: the next climb makes another connection.
    fn after(&mut self, fall: Fall) -> Fall {
        if fall != Fall::None {
            self.reached = None;
        }
        fall
    }
}

/// Asks on the rung; where that brings no answer and cleartext is allowed, in cleartext as well: what is not answered
/// there either is nothing that leaving the rung would mend.
async fn look(pool: &DotPool, server: SocketAddr, in_clear: bool) -> Probed {
    let query = harmless_question(true);
    match pool.ask(&query, now() + PROBE).await {
        // Whatever it says: it is not silent.
        Ok(_) | Err(DotError::Broken { .. }) => return Probed::Answered,
        Err(DotError::Busy { .. } | DotError::NotAQuery(_) | DotError::NoQuestion) => {
            return Probed::Open;
        }
        Err(error) => tracing::debug!(%server, %error, "probe failed"),
    }
    if !in_clear {
        return Probed::Silent;
    }
    let limits = ExchangeLimits {
        udp_tries: 2,
        first_wait: PROBE / 3,
        ..ExchangeLimits::default()
    };
    match udp_then_tcp(server, &query, &limits, now() + PROBE).await {
        Ok(_) => Probed::Silent,
        Err(_) => Probed::Open,
    }
}
