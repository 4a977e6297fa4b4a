//! Why a resolver is not used, in names that stay (protocol, "What the client says when it
//! refuses").

use std::fmt;
use std::net::SocketAddr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::tlsa::TlsaMismatch;
use super::verdict::LegacyReason;
use crate::validate::Bogus;

/// A named reason for not using a resolver. Each has a cause for people, a cure, and the extended
/// error (RFC 8914) that applications see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A record or a denial did not validate.
    Bogus(Bogus),
    /// A message could not be read.
    MalformedAnswer {
        /// What was asked: owner and type.
        asked: String,
        /// What is wrong with the answer.
        error: String,
    },
    /// The server tells no name, several, or one that is not a resolver's.
    NoResolverName {
        /// The names told.
        told: Vec<String>,
    },
    /// A record without which there is no upgrade is proven not to exist, or says nothing useful.
    RecordMissing {
        /// Its owner and type.
        record: String,
    },
    /// No TLSA record is of a kind that can be used.
    NoUsableTlsa {
        /// Owner of the records.
        owner: String,
    },
    /// The certificate is not the one that the TLSA record names.
    CertificateMismatch {
        /// Whom we spoke to.
        endpoint: SocketAddr,
        /// How it differs.
        mismatch: TlsaMismatch,
    },
    /// Nobody answers on the port of DNS over TLS.
    NoAnswerOnDotPort {
        /// All that was tried.
        tried: Vec<SocketAddr>,
    },
    /// TLS failed before a certificate could be judged.
    HandshakeFailed {
        /// Whom we spoke to.
        endpoint: SocketAddr,
        /// What TLS says.
        detail: String,
    },
    /// The keys of `resolver-name.arpa` are not signed by the anchor remembered.
    AnchorChanged {
        /// The resolver.
        name: ResolverName,
        /// Tags of the keys remembered.
        remembered: Vec<u16>,
        /// Tags of the keys shown.
        shown: Vec<u16>,
    },
    /// Another resolver answers than the one remembered.
    NameChanged {
        /// The one remembered.
        remembered: ResolverName,
        /// The one that answers.
        told: ResolverName,
    },
    /// A zone that is older than one already accepted.
    RolledBack {
        /// The zone.
        zone: String,
        /// What is older, and by how much.
        detail: String,
    },
    /// The identity was revoked; nothing makes it good again.
    IdentityRevoked {
        /// The resolver.
        name: ResolverName,
    },
    /// The computer's clock shows a time that has already passed.
    ClockBelowFloor {
        /// What it shows.
        clock: UnixTime,
        /// What is certainly past.
        floor: UnixTime,
    },
    /// A resolver that is known to be upgraded answers as one that is not.
    Downgraded {
        /// The resolver remembered.
        name: ResolverName,
        /// How it answers.
        reason: LegacyReason,
    },
    /// The resolver is not upgraded, and the configuration refuses such.
    Legacy {
        /// How it answers.
        reason: LegacyReason,
    },
    /// The resolver is not upgraded, and nothing else that the configuration takes for private enough works with it.
    NotEncrypted {
        /// How it answers.
        reason: LegacyReason,
        /// What was tried, and how it failed.
        missed: Vec<String>,
    },
    /// The keys shown are signed by none but keys that were revoked.
    RevokedKeyReturned {
        /// The resolver.
        name: ResolverName,
        /// Tags of the revoked keys that signed.
        key_tags: Vec<u16>,
    },
    /// Only resolvers that somebody vouched for are used, and this is none of them.
    NotEnrolled {
        /// The resolver that answers.
        name: ResolverName,
    },
    /// A person has to decide about this resolver first.
    NotApproved {
        /// The resolver that answers.
        name: ResolverName,
    },
    /// Questions may only go where each hop is encrypted to the end of the chain, and one is not, or nobody can tell.
    ChainNotEncrypted {
        /// The first hop at fault, by its two ends; none where there is no chain to look at.
        hop: Option<String>,
        /// What is wrong with it.
        why: String,
    },
    /// The network lets nobody through who did not log in.
    CaptivePortal {
        /// Where to log in, as far as that is known.
        portal: Option<String>,
    },
}

