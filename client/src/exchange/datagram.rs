//! A socket for one datagram and its answer.
//!
//! The runtime hears of it only after the question has left: a fresh socket can be written to, and
//! to be told so would cost a turn of the event loop.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recv};
use ring::rand::SecureRandom;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Ports that need no privilege (RFC 6056 §3.2): more than the 28,232 from which Linux chooses.
const FIRST_PORT: u16 = 1024;

/// How often a port that is taken is replaced by another.
const PORTS_TRIED: u32 = 10;

/// Random octets drawn at a time: one system call serves 64 questions, with two for each port and
/// two for each id.
const RANDOM_BYTES: usize = 256;

thread_local! {
    /// Where datagrams of this thread are received; what is kept is copied at its own size.
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Random octets that were drawn and not used yet.
    static RANDOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A socket connected to one server, from a port that the system picks at random.
pub(super) struct Datagram {
    socket: UdpSocket,
}

impl Datagram {
    /// Sends `message` from a new port. The outer error is this host's, the inner one the way's.
    pub(super) fn send(server: SocketAddr, message: &[u8]) -> io::Result<io::Result<Self>> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(server), kind, Some(Protocol::UDP))?;
        bind(&socket, server)?;
        let sent = socket
            .connect(&server.into())
            .and_then(|()| socket.send(message));
        if let Err(error) = sent {
            return Ok(Err(error));
        }
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Ok(Self { socket }))
    }

    /// The next datagram from the server, of which no more than `limit` octets are looked at, as
    /// `judge` sees it.
    pub(super) async fn receive<T>(
        &self,
        limit: usize,
        mut judge: impl FnMut(&[u8]) -> T,
    ) -> io::Result<T> {
        // That nobody listens there makes a socket no more readable.
        let something = Interest::READABLE | Interest::ERROR;
        self.socket
            .async_io(something, || {
                RECEIVED.with_borrow_mut(|buffer| {
                    if buffer.is_empty() {
                        buffer.resize(DATAGRAM_BYTES_MAX, 0);
                    }
                    let room = &mut buffer[..limit.min(DATAGRAM_BYTES_MAX)];
                    let length = recv(self.socket.as_raw_fd(), room, MsgFlags::empty())?;
                    Ok(judge(&room[..length]))
                })
            })
            .await
    }
}

/// Binds to a random port, of the family of `server`.
fn bind(socket: &Socket, server: SocketAddr) -> io::Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    for _ in 0..PORTS_TRIED {
        let port = random_u16()?;
        if port < FIRST_PORT {
            continue;
        }
        match socket.bind(&SocketAddr::new(any, port).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    // Whatever is left: the system knows.
    socket.bind(&SocketAddr::new(any, 0).into())
}

/// Sixteen bits that nobody can guess, for an id or a port. No two results share one.
pub(super) fn random_u16() -> io::Result<u16> {
    RANDOM.with_borrow_mut(|drawn| {
        if drawn.len() < 2 {
            drawn.resize(RANDOM_BYTES, 0);
            if ring::rand::SystemRandom::new().fill(drawn).is_err() {
                drawn.clear();
                return Err(io::Error::other("no randomness"));
            }
        }
        let drawn = [drawn.pop(), drawn.pop()].map(Option::unwrap_or_default);
        Ok(u16::from_be_bytes(drawn))
    })
}
