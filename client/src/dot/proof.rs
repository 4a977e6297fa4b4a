//! What a server has to prove in the handshake, as rustls wants to hear it.

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{TicketRequest, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::upstream::Proof;

use crate::discover::{PeerCertificates, Tlsa, peer_named_by};
use crate::tls::provider::provider;

/// Sessions kept for resumption. One server and one connection at a time need few.
const SESSIONS: usize = 8;
/// Tickets wanted (RFC 9149): one for the next connection, and one for a second beside it when an answer is overdue.
/// A resumed session makes up for the one that it used.
const TICKETS: TicketRequest = TicketRequest {
    new_session_count: 2,
    resumption_count: 1,
};

/// What makes a server the right one.
#[derive(Clone)]
pub enum PeerProof {
    /// It holds a key with one of these SHA-256 digests of its SubjectPublicKeyInfo: TLSA 3 1 1.
    /// Names and dates of the certificate are ignored (RFC 7671 §5.1).
    Spki(Vec<[u8; 32]>),
    /// One of these TLSA records names it (RFC 7671): usage 3 its key or certificate, usage 2 an
    /// authority that vouches for the resolver's name.
    Dane {
        /// The records, as validated.
        tlsa: Vec<Tlsa>,
        /// The resolver.
        name: ResolverName,
    },
    /// Its certificate is valid for `name` under `roots`.
    Pkix {
        /// The name that the certificate has to carry.
        name: ServerName<'static>,
        /// Who may vouch for it.
        roots: Arc<RootCertStore>,
    },
    /// Both.
    Both {
        /// As in [`PeerProof::Spki`].
        pins: Vec<[u8; 32]>,
        /// As in [`PeerProof::Pkix`].
        name: ServerName<'static>,
        /// As in [`PeerProof::Pkix`].
        roots: Arc<RootCertStore>,
    },
    /// Nothing but that it holds the key of whatever certificate it shows: opportunistic privacy (RFC 7858 §4.1), for
    /// servers that questions would go to in cleartext otherwise. Whoever stands in between can give this proof too.
    Anyone,
}

impl PeerProof {
    /// As a forwarder would say it of its upstream (protocol §3).
    #[must_use]
    pub fn published(&self) -> Proof {
        match self {
            Self::Spki(_) => Proof::Pin,
            Self::Dane { .. } => Proof::Dane,
            // The key is pinned, whoever else vouches for it.
            Self::Both { .. } => Proof::Pin,
            Self::Pkix { name, .. } => Proof::Pkix(name.to_str().into_owned()),
            Self::Anyone => Proof::None,
        }
    }
}

impl fmt::Debug for PeerProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spki(pins) => write!(f, "Spki({} pins)", pins.len()),
            Self::Dane { tlsa, .. } => write!(f, "Dane({tlsa:?})"),
            Self::Pkix { name, .. } => write!(f, "Pkix({})", name.to_str()),
            Self::Both { pins, name, .. } => {
                write!(f, "Both({} pins, {})", pins.len(), name.to_str())
            }
            Self::Anyone => f.write_str("Anyone"),
        }
    }
}

/// The SHA-256 digest of a certificate's SubjectPublicKeyInfo; none when it cannot be parsed.
#[must_use]
pub fn spki_sha256(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let digest = digest(&SHA256, &parsed.subject_public_key_info());
    digest.as_ref().try_into().ok()
}

/// The peer's key is not one of those that were expected.
#[derive(Debug, thiserror::Error)]
#[error("the server's key is not the one expected (found sha256/{found})")]
pub(super) struct PinMismatch {
    found: String,
}

