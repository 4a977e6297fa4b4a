//! Settings that are one of a few words.

use serde::Deserialize;

/// How far down the ladder a question may go where the server is not upgraded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegacyPolicy {
    /// Down to cleartext, as without this program.
    #[default]
    Plain,
    /// Down to TLS with whoever answers at the same address (RFC 7858 §4.1): nobody listens, anybody may answer.
    Encrypted,
    /// To a designated resolver that proves itself (RFC 9462 §4.2), and no further.
    Verified,
    /// Nowhere: SERVFAIL.
    Refuse,
}

impl LegacyPolicy {
    /// As the configuration and `status` write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Encrypted => "encrypted",
            Self::Verified => "verified",
            Self::Refuse => "refuse",
        }
    }
}

/// What to do with an upgraded resolver that nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstUse {
    /// Use and remember it, as not yet verified.
    #[default]
    Auto,
    /// Answer SERVFAIL until a person approves it.
    Ask,
    /// Answer SERVFAIL, unless a person verified or enrolled it before.
    EnrolledOnly,
}

impl FirstUse {
    /// As the configuration and `status` write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ask => "ask",
            Self::EnrolledOnly => "enrolled-only",
        }
    }
}

/// Whom to ask where the resolver is a forwarder, and others stand behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoutePolicy {
    /// The resolver that the network names, wherever it sends questions on to.
    #[default]
    Nearest,
    /// The resolver at the end of the chain, by TLS, where it can be reached and proves itself; else the nearest.
    End,
    /// The nearest, and only while each hop is encrypted to the end of the chain. Otherwise SERVFAIL.
    EncryptedToEnd,
}

impl RoutePolicy {
    /// As the configuration and `status` write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::End => "end",
            Self::EncryptedToEnd => "encrypted-to-end",
        }
    }
}

/// Who may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Askers {
    /// This machine.
    #[default]
    Loopback,
    /// Whoever reaches the listening addresses.
    Any,
}
