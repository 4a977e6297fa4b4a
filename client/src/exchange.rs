//! One question to one server over plain UDP, and over TCP where the answer does not fit.
//!
//! For discovery, for servers that stayed legacy and for the upstreams of a forwarder. Every try
//! has its own connected socket, and with it a port that the system picks at random, and an id of
//! its own (RFC 5452 §9). Whatever does not answer that very question is ignored and counted while
//! the waiting goes on: an attacker who guesses wrong does not even end the try. From how many
//! wrong guesses on a question is taken to TCP is a limit, as are the packets it may cost.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use self::datagram::{Datagram, random_u16};
use crate::framing::{FrameReader, push_frame};
use crate::wire::{self, View, WireError};

mod datagram;

/// What one exchange may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// Datagrams sent before giving up. Each waits twice as long as the one before.
    pub udp_tries: u32,
    /// How long the first datagram waits for its answer.
    pub first_wait: Duration,
    /// Packets sent in all. A datagram is one; TCP is counted as [`TCP_PACKETS`].
    pub packets: u32,
    /// Datagrams that answer something else, after which the question is asked over TCP: somebody
    /// is guessing.
    pub ignored: u32,
}

/// What an exchange over TCP counts for: SYN, ACK, question, ACKs of the answer, FIN.
pub const TCP_PACKETS: u32 = 6;

/// Messages on a TCP connection that answer something else, after which it is given up.
const TCP_IGNORED_MAX: u32 = 4;

/// Smallest buffer for a datagram: what servers sent before EDNS sizes were kept small.
const DATAGRAM_BYTES_MIN: usize = 4096;

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self {
            udp_tries: 3,
            first_wait: Duration::from_millis(800),
            packets: 12,
            ignored: 50,
        }
    }
}

/// How an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What an exchange cost and met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets sent; TCP counted as [`TCP_PACKETS`].
    pub packets: u32,
    /// Answers ignored because their id was another.
    pub wrong_id: u32,
    /// Answers ignored because their question was another.
    pub wrong_question: u32,
    /// Datagrams ignored because they were no answer at all.
    pub garbage: u32,
    /// Answers under the right id ignored because they cannot be read.
    pub unreadable: u32,
}

