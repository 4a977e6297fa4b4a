//! Messages that nobody should send, with a good client asking in between.

use std::{fs, net::SocketAddr};

use hickory_proto::rr::RecordType;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::TcpStream,
};
use zzdot::{counters::Event, listen::Limits};
use zzdot_client::wire::{Edns, View};

use crate::support::{
    Running, ask_udp, assert_answers, connect_tls, framed, query, soon, start, typed_query, udp,
};

/// Messages a transport, unless `ZZDOT_HOSTILE` names another number.
const MESSAGES: usize = 20_000;
/// Messages on one connection, and between two questions of the good client.
const AT_ONCE: usize = 100;
/// Memory that a test's growth may not pass, in octets: a leak of a few octets a message would.
const GROWTH: usize = 64 << 20;

fn messages() -> usize {
    match std::env::var("ZZDOT_HOSTILE") {
        Ok(number) => number.parse().expect("ZZDOT_HOSTILE is a number"),
        Err(_) => MESSAGES,
    }
}

/// Numbers that look random and are the same in each run (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    fn octet(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.octet()).collect()
    }
}

/// A query with something wrong, most of the time.
fn hostile(numbers: &mut Numbers) -> Vec<u8> {
    let names = [
        "www.example.",
        ".",
        "x.zz.",
        "localhost.",
        "_dns.resolver.arpa.",
        "a.b.c.d.e.f.",
    ];
    let code = numbers.below(20) as u16;
    let length = numbers.below(60);
    let edns = Edns {
        options: vec![(code, numbers.octets(length))],
        ..Edns::plain(code & 1 == 0)
    };
    let edns = (numbers.below(2) == 0).then_some(&edns);
    let qtype = RecordType::from(numbers.below(300) as u16);
    let mut message = typed_query(
        numbers.below(65_536) as u16,
        names[numbers.below(6)],
        qtype,
        edns,
    );
    let end = message.len();
    match numbers.below(9) {
        0 => message.truncate(numbers.below(end)),
        1 => message[numbers.below(end)] ^= 1 << numbers.below(8),
        // A compression pointer, anywhere to anywhere.
        2 => {
            let place = 12 + numbers.below(end - 13);
            message[place] = 0xC0 | numbers.octet();
            message[place + 1] = numbers.octet();
        }
        // Counts that lie.
        3 => message[4 + numbers.below(8)] = numbers.octet(),
        // Odd opcodes and flags.
        4 => {
            message[2] = numbers.octet();
            message[3] = numbers.octet();
        }
        // A length within the OPT record, or what else is there.
        5 => message[end - 1 - numbers.below(12)] = numbers.octet(),
        6 => message.extend(numbers.octets(40)),
        7 => message = numbers.octets(length),
        _ => {}
    }
    message
}

/// What the process holds: descriptors, and octets of memory.
fn held() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    (descriptors, resident * 4096)
}

async fn assert_nothing_leaked(running: &Running, before: (usize, usize)) {
    running
        .until("no connection and nothing in flight", || {
            let status = running.front.status();
            status.connections + status.udp_queries + status.stream_queries == 0
        })
        .await;
    running
        .until("the descriptors", || held().0 <= before.0)
        .await;
    let after = held().1;
    assert!(
        after < before.1 + GROWTH,
        "from {} to {after} octets",
        before.1
    );
}

async fn the_good_client_is_served(running: &Running, id: u16) {
    let one = query(id, "gOOd.example.");
    assert_answers(&one, &ask_udp(running.dns, &one).await);
}

#[tokio::test]
async fn hostile_datagrams_change_nothing() {
    let running = start(Limits::default());
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let socket = udp(running.dns).await;
    let mut buffer = vec![0; 65_535];
    let before = held();
    for number in 0..messages() {
        let message = hostile(&mut numbers);
        socket.send(&message).await.unwrap();
        while let Ok(length) = socket.try_recv(&mut buffer) {
            let reply = View::parse(&buffer[..length]).unwrap();
            assert!(reply.is_response() && length <= 1232, "{:?}", reply.bytes());
        }
        if number % AT_ONCE == 0 {
            the_good_client_is_served(&running, number as u16).await;
        }
    }
    assert_nothing_leaked(&running, before).await;
    assert!(running.counters.value(Event::Malformed) > 1000);
}

/// Sends one connection's worth and reads what comes back: an answer to each query, however odd.
async fn converse<S: AsyncRead + AsyncWrite>(stream: S, numbers: &mut Numbers) {
    let (mut reader, mut writer) = split(stream);
    // What is no query ends the connection, so it comes last.
    let queries = (1..AT_ONCE).map(|_| {
        loop {
            let message = hostile(numbers);
            if message.len() >= 12 && message[2] & 0x80 == 0 {
                break message;
            }
        }
    });
    let mut octets: Vec<u8> = queries.flat_map(|query| framed(&query)).collect();
    octets.extend(framed(&numbers.octets(11)));
    let mut replies = Vec::new();
    let sending = async {
        writer.write_all(&octets).await.unwrap();
        // The server may have closed by now.
        let _ = writer.shutdown().await;
    };
    let _ = soon(async { tokio::join!(sending, reader.read_to_end(&mut replies)) }).await;
    let (mut rest, mut answered) = (&replies[..], 0);
    while let [high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let reply = View::parse(&more[..length]).unwrap();
        assert!(reply.is_response(), "{:?}", reply.bytes());
        rest = &more[length..];
        answered += 1;
    }
    assert_eq!(answered, AT_ONCE - 1, "an answer to each");
}

#[tokio::test]
async fn hostile_messages_over_tcp_change_nothing() {
    let running = start(Limits::default());
    let mut numbers = Numbers(0xD1B5_4A32_D192_ED03);
    let before = held();
    for number in 0..messages() / AT_ONCE {
        let stream = TcpStream::connect(running.dns).await.unwrap();
        converse(stream, &mut numbers).await;
        the_good_client_is_served(&running, number as u16).await;
    }
    assert_nothing_leaked(&running, before).await;
    assert!(running.counters.value(Event::Malformed) > 100);
}

#[tokio::test]
async fn hostile_messages_over_tls_and_hostile_tls_change_nothing() {
    let running = start(Limits::default());
    let mut numbers = Numbers(0x94D0_49BB_1331_11EB);
    let before = held();
    for number in 0..messages() / AT_ONCE {
        let stream = connect_tls(running.dot, &running.identity).await.unwrap();
        converse(stream, &mut numbers).await;
        garbage(running.dot, &mut numbers).await;
        the_good_client_is_served(&running, number as u16).await;
    }
    assert_nothing_leaked(&running, before).await;
    let broken = running.counters.value(Event::TlsBroken);
    let cleartext = running.counters.value(Event::TlsCleartext);
    assert!(broken > 10 && cleartext > 10, "{broken} {cleartext}");
}

/// What is not TLS, or begins like it.
async fn garbage(server: SocketAddr, numbers: &mut Numbers) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let length = 1 + numbers.below(500);
    let mut octets = numbers.octets(length);
    if numbers.below(2) == 0 {
        let start = [22, 3, 1, 0, octets.len().min(200) as u8, 1];
        octets.splice(..0, start);
    }
    let _ = stream.write_all(&octets).await;
    let _ = stream.shutdown().await;
    let _ = soon(stream.read_to_end(&mut Vec::new())).await;
}
