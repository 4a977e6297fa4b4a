//! Who is the configured server, and can it be reached in private? (Protocol, "Discovery".)
//!
//! [`Walk`] is the state machine: answers, TLS outcomes and the clock go in; questions, connections
//! and the verdict come out. It reads no clock and opens no socket.

mod action;
mod advice;
mod evidence;
mod examination;
mod explanation;
mod ledger;
mod meeting;
mod own_denial;
mod refusal;
mod search;
mod service;
mod succession;
mod tlsa;
mod verdict;
mod walk;

pub use action::{Action, Ask, AskId, Connect, ConnectId, Step, TlsFailure};
pub(crate) use evidence::soa_serial;
pub use examination::MAX_TLSA;
pub(crate) use examination::one_string;
pub use explanation::Explanation;
pub use refusal::Refusal;
pub use search::MAX_FALLBACKS;
pub use service::{DOT_PORT, MAX_ADDRESSES};
pub(crate) use service::{address, dot_port, is_one_place};
pub use tlsa::{PeerCertificates, Tlsa, TlsaMismatch, TlsaTextError, peer_named_by};
pub use verdict::{Discovered, LegacyReason, Verdict};
pub use walk::{CLOCK_SLACK, FALLBACK_AFTER, MAX_ASKS, WALK_TIMEOUT, Walk, WalkInput, WalkPolicy};

#[cfg(test)]
mod tests;
