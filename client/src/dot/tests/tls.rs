//! Who is believed: real handshakes in memory, with certificates made on the spot.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::super::connect::{ConnectError, handshake, now};
use super::super::proof::{PeerProof, client_config, spki_sha256};

struct Host {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

fn host(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Host {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    Host { certificate, key }
}

#[derive(Debug)]
struct Serve {
    key: Arc<CertifiedKey>,
    asked_for: mpsc::UnboundedSender<Option<String>>,
}

impl ResolvesServerCert for Serve {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let _ = self.asked_for.send(hello.server_name().map(str::to_owned));
        Some(Arc::clone(&self.key))
    }
}

/// Shakes hands; gives back the outcome and the name that was sent in clear.
async fn meet(
    certificate: &CertificateDer<'static>,
    key: &KeyPair,
    proof: &PeerProof,
    sni: Option<&str>,
) -> (Result<(), ConnectError>, Option<String>) {
    let provider = rustls::crypto::ring::default_provider();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let (asked_for, mut heard) = mpsc::unbounded_channel();
    let serve = Serve {
        key: Arc::new(CertifiedKey::new(vec![certificate.clone()], key)),
        asked_for,
    };
    let mut server = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(serve));
    server.alpn_protocols = vec![b"dot".to_vec()];
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let serving = tokio::spawn(async move {
        let _ = TlsAcceptor::from(Arc::new(server)).accept(theirs).await;
    });
    let name = match sni {
        Some(name) => ServerName::try_from(name.to_owned()).unwrap(),
        None => ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
    };
    let config = Arc::new(client_config(proof, sni.is_some()).unwrap());
    let deadline = now() + Duration::from_secs(20);
    let outcome = handshake(address(), config, name, &mut ours, deadline).await;
    if let Ok((session, _)) = &outcome {
        assert_eq!(session.alpn(), Some(&b"dot"[..]));
    }
    serving.await.unwrap();
    (outcome.map(drop), heard.recv().await.unwrap())
}

fn address() -> std::net::SocketAddr {
    "192.0.2.1:853".parse().unwrap()
}

fn pinned(host: &Host) -> PeerProof {
    PeerProof::Spki(vec![[0; 32], spki_sha256(&host.certificate).unwrap()])
}

fn roots(host: &Host) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(host.certificate.clone()).unwrap();
    Arc::new(roots)
}

#[tokio::test]
async fn the_pinned_key_is_enough_whatever_name_and_dates_the_certificate_has() {
    let expired = host(&["someone.else.example"], |params| {
        params.not_before = rcgen::date_time_ymd(1999, 1, 1);
        params.not_after = rcgen::date_time_ymd(2000, 1, 1);
    });
    let (outcome, sni) = meet(&expired.certificate, &expired.key, &pinned(&expired), None).await;
    outcome.unwrap();
    assert_eq!(sni, None, "no name in clear");
}

#[tokio::test]
async fn the_digest_is_that_of_the_subject_public_key_info() {
    let host = host(&["a.zz"], |_| {});
    let expected = ring::digest::digest(&ring::digest::SHA256, &host.key.subject_public_key_info());
    assert_eq!(spki_sha256(&host.certificate).unwrap(), expected.as_ref());
    assert_eq!(spki_sha256(&CertificateDer::from(vec![0x30, 0])), None);
}

#[tokio::test]
async fn a_tlsa_record_is_as_good_as_a_pin_and_as_strict() {
    let (real, impostor) = (host(&["a.zz"], |_| {}), host(&["a.zz"], |_| {}));
    let digest = data_encoding::HEXLOWER.encode(&spki_sha256(&real.certificate).unwrap());
    let proof = PeerProof::Dane {
        tlsa: vec![format!("3 1 1 {digest}").parse().unwrap()],
        name: "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap(),
    };
    let (outcome, sni) = meet(&real.certificate, &real.key, &proof, None).await;
    outcome.unwrap();
    assert_eq!(sni, None);
    let (outcome, _) = meet(&impostor.certificate, &impostor.key, &proof, None).await;
    assert!(outcome.unwrap_err().is_about_trust());
}

