//! Why a record is not believed.

use std::fmt;

use hickory_proto::rr::{Name, RecordType};
use serde::{Serialize, Serializer};
use zzdot_zonegen::clock::UnixTime;

/// The rule that was broken. Later variants got further: of several failing signatures the one
/// that got furthest gives the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BogusReason {
    /// The RRset has no signature (RFC 4035 §5.3.1).
    SignatureMissing,
    /// More signatures than [`MAX_SIGNATURES`](super::MAX_SIGNATURES).
    TooManySignatures,
    /// More keys than [`MAX_KEYS`](super::MAX_KEYS).
    TooManyKeys,
    /// The data of an RRSIG, DNSKEY, KEY or NSEC record cannot be read.
    MalformedRecord,
    /// The owner is not in the zone whose keys are to judge it.
    OutsideZone,
    /// The signature names another zone as signer.
    WrongSigner,
    /// The signature counts more labels than the owner has (RFC 4034 §3.1.3).
    WrongLabels,
    /// The algorithm of the signature is not one that is verified here.
    UnsupportedAlgorithm,
    /// No trusted key has the tag and algorithm of the signature.
    UnknownKey,
    /// The key's protocol is not 3 (RFC 4034 §2.1.2).
    WrongProtocol,
    /// The key lacks the zone key flag (RFC 4034 §2.1.1).
    NotZoneKey,
    /// The key is revoked (RFC 5011 §2.1).
    KeyRevoked,
    /// The signature's window has not begun.
    SignatureNotYetValid,
    /// The signature's window is over.
    SignatureExpired,
    /// The arithmetic of the signature does not come out.
    SignatureWrong,
    /// More keys of equal tag than [`MAX_KEYS_PER_SIGNATURE`](super::MAX_KEYS_PER_SIGNATURE).
    TooManyTries,
    /// The DNSKEY RRset is not signed by a key that is trusted beforehand.
    NotSignedByAnchor,
    /// An answer from a wildcard without the proof that the name itself does not exist
    /// (RFC 4035 §5.3.4).
    WildcardNotProven,
    /// An alias stands where the record itself was expected.
    Alias,
    /// Nothing proves that the name or type does not exist.
    DenialMissing,
    /// The NSEC records do not prove that the name does not exist (RFC 4035 §5.4).
    NameNotDenied,
    /// The NSEC records do not prove that the type does not exist (RFC 4035 §5.4).
    TypeNotDenied,
    /// The NSEC records do not prove that no wildcard applies (RFC 4035 §5.4).
    WildcardNotDenied,
}

impl BogusReason {
    /// A stable name in kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature-missing",
            Self::TooManySignatures => "too-many-signatures",
            Self::TooManyKeys => "too-many-keys",
            Self::MalformedRecord => "malformed-record",
            Self::OutsideZone => "outside-zone",
            Self::WrongSigner => "wrong-signer",
            Self::WrongLabels => "wrong-labels",
            Self::UnsupportedAlgorithm => "unsupported-algorithm",
            Self::UnknownKey => "unknown-key",
            Self::WrongProtocol => "wrong-protocol",
            Self::NotZoneKey => "not-zone-key",
            Self::KeyRevoked => "key-revoked",
            Self::SignatureNotYetValid => "signature-not-yet-valid",
            Self::SignatureExpired => "signature-expired",
            Self::SignatureWrong => "signature-wrong",
            Self::TooManyTries => "too-many-tries",
            Self::NotSignedByAnchor => "not-signed-by-anchor",
            Self::WildcardNotProven => "wildcard-not-proven",
            Self::Alias => "alias",
            Self::DenialMissing => "denial-missing",
            Self::NameNotDenied => "name-not-denied",
            Self::TypeNotDenied => "type-not-denied",
            Self::WildcardNotDenied => "wildcard-not-denied",
        }
    }

    /// What went wrong, in words.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Self::SignatureMissing => "it is not signed",
            Self::TooManySignatures => "it has more signatures than are looked at",
            Self::TooManyKeys => "the zone has more keys than are looked at",
            Self::MalformedRecord => "its data cannot be read",
            Self::OutsideZone => "it does not belong to the zone",
            Self::WrongSigner => "it is signed in the name of another zone",
            Self::WrongLabels => "its signature counts more labels than its name has",
            Self::UnsupportedAlgorithm => "it is signed with an algorithm that is not supported",
            Self::UnknownKey => "it is signed with a key that the zone does not have",
            Self::WrongProtocol => "it is signed with a key for another protocol",
            Self::NotZoneKey => "it is signed with a key that may not sign zones",
            Self::KeyRevoked => "it is signed with a revoked key",
            Self::SignatureNotYetValid => "its signature is not yet valid",
            Self::SignatureExpired => "its signature has expired",
            Self::SignatureWrong => "its signature is wrong",
            Self::TooManyTries => "too many keys share the tag of its signature",
            Self::NotSignedByAnchor => "the zone's keys are not signed by a trusted key",
            Self::WildcardNotProven => {
                "it comes from a wildcard, and nothing proves that the name itself does not exist"
            }
            Self::Alias => "an alias stands in its place",
            Self::DenialMissing => "it is missing, and nothing proves that it does not exist",
            Self::NameNotDenied => "the proof that the name does not exist is not one",
            Self::TypeNotDenied => "the proof that the type does not exist is not one",
            Self::WildcardNotDenied => "nothing proves that no wildcard applies",
        }
    }

    /// The info-code of RFC 8914 §4 that is nearest.
    #[must_use]
    pub fn extended_error(self) -> u16 {
        match self {
            Self::UnsupportedAlgorithm => 1,
            Self::SignatureExpired => 7,
            Self::SignatureNotYetValid => 8,
            Self::UnknownKey | Self::NotSignedByAnchor => 9,
            Self::SignatureMissing => 10,
            Self::NotZoneKey => 11,
            Self::DenialMissing
            | Self::WildcardNotProven
            | Self::NameNotDenied
            | Self::TypeNotDenied
            | Self::WildcardNotDenied => 12,
            _ => 6,
        }
    }
}

impl Serialize for BogusReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A record, or its absence, that is not believed; with the key and the times where a signature
/// got as far as having them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bogus {
    /// The rule that was broken.
    pub reason: BogusReason,
    /// Owner of the record, without the final dot.
    pub owner: String,
    /// Its type, for example `TLSA`.
    pub rtype: String,
    /// Who claims to have signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// With which key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_tag: Option<u16>,
    /// Valid from, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inception: Option<UnixTime>,
    /// Valid until, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<UnixTime>,
}

impl Bogus {
    /// A verdict that no signature belongs to.
    #[must_use]
    pub fn new(reason: BogusReason, owner: &Name, rtype: RecordType) -> Self {
        Self {
            reason,
            owner: shown(owner),
            rtype: rtype.to_string(),
            signer: None,
            key_tag: None,
            inception: None,
            expiration: None,
        }
    }
}

impl fmt::Display for Bogus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.owner, self.rtype, self.reason.cause())?;
        if let (Some(tag), Some(signer)) = (self.key_tag, &self.signer) {
            write!(f, " (key {tag} of {signer}")?;
            if let (Some(inception), Some(expiration)) = (self.inception, self.expiration) {
                write!(f, ", valid from {inception} until {expiration}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl std::error::Error for Bogus {}

/// A name as people read it: no final dot, but for the root.
pub(crate) fn shown(name: &Name) -> String {
    let text = name.to_ascii();
    match text.strip_suffix('.') {
        Some("") | None => text,
        Some(bare) => bare.to_owned(),
    }
}
