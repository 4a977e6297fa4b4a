//! Connections on which each question is a stream of its own: DNS over HTTPS (RFC 8484) and over QUIC (RFC 9250).
//!
//! HTTP/2 and QUIC come from libraries; here is what makes an upstream of them: one connection and one handshake at a time
//! however many questions wait, another connection when one is lost or silent, and octets that pass as they come.

mod https;
mod quic;
#[cfg(test)]
mod tests;
mod vigil;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::{Duration, Instant as Moment},
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, timeout, timeout_at},
};
use zzdot_client::wire;

use self::vigil::{LOOK_EVERY, Vigil};
use super::super::ResolveError;

/// What connecting may take, with the handshake.
const CONNECT: Duration = Duration::from_millis(2500);

/// For how long after a failure to connect nobody tries again: a thousand waiting questions are one attempt.
const PAUSE: Duration = Duration::from_millis(500);

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
    open: Option<Open>,
    /// Counts connections, so that one is given up once and not its successor.
    number: u64,
    failed: Option<Moment>,
}

/// A connection that was made.
#[derive(Clone)]
struct Open {
    connection: Connection,
    number: u64,
    vigil: Arc<SyncMutex<Vigil>>,
}

/// A question on its way.
struct Waiting<'a> {
    open: &'a Open,
    answered: bool,
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

    /// Asks `query`, a whole message, until `deadline`; once more where the connection turned out to be lost, or is
    /// silent.
    pub(super) async fn ask(
        &self,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, ResolveError> {
        let message = prepared(query)?;
        let answer = timeout_at(deadline, self.converse(&message)).await;
        let mut answer = answer.unwrap_or(Err(ResolveError::TimedOut))?;
        wire::set_id(&mut answer, id_of(query));
        Ok(answer)
    }

    async fn converse(&self, message: &[u8]) -> Result<Vec<u8>, ResolveError> {
        let first = self.connection().await.ok_or(ResolveError::Unreachable)?;
        let asking = first.ask(message.to_vec());
        tokio::pin!(asking);
        let outcome = tokio::select! {
            biased;
            outcome = &mut asking => Some(outcome),
            () = first.silence() => None,
        };
        let again = async {
            self.give_up(first.number).await;
            let second = self.connection().await.ok_or(ResolveError::Unreachable)?;
            let outcome = second.ask(message.to_vec()).await;
            if let Err(Fault::Lost(_)) = outcome {
                self.give_up(second.number).await;
            }
            outcome.map_err(|fault| self.failure_of(fault))
        };
        match outcome {
            Some(Err(Fault::Lost(reason))) => {
                tracing::debug!(upstream = %self.address, reason, "connection lost");
                return again.await;
            }
            Some(outcome) => return outcome.map_err(|fault| self.failure_of(fault)),
            None => tracing::debug!(upstream = %self.address, "connection silent"),
        }
        // Should it speak after all, so much the better.
        tokio::pin!(again);
        tokio::select! {
            biased;
            outcome = &mut asking => match outcome {
                Err(Fault::Lost(_)) => again.await,
                outcome => outcome.map_err(|fault| self.failure_of(fault)),
            },
            outcome = &mut again => match outcome {
                Err(error) if !first.is_silent() => asking.await.map_err(|_| error),
                outcome => outcome,
            },
        }
    }

    fn failure_of(&self, fault: Fault) -> ResolveError {
        match fault {
            Fault::Lost(_) => ResolveError::Unreachable,
            Fault::Broken(reason) => ResolveError::InvalidAnswer {
                upstream: self.address,
                reason,
            },
        }
    }

    /// The connection of now, made if there is none. Whoever waits for the handshake of another shares its outcome.
    async fn connection(&self) -> Option<Open> {
        let line = Arc::clone(&self.line).lock_owned().await;
        if let Some(open) = &line.open
            && !open.connection.is_closed()
            && !open.is_idle()
        {
            return Some(open.clone());
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

    /// Nothing is asked on it any more; what was asked may still be answered.
    async fn give_up(&self, number: u64) {
        let mut line = self.line.lock().await;
        if line.number == number {
            line.open = None;
        }
    }
}

/// Makes the connection of `line`, or remembers that there is none.
async fn connect(
    dialer: Arc<Dialer>,
    address: SocketAddr,
    mut line: OwnedMutexGuard<Line>,
) -> Option<Open> {
    let connected = match timeout(CONNECT, dialer.dial()).await {
        Ok(connected) => connected,
        Err(_) => Err(Fault::Lost("no handshake in time".to_owned())),
    };
    line.number += 1;
    match connected {
        Ok(connection) => {
            line.failed = None;
            let open = Open {
                connection,
                number: line.number,
                vigil: Arc::new(SyncMutex::new(Vigil::new())),
            };
            line.open = Some(open.clone());
            Some(open)
        }
        Err(fault) => {
            tracing::debug!(upstream = %address, "not connected: {fault}");
            line.failed = Some(Instant::now().into_std());
            line.open = None;
            None
        }
    }
}

impl Open {
    async fn ask(&self, message: Vec<u8>) -> Result<Vec<u8>, Fault> {
        self.vigil(Vigil::on_question);
        let mut waiting = Waiting {
            open: self,
            answered: false,
        };
        let answer = self.connection.ask(message).await;
        waiting.answered = !matches!(answer, Err(Fault::Lost(_)));
        answer
    }

    /// Waits until it is silent.
    async fn silence(&self) {
        while !self.is_silent() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn is_silent(&self) -> bool {
        self.vigil(Vigil::is_silent)
    }

    fn is_idle(&self) -> bool {
        self.vigil(|vigil, now, _| vigil.is_idle(now))
    }

    fn vigil<T>(&self, with: impl FnOnce(&mut Vigil, Moment, u64) -> T) -> T {
        let (now, heard) = (Instant::now().into_std(), self.connection.heard());
        let mut vigil = self.vigil.lock().unwrap_or_else(PoisonError::into_inner);
        with(&mut vigil, now, heard)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let answered = self.answered;
        let end = |vigil: &mut Vigil, now, heard| vigil.on_end(now, heard, answered);
        self.open.vigil(end);
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

    /// How much came over it so far, in a measure of its own.
    fn heard(&self) -> u64 {
        match self {
            Self::Https(connection) => connection.heard(),
            Self::Quic(connection) => connection.heard(),
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
