//! Notices when the upstream asks us: then a question would go round until it times out.
//!
//! When questions go unanswered, the upstream is asked for a random name below `test.` (RFC 6761
//! §6.2), which says nothing about anybody; should that very question arrive here, there is a
//! circle. Nothing is probed before that: a circle makes itself felt.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_proto::{
    rr::{Name, RecordType},
    serialize::binary::BinEncodable,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;
use zzdot_client::wire::{self, QuestionFlags, View};

use super::{Forward, Passage, Resolution, ResolveError, Source};

/// How long a circle is believed to last once it was seen.
const BELIEVED_FOR: Duration = Duration::from_secs(20);

/// The least time between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// How long the probe may take: it never leaves the machines next to this one.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

const SERVFAIL: u16 = 2;

/// A [`Forward`] that says [`ResolveError::Loop`] when its upstream leads back here.
#[derive(Debug)]
pub(super) struct LoopGuard {
    inner: Arc<Forward>,
    /// Named in the error.
    upstream: SocketAddr,
    /// The random name; nobody else asks for it.
    probe: Name,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    circle_until: Option<Instant>,
    probed: Option<Instant>,
}

impl LoopGuard {
    pub(super) fn new(inner: Arc<Forward>, upstream: SocketAddr) -> Self {
        Self {
            inner,
            upstream,
            probe: random_name(),
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
        if self.is_probe(&query) {
            self.seen().circle_until = Some(Instant::now() + BELIEVED_FOR);
            return Err(circle);
        }
        if self.is_circle() {
            return Err(circle);
        }
        let outcome = self.inner.resolve(query, deadline).await;
        let suspicious = match &outcome {
            Err(ResolveError::TimedOut) => true,
            Ok(answer) => View::parse(answer).is_ok_and(|view| view.rcode() == SERVFAIL),
            Err(_) => false,
        };
        if suspicious && self.may_probe() && self.leads_back(deadline).await {
            tracing::error!(upstream = %self.upstream, "the upstream leads back to this server");
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

    fn is_circle(&self) -> bool {
        let until = self.seen().circle_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    fn is_probe(&self, query: &[u8]) -> bool {
        let wire = self.probe.to_bytes();
        let asked = View::parse(query).ok().and_then(|view| view.question());
        match (wire, asked) {
            (Ok(wire), Some(asked)) => asked.wire_name.eq_ignore_ascii_case(&wire),
            _ => false,
        }
    }

    /// Asks the upstream for the random name, and says whether that came back here before
    /// `deadline`. The asking goes on after that, for the questions to come.
    async fn leads_back(&self, deadline: Instant) -> bool {
        let flags = QuestionFlags {
            rd: true,
            ..QuestionFlags::default()
        };
        let probe = wire::question(0, &self.probe, RecordType::TXT, flags, None);
        let inner = Arc::clone(&self.inner);
        let asking = tokio::spawn(async move {
            // What it answers does not matter, only whether it asks here in the meantime.
            let _ = inner
                .resolve(probe.into(), Instant::now() + PROBE_WITHIN)
                .await;
        });
        let _ = tokio::time::timeout_at(deadline, asking).await;
        self.is_circle()
    }
}

fn random_name() -> Name {
    let mut bytes = [0; 12];
    // Without randomness the name is a known one, and the guard can be fooled into a pause.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::warn!("the system has no randomness for the name that finds circles");
    }
    let label = data_encoding::HEXLOWER.encode(&bytes);
    Name::from_ascii(format!("{label}.test.")).expect("hexadecimal digits make a label")
}

/// Forwards, and notices circles.
#[derive(Debug)]
pub(super) struct Forwarding(pub(super) LoopGuard);

impl Source for Forwarding {
    fn resolve(&self, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_> {
        Box::pin(self.0.resolve(query, deadline))
    }

    fn passage(&self) -> Option<&dyn Passage> {
        self.0.inner().passage()
    }

    fn describe(&self) -> serde_json::Value {
        self.0.inner().describe()
    }

    fn upstreams(&self) -> Vec<serde_json::Value> {
        self.0.inner().upstreams()
    }
}
