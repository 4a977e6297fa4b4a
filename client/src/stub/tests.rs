#![allow(clippy::unwrap_used)]

use std::str::FromStr;
use std::sync::Mutex;

use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;

use super::*;
use crate::framing::{FrameReader, push_frame};
use crate::wire::{Edns, QuestionFlags, View, question};

/// Answers at once with `padding` bytes of TXT, but holds those whose name starts with `slow`.
#[derive(Default)]
struct Source {
    held: Mutex<Vec<oneshot::Sender<()>>>,
    padding: usize,
}

impl Answer for Source {
    fn answer(self: Arc<Self>, query: Vec<u8>) -> Answering {
        Box::pin(async move {
            if query[13..].starts_with(b"slow") {
                let (release, released) = oneshot::channel();
                self.held.lock().unwrap().push(release);
                let _ = released.await;
            }
            let mut answer = query;
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend_from_slice(&[0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 1]);
            answer.extend_from_slice(&(self.padding as u16).to_be_bytes());
            answer.resize(answer.len() + self.padding, 0);
            answer
        })
    }
}

struct Lab {
    stub: Stub,
    source: Arc<Source>,
    counters: Arc<StubCounters>,
    address: SocketAddr,
}

fn lab(limits: StubLimits, padding: usize) -> Lab {
    let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = sockets.addresses()[0];
    let source = Arc::new(Source {
        padding,
        ..Source::default()
    });
    let counters = Arc::new(StubCounters::default());
    let stub = Stub::start(
        sockets,
        Arc::clone(&source) as Arc<dyn Answer>,
        Askers::Loopback,
        limits,
        Arc::clone(&counters),
    )
    .unwrap();
    Lab {
        stub,
        source,
        counters,
        address,
    }
}

fn query(id: u16, name: &str, edns: Option<&Edns>) -> Vec<u8> {
    let name = Name::from_str(name).unwrap();
    question(id, &name, RecordType::TXT, QuestionFlags::default(), edns)
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        assert!(push_frame(&mut bytes, message));
    }
    bytes
}

async fn over_udp(address: SocketAddr, message: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    socket.send(message).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer).await.unwrap();
    buffer.truncate(length);
    buffer
}

#[tokio::test]
async fn answers_are_cut_to_what_the_asker_takes() {
    let lab = lab(StubLimits::default(), 900);
    let small = over_udp(lab.address, &query(1, "a.", None)).await;
    let view = View::parse(&small).unwrap();
    assert!(view.truncated() && small.len() <= 512);
    assert!(view.question().is_some());
    let large = over_udp(lab.address, &query(2, "a.", Some(&Edns::plain(false)))).await;
    assert!(!View::parse(&large).unwrap().truncated());
    assert!(large.len() > 900);
    assert_eq!(lab.counters.read().truncated, 1);
}

#[tokio::test]
async fn bad_questions_are_answered_and_rubbish_is_not() {
    let lab = lab(StubLimits::default(), 0);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(lab.address).await.unwrap();
    socket.send(b"rubbish").await.unwrap();
    let mut response = query(9, "a.", None);
    response[2] |= 0x80;
    socket.send(&response).await.unwrap();
    let mut notify = query(7, "a.", None);
    notify[2] |= 0x20;
    socket.send(&notify).await.unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await.unwrap();
    let view = View::parse(&buffer[..length]).unwrap();
    assert_eq!((view.id(), view.rcode()), (7, 4));
    let counts = lab.counters.read();
    assert_eq!((counts.no_queries, counts.bad_queries), (2, 1));
}

#[tokio::test]
async fn a_slow_question_on_a_connection_does_not_hold_another() {
    let lab = lab(StubLimits::default(), 3000);
    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    let messages = [query(1, "slow.", None), query(2, "quick.", None)];
    stream.write_all(&framed(&messages)).await.unwrap();
    let mut frames = FrameReader::new();
    let first = frames.next(&mut stream).await.unwrap().unwrap();
    assert_eq!(View::parse(&first).unwrap().id(), 2);
    assert!(first.len() > 3000, "nothing is cut on a connection");
    let release = lab.source.held.lock().unwrap().pop().unwrap();
    release.send(()).unwrap();
    let second = frames.next(&mut stream).await.unwrap().unwrap();
    assert_eq!(View::parse(&second).unwrap().id(), 1);
}

