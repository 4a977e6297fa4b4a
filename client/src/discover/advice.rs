//! What to do about a refusal, and what applications are told.

use super::refusal::Refusal;
use super::verdict::LegacyReason;
use crate::validate::BogusReason;

impl Refusal {
    /// What to do about it, in a sentence without a full stop.
    #[must_use]
    pub fn cure(&self) -> String {
        if let Some(cure) = self.legacy_reason().and_then(LegacyReason::cure) {
            return cure.to_owned();
        }
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
            Self::RevokedKeyReturned { .. } => {
                "somebody shows keys that were given up, or the resolver was restored from a \
                 backup of old keys: do not trust this network"
                    .to_owned()
            }
            Self::NotEnrolled { .. } | Self::NotApproved { .. } => {
                "compare the code or the phrase that the resolver shows (`zzdot identity --qr` \
                 there, `zzdot-client pending` here)"
                    .to_owned()
            }
            Self::CaptivePortal { .. } => "log in with a browser".to_owned(),
            Self::ChainNotEncrypted { .. } => {
                "look at `zzdot-client trace`, and have that hop encrypted (`require = \"encrypted\"` on the forwarder); or \
                 set `route = \"nearest\"` and let questions go on in cleartext behind the resolver"
                    .to_owned()
            }
            Self::NotEncrypted { .. } => {
                "install zzdot on the resolver, or let `legacy` go further down in the configuration".to_owned()
            }
        }
    }

    /// How the server showed that it is not upgraded, where that is what this is about.
    pub(super) fn legacy_reason(&self) -> Option<LegacyReason> {
        match self {
            Self::Downgraded { reason, .. }
            | Self::Legacy { reason }
            | Self::NotEncrypted { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    /// Info-code and text of the extended error (RFC 8914) that goes with SERVFAIL.
    #[must_use]
    pub fn ede(&self) -> (u16, String) {
        let code = match self {
            Self::Bogus(bogus) => bogus.reason.extended_error(),
            // DNSSEC Bogus
            Self::AnchorChanged { .. }
            | Self::RevokedKeyReturned { .. }
            | Self::NameChanged { .. }
            | Self::RolledBack { .. }
            | Self::RecordMissing { .. }
            | Self::NoUsableTlsa { .. } => 6,
            // Network Error
            Self::NoAnswerOnDotPort { .. }
            | Self::HandshakeFailed { .. }
            | Self::CaptivePortal { .. }
            | Self::MalformedAnswer { .. } => 23,
            // Prohibited
            Self::IdentityRevoked { .. }
            | Self::Legacy { .. }
            | Self::NotEncrypted { .. }
            | Self::ChainNotEncrypted { .. }
            | Self::NotEnrolled { .. }
            | Self::NotApproved { .. }
            | Self::Downgraded { .. } => 18,
            // Other
            Self::NoResolverName { .. }
            | Self::CertificateMismatch { .. }
            | Self::ClockBelowFloor { .. } => 0,
        };
        (code, format!("{}: {}", self.name(), self.cause()))
    }
}
