//! Notices when the upstream asks us: then a question would go round until it times out.
//!
//! When questions go unanswered, each upstream is asked for a random name of its own below `test.` (RFC 6761
//! §6.2), which says nothing about anybody; should that very question arrive here, there is a
//! circle through that upstream, and it is left out for a while. Nothing is probed before that: a
//! circle makes itself felt. Each name is good for one look: an upstream may pass it on in cleartext, and whoever heard it
//! there could otherwise have that upstream left out by asking us.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// The least time from one look at all upstreams to the next.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// How long the probe may take: it never leaves the machines next to this one.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

const SERVFAIL: u16 = 2;

/// A [`Forward`] that leaves out upstreams that lead back here, and says [`ResolveError::Loop`] when none is left.
#[derive(Debug)]
pub(super) struct LoopGuard {
    inner: Arc<Forward>,
    upstreams: Vec<Watched>,
    probed: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Watched {
    /// Named in the error.
    address: SocketAddr,
    /// What this upstream alone is asked for, while it is.
    probe: Mutex<Option<Probe>>,
}

#[derive(Debug)]
struct Probe {
    /// A random name in wire form.
    wire: Vec<u8>,
    until: Instant,
}

impl LoopGuard {
    pub(super) fn new(inner: Arc<Forward>) -> Self {
        let upstreams = inner.addresses().map(Watched::new).collect();
        Self {
            inner,
            upstreams,
            probed: Mutex::default(),
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
        if let Some(at) = self.probe_of(&query) {
            let upstream = self.upstreams[at].address;
            tracing::error!(%upstream, "the upstream leads back to this server");
            self.inner.leads_back(at, Instant::now() + BELIEVED_FOR);
            return Err(ResolveError::Loop { upstream });
        }
        let outcome = self.inner.resolve(query, deadline).await;
        let suspicious = match &outcome {
            Err(ResolveError::TimedOut) => true,
            Ok(answer) => View::parse(answer).is_ok_and(|view| view.rcode() == SERVFAIL),
            Err(_) => false,
        };
        if suspicious && self.may_probe() {
            self.probe(deadline).await;
            if let Some(circle) = self.inner.circle() {
                return Err(circle);
            }
        }
        outcome
    }

    fn may_probe(&self) -> bool {
        let now = Instant::now();
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let may = probed.is_none_or(|last| now - last >= PROBE_EVERY);
        if may {
            *probed = Some(now);
        }
        may
    }

    /// Which upstream is being asked for this, and nobody else.
    fn probe_of(&self, query: &[u8]) -> Option<usize> {
        let asked = View::parse(query).ok()?.question()?;
        if asked.qtype != u16::from(RecordType::TXT) {
            return None;
        }
        let now = Instant::now();
        let is_it =
            |probe: &Probe| now < probe.until && asked.wire_name.eq_ignore_ascii_case(&probe.wire);
        let mut upstreams = self.upstreams.iter();
        upstreams.position(|upstream| upstream.probe().as_ref().is_some_and(is_it))
    }

    /// Asks each upstream for its random name, and waits until `deadline`. The asking goes on after that, for the
    /// questions to come.
    async fn probe(&self, deadline: Instant) {
        let flags = QuestionFlags {
            rd: true,
            ..QuestionFlags::default()
        };
        let mut asking = Vec::new();
        for (at, upstream) in self.upstreams.iter().enumerate() {
            let until = Instant::now() + PROBE_WITHIN;
            let name = upstream.begin_probe(until);
            let probe = wire::question(0, &name, RecordType::TXT, flags, None);
            let inner = Arc::clone(&self.inner);
            asking.push(tokio::spawn(async move {
                // What it answers does not matter, only whether it asks here in the meantime.
                inner.try_one(at, &probe, until).await;
            }));
        }
        let all = futures_util::future::join_all(asking);
        let _ = tokio::time::timeout_at(deadline, all).await;
    }
}

impl Watched {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            probe: Mutex::default(),
        }
    }

    /// The name for one look, which ends at `until`.
    fn begin_probe(&self, until: Instant) -> Name {
        let name = random_name();
        let wire = name.to_bytes().expect("a name of two labels has octets");
        *self.probe() = Some(Probe { wire, until });
        name
    }

