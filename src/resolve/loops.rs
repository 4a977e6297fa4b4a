//! Notices when the upstream asks us: then a question would go round until it times out.
//!
//! Only this server knows its own name, so an upstream that can say the SOA of that name has just
//! asked this server for it. The question is put when questions go unanswered, not before: a
//! circle makes itself felt.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};
use tokio::time::Instant;
use zzdot_client::wire::{self, QuestionFlags, Section, View};

use super::{Forward, Resolution, ResolveError, Source};

/// How long a circle is believed to last once it was seen.
const BELIEVED_FOR: Duration = Duration::from_secs(20);

/// The least time between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// How long the probe may take: it never leaves the machines next to this one.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

const TYPE_SOA: u16 = 6;
const SERVFAIL: u16 = 2;

/// A [`Forward`] that says [`ResolveError::Loop`] when its upstream leads back here.
#[derive(Debug)]
pub(super) struct LoopGuard {
    inner: Forward,
    /// Named in the error.
    upstream: SocketAddr,
    own_name: Name,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    circle_until: Option<Instant>,
    probed: Option<Instant>,
}

impl LoopGuard {
    pub(super) fn new(inner: Forward, upstream: SocketAddr, own_name: Name) -> Self {
        Self {
            inner,
            upstream,
            own_name,
            seen: Mutex::default(),
        }
    }

    pub(super) fn inner(&self) -> &Forward {
        &self.inner
    }

    pub(super) async fn resolve(
        &self,
        query: Arc<[u8]>,
        deadline: Instant,
    ) -> Result<Vec<u8>, ResolveError> {
        let circle = ResolveError::Loop {
            upstream: self.upstream,
        };
        if self
            .seen()
            .circle_until
            .is_some_and(|until| Instant::now() < until)
        {
            return Err(circle);
        }
        let outcome = self.inner.resolve(query, deadline).await;
        let suspicious = match &outcome {
            Err(ResolveError::TimedOut) => true,
            Ok(answer) => View::parse(answer).is_ok_and(|view| view.rcode() == SERVFAIL),
            Err(_) => false,
        };
        if suspicious && self.may_probe() && self.leads_back().await {
            tracing::error!(upstream = %self.upstream, "the upstream leads back to this server");
            self.seen().circle_until = Some(Instant::now() + BELIEVED_FOR);
            return Err(circle);
        }
        outcome
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_probe(&self) -> bool {
        let now = Instant::now();
        let mut seen = self.seen();
        let may = seen.probed.is_none_or(|last| now - last >= PROBE_EVERY);
        if may {
            seen.probed = Some(now);
        }
        may
    }

    async fn leads_back(&self) -> bool {
        let flags = QuestionFlags {
            rd: true,
            ..QuestionFlags::default()
        };
        let probe = wire::question(0, &self.own_name, RecordType::SOA, flags, None);
        let answer = self
            .inner
            .resolve(probe.into(), Instant::now() + PROBE_WITHIN)
            .await;
        answer.is_ok_and(|answer| {
            View::parse(&answer).is_ok_and(|view| {
                view.records()
                    .flatten()
                    .any(|record| record.section == Section::Answer && record.rtype == TYPE_SOA)
            })
        })
    }
}

/// Forwards, and notices circles.
#[derive(Debug)]
pub(super) struct Forwarding(pub(super) LoopGuard);

impl Source for Forwarding {
    fn resolve(&self, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_> {
        Box::pin(self.0.resolve(query, deadline))
    }

    fn describe(&self) -> serde_json::Value {
        self.0.inner().describe()
    }
}
