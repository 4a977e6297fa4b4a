//! What is answered, to whom, and how: decided without a clock, a socket or a random source.
//!
//! A query comes in as bytes and goes out as an [`Outcome`]: a finished response, silence, or a
//! question for the source of answers, whose response [`Responder::finish`] then makes fit for the
//! asker, and keeps for the next one: see [`zzdot_client::cache`]. An answer out of the cache takes
//! no memory from the allocator.

pub mod access;
pub mod cookie;
mod kept;
mod local;
mod onward;
mod passage;
mod refusal;
mod respond;
mod special;
mod terms;
#[cfg(test)]
mod tests;
mod views;

use std::{
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use crate::counters::Event;

pub use local::LocalZones;
pub use onward::{Pending, Refresh};
pub use respond::Responder;

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// TCP, in cleartext.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
}

impl Transport {
    /// Whether there is a connection, and so no question of where the asker is.
    pub fn is_stream(self) -> bool {
        self != Self::Udp
    }
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Where the query came from, as it says itself where the transport is UDP.
    pub address: IpAddr,
    /// How it came.
    pub transport: Transport,
    /// When it came, by the clock on the wall: for cookies.
    pub time: SystemTime,
    /// When it came, by a clock that nobody sets: for the cache. One reading will do for all that
    /// came together.
    pub instant: Instant,
    /// Whether there is so much to do that askers have to show a cookie (RFC 7873 §5.2.3).
    pub pressed: bool,
    /// How long the connection may be idle, for those who want to know (RFC 7828): told by whoever
    /// closes it. None where there is no connection.
    pub idle: Option<Duration>,
}

/// What becomes of a query.
#[derive(Debug)]
pub enum Outcome {
    /// The response was appended to what is sent. Where it came with a refresh, it was about to
    /// end: ask the source with [`Refresh::query`] beside the asker's way, and tell
    /// [`Responder::refreshed`].
    Replied(Option<Box<Refresh>>),
    /// Nothing is sent back; on a connection, it is closed.
    Drop(Dropped),
    /// Somebody else has to be asked.
    Ask(Box<Pending>),
}

/// Why a query is not answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dropped {
    /// The asker is not on the access list.
    Stranger,
    /// There is not even a whole header.
    TooShort,
    /// It is a response.
    NotAQuery,
}

impl Dropped {
    /// The event that it is counted as.
    pub fn event(self) -> Event {
        match self {
            Self::Stranger => Event::Stranger,
            Self::TooShort => Event::TooShort,
            Self::NotAQuery => Event::NotAQuery,
        }
    }
}
