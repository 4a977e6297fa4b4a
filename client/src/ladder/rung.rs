//! The rungs by name.

use std::fmt;

use serde::Serialize;

/// How well a question is kept from others, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Everybody on the way reads it.
    Cleartext,
    /// TLS with whoever answers at the server's address (RFC 7858 §4.1): who listens in does not read it, who stands in
    /// between does.
    Opportunistic,
    /// TLS with the resolver that the server designates, whose certificate public authorities issued for the server's
    /// own address (RFC 9462 §4.2).
    Designated,
    /// TLS with an identity that was met and validated, and not yet verified.
    Known,
    /// TLS with an identity that a person or an anchor vouched for, or that is configured.
    Verified,
}

impl Rung {
    /// All of them, from the lowest.
    pub const ALL: [Self; 5] = [
        Self::Cleartext,
        Self::Opportunistic,
        Self::Designated,
        Self::Known,
        Self::Verified,
    ];

    /// A stable name in kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cleartext => "cleartext",
            Self::Opportunistic => "opportunistic",
            Self::Designated => "designated",
            Self::Known => "known",
            Self::Verified => "verified",
        }
    }

    /// Whether nobody on the way reads the questions without taking part in the conversation.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        self != Self::Cleartext
    }

    /// Whether it is certain who is spoken to, as far as the kind of proof goes.
    #[must_use]
    pub fn is_authenticated(self) -> bool {
        self >= Self::Designated
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cleartext => "cleartext: everybody on the way can read it",
            Self::Opportunistic => "encrypted, but nobody knows to whom",
            Self::Designated => {
                "encrypted, to the resolver that the server designates by certificate"
            }
            Self::Known => "encrypted, to a resolver that is known and not yet verified",
            Self::Verified => "encrypted, to a resolver that is verified",
        })
    }
}
