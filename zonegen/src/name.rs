//! The resolver's own name: parsed once, then known to be well-formed.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32HEX_NOPAD;
use hickory_proto::rr::Name;
use ring::rand::SecureRandom;
use thiserror::Error;

/// Characters of the first label: 100 bits in base32hex.
pub const LABEL_CHARS: usize = 20;

/// The longest name allowed, in octets on the wire. Owner names of two resolver names and a prefix
/// (`_853._tcp.UP.NAME`) then always fit into the 255 octets of RFC 1035 §2.3.4.
pub const MAX_WIRE_LEN: usize = 100;

/// The name of a resolver, such as `8g2l0qv7c4m1t5b9r3se.zz`: twenty random characters of base32hex
/// in lower case, below a suffix. It is the identity's primary key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResolverName(Name);

/// Why a text or a DNS name is not a resolver's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// It cannot be parsed as a DNS name at all.
    #[error("{0:?} is not a DNS name")]
    NotDns(String),
    /// The first label is not twenty characters of `0-9a-v`.
    #[error("{0:?} does not start with a label of 20 characters out of 0-9 and a-v")]
    Label(String),
    /// There is nothing below which the label stands.
    #[error("{0:?} has no suffix such as .zz")]
    NoSuffix(String),
    /// The suffix has a character other than letters, digits and inner hyphens.
    #[error("{0:?}: the suffix has characters other than letters, digits and inner hyphens")]
    Suffix(String),
    /// Names derived from it would not fit into a DNS message.
    #[error("{0:?} is longer than 100 octets")]
    TooLong(String),
    /// The random source gave nothing.
    #[error("the system's random source failed")]
    Random,
}

impl ResolverName {
    /// Invents a name below `suffix`.
    pub fn generate(rng: &dyn SecureRandom, suffix: &Name) -> Result<Self, NameError> {
        // 13 octets encode to 21 characters, of which the first 20 carry 100 random bits.
        let mut octets = [0_u8; 13];
        rng.fill(&mut octets).map_err(|_| NameError::Random)?;
        let mut label = BASE32HEX_NOPAD.encode(&octets).to_ascii_lowercase();
        label.truncate(LABEL_CHARS);
        let name = Name::from_labels([label.as_bytes()])
            .and_then(|label| label.append_domain(suffix))
            .map_err(|_| NameError::TooLong(format!("{label}.{suffix}")))?;
        Self::try_from(&name)
    }

    /// The name as DNS knows it: fully qualified, lower case.
    pub fn as_name(&self) -> &Name {
        &self.0
    }

    /// What the name stands below, `zz.` by default.
    pub fn suffix(&self) -> Name {
        self.0.base_name()
    }
}

impl TryFrom<&Name> for ResolverName {
    type Error = NameError;

    fn try_from(name: &Name) -> Result<Self, NameError> {
        let shown = || name.to_ascii();
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        let mut labels = name.iter();
        let label = labels.next().unwrap_or_default();
        let base32hex = |octet: &u8| matches!(octet, b'0'..=b'9' | b'a'..=b'v');
        if label.len() != LABEL_CHARS || !label.iter().all(base32hex) {
            return Err(NameError::Label(shown()));
        }
        if labels.len() == 0 {
            return Err(NameError::NoSuffix(shown()));
        }
        if !labels.all(is_host_label) {
            return Err(NameError::Suffix(shown()));
        }
        // Each label costs its length octet, the root one more.
        let wire_len = name.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
        if wire_len > MAX_WIRE_LEN {
            return Err(NameError::TooLong(shown()));
        }
        Ok(Self(name))
    }
}

impl FromStr for ResolverName {
    type Err = NameError;

    /// Accepts the name with and without the final dot, in either case.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = Name::from_ascii(text).map_err(|_| NameError::NotDns(text.to_owned()))?;
        Self::try_from(&name)
    }
}

impl fmt::Display for ResolverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_ascii().trim_end_matches('.'))
    }
}

impl fmt::Debug for ResolverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResolverName({self})")
    }
}

impl serde::Serialize for ResolverName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ResolverName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Letters, digits and inner hyphens (RFC 1123 §2.1): what certificates and resolvers all take.
fn is_host_label(label: &[u8]) -> bool {
    let allowed = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
    !label.is_empty()
        && label.iter().all(allowed)
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_generated_name_parses_to_itself() {
        let suffix = Name::from_ascii("zz.").unwrap();
        for _ in 0..100 {
            let name = ResolverName::generate(&SystemRandom::new(), &suffix).unwrap();
            assert_eq!(name.to_string().parse(), Ok(name.clone()));
            assert_eq!(name.to_string().len(), 23);
        }
    }

    #[test]
    fn the_final_dot_and_the_case_do_not_matter() {
        let name: ResolverName = "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap();
        assert_eq!("8G2L0QV7C4M1T5B9R3SE.ZZ.".parse(), Ok(name.clone()));
        assert_eq!(name.to_string(), "8g2l0qv7c4m1t5b9r3se.zz");
        assert!(name.as_name().is_fqdn());
    }

    #[test]
    fn a_name_below_a_longer_suffix_is_a_name() {
        let name: ResolverName = "8g2l0qv7c4m1t5b9r3se.dns.example.net".parse().unwrap();
        assert_eq!(name.suffix().to_ascii(), "dns.example.net.");
    }

    #[test]
    fn each_malformed_name_is_refused_by_its_reason() {
        let parse = |text: &str| text.parse::<ResolverName>().unwrap_err();
        assert!(matches!(
            parse("8g2l0qv7c4m1t5b9r3s.zz"),
            NameError::Label(_)
        ));
        assert!(matches!(
            parse("8g2l0qv7c4m1t5b9r3sw.zz"),
            NameError::Label(_)
        ));
        assert!(matches!(parse(""), NameError::Label(_)));
        assert!(matches!(parse("."), NameError::Label(_)));
        assert!(matches!(
            parse("8g2l0qv7c4m1t5b9r3se"),
            NameError::NoSuffix(_)
        ));
        assert!(matches!(
            parse("8g2l0qv7c4m1t5b9r3se.z_z"),
            NameError::Suffix(_)
        ));
        assert!(matches!(parse("a..b"), NameError::NotDns(_)));
        let long = format!("8g2l0qv7c4m1t5b9r3se.{}.{}", "a".repeat(40), "b".repeat(40));
        assert!(matches!(parse(&long), NameError::TooLong(_)));
    }
}
