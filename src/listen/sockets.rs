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
    /// There are no threads for it.
    #[error("cannot start the workers: {0}")]
    Workers(io::Error),
    /// A socket that was passed in is not of the kind expected.
    #[error("the {protocol} socket passed in cannot be served: {source}")]
    Inherited {
        /// What it was passed in for.
        protocol: Protocol,
        /// What the system says.
        source: io::Error,
    },
}

/// The sockets of plain DNS on one address, for so many workers; port 0 takes a number that is free
/// for both.
pub(super) fn bind_dns(
    address: SocketAddr,
    workers: usize,
) -> Result<(Vec<UdpSocket>, Vec<TcpListener>), ListenError> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let listeners = bind_tcp(address, Protocol::Tcp, workers)?;
        let bound = listeners[0]
            .local_addr()
            .map_err(|source| ListenError::Bind {
                protocol: Protocol::Tcp,
                address,
                source,
            })?;
        match bind_udp(bound, workers) {
            Ok(sockets) => return Ok((sockets, listeners)),
            Err(_) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// UDP sockets, one for each worker.
pub(super) fn bind_udp(address: SocketAddr, workers: usize) -> Result<Vec<UdpSocket>, ListenError> {
    let sockets = bind_group(address, workers, Type::DGRAM, |socket| {
        let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
        Ok(())
    });
    sockets
        .map(|sockets| sockets.into_iter().map(UdpSocket::from).collect())
        .map_err(|source| ListenError::Bind {
            protocol: Protocol::Udp,
            address,
            source,
        })
}

/// Listening TCP sockets, one for each worker.
pub(super) fn bind_tcp(
    address: SocketAddr,
    protocol: Protocol,
    workers: usize,
) -> Result<Vec<TcpListener>, ListenError> {
    let bind = || {
        let sockets = bind_group(address, workers, Type::STREAM, |socket| {
            // Connections of the process before in TIME_WAIT do not keep the port.
            socket.set_reuse_address(true)
        })?;
        for socket in &sockets {
            socket.listen(BACKLOG)?;
        }
        Ok(sockets.into_iter().map(TcpListener::from).collect())
    };
    bind().map_err(|source| ListenError::Bind {
        protocol,
        address,
        source,
    })
}

/// As many sockets on one address as there are workers, between which the kernel divides what
/// comes. The first is bound like any other, and only then lets the others beside it: a second
/// program on the port fails, as it should.
fn bind_group(
    address: SocketAddr,
    workers: usize,
    kind: Type,
    configure: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Vec<Socket>> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        prepare(&socket, address)?;
        configure(&socket)?;
        Ok::<_, io::Error>(socket)
    };
    let first = open()?;
    first.bind(&address.into())?;
    let bound = first.local_addr()?;
    let mut group = vec![first];
    for _ in 1..workers {
        group[0].set_reuse_port(true)?;
        let socket = open()?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound)?;
        group.push(socket);
    }
    Ok(group)
}

/// The same socket for so many workers; each takes from it what it can.
pub(super) fn share<S>(
    socket: S,
    workers: usize,
    duplicate: impl Fn(&S) -> io::Result<S>,
) -> io::Result<Vec<S>> {
    let copies: io::Result<Vec<S>> = (1..workers).map(|_| duplicate(&socket)).collect();
    copies.map(|mut all| {
        all.push(socket);
        all
    })
}

/// Makes a listening socket ready for tokio. The connections that it accepts inherit the rest.
pub(super) fn prepare_listener(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let socket = SockRef::from(listener);
    // An answer is one small write that should not wait for the acknowledgement of the last.
    socket.set_tcp_nodelay(true)?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_listener_is_told_counts_for_the_connections_that_it_accepts() {
        let listeners = bind_tcp("127.0.0.1:0".parse().unwrap(), Protocol::Tls, 1).unwrap();
        prepare_listener(&listeners[0]).unwrap();
        listeners[0].set_nonblocking(false).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listeners[0].accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn workers_share_a_port_and_a_second_program_does_not_get_it() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let (udp, tcp) = bind_dns(address.parse().unwrap(), 3).unwrap();
            let bound = udp[0].local_addr().unwrap();
            for socket in &udp {
                assert_eq!(socket.local_addr().unwrap(), bound);
            }
            for listener in &tcp {
                assert_eq!(listener.local_addr().unwrap(), bound);
            }
            assert_eq!((udp.len(), tcp.len()), (3, 3));
            for workers in [1, 3] {
                let taken = |error: ListenError| match error {
                    ListenError::Bind { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
                    _ => false,
                };
                assert!(taken(bind_udp(bound, workers).unwrap_err()));
                let tcp = bind_tcp(bound, Protocol::Tcp, workers);
                assert!(taken(tcp.unwrap_err()));
            }
        }
    }
}