    fn probe(&self) -> MutexGuard<'_, Option<Probe>> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use hickory_proto::op::{Message, MessageType, ResponseCode};
    use tokio::net::UdpSocket;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    fn about(name: &str) -> Arc<[u8]> {
        let name = Name::from_ascii(name).unwrap();
        wire::question(7, &name, RecordType::A, QuestionFlags::default(), None).into()
    }

    fn answer(query: &[u8], rcode: ResponseCode) -> Vec<u8> {
        let mut message = Message::from_vec(query).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = rcode;
        message.to_vec().unwrap()
    }

    #[tokio::test]
    async fn a_circle_through_one_upstream_takes_no_other_with_it() {
        let bind = async || UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (circle, other) = (bind().await, bind().await);
        let addresses = [&circle, &other].map(|socket| socket.local_addr().unwrap());
        let guard = Arc::new(LoopGuard::new(Arc::new(Forward::plain(&addresses))));
        let (asked, works) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let ours: Arc<OnceLock<Arc<LoopGuard>>> = Arc::default();
        ours.set(Arc::clone(&guard)).unwrap();
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = [0; 1232];
            loop {
                let (length, from) = circle.recv_from(&mut buffer).await.unwrap();
                let query: Arc<[u8]> = buffer[..length].into();
                counted.fetch_add(1, Ordering::SeqCst);
                let asks_us = ours
                    .get()
                    .unwrap()
                    .resolve(Arc::clone(&query), Instant::now() + WITHIN);
                // Whatever else it asks us is on its way to itself.
                if ours.get().unwrap().probe_of(&query).is_some() {
                    asks_us.await.unwrap_err();
                }
                circle
                    .send_to(&answer(&query, ResponseCode::ServFail), from)
                    .await
                    .unwrap();
            }
        });
        let answers = Arc::clone(&works);
        tokio::spawn(async move {
            let mut buffer = [0; 1232];
            loop {
                let (length, from) = other.recv_from(&mut buffer).await.unwrap();
                let rcode = match answers.load(Ordering::SeqCst) {
                    true => ResponseCode::NoError,
                    false => ResponseCode::ServFail,
                };
                other
                    .send_to(&answer(&buffer[..length], rcode), from)
                    .await
                    .unwrap();
            }
        });
        let rcode = async |name: &str| {
            let answer = guard
                .resolve(about(name), Instant::now() + WITHIN)
                .await
                .unwrap();
            Message::from_vec(&answer).unwrap().metadata.response_code
        };
        // Neither answers, for different reasons: nothing is said about the one that fails for its own.
        assert_eq!(rcode("a.example.").await, ResponseCode::ServFail);
        let before = asked.load(Ordering::SeqCst);
        assert!(before >= 2, "the question, and what only it was asked");
        works.store(true, Ordering::SeqCst);
        let names: Vec<_> = guard
            .upstreams
            .iter()
            .map(|upstream| upstream.probe().as_ref().unwrap().wire.clone())
            .collect();
        assert_ne!(names[0], names[1]);
        assert_eq!(rcode("b.example.").await, ResponseCode::NoError);
        assert_eq!(asked.load(Ordering::SeqCst), before, "it is left out");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_good_for_one_look_and_one_type() {
        let guard = LoopGuard::new(Arc::new(Forward::plain(&["127.0.0.1:9".parse().unwrap()])));
        let watched = &guard.upstreams[0];
        let name = watched.begin_probe(Instant::now() + PROBE_WITHIN);
        let asked =
            |name: &Name, rtype| wire::question(7, name, rtype, QuestionFlags::default(), None);
        assert_eq!(guard.probe_of(&asked(&name, RecordType::TXT)), Some(0));
        assert_eq!(guard.probe_of(&asked(&name, RecordType::A)), None);
        let next = watched.begin_probe(Instant::now() + PROBE_WITHIN);
        assert_eq!(
            guard.probe_of(&asked(&name, RecordType::TXT)),
            None,
            "the last look's"
        );
        assert_eq!(guard.probe_of(&asked(&next, RecordType::TXT)), Some(0));
        tokio::time::advance(PROBE_WITHIN).await;
        assert_eq!(
            guard.probe_of(&asked(&next, RecordType::TXT)),
            None,
            "that look is over"
        );
    }
}