#[tokio::test]
async fn another_key_is_refused_and_told_as_such() {
    let (real, impostor) = (host(&["a.zz"], |_| {}), host(&["a.zz"], |_| {}));
    let (outcome, _) = meet(&impostor.certificate, &impostor.key, &pinned(&real), None).await;
    match outcome.unwrap_err() {
        ConnectError::Untrusted { reason, .. } => assert!(reason.contains("sha256/"), "{reason}"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_certificate_without_its_key_is_worth_nothing() {
    let (real, thief) = (host(&["a.zz"], |_| {}), host(&["a.zz"], |_| {}));
    let (outcome, _) = meet(&real.certificate, &thief.key, &pinned(&real), None).await;
    outcome.unwrap_err();
}

/// An authority, and a host that it vouches for.
fn vouched(name: &str) -> (Host, Host) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap().der().clone();
    let key = KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(authority, &authority_key);
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap()
        .der()
        .clone();
    let host = Host { certificate, key };
    let authority = Host {
        certificate: authority_certificate,
        key: authority_key,
    };
    (authority, host)
}

#[tokio::test]
async fn a_vouched_name_is_checked_and_so_is_who_vouches() {
    let (authority, host) = vouched("dns.example");
    let proof = |name: &str, authority: &Host| PeerProof::Pkix {
        name: ServerName::try_from(name.to_owned()).unwrap(),
        roots: roots(authority),
    };
    let good = proof("dns.example", &authority);
    let (outcome, sni) = meet(&host.certificate, &host.key, &good, Some("dns.example")).await;
    outcome.unwrap();
    assert_eq!(sni.as_deref(), Some("dns.example"));
    let wrong_name = proof("dns.example.net", &authority);
    let (outcome, _) = meet(
        &host.certificate,
        &host.key,
        &wrong_name,
        Some("dns.example"),
    )
    .await;
    assert!(
        outcome.unwrap_err().is_about_trust(),
        "the proof's name counts, not the SNI"
    );
    let stranger = proof("dns.example", &vouched("x.example").0);
    let (outcome, _) = meet(&host.certificate, &host.key, &stranger, None).await;
    assert!(outcome.unwrap_err().is_about_trust());
}

#[tokio::test]
async fn both_proofs_are_needed_where_both_are_asked_for() {
    let (authority, host) = vouched("dns.example");
    let both = |pin: [u8; 32], authority: &Host| PeerProof::Both {
        pins: vec![pin],
        name: ServerName::try_from("dns.example").unwrap(),
        roots: roots(authority),
    };
    let pin = spki_sha256(&host.certificate).unwrap();
    let (outcome, _) = meet(&host.certificate, &host.key, &both(pin, &authority), None).await;
    outcome.unwrap();
    let (outcome, _) = meet(
        &host.certificate,
        &host.key,
        &both([1; 32], &authority),
        None,
    )
    .await;
    assert!(outcome.unwrap_err().is_about_trust());
    let stranger = vouched("dns.example").0;
    let (outcome, _) = meet(&host.certificate, &host.key, &both(pin, &stranger), None).await;
    assert!(outcome.unwrap_err().is_about_trust());
}

#[tokio::test]
async fn what_is_not_tls_is_a_failed_handshake_and_silence_a_late_one() {
    let host = host(&["a.zz"], |_| {});
    let config = Arc::new(client_config(&pinned(&host), false).unwrap());
    let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
    theirs
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let later = now() + Duration::from_secs(20);
    let error = handshake(
        address(),
        Arc::clone(&config),
        name.clone(),
        &mut ours,
        later,
    )
    .await
    .map(drop)
    .unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
    let (mut ours, _theirs) = tokio::io::duplex(1 << 16);
    let soon = now() + Duration::from_millis(50);
    let error = handshake(address(), config, name, &mut ours, soon)
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
}
