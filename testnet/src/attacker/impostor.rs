//! TLS in the resolver's place, with a key that is the attacker's.

use std::{fmt, sync::Arc};

use hickory_proto::rr::Name;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use thiserror::Error;
use zzdot_client::tls::provider::provider;
use zzdot_zonegen::identity::Identity;

/// Why there is no impostor.
#[derive(Debug, Error)]
pub enum ImpostorError {
    /// A certificate could not be made.
    #[error("the impostor's certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls does not take it.
    #[error("the impostor's TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A TLS server's side.
#[derive(Clone)]
pub struct Impostor(Arc<ServerConfig>);

impl Impostor {
    /// With a new key, and a certificate that says this name.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn calling_itself(name: &Name) -> Result<Self, ImpostorError> {
        let name = name.to_ascii();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = CertificateParams::new(vec![name.trim_end_matches('.').to_owned()])?;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Self::new(vec![certificate.der().clone()], key)
    }

    /// With the key of an identity: the attacker's own, or a stolen one.
    ///
    /// # Errors
    /// rustls does not take it.
    pub fn with_key_of(identity: &Identity) -> Result<Self, ImpostorError> {
        Self::new(vec![identity.certificate()], identity.tls_key())
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, ImpostorError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"dot".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Impostor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Impostor")
    }
}
