//! Many datagrams in one system call, in memory of the worker's.

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    ops::Range,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::{
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg,
        sendmmsg, setsockopt, sockopt,
    },
};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

/// Datagrams in one system call.
pub(super) const BATCH: usize = 64;
/// The longest query that is read whole, in octets: what EDNS commonly offered before 2020. The
/// kernel cuts a longer one, which then does not parse.
const QUERY_BYTES: usize = 4096;
/// How far apart the buffers are. A power of two would have the beginnings of all of them compete
/// for the same lines of the processor's cache.
const STRIDE: usize = QUERY_BYTES + 64;
/// What unusually long answers needed beyond this is given back, in octets.
const KEPT_BYTES: usize = 128 * 1024;

/// Where an answer goes, and where it comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) asker: SocketAddr,
    /// The address that was asked, where the socket has many.
    pub(super) asked: Option<IpAddr>,
}

/// What is peculiar to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    ipv6: bool,
    /// It has many addresses: each datagram tells to which it came, and from which it goes.
    wildcard: bool,
}

/// A worker's memory for datagrams.
#[derive(Debug)]
pub(super) struct Post {
    buffers: Vec<u8>,
    /// What came last.
    pub(super) arrived: Vec<Arrival>,
    /// The answers to it, one after the other, and where each goes.
    pub(super) answers: Vec<u8>,
    pub(super) parcels: Vec<Parcel>,
    receiving: Vec<(Kind, Headers)>,
    sending: Vec<(Kind, Headers)>,
}

type Headers = MultiHeaders<SockaddrStorage>;

/// A datagram that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    length: usize,
    pub(super) way: Way,
}

/// An answer that goes.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    /// Where in [`Post::answers`].
    pub(super) answer: Range<usize>,
    pub(super) way: Way,
}

thread_local! {
    static POST: RefCell<Post> = const { RefCell::new(Post::new()) };
}

impl Kind {
    /// Makes `socket` ready: not blocking, no fragments, and packet information where it is needed.
    pub(super) fn prepare(socket: &UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let kind = Self {
            ipv6: address.is_ipv6(),
            wildcard: address.ip().is_unspecified(),
        };
        // For IPv6 too: such a socket may also serve IPv4.
        set_ip_mtu_discover(socket.as_fd(), Ipv4PathMtuDiscovery::PROBE)?;
        if kind.ipv6 {
            set_ipv6_mtu_discover(socket.as_fd(), Ipv6PathMtuDiscovery::PROBE)?;
        }
        if kind.wildcard {
            match kind.ipv6 {
                true => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
                false => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
            }
        }
        Ok(kind)
    }

    fn headers(self) -> Headers {
        let control = match (self.wildcard, self.ipv6) {
            (false, _) => None,
            (true, false) => Some(nix::cmsg_space!(libc::in_pktinfo)),
            (true, true) => Some(nix::cmsg_space!(libc::in6_pktinfo)),
        };
        MultiHeaders::preallocate(BATCH, control)
    }
}

impl Post {
    const fn new() -> Self {
        Self {
            buffers: Vec::new(),
            arrived: Vec::new(),
            answers: Vec::new(),
            parcels: Vec::new(),
            receiving: Vec::new(),
            sending: Vec::new(),
        }
    }

    /// Lends the worker's memory for one batch.
    pub(super) fn lend<T>(batch: impl FnOnce(&mut Self) -> T) -> T {
        POST.with_borrow_mut(|post| {
            let result = batch(post);
            post.parcels.clear();
            post.answers.clear();
            post.answers.shrink_to(KEPT_BYTES);
            result
        })
    }

