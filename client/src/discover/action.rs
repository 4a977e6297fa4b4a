//! What a walk wants done, and what it tells people on the way.

use std::fmt;
use std::net::SocketAddr;

use hickory_proto::rr::{Name, RecordType};
use serde::Serialize;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::refusal::Refusal;
use super::verdict::{LegacyReason, Verdict};
use crate::wire;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a question; report with `on_message` or `on_no_answer`.
    Ask(Ask),
    /// Start TCP and TLS; report with `on_tls`.
    Connect(Connect),
    /// Tell the person.
    Event(Step),
    /// The walk is over; nothing else follows.
    Done(Verdict),
}

/// Names a question of one walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub(super) u16);

/// Names an attempt at TLS of one walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectId(pub(super) u16);

/// A question to send over UDP, and over TCP when the answer is truncated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What to report the answer for.
    pub id: AskId,
    /// Whom to ask.
    pub server: SocketAddr,
    /// The name.
    pub name: Name,
    /// The type.
    pub qtype: RecordType,
}

impl Ask {
    /// The message to send ([`wire::discovery_question`]), with a message id that the caller draws for each try.
    #[must_use]
    pub fn message(&self, message_id: u16) -> Vec<u8> {
        wire::discovery_question(message_id, &self.name, self.qtype)
    }
}

/// A TLS connection to try. The handshake is to accept any certificate, and to verify that the
/// peer holds its key; which certificate is the right one is judged here, when `on_tls` brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What to report the outcome for.
    pub attempt: ConnectId,
    /// Where.
    pub address: SocketAddr,
    /// The name to ask for (SNI).
    pub server_name: Option<String>,
}

/// How an attempt at TLS failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "failure",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum TlsFailure {
    /// TCP was refused, unreachable or timed out.
    NoConnection {
        /// What the system says.
        detail: String,
    },
    /// TCP came up, TLS did not.
    Handshake {
        /// What TLS says.
        detail: String,
    },
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection { detail } | Self::Handshake { detail } => f.write_str(detail),
        }
    }
}

/// One step of the walk, as told to people and in JSON.
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
        /// To whom.
        server: SocketAddr,
    },
    /// An answer that is not one to our question, or late, was passed over.
    Ignored {
        /// Why.
        why: String,
    },
    /// No answer came.
    NotAnswered {
        /// The question's name.
        name: String,
        /// Its type.
        rtype: String,
    },
    /// An RRset is validated.
    Validated {
        /// Its owner.
        name: String,
        /// Its type.
        rtype: String,
        /// By the key with this tag.
        key_tag: u16,
        /// Of this zone.
        zone: String,
        /// Until then.
        until: UnixTime,
    },
    /// It is proven that there is no such RRset.
    Denied {
        /// Its owner.
        name: String,
        /// Its type.
        rtype: String,
        /// Until then.
        until: UnixTime,
    },
    /// Something that the walk can do without is missing or was taken out on the way.
    DoneWithout {
        /// Owner.
        name: String,
        /// Type.
        rtype: String,
        /// Why.
        why: String,
    },
    /// A box on the way denied it, in the name of a zone above the resolver's.
    DeniedOnTheWay {
        /// Its owner.
        name: String,
        /// Its type.
        rtype: String,
        /// The zone above.
        zone: String,
        /// Whether a signed record of that zone came along, which covers the name (RFC 8198).
        with_proof: bool,
    },
    /// The server told its name.
    Named {
        /// The name.
        name: ResolverName,
        /// Whether it is remembered from before.
        known: bool,
    },
    /// The keys that everything rests on.
    Anchored {
        /// Their tags.
        key_tags: Vec<u16>,
        /// True when they are taken as they come, since there is nothing to compare them with.
        first_use: bool,
    },
    /// Keys that are remembered, and sign no more, name these as their successors.
    Succeeded {
        /// Tags of the keys remembered.
        remembered: Vec<u16>,
        /// Tags of those that follow.
        key_tags: Vec<u16>,
    },
    /// The zone is older than one seen before, as a cache's copy may be for a while.
    Stale {
        /// The zone.
        zone: String,
    },
    /// TCP and TLS are started.
    Connecting {
        /// Where.
        endpoint: SocketAddr,
    },
    /// They failed.
    NotConnected {
        /// Where.
        endpoint: SocketAddr,
        /// How.
        failure: TlsFailure,
    },
    /// The peer is not the one that TLSA names.
    PeerRejected {
        /// Where.
        endpoint: SocketAddr,
        /// How it differs.
        why: String,
    },
    /// The peer is the one that TLSA names.
    PeerProven {
        /// Where.
        endpoint: SocketAddr,
        /// By this record.
        tlsa: String,
    },
    /// The end: upgraded.
    Upgraded {
        /// The name.
        name: ResolverName,
        /// Where it is reached.
        endpoint: SocketAddr,
    },
    /// The end: not upgraded.
    Legacy {
        /// How it showed.
        reason: LegacyReason,
    },
    /// The end: refused.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// The end: too few answers.
    GaveUp,
}

