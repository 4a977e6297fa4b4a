//! Zone keys, and which of them are trusted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, PublicKey, PublicKeyBuf};
use hickory_proto::rr::{Name, RecordType};
use ring::digest;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use zzdot_zonegen::clock::UnixTime;

use super::bogus::{Bogus, BogusReason};
use super::reply::Rrset;
use super::rrset::{Secure, is_self_signed, validate_rrset};
use super::{MAX_KEYS, MAX_KEYS_PER_SIGNATURE, MAX_SIGNATURES, reply::Signature};

const ZONE_KEY: u16 = 0x0100;
const SECURE_ENTRY_POINT: u16 = 0x0001;
const REVOKE: u16 = 0x0080;
const PROTOCOL_DNSSEC: u8 = 3;

/// Signatures of denials that are remembered for a zone; a name needs three.
const MAX_VERIFIED: usize = 32;

const RSASHA256: u8 = 8;
const ECDSAP256SHA256: u8 = 13;
const ED25519_ALGORITHM: u8 = 15;

/// A DNSKEY, or a KEY that stands in for one (both have the same data format).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneKey {
    flags: u16,
    protocol: u8,
    algorithm: u8,
    public: Vec<u8>,
    tag: u16,
}

impl ZoneKey {
    /// Reads the data of a DNSKEY or KEY record (RFC 4034 §2.1).
    #[must_use]
    pub fn from_rdata(rdata: &[u8]) -> Option<Self> {
        let [high, low, protocol, algorithm, public @ ..] = rdata else {
            return None;
        };
        (!public.is_empty()).then(|| Self {
            flags: u16::from_be_bytes([*high, *low]),
            protocol: *protocol,
            algorithm: *algorithm,
            public: public.to_vec(),
            tag: DNSKEY::calculate_key_tag_internal(rdata),
        })
    }

    /// The same key in hickory's type, which has no protocol other than 3.
    #[must_use]
    pub fn to_dnskey(&self) -> DNSKEY {
        let algorithm = Algorithm::from_u8(self.algorithm);
        DNSKEY::with_flags(
            self.flags,
            PublicKeyBuf::new(self.public.clone(), algorithm),
        )
    }

    /// The key tag (RFC 4034 appendix B).
    #[must_use]
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The flags.
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// Whether this is a key-signing key by its flags (RFC 3757), which is what trust is anchored
    /// in, and not revoked.
    #[must_use]
    pub fn is_anchor_material(&self) -> bool {
        self.flags & SECURE_ENTRY_POINT != 0 && self.flaw().is_none()
    }

    /// Whether this key would be anchor material but for its REVOKE bit (RFC 5011 §2.1).
    #[must_use]
    pub fn is_revoked_anchor(&self) -> bool {
        self.flags & SECURE_ENTRY_POINT != 0 && self.flaw() == Some(BogusReason::KeyRevoked)
    }

    /// What keeps this key from signing RRsets of a zone.
    pub(crate) fn flaw(&self) -> Option<BogusReason> {
        if self.protocol != PROTOCOL_DNSSEC {
            Some(BogusReason::WrongProtocol)
        } else if self.flags & ZONE_KEY == 0 {
            Some(BogusReason::NotZoneKey)
        } else if self.flags & REVOKE != 0 {
            // RFC 5011 §2.1: a revoked key validates nothing but its own revocation.
            Some(BogusReason::KeyRevoked)
        } else {
            None
        }
    }

    /// Whether the tag and the algorithm are those of the signature.
    pub(super) fn may_have_made(&self, signature: &Signature) -> bool {
        self.tag == signature.key_tag && self.algorithm == signature.algorithm
    }

    /// Whether `signature` over `message` was made with this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            // RFC 6605 §4: the point without the byte that says "uncompressed".
            ECDSAP256SHA256 if self.public.len() == 64 => {
                let point = [&[4], self.public.as_slice()].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .is_ok()
            }
            ED25519_ALGORITHM => UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(message, signature)
                .is_ok(),
            RSASHA256 => rsa_components(&self.public).is_some_and(|key| {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .is_ok()
            }),
            _ => false,
        }
    }
}

impl From<&DNSKEY> for ZoneKey {
    fn from(key: &DNSKEY) -> Self {
        let public = key.public_key().public_bytes();
        let algorithm = u8::from(key.public_key().algorithm());
        let mut rdata = key.flags().to_be_bytes().to_vec();
        rdata.extend([PROTOCOL_DNSSEC, algorithm]);
        rdata.extend_from_slice(public);
        Self {
            flags: key.flags(),
            protocol: PROTOCOL_DNSSEC,
            algorithm,
            public: public.to_vec(),
            tag: DNSKEY::calculate_key_tag_internal(&rdata),
        }
    }
}

/// Whether signatures of this algorithm can be verified here: 13 and 15 by preference, 8 for zones
/// signed elsewhere (RFC 8624 §3.1).
pub(super) fn is_supported(algorithm: u8) -> bool {
    matches!(algorithm, RSASHA256 | ECDSAP256SHA256 | ED25519_ALGORITHM)
}

