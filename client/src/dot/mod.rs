//! DNS over TLS to one server whose identity is already known (RFC 7858, RFC 7766).
//!
//! ```text
//!  ask ──┐                       many questions: one record, one write
//!  ask ──┼─ DotPool ─ Connection ─ Mux* ─ driver ─ TLS
//!  Lane ─┘   │  │                answers by id and question
//!            │  └ Connection (the one before, until its last answer came)
//!            └ one connect for all who wait, with a pause after each failure
//! ```
//!
//! [`DotPool::ask`] does whatever it takes. A [`Lane`] is the same connection for questions in datagrams that need
//! nothing but an answer, without a task or an allocation of their own; when more is needed they become tasks.
//!
//! A server that cannot be connected to costs the first questions some patience and the others
//! none: they fail at once, while connecting goes on behind them. A question is asked at the most twice: again when its connection ends before the answer, or on
//! a second connection when the first has been silent for too long. It never outlives the
//! deadline that its asker gave.

mod backoff;
mod connect;
mod connection;
mod driver;
mod express;
mod hop;
mod in_flight;
mod mux;
mod pool;
mod proof;

use std::net::SocketAddr;
use std::time::Duration;

use rustls_pki_types::ServerName;

pub use connect::{ConnectError, ConnectStage, Observed, observe};
pub use connection::Ended;
pub use express::{Lane, Patron, Pursuit, Recalled, Terms, Unanswered};
pub(crate) use hop::is_hop_by_hop;
pub use hop::without_hop_options;
pub use pool::{DotPool, PoolStatus};
pub use proof::{PeerProof, client_config_for, spki_sha256};

use crate::wire::WireError;

/// The port of DNS over TLS (RFC 7858 §3.1).
pub const DOT_PORT: u16 = 853;

/// One server and what it has to prove.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name sent in clear in the handshake (SNI). None for identities that are known by their
    /// key: their name is nobody else's business (protocol §7).
    pub server_name: Option<ServerName<'static>>,
    /// What its certificate is judged by.
    pub proof: PeerProof,
}

/// The bounds of a pool. Each has the name under which it may be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotLimits {
    /// Questions in flight; more wait for their turn within their deadline.
    pub in_flight: usize,
    /// TCP and TLS handshake together.
    pub connect: Duration,
    /// Silence of the server, while something is unanswered, after which a second connection is
    /// tried.
    pub hedge_after: Duration,
    /// The same, after which the connection is dead.
    pub silence: Duration,
    /// How long a connection without questions is kept, where the server does not say
    /// (RFC 7766 §6.2.3, RFC 7828).
    pub idle: Duration,
    /// The most that a server may ask us to keep an idle connection.
    pub idle_max: Duration,
    /// How long a write, or unacknowledged data, may take (TCP_USER_TIMEOUT).
    pub write: Duration,
    /// How long questions wait for a server that cannot be connected to, from the first failure
    /// on. After that they fail at once, while connecting goes on without them.
    pub grace: Duration,
    /// How long connecting goes on without them after the last question.
    pub persistence: Duration,
    /// Padding of questions, to multiples of so many bytes (RFC 8467 §4.1).
    pub padding: usize,
}

impl Default for DotLimits {
    fn default() -> Self {
        Self {
            in_flight: 4096,
            connect: Duration::from_millis(2500),
            hedge_after: Duration::from_millis(600),
            silence: Duration::from_secs(8),
            idle: Duration::from_secs(30),
            idle_max: Duration::from_secs(3600),
            write: Duration::from_secs(5),
            grace: Duration::from_secs(1),
            persistence: Duration::from_secs(30),
            padding: 128,
        }
    }
}

/// Why a question got no answer over TLS.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DotError {
    /// What was to be asked is no query with one question.
    #[error("not a query: {0}")]
    NotAQuery(WireError),
    /// What was to be asked has no question or is itself an answer.
    #[error("not a query: it has no question or is an answer")]
    NoQuestion,
    /// Its turn did not come before its deadline: too many questions in flight.
    #[error("{address}: more than {limit} questions in flight")]
    Busy {
        /// The server.
        address: SocketAddr,
        /// The bound that was met, `in_flight`.
        limit: usize,
    },
    /// There is no connection.
    #[error(transparent)]
    NoConnection(#[from] ConnectError),
    /// The connection ended before the answer, and so did the next.
    #[error("{address}: connection lost twice: {ended}")]
    Lost {
        /// The server.
        address: SocketAddr,
        /// How the last one ended.
        ended: Ended,
    },
    /// An answer came that cannot be passed on.
    #[error("{address}: broken answer: {reason}")]
    Broken {
        /// The server.
        address: SocketAddr,
        /// What is wrong with it.
        reason: WireError,
    },
    /// The deadline passed.
    #[error("{address}: no answer in time{}", last_failure(.connect.as_ref()))]
    Deadline {
        /// The server.
        address: SocketAddr,
        /// The last failure to connect, where there was no connection.
        connect: Option<ConnectError>,
    },
}

fn last_failure(error: Option<&ConnectError>) -> String {
    error.map_or_else(String::new, |error| format!(" ({error})"))
}

#[cfg(test)]
mod tests;
