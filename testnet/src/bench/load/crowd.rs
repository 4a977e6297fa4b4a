//! Many lines to one server, waited for together.

use std::{
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use nix::{
    poll::PollTimeout,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
};
use rustls::HandshakeKind;

use super::{
    Target, Transport,
    line::{Datagrams, Line, Scratch, Stream},
    question::{Questions, Wrong},
    tally::Tally,
};

/// Events taken from the kernel at once.
const EVENTS: usize = 64;
/// Addresses that connections come from in turn: more than one host has.
const SOURCES: u32 = 250;
/// Bits of a message id that say which slot it belongs to; the others tell uses of a slot apart.
const SLOT_BITS: u32 = 10;
/// A token that no line has.
pub(crate) const TIMER: u64 = u64::MAX;

/// Lines to a server.
pub(crate) struct Crowd<'a> {
    target: &'a Target,
    pub(crate) epoll: Epoll,
    members: Vec<Member>,
    pub(crate) tally: Tally,
    questions: Questions,
    window: usize,
    origin: Instant,
    scratch: Scratch,
    message: Vec<u8>,
    opened: u32,
    /// When the last line was begun.
    pub(crate) begun_ns: u64,
    generation: u16,
}

struct Member {
    line: Line,
    slots: Vec<Slot>,
    /// Slots that are free.
    free: Vec<u16>,
    writing: bool,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// The id of the query that is waited for, if one is.
    id: Option<u16>,
    number: u32,
    /// Since the origin.
    since_ns: u64,
}

/// What became of a member in [`Crowd::receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Right or wrong, a query each is no longer waited for.
    pub(crate) answers: usize,
    /// The line still serves.
    pub(crate) open: bool,
}

impl<'a> Crowd<'a> {
    /// Nobody yet; each member may have `window` queries unanswered.
    pub(crate) fn new(target: &'a Target, window: usize) -> io::Result<Self> {
        Ok(Self {
            target,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            members: Vec::new(),
            tally: Tally::default(),
            questions: target.questions.clone(),
            window: window.clamp(1, 1 << SLOT_BITS),
            origin: Instant::now(),
            scratch: Scratch::new(),
            message: Vec::with_capacity(512),
            opened: 0,
            begun_ns: 0,
            generation: 0,
        })
    }

    /// Opens one more line.
    pub(crate) fn join(&mut self) -> io::Result<usize> {
        let member = self.member()?;
        self.members.push(member);
        self.watch(self.members.len() - 1)
    }

    /// Replaces a line by a new one.
    pub(crate) fn rejoin(&mut self, index: usize) -> io::Result<usize> {
        let waiting = self.members[index]
            .slots
            .iter()
            .filter(|slot| slot.id.is_some())
            .count();
        self.tally.lost += waiting as u64;
        self.members[index].line.close();
        // Dropping the old socket takes it out of the epoll set.
        self.members[index] = self.member()?;
        self.watch(index)
    }

    fn watch(&mut self, index: usize) -> io::Result<usize> {
        let member = &mut self.members[index];
        member.writing = !member.line.is_ready();
        self.epoll.add(&member.line, event(index, member.writing))?;
        Ok(index)
    }

    fn member(&mut self) -> io::Result<Member> {
        self.opened = self.opened.wrapping_add(1);
        self.begun_ns = self.now_ns();
        let server = self.target.address;
        let low = u8::try_from(self.opened % SOURCES).unwrap_or_default();
        let source = server
            .ip()
            .is_loopback()
            .then(|| Ipv4Addr::new(127, 9, 0, low + 1));
        let line = match self.target.transport {
            Transport::Udp => Line::Datagrams(Datagrams::open(server)?),
            Transport::Tcp => Line::Stream(Stream::open(server, source, None)?),
            Transport::Tls => {
                let tls = (self.target.tls.clone(), self.target.server_name.clone());
                Line::Stream(Stream::open(server, source, Some(tls))?)
            }
        };
        let slots = u16::try_from(self.window).expect("the window is clamped");
        Ok(Member {
            line,
            slots: vec![Slot::default(); self.window],
            free: (0..slots).rev().collect(),
            writing: false,
        })
    }

