//! The lab's own questions: one UDP exchange, TCP when the answer is cut, and an answer that can be compared.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicU16, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::opt::EdnsOption},
};
use thiserror::Error;

use crate::{host::Host, process::POLL};

/// The size of UDP answers that is safe everywhere (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// Extended DNS error (RFC 8914 2).
const EDE_OPTION: u16 = 15;
/// One UDP try: the time in which a resolver has answered, be it with a failure.
const TRY: Duration = Duration::from_secs(7);
const TRIES: usize = 2;
/// Questions in flight when many are asked.
const IN_FLIGHT: usize = 8;

/// Is the owner of each record the name asked for, or the target of an alias above it?
fn is_in_order(message: &Message) -> bool {
    let Some(asked) = message.queries.first() else {
        return false;
    };
    let mut reached = vec![asked.name().clone()];
    message
        .answers
        .iter()
        .filter(|record| record.record_type() != RecordType::RRSIG)
        .all(|record| {
            let led_to = reached.contains(&record.name);
            if let RData::CNAME(target) = &record.data {
                reached.push(target.0.clone());
            }
            led_to
        })
}

/// No answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nothing that answers the question came back.
    #[error("{question} at {server}: no answer: {source}")]
    NoAnswer {
        /// What was asked.
        question: Box<Question>,
        /// Whom.
        server: SocketAddr,
        /// The last error.
        source: io::Error,
    },
}

/// A question, and how it is put.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Question {
    /// Of this name.
    pub name: Name,
    /// Of this type.
    pub rtype: RecordType,
    /// With signatures, please.
    pub dnssec_ok: bool,
    /// Without validation, please.
    pub checking_disabled: bool,
}

impl Question {
    /// A plain question, with AD set: "tell me whether it is authentic" (RFC 6840 5.7).
    #[must_use]
    pub fn new(name: &Name, rtype: RecordType) -> Self {
        Self {
            name: name.clone(),
            rtype,
            dnssec_ok: false,
            checking_disabled: false,
        }
    }

    /// The same with DO.
    #[must_use]
    pub fn with_dnssec(mut self) -> Self {
        self.dnssec_ok = true;
        self
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}{}",
            self.name,
            self.rtype,
            if self.dnssec_ok { " +dnssec" } else { "" }
        )
    }
}

/// An answer, made comparable: no ids, no times to live, no order.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The response code, extended bits included.
    pub rcode: ResponseCode,
    /// The resolver vouches for it.
    pub authentic: bool,
    /// Records of the answer section as text, without signatures.
    pub answers: BTreeSet<String>,
    /// Every alias stands before what it leads to. Stub resolvers such as glibc's read an answer once, from top to
    /// bottom.
    pub in_order: bool,
    /// Which names are signed in the answer section.
    pub signed: BTreeSet<String>,
    /// Extended errors: code and text.
    pub errors: Vec<(u16, String)>,
    /// It came over TCP, since UDP could not hold it.
    pub over_tcp: bool,
    /// The whole message.
    pub message: Message,
}

impl Answer {
    fn new(message: Message, over_tcp: bool) -> Self {
        let is_signature = |record: &&Record| record.record_type() == RecordType::RRSIG;
        let line = |record: &Record| {
            format!(
                "{} {} {}",
                record.name.to_lowercase(),
                record.record_type(),
                record.data.to_string().to_lowercase()
            )
        };
        let errors = message
            .edns
            .iter()
            .flat_map(|edns| edns.options().as_ref().iter())
            .filter_map(|(_, option)| match option {
                EdnsOption::Unknown(EDE_OPTION, data) if data.len() >= 2 => Some((
                    u16::from_be_bytes([data[0], data[1]]),
                    String::from_utf8_lossy(&data[2..]).into_owned(),
                )),
                _ => None,
            });
        Self {
            rcode: message.metadata.response_code,
            in_order: is_in_order(&message),
            authentic: message.metadata.authentic_data,
            answers: message
                .answers
                .iter()
                .filter(|record| !is_signature(record))
                .map(line)
                .collect(),
            signed: message
                .answers
                .iter()
                .filter(is_signature)
                .map(|record| record.name.to_lowercase().to_string())
                .collect(),
            errors: errors.collect(),
            over_tcp,
            message,
        }
    }

    /// Does it say the same as the other: code, records, signed names, and the word of the validator?
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.in_order == other.in_order
            && self.rcode == other.rcode
            && self.authentic == other.authentic
            && self.answers == other.answers
            && self.signed == other.signed
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<_> = self.answers.iter().map(String::as_str).collect();
        write!(
            f,
            "{}{} [{}]",
            self.rcode,
            if self.authentic { " ad" } else { "" },
            answers.join("; ")
        )?;
        if !self.in_order {
            write!(f, " (an alias stands below its target)")?;
        }
        if !self.signed.is_empty() {
            write!(f, " signed: {:?}", self.signed)?;
        }
        for (code, text) in &self.errors {
            write!(f, " (error {code}: {text})")?;
        }
        Ok(())
    }
}