impl Tally {
    /// All that was ignored. Datagrams from another source never get this far: the system drops
    /// them at the connected socket.
    #[must_use]
    pub fn ignored(&self) -> u32 {
        self.wrong_id + self.wrong_question + self.garbage + self.unreadable
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message: its id and question are those of the query.
    pub message: Vec<u8>,
    /// How it came.
    pub transport: Transport,
    /// What it cost.
    pub tally: Tally,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// What was to be asked is no query with one question.
    #[error("not a query: {0}")]
    NotAQuery(WireError),
    /// What was to be asked has no question or is itself an answer.
    #[error("not a query: it has no question or is an answer")]
    NoQuestion,
    /// Nobody answered in time.
    #[error("{server}: no answer")]
    NoAnswer {
        /// Who was asked.
        server: SocketAddr,
        /// What was spent and ignored meanwhile.
        tally: Tally,
    },
    /// The network or the host said that nobody is there.
    #[error("{server}: {source}")]
    Unreachable {
        /// Who was asked.
        server: SocketAddr,
        /// What the system said last.
        source: io::Error,
        /// What was spent and ignored meanwhile.
        tally: Tally,
    },
    /// The answer did not fit into UDP and TCP did not work.
    #[error("{server}: the answer was truncated and TCP failed: {source}")]
    TcpFailed {
        /// Who was asked.
        server: SocketAddr,
        /// What was wrong with TCP.
        source: io::Error,
        /// The truncated answer; none where TCP was tried because somebody guessed at answers.
        truncated: Option<Vec<u8>>,
        /// What was spent and ignored meanwhile.
        tally: Tally,
    },
    /// The system has no sockets or no randomness left.
    #[error("cannot ask: {0}")]
    Local(io::Error),
}

impl ExchangeError {
    /// What was spent in vain.
    #[must_use]
    pub fn tally(&self) -> Tally {
        match self {
            Self::NotAQuery(_) | Self::NoQuestion | Self::Local(_) => Tally::default(),
            Self::NoAnswer { tally, .. }
            | Self::Unreachable { tally, .. }
            | Self::TcpFailed { tally, .. } => *tally,
        }
    }
}

/// Asks `server` over UDP, over TCP when the answer is truncated, within `limits` and `deadline`.
///
/// # Errors
/// [`ExchangeError`]; never later than `deadline`.
pub async fn udp_then_tcp(
    server: SocketAddr,
    query: &[u8],
    limits: &ExchangeLimits,
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    let mut exchange = Exchange::new(server, query, limits, deadline)?;
    let mut unreachable = None;
    let mut wait = limits.first_wait;
    for attempt in 1..=limits.udp_tries {
        let now = clock();
        if now >= deadline || exchange.tally.packets >= limits.packets {
            break;
        }
        let last = attempt == limits.udp_tries;
        let until = if last {
            deadline
        } else {
            deadline.min(now + wait)
        };
        wait *= 2;
        match exchange
            .udp_try(until)
            .await
            .map_err(ExchangeError::Local)?
        {
            Outcome::Answer(message) => return Ok(exchange.reply(message, Transport::Udp)),
            Outcome::Truncated(message) => return exchange.by_tcp(Some(message)).await,
            Outcome::Flooded => return exchange.by_tcp(None).await,
            Outcome::Silence => unreachable = None,
            Outcome::Unreachable(error) => {
                unreachable = Some(error);
                // A server that is just starting gets a moment; a dead one is soon known.
                if !last {
                    tokio::time::sleep_until(until.min(now + limits.first_wait / 4).into()).await;
                }
            }
        }
    }
    let tally = exchange.tally;
    Err(match unreachable {
        Some(source) => ExchangeError::Unreachable {
            server,
            source,
            tally,
        },
        None => ExchangeError::NoAnswer { server, tally },
    })
}

/// Sends one datagram and waits for its answer, which may be truncated.
///
/// # Errors
/// [`ExchangeError`]; never later than `deadline`.
pub async fn udp_once(
    server: SocketAddr,
    query: &[u8],
    limits: &ExchangeLimits,
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    let mut exchange = Exchange::new(server, query, limits, deadline)?;
    let outcome = exchange.udp_try(deadline).await;
    let tally = exchange.tally;
    match outcome.map_err(ExchangeError::Local)? {
        Outcome::Answer(message) | Outcome::Truncated(message) => {
            Ok(exchange.reply(message, Transport::Udp))
        }
        Outcome::Silence | Outcome::Flooded => Err(ExchangeError::NoAnswer { server, tally }),
        Outcome::Unreachable(source) => Err(ExchangeError::Unreachable {
            server,
            source,
            tally,
        }),
    }
}

/// Asks `server` over TCP alone.
///
/// # Errors
/// [`ExchangeError`]; never later than `deadline`.
pub async fn tcp(
    server: SocketAddr,
    query: &[u8],
    limits: &ExchangeLimits,
    deadline: Instant,
) -> Result<Reply, ExchangeError> {
    let mut exchange = Exchange::new(server, query, limits, deadline)?;
    let answer = exchange.tcp_try().await;
    let tally = exchange.tally;
    match answer {
        Ok(message) => Ok(exchange.reply(message, Transport::Tcp)),
        Err(source) if source.kind() == io::ErrorKind::TimedOut => {
            Err(ExchangeError::NoAnswer { server, tally })
        }
        Err(source) => Err(ExchangeError::Unreachable {
            server,
            source,
            tally,
        }),
    }
}

enum Outcome {
    Answer(Vec<u8>),
    Truncated(Vec<u8>),
    /// More wrong answers than chance explains.
    Flooded,
    Silence,
    Unreachable(io::Error),
}

struct Exchange<'a> {
    server: SocketAddr,
    /// The caller's message, whose id the answer gets back.
    query: &'a [u8],
    /// The copy that is sent.
    sent: Vec<u8>,
    id: u16,
    datagram_bytes: usize,
    limits: &'a ExchangeLimits,
    deadline: Instant,
    tally: Tally,
}

impl<'a> Exchange<'a> {
    fn new(
        server: SocketAddr,
        query: &'a [u8],
        limits: &'a ExchangeLimits,
        deadline: Instant,
    ) -> Result<Self, ExchangeError> {
        let view = View::parse(query).map_err(ExchangeError::NotAQuery)?;
        if view.is_response() || view.question().is_none() {
            return Err(ExchangeError::NoQuestion);
        }
        let payload = view
            .edns()
            .map_err(ExchangeError::NotAQuery)?
            .map_or(0, |edns| usize::from(edns.payload_size));
        Ok(Self {
            server,
            query,
            sent: query.to_vec(),
            id: view.id(),
            // One byte more, so that a datagram that is longer than asked for is seen to be.
            datagram_bytes: payload.max(DATAGRAM_BYTES_MIN) + 1,
            limits,
            deadline,
            tally: Tally::default(),
        })
    }

