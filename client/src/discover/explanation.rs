//! A refusal told to a person: what was expected, since when, what is offered instead, the likely
//! innocent cause, and what can be done. None of the things to do is to trust what is new without
//! comparing it.

use std::fmt;

use serde::Serialize;
use zzdot_zonegen::clock::UnixTime;

use super::refusal::Refusal;
use super::verdict::LegacyReason;
use crate::trust::KnownIdentity;
use crate::validate::BogusReason;

/// A refusal in sentences without full stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// Who or what was expected.
    pub expected: String,
    /// Since when; none where nothing was remembered.
    pub since: Option<UnixTime>,
    /// What is offered instead.
    pub offered: String,
    /// What most often is behind it when nobody means harm.
    pub innocent_cause: String,
    /// What can be done, the safest first.
    pub options: [String; 3],
}

impl Refusal {
    /// This refusal for a person, where `known` was expected.
    #[must_use]
    pub fn explain(&self, known: Option<&KnownIdentity>) -> Explanation {
        Explanation {
            expected: self.expected(known),
            since: known.map(|known| known.first_seen),
            offered: self.cause(),
            innocent_cause: self.innocent_cause().to_owned(),
            options: self.options(known),
        }
    }

    fn expected(&self, known: Option<&KnownIdentity>) -> String {
        if let Self::ClockBelowFloor { floor, .. } = self {
            return format!("a clock that shows {floor} or later");
        }
        let Some(known) = known else {
            return match self {
                Self::NotEnrolled { .. } => "a resolver that was enrolled before",
                Self::NotApproved { .. } => "a resolver that you decided about",
                Self::CaptivePortal { .. } => "a network that is open",
                Self::ChainNotEncrypted { .. } => "a chain that is encrypted to its end",
                _ => "an upgraded resolver, nobody in particular",
            }
            .to_owned();
        };
        let how = match known.verification {
            Some(verification) => format!("verified {} at {}", verification.by, verification.at),
            None => known.state.to_string(),
        };
        format!("{}, {how}", known.name)
    }

    fn innocent_cause(&self) -> &'static str {
        if self.legacy_reason() == Some(LegacyReason::DeniedOnTheWay) {
            return "somebody mistyped a name, and a validating forwarder on the way was told that nothing near it exists; \
                    it forgets that by itself";
        }
        match self {
            Self::Bogus(bogus) => match bogus.reason {
                BogusReason::SignatureExpired => {
                    "the resolver stopped signing its zones a week ago, or this computer's clock \
                     is ahead"
                }
                BogusReason::SignatureNotYetValid => "one of the two clocks is wrong",
                _ => "a forwarder on the way changes answers",
            },
            Self::MalformedAnswer { .. } => "a broken box on the way",
            Self::NoResolverName { .. }
            | Self::RecordMissing { .. }
            | Self::NoUsableTlsa { .. } => "the resolver's set-up is not finished",
            Self::CertificateMismatch { .. } => {
                "the resolver's certificate was replaced without announcing it first"
            }
            Self::NoAnswerOnDotPort { .. } => "the resolver restarts, or a firewall is in between",
            Self::HandshakeFailed { .. } => {
                "a guest network where you have to log in first, or another service on the port"
            }
            Self::AnchorChanged { .. } => {
                "the resolver was set up anew, or was away for more than thirteen months"
            }
            Self::NameChanged { .. } => "the resolver was replaced, or this is another network",
            Self::RolledBack { .. } | Self::RevokedKeyReturned { .. } => {
                "the resolver was restored from an old backup"
            }
            Self::IdentityRevoked { .. } => "its owner gave the identity up on purpose",
            Self::ClockBelowFloor { .. } => "this computer's clock battery is empty",
            Self::Downgraded { .. } => "zzdot was removed from the resolver, or does not run",
            Self::Legacy { .. } | Self::NotEncrypted { .. } => "zzdot is not installed there",
            Self::NotEnrolled { .. } | Self::NotApproved { .. } => {
                "you are here for the first time"
            }
            Self::ChainNotEncrypted { .. } => {
                "a forwarder on the way, or what it asks, is one as there always were"
            }
            Self::CaptivePortal { .. } => "a guest network, as hotels and trains have it",
        }
    }

    fn options(&self, known: Option<&KnownIdentity>) -> [String; 3] {
        let wait = match known {
            Some(known) => format!(
                "wait: nothing leaves in cleartext meanwhile, and when {} is back as it was, \
                 everything goes on by itself",
                known.name
            ),
            None => "wait: it is looked at again by itself".to_owned(),
        };
        let last = match known {
            Some(known) => format!(
                "use another network; or, once its owner told you that it is gone for good, \
                 `zzdot-client forget {}`",
                known.name
            ),
            None => "use another network".to_owned(),
        };
        let compare = match self {
            Self::AnchorChanged { .. }
            | Self::NameChanged { .. }
            | Self::CertificateMismatch { .. }
            | Self::NotEnrolled { .. }
            | Self::NotApproved { .. } => {
                "compare: scan the code that the resolver shows (`zzdot identity --qr` there) and \
                 give it to `zzdot-client verify`, or read its phrase to `zzdot-client approve`"
                    .to_owned()
            }
            _ => self.cure(),
        };
        [wait, compare, last]
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected: {}", self.expected)?;
        if let Some(since) = self.since {
            write!(f, ", known since {since}")?;
        }
        writeln!(f, "\noffered:  {}", self.offered)?;
        writeln!(f, "perhaps:  {}", self.innocent_cause)?;
        for (number, option) in (1..).zip(&self.options) {
            writeln!(f, "  {number}. {option}")?;
        }
        Ok(())
    }
}
