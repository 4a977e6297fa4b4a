//! Whose fault something is.

use std::fmt;

use serde::Serialize;

/// What has to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// What somebody wrote, or did not start.
    Configuration,
    /// The computer's clock.
    Clock,
    /// Links, routes, firewalls, and machines that are off.
    Routing,
    /// A page to log in first.
    Portal,
    /// The connection to the resolver.
    Tls,
    /// What the resolver publishes about itself, and its signatures.
    Dnssec,
    /// Whether it is the right one.
    Trust,
    /// What others can read.
    Privacy,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "configuration",
            Self::Clock => "clock",
            Self::Routing => "routing",
            Self::Portal => "portal",
            Self::Tls => "TLS",
            Self::Dnssec => "DNSSEC",
            Self::Trust => "trust",
            Self::Privacy => "privacy",
        })
    }
}

/// Where to look when a question fails for `reason`, one of [`crate::tally::REASONS`].
#[must_use]
pub fn area_of(reason: &str) -> Area {
    match reason {
        // Signed in the future, or out of date: a resolver that runs signs every day, so it is a clock that is wrong,
        // here or there.
        "clock-below-floor" | "signature-not-yet-valid" | "signature-expired" => Area::Clock,
        "certificate-mismatch" | "handshake-failed" | "no-answer-on-dot-port" => Area::Tls,
        "captive-portal" => Area::Portal,
        "legacy" | "not-encrypted" => Area::Configuration,
        "anchor-changed"
        | "downgraded"
        | "identity-revoked"
        | "name-changed"
        | "not-approved"
        | "not-enrolled"
        | "revoked-key-returned"
        | "rolled-back" => Area::Trust,
        "no-answer" | "no-network" | "" => Area::Routing,
        "chain-not-encrypted" => Area::Privacy,
        // Records, signatures and denials.
        _ => Area::Dnssec,
    }
}
