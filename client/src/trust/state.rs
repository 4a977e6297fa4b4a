//! How far a resolver is trusted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far an identity is trusted.
///
/// ```text
///   first use ──► PROVISIONAL ──► VERIFIED     the user compared, or a configuration says so
///                      │    └───► MANAGED      its anchor is one of a fleet already trusted
///                      ▼
///                   REVOKED                    from any state; terminal
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustState {
    /// First use, nothing to compare with: encrypted, not yet verified.
    Provisional,
    /// The user compared it, or it was configured: encrypted and authenticated.
    Verified,
    /// Its anchor is one of a fleet already trusted: as verified.
    Managed,
    /// Never used again.
    Revoked,
}

impl fmt::Display for TrustState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provisional => "not yet verified",
            Self::Verified => "verified",
            Self::Managed => "managed",
            Self::Revoked => "revoked",
        })
    }
}
