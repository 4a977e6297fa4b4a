//! Many datagrams in one system call, and those who wait for them.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::slice::ChunksMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::OwnedSemaphorePermit;

use crate::dot::{Recalled, Terms};
use crate::wire;

/// Datagrams taken or given in one system call at the most.
pub const BATCH: usize = 32;

/// What the system calls of one family of addresses write into. Those that receive are never used to send: the system
/// would write the next sender where the last receiver stood.
struct Headers<A> {
    receive: MultiHeaders<A>,
    send: MultiHeaders<A>,
}

impl<A: SockaddrLike + Copy> Headers<A> {
    fn new() -> RefCell<Self> {
        RefCell::new(Self {
            receive: MultiHeaders::preallocate(BATCH, None),
            send: MultiHeaders::preallocate(BATCH, None),
        })
    }
}

thread_local! {
    // Empty between the calls. Not in `Inbox` and `Outbox`, since the pointers in them would keep those from going from
    // thread to thread.
    static V4: RefCell<Headers<SockaddrIn>> = Headers::new();
    static V6: RefCell<Headers<SockaddrIn6>> = Headers::new();
}

/// A batch of datagrams that came.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    longest: usize,
    v4: bool,
    came: Vec<(SocketAddr, usize)>,
}

impl Inbox {
    /// Room for a batch of datagrams of `longest` bytes, longer ones are cut, that come to a socket at `local`.
    #[must_use]
    pub fn new(local: SocketAddr, longest: usize) -> Self {
        Self {
            bytes: vec![0; longest * BATCH],
            longest,
            v4: local.is_ipv4(),
            came: Vec::with_capacity(BATCH),
        }
    }

    /// Waits for datagrams, and takes as many as are there and fit.
    ///
    /// # Errors
    /// The socket's.
    pub async fn fill(&mut self, listener: &Listener) -> io::Result<()> {
        loop {
            let mut ready = listener.socket.readable().await?;
            self.came.clear();
            let taken = ready.try_io(|socket| {
                self.take(socket.get_ref())?;
                // There are no more: saying so saves the call that would find out.
                if self.came.len() < BATCH {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            if let Ok(Err(error)) = taken {
                return Err(error);
            }
            if !self.came.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether there may be more than fit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.came.len() >= BATCH
    }

    /// What came, and from whom.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let bytes = self.bytes.chunks(self.longest.max(1)).zip(&self.came);
        bytes.map(|(bytes, (peer, length))| (bytes.get(..*length).unwrap_or(bytes), *peer))
    }

    fn take(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let (fd, came) = (socket.as_raw_fd(), &mut self.came);
        let chunks = self.bytes.chunks_mut(self.longest.max(1));
        if self.v4 {
            V4.with_borrow_mut(|headers| receive(fd, &mut headers.receive, chunks, came, v4))
        } else {
            V6.with_borrow_mut(|headers| receive(fd, &mut headers.receive, chunks, came, v6))
        }
    }
}

fn receive<A: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<A>,
    mut chunks: ChunksMut<'_, u8>,
    came: &mut Vec<(SocketAddr, usize)>,
    socket_addr: impl Fn(A) -> SocketAddr,
) -> io::Result<()> {
    let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(chunks.next().unwrap_or_default())]);
    let flags = MsgFlags::MSG_DONTWAIT;
    for datagram in recvmmsg(fd, headers, slices.iter_mut(), flags, None)? {
        // Sockets of the internet name the sender.
        if let Some(peer) = datagram.address {
            came.push((socket_addr(peer), datagram.bytes));
        }
    }
    Ok(())
}

/// A socket that askers reach, and what it counts.
#[derive(Debug)]
pub struct Listener {
    /// Watched for what comes, and not for when it can be written to: that would wake us each time an asker takes an
    /// answer.
    socket: AsyncFd<UdpSocket>,
    /// Answers that did not fit into their asker's datagram.
    cut: Arc<dyn Counter>,
}

/// Something that counts.
pub trait Counter: std::fmt::Debug + Send + Sync {
    /// Once more.
    fn count(&self);
}

impl Counter for AtomicU64 {
    fn count(&self) {
        self.fetch_add(1, Ordering::Relaxed);
    }
}

impl Listener {
    /// `cut` is told of each answer that is too long for its asker. Call within a tokio runtime.
    ///
    /// # Errors
    /// When the runtime does not take the socket, or the socket does not know where it is.
    pub fn new(socket: UdpSocket, cut: Arc<dyn Counter>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: watch(socket, Interest::READABLE)?,
            cut,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Sends `message` to `peer`.
    pub async fn send(&self, message: &[u8], peer: SocketAddr) {
        if let Err(error) = self.try_send(message, peer).await {
            tracing::debug!(%error, %peer, "sending a datagram");
        }
    }

    async fn try_send(&self, message: &[u8], peer: SocketAddr) -> io::Result<()> {
        let socket = self.socket.get_ref();
        match socket.send_to(message, peer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent.map(drop),
        }
        let socket = watch(socket.try_clone()?, Interest::WRITABLE)?;
        let send = |socket: &UdpSocket| socket.send_to(message, peer).map(drop);
        socket.async_io(Interest::WRITABLE, send).await
    }
}

#[expect(
    deprecated,
    reason = "unsound for types that give away another descriptor than they own, which this one does not"
)]
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

