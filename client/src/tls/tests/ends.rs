//! Two ends of a connection in memory, ours or rustls' buffered ones.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};

use crate::tls::provider::provider;
use crate::tls::session::{ClientSession, ServerSession, TlsFailure};

/// What a test needs of an end.
pub(super) trait End {
    /// Takes what came; what is left of it stays in `kept`.
    fn hear(&mut self, kept: &mut Vec<u8>) -> Result<(), TlsFailure>;
    fn say(&mut self, plain: &[u8]);
    /// What is to be sent since the last call.
    fn sent(&mut self) -> Vec<u8>;
    fn heard(&self) -> &[u8];
    fn ready(&self) -> bool;
}

macro_rules! ours {
    ($name:ident, $session:ty) => {
        pub(super) struct $name {
            pub(super) session: $session,
            pub(super) plain: Vec<u8>,
            pub(super) outgoing: Vec<u8>,
            pub(super) completions: usize,
        }

        impl $name {
            pub(super) fn with(session: $session) -> Self {
                Self {
                    session,
                    plain: Vec::new(),
                    outgoing: Vec::new(),
                    completions: 0,
                }
            }
        }

        impl End for $name {
            fn hear(&mut self, kept: &mut Vec<u8>) -> Result<(), TlsFailure> {
                let progress = self
                    .session
                    .advance(kept, &mut self.plain, &mut self.outgoing)?;
                self.completions += usize::from(progress.completed);
                kept.drain(..progress.taken);
                Ok(())
            }

            fn say(&mut self, plain: &[u8]) {
                self.session.seal(plain, &mut self.outgoing).unwrap();
            }

            fn sent(&mut self) -> Vec<u8> {
                std::mem::take(&mut self.outgoing)
            }

            fn heard(&self) -> &[u8] {
                &self.plain
            }

            fn ready(&self) -> bool {
                !self.session.is_handshaking()
            }
        }
    };
}

ours!(OurServer, ServerSession);
ours!(OurClient, ClientSession);

/// rustls' own, as the judge of ours.
pub(super) struct Theirs {
    pub(super) connection: rustls::Connection,
    plain: Vec<u8>,
}

impl Theirs {
    fn with(connection: rustls::Connection) -> Self {
        Self {
            connection,
            plain: Vec::new(),
        }
    }
}

impl End for Theirs {
    fn hear(&mut self, kept: &mut Vec<u8>) -> Result<(), TlsFailure> {
        let mut rest = kept.as_slice();
        while !rest.is_empty() {
            if self.connection.read_tls(&mut rest).unwrap() == 0 {
                break;
            }
            let state = self.connection.process_new_packets()?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.connection.reader().read_exact(&mut plain).unwrap();
            self.plain.extend(plain);
        }
        kept.clear();
        Ok(())
    }

    fn say(&mut self, plain: &[u8]) {
        self.connection.writer().write_all(plain).unwrap();
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut out).unwrap();
        }
        out
    }

    fn heard(&self) -> &[u8] {
        &self.plain
    }

    fn ready(&self) -> bool {
        !self.connection.is_handshaking()
    }
}

/// An end and what it has been sent but could not use yet.
pub(super) struct Side<E> {
    pub(super) end: E,
    pub(super) kept: Vec<u8>,
}

impl<E: End> Side<E> {
    pub(super) fn of(end: E) -> Self {
        Self {
            end,
            kept: Vec::new(),
        }
    }

    /// Delivers in pieces of the lengths that `cut` says.
    pub(super) fn hear(
        &mut self,
        mut bytes: &[u8],
        cut: &mut dyn FnMut() -> usize,
    ) -> Result<(), TlsFailure> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(cut().clamp(1, bytes.len()));
            self.kept.extend_from_slice(now);
            self.end.hear(&mut self.kept)?;
            bytes = later;
        }
        Ok(())
    }
}

/// Carries octets both ways until nobody has anything more to say.
pub(super) fn settle<A: End, B: End>(
    a: &mut Side<A>,
    b: &mut Side<B>,
    cut: &mut dyn FnMut() -> usize,
) -> Result<(), TlsFailure> {
    loop {
        let (from_a, from_b) = (a.end.sent(), b.end.sent());
        if from_a.is_empty() && from_b.is_empty() {
            return Ok(());
        }
        b.hear(&from_a, cut)?;
        a.hear(&from_b, cut)?;
    }
}

pub(super) fn whole() -> impl FnMut() -> usize {
    || usize::MAX
}

pub(super) struct Configs {
    pub(super) server: ServerConfig,
    pub(super) client: ClientConfig,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

pub(super) fn configs(version: &'static SupportedProtocolVersion) -> Configs {
    configs_with(version, provider(), provider())
}

pub(super) fn configs_with(
    version: &'static SupportedProtocolVersion,
    of_server: Arc<CryptoProvider>,
    of_client: Arc<CryptoProvider>,
) -> Configs {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["resolver.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let certificate = certificate.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(of_server)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.clone_key())
        .unwrap();
    server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    server.alpn_protocols = vec![b"dot".to_vec()];
    let mut client = ClientConfig::builder_with_provider(of_client)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Only(certificate.clone())))
        .with_no_client_auth();
    client.alpn_protocols = vec![b"dot".to_vec()];
    Configs {
        server,
        client,
        certificate,
        key,
    }
}

impl Configs {
    pub(super) fn name() -> ServerName<'static> {
        ServerName::try_from("resolver.example").unwrap()
    }

    pub(super) fn our_server(&self) -> Side<OurServer> {
        let session = ServerSession::new(Arc::new(self.server.clone())).unwrap();
        Side::of(OurServer::with(session))
    }

    pub(super) fn our_client(&self) -> Side<OurClient> {
        let mut client = OurClient::with(
            ClientSession::new(Arc::new(self.client.clone()), Self::name()).unwrap(),
        );
        client.hear(&mut Vec::new()).unwrap();
        Side::of(client)
    }

    pub(super) fn their_server(&self) -> Side<Theirs> {
        let connection = ServerConnection::new(Arc::new(self.server.clone())).unwrap();
        Side::of(Theirs::with(connection.into()))
    }

    pub(super) fn their_client(&self) -> Side<Theirs> {
        let connection =
            ClientConnection::new(Arc::new(self.client.clone()), Self::name()).unwrap();
        Side::of(Theirs::with(connection.into()))
    }
}

/// Accepts one certificate.
#[derive(Debug)]
struct Only(CertificateDer<'static>);

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        assert_eq!(*end_entity, self.0);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
