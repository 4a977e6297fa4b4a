//! Passes datagrams on over one TLS connection, and answers back.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use clap::Args;
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    socket::SockaddrIn,
};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::{Datagrams, EVENTS, READ, wait};
use crate::bench::{
    Failure,
    load::{BATCH, KeyExchange, client_config, unframe},
};

const UDP: u64 = 0;
const UPSTREAM: u64 = 1;

/// A stub that knows its way.
#[derive(Args, Clone, Debug)]
pub(crate) struct NullStub {
    /// DNS over UDP.
    #[arg(long)]
    pub(crate) udp: SocketAddr,
    /// The server of DNS over TLS.
    #[arg(long)]
    pub(crate) server: SocketAddr,
}

struct Upstream {
    socket: TcpStream,
    tls: ClientConnection,
    plain: Vec<u8>,
    unsent: Vec<u8>,
    blocked: bool,
}

impl NullStub {
    /// Serves until it is killed, or its server ends the connection.
    ///
    /// # Errors
    /// It cannot listen or connect, or the connection ended.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let config = client_config(KeyExchange::X25519, false)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut datagrams = Datagrams::bind(self.udp)?;
        epoll.add(&datagrams.socket, EpollEvent::new(EpollFlags::EPOLLIN, UDP))?;
        let mut upstream = Upstream::connect(self.server, config)?;
        let flags = EpollEvent::new(EpollFlags::EPOLLIN, UPSTREAM);
        epoll.add(&upstream.socket, flags)?;
        // Who asked under which id, and with what id of the own.
        let mut askers: Vec<Option<(SockaddrIn, [u8; 2])>> = vec![None; 1 << 16];
        let mut next_id: u16 = 0;
        let mut came = Vec::new();
        let mut read = vec![0; READ];
        let mut message = Vec::new();
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = wait(&epoll, &mut events)?;
            for event in &events[..count] {
                if event.data() == UDP {
                    datagrams.receive(&mut came)?;
                    for (place, (asker, length)) in came.iter().enumerate() {
                        let [first, second, rest @ ..] = &datagrams.buffers[place][..*length]
                        else {
                            continue;
                        };
                        next_id = next_id.wrapping_add(1);
                        askers[usize::from(next_id)] = Some((*asker, [*first, *second]));
                        message.clear();
                        let length = u16::try_from(*length).unwrap_or(u16::MAX);
                        message.extend_from_slice(&length.to_be_bytes());
                        message.extend_from_slice(&next_id.to_be_bytes());
                        message.extend_from_slice(rest);
                        upstream.tls.writer().write_all(&message)?;
                    }
                } else {
                    upstream.receive(&mut read)?;
                    answer(&mut datagrams, &mut upstream.plain, &mut askers)?;
                }
            }
            let blocked = upstream.blocked;
            upstream.write()?;
            if blocked != upstream.blocked {
                let mut flags = EpollFlags::EPOLLIN;
                flags.set(EpollFlags::EPOLLOUT, upstream.blocked);
                epoll.modify(&upstream.socket, &mut EpollEvent::new(flags, UPSTREAM))?;
            }
        }
    }
}

impl Upstream {
    /// With the handshake done.
    fn connect(server: SocketAddr, config: Arc<ClientConfig>) -> Result<Self, Failure> {
        let mut socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        let mut tls = ClientConnection::new(config, ServerName::from(server.ip()))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        tls.set_buffer_limit(None);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            tls,
            plain: Vec::new(),
            unsent: Vec::new(),
            blocked: false,
        })
    }

    fn receive(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        let read = match self.socket.read(scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut octets = &scratch[..read];
        while !octets.is_empty() {
            self.tls.read_tls(&mut octets)?;
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let fresh = state.plaintext_bytes_to_read();
            if fresh > 0 {
                let start = self.plain.len();
                self.plain.resize(start + fresh, 0);
                self.tls.reader().read_exact(&mut self.plain[start..])?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.unsent)?;
        }
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.socket.write(&self.unsent[sent..]) {
                Ok(taken) => sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        self.blocked = !self.unsent.is_empty();
        Ok(())
    }
}

/// Gives each answer to whom it belongs, under the id it was asked with.
fn answer(
    datagrams: &mut Datagrams,
    plain: &mut Vec<u8>,
    askers: &mut [Option<(SockaddrIn, [u8; 2])>],
) -> io::Result<()> {
    let mut place = 0;
    loop {
        // Ids first, in place; then the batch is made of what was changed.
        let start = place;
        let mut addresses = [None; BATCH];
        let mut count = 0;
        while count < BATCH {
            let Some(length) = whole(&plain[place..]) else {
                break;
            };
            let Some(id) = plain[place..].get_mut(2..4) else {
                break;
            };
            let asker = usize::from(u16::from_be_bytes([id[0], id[1]]));
            if let Some((address, own)) = askers[asker].take() {
                id.copy_from_slice(&own);
                addresses[count] = Some(address);
            }
            count += 1;
            place += 2 + length;
        }
        if count == 0 {
            plain.drain(..start);
            return Ok(());
        }
        let mut rest = &plain[start..place];
        let mut messages = [(None, &[][..]); BATCH];
        let mut known = 0;
        for address in &addresses[..count] {
            let message = unframe(&mut rest).unwrap_or_default();
            if address.is_some() {
                messages[known] = (*address, message);
                known += 1;
            }
        }
        if known > 0 {
            datagrams.send(&messages[..known])?;
        }
    }
}

/// The length of the message at the front, when it has come whole.
fn whole(octets: &[u8]) -> Option<usize> {
    let mut rest = octets;
    unframe(&mut rest).map(<[u8]>::len)
}