/// Somebody who waits for an answer in a datagram.
#[derive(Debug)]
pub struct Asker {
    /// Where he asked.
    pub listener: Arc<Listener>,
    /// Where he is.
    pub peer: SocketAddr,
    /// The longest datagram that he takes.
    pub longest: usize,
    /// His place among those who wait.
    pub turn: OwnedSemaphorePermit,
}

impl Asker {
    /// Sends him `answer`, cut to what he takes.
    pub async fn reply(self, answer: &[u8]) {
        if answer.len() > self.longest {
            self.listener.cut.count();
            let cut = wire::truncate(answer, self.longest);
            self.listener.send(&cut, self.peer).await;
        } else {
            self.listener.send(answer, self.peer).await;
        }
    }
}

/// A batch of answers in one buffer, and who waits for each.
#[derive(Debug, Default)]
pub struct Outbox {
    answers: Vec<(Range<usize>, Asker)>,
}

impl Outbox {
    /// Whether it has to be sent before more is put in.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.answers.len() >= BATCH
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The answer stands at `at` in the buffer that [`Outbox::send`] will be given.
    pub fn put(&mut self, at: Range<usize>, asker: Asker) {
        self.answers.push((at, asker));
    }

    /// Sends all, out of `buffer`. What the system does not take at once, and what is too long for its asker, goes a
    /// way of its own. Call within a tokio runtime.
    pub fn send(&mut self, buffer: &[u8]) {
        while let Some((at, asker)) = self
            .answers
            .extract_if(.., |(at, asker)| at.len() > asker.longest)
            .next()
        {
            send_later(buffer, at, asker);
        }
        let mut sent = 0;
        while let Some(rest) = self.answers.get(sent..).filter(|rest| !rest.is_empty()) {
            match send_some(buffer, rest) {
                // The system takes one at least, or says why not.
                Ok(more) => sent += more.max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::debug!(%error, "sending a datagram");
                    sent += 1;
                }
            }
        }
        for (at, asker) in self.answers.drain(..).skip(sent) {
            send_later(buffer, at, asker);
        }
    }
}

/// Answers that are known, to questions of one batch.
#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    outbox: Outbox,
}

impl Replies {
    /// Has `recall` append the answer for `asker`.
    ///
    /// # Errors
    /// Gives the asker back, and what `recall` said instead.
    pub fn put(
        &mut self,
        asker: Asker,
        recall: impl FnOnce(&mut Vec<u8>) -> Recalled,
    ) -> Result<(), (Asker, Option<Terms>)> {
        let start = self.bytes.len();
        match recall(&mut self.bytes) {
            Recalled::Known => {
                self.outbox.put(start..self.bytes.len(), asker);
                Ok(())
            }
            Recalled::Unknown(terms) => Err((asker, terms)),
        }
    }

    /// Sends all. Call within a tokio runtime.
    pub fn send(&mut self) {
        self.outbox.send(&self.bytes);
        self.bytes.clear();
    }
}

/// Sends what stands first and goes out by the same socket; how many that were.
fn send_some(buffer: &[u8], answers: &[(Range<usize>, Asker)]) -> io::Result<usize> {
    let Some((_, first)) = answers.first() else {
        return Ok(0);
    };
    let listener = &first.listener;
    let together = answers
        .iter()
        .take(BATCH)
        .take_while(|(_, asker)| Arc::ptr_eq(&asker.listener, listener))
        .count();
    let answers = answers.get(..together).unwrap_or_default();
    let mut slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|_| [IoSlice::new(&[])]);
    for ((at, _), slice) in answers.iter().zip(&mut slices) {
        *slice = [IoSlice::new(buffer.get(at.clone()).unwrap_or_default())];
    }
    let slices = slices.get(..together).unwrap_or_default();
    let fd = listener.socket.as_raw_fd();
    match first.peer {
        SocketAddr::V4(_) => {
            let peers = peers(answers, |peer| match peer {
                SocketAddr::V4(peer) => Some(SockaddrIn::from(peer)),
                SocketAddr::V6(_) => None,
            });
            V4.with_borrow_mut(|headers| send(fd, &mut headers.send, slices, &peers))
        }
        SocketAddr::V6(_) => {
            let peers = peers(answers, |peer| match peer {
                SocketAddr::V6(peer) => Some(SockaddrIn6::from(peer)),
                SocketAddr::V4(_) => None,
            });
            V6.with_borrow_mut(|headers| send(fd, &mut headers.send, slices, &peers))
        }
    }
}

fn peers<A: Copy>(
    answers: &[(Range<usize>, Asker)],
    sockaddr: impl Fn(SocketAddr) -> Option<A>,
) -> [Option<A>; BATCH] {
    let mut peers = [None; BATCH];
    for ((_, asker), peer) in answers.iter().zip(&mut peers) {
        *peer = sockaddr(asker.peer);
    }
    peers
}

fn send<'a, A: SockaddrLike + Copy + 'a>(
    fd: RawFd,
    headers: &'a mut MultiHeaders<A>,
    slices: &'a [[IoSlice<'a>; 1]],
    peers: &[Option<A>],
) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT;
    Ok(sendmmsg(fd, headers, slices, peers, [], flags)?.count())
}

/// The copy is for the few that have to wait.
fn send_later(buffer: &[u8], at: Range<usize>, asker: Asker) {
    let answer = buffer.get(at).unwrap_or_default().to_vec();
    tokio::spawn(async move { asker.reply(&answer).await });
}

fn v4(address: SockaddrIn) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::from(address))
}

fn v6(address: SockaddrIn6) -> SocketAddr {
    SocketAddr::V6(SocketAddrV6::from(address))
}

#[cfg(test)]
mod tests;
