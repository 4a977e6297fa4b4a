//! The server of the known zone, in this process: answers at once, never, or more than fits a datagram.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    truth::{Question, Truth, rtype},
    wire::{read_question, word},
};

/// How often the threads look whether they should end.
const LOOK: Duration = Duration::from_millis(100);
/// The longest that a TCP connection is kept without a question.
const IDLE: Duration = Duration::from_secs(10);
const TTL_SECS: u32 = 30;

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    questions: Arc<AtomicU64>,
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No socket or no thread is to be had.
    pub fn start() -> io::Result<Self> {
        let (udp, tcp) = bind_both()?;
        let upstream = Self {
            address: udp.local_addr()?,
            stop: Arc::default(),
            questions: Arc::default(),
        };
        udp.set_read_timeout(Some(LOOK))?;
        tcp.set_nonblocking(true)?;
        let (stop, questions) = (upstream.stop.clone(), upstream.questions.clone());
        thread::Builder::new()
            .name("upstream-udp".into())
            .spawn(move || serve_udp(&udp, &stop, &questions))?;
        let (stop, questions) = (upstream.stop.clone(), upstream.questions.clone());
        thread::Builder::new()
            .name("upstream-tcp".into())
            .spawn(move || serve_tcp(&tcp, &stop, &questions))?;
        Ok(upstream)
    }

    /// Where it listens, for UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many messages it was sent so far.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What the zone's server says to `query`: none where it says nothing.
#[must_use]
pub fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    let asked = read_question(query, &mut end)?;
    let question = Question {
        name: asked.name,
        rtype: asked.rtype,
    };
    let (rcode, records) = match question.truth() {
        Some(Truth::Silence) => return None,
        Some(Truth::Records(records)) => (0, records),
        Some(Truth::NoData) => (0, Vec::new()),
        Some(Truth::NoName) => (3, Vec::new()),
        // Elsewhere there is nothing: every name of the world is denied.
        None => (3, Vec::new()),
    };
    let mut reply = query.get(..end)?.to_vec();
    reply[2] = 0x84 | query[2] & 0x01;
    reply[3] = 0x80 | query[3] & 0x10 | rcode;
    let authorities = u16::from(records.is_empty());
    let opt = word(query, 10)? > 0 && word(query, end + 1) == Some(rtype::OPT);
    for (at, count) in [
        (6, records.len() as u16),
        (8, authorities),
        (10, u16::from(opt)),
    ] {
        reply[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    for data in &records {
        append_record(&mut reply, question.rtype, data);
    }
    if records.is_empty() {
        // The owner is the name itself, which makes the denial one of this name alone.
        let mut soa = vec![0, 0];
        for number in [1_u32, 3600, 600, 86_400, TTL_SECS] {
            soa.extend_from_slice(&number.to_be_bytes());
        }
        append_record(&mut reply, rtype::SOA, &soa);
    }
    if opt {
        reply.extend_from_slice(&[0, 0, rtype::OPT as u8, 0x04, 0xd0, 0, 0]);
        // DO comes back (RFC 3225 §3).
        let flags = word(query, end + 7).unwrap_or_default() & 0x8000;
        reply.extend_from_slice(&flags.to_be_bytes());
        reply.extend_from_slice(&[0, 0]);
    }
    Some(reply)
}

fn append_record(reply: &mut Vec<u8>, rtype: u16, data: &[u8]) {
    reply.extend_from_slice(&[0xc0, 12]);
    reply.extend_from_slice(&rtype.to_be_bytes());
    reply.extend_from_slice(&1_u16.to_be_bytes());
    reply.extend_from_slice(&TTL_SECS.to_be_bytes());
    reply.extend_from_slice(&(data.len() as u16).to_be_bytes());
    reply.extend_from_slice(data);
}

/// A UDP and a TCP socket on the same port.
fn bind_both() -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..20 {
        let udp = UdpSocket::bind(("127.0.0.1", 0))?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool, questions: &AtomicU64) {
    let mut buffer = vec![0; 4096];
    while !stop.load(Ordering::Relaxed) {
        // Time-outs, and errors that earlier answers met, are none of this round's business.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        questions.fetch_add(1, Ordering::Relaxed);
        if let Some(mut reply) = answer(&buffer[..length]) {
            if reply.len() > 1232 {
                let mut end = 12;
                read_question(&reply, &mut end);
                reply.truncate(end);
                reply[2] |= 0x02;
                reply[6..12].fill(0);
            }
            let _ = socket.send_to(&reply, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, stop: &Arc<AtomicBool>, questions: &Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(LOOK / 10);
            continue;
        };
        let questions = questions.clone();
        thread::spawn(move || serve_stream(stream, &questions));
    }
}

/// Until the other side closes, or says nothing for too long.
fn serve_stream(mut stream: TcpStream, questions: &AtomicU64) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        questions.fetch_add(1, Ordering::Relaxed);
        if let Some(reply) = answer(&query) {
            let length = (reply.len() as u16).to_be_bytes();
            stream.write_all(&[&length, reply.as_slice()].concat())?;
        }
    }
}