    async fn udp_try(&mut self, until: Instant) -> io::Result<Outcome> {
        wire::set_id(&mut self.sent, random_u16()?);
        self.tally.packets += 1;
        let datagram = match Datagram::send(self.server, &self.sent)? {
            Ok(datagram) => datagram,
            Err(error) => return Ok(Outcome::Unreachable(error)),
        };
        let limit = self.datagram_bytes;
        loop {
            let received = datagram.receive(limit, |received| self.judge(received));
            let judged = match timeout_at(until.into(), received).await {
                Err(_) => return Ok(Outcome::Silence),
                Ok(Err(error)) => return Ok(Outcome::Unreachable(error)),
                Ok(Ok(judged)) => judged,
            };
            match judged {
                Some((message, true)) => return Ok(Outcome::Truncated(message)),
                Some((message, false)) => return Ok(Outcome::Answer(message)),
                None if self.tally.ignored() >= self.limits.ignored => return Ok(Outcome::Flooded),
                None => {}
            }
        }
    }

    /// The answer in the form that the caller gets, and whether it is truncated; or none, counted.
    fn judge(&mut self, received: &[u8]) -> Option<(Vec<u8>, bool)> {
        let (Ok(query), Ok(response)) = (View::parse(&self.sent), View::parse(received)) else {
            if is_headed_as_answer_to(&self.sent, received) {
                self.tally.unreadable += 1;
            } else {
                self.tally.garbage += 1;
            }
            return None;
        };
        let truncated = response.truncated();
        if wire::answers(&query, &response) && (truncated || response.check().is_ok()) {
            let mut message = received.to_vec();
            wire::set_id(&mut message, self.id);
            return Some((message, truncated));
        }
        if !response.is_response() {
            self.tally.garbage += 1;
        } else if response.id() != query.id() {
            self.tally.wrong_id += 1;
        } else if response.question().is_none() && is_bare_refusal(&response) {
            // Old servers send back a header alone when they do not understand (RFC 6891 §7).
            return wire::error_reply(self.query, response.rcode(), None)
                .map(|message| (message, false));
        } else if wire::answers(&query, &response) {
            self.tally.unreadable += 1;
        } else {
            self.tally.wrong_question += 1;
        }
        None
    }

    async fn by_tcp(mut self, truncated: Option<Vec<u8>>) -> Result<Reply, ExchangeError> {
        match self.tcp_try().await {
            Ok(message) => Ok(self.reply(message, Transport::Tcp)),
            Err(source) => Err(ExchangeError::TcpFailed {
                server: self.server,
                source,
                truncated,
                tally: self.tally,
            }),
        }
    }

    async fn tcp_try(&mut self) -> io::Result<Vec<u8>> {
        if self.tally.packets + TCP_PACKETS > self.limits.packets {
            return Err(io::Error::other("no packets left for TCP"));
        }
        self.tally.packets += TCP_PACKETS;
        wire::set_id(&mut self.sent, random_u16()?);
        timeout_at(self.deadline.into(), self.tcp_conversation())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn tcp_conversation(&mut self) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let mut framed = Vec::with_capacity(self.sent.len() + 2);
        if !push_frame(&mut framed, &self.sent) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        stream.write_all(&framed).await?;
        let mut frames = FrameReader::new();
        for _ in 0..=TCP_IGNORED_MAX {
            let Some(received) = frames.next(&mut stream).await? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            if let Some((message, _)) = self.judge(&received) {
                return Ok(message);
            }
        }
        Err(io::Error::other("answers to other questions"))
    }

    fn reply(self, message: Vec<u8>, transport: Transport) -> Reply {
        Reply {
            message,
            transport,
            tally: self.tally,
        }
    }
}

/// Whether the header of `received` is that of an answer under the id of `query`.
fn is_headed_as_answer_to(query: &[u8], received: &[u8]) -> bool {
    const RESPONSE_BIT: u8 = 0x80;
    received.first_chunk::<2>() == query.first_chunk::<2>()
        && received.get(2).is_some_and(|byte| byte & RESPONSE_BIT != 0)
}

fn is_bare_refusal(response: &View<'_>) -> bool {
    const FORMERR: u16 = 1;
    const NOTIMP: u16 = 4;
    matches!(response.rcode(), FORMERR | NOTIMP)
}

/// The runtime's clock, which tests may pause.
fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
