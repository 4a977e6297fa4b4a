//! What one look-up of the recursor carries with it: the question it is about, and responses that
//! are there before they are asked for.
//!
//! hickory 0.26.3 asks for the NS records of a name before it asks for what is wanted of it, and
//! for the DS records that the referral has just brought. The first question is replaced by the
//! one that follows, whose answer shows as well whether the name is the top of a zone; what
//! that answer and a referral hold beside is kept here until it is asked for.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hickory_resolver::proto::{
    op::Query,
    rr::{Name, RecordType},
};
use zzdot_client::wire::View;

use super::shape;

/// Responses that are held at the same time; a look-up needs two.
const MAX_HELD: usize = 16;

/// Referrals that one look-up can bring.
const MAX_REFERRALS: usize = 32;

tokio::task_local! {
    static ERRAND: Arc<Errand>;
    /// A response that was there before the look-ups began.
    static KNOWN: Mutex<Option<(Asked, Vec<u8>)>>;
}

/// Runs `work` with a response for the first look-up that needs it.
pub(super) async fn with_known<T>(
    known: Option<(Asked, Vec<u8>)>,
    work: impl Future<Output = T>,
) -> T {
    KNOWN.scope(Mutex::new(known), work).await
}

/// A question as responses are held by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// In wire form, uncompressed, in lower case.
    pub(super) name: Vec<u8>,
    pub(super) rtype: u16,
}

impl Asked {
    /// What `message` asks.
    pub(super) fn by(message: &[u8]) -> Option<Self> {
        let view = View::parse(message).ok()?;
        let question = view.question()?;
        Some(Self {
            name: question.wire_name.to_ascii_lowercase(),
            rtype: question.qtype,
        })
    }

    /// What hickory's type asks.
    pub(super) fn of(question: &Query) -> Self {
        Self {
            name: folded(question.name()),
            rtype: u16::from(question.query_type()),
        }
    }
}

/// A name in wire form, in lower case.
pub(super) fn folded(name: &Name) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        // The type `Name` holds labels of at the most 63 octets.
        wire.push(label.len() as u8);
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    wire.push(0);
    wire
}

/// One look-up.
#[derive(Debug)]
pub(super) struct Errand {
    question: Asked,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Vec<(Asked, Vec<u8>)>,
    /// The response to the question for NS records of the name, once it is known not to have any.
    no_cut: Option<Vec<u8>>,
    /// Who answered the question itself, with authority.
    witness: Option<SocketAddr>,
    /// Zones that a referral led to, and the seconds for which it holds.
    referrals: Vec<(Vec<u8>, u32)>,
}

impl Errand {
    pub(super) fn new(question: &Query) -> Arc<Self> {
        let errand = Self {
            question: Asked::of(question),
            state: Mutex::default(),
        };
        let known = KNOWN.try_with(|known| lock(known).take());
        if let Ok(Some((asked, response))) = known {
            errand.hold(asked, response);
        }
        Arc::new(errand)
    }

    /// Runs `work` as part of this errand.
    pub(super) async fn run<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        ERRAND.scope(self.clone(), work).await
    }

    /// The errand that the caller is part of.
    pub(super) fn current() -> Option<Arc<Self>> {
        ERRAND.try_with(Arc::clone).ok()
    }

    /// What will be asked of the name after its NS records, where `asked` is for those.
    pub(super) fn asked_next(&self, asked: &Asked) -> Option<u16> {
        let about_the_name = asked.rtype == shape::TYPE_NS && asked.name == self.question.name;
        // The zone above answers for DS; and who asks for NS records shall have them.
        let other = !matches!(self.question.rtype, shape::TYPE_NS | shape::TYPE_DS)
            && RecordType::from(self.question.rtype) != RecordType::ANY;
        (about_the_name && other).then_some(self.question.rtype)
    }

    /// The name is not the top of a zone: every question for its NS records gets this response.
    pub(super) fn on_no_cut(&self, response: Vec<u8>) {
        self.state().no_cut = Some(response);
    }

    /// The response for the NS records of the name, where it is known to have none.
    pub(super) fn no_cut(&self) -> Option<Vec<u8>> {
        self.state().no_cut.clone()
    }

    /// Whether this is the question itself.
    pub(super) fn is_about(&self, asked: &Asked) -> bool {
        *asked == self.question
    }

    /// Keeps a response until it is asked for.
    pub(super) fn hold(&self, asked: Asked, response: Vec<u8>) {
        let mut state = self.state();
        if state.held.len() < MAX_HELD {
            state.held.push((asked, response));
        }
    }

    /// The response to this question, if it is there; only once.
    pub(super) fn take(&self, asked: &Asked) -> Option<Vec<u8>> {
        let mut state = self.state();
        let at = state.held.iter().position(|(held, _)| held == asked)?;
        Some(state.held.swap_remove(at).1)
    }

    /// Remembers who answered what.
    pub(super) fn on_answer(&self, asked: &Asked, server: SocketAddr) {
        if self.is_about(asked) {
            self.state().witness = Some(server);
        }
    }

    /// Remembers what a referral says of a zone.
    pub(super) fn on_referral(&self, zone: Vec<u8>, ttl: u32) {
        let mut state = self.state();
        if state.referrals.len() < MAX_REFERRALS {
            state.referrals.push((zone, ttl));
        }
    }

    /// The zones that referrals led to, from the root downwards.
    pub(super) fn referrals(&self) -> Vec<(Vec<u8>, u32)> {
        std::mem::take(&mut self.state().referrals)
    }

    /// Who answered the question itself.
    pub(super) fn witness(&self) -> Option<SocketAddr> {
        self.state().witness
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
