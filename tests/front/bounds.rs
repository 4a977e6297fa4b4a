//! What each limit does to those who reach it.

use std::{net::SocketAddr, time::Duration};

use hickory_proto::rr::RecordType;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use zzdot::{answer::access::AccessList, counters::Event, listen::Limits};

use crate::support::{
    Client, PATIENCE, assert_answers, framed, label, query, rcode, short, soon, start, typed_query,
};

const SOON: Duration = Duration::from_millis(200);

#[tokio::test]
async fn who_never_asks_is_let_go() {
    let running = start(never_asked());
    let mut tcp = running.tcp().await;
    let mut tls = running.tls().await;
    tcp.end().await.unwrap();
    // Ok and not UnexpectedEof: close_notify was said.
    tls.end().await.unwrap();
    assert_eq!(running.counters.value(Event::FirstQueryTime), 2);
}

#[tokio::test]
async fn who_asks_nothing_more_is_let_go_later_than_promised() {
    let running = start(Limits {
        idle: SOON,
        first_query: PATIENCE,
        ..Limits::default()
    });
    let mut client = running.tls().await;
    client.ask(&query(1, "www.example.")).await;
    client.end().await.unwrap();
    assert_eq!(running.counters.value(Event::IdleTime), 1);
}

#[tokio::test]
async fn a_query_that_trickles_in_runs_out_of_time_in_all() {
    let running = start(patient_at_first());
    let mut client = running.tcp().await;
    let one = query(1, "www.example.");
    let mut trickle = framed(&one).into_iter().cycle();
    client.ask(&one).await;
    // Each octet comes well within the limit; only their sum does not. The last is never sent.
    let mut sent = 0;
    while sent <= one.len() && running.counters.value(Event::ReadTime) == 0 {
        let octet = trickle.next().unwrap();
        if client.0.write_all(&[octet]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(SOON / 10).await;
    }
    running.counted(Event::ReadTime, 1).await;
}

#[tokio::test]
async fn who_does_not_take_the_answers_is_let_go() {
    let running = start(Limits {
        unsent_bytes_per_connection: 70_000,
        ..patient_at_first()
    });
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client(socket.connect(running.dns).await.unwrap());
    let long = typed_query(1, "long.example.", RecordType::TXT, None);
    let octets = framed(&long);
    // Many times what the kernel's buffers hold of the answers.
    let asking = async { while client.0.write_all(&octets.repeat(100)).await.is_ok() {} };
    tokio::select! {
        () = asking => {}
        () = running.counted(Event::WriteTime, 1) => {}
    }
    running.counted(Event::WriteTime, 1).await;
    assert!(running.counters.value(Event::UnsentConnection) >= 1);
}

#[tokio::test]
async fn a_connection_with_enough_in_flight_is_not_read_until_there_is_room() {
    let running = start(Limits {
        queries_per_connection: 3,
        ..Limits::default()
    });
    let mut client = running.tls().await;
    for id in 1..=3 {
        client.send(&query(id, "slow.example.")).await;
    }
    client.send(&query(4, "fast.example.")).await;
    running.counted(Event::QueriesConnection, 1).await;
    assert_eq!(running.counters.value(Event::TlsQuery), 3);
    // Others do not notice.
    let other = query(5, "other.example.");
    assert_answers(&other, &running.tls().await.ask(&other).await);
    running.release(1);
    let mut first = [
        label(&client.receive().await),
        label(&client.receive().await),
    ];
    first.sort();
    assert_eq!(first, ["fast", "slow"]);
}

#[tokio::test]
async fn one_address_cannot_take_every_place_of_the_connections_in_flight() {
    let running = start(Limits {
        stream_queries: 3,
        stream_queries_per_address: 2,
        ..Limits::default()
    });
    let mut greedy = running.tcp().await;
    for id in 1..=2 {
        greedy.send(&query(id, "slow.example.")).await;
    }
    let refused = greedy.ask(&query(3, "slow.example.")).await;
    assert_eq!((rcode(&refused), refused[1]), (2, 3));
    assert_eq!(running.counters.value(Event::StreamQueriesAddress), 1);
    let mut other = from("127.0.0.2", running.dns).await;
    assert_answers(&query(4, "fast."), &other.ask(&query(4, "fast.")).await);
    other.send(&query(5, "slow.example.")).await;
    running
        .until("three in flight", || {
            running.front.status().stream_queries == 3
        })
        .await;
    // Not what is in the cache already.
    assert_eq!(rcode(&other.ask(&query(6, "fast.again.")).await), 2);
    assert_eq!(running.counters.value(Event::StreamQueriesAll), 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_servfail_in_time() {
    let running = start(Limits {
        query: SOON,
        ..Limits::default()
    });
    let mut client = running.tls().await;
    assert_eq!(rcode(&client.ask(&query(1, "never.example.")).await), 2);
    assert_eq!(running.counters.value(Event::QueryTime), 1);
}

#[tokio::test]
async fn tls_that_does_not_come_about_in_time_is_let_go() {
    let running = start(short(SOON));
    let mut silent = TcpStream::connect(running.dot).await.unwrap();
    let mut stuck = TcpStream::connect(running.dot).await.unwrap();
    // The beginning of a ClientHello that announces more.
    stuck.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    running.counted(Event::HandshakeTime, 2).await;
    let mut buffer = [0; 64];
    for stream in [&mut silent, &mut stuck] {
        assert!(matches!(
            soon(stream.read(&mut buffer)).await,
            Ok(0) | Err(_)
        ));
    }
}

#[tokio::test]
async fn a_stranger_is_let_go_before_a_word_of_tls() {
    let running = start(Limits::default());
    let only = vec!["127.0.0.1/32".parse().unwrap()];
    running.responder.replace_access(AccessList::new(only));
    for server in [running.dns, running.dot] {
        let mut stranger = from("127.0.0.2", server).await;
        let _ = stranger.0.write_all(&[22, 3, 1]).await;
        let mut buffer = [0; 64];
        assert!(matches!(
            soon(stranger.0.read(&mut buffer)).await,
            Ok(0) | Err(_)
        ));
    }
    assert_eq!(running.counters.value(Event::Stranger), 2);
    assert_eq!(running.counters.value(Event::ConnectionOpened), 0);
    let one = query(1, "www.example.");
    assert_answers(&one, &running.tls().await.ask(&one).await);
}

#[tokio::test]
async fn over_the_limit_of_an_address_its_silent_connections_go_first() {
    let running = start(Limits {
        connections_per_address: 3,
        ..Limits::default()
    });
    let one = query(1, "www.example.");
    let mut useful = running.tls().await;
    assert_answers(&one, &useful.ask(&one).await);
    let mut silent = [running.tcp().await, running.tcp().await];
    running
        .until("three connections", || {
            running.front.status().connections == 3
        })
        .await;
    let mut other = from("127.0.0.2", running.dns).await;
    let mut newcomers = [running.tcp().await, running.tcp().await];
    for client in &mut silent {
        client.end().await.unwrap();
    }
    // Each is sent away before that is counted.
    running.counted(Event::ConnectionsAddress, 2).await;
    for client in newcomers.iter_mut().chain([&mut other]) {
        assert_answers(&one, &client.ask(&one).await);
    }
    assert_answers(&one, &useful.ask(&one).await);
}

/// Short times, but for the handshake of a client that may have to wait for its processor.
fn never_asked() -> Limits {
    Limits {
        handshake: PATIENCE,
        ..short(SOON)
    }
}

/// The same for its first question.
fn patient_at_first() -> Limits {
    Limits {
        first_query: PATIENCE,
        ..never_asked()
    }
}

/// A connection from another address of this host.
async fn from(address: &str, server: SocketAddr) -> Client<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(format!("{address}:0").parse().unwrap())
        .unwrap();
    Client(soon(socket.connect(server)).await.unwrap())
}