#[tokio::test]
async fn slow_writers_and_sleepers_are_closed_and_counted() {
    let limits = StubLimits {
        tcp_idle_ms: 80,
        tcp_slow_ms: 40,
        ..StubLimits::default()
    };
    let lab = lab(limits, 0);
    let mut sleeper = TcpStream::connect(lab.address).await.unwrap();
    let mut slow = TcpStream::connect(lab.address).await.unwrap();
    slow.write_all(&[0]).await.unwrap();
    for stream in [&mut sleeper, &mut slow] {
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    }
    let counts = lab.counters.read();
    assert_eq!((counts.tcp_idle, counts.tcp_slow), (1, 1));
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_at_once() {
    let limits = StubLimits {
        tcp_connections: 1,
        ..StubLimits::default()
    };
    let lab = lab(limits, 0);
    let mut first = TcpStream::connect(lab.address).await.unwrap();
    first
        .write_all(&framed(&[query(1, "a.", None)]))
        .await
        .unwrap();
    let mut frames = FrameReader::new();
    assert!(frames.next(&mut first).await.unwrap().is_some());
    let mut second = TcpStream::connect(lab.address).await.unwrap();
    assert_eq!(second.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert_eq!(lab.counters.read().tcp_overflows, 1);
    first
        .write_all(&framed(&[query(2, "a.", None)]))
        .await
        .unwrap();
    assert!(frames.next(&mut first).await.unwrap().is_some());
}

#[tokio::test]
async fn datagrams_beyond_the_bound_are_dropped_and_counted() {
    let limits = StubLimits {
        udp_in_flight: 1,
        ..StubLimits::default()
    };
    let lab = lab(limits, 0);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(lab.address).await.unwrap();
    socket.send(&query(1, "slow.", None)).await.unwrap();
    socket.send(&query(2, "quick.", None)).await.unwrap();
    // Answered by the listener itself, so both are through.
    let mut notify = query(3, "a.", None);
    notify[2] |= 0x20;
    let reply = over_udp(lab.address, &notify).await;
    assert_eq!(View::parse(&reply).unwrap().id(), 3);
    assert_eq!(lab.counters.read().udp_overflows, 1);
}

#[tokio::test]
async fn draining_waits_for_the_answers_under_way() {
    let lab = lab(StubLimits::default(), 0);
    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    stream
        .write_all(&framed(&[query(1, "slow.", None)]))
        .await
        .unwrap();
    let release = loop {
        if let Some(release) = lab.source.held.lock().unwrap().pop() {
            break release;
        }
        tokio::task::yield_now().await;
    };
    let draining = tokio::spawn(lab.stub.drain(Duration::from_secs(30)));
    while TcpStream::connect(lab.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    let answer = FrameReader::new().next(&mut stream).await.unwrap();
    assert!(answer.is_some());
    draining.await.unwrap();
}

#[test]
fn a_taken_port_is_told_with_a_hint() {
    let taken = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let error = Sockets::bind(&taken.addresses()).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    assert!(error.hint().unwrap().contains("ss -lnptu"));
}

#[test]
fn only_this_machine_may_ask_unless_told_otherwise() {
    let admits = |askers, peer: &str, local: &str| {
        let (_, stopping) = watch::channel(false);
        let turns = || Arc::new(Semaphore::new(1));
        Shared {
            source: Arc::new(Source::default()),
            askers,
            limits: StubLimits::default(),
            counters: Arc::default(),
            udp_turns: turns(),
            tcp_turns: turns(),
            stopping,
        }
        .admits(peer.parse().unwrap(), local.parse().unwrap())
    };
    assert!(admits(Askers::Loopback, "127.0.0.53", "127.0.0.1"));
    assert!(admits(Askers::Loopback, "::1", "::1"));
    assert!(admits(Askers::Loopback, "::ffff:127.0.0.1", "::1"));
    assert!(admits(Askers::Loopback, "192.0.2.7", "192.0.2.7"));
    assert!(!admits(Askers::Loopback, "192.0.2.8", "192.0.2.7"));
    assert!(admits(Askers::Any, "192.0.2.8", "192.0.2.7"));
}
