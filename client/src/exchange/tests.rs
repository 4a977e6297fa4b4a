#![allow(clippy::unwrap_used)]

use super::*;
use crate::wire::{Edns, QuestionFlags, question};
use hickory_proto::rr::{Name, RecordType};
use std::str::FromStr;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};

const ID: u16 = 0x1234;

fn query() -> Vec<u8> {
    question(
        ID,
        &Name::from_str("www.example.").unwrap(),
        RecordType::A,
        QuestionFlags::default(),
        Some(&Edns::plain(false)),
    )
}

fn answer_to(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= 0x80;
    answer
}

fn quick() -> ExchangeLimits {
    ExchangeLimits {
        first_wait: Duration::from_millis(60),
        ..ExchangeLimits::default()
    }
}

fn soon() -> Instant {
    clock() + Duration::from_millis(600)
}

async fn server() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Answers each question with the datagrams that `script` makes of it.
async fn play(
    socket: UdpSocket,
    script: impl Fn(u32, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        let mut count = 0;
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            count += 1;
            for datagram in script(count, &buffer[..length]) {
                socket.send_to(&datagram, peer).await.unwrap();
            }
        }
    })
}

#[tokio::test]
async fn an_honest_answer_comes_back_under_the_callers_id() {
    let (socket, address) = server().await;
    let _server = play(socket, |_, query| vec![answer_to(query)]).await;
    let reply = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap();
    assert_eq!(reply.message, answer_to(&query()));
    assert_eq!(reply.transport, Transport::Udp);
    assert_eq!(
        reply.tally,
        Tally {
            packets: 1,
            ..Tally::default()
        }
    );
}

#[tokio::test]
async fn lies_are_ignored_and_counted_while_waiting_for_the_truth() {
    let (socket, address) = server().await;
    let _server = play(socket, |_, query| {
        let mut wrong_id = answer_to(query);
        wrong_id[1] ^= 1;
        let mut wrong_question = answer_to(query);
        wrong_question[13] ^= 1;
        let mut cut = answer_to(query);
        cut.truncate(cut.len() - 3);
        let echo = query.to_vec();
        let garbage = b"hello".to_vec();
        vec![
            wrong_id,
            wrong_question,
            cut,
            echo,
            garbage,
            Vec::new(),
            answer_to(query),
        ]
    })
    .await;
    let reply = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap();
    assert_eq!(reply.message, answer_to(&query()));
    assert_eq!(
        reply.tally,
        Tally {
            packets: 1,
            wrong_id: 1,
            wrong_question: 1,
            garbage: 3,
            unreadable: 1,
        }
    );
}

#[tokio::test]
async fn each_try_has_its_own_port_and_id() {
    let (socket, address) = server().await;
    let (seen, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let _ = seen.send((peer.port(), buffer[..2].to_vec(), length));
        }
    });
    let error = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap_err();
    assert!(matches!(error, ExchangeError::NoAnswer { .. }), "{error}");
    assert_eq!(error.tally().packets, 3);
    let (mut ports, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (port, id, _) = heard.recv().await.unwrap();
        ports.push(port);
        ids.push(id);
    }
    ports.dedup();
    ids.dedup();
    assert_eq!((ports.len(), ids.len()), (3, 3));
    listener.abort();
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let (socket, address) = server().await;
    let _server = play(socket, |count, query| {
        if count < 3 {
            vec![]
        } else {
            vec![answer_to(query)]
        }
    })
    .await;
    let reply = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap();
    assert_eq!(reply.tally.packets, 3);
}

