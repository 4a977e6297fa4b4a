//! Connections on which each question is a stream of its own: DNS over HTTPS (RFC 8484) and over QUIC (RFC 9250).
//!
//! HTTP/2 and QUIC come from libraries; here is what makes an upstream of them: one connection and one handshake at a time
//! however many questions wait, another connection when one is lost, and octets that pass as they come.

mod https;
mod quic;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant as Moment},
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, timeout, timeout_at},
};
use zzdot_client::wire;

use super::super::ResolveError;

/// What connecting may take, with the handshake.
const CONNECT: Duration = Duration::from_millis(2500);

/// For how long after a failure to connect nobody tries again: a thousand waiting questions are one attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// How long an answer may take before its connection is given up; the question is then asked on another.
const SILENCE: Duration = Duration::from_secs(3);

/// Questions are padded to multiples of so many octets (RFC 8467 §4.1).
const PADDING: usize = 128;

/// What a question is carried in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/2, with POST to this path.
    Https { path: String },
    /// QUIC.
    Quic,
}

impl Protocol {
    /// The name for ALPN (RFC 7301).
    pub(crate) fn alpn(&self) -> &'static [u8] {
        match self {
            Self::Https { .. } => b"h2",
            Self::Quic => b"doq",
        }
    }
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// The connection is of no use any more.
    #[error("{0}")]
    Lost(String),
    /// The server answered, with nothing that is one.
    #[error("{0}")]
    Broken(&'static str),
}

/// A server that is asked over shared connections.
pub(crate) struct Streamed {
    address: SocketAddr,
    dialer: Arc<Dialer>,
    line: Arc<Mutex<Line>>,
}

enum Dialer {
    Https(https::Dialer),
    Quic(quic::Dialer),
}

#[derive(Clone)]
enum Connection {
    Https(https::Connection),
    Quic(quic::Connection),
}

/// The connection of now.
#[derive(Default)]
struct Line {
    connection: Option<Connection>,
    /// Counts connections, so that one is given up once and not its successor.
    number: u64,
    failed: Option<Moment>,
}

impl Streamed {
    /// A server at `address` that gives the proof for which `tls` was made; `name` is what it is greeted by.
    ///
    /// # Errors
    /// Nothing can be carried so, with the reason.
    pub(crate) fn new(
        address: SocketAddr,
        name: ServerName<'static>,
        protocol: &Protocol,
        tls: ClientConfig,
    ) -> Result<Self, String> {
        let dialer = match protocol {
            Protocol::Https { path } => {
                Dialer::Https(https::Dialer::new(address, name, path, Arc::new(tls))?)
            }
            Protocol::Quic => Dialer::Quic(quic::Dialer::new(address, &name, tls)?),
        };
        Ok(Self {
            address,
            dialer: Arc::new(dialer),
            line: Arc::default(),
        })
    }

    /// The name of the transport, as it is published.
    pub(super) fn transport(&self) -> zzdot_zonegen::upstream::Transport {
        match *self.dialer {
            Dialer::Https(_) => zzdot_zonegen::upstream::Transport::Doh,
            Dialer::Quic(_) => zzdot_zonegen::upstream::Transport::Doq,
        }
    }

    /// Asks `query`, a whole message, until `deadline`; once more where the connection turned out to be lost.
    pub(super) async fn ask(
        &self,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, ResolveError> {
        let message = prepared(query)?;
        let mut failure = ResolveError::TimedOut;
        for _ in 0..2 {
            let (connection, number) = match timeout_at(deadline, self.connection()).await {
                Ok(Some(connection)) => connection,
                Ok(None) => return Err(ResolveError::Unreachable),
                Err(_) => return Err(failure),
            };
            let patience = deadline.min(Instant::now() + SILENCE);
            match timeout_at(patience, connection.ask(message.clone())).await {
                Ok(Ok(mut answer)) => {
                    wire::set_id(&mut answer, id_of(query));
                    return Ok(answer);
                }
                Ok(Err(Fault::Broken(reason))) => {
                    return Err(ResolveError::InvalidAnswer {
                        upstream: self.address,
                        reason,
                    });
                }
                Ok(Err(Fault::Lost(reason))) => {
                    tracing::debug!(upstream = %self.address, reason, "connection lost");
                    failure = ResolveError::Unreachable;
                }
                Err(_) => failure = ResolveError::TimedOut,
            }
            self.give_up(number).await;
        }
        Err(failure)
    }

    /// The connection of now, made if there is none. Whoever waits for the handshake of another shares its outcome.
    async fn connection(&self) -> Option<(Connection, u64)> {
        let line = Arc::clone(&self.line).lock_owned().await;
        if let Some(connection) = &line.connection
            && !connection.is_closed()
        {
            return Some((connection.clone(), line.number));
        }
        let now = Instant::now().into_std();
        if line
            .failed
            .is_some_and(|failed| now.duration_since(failed) < PAUSE)
        {
            return None;
        }
        // Who asked for it may have an answer from somebody quicker before it is there: those who come next have it then.
        let connecting = connect(Arc::clone(&self.dialer), self.address, line);
        tokio::spawn(connecting).await.ok()?
    }

    async fn give_up(&self, number: u64) {
        let mut line = self.line.lock().await;
        if line.number == number {
            line.connection = None;
        }
    }
}

/// Makes the connection of `line`, or remembers that there is none.
async fn connect(
    dialer: Arc<Dialer>,
    address: SocketAddr,
    mut line: OwnedMutexGuard<Line>,
) -> Option<(Connection, u64)> {
    let connected = match timeout(CONNECT, dialer.dial()).await {
        Ok(connected) => connected,
        Err(_) => Err(Fault::Lost("no handshake in time".to_owned())),
    };
    line.number += 1;
    match connected {
        Ok(connection) => {
            line.failed = None;
            line.connection = Some(connection.clone());
            Some((connection, line.number))
        }
        Err(fault) => {
            tracing::debug!(upstream = %address, "not connected: {fault}");
            line.failed = Some(Instant::now().into_std());
            line.connection = None;
            None
        }
    }
}

impl Dialer {
    async fn dial(&self) -> Result<Connection, Fault> {
        Ok(match self {
            Self::Https(dialer) => Connection::Https(dialer.dial().await?),
            Self::Quic(dialer) => Connection::Quic(dialer.dial().await?),
        })
    }
}

impl Connection {
    async fn ask(&self, message: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let answer = match self {
            Self::Https(connection) => connection.ask(message).await?,
            Self::Quic(connection) => connection.ask(message).await?,
        };
        match answer.len() {
            wire::HEADER_BYTES.. => Ok(answer),
            _ => Err(Fault::Broken("what came is too short for a message")),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            // Only asking shows.
            Self::Https(_) => false,
            Self::Quic(connection) => connection.is_closed(),
        }
    }
}

/// The query as it goes over a stream of its own: with the id 0 (RFC 8484 §4.1, RFC 9250 §4.2.1), and padded.
fn prepared(query: &[u8]) -> Result<Vec<u8>, ResolveError> {
    let mut message = query.to_vec();
    wire::pad(&mut message, PADDING)
        .map_err(|_| ResolveError::Unsupported("the query cannot be padded"))?;
    wire::set_id(&mut message, 0);
    Ok(message)
}

fn id_of(query: &[u8]) -> u16 {
    match query {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}