    /// Nanoseconds since the beginning.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits for something to happen.
    pub(crate) fn wait(&self, at_most: Duration) -> io::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        Ok(events[..count].iter().map(EpollEvent::data).collect())
    }

    /// Puts the next question on a line, as asked at `since_ns`. Without a free slot it is held back.
    pub(crate) fn ask(&mut self, index: usize, since_ns: u64) {
        let member = &mut self.members[index];
        let Some(place) = member.free.pop() else {
            self.tally.held_back += 1;
            return;
        };
        self.generation = self.generation.wrapping_add(1);
        let id = place | self.generation << SLOT_BITS;
        self.message.clear();
        let number = self.questions.append(id, &mut self.message);
        member.slots[usize::from(place)] = Slot {
            id: Some(id),
            number,
            since_ns,
        };
        member.line.queue(&self.message);
    }

    /// Sends what was asked. A line that fails is noticed when it is read.
    pub(crate) fn flush(&mut self, index: usize) -> io::Result<()> {
        let member = &mut self.members[index];
        if let Err(error) = member.line.flush(&mut self.scratch)
            && !is_the_peers(&error)
        {
            return Err(error);
        }
        let writing = member.line.is_blocked();
        if writing != member.writing && member.line.is_ready() {
            member.writing = writing;
            self.epoll
                .modify(&member.line, &mut event(index, writing))?;
        }
        Ok(())
    }

    /// Takes what has come.
    pub(crate) fn receive(&mut self, index: usize, now_ns: u64) -> io::Result<Received> {
        let Member {
            line, slots, free, ..
        } = &mut self.members[index];
        let tally = &mut self.tally;
        let questions = &self.questions;
        let truth = self.target.truth;
        let mut answers = 0;
        let open = line.receive(&mut self.scratch, |message| {
            let Some(slot) = slot_of(message, slots) else {
                tally.wrong(Wrong::Unasked);
                return;
            };
            let place = usize::from(slot);
            match questions.check(slots[place].number, message, truth) {
                Ok(()) => tally.answered(now_ns.saturating_sub(slots[place].since_ns)),
                Err(wrong) => tally.wrong(wrong),
            }
            slots[place].id = None;
            free.push(slot);
            answers += 1;
        });
        let open = match open {
            Ok(open) => open,
            Err(error) if is_the_peers(&error) => false,
            Err(error) => return Err(error),
        };
        Ok(Received { answers, open })
    }

    /// Gives up on queries older than this, and says how many of them a line had.
    pub(crate) fn give_up(&mut self, older_than: Duration) -> Vec<(usize, usize)> {
        let age = u64::try_from(older_than.as_nanos()).unwrap_or(u64::MAX);
        let limit = self.now_ns().saturating_sub(age);
        let mut given_up = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            let mut count = 0;
            for (place, slot) in (0..).zip(&mut member.slots) {
                if slot.id.is_some() && slot.since_ns < limit {
                    slot.id = None;
                    member.free.push(place);
                    count += 1;
                }
            }
            if count > 0 {
                self.tally.lost += count as u64;
                given_up.push((index, count));
            }
        }
        given_up
    }

    /// Connections and handshakes are over, for all.
    pub(crate) fn is_ready(&self) -> bool {
        self.members.iter().all(|member| member.line.is_ready())
    }

    /// How a line's session began.
    pub(crate) fn handshake(&self, index: usize) -> Option<HandshakeKind> {
        self.members[index].line.handshake()
    }

    /// Hears no more of a line.
    pub(crate) fn leave(&mut self, index: usize) -> io::Result<()> {
        Ok(self.epoll.delete(&self.members[index].line)?)
    }

    /// Lines that were opened.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Queries that are waited for, in all.
    pub(crate) fn waiting(&self) -> usize {
        self.members
            .iter()
            .map(|member| member.slots.len() - member.free.len())
            .sum()
    }
}

fn event(index: usize, writing: bool) -> EpollEvent {
    let mut flags = EpollFlags::EPOLLIN;
    flags.set(EpollFlags::EPOLLOUT, writing);
    EpollEvent::new(flags, index as u64)
}

fn slot_of(message: &[u8], slots: &[Slot]) -> Option<u16> {
    let id = u16::from_be_bytes(*message.first_chunk()?);
    let place = id & ((1 << SLOT_BITS) - 1);
    (slots.get(usize::from(place))?.id == Some(id)).then_some(place)
}

/// Something that the other side may cause: it counts, and is no reason to stop.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset};
    [
        BrokenPipe,
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
    ]
    .contains(&error.kind())
        || error
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>())
}