#[tokio::test]
async fn an_answer_from_another_port_is_never_seen() {
    let (socket, address) = server().await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let _server = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let forged = answer_to(&buffer[..length]);
            let _ = stranger.send_to(&forged, peer).await;
        }
    });
    let error = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap_err();
    assert!(matches!(error, ExchangeError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn a_dead_port_is_known_before_the_deadline() {
    let (socket, address) = server().await;
    drop(socket);
    let started = clock();
    let error = udp_then_tcp(
        address,
        &query(),
        &quick(),
        started + Duration::from_secs(30),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, ExchangeError::Unreachable { .. }),
        "{error}"
    );
    assert!(clock() < started + Duration::from_secs(20));
}

/// A UDP and a TCP socket on the same port.
async fn both() -> (UdpSocket, TcpListener, SocketAddr) {
    loop {
        let (socket, address) = server().await;
        if let Ok(listener) = TcpListener::bind(address).await {
            return (socket, listener, address);
        }
    }
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let (socket, listener, address) = both().await;
    let _udp = play(socket, |_, query| {
        let mut truncated = answer_to(query);
        truncated[2] |= 0x02;
        vec![truncated]
    })
    .await;
    let _tcp = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut frames = FrameReader::new();
        let query = frames.next(&mut stream).await.unwrap().unwrap();
        let mut reply = Vec::new();
        let mut wrong = answer_to(&query);
        wrong[0] ^= 0xFF;
        assert!(push_frame(&mut reply, &wrong));
        assert!(push_frame(&mut reply, &answer_to(&query)));
        for byte in reply {
            stream.write_all(&[byte]).await.unwrap();
        }
        let _ = stream.read(&mut [0]).await;
    });
    let reply = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap();
    assert_eq!(reply.transport, Transport::Tcp);
    assert_eq!(reply.message, answer_to(&query()));
    assert_eq!(
        (reply.tally.packets, reply.tally.wrong_id),
        (1 + TCP_PACKETS, 1)
    );
}

#[tokio::test]
async fn a_truncated_answer_is_kept_when_there_is_no_tcp() {
    let (socket, listener, address) = both().await;
    drop(listener);
    let _udp = play(socket, |_, query| {
        let mut truncated = answer_to(query);
        truncated[2] |= 0x02;
        vec![truncated]
    })
    .await;
    let error = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap_err();
    match error {
        ExchangeError::TcpFailed {
            truncated: Some(message),
            ..
        } => {
            assert!(View::parse(&message).unwrap().truncated());
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_flood_of_guesses_moves_the_question_to_tcp() {
    let (socket, listener, address) = both().await;
    let _udp = play(socket, |_, query| {
        (1..=60u8)
            .map(|guess| {
                let mut wrong = answer_to(query);
                wrong[1] ^= guess;
                wrong
            })
            .collect()
    })
    .await;
    let _tcp = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let query = FrameReader::new().next(&mut stream).await.unwrap().unwrap();
        let mut reply = Vec::new();
        assert!(push_frame(&mut reply, &answer_to(&query)));
        stream.write_all(&reply).await.unwrap();
        let _ = stream.read(&mut [0]).await;
    });
    let reply = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap();
    assert_eq!(reply.transport, Transport::Tcp);
    assert_eq!(reply.tally.wrong_id, quick().ignored);
}

#[tokio::test]
async fn a_server_that_accepts_and_hangs_ends_at_the_deadline() {
    let (_socket, listener, address) = both().await;
    let _tcp = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = listener.accept().await {
            held.push(connection);
        }
    });
    let deadline = clock() + Duration::from_millis(150);
    let error = tcp(address, &query(), &quick(), deadline)
        .await
        .unwrap_err();
    assert!(matches!(error, ExchangeError::NoAnswer { .. }), "{error}");
    assert!(clock() < deadline + Duration::from_secs(2));
}

#[tokio::test]
async fn packets_run_out_before_patience_does() {
    let (socket, address) = server().await;
    let _server = play(socket, |_, _| vec![]).await;
    let limits = ExchangeLimits {
        packets: 2,
        ..quick()
    };
    let error = udp_then_tcp(address, &query(), &limits, soon())
        .await
        .unwrap_err();
    assert_eq!(error.tally().packets, 2);
}

#[tokio::test]
async fn a_bare_refusal_of_an_old_server_is_understood() {
    let (socket, address) = server().await;
    let _server = play(socket, |_, query| {
        vec![vec![query[0], query[1], 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]]
    })
    .await;
    let reply = udp_then_tcp(address, &query(), &quick(), soon())
        .await
        .unwrap();
    let view = View::parse(&reply.message).unwrap();
    assert_eq!((view.id(), view.rcode()), (ID, 1));
    assert!(view.question().is_some());
}

#[tokio::test]
async fn what_is_no_question_is_not_sent() {
    let address = "127.0.0.1:9".parse().unwrap();
    let answer = answer_to(&query());
    let error = udp_then_tcp(address, &answer, &quick(), soon())
        .await
        .unwrap_err();
    assert!(matches!(error, ExchangeError::NoQuestion));
    let error = udp_then_tcp(address, b"short", &quick(), soon())
        .await
        .unwrap_err();
    assert!(matches!(error, ExchangeError::NotAQuery(_)));
}