fn tags(tags: &[u16]) -> String {
    let tags: Vec<_> = tags.iter().map(u16::to_string).collect();
    tags.join(", ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked {
                name,
                rtype,
                server,
            } => write!(f, "ask {server} for {name} {rtype}"),
            Self::Ignored { why } => write!(f, "passed over a message: {why}"),
            Self::NotAnswered { name, rtype } => write!(f, "no answer for {name} {rtype}"),
            Self::Validated {
                name,
                rtype,
                key_tag,
                zone,
                until,
            } => write!(
                f,
                "{name} {rtype} is signed by key {key_tag} of {zone}, valid until {until}"
            ),
            Self::Denied { name, rtype, until } => {
                write!(f, "there is no {name} {rtype}, proven until {until}")
            }
            Self::DeniedOnTheWay {
                name,
                rtype,
                zone,
                with_proof,
            } => {
                let by = if *with_proof { "a proof" } else { "the word" };
                write!(
                    f,
                    "a box on the way denies {name} {rtype}, by {by} of the zone {zone}"
                )
            }
            Self::DoneWithout { name, rtype, why } => {
                write!(f, "going on without {name} {rtype}: {why}")
            }
            Self::Named { name, known: true } => write!(f, "the server is {name}, known already"),
            Self::Named { name, known: false } => write!(f, "the server names itself {name}"),
            Self::Anchored {
                key_tags,
                first_use,
            } => {
                let tags = tags(key_tags);
                if *first_use {
                    write!(f, "trust anchor taken on first use: key {tags}")
                } else {
                    write!(f, "trust anchor as remembered: key {tags}")
                }
            }
            Self::Succeeded {
                remembered,
                key_tags,
            } => write!(
                f,
                "keys {} follow keys {}, which say so themselves",
                tags(key_tags),
                tags(remembered)
            ),
            Self::Stale { zone } => write!(f, "{zone} comes out of a cache, a newer one was seen"),
            Self::Connecting { endpoint } => write!(f, "connect to {endpoint} by TLS"),
            Self::NotConnected { endpoint, failure } => {
                write!(f, "no TLS at {endpoint}: {failure}")
            }
            Self::PeerRejected { endpoint, why } => write!(f, "not the peer, {endpoint}: {why}"),
            Self::PeerProven { endpoint, tlsa } => {
                write!(f, "{endpoint} proved the key of TLSA {tlsa}")
            }
            Self::Upgraded { name, endpoint } => {
                write!(f, "upgraded: DNS over TLS to {name} at {endpoint}")
            }
            Self::Legacy { reason } => write!(f, "not upgraded: {reason}"),
            Self::Refused { refusal } => write!(f, "refused ({}): {refusal}", refusal.name()),
            Self::GaveUp => f.write_str("no answer"),
        }
    }
}
