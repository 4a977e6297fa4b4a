//! What comes of an attack.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What happened to the questions of a victim, from the best to the worst.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The genuine resolver answered, and nobody else read along.
    Private,
    /// The application was told that there is no answer; of peers also: it was not told in time.
    Refused,
    /// The application was told nothing at all.
    Silent,
    /// Somebody on the way read the question.
    Read,
    /// The application was given the attacker's answer.
    Believed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "answered in private",
            Self::Refused => "not answered",
            Self::Silent => "kept waiting",
            Self::Read => "**read**",
            Self::Believed => "**believed**",
        })
    }
}
