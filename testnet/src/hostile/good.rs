//! The good client: asks what it knows the answer to, in every way there is, and takes nothing but the truth.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use thiserror::Error;

use super::{
    judge::{Transport, Wrong, judge_good},
    random::Random,
    stream::Stream,
    truth::{Question, ZONE, rtype},
};

/// One try over UDP, and how many there are: a datagram may be lost where queues are short.
const UDP_TRY: Duration = Duration::from_secs(5);
const UDP_TRIES: usize = 3;

/// Where a server is, and how to know it.
#[derive(Clone, Debug)]
pub struct Service {
    /// UDP and TCP.
    pub dns: SocketAddr,
    /// TLS, where it is served, with what clients need to trust it.
    pub dot: Option<(SocketAddr, Arc<ClientConfig>)>,
}

/// The good client was not served well.
#[derive(Debug, Error)]
pub enum Unserved {
    /// A wrong answer.
    #[error("{way}: {wrong}")]
    Wrong {
        /// How it asked.
        way: &'static str,
        /// What it got.
        wrong: Wrong,
    },
    /// No answer.
    #[error("{way}: no answer: {source}")]
    NoAnswer {
        /// How it asked.
        way: &'static str,
        /// Why there is none.
        source: io::Error,
    },
}

/// A client that behaves.
#[derive(Debug)]
pub struct Good {
    service: Service,
    source: IpAddr,
    random: Random,
    /// Open since the beginning.
    old: Option<Stream>,
    /// The worst that it had to wait, for the record.
    longest: Duration,
    udp_retries: usize,
}

impl Good {
    /// Opens the connection that is to last.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn new(service: Service, source: IpAddr, random: Random) -> Result<Self, Unserved> {
        let mut good = Self {
            service,
            source,
            random,
            old: None,
            longest: Duration::ZERO,
            udp_retries: 0,
        };
        good.old = good.connect_tls("old DoT connection")?;
        Ok(good)
    }

    /// Asks once in every way: UDP, TCP, a new DoT connection, and the one that was there before.
    ///
    /// # Errors
    /// The first way in which it was not served.
    pub fn ask_every_way(&mut self) -> Result<(), Unserved> {
        self.timed(Self::ask_udp)?;
        self.timed(Self::ask_tcp)?;
        self.timed(Self::ask_new_dot)?;
        self.timed(Self::ask_old_dot)
    }

    /// The longest wait for an answer, and how many datagrams had to be sent again.
    #[must_use]
    pub fn patience_needed(&self) -> (Duration, usize) {
        (self.longest, self.udp_retries)
    }

    /// Asks over UDP, from a new port, trying again when nothing comes.
    ///
    /// # Errors
    /// No answer, or a wrong one.
    pub fn ask_udp(&mut self) -> Result<(), Unserved> {
        let way = "UDP";
        let failed = |source| Unserved::NoAnswer { way, source };
        let socket = UdpSocket::bind((self.source, 0)).map_err(failed)?;
        socket.connect(self.service.dns).map_err(failed)?;
        let (question, query) = self.question();
        let mut buffer = vec![0; 65_535];
        for _ in 0..UDP_TRIES {
            socket.send(&query).map_err(failed)?;
            socket.set_read_timeout(Some(UDP_TRY)).map_err(failed)?;
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let received = &buffer[..length];
                    return judge_good(&question, &query, received, Transport::Udp)
                        .map(drop)
                        .map_err(|wrong| Unserved::Wrong { way, wrong });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.udp_retries += 1,
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::TimedOut.into()))
    }

    /// Asks over a TCP connection of its own.
    ///
    /// # Errors
    /// No answer, or a wrong one.
    pub fn ask_tcp(&mut self) -> Result<(), Unserved> {
        let way = "TCP";
        let mut stream = Stream::tcp(self.source, self.service.dns)
            .map_err(|source| Unserved::NoAnswer { way, source })?;
        self.ask_stream(way, Transport::Tcp, &mut stream)
    }

    /// Asks over a DoT connection of its own.
    ///
    /// # Errors
    /// No answer, or a wrong one.
    pub fn ask_new_dot(&mut self) -> Result<(), Unserved> {
        let way = "new DoT connection";
        match self.connect_tls(way)? {
            Some(mut stream) => self.ask_stream(way, Transport::Tls, &mut stream),
            None => Ok(()),
        }
    }

    /// Asks over the connection that it has had since the beginning.
    ///
    /// # Errors
    /// No answer, or a wrong one.
    pub fn ask_old_dot(&mut self) -> Result<(), Unserved> {
        let Some(mut stream) = self.old.take() else {
            return Ok(());
        };
        let result = self.ask_stream("old DoT connection", Transport::Tls, &mut stream);
        self.old = Some(stream);
        result
    }

    fn connect_tls(&self, way: &'static str) -> Result<Option<Stream>, Unserved> {
        self.service
            .dot
            .as_ref()
            .map(|(server, config)| Stream::tls(self.source, *server, config))
            .transpose()
            .map_err(|source| Unserved::NoAnswer { way, source })
    }

    fn ask_stream(
        &mut self,
        way: &'static str,
        transport: Transport,
        stream: &mut Stream,
    ) -> Result<(), Unserved> {
        let (question, query) = self.question();
        let received = stream
            .write_messages([query.as_slice()])
            .and_then(|()| stream.read_message())
            .map_err(|source| Unserved::NoAnswer { way, source })?;
        judge_good(&question, &query, &received, transport)
            .map(drop)
            .map_err(|wrong| Unserved::Wrong { way, wrong })
    }

    fn timed(&mut self, ask: fn(&mut Self) -> Result<(), Unserved>) -> Result<(), Unserved> {
        let start = Instant::now();
        let result = ask(self);
        self.longest = self.longest.max(start.elapsed());
        result
    }

    fn question(&mut self) -> (Question, Vec<u8>) {
        let question = good_question(&mut self.random);
        let query = question.query(self.random.word());
        (question, query)
    }
}

/// A sound question with a known answer.
pub fn good_question(random: &mut Random) -> Question {
    let rtypes = [rtype::A, rtype::A, rtype::AAAA, rtype::TXT, 15];
    let number = random.next();
    let name = match random.below(8) {
        0 => format!("no-{number:x}.{ZONE}"),
        _ => format!("good-{number:x}.{ZONE}"),
    };
    Question::new(&name, random.pick(&rtypes))
}
