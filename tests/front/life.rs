//! From the first address to the last answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Socket, Type};
use tokio::{net::TcpStream, time::Instant};
use zzdot::{
    listen::{Inherited, Limits, ListenError, Protocol},
    tls::server_config,
};

use crate::support::{
    Client, PATIENCE, ask_udp, assert_answers, connect_tls, identity, query, receive, soon, start,
    start_with, tickets, udp,
};

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_says_goodbye() {
    let running = start(Limits::default());
    let slow = query(1, "slow.example.");
    let mut idle = running.tls().await;
    idle.ask(&query(2, "www.example.")).await;
    let mut tls = running.tls().await;
    let mut tcp = running.tcp().await;
    let socket = udp(running.dns).await;
    tls.send(&slow).await;
    tcp.send(&slow).await;
    socket.send(&slow).await.unwrap();
    let front = &running.front;
    running
        .until("three in flight", || {
            front.status().stream_queries == 2 && front.status().udp_queries == 1
        })
        .await;
    let drain = tokio::spawn(running.front.drain(Instant::now() + PATIENCE));
    // Who waits for nothing goes at once, and TLS says so: Ok and not UnexpectedEof.
    idle.end().await.unwrap();
    assert!(!drain.is_finished());
    assert!(TcpStream::connect(running.dns).await.is_err());
    assert!(connect_tls(running.dot, &running.identity).await.is_err());
    running.source.release.add_permits(3);
    assert_answers(&slow, &tls.receive().await);
    assert_answers(&slow, &tcp.receive().await);
    assert_answers(&slow, &receive(&socket).await);
    tls.end().await.unwrap();
    tcp.end().await.unwrap();
    soon(drain).await.unwrap();
}

#[tokio::test]
async fn a_drain_does_not_wait_past_its_deadline() {
    let running = start(Limits::default());
    let mut client = running.tls().await;
    client.send(&query(1, "never.example.")).await;
    let socket = udp(running.dns).await;
    socket.send(&query(1, "never.example.")).await.unwrap();
    running
        .until("both in flight", || {
            let status = running.front.status();
            status.stream_queries == 1 && status.udp_queries == 1
        })
        .await;
    soon(
        running
            .front
            .drain(Instant::now() + Duration::from_millis(50)),
    )
    .await;
    client.end().await.unwrap();
}

#[tokio::test]
async fn a_key_in_wrong_hands_is_used_for_no_connection_any_more() {
    let mut running = start(Limits::default());
    let (one, slow) = (query(1, "www.example."), query(2, "slow.example."));
    let mut idle = running.tls().await;
    idle.ask(&one).await;
    let mut busy = running.tls().await;
    busy.send(&slow).await;
    let mut tcp = running.tcp().await;
    tcp.ask(&one).await;
    let front = &running.front;
    running
        .until("one in flight", || front.status().stream_queries == 1)
        .await;
    let next = identity();
    let tls = server_config(vec![next.certificate()], next.tls_key(), tickets()).unwrap();
    running.tls.store(Arc::new(tls));
    front.end_tls();
    // With close_notify: Ok and not UnexpectedEof.
    idle.end().await.unwrap();
    running.release(1);
    assert_answers(&slow, &busy.receive().await);
    busy.end().await.unwrap();
    // There was no key in it.
    assert_answers(&one, &tcp.ask(&one).await);
    running.identity = Arc::new(next);
    let mut back = running.tls().await;
    assert_answers(&one, &back.ask(&one).await);
    assert_answers(&one, &back.ask(&one).await);
}

#[tokio::test]
async fn addresses_change_without_losing_a_connection() {
    let mut running = start(Limits::default());
    let mut client = running.tls().await;
    let (old_dns, old_dot) = (running.dns, running.dot);
    let new: SocketAddr = "127.0.0.3:0".parse().unwrap();
    running.front.rebind(&[new], &[new]).unwrap();
    let status = running.front.status();
    let one = query(1, "www.example.");
    assert_answers(&one, &ask_udp(status.dns[0], &one).await);
    connect_tls(status.dot[0], &running.identity).await.unwrap();
    assert_eq!((status.dns.len(), status.dot.len()), (1, 1));
    assert_answers(&one, &client.ask(&one).await);
    // The listener lets go of its port as soon as its task has ended.
    for old in [old_dns, old_dot] {
        soon(async {
            while TcpStream::connect(old).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_and_changes_nothing() {
    let mut running = start(Limits::default());
    let one = query(1, "www.example.");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let new: SocketAddr = "127.0.0.3:0".parse().unwrap();
    match running.front.rebind(&[new], &[taken]) {
        Err(ListenError::Bind {
            protocol, address, ..
        }) => assert_eq!((protocol, address), (Protocol::Tls, taken)),
        other => panic!("{other:?}"),
    }
    assert_eq!(running.front.status().dns, [running.dns]);
    assert_answers(&one, &ask_udp(running.dns, &one).await);
    assert_answers(&one, &running.tls().await.ask(&one).await);
}

#[tokio::test]
async fn sockets_that_were_passed_in_are_served() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let tls = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let inherited = Inherited {
        udp: vec![std::net::UdpSocket::bind(address).unwrap()],
        tcp: vec![tcp],
        tls: vec![tls],
    };
    let mut running = start_with(Vec::new(), inherited, Limits::default());
    assert_eq!(running.dns, address);
    let one = query(1, "www.example.");
    // Naming their address in the configuration does not bind it again.
    for addresses in [&[][..], &[address]] {
        running.front.rebind(addresses, &[]).unwrap();
        assert_answers(&one, &ask_udp(address, &one).await);
        assert_answers(&one, &running.tcp().await.ask(&one).await);
        assert_answers(&one, &running.tls().await.ask(&one).await);
    }
}

/// As a service manager passes them by default.
#[tokio::test]
async fn sockets_of_both_families_in_one_are_served_to_both() {
    let socket = |kind| {
        let socket = Socket::new(Domain::IPV6, kind, None).unwrap();
        socket.set_only_v6(false).unwrap();
        socket
    };
    let tcp = socket(Type::STREAM);
    let any: SocketAddr = "[::]:0".parse().unwrap();
    tcp.bind(&any.into()).unwrap();
    tcp.listen(16).unwrap();
    let bound = tcp.local_addr().unwrap().as_socket().unwrap();
    let udp = socket(Type::DGRAM);
    udp.bind(&bound.into()).unwrap();
    let tls = socket(Type::STREAM);
    tls.bind(&any.into()).unwrap();
    tls.listen(16).unwrap();
    let inherited = Inherited {
        udp: vec![udp.into()],
        tcp: vec![tcp.into()],
        tls: vec![tls.into()],
    };
    let running = start_with(Vec::new(), inherited, Limits::default());
    let one = query(1, "www.example.");
    for host in ["127.0.0.1", "127.0.0.2", "::1"] {
        let host = host.parse().unwrap();
        let dns = SocketAddr::new(host, running.dns.port());
        assert_answers(&one, &ask_udp(dns, &one).await);
        let dot = SocketAddr::new(host, running.dot.port());
        let mut client = Client(connect_tls(dot, &running.identity).await.unwrap());
        assert_answers(&one, &client.ask(&one).await);
    }
}
