//! Zone keys: ECDSA P-256 with SHA-256 (algorithm 13, RFC 6605), kept as PKCS#8.

use std::fmt;
use std::sync::Arc;

#[allow(deprecated)] // RFC 3007 retired the meaning of these bits, the octets are still there
use hickory_proto::dnssec::rdata::key::UpdateScope;
use hickory_proto::dnssec::rdata::key::{KeyTrust, KeyUsage, Protocol};
use hickory_proto::dnssec::rdata::{DNSKEY, DS, KEY};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKey, PublicKeyBuf};
use hickory_proto::rr::Name;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use thiserror::Error;

use crate::pem;

/// The algorithm of every key made here.
pub const ALGORITHM: Algorithm = Algorithm::ECDSAP256SHA256;

/// Flags of a zone-signing key: zone key (RFC 4034 §2.1.1).
pub const ZSK_FLAGS: u16 = 256;
/// Flags of a key-signing key: zone key and secure entry point.
pub const KSK_FLAGS: u16 = 257;
/// The flag of a key that must not be trusted any more (RFC 5011 §2.1).
pub const REVOKE: u16 = 0x0080;

/// The octet before a point's two coordinates (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// What goes wrong with a zone key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The random source gave nothing.
    #[error("the system's random source failed")]
    Random,
    /// The octets are not a P-256 key in PKCS#8.
    #[error("is not an ECDSA P-256 key in PKCS#8")]
    Malformed,
    /// A KEY record whose protocol octet is not 3 is no zone key (RFC 4034 §2.1.2).
    #[error("the KEY record is not of protocol 3 (DNSSEC)")]
    Protocol,
}

/// A key pair that signs a zone, and the DNSKEY that says so. Clones share the secret.
#[derive(Clone)]
pub struct ZoneKey {
    pair: Arc<EcdsaKeyPair>,
    pkcs8: Arc<PrivatePkcs8KeyDer<'static>>,
    dnskey: DNSKEY,
    tag: u16,
}

impl ZoneKey {
    /// Makes a new key.
    pub fn generate(flags: u16, rng: &dyn SecureRandom) -> Result<Self, KeyError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, rng)
            .map_err(|_| KeyError::Random)?;
        Self::from_pkcs8(flags, PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()))
    }

    /// Takes a key that exists.
    pub fn from_pkcs8(flags: u16, pkcs8: PrivatePkcs8KeyDer<'static>) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            pkcs8.secret_pkcs8_der(),
            &SystemRandom::new(),
        )
        .map_err(|_| KeyError::Malformed)?;
        // RFC 6605 §4: the point without the octet that says "uncompressed".
        let public = pair.public_key().as_ref()[1..].to_vec();
        let dnskey = DNSKEY::with_flags(flags, PublicKeyBuf::new(public, ALGORITHM));
        let tag = key_tag(&dnskey);
        Ok(Self {
            pair: Arc::new(pair),
            pkcs8: Arc::new(pkcs8),
            dnskey,
            tag,
        })
    }

    /// The same key with the REVOKE bit, which gives it another tag (RFC 5011 §2.1).
    #[must_use]
    pub fn revoked(&self) -> Self {
        let public = self.dnskey.public_key().public_bytes().to_vec();
        let dnskey = DNSKEY::with_flags(
            self.dnskey.flags() | REVOKE,
            PublicKeyBuf::new(public, ALGORITHM),
        );
        Self {
            pair: Arc::clone(&self.pair),
            pkcs8: Arc::clone(&self.pkcs8),
            tag: key_tag(&dnskey),
            dnskey,
        }
    }

    /// Takes a key out of a PEM text that holds nothing else, as the files of an identity do.
    pub fn from_pem(flags: u16, text: &str) -> Result<Self, KeyError> {
        let pkcs8 = pem::private_key(text.as_bytes()).ok_or(KeyError::Malformed)?;
        Self::from_pkcs8(flags, pkcs8)
    }

    /// The public half.
    pub fn dnskey(&self) -> &DNSKEY {
        &self.dnskey
    }

    /// The key tag (RFC 4034 appendix B).
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The private half.
    pub fn pkcs8(&self) -> &PrivatePkcs8KeyDer<'static> {
        &self.pkcs8
    }

    /// Signs `message`; the result is in the form of RFC 6605 §4.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // The nonce of ECDSA is the one thing here that must differ each time.
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| KeyError::Random)
    }
}

impl fmt::Debug for ZoneKey {
    /// The public half only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZoneKey({} {})", self.dnskey.flags(), self.tag)
    }
}

