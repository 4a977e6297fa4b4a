//! Who is the configured server, and can it be reached in private? (Protocol, "Discovery".)
//!
//! [`Walk`] is the state machine: answers, TLS outcomes and the clock go in; questions, connections
//! and the verdict come out. It reads no clock and opens no socket.

mod action;
mod refusal;
mod tlsa;
mod verdict;

pub use action::{Action, Ask, AskId, Connect, ConnectId, Step, TlsFailure};
pub use refusal::Refusal;
pub use tlsa::{PeerCertificates, Tlsa, TlsaMismatch, TlsaTextError, peer_named_by};
pub use verdict::{Discovered, LegacyReason, Verdict};
