//! Sockets as the front wants them.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use socket2::{Domain, SockRef, Socket, Type};

use super::Limits;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Octets of datagrams that may wait to be read: some milliseconds of a burst. Best effort, the
/// kernel caps it at `net.core.rmem_max`.
const UDP_BUFFER_BYTES: usize = 1 << 20;
/// Octets that the kernel holds of one connection in each direction. Left to itself it holds
/// megabytes of answers for a peer that asks and never reads.
const STREAM_BUFFER_BYTES: usize = 64 * 1024;
/// How often a free TCP port is looked for whose number is free for UDP too.
const PORT_TRIES: usize = 16;

/// Sockets that somebody else bound: a service manager, or a test.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For plain DNS.
    pub udp: Vec<UdpSocket>,
    /// For plain DNS; listening already.
    pub tcp: Vec<TcpListener>,
    /// For DNS over TLS; listening already.
    pub tls: Vec<TcpListener>,
}

/// What is spoken on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// DNS over UDP.
    Udp,
    /// DNS over TCP.
    Tcp,
    /// DNS over TLS.
    Tls,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        })
    }
}

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is taken, is not this host's, or needs a privilege.
    #[error("cannot serve {protocol} on {address}: {source}")]
    Bind {
        /// What was to be served.
        protocol: Protocol,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A socket that was passed in is not of the kind expected.
    #[error("the {protocol} socket passed in cannot be served: {source}")]
    Inherited {
        /// What it was passed in for.
        protocol: Protocol,
        /// What the system says.
        source: io::Error,
    },
}

/// Both sockets of plain DNS on one address; port 0 takes a number that is free for both.
pub(super) fn bind_dns(address: SocketAddr) -> Result<(UdpSocket, TcpListener), ListenError> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let listener = bind_tcp(address, Protocol::Tcp)?;
        let bound = listener.local_addr().map_err(|source| ListenError::Bind {
            protocol: Protocol::Tcp,
            address,
            source,
        })?;
        match bind_udp(bound) {
            Ok(socket) => return Ok((socket, listener)),
            Err(_) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// A UDP socket. Plain: the caller asks for packet information.
pub(super) fn bind_udp(address: SocketAddr) -> Result<UdpSocket, ListenError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        prepare(&socket, address)?;
        let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    bind().map_err(|source| ListenError::Bind {
        protocol: Protocol::Udp,
        address,
        source,
    })
}

/// A listening TCP socket.
pub(super) fn bind_tcp(
    address: SocketAddr,
    protocol: Protocol,
) -> Result<TcpListener, ListenError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        prepare(&socket, address)?;
        // Connections of the process before in TIME_WAIT do not keep the port.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|source| ListenError::Bind {
        protocol,
        address,
        source,
    })
}

/// Makes a listening socket ready for tokio. The connections that it accepts inherit the rest.
pub(super) fn prepare_listener(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let socket = SockRef::from(listener);
    socket.set_send_buffer_size(STREAM_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(STREAM_BUFFER_BYTES)
}

fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be listed, and an address is what it looks like.
        socket.set_only_v6(true)?;
    }
    Ok(())
}

/// How many connections the descriptors of this process allow, at the most what `limits` do.
/// Raises the soft limit of descriptors to the hard one first.
pub(super) fn descriptors_for(limits: &Limits) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return limits.connections;
    };
    let raised = soft == hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let descriptors = usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX);
    let allowed = descriptors
        .saturating_sub(limits.reserved_descriptors)
        .max(1);
    if allowed < limits.connections {
        tracing::warn!(
            "{descriptors} descriptors allow {allowed} connections, fewer than the {} configured",
            limits.connections
        );
    }
    allowed.min(limits.connections)
}
