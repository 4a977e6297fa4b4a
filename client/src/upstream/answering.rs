//! Answers for the stub: in time, and the short way where there is one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::kept::terms;
use super::route::{Begun, Way};
use super::{Kind, Upstream, now};
use crate::dot::{Lane, Patron, Recalled, Terms, Unanswered};
use crate::ladder::Rung;
use crate::session::Failure;
use crate::stub::{Answer, Answering};
use crate::tally::TALLY;
use crate::wire::{self, View};

const SERVFAIL: u16 = 2;

impl Upstream {
    pub(super) async fn answer_in_time(
        self: Arc<Self>,
        query: Vec<u8>,
        asked_at: Instant,
        begun: Begun,
    ) -> Vec<u8> {
        let deadline = asked_at + self.query_budget;
        let resolved = tokio::select! {
            biased;
            () = self.retired() => Err(Failure::NoAnswer("the network is gone".to_owned())),
            resolved = self.resolve_or_log_in(&query, deadline, begun) => resolved,
        };
        match resolved {
            Ok(mut answer) => {
                restore_case(&query, &mut answer);
                answer
            }
            Err(failure) => {
                *self.failures().entry(failure.name()).or_default() += 1;
                TALLY.count_failure(failure.name());
                let (code, text) = failure.ede();
                tracing::debug!("not answered: {text}");
                wire::error_reply(&query, SERVFAIL, Some((code, &text))).unwrap_or_default()
            }
        }
    }
}

impl Answer for Upstream {
    fn answer(self: Arc<Self>, query: Vec<u8>) -> Answering {
        Box::pin(self.answer_in_time(query, now(), Begun::No))
    }

    /// There is one while the session is strict, or the proof configured, and there is a connection.
    fn lane(self: Arc<Self>) -> Option<Lane> {
        if self.is_retired() {
            return None;
        }
        match &self.kind {
            Kind::Fixed { pool, .. } => pool.lane(Arc::clone(&self) as Arc<dyn Patron>),
            Kind::Discovered(discovery) => {
                let pool = discovery.pool_of_strict_session()?;
                match self.way(discovery, &pool) {
                    Way::Nearest => pool.lane(Arc::clone(&self) as Arc<dyn Patron>),
                    Way::End(end) => end.lane(Arc::clone(&self)),
                    Way::AfterSurvey(..) | Way::Fail(_) => None,
                }
            }
        }
    }
}

impl Patron for Upstream {
    fn answered(&self, answers: u64) {
        self.encrypted.fetch_add(answers, Ordering::Relaxed);
        TALLY.count(Rung::Known, answers);
        if let Kind::Discovered(discovery) = &self.kind {
            discovery.lock().session.on_tls_answer();
        }
    }

    fn recall(&self, query: &[u8], pool: u32, now: Instant, out: &mut Vec<u8>) -> Recalled {
        let Some(kept) = &self.kept else {
            return Recalled::Unknown(None);
        };
        match terms(query, pool) {
            Some(terms) if kept.find(query, terms, now, out) => Recalled::Known,
            terms => Recalled::Unknown(terms),
        }
    }

    fn keep(&self, answer: &[u8], terms: Terms, now: Instant) {
        if let Some(kept) = &self.kept {
            kept.keep(answer, terms, now);
        }
    }

    fn take_over(self: Arc<Self>, question: Unanswered) {
        tokio::spawn(async move {
            let Unanswered {
                query,
                asked_at,
                asker,
                pursuit,
            } = question;
            let answer = self
                .answer_in_time(query, asked_at, Begun::AtNearest(pursuit))
                .await;
            asker.reply(&answer).await;
        });
    }
}

/// Askers may check the letter case of the question that comes back.
pub(super) fn restore_case(query: &[u8], answer: &mut [u8]) {
    if let Some(asked) = View::parse(query).ok().and_then(|view| view.question()) {
        wire::restore_case(answer, &asked);
    }
}
