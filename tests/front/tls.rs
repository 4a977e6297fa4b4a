//! DNS over TLS, as other people's programs speak it.

use std::{net::SocketAddr, sync::Arc};

use tempfile::tempdir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zzdot::{counters::Event, listen::Limits, tls::server_config};

use crate::support::{
    Running, assert_answers, connect_tls, framed, identity, query, run, soon, start, tickets,
};

/// What `openssl s_client` says about a handshake.
async fn s_client(server: SocketAddr, arguments: &[&str]) -> String {
    let server = server.to_string();
    let arguments = [&["s_client", "-connect", &server], arguments].concat();
    let output = run("openssl", "openssl", &arguments).await;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

async fn kdig(server: SocketAddr, arguments: &[&str]) -> String {
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    let at = [&format!("@{host}"), "-p", &port, "+timeout=10"];
    let output = run("kdig", "knot-dnsutils", &[&at, arguments].concat()).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test]
async fn openssl_gets_the_right_certificate_with_any_name_or_none() {
    let running = start(Limits::default());
    let name = running.identity.name().to_string();
    for version in ["-tls1_3", "-tls1_2"] {
        for sni in [
            &["-servername", name.as_str()][..],
            &["-servername", "another.example"],
            &["-noservername"],
        ] {
            let said = s_client(running.dot, &[&[version, "-alpn", "dot"], sni].concat()).await;
            let subject = said.lines().find(|line| line.starts_with("subject="));
            assert!(subject.is_some(), "{version} {sni:?}: {said}");
            assert!(
                said.contains("ALPN protocol: dot"),
                "{version} {sni:?}: {said}"
            );
            let pem = said
                .split_inclusive("-----END CERTIFICATE-----")
                .next()
                .and_then(|text| text.split_once("-----BEGIN CERTIFICATE-----"))
                .map(|(_, body)| {
                    body.replace("-----END CERTIFICATE-----", "")
                        .replace('\n', "")
                })
                .unwrap();
            let der = data_encoding::BASE64.decode(pem.as_bytes()).unwrap();
            assert_eq!(der, running.identity.certificate().as_ref());
        }
    }
}

#[tokio::test]
async fn openssl_prefers_tls_1_3_and_is_refused_what_is_older_than_1_2() {
    let running = start(Limits::default());
    assert!(s_client(running.dot, &[]).await.contains("TLSv1.3"));
    let old = s_client(running.dot, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).await;
    assert!(old.contains("Cipher is (NONE)"), "{old}");
    running.counted(Event::TlsBroken, 1).await;
}

#[tokio::test]
async fn openssl_without_alpn_is_served_and_with_another_one_is_not() {
    let running = start(Limits::default());
    let none = s_client(running.dot, &[]).await;
    assert!(
        none.contains("No ALPN negotiated") && none.contains("TLSv1.3"),
        "{none}"
    );
    let other = s_client(running.dot, &["-alpn", "h2"]).await;
    assert!(other.contains("no application protocol"), "{other}");
}

#[tokio::test]
async fn openssl_resumes_its_sessions() {
    let running = start(Limits::default());
    let folder = tempdir().unwrap();
    let file = folder.path().join("session");
    let file = file.to_str().unwrap();
    // -sess_out writes the last ticket seen before the end: a TLS 1.2 ticket is in the handshake.
    let first = s_client(running.dot, &["-tls1_2", "-sess_out", file]).await;
    assert!(first.contains("New, TLSv1.2"), "{first}");
    let second = s_client(running.dot, &["-tls1_2", "-sess_in", file]).await;
    assert!(second.contains("Reused, TLSv1.2"), "{second}");
    running.counted(Event::TlsResumed, 1).await;
}

#[tokio::test]
async fn tls_1_3_resumes_and_rolls_its_keys() {
    let running = start(Limits::default());
    let config = Arc::new(crate::support::client_config(&running.identity));
    let connector = tokio_rustls::TlsConnector::from(config);
    let name = running.identity.name().to_string();
    for resumed in [0, 1] {
        let stream = TcpStream::connect(running.dot).await.unwrap();
        let name = name.clone().try_into().unwrap();
        let stream = soon(connector.connect(name, stream)).await.unwrap();
        let mut client = crate::support::Client(stream);
        for id in 0..5 {
            let one = query(id, "www.example.");
            assert_answers(&one, &client.ask(&one).await);
            client.0.get_mut().1.refresh_traffic_keys().unwrap();
        }
        assert_eq!(running.counters.value(Event::TlsResumed), resumed);
    }
}

#[tokio::test]
async fn kdig_is_padded_kept_alive_and_given_a_cookie_on_tls_alone() {
    let running = start(Limits::default());
    let asks = [
        "+padding",
        "+keepopen",
        "+ednsopt=11",
        "+cookie=0123456789abcdef",
        "www.example.",
    ];
    let tls = kdig(running.dot, &[&["+tls"][..], &asks].concat()).await;
    assert!(tls.contains("192.0.2.1"), "{tls}");
    assert!(tls.contains("PADDING"), "{tls}");
    assert!(tls.contains("Received 468 B"), "{tls}");
    // 120 s in units of 100 ms; this kdig has no name for the option.
    assert!(tls.contains("Option (11): 04B0"), "{tls}");
    assert!(tls.contains("0123456789ABCDEF"), "{tls}");
    for cleartext in [&["+tcp"][..], &[]] {
        let said = kdig(running.dns, &[cleartext, &asks].concat()).await;
        assert!(said.contains("192.0.2.1"), "{said}");
        assert!(!said.contains("PADDING"), "{said}");
        assert_eq!(
            said.contains("Option (11): 04B0"),
            !cleartext.is_empty(),
            "{said}"
        );
    }
}

#[tokio::test]
async fn cleartext_on_the_port_of_tls_is_closed_unanswered_and_counted() {
    let running = start(Limits::default());
    let mut stream = TcpStream::connect(running.dot).await.unwrap();
    let one = query(1, "www.example.");
    let octets = framed(&one);
    stream.write_all(&octets).await.unwrap();
    let mut buffer = [0; 64];
    assert!(matches!(
        soon(stream.read(&mut buffer)).await,
        Ok(0) | Err(_)
    ));
    running.counted(Event::TlsCleartext, 1).await;
    assert_eq!(running.counters.value(Event::Answered), 0);
}

#[tokio::test]
async fn broken_tls_is_closed_and_counted() {
    let running = start(Limits::default());
    let mut stream = TcpStream::connect(running.dot).await.unwrap();
    stream
        .write_all(&[22, 3, 1, 0, 4, 99, 0, 0, 0])
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    running.counted(Event::TlsBroken, 1).await;

    // Garbage in the middle of a conversation that was sound.
    let mut client = running.tls().await;
    let one = query(1, "www.example.");
    client.ask(&one).await;
    let mut below = client.0.into_inner().0;
    below.write_all(&[23, 3, 3, 0, 32]).await.unwrap();
    below.write_all(&[0; 32]).await.unwrap();
    let _ = soon(below.read_to_end(&mut rest)).await;
    running.counted(Event::TlsBroken, 2).await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let running: Running = start(Limits::default());
    let mut old = running.tls().await;
    let next = identity();
    let config = server_config(vec![next.certificate()], next.tls_key(), tickets()).unwrap();
    running.tls.store(Arc::new(config));
    assert!(connect_tls(running.dot, &running.identity).await.is_err());
    connect_tls(running.dot, &next).await.unwrap();
    let one = query(1, "www.example.");
    assert_answers(&one, &old.ask(&one).await);
}
