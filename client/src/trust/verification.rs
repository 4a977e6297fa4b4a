//! How a person, or a configuration, vouched for a resolver.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hickory_proto::dnssec::rdata::DNSKEY;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::ds;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::owners::anchor_zone;

/// Digest type 2: SHA-256 (RFC 4509).
const SHA256: u8 = 2;

/// How an identity came to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifiedBy {
    /// The `dnstofu:` URI of the resolver, as a QR code or as text.
    Uri,
    /// The words or digits of its phrase, compared by a person.
    Phrase,
    /// The configuration names it.
    Configured,
    /// It came with an export of another client, where it was verified.
    Imported,
}

impl fmt::Display for VerifiedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uri => "by its code",
            Self::Phrase => "by its phrase",
            Self::Configured => "by the configuration",
            Self::Imported => "by an import",
        })
    }
}

/// That an identity was verified, how and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Verification {
    /// How.
    pub by: VerifiedBy,
    /// When.
    pub at: UnixTime,
}

/// A key of `resolver-name.arpa` by its digest: a DS with SHA-256 (RFC 4509). As text
/// `TAG-ALGORITHM-2-HEX`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AnchorDs {
    /// Key tag.
    pub tag: u16,
    /// Algorithm.
    pub algorithm: u8,
    /// SHA-256 over owner and key.
    pub digest: [u8; 32],
}

/// A text is not that of a DS with SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no digest of a key: TAG-ALGORITHM-2-HEX is expected")]
pub struct AnchorDsError(String);

impl AnchorDs {
    /// The digest of a key.
    ///
    /// # Panics
    /// Never: a DNSKEY in memory has a digest.
    #[must_use]
    pub fn of(key: &DNSKEY) -> Self {
        let ds = ds(&anchor_zone(), key);
        Self {
            tag: ds.key_tag(),
            algorithm: ds.algorithm().into(),
            digest: ds
                .digest()
                .try_into()
                .expect("SHA-256 has thirty-two octets"),
        }
    }

    /// Whether this is the digest of `key`.
    #[must_use]
    pub fn names(&self, key: &DNSKEY) -> bool {
        Self::of(key) == *self
    }
}

impl fmt::Display for AnchorDs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = HEXLOWER.encode(&self.digest);
        write!(f, "{}-{}-{SHA256}-{digest}", self.tag, self.algorithm)
    }
}

impl FromStr for AnchorDs {
    type Err = AnchorDsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut fields = text.split('-');
            let (tag, algorithm, digest_type, digest) = (
                fields.next()?,
                fields.next()?,
                fields.next()?,
                fields.next()?,
            );
            let digest = HEXLOWER_PERMISSIVE.decode(digest.as_bytes()).ok()?;
            (digest_type == "2" && fields.next().is_none()).then_some(Self {
                tag: tag.parse().ok()?,
                algorithm: algorithm.parse().ok()?,
                digest: digest.try_into().ok()?,
            })
        };
        read().ok_or_else(|| AnchorDsError(text.chars().take(128).collect()))
    }
}

impl TryFrom<String> for AnchorDs {
    type Error = AnchorDsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AnchorDs> for String {
    fn from(ds: AnchorDs) -> Self {
        ds.to_string()
    }
}

/// A resolver that somebody vouched for before it was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Enrolled {
    /// Its name.
    pub name: ResolverName,
    /// Its key, and the stand-by where that was told: one of them must sign the keys shown.
    pub ds: Vec<AnchorDs>,
    /// How it was vouched for.
    pub by: VerifiedBy,
    /// When.
    pub at: UnixTime,
}

impl Enrolled {
    /// What a meeting that proved the key enrolled is remembered with.
    #[must_use]
    pub fn verification(&self) -> Verification {
        Verification {
            by: self.by,
            at: self.at,
        }
    }

    /// Whether one of the digests is that of `key`.
    #[must_use]
    pub fn names(&self, key: &DNSKEY) -> bool {
        self.ds.iter().any(|ds| ds.names(key))
    }
}