/// Exponent and modulus (RFC 3110 §2), without leading zeros.
fn rsa_components(public: &[u8]) -> Option<RsaPublicKeyComponents<&[u8]>> {
    let (length, rest) = match public {
        [0, high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        [length, rest @ ..] => (u16::from(*length), rest),
        [] => return None,
    };
    let (e, n) = rest.split_at_checked(usize::from(length))?;
    let bare = |bytes: &'_ [u8]| bytes.iter().take_while(|&&b| b == 0).count();
    Some(RsaPublicKeyComponents {
        e: e.get(bare(e)..)?,
        n: n.get(bare(n)..)?,
    })
}

/// The keys that judge the records of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKeys {
    pub(super) zone: Name,
    pub(super) keys: Vec<ZoneKey>,
    /// Signatures over the records of denials, which are the same for many names.
    pub(super) verified: Option<Arc<Verified>>,
}

/// Signatures that were verified lately.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<VecDeque<[u8; 32]>>);

/// What was verified is no part of what the keys are.
impl PartialEq for Verified {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Verified {}

impl Verified {
    /// Whether `signature` over `message` was made with `key`. The window of the signature is not
    /// looked at here: it is checked each time.
    fn verify(&self, key: &ZoneKey, message: &[u8], signature: &[u8]) -> bool {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [&key.public, message, signature] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.update(&[key.algorithm]);
        let Ok(digest) = <[u8; 32]>::try_from(context.finish().as_ref()) else {
            return false;
        };
        let verified = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if verified().contains(&digest) {
            return true;
        }
        let holds = key.verifies(message, signature);
        if holds {
            let mut verified = verified();
            verified.truncate(MAX_VERIFIED - 1);
            verified.push_front(digest);
        }
        holds
    }
}

impl TrustedKeys {
    /// Keys that the caller has proved, by a chain of trust for instance. None where there are more
    /// than [`MAX_KEYS`].
    #[must_use]
    pub fn proved(zone: Name, keys: Vec<ZoneKey>) -> Option<Self> {
        (keys.len() <= MAX_KEYS).then_some(Self {
            zone,
            keys,
            verified: Some(Arc::default()),
        })
    }

    /// Whether `signature` over `message` was made with `key`.
    pub(super) fn verify(
        &self,
        key: &ZoneKey,
        in_denial: bool,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match &self.verified {
            Some(verified) if in_denial => verified.verify(key, message, signature),
            _ => key.verifies(message, signature),
        }
    }

    /// The zone.
    #[must_use]
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// All keys, also those that may not sign.
    #[must_use]
    pub fn keys(&self) -> &[ZoneKey] {
        &self.keys
    }
}

/// The keys in the DNSKEY RRset of `zone`, which one of `anchors` must be part of and must have
/// signed. It is not enough that all keys are anchors: an unsigned set is bogus.
///
/// # Errors
/// The reason, with the signature that got furthest.
pub fn validate_keys(
    rrset: &Rrset,
    zone: &Name,
    anchors: &[ZoneKey],
    clock: UnixTime,
) -> Result<(TrustedKeys, Secure), Box<Bogus>> {
    let bogus = |reason| Box::new(Bogus::new(reason, &rrset.owner, rrset.rtype));
    if rrset.owner != *zone || rrset.rtype != RecordType::DNSKEY {
        return Err(bogus(BogusReason::OutsideZone));
    }
    let keys = read_keys(rrset)?;
    let trusted: Vec<_> = keys
        .iter()
        .filter(|key| anchors.contains(key))
        .cloned()
        .collect();
    if trusted.is_empty() {
        return Err(bogus(BogusReason::NotSignedByAnchor));
    }
    let anchored = TrustedKeys {
        zone: zone.clone(),
        keys: trusted,
        verified: None,
    };
    let secure = validate_rrset(rrset, &anchored, clock).map_err(|mut error| {
        if error.reason == BogusReason::UnknownKey {
            error.reason = BogusReason::NotSignedByAnchor;
        }
        error
    })?;
    let zone = zone.clone();
    let trusted = TrustedKeys {
        zone,
        keys,
        verified: None,
    };
    Ok((trusted, secure))
}

/// Those of `keys` that made a signature over the DNSKEY RRset of `zone` which holds now. A key with
/// the REVOKE bit counts, too: that is how it revokes itself (RFC 5011 §2.1), and all that its
/// signature is good for.
#[must_use]
pub fn signers_of(rrset: &Rrset, zone: &Name, keys: &[ZoneKey], clock: UnixTime) -> Vec<ZoneKey> {
    let within_bounds = keys.len() <= MAX_KEYS && rrset.signatures.len() <= MAX_SIGNATURES;
    if rrset.owner != *zone || rrset.rtype != RecordType::DNSKEY || !within_bounds {
        return Vec::new();
    }
    let mut signers: Vec<ZoneKey> = Vec::new();
    for signature in &rrset.signatures {
        let candidates = || keys.iter().filter(|key| key.may_have_made(signature));
        if candidates().count() > MAX_KEYS_PER_SIGNATURE {
            continue;
        }
        for key in candidates() {
            if !signers.contains(key) && is_self_signed(rrset, signature, zone, key, clock) {
                signers.push(key.clone());
            }
        }
    }
    signers
}

/// The keys of a DNSKEY or KEY RRset.
pub(crate) fn read_keys(rrset: &Rrset) -> Result<Vec<ZoneKey>, Box<Bogus>> {
    let bogus = |reason| Box::new(Bogus::new(reason, &rrset.owner, rrset.rtype));
    if rrset.data.len() > MAX_KEYS {
        return Err(bogus(BogusReason::TooManyKeys));
    }
    rrset
        .data
        .iter()
        .map(|data| ZoneKey::from_rdata(data).ok_or_else(|| bogus(BogusReason::MalformedRecord)))
        .collect()
}
