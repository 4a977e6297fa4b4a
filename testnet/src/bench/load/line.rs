//! The ways to a server: datagrams, a TCP stream, or TLS in one.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Arc,
};

use nix::sys::socket::{
    MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt::IpBindAddressNoPort,
};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, pki_types::ServerName};
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams that one system call moves.
pub(crate) const BATCH: usize = 64;
/// Room for what is read at once.
const SCRATCH: usize = 256 * 1024;
const DATAGRAM: usize = 2048;

/// Memory that all lines of a load share.
pub(crate) struct Scratch {
    octets: Vec<u8>,
    datagrams: Box<[[u8; DATAGRAM]; BATCH]>,
    received: MultiHeaders<()>,
    sent: MultiHeaders<()>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            octets: vec![0; SCRATCH],
            datagrams: Box::new([[0; DATAGRAM]; BATCH]),
            received: MultiHeaders::preallocate(BATCH, None),
            sent: MultiHeaders::preallocate(BATCH, None),
        }
    }
}

/// One way to the server.
pub(crate) enum Line {
    Datagrams(Datagrams),
    Stream(Stream),
}

impl Line {
    /// Takes a message along with the next [`Line::flush`].
    pub(crate) fn queue(&mut self, message: &[u8]) {
        match self {
            Self::Datagrams(line) => frame(message, &mut line.queued),
            Self::Stream(line) => line.queue(message),
        }
    }

    /// Sends what is queued, as far as the kernel takes it.
    pub(crate) fn flush(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        match self {
            Self::Datagrams(line) => line.flush(scratch),
            Self::Stream(line) => line.flush(),
        }
    }

    /// Hands over every message that has come. Says whether the line is still open.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut Scratch,
        each: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        match self {
            Self::Datagrams(line) => line.receive(scratch, each).map(|()| true),
            Self::Stream(line) => line.receive(&mut scratch.octets, each),
        }
    }

    /// Has something that the kernel did not take.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self, Self::Stream(line) if line.sent < line.outgoing.len())
    }

    /// May be used: connected, the handshake over.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Datagrams(_) => true,
            Self::Stream(line) => line.is_ready(),
        }
    }

    /// How the session began, for TLS.
    pub(crate) fn handshake(&self) -> Option<HandshakeKind> {
        match self {
            Self::Datagrams(_) => None,
            Self::Stream(line) => line.tls.as_ref()?.handshake_kind(),
        }
    }

    /// Says goodbye, where there is something to say.
    pub(crate) fn close(&mut self) {
        if let Self::Stream(line) = self {
            if let Some(tls) = &mut line.tls {
                tls.send_close_notify();
            }
            // The socket is closed right after, whatever becomes of this.
            let _ = line.flush();
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagrams(line) => line.socket.as_fd(),
            Self::Stream(line) => line.socket.as_fd(),
        }
    }
}

/// A connected UDP socket.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    /// Framed as in a stream.
    queued: Vec<u8>,
}

impl Datagrams {
    pub(crate) fn open(server: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(4 << 20)?;
        socket.connect(&server.into())?;
        Ok(Self {
            socket: socket.into(),
            queued: Vec::new(),
        })
    }

    fn flush(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        let mut rest = &self.queued[..];
        while !rest.is_empty() {
            let mut count = 0;
            let mut after = rest;
            let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|_| {
                let message = unframe(&mut after).unwrap_or_default();
                count += usize::from(!message.is_empty());
                [IoSlice::new(message)]
            });
            let socket = self.socket.as_raw_fd();
            if let ([[one], ..], 1) = (&slices, count) {
                self.socket.send(one)?;
            } else {
                let sent = sendmmsg(
                    socket,
                    &mut scratch.sent,
                    &slices[..count],
                    [None; BATCH],
                    [],
                    MsgFlags::empty(),
                )?;
                let sent = sent.count();
                if sent < count {
                    for _ in 0..sent {
                        unframe(&mut rest);
                    }
                    continue;
                }
            }
            rest = after;
        }
        self.queued.clear();
        Ok(())
    }

    fn receive(&mut self, scratch: &mut Scratch, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let mut lengths = [0; BATCH];
            let mut count = 0;
            {
                let mut slices = scratch
                    .datagrams
                    .each_mut()
                    .map(|datagram| [IoSliceMut::new(datagram)]);
                let received = match recvmmsg(
                    self.socket.as_raw_fd(),
                    &mut scratch.received,
                    slices.iter_mut(),
                    MsgFlags::MSG_DONTWAIT,
                    None,
                ) {
                    Ok(received) => received,
                    Err(nix::Error::EAGAIN) => return Ok(()),
                    Err(errno) => return Err(errno.into()),
                };
                for (length, message) in lengths.iter_mut().zip(received) {
                    *length = message.bytes;
                    count += 1;
                }
            }
            for (datagram, length) in scratch.datagrams.iter().zip(lengths).take(count) {
                each(&datagram[..length]);
            }
            if count < BATCH {
                return Ok(());
            }
        }
    }
}