/// A TLS configuration that accepts only who gives this proof.
///
/// Each call starts an empty store of sessions: a resumed session skips the certificate, so
/// sessions must never outlive the proof under which they were made. No early data, which could be
/// replayed.
pub(super) fn client_config(proof: &PeerProof, sni: bool) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match proof {
        PeerProof::Spki(pins) => Arc::new(KeyVerifier::new(&provider, Expect::Pins(pins.clone()))),
        PeerProof::Dane { tlsa, name } => {
            let expect = Expect::Tlsa(tlsa.clone(), name.clone());
            Arc::new(KeyVerifier::new(&provider, expect))
        }
        PeerProof::Pkix { name, roots } => Arc::new(pkix(&provider, name, roots, None)?),
        PeerProof::Both { pins, name, roots } => {
            Arc::new(pkix(&provider, name, roots, Some(pins.clone()))?)
        }
        PeerProof::Anyone => Arc::new(KeyVerifier::new(&provider, Expect::Anything)),
    };
    configure(provider, verifier, sni)
}

/// The same, for a protocol other than DNS over TLS (RFC 7301).
///
/// # Errors
/// The proof is nothing that TLS can check.
pub fn client_config_for(
    proof: &PeerProof,
    sni: bool,
    protocol: &[u8],
) -> Result<ClientConfig, Error> {
    let mut config = client_config(proof, sni)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// A TLS configuration that lets any server prove that it holds the key of its certificate, which
/// is judged afterwards. Nothing may be sent before that.
pub(super) fn observer_config(sni: bool) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(KeyVerifier::new(&provider, Expect::Anything));
    let mut config = configure(provider, verifier, sni)?;
    config.resumption = rustls::client::Resumption::disabled();
    config.send_ticket_request = None;
    Ok(config)
}

fn configure(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    sni: bool,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"dot".to_vec()];
    config.enable_sni = sni;
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::in_memory_sessions(SESSIONS);
    config.send_ticket_request = Some(TICKETS);
    Ok(config)
}

#[derive(Debug)]
enum Expect {
    Pins(Vec<[u8; 32]>),
    Tlsa(Vec<Tlsa>, ResolverName),
    Anything,
}

/// Judges the key alone.
#[derive(Debug)]
struct KeyVerifier {
    provider: Arc<CryptoProvider>,
    expect: Expect,
}

impl KeyVerifier {
    fn new(provider: &Arc<CryptoProvider>, expect: Expect) -> Self {
        Self {
            provider: Arc::clone(provider),
            expect,
        }
    }
}

fn check_pins(pins: &[[u8; 32]], certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let found =
        spki_sha256(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    if pins.contains(&found) {
        return Ok(());
    }
    Err(other(PinMismatch {
        found: data_encoding::BASE64.encode(&found),
    }))
}

fn other(reason: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.expect {
            Expect::Pins(pins) => check_pins(pins, end_entity)?,
            Expect::Tlsa(tlsa, name) => {
                let chain = std::iter::once(end_entity).chain(intermediates);
                let chain = chain.map(|certificate| certificate.clone().into_owned());
                let peer = PeerCertificates(chain.collect());
                let clock = zzdot_zonegen::clock::UnixTime(now.as_secs());
                peer_named_by(tlsa, &peer, name, clock).map_err(other)?;
            }
            Expect::Anything => {}
        }
        Ok(ServerCertVerified::assertion())
    }

    // The key is worth nothing unless the peer shows that it holds the private half.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Judges chain, name and dates as the web does, and the key where pins are given too.
#[derive(Debug)]
struct PkixVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
    pins: Option<Vec<[u8; 32]>>,
}

fn pkix(
    provider: &Arc<CryptoProvider>,
    name: &ServerName<'static>,
    roots: &Arc<RootCertStore>,
    pins: Option<Vec<[u8; 32]>>,
) -> Result<PkixVerifier, Error> {
    let webpki =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
    Ok(PkixVerifier {
        webpki,
        name: name.clone(),
        pins,
    })
}

impl ServerCertVerifier for PkixVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(pins) = &self.pins {
            check_pins(pins, end_entity)?;
        }
        // The name that has to be proven is not always the one that is sent in clear.
        self.webpki
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
