//! A domain whose names go a way of their own.

use std::fmt;
use std::str::FromStr;

use hickory_proto::rr::Name;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A domain: its labels as on the wire, without compression, in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Box<[u8]>);

/// Why a text is no domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}; a domain such as \"corp.example\" is expected")]
pub struct DomainError(String);

impl Domain {
    /// All names.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// Does it hold all names?
    #[must_use]
    pub fn is_root(&self) -> bool {
        *self.0 == [0]
    }

    /// The domain of these octets, which are a name on the wire.
    pub(super) fn of_wire(name: &[u8]) -> Self {
        Self(name.to_ascii_lowercase().into())
    }

    /// As on the wire.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }
}

/// As sources write it: a leading `~` (for routing only) or `*.` and a final dot say nothing that
/// matters here, and `~.` is all names.
impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || DomainError(text.chars().take(80).collect());
        let bare = text.strip_prefix('~').unwrap_or(text);
        if bare == "." {
            return Ok(Self::root());
        }
        let bare = bare.strip_prefix("*.").unwrap_or(bare);
        let bare = bare.trim_matches('.');
        // What names of hosts and zones are made of (RFC 2317 §4 has the slash), and nothing that needs an escape.
        let usual =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b'.');
        if bare.is_empty() || !bare.bytes().all(usual) {
            return Err(error());
        }
        let name = Name::from_ascii(bare).map_err(|_| error())?.to_lowercase();
        let mut wire = Vec::with_capacity(bare.len() + 2);
        for label in name.iter() {
            wire.push(u8::try_from(label.len()).map_err(|_| error())?);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        if wire.len() > 255 {
            return Err(error());
        }
        Ok(Self(wire.into()))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        let mut rest = &*self.0;
        let mut dot = "";
        while let [length @ 1..=63, tail @ ..] = rest {
            let (label, after) = tail
                .split_at_checked(usize::from(*length))
                .unwrap_or((tail, &[]));
            write!(f, "{dot}{}", String::from_utf8_lossy(label))?;
            (rest, dot) = (after, ".");
        }
        Ok(())
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({self})")
    }
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_ways_of_writing_a_domain_are_one() {
        for text in [
            "corp.example",
            "Corp.Example.",
            "~corp.example",
            "*.corp.example",
            ".corp.example",
        ] {
            let domain: Domain = text.parse().unwrap();
            assert_eq!(domain.wire(), b"\x04corp\x07example\0", "{text}");
            assert_eq!(domain.to_string(), "corp.example");
        }
        for text in [".", "~."] {
            assert!(text.parse::<Domain>().unwrap().is_root(), "{text}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = "abcdefgh.".repeat(30);
        for text in [
            "",
            "~",
            "*.",
            "a..b",
            "a b",
            "a\\.b",
            "a\"b",
            "~~a",
            "*.*.a",
            "a\nb",
            "b\u{fc}cher",
            &long_label,
            &long_name,
        ] {
            assert!(text.parse::<Domain>().is_err(), "{text:?}");
        }
    }
}
