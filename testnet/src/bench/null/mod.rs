//! The floor: programs that move the same bytes over the same sockets, with the same TLS library, and do no DNS work.
//!
//! One thread each, waiting for its sockets; everything that came is read at once, every answer to it leaves at once. What a real
//! program costs more than these is what it does for being one.

mod server;
mod stub;

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    poll::PollTimeout,
    sys::{
        epoll::{Epoll, EpollEvent},
        socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg},
    },
};

pub(crate) use server::NullServer;
pub(crate) use stub::NullStub;

use super::load::BATCH;

/// Octets that one read takes.
const READ: usize = 64 * 1024;
const DATAGRAM: usize = 2048;
const EVENTS: usize = 256;

/// Datagrams in batches, over a socket that waits when it sends.
struct Datagrams {
    socket: UdpSocket,
    buffers: Box<[[u8; DATAGRAM]; BATCH]>,
    received: MultiHeaders<SockaddrIn>,
    sent: MultiHeaders<SockaddrIn>,
}

impl Datagrams {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
        Ok(Self {
            socket,
            buffers: Box::new([[0; DATAGRAM]; BATCH]),
            received: MultiHeaders::preallocate(BATCH, None),
            sent: MultiHeaders::preallocate(BATCH, None),
        })
    }

    /// Takes what is there, up to a batch: sender and length of each.
    fn receive(&mut self, came: &mut Vec<(SockaddrIn, usize)>) -> io::Result<()> {
        came.clear();
        let mut slices = self
            .buffers
            .each_mut()
            .map(|buffer| [io::IoSliceMut::new(buffer)]);
        let messages = recvmmsg(
            self.socket.as_raw_fd(),
            &mut self.received,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        match messages {
            Ok(messages) => {
                came.extend(messages.filter_map(|message| Some((message.address?, message.bytes))));
                Ok(())
            }
            Err(nix::Error::EAGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends a batch at the most.
    fn send(&mut self, messages: &[(Option<SockaddrIn>, &[u8])]) -> io::Result<()> {
        let mut addresses = [None; BATCH];
        let slices: [[io::IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|place| {
            let (address, message) = messages.get(place).copied().unwrap_or_default();
            addresses[place] = address;
            [io::IoSlice::new(message)]
        });
        let count = messages.len().min(BATCH);
        match sendmmsg(
            self.socket.as_raw_fd(),
            &mut self.sent,
            &slices[..count],
            &addresses[..count],
            [],
            MsgFlags::empty(),
        ) {
            // To one that is gone.
            Ok(_) | Err(nix::Error::ECONNREFUSED) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn wait(epoll: &Epoll, events: &mut [EpollEvent; EVENTS]) -> io::Result<usize> {
    match epoll.wait(events, PollTimeout::NONE) {
        Ok(count) => Ok(count),
        Err(nix::Error::EINTR) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}
