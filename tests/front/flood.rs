//! Five thousand connections that want no good, in ten manners, from the good client's own address.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::rr::RecordType;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use zzdot::{
    counters::Event,
    listen::{Inherited, Limits},
};
use zzdot_zonegen::identity::Identity;

use crate::support::{
    Client, Running, ask_udp, assert_answers, client_config, connect_tls, framed, query, soon,
    start, start_workers, typed_query,
};

const A_MANNER: usize = 500;

#[derive(Debug, Clone, Copy)]
enum Manner {
    SilentTcp,
    SilentBeforeTls,
    HalfAClientHello,
    SilentAfterTls,
    OctetByOctet,
    LengthAlone,
    AsksAndNeverReads,
    AsksSlowlyAndLeaves,
    Garbage,
    CleartextOnTls,
}

const MANNERS: [Manner; 10] = [
    Manner::SilentTcp,
    Manner::SilentBeforeTls,
    Manner::HalfAClientHello,
    Manner::SilentAfterTls,
    Manner::OctetByOctet,
    Manner::LengthAlone,
    Manner::AsksAndNeverReads,
    Manner::AsksSlowlyAndLeaves,
    Manner::Garbage,
    Manner::CleartextOnTls,
];

/// Misbehaves until the server has had enough.
async fn misbehave(
    manner: Manner,
    dns: SocketAddr,
    dot: SocketAddr,
    identity: &Identity,
) -> std::io::Result<()> {
    let server = match manner {
        Manner::SilentTcp
        | Manner::OctetByOctet
        | Manner::LengthAlone
        | Manner::AsksAndNeverReads
        | Manner::AsksSlowlyAndLeaves => dns,
        _ => dot,
    };
    if let Manner::SilentAfterTls = manner {
        return hold(connect_tls(server, identity).await?).await;
    }
    let mut stream = TcpStream::connect(server).await?;
    match manner {
        Manner::SilentTcp | Manner::SilentBeforeTls | Manner::SilentAfterTls => {}
        Manner::HalfAClientHello => stream.write_all(&[22, 3, 1, 2, 0, 1, 0]).await?,
        Manner::OctetByOctet => {
            for octet in framed(&query(1, "www.example.")) {
                stream.write_all(&[octet]).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Manner::LengthAlone => stream.write_all(&[0xFF, 0xFF]).await?,
        Manner::AsksAndNeverReads => {
            let long = typed_query(1, "long.example.", RecordType::TXT, None);
            loop {
                stream.write_all(&framed(&long)).await?;
            }
        }
        Manner::AsksSlowlyAndLeaves => {
            return stream.write_all(&framed(&query(1, "never.example."))).await;
        }
        Manner::Garbage => stream.write_all(&[22; 3000]).await?,
        Manner::CleartextOnTls => stream.write_all(&framed(&query(1, "www.example."))).await?,
    }
    hold(stream).await
}

/// Keeps the connection until the server ends it.
async fn hold(mut stream: impl AsyncRead + Unpin) -> std::io::Result<()> {
    stream.read_to_end(&mut Vec::new()).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_bad_connections_leave_a_good_client_served() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(
        hard >= 11_000,
        "both ends of 5,000 connections need 11,000 descriptors, {hard} are allowed: ulimit -Hn"
    );
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let running = start(Limits::default());
    let one = query(1, "www.example.");
    let mut old = running.tls().await;
    for _ in 0..8 {
        assert_answers(&one, &old.ask(&one).await);
    }

    let mut flood = JoinSet::new();
    let (dns, dot) = (running.dns, running.dot);
    for number in 0..A_MANNER * MANNERS.len() {
        let manner = MANNERS[number % MANNERS.len()];
        let identity = Arc::clone(&running.identity);
        flood.spawn(async move {
            // Errors are the server's right.
            let _ = misbehave(manner, dns, dot, &identity).await;
        });
        if number % 100 == 0 {
            serve_the_good(&running, &mut old, &one).await;
        }
    }
    for _ in 0..50 {
        serve_the_good(&running, &mut old, &one).await;
    }
    assert!(running.front.status().connections <= Limits::default().connections_per_address);
    assert!(running.counters.value(Event::ConnectionsAddress) > 1000);
    flood.abort_all();
    while flood.join_next().await.is_some() {}
    drop(old);
    running
        .until("no connection", || running.front.status().connections == 0)
        .await;
}

/// The good client asks on UDP, on a new connection and on its old one.
async fn serve_the_good(
    running: &Running,
    old: &mut Client<tokio_rustls::client::TlsStream<TcpStream>>,
    one: &[u8],
) {
    assert_answers(one, &ask_udp(running.dns, one).await);
    assert_answers(one, &old.ask(one).await);
    assert_answers(one, &ask_anew(running, one).await);
}

/// Asks on a new connection. Until its handshake is over on both sides it may be the one of the
/// flood's own address that makes room; then the client comes again, as clients do.
async fn ask_anew(running: &Running, one: &[u8]) -> Vec<u8> {
    let attempt = async || -> std::io::Result<Vec<u8>> {
        let mut stream = connect_tls(running.dot, &running.identity).await?;
        stream.write_all(&framed(one)).await?;
        stream.flush().await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    for _ in 0..20 {
        if let Ok(answer) = soon(attempt()).await {
            return answer;
        }
    }
    panic!("sent away twenty times in a row");
}

/// The first words of a client that will say no more.
fn client_hello(identity: &Identity) -> Vec<u8> {
    let config = Arc::new(client_config(identity));
    let name = identity.name().to_string().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Without a queue for handshakes the good client's question comes after all of them.
#[tokio::test]
async fn a_flood_of_handshakes_waits_for_who_has_shaken_hands() {
    const HANDSHAKES: usize = 1000;
    let limits = Limits {
        connections_per_address: 2 * HANDSHAKES,
        handshake: Duration::from_secs(600),
        ..Limits::default()
    };
    let here = vec!["127.0.0.1:0".parse().unwrap()];
    let running = start_workers(1, here, Inherited::default(), limits);
    let one = query(1, "x.zz.");
    let mut old = running.tls().await;
    old.ask(&one).await;
    let hello = client_hello(&running.identity);
    let mut flood = Vec::new();
    for _ in 0..HANDSHAKES {
        flood.push(TcpStream::connect(running.dot).await.unwrap());
    }
    running
        .until("every connection", || {
            running.front.status().connections > HANDSHAKES
        })
        .await;
    for stream in &flood {
        assert_eq!(stream.try_write(&hello).unwrap(), hello.len());
    }
    for _ in 0..3 {
        old.ask(&one).await;
    }
    let mut first = [0];
    let greeted = |stream: &&TcpStream| stream.try_read(&mut first).is_ok();
    let before_the_good = flood.iter().filter(greeted).count();
    assert!(
        before_the_good < HANDSHAKES / 2,
        "{before_the_good} handshakes before three questions"
    );
    // None of them is forgotten.
    for stream in flood {
        let mut read = [0];
        soon(stream.readable()).await.unwrap();
        let _ = stream.try_read(&mut read);
    }
}