/// Asks a server, from the network of this thread.
///
/// # Errors
/// [`AskError::NoAnswer`] after two tries.
pub fn ask(server: SocketAddr, question: &Question) -> Result<Answer, AskError> {
    let failed = |source| AskError::NoAnswer {
        question: Box::new(question.clone()),
        server,
        source,
    };
    let mut last = io::Error::other("not tried");
    for _ in 0..TRIES {
        match over_udp(server, question, TRY) {
            Ok(message) if message.metadata.truncation => {
                return over_tcp(server, question).map_err(failed);
            }
            Ok(message) => return Ok(Answer::new(message, false)),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Asks over UDP, once, from the network of this thread. An answer that is cut is given as it is.
///
/// # Errors
/// None came within `patience`.
pub fn ask_once(server: SocketAddr, question: &Question, patience: Duration) -> io::Result<Answer> {
    Ok(Answer::new(over_udp(server, question, patience)?, false))
}

/// Asks over TCP alone.
///
/// # Errors
/// [`AskError::NoAnswer`].
pub fn ask_tcp(server: SocketAddr, question: &Question) -> Result<Answer, AskError> {
    over_tcp(server, question).map_err(|source| AskError::NoAnswer {
        question: Box::new(question.clone()),
        server,
        source,
    })
}

/// Asks many questions, several at a time, from a host; the answers are in the order of the questions.
///
/// # Errors
/// The first that was not answered.
pub fn ask_all(
    host: &Host,
    server: SocketAddr,
    questions: &[Question],
) -> Result<Vec<Answer>, AskError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Answer)>, AskError> {
        let mut answers = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(question) = questions.get(at) else {
                return Ok(answers);
            };
            answers.push((at, ask(server, question)?));
        }
    };
    let mut answers = host.within(|| -> Result<Vec<_>, AskError> {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(work)).collect();
            let mut all = Vec::new();
            for worker in workers {
                all.extend(
                    worker
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
                );
            }
            Ok(all)
        })
    })?;
    answers.sort_by_key(|(at, _)| *at);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// Waits, on a host, until a server answers anything at all on UDP. `alive` looks after the server meanwhile.
///
/// # Errors
/// [`AskError::NoAnswer`] when it does not within `within`; whatever `alive` finds.
pub fn wait_until_answering<E: From<AskError> + Send>(
    host: &Host,
    server: SocketAddr,
    within: Duration,
    mut alive: impl FnMut() -> Result<(), E> + Send,
) -> Result<(), E> {
    let question = Question::new(&Name::root(), RecordType::NS);
    host.within(|| {
        let deadline = Instant::now() + within;
        // Short once: just before the server listens, a datagram may vanish. Then long, for a server that takes its time.
        let mut patience = Duration::from_millis(250);
        loop {
            match over_udp(server, &question, patience) {
                Ok(_) => return Ok(()),
                Err(source) if Instant::now() >= deadline => {
                    return Err(AskError::NoAnswer {
                        question: Box::new(question),
                        server,
                        source,
                    }
                    .into());
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => alive()?,
                Err(_) => {
                    alive()?;
                    patience = TRY;
                }
            }
            thread::sleep(POLL);
        }
    })
}

fn over_udp(server: SocketAddr, question: &Question, patience: Duration) -> io::Result<Message> {
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let (id, query) = encode(question)?;
    socket.send(&query)?;
    let deadline = Instant::now() + patience;
    let mut buffer = vec![0; 65_535];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        if let Some(message) = decode(id, question, &buffer[..length]) {
            return Ok(message);
        }
    }
}

fn over_tcp(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, TRY)?;
    stream.set_read_timeout(Some(TRY))?;
    let (id, query) = encode(question)?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    let message = decode(id, question, &answer)
        .ok_or_else(|| io::Error::other("an answer to another question"))?;
    Ok(Answer::new(message, true))
}

fn encode(question: &Question) -> io::Result<(u16, Vec<u8>)> {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true;
    message.metadata.checking_disabled = question.checking_disabled;
    message.add_query(Query::query(question.name.clone(), question.rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD)
        .set_dnssec_ok(question.dnssec_ok);
    message.set_edns(edns);
    Ok((id, message.to_vec().map_err(io::Error::other)?))
}

/// Some servers cut an answer amid a record, and count those that are not there any more: what is left of it is that it
/// was cut.
fn without_records(bytes: &[u8]) -> Option<Message> {
    const HEADER: usize = 12;
    const TRUNCATED: u8 = 0x02;
    if bytes.get(2)? & TRUNCATED == 0 {
        return None;
    }
    // The question's name is not compressed: there is nothing before it.
    let name = bytes.get(HEADER..)?.iter().position(|octet| *octet == 0)?;
    let mut cut = bytes.get(..HEADER + name + 5)?.to_vec();
    cut.get_mut(6..HEADER)?.fill(0);
    Message::from_vec(&cut).ok()
}

fn decode(id: u16, question: &Question, bytes: &[u8]) -> Option<Message> {
    let message = Message::from_vec(bytes).or_else(|error| without_records(bytes).ok_or(error));
    let message = message.ok()?;
    let asked = message.queries.first()?;
    let fits = message.metadata.id == id
        && message.metadata.message_type == MessageType::Response
        && asked.name() == &question.name
        && asked.query_type() == question.rtype;
    fits.then_some(message)
}
