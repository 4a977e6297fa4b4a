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
use crate::validate::{Bogus, BogusReason};

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
        }
    }

    /// What to do about it, in a sentence without a full stop.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            Self::Bogus(bogus) => match bogus.reason {
                BogusReason::SignatureExpired | BogusReason::SignatureNotYetValid => {
                    "check the clocks of this computer and of the resolver; a resolver that runs \
                     signs its zones anew every day"
                        .to_owned()
                }
                _ => "something between here and the resolver changes answers, or the resolver's \
                      zones are broken: run `zzdot check` there, and ask from another network"
                    .to_owned(),
            },
            Self::MalformedAnswer { .. } => {
                "something between here and the resolver spoils answers: ask from another network"
                    .to_owned()
            }
            Self::NoResolverName { .. }
            | Self::RecordMissing { .. }
            | Self::NoUsableTlsa { .. } => {
                "the resolver's zones are not complete: run `zzdot check` there".to_owned()
            }
            Self::CertificateMismatch { .. } => {
                "somebody may be in the middle; if the resolver's certificate was just replaced, \
                 wait for its TLSA record to follow"
                    .to_owned()
            }
            Self::NoAnswerOnDotPort { .. } => {
                "see that the resolver runs and that no firewall is between".to_owned()
            }
            Self::HandshakeFailed { .. } => {
                "see whether something else listens on that port; on a guest network, log in first"
                    .to_owned()
            }
            Self::AnchorChanged { name, .. } => format!(
                "if the resolver was set up anew, compare its anchor (`zzdot identity` there) and \
                 run `zzdot-client resolvers forget {name}`; otherwise do not trust this network"
            ),
            Self::NameChanged { remembered, .. } => format!(
                "if the resolver was replaced, run `zzdot-client resolvers forget {remembered}`; \
                 otherwise do not trust this network"
            ),
            Self::RolledBack { .. } => {
                "if the resolver was restored from a backup, let it sign its zones anew; otherwise \
                 somebody shows old answers: do not trust this network"
                    .to_owned()
            }
            Self::IdentityRevoked { .. } => "set the resolver up with a new identity".to_owned(),
            Self::ClockBelowFloor { .. } => "set the clock".to_owned(),
            Self::Downgraded { name, .. } => format!(
                "see that the resolver runs; if it was removed on purpose, run `zzdot-client \
                 resolvers forget {name}`"
            ),
            Self::Legacy { .. } => {
                "install zzdot on the resolver, or set `legacy = \"plain\"`".to_owned()
            }
            Self::NotEncrypted { .. } => {
                "install zzdot on the resolver, or let `legacy` go further down in the configuration".to_owned()
            }
        }
    }

    /// Info-code and text of the extended error (RFC 8914) that goes with SERVFAIL.
    #[must_use]
    pub fn ede(&self) -> (u16, String) {
        let code = match self {
            Self::Bogus(bogus) => bogus.reason.extended_error(),
            // DNSSEC Bogus
            Self::AnchorChanged { .. }
            | Self::NameChanged { .. }
            | Self::RolledBack { .. }
            | Self::RecordMissing { .. }
            | Self::NoUsableTlsa { .. } => 6,
            // Network Error
            Self::NoAnswerOnDotPort { .. }
            | Self::HandshakeFailed { .. }
            | Self::MalformedAnswer { .. } => 23,
            // Prohibited
            Self::IdentityRevoked { .. }
            | Self::Legacy { .. }
            | Self::NotEncrypted { .. }
            | Self::Downgraded { .. } => 18,
            // Other
            Self::NoResolverName { .. }
            | Self::CertificateMismatch { .. }
            | Self::ClockBelowFloor { .. } => 0,
        };
        (code, format!("{}: {}", self.name(), self.cause()))
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
