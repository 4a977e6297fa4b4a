//! A resumed session shows no certificate: it must never come from another proof than the one that holds now.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, HandshakeKind, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::super::proof::{PeerProof, client_config, observer_config, spki_sha256};
use crate::tls::provider::provider;
use crate::tls::session::{ClientSession, ServerSession, TlsFailure};

/// A resolver with a key of its own, and the proof that it is the one.
fn resolver(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, PeerProof) {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["a.zz".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = parameters.self_signed(&key).unwrap().into();
    let proof = PeerProof::Spki(vec![spki_sha256(&certificate).unwrap()]);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    server.alpn_protocols = vec![b"dot".to_vec()];
    server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    server.send_tls13_tickets = 1;
    server.max_tls13_tickets = 4;
    (Arc::new(server), proof)
}

/// A connection from its first word on.
struct Meeting {
    client: ClientSession,
    server: ServerSession,
    to_server: Vec<u8>,
}

impl Meeting {
    fn begin(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Self {
        let name = ServerName::try_from("192.0.2.1").unwrap();
        let mut client = ClientSession::new(Arc::clone(client), name).unwrap();
        let mut to_server = Vec::new();
        let _ = client
            .advance(&mut [], &mut Vec::new(), &mut to_server)
            .unwrap();
        Self {
            client,
            server: ServerSession::new(Arc::clone(server)).unwrap(),
            to_server,
        }
    }

    /// Until there is nothing more to say, tickets included.
    fn end(mut self) -> Result<HandshakeKind, TlsFailure> {
        let (mut to_client, mut plain) = (Vec::new(), Vec::new());
        while !self.to_server.is_empty() {
            let heard = &mut self.to_server;
            let _ = self.server.advance(heard, &mut plain, &mut to_client)?;
            heard.clear();
            let _ = self.client.advance(&mut to_client, &mut plain, heard)?;
            to_client.clear();
        }
        Ok(self.client.handshake_kind().unwrap())
    }
}

fn meet(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<HandshakeKind, TlsFailure> {
    Meeting::begin(client, server).end()
}

fn is_about_trust(outcome: &Result<HandshakeKind, TlsFailure>) -> bool {
    matches!(outcome, Err(TlsFailure::Tls(Error::InvalidCertificate(_))))
}

#[test]
fn the_same_proof_resumes_again_and_again() {
    for version in [&TLS13, &TLS12] {
        let (server, proof) = resolver(version);
        let client = Arc::new(client_config(&proof, false).unwrap());
        assert_eq!(meet(&client, &server), Ok(HandshakeKind::Full));
        for _ in 0..20 {
            assert_eq!(meet(&client, &server), Ok(HandshakeKind::Resumed));
        }
    }
}

#[test]
fn a_second_connection_beside_the_first_resumes_too() {
    let (server, proof) = resolver(&TLS13);
    let client = Arc::new(client_config(&proof, false).unwrap());
    meet(&client, &server).unwrap();
    for _ in 0..5 {
        let (one, other) = (
            Meeting::begin(&client, &server),
            Meeting::begin(&client, &server),
        );
        assert_eq!(one.end(), Ok(HandshakeKind::Resumed));
        assert_eq!(other.end(), Ok(HandshakeKind::Resumed));
    }
}

#[test]
fn a_session_made_under_one_proof_is_worth_nothing_under_another() {
    for version in [&TLS13, &TLS12] {
        let (server, proof) = resolver(version);
        let before = Arc::new(client_config(&proof, false).unwrap());
        meet(&before, &server).unwrap();
        // The zone names another key now; the server still has the old one, and would resume.
        let (_, other) = resolver(version);
        let after = Arc::new(client_config(&other, false).unwrap());
        let outcome = meet(&after, &server);
        assert!(is_about_trust(&outcome), "{outcome:?}");
    }
}

#[test]
fn nobody_else_can_resume_in_the_place_of_the_resolver() {
    for version in [&TLS13, &TLS12] {
        let (server, proof) = resolver(version);
        let (impostor, _) = resolver(version);
        let client = Arc::new(client_config(&proof, false).unwrap());
        meet(&client, &server).unwrap();
        let outcome = meet(&client, &impostor);
        assert!(is_about_trust(&outcome), "{outcome:?}");
    }
}

#[test]
fn who_only_looks_leaves_nothing_to_resume() {
    for version in [&TLS13, &TLS12] {
        let (server, _) = resolver(version);
        let observer = Arc::new(observer_config(false).unwrap());
        for _ in 0..3 {
            assert_eq!(meet(&observer, &server), Ok(HandshakeKind::Full));
        }
    }
}
