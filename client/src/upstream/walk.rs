//! A walk that an upstream makes, and the questions that wait for it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::timeout_at;
use zzdot_zonegen::clock::build_date;

use super::discovery::Allowed;
use super::{Kind, Upstream};
use crate::discover::{Verdict, WalkPolicy};
use crate::walker::{Carrier, walk_over};

impl Upstream {
    /// Starts a walk, unless one is under way. The first meeting is in cleartext; from then on the
    /// walk goes over TLS, unless the session allows otherwise and so does whoever asks for it.
    pub(super) fn begin_walk(self: &Arc<Self>, allowed: Allowed) {
        let Kind::Discovered(discovery) = &self.kind else {
            return;
        };
        if self.is_retired() || discovery.gate.holds() {
            return;
        }
        let Some(expected) = discovery.lock().session.begin_walk() else {
            return;
        };
        let policy = WalkPolicy {
            clock_floor: build_date().max(discovery.store.clock_floor()),
            timeout: self.walk_budget,
        };
        let upstream = Arc::clone(self);
        let server = discovery.server();
        self.spawn(async move {
            let Kind::Discovered(discovery) = &upstream.kind else {
                return;
            };
            let carrier = match &expected {
                None => Carrier::Cleartext,
                Some(_) => match discovery.carrier(allowed).await {
                    Ok(carrier) => carrier,
                    Err(error) => return discovery.abandon_walk(&error),
                },
            };
            // Here and not where TLS fails: that may be told by a thousand questions at once.
            let in_clear = matches!(carrier, Carrier::Cleartext);
            tracing::info!(%server, in_clear, "finding out who the server is");
            let walk_as = |carrier, known| {
                walk_over(carrier, server, known, policy.clone(), |step| {
                    tracing::debug!(%server, "{step}");
                })
            };
            let expects = expected.is_some();
            let mut walked = walk_as(&carrier, expected).await;
            if !expects
                && let Verdict::Upgraded(found) = &walked.verdict
                && let Some(known) = discovery.store.identity(&found.name)
            {
                // It calls itself by the name of somebody who is known, and that one has an anchor and a past.
                walked = walk_as(&carrier, Some(known)).await;
            }
            let stranger = discovery.stranger_in(&walked.verdict);
            discovery.end_walk(walked).await;
            if let Some(name) = stranger {
                let known = discovery.store.identity(&name);
                let walked = walk_as(&Carrier::Cleartext, known).await;
                discovery.meet_stranger(walked.verdict).await;
            }
        });
    }
}

/// Whether a walk ended before the deadline.
pub(super) async fn wait_for_walk(mut ended: watch::Receiver<u64>, deadline: Instant) -> bool {
    matches!(
        timeout_at(deadline.into(), ended.changed()).await,
        Ok(Ok(()))
    )
}
