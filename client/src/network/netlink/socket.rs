//! The netlink socket: subscribed to what changes, and asked for everything at the start and after an overrun.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};

use super::dump::{Dump, Told};
use super::parse::{Said, read};

/// Groups of `linux/rtnetlink.h`: links, neighbours, addresses and routes of both families, and what routers advertise
/// beside.
const GROUPS: [u32; 7] = [1, 3, 5, 7, 9, 11, 20];
/// Room for what the kernel says while nobody reads. What does not fit is noticed and asked for again.
const BUFFER_BYTES: usize = 1 << 20;
/// `ENOBUFS`: something did not fit, and is lost.
const NO_BUFFERS: i32 = 105;

/// A subscription to the tables of the kernel.
pub struct RouteSocket {
    socket: TokioSocket,
    dump: Dump,
    told: VecDeque<Told>,
}

impl RouteSocket {
    /// Subscribes, and asks for everything. Call within a tokio runtime.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        for group in GROUPS {
            socket.socket_mut().add_membership(group)?;
        }
        // Best effort: the kernel caps it at `net.core.rmem_max`.
        let _ = setsockopt(&socket.socket_ref().as_fd(), sockopt::RcvBuf, &BUFFER_BYTES);
        let mut dump = Dump::default();
        let request = dump.begin();
        let this = Self {
            socket,
            dump,
            told: VecDeque::new(),
        };
        this.ask(&request)?;
        Ok(this)
    }

    /// Asks for everything again: it may have been missed, since nobody was awake.
    ///
    /// # Errors
    /// The socket's.
    pub fn refresh(&mut self) -> io::Result<()> {
        self.on(Said::Overrun)
    }

    /// What the kernel says next. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The socket's: it is of no use any more.
    pub async fn told(&mut self) -> io::Result<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            match self.socket.recv_from_full().await {
                Ok((datagram, sender)) if is_kernel(&sender) => {
                    for said in read(&datagram) {
                        self.on(said)?;
                    }
                }
                // Another process has nothing to say here.
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(NO_BUFFERS) => {
                    tracing::debug!("more changed than there was room for: asking for everything");
                    self.on(Said::Overrun)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn on(&mut self, said: Said) -> io::Result<()> {
        let (told, request) = self.dump.on(said);
        self.told.extend(told);
        match request {
            Some(request) => self.ask(&request),
            None => Ok(()),
        }
    }

    /// At once: the kernel reads requests as they are sent.
    fn ask(&self, request: &[u8]) -> io::Result<()> {
        let kernel = SocketAddr::new(0, 0);
        self.socket
            .socket_ref()
            .send_to(request, &kernel, 0)
            .map(drop)
    }
}

pub(super) fn is_kernel(sender: &SocketAddr) -> bool {
    sender.port_number() == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Event;
    use super::*;

    async fn names_until_whole(socket: &mut RouteSocket) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            match socket.told().await.unwrap() {
                Told::Whole => return names,
                Told::Event(Event::Link(link)) => names.push(link.name),
                Told::Event(_) => {}
                Told::Afresh => names.clear(),
            }
        }
    }

    #[tokio::test]
    async fn the_kernel_tells_of_every_link_and_again_when_asked_again() {
        let mut socket = RouteSocket::open().unwrap();
        let first = names_until_whole(&mut socket).await;
        assert!(first.contains(&"lo".to_owned()), "{first:?}");
        socket.refresh().unwrap();
        assert!(matches!(socket.told().await.unwrap(), Told::Afresh));
        let again = names_until_whole(&mut socket).await;
        assert!(again.contains(&"lo".to_owned()), "{again:?}");
    }
}