/// Whether a DNSKEY holds a key of algorithm 13 at all: a point on the curve P-256. Of a thousand
/// changed keys not one does.
pub fn is_p256(dnskey: &DNSKEY) -> Result<bool, KeyError> {
    let mut point = vec![UNCOMPRESSED];
    point.extend_from_slice(dnskey.public_key().public_bytes());
    // Agreeing upon a key is how ring lets a point be checked.
    let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())
        .map_err(|_| KeyError::Random)?;
    let agreed = agree_ephemeral(private, &UnparsedPublicKey::new(&ECDH_P256, point), |_| ());
    Ok(dnskey.public_key().algorithm() == ALGORITHM && agreed.is_ok())
}

/// The key tag of a DNSKEY (RFC 4034 appendix B).
pub fn key_tag(dnskey: &DNSKEY) -> u16 {
    dnskey
        .calculate_key_tag()
        .expect("a DNSKEY in memory can be encoded")
}

/// The DS of a DNSKEY at `owner`, with SHA-256 (RFC 4509).
pub fn ds(owner: &Name, dnskey: &DNSKEY) -> DS {
    let digest = dnskey
        .to_digest(owner, DigestType::SHA256)
        .expect("SHA-256 of a DNSKEY in memory can be computed");
    DS::new(
        key_tag(dnskey),
        dnskey.public_key().algorithm(),
        DigestType::SHA256,
        digest.as_ref().to_vec(),
    )
}

/// The KEY record data that says the same as a DNSKEY.
///
/// The two have one wire format (RFC 4034 §2, RFC 2535 §3.1); protocol.md §2 uses KEY since a
/// resolver on the way would read a DNSKEY below `resolver-name.arpa` as a zone cut's.
#[allow(deprecated)]
pub fn key_of_dnskey(dnskey: &DNSKEY) -> KEY {
    let flags = dnskey.flags();
    KEY::new(
        KeyTrust::from(flags),
        KeyUsage::from(flags),
        UpdateScope::from(flags),
        Protocol::from(3),
        dnskey.public_key().algorithm(),
        dnskey.public_key().public_bytes().to_vec(),
    )
}

/// The DNSKEY that says the same as a KEY.
pub fn dnskey_of_key(key: &KEY) -> Result<DNSKEY, KeyError> {
    if u8::from(key.protocol()) != 3 {
        return Err(KeyError::Protocol);
    }
    Ok(DNSKEY::with_flags(
        key.flags(),
        PublicKeyBuf::new(key.public_key().to_vec(), key.algorithm()),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::serialize::binary::BinEncodable;

    use super::*;

    #[test]
    fn a_key_survives_its_file_form() {
        let key = ZoneKey::generate(KSK_FLAGS, &SystemRandom::new()).unwrap();
        let again = ZoneKey::from_pkcs8(KSK_FLAGS, key.pkcs8().clone_key()).unwrap();
        assert_eq!(key.dnskey(), again.dnskey());
        assert_eq!(key.dnskey().public_key().public_bytes().len(), 64);
    }

    #[test]
    fn key_and_dnskey_have_the_same_octets() {
        for flags in [ZSK_FLAGS, KSK_FLAGS] {
            let zone_key = ZoneKey::generate(flags, &SystemRandom::new()).unwrap();
            let key = key_of_dnskey(zone_key.dnskey());
            assert_eq!(
                key.to_bytes().unwrap(),
                zone_key.dnskey().to_bytes().unwrap()
            );
            assert_eq!(&dnskey_of_key(&key).unwrap(), zone_key.dnskey());
        }
    }

    #[test]
    fn a_changed_key_is_off_the_curve() {
        let zone_key = ZoneKey::generate(KSK_FLAGS, &SystemRandom::new()).unwrap();
        assert_eq!(is_p256(zone_key.dnskey()), Ok(true));
        let mut octets = zone_key.dnskey().public_key().public_bytes().to_vec();
        octets[40] ^= 1;
        let changed = DNSKEY::with_flags(KSK_FLAGS, PublicKeyBuf::new(octets, ALGORITHM));
        assert_eq!(is_p256(&changed), Ok(false));
    }

    #[test]
    fn a_key_of_another_protocol_is_no_zone_key() {
        let zone_key = ZoneKey::generate(KSK_FLAGS, &SystemRandom::new()).unwrap();
        let key = key_of_dnskey(zone_key.dnskey());
        let tls = KEY::new(
            key.key_trust(),
            key.key_usage(),
            key.signatory(),
            Protocol::from(1),
            key.algorithm(),
            key.public_key().to_vec(),
        );
        assert_eq!(dnskey_of_key(&tls), Err(KeyError::Protocol));
    }
}
