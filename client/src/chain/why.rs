//! The reasons for what a chain says.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;
use zzdot_zonegen::upstream::ServerKind;

/// Why a hop has its label, or why it is not known whom somebody asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "reason",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum Why {
    /// This client met the far end itself, and everything agrees.
    Met {
        /// Where.
        address: SocketAddr,
    },

    /// What the far end says was read, but only through those before it: it cannot be met from here.
    NotMet {
        /// What came of trying.
        detail: String,
    },
    /// The near end does not know whom it talks to: it would not notice somebody in between.
    NotAuthenticated,
    /// The far end has no name and publishes nothing that could be compared.
    NoName,
    /// The far end could not be read; nothing contradicts the near end.
    NotRead {
        /// Why not.
        detail: String,
    },

    /// It is said to be in cleartext.
    SaysPlain,
    /// It is said to be in cleartext, to another program of the machine that asks: only whoever is on that machine can
    /// listen. How questions go on from there nobody says.
    SaysPlainWithin,

    /// What the near end says about this hop is missing, or does not validate.
    ClaimUnreadable {
        /// What exactly.
        detail: String,
    },
    /// The zone keys of the far end are not those that the near end vouches for.
    OtherKey,
    /// The far end says that it is of another type.
    OtherServerType {
        /// What the near end says.
        claimed: ServerKind,
        /// What the far end says.
        published: ServerKind,
    },
    /// None of the far end's addresses is one that the near end names.
    OtherAddresses,
    /// None of the far end's TLSA records is one that the near end names.
    OtherTlsa,
    /// The far end says that it asks nobody, and names whom it asks.
    AsksAfterAll,
    /// What the near or the far end says changed each time that it was read.
    Changing,
    /// A bound of the survey was met.
    Limit {
        /// Which.
        limit: Limit,
    },

    /// It says that it forwards, and names nobody to whom.
    NamesNobody,
    /// Its own zone could not be read.
    ZoneUnreadable {
        /// What exactly.
        detail: String,
    },
    /// The server that is asked is none of those that say whom they ask.
    SaysNothing,
}

/// A bound of the survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Nodes of the graph.
    Nodes,
    /// Hops of the graph.
    Hops,
    /// Hops between this computer and a node.
    Depth,
    /// Upstreams of one node.
    Upstreams,
    /// Questions.
    Questions,
    /// Octets of answers that wait to be judged.
    Octets,
    /// Time.
    Time,
    /// Octets of a question's name, which tells the way to whom it is for.
    NameLength,
}

impl Why {
    /// A stable name in kebab-case, as in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Met { .. } => "met",
            Self::NotMet { .. } => "not-met",
            Self::NotAuthenticated => "not-authenticated",
            Self::NoName => "no-name",
            Self::NotRead { .. } => "not-read",
            Self::SaysPlain => "says-plain",
            Self::SaysPlainWithin => "says-plain-within",
            Self::ClaimUnreadable { .. } => "claim-unreadable",
            Self::OtherKey => "other-key",
            Self::OtherServerType { .. } => "other-server-type",
            Self::OtherAddresses => "other-addresses",
            Self::OtherTlsa => "other-tlsa",
            Self::AsksAfterAll => "asks-after-all",
            Self::Changing => "changing",
            Self::Limit { .. } => "limit",
            Self::NamesNobody => "names-nobody",
            Self::ZoneUnreadable { .. } => "zone-unreadable",
            Self::SaysNothing => "says-nothing",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Met { address } => write!(f, "met at {address}"),
            Self::NotMet { detail } => write!(
                f,
                "it was asked through those before it: this computer cannot reach it itself ({detail})"
            ),
            Self::NotAuthenticated => f.write_str(
                "encrypted, but to whoever answers: somebody in between would not be noticed",
            ),
            Self::NoName => f.write_str(
                "it does not say who it is: only who asks it says that this is encrypted",
            ),
            Self::NotRead { detail } => {
                write!(f, "what it says about itself could not be read ({detail})")
            }
Self::SaysPlain => f.write_str("everybody on the way can read it, and change it"),
            Self::SaysPlainWithin => f.write_str(
                "it is asked in cleartext, without leaving the machine of who asks; nobody says how it goes on",
            ),
            Self::ClaimUnreadable { detail } => {
                write!(f, "what is said about it cannot be read ({detail})")
            }
            Self::OtherKey => {
                f.write_str("whoever is there has other keys than who asks it expects")
            }
            Self::OtherServerType { claimed, published } => {
                write!(
                    f,
                    "said to be a {claimed}, says itself that it is a {published}"
                )
            }
            Self::OtherAddresses => f.write_str("it says that it is at other addresses"),
            Self::OtherTlsa => f.write_str("it names other TLS keys than are said to be its own"),
            Self::AsksAfterAll => {
                f.write_str("it says that it asks no other resolver, and names some that it asks")
            }
            Self::Changing => f.write_str("it says something else each time"),
            Self::Limit { limit } => write!(f, "{limit}"),
            Self::NamesNobody => {
                f.write_str("it says that it passes questions on, and not to whom")
            }
            Self::ZoneUnreadable { detail } => write!(f, "its zone cannot be read ({detail})"),
            Self::SaysNothing => f.write_str("it is not upgraded, and does not say whom it asks"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nodes => "too many resolvers to look at",
            Self::Hops => "too many ways to look at",
            Self::Depth => "too far away",
            Self::Upstreams => "it names too many upstreams",
            Self::Questions => "too many questions",
            Self::Octets => "too much to hold",
            Self::Time => "it took too long",
            Self::NameLength => "the way is too long for a name",
        })
    }
}