    /// Receives into `arrived` what there is, at the most [`BATCH`] datagrams.
    pub(super) fn receive(&mut self, socket: RawFd, kind: Kind) -> io::Result<()> {
        self.arrived.clear();
        if self.buffers.is_empty() {
            self.buffers = vec![0; BATCH * STRIDE];
        }
        let headers = headers_of(&mut self.receiving, kind);
        let mut buffers = self.buffers.chunks_exact_mut(STRIDE);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
            let buffer = buffers.next().expect("as many buffers as slices");
            [IoSliceMut::new(&mut buffer[..QUERY_BYTES])]
        });
        let received = recvmmsg(socket, headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        for message in received {
            // Nobody is answered who cannot be named.
            let asker = message.address.as_ref().and_then(socket_addr);
            let asked = match kind.wildcard {
                true => message.cmsgs()?.find_map(asked),
                false => None,
            };
            if let Some(asker) = asker {
                let way = Way { asker, asked };
                self.arrived.push(Arrival {
                    length: message.bytes,
                    way,
                });
            } else {
                // Keeps the order of the buffers.
                let nobody = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
                self.arrived.push(Arrival {
                    length: 0,
                    way: Way {
                        asker: nobody,
                        asked,
                    },
                });
            }
        }
        Ok(())
    }

    /// The octets of what arrived as number `at`.
    pub(super) fn query(&self, at: usize) -> &[u8] {
        let start = at * STRIDE;
        let length = self.arrived.get(at).map_or(0, |arrival| arrival.length);
        self.buffers
            .get(start..start + length.min(QUERY_BYTES))
            .unwrap_or_default()
    }

    /// Sends the first of `parcels[from..]`, as many as go in one system call; says how many went.
    ///
    /// # Errors
    /// Why the first did not.
    pub(super) fn send(&mut self, socket: RawFd, kind: Kind, from: usize) -> io::Result<usize> {
        let Some(first) = self.parcels.get(from) else {
            return Ok(0);
        };
        let asked = first.way.asked;
        // The kernel is told once for all from which address they go.
        let alike = self.parcels[from..]
            .iter()
            .take(BATCH)
            .take_while(|parcel| parcel.way.asked == asked)
            .count();
        let parcels = &self.parcels[from..from + alike];
        let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|at| {
            let range = parcels.get(at).map_or(0..0, |parcel| parcel.answer.clone());
            [IoSlice::new(self.answers.get(range).unwrap_or_default())]
        });
        let mut addresses: [Option<SockaddrStorage>; BATCH] = [None; BATCH];
        for (address, parcel) in addresses.iter_mut().zip(parcels) {
            *address = Some(parcel.way.asker.into());
        }
        let (addresses, slices) = (&addresses[..alike], &slices[..alike]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let kind = Kind {
            wildcard: asked.is_some(),
            ..kind
        };
        let headers = headers_of(&mut self.sending, kind);
        let sent = match (asked, kind.ipv6) {
            (None, _) => sendmmsg(socket, headers, slices, addresses, [], flags)?,
            (Some(asked), false) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr(asked),
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                return Ok(sendmmsg(socket, headers, slices, addresses, control, flags)?.count());
            }
            (Some(asked), true) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: in6_addr(asked),
                    ipi6_ifindex: 0,
                };
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                return Ok(sendmmsg(socket, headers, slices, addresses, control, flags)?.count());
            }
        };
        Ok(sent.count())
    }
}

/// The headers for sockets of this kind. The kernel shortens them to what such a socket gives, so
/// each kind needs its own.
fn headers_of(all: &mut Vec<(Kind, Headers)>, kind: Kind) -> &mut Headers {
    let at = match all.iter().position(|(other, _)| *other == kind) {
        Some(at) => at,
        None => {
            all.push((kind, kind.headers()));
            all.len() - 1
        }
    };
    &mut all[at].1
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddrV4::from(*v4).into());
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddrV6::from(*v6).into())
}

fn asked(message: ControlMessageOwned) -> Option<IpAddr> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    }
}

fn in_addr(address: IpAddr) -> libc::in_addr {
    let octets = match address.to_canonical() {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [0; 4],
    };
    libc::in_addr {
        s_addr: u32::from_ne_bytes(octets),
    }
}

fn in6_addr(address: IpAddr) -> libc::in6_addr {
    let s6_addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    libc::in6_addr { s6_addr }
}

/// The descriptor, for the calls above.
pub(super) fn descriptor(socket: &impl AsRawFd) -> RawFd {
    socket.as_raw_fd()
}
