//! Sessions and suites as clients see them.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, client::TicketRequest};
use tempfile::tempdir;
use tokio::net::TcpStream;
use zzdot::{
    counters::Event,
    listen::Limits,
    tls::{Tickets, server_config},
};
use zzdot_zonegen::{clock::UnixTime, identity::Identity};

use crate::support::{Client, Running, client_config, identity, query, run, soon, start};

async fn visit(running: &Running, identity: &Identity, config: &Arc<ClientConfig>) -> u32 {
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let stream = TcpStream::connect(running.dot).await.unwrap();
    let name = identity.name().to_string().try_into().unwrap();
    let mut client = Client(soon(connector.connect(name, stream)).await.unwrap());
    client.ask(&query(1, "www.example.")).await;
    client.0.get_ref().1.tls13_tickets_received()
}

/// As after a start with the keys in this file.
fn restart(running: &Running, identity: &Identity, keys: &Path) {
    let tickets = Tickets::open(keys, identity.spki_sha256(), UnixTime::now()).unwrap();
    let config = server_config(vec![identity.certificate()], identity.tls_key(), tickets);
    running.tls.store(Arc::new(config.unwrap()));
}

#[tokio::test]
async fn sessions_are_resumed_after_a_restart_and_not_by_another_identity() {
    let running = start(Limits::default());
    let folder = tempdir().unwrap();
    let keys = folder.path().join("tickets.keys");
    let ours = Arc::clone(&running.identity);
    let client = Arc::new(client_config(&ours));
    for resumed in 0..3 {
        restart(&running, &ours, &keys);
        visit(&running, &ours, &client).await;
        assert_eq!(running.counters.value(Event::TlsResumed), resumed);
    }
    // Somebody restored the file beside another key.
    let other = identity();
    restart(&running, &other, &keys);
    let stream = TcpStream::connect(running.dot).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(client);
    let name = ours.name().to_string().try_into().unwrap();
    assert!(soon(connector.connect(name, stream)).await.is_err());
    visit(&running, &other, &Arc::new(client_config(&other))).await;
    assert_eq!(running.counters.value(Event::TlsResumed), 2);
}

#[tokio::test]
async fn a_client_gets_one_ticket_or_as_many_as_it_asks_for_within_reason() {
    let running = start(Limits::default());
    for (wanted, given) in [(None, 1), (Some(0), 0), (Some(2), 2), (Some(255), 4)] {
        let mut client = client_config(&running.identity);
        client.send_ticket_request = wanted.map(|count| TicketRequest {
            new_session_count: count,
            resumption_count: count,
        });
        let received = visit(&running, &running.identity, &Arc::new(client)).await;
        assert_eq!(received, given, "{wanted:?}");
    }
}

#[tokio::test]
async fn the_cheapest_suite_is_taken_whatever_the_client_prefers() {
    let running = start(Limits::default());
    let server = running.dot.to_string();
    for (option, suites, taken) in [
        (
            "-ciphersuites",
            "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
            ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"],
        ),
        (
            "-cipher",
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
            [
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ],
        ),
        // Whoever has no other gets what it has.
        (
            "-ciphersuites",
            "TLS_AES_256_GCM_SHA384",
            ["TLS_AES_256_GCM_SHA384"; 2],
        ),
    ] {
        let version = if option == "-cipher" {
            "-tls1_2"
        } else {
            "-tls1_3"
        };
        let arguments = ["s_client", "-connect", &server, version, option, suites];
        let output = run("openssl", "openssl", &arguments).await;
        let said = String::from_utf8_lossy(&output.stdout);
        // Without instructions for AES it is ChaCha20.
        let found = taken
            .iter()
            .any(|suite| said.contains(&format!("Cipher is {suite}")));
        assert!(found, "{suites}: {said}");
    }
}
