//! Workers that send hostile messages by the hundred thousand, and judge each response that comes back.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use rustls::ClientConfig;
use thiserror::Error;

use super::{
    good::good_question,
    judge::{Judged, Offence, Transport, Wrong, as_error, judge, judge_good},
    message::{Generator, Kind},
    random::Random,
    stream::Stream,
    truth::Question,
};

/// Messages between two questions of the same sender that must be answered rightly.
const UDP_BATCH: usize = 96;
const STREAM_BATCH: usize = 64;
/// Messages before a sender takes a new port: ids do not come twice on one socket, so that each response has one
/// message that it can belong to, however late it is.
const IDS: usize = 60_000;
/// Messages on one stream connection.
const STREAM_IDS: usize = 4_000;
/// The largest datagram: longer ones do not go through one IP packet.
const MAX_DATAGRAM: usize = 65_507;
/// The most bytes that a receive queue of the usual size holds, with what the kernel adds to each datagram.
const QUEUE_BYTES: usize = 64 * 1024;
/// What a queued datagram costs beside its bytes.
const DATAGRAM_COST: usize = 512;
/// How long one try of the question between two batches waits, and how many there are.
const TRY: Duration = Duration::from_secs(3);
const TRIES: usize = 5;

/// What a flood came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Hostile messages sent.
    pub sent: usize,
    /// Right responses, by response code.
    pub responses: BTreeMap<u16, usize>,
    /// Messages by family.
    pub kinds: BTreeMap<Kind, usize>,
    /// Good questions among them, all rightly answered.
    pub good: usize,
    /// Good questions that had to be asked again.
    pub again: usize,
    /// Connections that the server closed.
    pub closed: usize,
}

impl Report {
    /// Adds the other.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.good += other.good;
        self.again += other.again;
        self.closed += other.closed;
        for (rcode, count) in &other.responses {
            *self.responses.entry(*rcode).or_default() += count;
        }
        for (kind, count) in &other.kinds {
            *self.kinds.entry(*kind).or_default() += count;
        }
    }

    fn count(&mut self, judged: Judged) {
        *self.responses.entry(judged.rcode).or_default() += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} hostile messages, responses by code {:?}, {} good questions between ({} asked again), {} connections closed by the server",
            self.sent, self.responses, self.good, self.again, self.closed
        )
    }
}

/// Why a flood ended early.
#[derive(Debug, Error)]
pub enum FloodError {
    /// A wrong response.
    #[error("{transport:?}: {wrong}")]
    Wrong {
        /// How it went.
        transport: Transport,
        /// What is wrong.
        wrong: Wrong,
    },
    /// A good question between hostile ones was not answered.
    #[error("{0:?}: a good question between hostile ones was not answered")]
    NoAnswer(Transport),
    /// The server cannot be reached at all.
    #[error("{0:?}: {1}")]
    Io(Transport, io::Error),
}

/// Where a flood comes from and goes to.
#[derive(Clone, Debug)]
pub struct Aim {
    /// Its own address.
    pub source: IpAddr,
    /// The server's.
    pub server: SocketAddr,
    /// The names that the server knows by itself.
    pub own_names: Vec<String>,
    /// The number of messages.
    pub messages: usize,
    /// The form of errors is not judged, only answers are: unbound repeats what it could not read, lies and all, with an
    /// error code, and adds an OPT record to some. Ours may not.
    pub lenient: bool,
}

/// Sends datagrams.
///
/// # Errors
/// The first wrong response, or silence to good questions.
pub fn udp(aim: &Aim, random: &Random) -> Result<Report, FloodError> {
    let failed = |error| FloodError::Io(Transport::Udp, error);
    let mut generator = Generator::new(random.derive("hostile"), &aim.own_names);
    let mut random = random.derive("good");
    let mut report = Report::default();
    while report.sent < aim.messages {
        let socket = UdpSocket::bind((aim.source, 0)).map_err(failed)?;
        socket.connect(aim.server).map_err(failed)?;
        socket.set_read_timeout(Some(TRY)).map_err(failed)?;
        let mut socket = Datagrams {
            socket,
            sent: Sent::new(aim),
            buffer: vec![0; 65_535],
        };
        while socket.sent.len() < IDS && report.sent < aim.messages {
            let mut queued = 0;
            for _ in 0..UDP_BATCH {
                let (kind, message) = generator.next(socket.sent.next_id(), MAX_DATAGRAM);
                queued += message.len() + DATAGRAM_COST;
                socket.send(message).map_err(failed)?;
                report.sent += 1;
                *report.kinds.entry(kind).or_default() += 1;
                if queued > QUEUE_BYTES || report.sent >= aim.messages {
                    break;
                }
            }
            socket.ask(&good_question(&mut random), &mut report)?;
        }
    }
    Ok(report)
}

struct Datagrams {
    socket: UdpSocket,
    sent: Sent,
    buffer: Vec<u8>,
}

impl Datagrams {
    fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        match self.socket.send(&message) {
            Ok(_) => {}
            // An ICMP error of an earlier datagram, told late.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
        self.sent.remember(message);
        Ok(())
    }

