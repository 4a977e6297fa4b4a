//! The TLS certificate: self-signed, P-256, its one name the resolver's own.

use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use thiserror::Error;
use webpki::ring::ECDSA_P256_SHA256;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::name::ResolverName;

/// What goes wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The certificate cannot be made.
    #[error("the certificate cannot be made: {0}")]
    Make(String),
    /// The octets are not an X.509 certificate.
    #[error("is not a certificate")]
    Malformed,
    /// The private key is not one that can be used.
    #[error("is not an ECDSA P-256 key in PKCS#8")]
    Key,
    /// The certificate is for another key.
    #[error("is not of the TLS key beside it")]
    OtherKey,
    /// The certificate is not as it was signed.
    #[error("is not signed by its own key: it was changed")]
    Signature,
    /// The certificate is for another name.
    #[error("is not for the name {0}")]
    OtherName(ResolverName),
}

/// A certificate together with what is derived from it.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    spki_sha256: [u8; 32],
}

impl Certificate {
    /// Makes the certificate of `name` for a P-256 key in PKCS#8.
    pub fn self_signed(
        name: &ResolverName,
        key: &PrivatePkcs8KeyDer<'_>,
    ) -> Result<Self, CertificateError> {
        let make = |error: rcgen::Error| CertificateError::Make(error.to_string());
        let mut params = CertificateParams::new([name.to_string()]).map_err(make)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, name.to_string());
        // The TLSA record, not the certificate, says how long it is good for (RFC 7671 §5.1).
        // RFC 5280 §4.1.2.5 reserves this last date for certificates without an end.
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(9999, 12, 31);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key_pair(key)?).map_err(make)?;
        Self::from_der(certificate.der().clone())
    }

    /// Takes a certificate that exists.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let parsed = EndEntityCert::try_from(&der).map_err(|_| CertificateError::Malformed)?;
        let spki_sha256 = sha256(&parsed.subject_public_key_info());
        Ok(Self { der, spki_sha256 })
    }

    /// Checks that the certificate is of this key and for this name.
    pub fn check(
        &self,
        name: &ResolverName,
        key: &PrivatePkcs8KeyDer<'_>,
    ) -> Result<(), CertificateError> {
        let key = key_pair(key)?;
        if sha256(&key.subject_public_key_info()) != self.spki_sha256 {
            return Err(CertificateError::OtherKey);
        }
        let other_name = || CertificateError::OtherName(name.clone());
        let server_name = ServerName::try_from(name.to_string()).map_err(|_| other_name())?;
        let parsed = self.parsed()?;
        parsed
            .verify_is_valid_for_subject_name(&server_name)
            .map_err(|_| other_name())?;
        self.check_signature(&parsed)
    }

    /// Key and name are two of its parts; the signature notices a change in any other.
    fn check_signature(&self, parsed: &EndEntityCert<'_>) -> Result<(), CertificateError> {
        // Any moment between 2000 and 9999 will do, see `self_signed`.
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(1 << 32));
        let itself =
            [anchor_from_trusted_cert(&self.der).map_err(|_| CertificateError::Malformed)?];
        parsed
            .verify_for_usage(
                &[ECDSA_P256_SHA256],
                &itself,
                &[],
                moment,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map(drop)
            .map_err(|_| CertificateError::Signature)
    }

    fn parsed(&self) -> Result<EndEntityCert<'_>, CertificateError> {
        EndEntityCert::try_from(&self.der).map_err(|_| CertificateError::Malformed)
    }

    /// The certificate as TLS sends it.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// SHA-256 of the SubjectPublicKeyInfo: what `TLSA 3 1 1` holds (RFC 6698 §2.1).
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }
}

fn key_pair(key: &PrivatePkcs8KeyDer<'_>) -> Result<KeyPair, CertificateError> {
    KeyPair::from_der_and_sign_algo(
        &PrivateKeyDer::Pkcs8(key.clone_key()),
        &PKCS_ECDSA_P256_SHA256,
    )
    .map_err(|_| CertificateError::Key)
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, octets).as_ref());
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    use super::*;

    fn tls_key() -> PrivatePkcs8KeyDer<'static> {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).unwrap();
        PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec())
    }

    #[test]
    fn a_certificate_belongs_to_one_name_and_one_key() {
        let name: ResolverName = "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap();
        let other: ResolverName = "8g2l0qv7c4m1t5b9r3sf.zz".parse().unwrap();
        let key = tls_key();
        let certificate = Certificate::self_signed(&name, &key).unwrap();
        assert_eq!(certificate.check(&name, &key), Ok(()));
        assert_eq!(
            certificate.check(&other, &key),
            Err(CertificateError::OtherName(other))
        );
        assert_eq!(
            certificate.check(&name, &tls_key()),
            Err(CertificateError::OtherKey)
        );
        let junk = PrivatePkcs8KeyDer::from(vec![0; 10]);
        assert_eq!(certificate.check(&name, &junk), Err(CertificateError::Key));
    }

    #[test]
    fn a_changed_certificate_is_noticed_even_where_name_and_key_are_whole() {
        let name: ResolverName = "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap();
        let key = tls_key();
        let mut der = Certificate::self_signed(&name, &key).unwrap().der.to_vec();
        // Behind two headers and the version: the serial number.
        der[20] ^= 1;
        let changed = Certificate::from_der(CertificateDer::from(der)).unwrap();
        assert_eq!(changed.check(&name, &key), Err(CertificateError::Signature));
    }

    #[test]
    fn junk_is_not_a_certificate() {
        let junk = Certificate::from_der(CertificateDer::from(vec![0x30, 0]));
        assert_eq!(junk.unwrap_err(), CertificateError::Malformed);
    }
}
