//! Datagrams.

use std::{io::IoSlice, net::SocketAddr, os::fd::AsRawFd};

use hickory_proto::rr::RecordType;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::{io::Interest, net::UdpSocket};
use zzdot::{answer::access::AccessList, counters::Event, listen::Limits};
use zzdot_client::wire::View;

use crate::support::{
    ask_udp, assert_answers, label, query, receive, soon, start, start_on, typed_query, udp,
};

#[tokio::test]
async fn both_families_are_answered() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let running = start_on(address, Limits::default());
        let query = query(7, "wWw.ExAmPlE.");
        assert_answers(&query, &ask_udp(running.dns, &query).await);
    }
}

#[tokio::test]
async fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
    let running = start_on("0.0.0.0:0", Limits::default());
    for host in ["127.0.0.1", "127.0.0.2", "127.5.6.7"] {
        let server = SocketAddr::new(host.parse().unwrap(), running.dns.port());
        // The socket is connected: what comes from another address does not arrive.
        for name in ["www.example.", "x.zz."] {
            let reply = ask_udp(server, &query(8, name)).await;
            assert_eq!(label(&reply), label(&query(8, name)));
        }
    }
    let running = start_on("[::]:0", Limits::default());
    let server = SocketAddr::new("::1".parse().unwrap(), running.dns.port());
    assert_answers(&query(9, "a."), &ask_udp(server, &query(9, "a.")).await);
}

#[tokio::test]
async fn a_slow_question_does_not_hold_the_others() {
    let running = start(Limits::default());
    let socket = udp(running.dns).await;
    socket.send(&query(1, "slow.example.")).await.unwrap();
    for id in 2..50 {
        socket.send(&query(id, "fast.example.")).await.unwrap();
        assert_answers(&query(id, "fast.example."), &receive(&socket).await);
    }
    assert_eq!(running.front.status().udp_queries, 1);
    running.release(1);
    assert_answers(&query(1, "slow.example."), &receive(&socket).await);
    running
        .until("no query in flight", || {
            running.front.status().udp_queries == 0
        })
        .await;
}

#[tokio::test]
async fn a_long_answer_is_cut_over_udp_and_whole_over_tcp() {
    let running = start(Limits::default());
    let query = typed_query(3, "long.example.", RecordType::TXT, None);
    let cut = ask_udp(running.dns, &query).await;
    assert!(cut.len() <= 512 && View::parse(&cut).unwrap().truncated());
    let whole = running.tcp().await.ask(&query).await;
    assert!(whole.len() > 3000 && !View::parse(&whole).unwrap().truncated());
}

#[tokio::test]
async fn responses_and_fragments_of_a_header_are_met_with_silence() {
    let running = start(Limits::default());
    let socket = udp(running.dns).await;
    let mut response = query(1, "www.example.");
    response[2] |= 0x80;
    for silence in [&response[..], &[], &[0; 11]] {
        socket.send(silence).await.unwrap();
    }
    // One socket, one order: had there been an answer, it would come first.
    socket.send(&query(2, "www.example.")).await.unwrap();
    assert_answers(&query(2, "www.example."), &receive(&socket).await);
    assert_eq!(running.counters.value(Event::NotAQuery), 1);
    assert_eq!(running.counters.value(Event::TooShort), 2);
}

#[tokio::test]
async fn strangers_are_met_with_silence() {
    let running = start(Limits::default());
    let only = vec!["127.0.0.1/32".parse().unwrap()];
    running.responder.replace_access(AccessList::new(only));
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    stranger
        .send_to(&query(1, "a."), running.dns)
        .await
        .unwrap();
    running.counted(Event::Stranger, 1).await;
    assert_answers(
        &query(2, "a."),
        &ask_udp(running.dns, &query(2, "a.")).await,
    );
    let mut buffer = [0; 512];
    assert!(stranger.try_recv(&mut buffer).is_err(), "not a word");
}

#[tokio::test]
async fn one_address_cannot_take_every_place_in_flight() {
    let running = start(Limits {
        udp_queries: 4,
        udp_queries_per_address: 2,
        ..Limits::default()
    });
    let socket = udp(running.dns).await;
    for id in 0..5 {
        socket.send(&query(id, "slow.example.")).await.unwrap();
    }
    running.counted(Event::UdpQueriesAddress, 3).await;
    let other = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    other.connect(running.dns).await.unwrap();
    other.send(&query(9, "fast.example.")).await.unwrap();
    assert_answers(&query(9, "fast.example."), &receive(&other).await);
    // What is known here needs no place.
    socket.send(&query(10, "x.zz.")).await.unwrap();
    assert_eq!(receive(&socket).await[..2], [0, 10]);
}

#[tokio::test]
async fn datagrams_that_were_sent_as_one_are_answered_one_by_one() {
    let running = start(Limits::default());
    let socket = udp(running.dns).await;
    let queries: Vec<_> = (0..16).map(|id| query(id, "www.example.")).collect();
    let length = u16::try_from(queries[0].len()).unwrap();
    let contents = queries.concat();
    soon(socket.writable()).await.unwrap();
    socket
        .try_io(Interest::WRITABLE, || {
            let sent = sendmsg::<()>(
                socket.as_raw_fd(),
                &[IoSlice::new(&contents)],
                &[ControlMessage::UdpGsoSegments(&length)],
                MsgFlags::empty(),
                None,
            );
            Ok(sent?)
        })
        .unwrap();
    let mut answered = Vec::new();
    while answered.len() < queries.len() {
        let reply = receive(&socket).await;
        answered.push(u16::from_be_bytes([reply[0], reply[1]]));
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..16).collect::<Vec<_>>());
    assert_eq!(running.counters.value(Event::UdpQuery), 16);
}

#[tokio::test]
async fn a_burst_is_answered_whole() {
    let running = start(Limits::default());
    let socket = udp(running.dns).await;
    // More than two batches of the server's, fewer than the socket's buffer holds of answers.
    for id in 0..150 {
        socket.send(&query(id, "x.zz.")).await.unwrap();
    }
    let mut answered = Vec::new();
    while answered.len() < 150 {
        let reply = receive(&socket).await;
        answered.push(u16::from_be_bytes([reply[0], reply[1]]));
    }
    assert!(answered.is_sorted(), "one socket, one order");
    running.counted(Event::Answered, 150).await;
}
