//! Answers every question with the same address.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    socket::SockaddrIn,
};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::TLS13,
};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs::Ticketer;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring::Ticketer;
use zzdot_client::tls::provider::provider;

use super::{Datagrams, EVENTS, READ, wait};
use crate::bench::{
    Failure,
    load::{CONSTANT, unframe},
};

const UDP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// A server that knows one answer.
#[derive(Args, Clone, Debug)]
pub(crate) struct NullServer {
    /// DNS over UDP.
    #[arg(long)]
    pub(crate) udp: SocketAddr,
    /// DNS over TLS.
    #[arg(long)]
    pub(crate) dot: SocketAddr,
    /// The certificate, in PEM.
    #[arg(long)]
    pub(crate) certificate: PathBuf,
    /// Its key, in PEM.
    #[arg(long)]
    pub(crate) key: PathBuf,
}

struct Connection {
    socket: TcpStream,
    tls: ServerConnection,
    /// Of a query that has not come whole.
    partial: Vec<u8>,
    /// What the kernel did not take.
    unsent: Vec<u8>,
    blocked: bool,
}

/// Memory for whoever is served at the moment.
#[derive(Default)]
struct Scratch {
    read: Vec<u8>,
    answers: Vec<u8>,
    written: Vec<u8>,
}

impl NullServer {
    /// Serves until it is killed.
    ///
    /// # Errors
    /// It cannot listen, or the kernel refuses it something.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let config = self.tls_config()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let listener = TcpListener::bind(self.dot)?;
        listener.set_nonblocking(true)?;
        socket2::SockRef::from(&listener).listen(4096)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let mut datagrams = Datagrams::bind(self.udp)?;
        epoll.add(&datagrams.socket, EpollEvent::new(EpollFlags::EPOLLIN, UDP))?;
        let mut connections: Vec<Option<Connection>> = Vec::new();
        let mut free = Vec::new();
        let mut came = Vec::new();
        let mut scratch = Scratch {
            read: vec![0; READ],
            ..Scratch::default()
        };
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = wait(&epoll, &mut events)?;
            for event in &events[..count] {
                match event.data() {
                    UDP => answer_datagrams(&mut datagrams, &mut came, &mut scratch.answers)?,
                    LISTENER => {
                        while let Some(socket) = accept(&listener)? {
                            let index = free.pop().unwrap_or_else(|| {
                                connections.push(None);
                                connections.len() - 1
                            });
                            let flags = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
                            epoll.add(&socket, flags)?;
                            connections[index] = Some(Connection {
                                socket,
                                tls: ServerConnection::new(config.clone())?,
                                partial: Vec::new(),
                                unsent: Vec::new(),
                                blocked: false,
                            });
                        }
                    }
                    index => {
                        let place = index as usize;
                        let Some(connection) = &mut connections[place] else {
                            continue;
                        };
                        let blocked = connection.blocked;
                        if !connection.turn(&mut scratch).unwrap_or(false) {
                            connections[place] = None;
                            free.push(place);
                        } else if connection.blocked != blocked {
                            let mut flags = EpollFlags::EPOLLIN;
                            flags.set(EpollFlags::EPOLLOUT, connection.blocked);
                            epoll.modify(&connection.socket, &mut EpollEvent::new(flags, index))?;
                        }
                    }
                }
            }
        }
    }

    fn tls_config(&self) -> Result<Arc<ServerConfig>, Failure> {
        let certificate = CertificateDer::from_pem_slice(&fs::read(&self.certificate)?)?;
        let key = PrivateKeyDer::from_pem_slice(&fs::read(&self.key)?)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.ticketer = Ticketer::new()?;
        Ok(Arc::new(config))
    }
}

impl Connection {
    /// Reads, answers, writes. Says whether the connection goes on.
    fn turn(&mut self, scratch: &mut Scratch) -> io::Result<bool> {
        let mut open = true;
        scratch.answers.clear();
        loop {
            let read = match self.socket.read(&mut scratch.read) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let mut octets = &scratch.read[..read];
            while !octets.is_empty() {
                self.tls.read_tls(&mut octets)?;
                let state = self.tls.process_new_packets().map_err(io::Error::other)?;
                let fresh = state.plaintext_bytes_to_read();
                let start = self.partial.len();
                if fresh > 0 {
                    self.partial.resize(start + fresh, 0);
                    self.tls.reader().read_exact(&mut self.partial[start..])?;
                }
                if state.peer_has_closed() {
                    open = false;
                    break;
                }
            }
            if !open || read < READ {
                break;
            }
        }
        let mut rest = &self.partial[..];
        while let Some(query) = unframe(&mut rest) {
            let start = scratch.answers.len();
            scratch.answers.extend_from_slice(&[0, 0]);
            if !answer(query, &mut scratch.answers) {
                return Ok(false);
            }
            let length = u16::try_from(scratch.answers.len() - start - 2).unwrap_or_default();
            scratch.answers[start..start + 2].copy_from_slice(&length.to_be_bytes());
        }
        if rest.is_empty() {
            self.partial.clear();
        } else {
            let done = self.partial.len() - rest.len();
            self.partial.drain(..done);
        }
        if !scratch.answers.is_empty() {
            self.tls.writer().write_all(&scratch.answers)?;
        }
        self.write(scratch)?;
        Ok(open)
    }

    fn write(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        scratch.written.clear();
        scratch.written.append(&mut self.unsent);
        while self.tls.wants_write() {
            self.tls.write_tls(&mut scratch.written)?;
        }
        let mut rest = &scratch.written[..];
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(rest);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.blocked = !self.unsent.is_empty();
        Ok(())
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((socket, _)) => {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            Ok(Some(socket))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn answer_datagrams(
    datagrams: &mut Datagrams,
    came: &mut Vec<(SockaddrIn, usize)>,
    answers: &mut Vec<u8>,
) -> io::Result<()> {
    datagrams.receive(came)?;
    answers.clear();
    let mut ends = [0; super::BATCH];
    for (place, (_, length)) in came.iter().enumerate() {
        answer(&datagrams.buffers[place][..*length], answers);
        ends[place] = answers.len();
    }
    let mut start = 0;
    let messages: [(Option<SockaddrIn>, &[u8]); super::BATCH] = std::array::from_fn(|place| {
        let Some((address, _)) = came.get(place) else {
            return (None, &[][..]);
        };
        let message = &answers[start..ends[place]];
        start = ends[place];
        (Some(*address), message)
    });
    if came.is_empty() {
        return Ok(());
    }
    datagrams.send(&messages[..came.len()])
}

/// The header, the question as it came, one address.
fn answer(query: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(question) = question(query) else {
        return false;
    };
    out.extend_from_slice(&query[..2]);
    out.extend_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    out.extend_from_slice(question);
    out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4]);
    out.extend_from_slice(&CONSTANT);
    true
}

/// Name, type and class.
fn question(query: &[u8]) -> Option<&[u8]> {
    let mut place = 12;
    loop {
        let length = usize::from(*query.get(place)?);
        place += 1 + length;
        if length == 0 {
            return query.get(12..place + 4);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bench::load::{Questions, Truth};

    #[test]
    fn it_knows_one_answer_and_gives_it_to_every_question() {
        for mut questions in [Questions::known(), Questions::fresh(1)] {
            let (mut query, mut out) = (Vec::new(), Vec::new());
            let number = questions.append(77, &mut query);
            assert!(answer(&query, &mut out));
            assert_eq!(questions.check(number, &out, Truth::Constant), Ok(()));
            assert!(!answer(&query[..query.len() - 1], &mut out));
        }
    }
}
