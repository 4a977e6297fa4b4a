#![allow(clippy::unwrap_used)]
use std::net::Ipv4Addr;

use tokio::net::TcpListener;
use zzdot_client::dot::{PeerProof, client_config_for};

use super::*;

#[tokio::test]
async fn a_handshake_goes_on_when_who_began_it_waits_no_longer() {
    // It takes connections and says nothing.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let path = "/dns-query".to_owned();
    let protocol = Protocol::Https { path };
    let proof = PeerProof::Spki(vec![[0; 32]]);
    let tls = client_config_for(&proof, false, protocol.alpn()).unwrap();
    let name = ServerName::IpAddress(address.ip().into());
    let server = Streamed::new(address, name, &protocol, tls).unwrap();
    let flags = wire::QuestionFlags::default();
    let name = hickory_proto::rr::Name::root();
    let query = wire::question(1, &name, hickory_proto::rr::RecordType::NS, flags, None);
    for _ in 0..3 {
        // As if another upstream had answered meanwhile.
        let soon = Instant::now() + Duration::from_millis(40);
        let answer = server.ask(&query, soon).await;
        assert!(matches!(answer, Err(ResolveError::TimedOut)), "{answer:?}");
    }
    let accepting = async || timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(accepting().await.is_ok());
    assert!(accepting().await.is_err(), "one handshake for all of them");
}