    /// Asks a good question, and judges all that comes until its answer does: queues keep order, so that everything
    /// sent before has been read by then.
    fn ask(&mut self, question: &Question, report: &mut Report) -> Result<(), FloodError> {
        for _ in 0..TRIES {
            let id = self.sent.next_id();
            self.send(question.query(id))
                .map_err(|error| FloodError::Io(Transport::Udp, error))?;
            while let Ok(length) = self.socket.recv(&mut self.buffer) {
                let received = &self.buffer[..length];
                if self.sent.is_answer(id, received) {
                    judge_good(question, self.sent.get(id), received, Transport::Udp)
                        .map_err(wrong(Transport::Udp))?;
                    report.good += 1;
                    return Ok(());
                }
                let judged = self
                    .sent
                    .judge(received, Transport::Udp)
                    .map_err(wrong(Transport::Udp))?;
                report.count(judged);
            }
            report.again += 1;
        }
        Err(FloodError::NoAnswer(Transport::Udp))
    }
}

/// Sends messages over streams: TCP, or TLS where there is a configuration for it.
///
/// # Errors
/// The first wrong response, or silence to good questions.
pub fn stream(
    aim: &Aim,
    tls: Option<&Arc<ClientConfig>>,
    random: &Random,
) -> Result<Report, FloodError> {
    let transport = tls.map_or(Transport::Tcp, |_| Transport::Tls);
    let failed = |error| FloodError::Io(transport, error);
    let connect = || match tls {
        Some(config) => Stream::tls(aim.source, aim.server, config),
        None => Stream::tcp(aim.source, aim.server),
    };
    let mut generator = Generator::new(random.derive("hostile"), &aim.own_names);
    let mut random = random.derive("good");
    let mut report = Report::default();
    while report.sent < aim.messages {
        let mut stream = connect().map_err(failed)?;
        let mut sent = Sent::new(aim);
        while sent.len() < STREAM_IDS && report.sent < aim.messages {
            let mut batch = Vec::with_capacity(STREAM_BATCH + 1);
            for _ in 0..STREAM_BATCH.min(aim.messages - report.sent) {
                let (kind, message, closes) = generator.next_in_stream(sent.next_id());
                sent.remember(message.clone());
                batch.push(message);
                report.sent += 1;
                *report.kinds.entry(kind).or_default() += 1;
                if closes {
                    break;
                }
            }
            let question = good_question(&mut random);
            let id = sent.next_id();
            sent.remember(question.query(id));
            batch.push(question.query(id));
            let written = stream.write_messages(batch.iter().map(Vec::as_slice));
            // What the server said before it closed counts, also where it closed while we wrote.
            match read_until(id, &question, &mut stream, &sent, transport, &mut report)? {
                Until::Answered => {}
                Until::Closed => {
                    report.closed += 1;
                    ask_on(connect().map_err(failed)?, &question, transport)?;
                    break;
                }
            }
            if written.is_err() {
                break;
            }
        }
    }
    Ok(report)
}

enum Until {
    Answered,
    Closed,
}

fn read_until(
    id: u16,
    question: &Question,
    stream: &mut Stream,
    sent: &Sent,
    transport: Transport,
    report: &mut Report,
) -> Result<Until, FloodError> {
    loop {
        let received = match stream.read_message() {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(FloodError::NoAnswer(transport));
            }
            Err(_) => return Ok(Until::Closed),
        };
        if sent.is_answer(id, &received) {
            judge_good(question, sent.get(id), &received, transport).map_err(wrong(transport))?;
            report.good += 1;
            return Ok(Until::Answered);
        }
        report.count(sent.judge(&received, transport).map_err(wrong(transport))?);
    }
}

/// The server may close on somebody who sends nonsense, but has to serve who comes next.
fn ask_on(mut stream: Stream, question: &Question, transport: Transport) -> Result<(), FloodError> {
    let query = question.query(1);
    let received = stream
        .write_messages([query.as_slice()])
        .and_then(|()| stream.read_message())
        .map_err(|error| FloodError::Io(transport, error))?;
    judge_good(question, &query, &received, transport)
        .map(drop)
        .map_err(wrong(transport))
}

fn wrong(transport: Transport) -> impl Fn(Wrong) -> FloodError {
    move |wrong| FloodError::Wrong { transport, wrong }
}

/// All messages sent on one socket; the id is the place.
struct Sent {
    messages: Vec<Vec<u8>>,
    lenient: bool,
}

impl Sent {
    fn new(aim: &Aim) -> Self {
        Self {
            messages: Vec::new(),
            lenient: aim.lenient,
        }
    }

    fn len(&self) -> usize {
        self.messages.len()
    }

    fn next_id(&self) -> u16 {
        self.messages.len() as u16
    }

    fn remember(&mut self, message: Vec<u8>) {
        self.messages.push(message);
    }

    fn get(&self, id: u16) -> &[u8] {
        self.messages
            .get(usize::from(id))
            .map_or(&[], Vec::as_slice)
    }

    fn is_answer(&self, id: u16, received: &[u8]) -> bool {
        received.get(..2) == Some(id.to_be_bytes().as_slice())
    }

    fn judge(&self, received: &[u8], transport: Transport) -> Result<Judged, Wrong> {
        let id = match received {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => return Err(Wrong::new(Offence::Malformed, &[], received)),
        };
        match self.get(id) {
            [] => Err(Wrong::new(Offence::Unasked, &[], received)),
            sent => match as_error(received) {
                Some(judged) if self.lenient => Ok(judged),
                _ => judge(sent, received, transport),
            },
        }
    }
}