/// A TCP connection, with or without TLS.
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    connected: bool,
    outgoing: Vec<u8>,
    /// How much of `outgoing` the kernel has.
    sent: usize,
    incoming: Vec<u8>,
}

impl Stream {
    /// Starts to connect, from this address.
    pub(crate) fn open(
        server: SocketAddr,
        source: Option<Ipv4Addr>,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(server),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            // With a port for each pair of addresses, not for each address.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
                return Err(error);
            }
            _ => {}
        }
        let tls = match tls {
            Some((config, name)) => {
                let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
                tls.set_buffer_limit(None);
                Some(Box::new(tls))
            }
            None => None,
        };
        Ok(Self {
            socket: socket.into(),
            tls,
            connected: false,
            outgoing: Vec::new(),
            sent: 0,
            incoming: Vec::new(),
        })
    }

    fn is_ready(&self) -> bool {
        self.connected && self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    fn queue(&mut self, message: &[u8]) {
        let Some(tls) = &mut self.tls else {
            frame(message, &mut self.outgoing);
            return;
        };
        // One record a query, as applications cause them.
        let mut framed = [0; 512];
        let length = 2 + message.len();
        framed[..2].copy_from_slice(&length_octets(message));
        framed[2..length].copy_from_slice(message);
        tls.writer()
            .write_all(&framed[..length])
            .expect("a buffer without a limit takes everything");
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.connected {
            return Ok(());
        }
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.outgoing)?;
            }
        }
        while self.sent < self.outgoing.len() {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(taken) => self.sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }

    fn receive(&mut self, scratch: &mut [u8], mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        if !self.connected {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            self.connected = true;
        }
        let mut open = true;
        loop {
            let read = match self.socket.read(scratch) {
                Ok(0) => {
                    open = false;
                    break;
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            match &mut self.tls {
                None => self.incoming.extend_from_slice(&scratch[..read]),
                Some(tls) => open &= decrypt(tls, &scratch[..read], &mut self.incoming)?,
            }
            if read < scratch.len() {
                break;
            }
        }
        let mut rest = &self.incoming[..];
        while let Some(message) = unframe(&mut rest) {
            each(message);
        }
        let done = self.incoming.len() - rest.len();
        self.incoming.drain(..done);
        Ok(open)
    }
}

/// Says whether the peer may still send.
fn decrypt(tls: &mut ClientConnection, mut octets: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
    let mut open = true;
    while !octets.is_empty() {
        tls.read_tls(&mut octets)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let fresh = state.plaintext_bytes_to_read();
        if fresh > 0 {
            let start = plain.len();
            plain.resize(start + fresh, 0);
            tls.reader().read_exact(&mut plain[start..])?;
        }
        if state.peer_has_closed() {
            open = false;
            break;
        }
    }
    Ok(open)
}

/// The message, with its length before it (RFC 1035 4.2.2).
fn frame(message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&length_octets(message));
    out.extend_from_slice(message);
}

fn length_octets(message: &[u8]) -> [u8; 2] {
    u16::try_from(message.len())
        .expect("our queries are short")
        .to_be_bytes()
}

/// Takes a whole message off the front.
pub(crate) fn unframe<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let message = after.get(..usize::from(u16::from_be_bytes(*length)))?;
    *rest = &after[message.len()..];
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_comes_back_and_a_part_of_a_message_stays() {
        let mut octets = Vec::new();
        frame(b"one", &mut octets);
        frame(b"three", &mut octets);
        let mut rest = &octets[..octets.len() - 1];
        assert_eq!(unframe(&mut rest), Some(&b"one"[..]));
        assert_eq!(unframe(&mut rest), None);
        assert_eq!(rest, b"\0\x05thre");
    }
}