impl Refusal {
    /// A stable name in kebab-case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bogus(bogus) => bogus.reason.name(),
            Self::MalformedAnswer { .. } => "malformed-answer",
            Self::NoResolverName { .. } => "no-resolver-name",
            Self::RecordMissing { .. } => "record-missing",
            Self::NoUsableTlsa { .. } => "no-usable-tlsa",
            Self::CertificateMismatch { .. } => "certificate-mismatch",
            Self::NoAnswerOnDotPort { .. } => "no-answer-on-dot-port",
            Self::HandshakeFailed { .. } => "handshake-failed",
            Self::AnchorChanged { .. } => "anchor-changed",
            Self::NameChanged { .. } => "name-changed",
            Self::RolledBack { .. } => "rolled-back",
            Self::IdentityRevoked { .. } => "identity-revoked",
            Self::ClockBelowFloor { .. } => "clock-below-floor",
            Self::Downgraded { .. } => "downgraded",
            Self::Legacy { .. } => "legacy",
            Self::NotEncrypted { .. } => "not-encrypted",
            Self::RevokedKeyReturned { .. } => "revoked-key-returned",
            Self::NotEnrolled { .. } => "not-enrolled",
            Self::NotApproved { .. } => "not-approved",
            Self::CaptivePortal { .. } => "captive-portal",
            Self::ChainNotEncrypted { .. } => "chain-not-encrypted",
        }
    }

    /// What happened, in a sentence without a full stop.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Bogus(bogus) => bogus.to_string(),
            Self::MalformedAnswer { asked, error } => {
                format!("the answer to {asked} cannot be read: {error}")
            }
            Self::NoResolverName { told } if told.is_empty() => {
                "the server does not tell its name".to_owned()
            }
            Self::NoResolverName { told } => format!(
                "the server does not tell one resolver's name but: {}",
                told.join(", ")
            ),
            Self::RecordMissing { record } => format!("the resolver publishes no {record}"),
            Self::NoUsableTlsa { owner } => {
                format!("none of the TLSA records of {owner} is of a usable kind")
            }
            Self::CertificateMismatch { endpoint, mismatch } => format!("{endpoint}: {mismatch}"),
            Self::NoAnswerOnDotPort { tried } => format!(
                "nobody answers DNS over TLS at {}",
                listed(tried, "any address that may be used")
            ),
            Self::HandshakeFailed { endpoint, detail } => {
                format!("TLS with {endpoint} failed: {detail}")
            }
            Self::AnchorChanged {
                name,
                remembered,
                shown,
            } => format!(
                "the trust anchor of {name} changed: remembered {}, shown {}",
                listed(remembered, "none"),
                listed(shown, "none")
            ),
            Self::NameChanged { remembered, told } => {
                format!("{told} answers where {remembered} is remembered")
            }
            Self::RolledBack { zone, detail } => {
                format!("the zone {zone} is older than one already accepted: {detail}")
            }
            Self::IdentityRevoked { name } => format!("the identity {name} was revoked"),
            Self::ClockBelowFloor { clock, floor } => {
                format!("this computer's clock shows {clock}, but it is certainly past {floor}")
            }
            Self::Downgraded { name, reason } => format!(
                "{name} is known to be upgraded, but the server answers as a legacy one: {reason}"
            ),
            Self::Legacy { reason } => format!("the resolver is not upgraded: {reason}"),
            Self::NotEncrypted { reason, missed } => format!(
                "the resolver is not upgraded ({reason}) and offers nothing else that is private enough: {}",
                listed(missed, "nothing was tried")
            ),
            Self::RevokedKeyReturned { name, key_tags } => format!(
                "the keys of {name} are signed by none but revoked keys: {}",
                listed(key_tags, "none")
            ),
            Self::NotEnrolled { name } => {
                format!("nobody vouched for {name}, and only resolvers that were enrolled are used")
            }
            Self::NotApproved { name } => format!("{name} waits for your decision"),
            Self::ChainNotEncrypted {
                hop: Some(hop),
                why,
            } => {
                format!("the chain is not encrypted to the end: {hop}: {why}")
            }
            Self::ChainNotEncrypted { hop: None, why } => {
                format!("the chain is not encrypted to the end: {why}")
            }
            Self::CaptivePortal {
                portal: Some(portal),
            } => {
                format!("this network wants you to log in first, at {portal}")
            }
            Self::CaptivePortal { portal: None } => {
                "this network wants you to log in first".to_owned()
            }
        }
    }
}

fn listed<T: ToString>(items: &[T], none: &str) -> String {
    if items.is_empty() {
        return none.to_owned();
    }
    let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause())
    }
}

impl std::error::Error for Refusal {}

impl From<Box<Bogus>> for Box<Refusal> {
    fn from(bogus: Box<Bogus>) -> Self {
        Self::new(Refusal::Bogus(*bogus))
    }
}

impl Serialize for Refusal {
    /// `name`, `cause`, `cure`, `ede`; and `record` with the key and the times where a record is
    /// the reason.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.name())?;
        map.serialize_entry("cause", &self.cause())?;
        map.serialize_entry("cure", &self.cure())?;
        map.serialize_entry("ede", &self.ede().0)?;
        if let Self::Bogus(bogus) = self {
            map.serialize_entry("record", bogus)?;
        }
        map.end()
    }
}
