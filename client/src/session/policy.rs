//! What the configuration says about strangers.

use crate::config::{FirstUse, LegacyPolicy, RoutePolicy};
use crate::trust::{KnownIdentity, TrustState};

/// What the configuration says about strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What to do with a server that is not upgraded.
    pub legacy: LegacyPolicy,
    /// What to do with an upgraded one that nobody knows.
    pub first_use: FirstUse,
    /// Whom to ask where the resolver is a forwarder.
    pub route: RoutePolicy,
}

impl From<LegacyPolicy> for Policy {
    fn from(legacy: LegacyPolicy) -> Self {
        Self {
            legacy,
            first_use: FirstUse::default(),
            route: RoutePolicy::default(),
        }
    }
}

impl Policy {
    /// Whether no question may leave in cleartext, whoever the server is and whatever stands in the way. (Finding out who
    /// the server is takes questions about the server, and nothing that anybody asked.)
    #[must_use]
    pub fn forbids_cleartext(&self) -> bool {
        self.route == RoutePolicy::EncryptedToEnd
    }

    /// Whether a person has to vouch for `identity` before it is used.
    #[must_use]
    pub fn lacks_vouching(&self, identity: &KnownIdentity) -> bool {
        self.first_use == FirstUse::EnrolledOnly && identity.state == TrustState::Provisional
    }
}
