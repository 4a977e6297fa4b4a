//! Where answers come from: upstream servers, a resolver on this machine, or the root downwards.
//!
//! A [`Source`] takes a whole query message and gives back a whole response message. What it
//! passes on has been matched to the question; what it refuses has a name.

use std::{borrow::Cow, future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::time::Instant;

mod build;
mod forward;
mod inflight;
mod local;
mod loops;
mod passage;
mod recursive;

pub use build::{BuildError, Built, build, check};
pub use forward::{Forward, Roster};
pub use local::Local;
pub use passage::{Passage, Through};
pub use recursive::{Recursive, RecursiveError, RecursiveOptions, RootsError};

/// The longest that a question may take before it is answered SERVFAIL.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(7);

/// The most packets (datagrams, or messages on a stream) sent upstream for one question. A forwarder
/// needs two or three. Recursion needs some eight for a name below two signed zones while the cache
/// is empty, and as many again for each alias into another domain; what was learned on the way
/// stays, so that who asks again after too long a way gets further.
pub const MAX_PACKETS_A_QUESTION: u32 = 30;

/// An answer that is on its way.
pub type Resolution<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, ResolveError>> + Send + 'a>>;

/// A place that answers come from.
pub trait Source: Send + Sync {
    /// Resolves one query.
    ///
    /// `query` is a well-formed standard query with exactly one question; it carries an OPT record
    /// only when the asker sent one. The response is a raw message for the same question; its id
    /// is whatever the source used, so the caller restores it. Nothing is awaited past `deadline`.
    fn resolve(&self, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_>;

    /// What `zzdot status` says about this source.
    fn describe(&self) -> serde_json::Value;

    /// What `zzdot upstreams` says: each server that is asked, in the order of the configuration.
    fn upstreams(&self) -> Vec<serde_json::Value> {
        Vec::new()
    }

    /// The way to ask one given upstream, where this source has any that are published.
    fn passage(&self) -> Option<&dyn Passage> {
        None
    }
}

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Nobody answered before the deadline.
    #[error("no answer in time")]
    TimedOut,
    /// Every upstream refused the connection or could not be reached.
    #[error("no upstream could be reached")]
    Unreachable,
    /// Upstreams answered, but with nothing that may be passed on.
    #[error("upstream {upstream} sent nothing that may be passed on: {reason}")]
    InvalidAnswer {
        /// Who sent it.
        upstream: SocketAddr,
        /// What was wrong with it.
        reason: &'static str,
    },
    /// The packets that one question may cost are spent.
    #[error("{MAX_PACKETS_A_QUESTION} packets did not get an answer")]
    BudgetSpent,
    /// The question came back to us: the upstream asks this very machine.
    #[error("the upstream {upstream} leads back to this machine")]
    Loop {
        /// The upstream that leads back.
        upstream: SocketAddr,
    },
    /// The upstream cannot be trusted, or cannot be reached as the configuration requires.
    #[error("upstream {upstream}: {reason}")]
    Refused {
        /// Which.
        upstream: SocketAddr,
        /// The name of the reason (protocol §10).
        reason: &'static str,
        /// The extended error that goes with it (RFC 8914).
        code: u16,
        /// And its text.
        text: String,
    },
    /// No upstream is known.
    #[error("no upstream is known")]
    NoUpstream,
    /// As many questions as may be in flight are in flight.
    #[error("too many questions in flight")]
    Overloaded,
    /// The answer did not validate (RFC 4035 §5.5).
    #[error("the answer did not validate: {detail}")]
    Bogus {
        /// Which of the reasons of RFC 8914 fits best.
        reason: BogusReason,
        /// What did not validate.
        detail: String,
    },
    /// Recursion failed for another reason.
    #[error("recursion failed: {0}")]
    Recursion(String),
    /// A query that this source cannot carry.
    #[error("the query cannot be carried: {0}")]
    Unsupported(&'static str),
}

/// Why an answer is bogus, as RFC 8914 tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BogusReason {
    /// None of the narrower ones (§4.7).
    Bogus,
    /// A signature has expired (§4.8).
    SignatureExpired,
    /// A signature is not valid yet (§4.9).
    SignatureNotYetValid,
    /// A signature that should be there is not (§4.11).
    RrsigsMissing,
    /// A denial that should be there is not (§4.13).
    NsecMissing,
}

impl ResolveError {
    /// The response code that the asker is told (RFC 1035 §4.1.1, RFC 6895).
    pub fn rcode(&self) -> u16 {
        const SERVFAIL: u16 = 2;
        const NOTIMP: u16 = 4;
        match self {
            Self::Unsupported(_) => NOTIMP,
            _ => SERVFAIL,
        }
    }

    /// The Extended DNS Error that goes with it: info-code and text (RFC 8914).
    pub fn ede(&self) -> (u16, Cow<'static, str>) {
        match self {
            Self::Refused { code, text, .. } => (*code, format!("upstream: {text}").into()),
            Self::TimedOut => (22, "no upstream answered in time".into()),
            Self::Unreachable => (23, "no upstream could be reached".into()),
            Self::InvalidAnswer { reason, .. } => (24, (*reason).into()),
            Self::BudgetSpent => (22, "the packets for one question are spent".into()),
            Self::Loop { .. } => (0, "the upstream leads back to this server".into()),
            Self::NoUpstream => (22, "no upstream is known".into()),
            Self::Overloaded => (0, "too many questions in flight".into()),
            Self::Bogus { reason, .. } => match reason {
                BogusReason::Bogus => (6, "the answer did not validate".into()),
                BogusReason::SignatureExpired => (7, "a signature has expired".into()),
                BogusReason::SignatureNotYetValid => (8, "a signature is not valid yet".into()),
                BogusReason::RrsigsMissing => (10, "signatures are missing".into()),
                BogusReason::NsecMissing => (12, "the proof of denial is missing".into()),
            },
            Self::Recursion(_) => (22, "no authority could be asked".into()),
            Self::Unsupported(what) => (21, (*what).into()),
        }
    }
}
