//! What a survey wants done, and what it tells people on the way.

use std::fmt;
use std::net::SocketAddr;

use hickory_proto::rr::{Name, RecordType};
use serde::Serialize;
use zzdot_zonegen::name::ResolverName;

use super::model::Chain;
use super::why::Why;
use crate::discover::{TlsFailure, Tlsa};
use crate::wire;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a question over TLS; report with `on_message` or `on_no_answer`.
    Ask(Ask),
    /// Start TCP and TLS; report with `on_tls`. No name is to be sent in the handshake, and nothing after it.
    Connect(Connect),
    /// Questions may go over this connection from now on, for as long as the peer is one of whom these records speak.
    Trust(Trust),
    /// Tell the person.
    Event(Step),
    /// The survey is over; nothing else follows.
    Done(Chain),
}

/// Names a question of one survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub(super) u16);

/// Names an attempt at TLS of one survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectId(pub(super) u16);

/// Over which TLS connection a question goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// The one with the configured resolver.
    Nearest,
    /// One that the survey asked for, and then trusted.
    Direct(ConnectId),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What to report the answer for.
    pub id: AskId,
    /// Over which connection.
    pub via: Via,
    /// The name, with the way to whom it is for.
    pub name: Name,
    /// The type.
    pub qtype: RecordType,
}

impl Ask {
    /// The message to send ([`wire::discovery_question`]).
    #[must_use]
    pub fn message(&self, message_id: u16) -> Vec<u8> {
        wire::discovery_question(message_id, &self.name, self.qtype)
    }
}

/// A TLS connection to try. Which certificate is the right one is judged here, when `on_tls` brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What to report the outcome for.
    pub attempt: ConnectId,
    /// Where.
    pub address: SocketAddr,
}

/// A connection whose peer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Which one.
    pub attempt: ConnectId,
    /// The resolver.
    pub name: ResolverName,
    /// The records that name its key.
    pub tlsa: Vec<Tlsa>,
}

/// One step of the survey, as told to people and in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(
    tag = "step",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum Step {
    /// A question goes out.
    Asked {
        /// Its name.
        name: String,
        /// Its type.
        rtype: String,
    },
    /// It brought nothing to be relied on.
    NotAnswered {
        /// Its name.
        name: String,
        /// Its type.
        rtype: String,
        /// Why.
        why: String,
    },
    /// The zone of a resolver was read.
    Read {
        /// Which.
        name: ResolverName,
        /// Its serial.
        serial: u32,
        /// How many upstreams it names.
        upstreams: usize,
    },
    /// It changed meanwhile, and is read again.
    Changed {
        /// Which.
        name: ResolverName,
    },
    /// It cannot be read.
    NotRead {
        /// Which.
        name: ResolverName,
        /// Why.
        why: Why,
    },
    /// TCP and TLS are started.
    Connecting {
        /// With whom.
        name: ResolverName,
        /// Where.
        endpoint: SocketAddr,
    },
    /// They failed.
    NotConnected {
        /// With whom.
        name: ResolverName,
        /// Where.
        endpoint: SocketAddr,
        /// How.
        failure: TlsFailure,
    },
    /// Somebody else is there.
    PeerRejected {
        /// Who was looked for.
        name: ResolverName,
        /// Where.
        endpoint: SocketAddr,
        /// How it differs.
        why: String,
    },
    /// It is there.
    PeerProven {
        /// Who.
        name: ResolverName,
        /// Where.
        endpoint: SocketAddr,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { name, rtype } => write!(f, "ask for {name} {rtype}"),
            Self::NotAnswered { name, rtype, why } => {
                write!(f, "nothing to rely on for {name} {rtype}: {why}")
            }
            Self::Read {
                name,
                serial,
                upstreams,
            } => write!(
                f,
                "read {name}, serial {serial}: {}",
                match upstreams {
                    0 => "it names no upstream".to_owned(),
                    1 => "it names one upstream".to_owned(),
                    many => format!("it names {many} upstreams"),
                }
            ),
            Self::Changed { name } => write!(f, "{name} changed meanwhile: read it again"),
            Self::NotRead { name, why } => write!(f, "{name} cannot be read: {why}"),
            Self::Connecting { name, endpoint } => {
                write!(f, "look for {name} at {endpoint} by TLS")
            }
            Self::NotConnected {
                name,
                endpoint,
                failure,
            } => write!(f, "no TLS with {name} at {endpoint}: {failure}"),
            Self::PeerRejected {
                name,
                endpoint,
                why,
            } => write!(f, "{endpoint} is not {name}: {why}"),
            Self::PeerProven { name, endpoint } => write!(f, "{endpoint} is {name}"),
        }
    }
}
