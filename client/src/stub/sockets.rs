//! The sockets: those that a service manager hands over, or our own.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, Type};

const TCP_BACKLOG: i32 = 256;
/// Octets of datagrams that may wait to be read. The usual default of the kernel is room for 256 small ones, which is
/// what a busy host asks while the processor is away for some tens of milliseconds.
const UDP_BUFFER_BYTES: usize = 1 << 20;
/// Tries to find a port that is free for both UDP and TCP, when any will do.
const ANY_PORT_TRIES: u32 = 16;

/// Sockets to listen on.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Vec<TcpListener>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl BindError {
    /// What would help.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => Some(format!(
                "another program listens there: see `ss -lnptu sport = :{}`; or set `listen` to another address",
                self.address.port()
            )),
            io::ErrorKind::PermissionDenied => Some(
                "ports below 1024 need CAP_NET_BIND_SERVICE or socket activation: start the \
                 service with systemctl, or set `listen` to a higher port"
                    .to_owned(),
            ),
            io::ErrorKind::AddrNotAvailable => {
                Some("no interface of this machine has that address".to_owned())
            }
            _ => None,
        }
    }
}

impl Sockets {
    /// What the service manager handed over (`LISTEN_FDS`); empty when it did not.
    ///
    /// # Errors
    /// When a descriptor is neither UDP nor TCP.
    pub fn inherited() -> io::Result<Self> {
        let mut handed = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..handed.len() {
            if let Ok(Some(socket)) = handed.take_udp_socket(index) {
                socket.set_nonblocking(true)?;
                sockets.udp.push(socket);
            } else if let Some(listener) = handed.take_tcp_listener(index)? {
                listener.set_nonblocking(true)?;
                sockets.tcp.push(listener);
            }
        }
        Ok(sockets)
    }

    /// Binds UDP and TCP on each address. Port 0 means one that is free for both.
    ///
    /// # Errors
    /// [`BindError`] for the first address that does not work.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut sockets = Self::default();
        for address in addresses {
            let (udp, tcp) = bind_both(*address).map_err(|source| BindError {
                address: *address,
                source,
            })?;
            sockets.udp.push(udp);
            sockets.tcp.push(tcp);
        }
        Ok(sockets)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.udp.is_empty() && self.tcp.is_empty()
    }

    /// Where they listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let udp = self.udp.iter().map(UdpSocket::local_addr);
        let tcp = self.tcp.iter().map(TcpListener::local_addr);
        let mut addresses: Vec<SocketAddr> = udp.chain(tcp).filter_map(Result::ok).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

fn bind_both(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = ANY_PORT_TRIES;
    loop {
        let tcp = bind_tcp(address)?;
        match bind_udp(tcp.local_addr()?) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if address.port() != 0 || tries == 0 => return Err(error),
            Err(_) => tries -= 1,
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of the process before us may still be in TIME-WAIT.
    socket.set_reuse_address(true)?;
    prepare(&socket, address)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    prepare(&socket, address)?;
    // Best effort: the kernel caps it at `net.core.rmem_max`.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)
}
