//! What `zzdot-client status` is told of the way of questions.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use zzdot_zonegen::clock::UnixTime;

use super::super::now;
use super::decision::Way;
use super::{Chains, link};
use crate::dot::DotPool;
use crate::session::Failure;

impl Chains {
    /// `route` of the status; `pool` leads to the nearest, where TLS with it is allowed.
    pub(in crate::upstream) fn status(&self, pool: Option<&DotPool>) -> Value {
        let routing = self.routing();
        let (now, clock) = (now(), UnixTime::now());
        let end = self.current_end();
        let way = pool.map(|pool| routing.way(link(pool), now, clock));
        let asks = match &way {
            Some(Way::Nearest) => Some("nearest"),
            Some(Way::End) if end.as_ref().is_some_and(|end| end.works()) => Some("end"),
            Some(Way::End) => Some("nearest"),
            Some(Way::AfterSurvey(_) | Way::Fail(_)) | None => None,
        };
        json!({
            "policy": routing.policy().name(),
            "asks": asks,
            "surveying": routing.is_surveying(),
            "chain": routing.last().map(|found| json!({
                "looked-at": found.clock.to_string(),
                "holds-secs": found.holds_for(now, clock).as_secs(),
                "encrypted-to-end": found.fault.is_none(),
                "fault": found.fault.as_ref().map(crate::discover::Refusal::cause),
                "resolvers": found.chain.nodes.len().saturating_sub(1),
                "hops": found.chain.hops.len(),
            })),
            "end": end.map(|end| json!({
                "name": end.end().name,
                "works": end.works(),
                "standing": end.standing().name(),
                "tls": end.pool().status(),
            })),
        })
    }

    /// Why the nearest is asked and not the end.
    pub(super) fn why_not_end(&self) -> String {
        match self.current_end() {
            None => "no resolver at the end of the chain could be met by TLS".to_owned(),
            Some(end) => {
                let why = end.standing().why().unwrap_or("it is being tried");
                format!(
                    "the end of the chain, {}, is not asked: {why}",
                    end.end().name
                )
            }
        }
    }

    /// Why a question that may go over TLS would not be answered, if it would not.
    pub(in crate::upstream) fn failure(&self, pool: &DotPool) -> Option<Failure> {
        let routing = self.routing();
        match routing.way(link(pool), now(), UnixTime::now()) {
            Way::Nearest | Way::End => None,
            // Nobody asked lately: whoever asks waits for a survey.
            _ if routing.fault().is_none() && routing.failed().is_none() => None,
            Way::AfterSurvey(failure) | Way::Fail(failure) => Some(failure),
        }
    }

    /// Whether questions go to the end of the chain.
    pub(in crate::upstream) fn asks_end(&self, pool: &DotPool) -> bool {
        let way = self.routing().way(link(pool), now(), UnixTime::now());
        way == Way::End && self.current_end().is_some_and(|end| end.works())
    }

    /// Questions answered by an end.
    pub(in crate::upstream) fn answered_by_end(&self) -> u64 {
        self.to_end.load(Ordering::Relaxed)
    }

    /// Whether it is looked behind the nearest without a question.
    pub(in crate::upstream) fn looks_ahead(&self) -> bool {
        self.routing().looks_ahead(now())
    }
}
