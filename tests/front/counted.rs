//! What happens is counted under its name, and the limits of all together hold.

use hickory_proto::rr::RecordType;
use tokio::net::TcpSocket;
use zzdot::{counters::Event, listen::Limits};
use zzdot_client::wire::{Edns, View};

use crate::support::{
    Client, ask_udp, assert_answers, query, rcode, receive, soon, start, typed_query, udp,
};

const COOKIE: u16 = 10;

#[tokio::test]
async fn datagrams_beyond_all_places_are_dropped_and_before_that_a_cookie_is_wanted() {
    let running = start(Limits {
        udp_queries: 2,
        ..Limits::default()
    });
    let socket = udp(running.dns).await;
    for id in 1..=2 {
        socket.send(&query(id, "slow.example.")).await.unwrap();
    }
    running
        .until("two in flight", || running.front.status().udp_queries == 2)
        .await;
    let edns = Edns {
        options: vec![(COOKIE, b"clientco".to_vec())],
        ..Edns::plain(false)
    };
    let with_cookie = typed_query(3, "fast.example.", RecordType::A, Some(&edns));
    let reply = ask_udp(running.dns, &with_cookie).await;
    let view = View::parse(&reply).unwrap();
    let extended = view.edns().unwrap().unwrap().extended_rcode;
    assert_eq!(u16::from(extended) << 4 | view.rcode(), 23, "BADCOOKIE");
    assert_eq!(running.counters.value(Event::CookieRequired), 1);
    // Who does not speak cookies is dropped.
    socket.send(&query(4, "fast.example.")).await.unwrap();
    running.counted(Event::UdpQueriesAll, 1).await;
    running.release(2);
    for _ in 0..2 {
        assert_eq!(rcode(&receive(&socket).await), 0);
    }
    // There is room again, also for the one that was dropped.
    running
        .until("no query in flight", || {
            running.front.status().udp_queries == 0
        })
        .await;
    let one = query(5, "fast.example.");
    assert_answers(&one, &ask_udp(running.dns, &one).await);
}

#[tokio::test]
async fn over_the_limit_of_all_a_silent_connection_makes_room_for_the_newcomer() {
    let running = start(Limits {
        connections: 3,
        ..Limits::default()
    });
    // One after the other: two workers may let them in in the other order.
    let mut silent = Vec::new();
    for open in 1..=2 {
        silent.push(running.tcp().await);
        running
            .until("it was let in", || {
                running.front.status().connections == open
            })
            .await;
    }
    let one = query(1, "www.example.");
    let mut other = {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        Client(soon(socket.connect(running.dns)).await.unwrap())
    };
    assert_answers(&one, &other.ask(&one).await);
    let mut newcomer = running.tcp().await;
    assert_answers(&one, &newcomer.ask(&one).await);
    assert_eq!(running.counters.value(Event::ConnectionsAll), 1);
    assert_eq!(running.counters.value(Event::ConnectionsAddress), 0);
    // The address that holds most gave way; the other's only connection stays.
    silent[0].end().await.unwrap();
    assert_answers(&one, &other.ask(&one).await);
    assert_eq!(running.front.status().connections, 3);
}

#[tokio::test]
async fn each_way_of_asking_and_answering_has_its_counter() {
    let running = start(Limits::default());
    ask_udp(running.dns, &query(1, "www.example.")).await;
    ask_udp(running.dns, &query(2, "x.zz.")).await;
    let mut tcp = running.tcp().await;
    tcp.ask(&query(3, "www.example.")).await;
    let mut tls = running.tls().await;
    tls.ask(&query(4, "localhost.")).await;
    for (event, times) in [
        (Event::UdpQuery, 2),
        (Event::TcpQuery, 1),
        (Event::TlsQuery, 1),
        (Event::ConnectionOpened, 2),
        (Event::TlsHandshake, 1),
        (Event::AnsweredSpecial, 2),
        (Event::Asked, 1),
        (Event::CacheMiss, 1),
        (Event::CacheHit, 1),
    ] {
        assert_eq!(running.counters.value(event), times, "{}", event.name());
    }
    // Counted when the kernel has it, which is after the asker may have it.
    running.counted(Event::Answered, 4).await;
}
