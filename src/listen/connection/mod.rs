//! One connection: queries in as they come, answers out as they are ready, in any order.
//!
//! A turn of a connection is one read at the most: everything in it is decrypted, answered, sealed
//! and written, and then it is the others' turn. What waits for the source of answers, waits beside
//! the connection. Between turns it holds no buffers but for what is half received or not taken.

mod octets;
mod queries;

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    ops::ControlFlow,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, Sleep, sleep_until},
};
use zzdot_client::tls::session::ServerSession;

use super::{
    CLOSE_TIME, IDLE_GRACE,
    crowd::Place,
    frames::Frames,
    gate::Ticket,
    outgoing::Outgoing,
    scratch::Scratch,
    shared::{Phase, Shared},
};
use crate::{answer::Transport, counters::Event};
use octets::{Read, write_all};

/// Who is at the other end.
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) transport: Transport,
    pub(super) place: Place,
}

/// Serves the connection until its end, on the runtime of `worker`.
pub(super) fn serve(
    stream: TcpStream,
    peer: Peer,
    shared: Arc<Shared>,
    worker: usize,
    alive: watch::Receiver<Phase>,
) -> impl Future<Output = ()> + Send + 'static {
    let mut connection = Connection::new(stream, peer, shared, worker, alive);
    async move {
        let timer = sleep_until(connection.deadline().0);
        tokio::pin!(timer);
        poll_fn(|context| connection.poll(context, timer.as_mut())).await;
    }
}

/// Why a connection is over.
enum End {
    /// Nothing more was to be said.
    Served,
    /// A limit was reached, or something is broken.
    Because(Event),
}

/// What a connection does with octets before they are queries.
enum Channel {
    /// Nothing.
    Plain,
    /// It will be TLS, when the first octet has come.
    Fresh,
    /// It is TLS.
    Tls(Box<ServerSession>),
}

struct Connection {
    stream: TcpStream,
    peer: Peer,
    shared: Arc<Shared>,
    worker: usize,
    channel: Channel,
    /// In the queue of those who want to shake hands.
    ticket: Ticket,
    /// The first words of TLS have been said.
    greeted: bool,
    /// When TLS began.
    era: u32,
    /// The part of a record that has come.
    sealed: Vec<u8>,
    frames: Frames,
    outgoing: Outgoing,
    /// Answers that are waited for; aborted with the connection.
    waiting: Option<Box<JoinSet<Vec<u8>>>>,
    /// The peer has said all that it will.
    finished: bool,
    /// The peer has said what it must not say.
    offended: bool,
    asked_anything: bool,
    /// Reading paused, for this reason.
    paused: Option<Event>,
    /// Since when a query is arriving.
    reading_since: Option<Instant>,
    /// When something was last asked or answered.
    active: Instant,
    /// It is over: until when its last words may take.
    closing: Option<Instant>,
    /// Tells who drains the front that there is this connection.
    _alive: watch::Receiver<Phase>,
}

impl Connection {
    fn new(
        stream: TcpStream,
        peer: Peer,
        shared: Arc<Shared>,
        worker: usize,
        alive: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            stream,
            channel: match peer.transport {
                Transport::Tls => Channel::Fresh,
                Transport::Udp | Transport::Tcp => Channel::Plain,
            },
            peer,
            frames: Frames::new(shared.limits.query_bytes),
            shared,
            worker,
            ticket: Ticket::default(),
            greeted: false,
            era: 0,
            sealed: Vec::new(),
            outgoing: Outgoing::default(),
            waiting: None,
            finished: false,
            offended: false,
            asked_anything: false,
            paused: None,
            reading_since: None,
            active: Instant::now(),
            closing: None,
            _alive: alive,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        Scratch::lend(|scratch| {
            if self.closing.is_none() {
                let end = match self.turn(context, scratch, Instant::now()) {
                    ControlFlow::Continue(()) => {
                        ready!(self.poll_patience(context, timer.as_mut()))
                    }
                    ControlFlow::Break(end) => end,
                };
                self.close(&end, scratch);
            }
            self.poll_closed(context, timer)
        })
    }

    fn turn(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> ControlFlow<End> {
        let phase = self.shared.phase();
        if self.peer.place.must_go(context.waker()) || phase == Phase::Closed {
            // Counted by whoever told it to go.
            return ControlFlow::Break(End::Served);
        }
        let draining = phase != Phase::Serving || self.is_outdated();
        if draining && self.is_shaking_hands() {
            return ControlFlow::Break(End::Served);
        }
        self.take_answers(context, scratch, now)?;
        // Answers before questions: a peer that only asks is slowed by its own answers.
        self.write(context, scratch, now)?;
        if !draining && let Some(before) = self.paused {
            self.paused = self.pause();
            match self.paused {
                None => {
                    self.frames.hand_out(&mut scratch.plain);
                    self.take_queries(context, scratch, now)?;
                    self.write(context, scratch, now)?;
                }
                Some(event) if event != before => self.shared.counters().count(event),
                Some(_) => {}
            }
        }
        while !self.finished && !draining && self.paused.is_none() {
            let read = self.read(context, scratch, now)?;
            if let Read::Nothing = read {
                break;
            }
            self.write(context, scratch, now)?;
            if let Read::Full = read {
                // There may be more; the others come first.
                context.waker().wake_by_ref();
                break;
            }
        }
        if self.waiting.is_some() {
            // Those that were asked in this turn are to wake this task too.
            self.take_answers(context, scratch, now)?;
            self.write(context, scratch, now)?;
        }
        if (self.finished || draining) && self.paused.is_none_or(|_| draining) && self.is_quiet() {
            return ControlFlow::Break(End::Served);
        }
        if self.paused.is_some() && self.pause().is_none() {
            context.waker().wake_by_ref();
        }
        ControlFlow::Continue(())
    }

    /// Nothing is waited for and nothing is left to send.
    fn is_quiet(&self) -> bool {
        self.waiting.is_none() && self.outgoing.unsent().is_empty()
    }

    fn is_shaking_hands(&self) -> bool {
        match &self.channel {
            Channel::Plain => false,
            Channel::Fresh => true,
            Channel::Tls(session) => session.is_handshaking(),
        }
    }

    /// Whether it is TLS with a key that is not to be used any more.
    fn is_outdated(&self) -> bool {
        matches!(self.channel, Channel::Tls(_)) && self.era != self.shared.era()
    }

    /// When patience ends, and with what.
    fn deadline(&self) -> (Instant, Event) {
        let limits = &self.shared.limits;
        if self.is_shaking_hands() {
            return (self.active + limits.handshake, Event::HandshakeTime);
        }
        let write = self
            .outgoing
            .next_since()
            .map(|since| (since + limits.write, Event::WriteTime));
        let read = self
            .reading_since
            .map(|since| (since + limits.read, Event::ReadTime));
        let idle = match (self.asked_anything, &self.waiting) {
            (false, _) => (self.active + limits.first_query, Event::FirstQueryTime),
            (true, None) => (self.active + limits.idle + IDLE_GRACE, Event::IdleTime),
            // The source of answers has its own limit: this one is never reached.
            (true, Some(_)) => (
                self.active + limits.idle + 2 * limits.query,
                Event::IdleTime,
            ),
        };
        [write, read, Some(idle)]
            .into_iter()
            .flatten()
            .min_by_key(|(deadline, _)| *deadline)
            .unwrap_or(idle)
    }

    /// Ready when patience ends. The timer is set anew only when it fires too early, or would fire
    /// too late: most deadlines are moved before they come.
    fn poll_patience(&self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<End> {
        let (deadline, limit) = self.deadline();
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(End::Because(limit));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Prepares the last words: close_notify, where it is TLS.
    fn close(&mut self, end: &End, scratch: &mut Scratch) {
        if let End::Because(event) = end {
            self.shared.counters().count(*event);
        }
        let now = Instant::now();
        // The answers that are still to come are lost.
        self.waiting = None;
        if let Channel::Tls(session) = &mut self.channel {
            session.close(&mut scratch.outgoing);
        }
        self.outgoing.push(&scratch.outgoing, &scratch.marks, now);
        self.closing = Some(now + CLOSE_TIME);
    }

    /// Ready when the last words are said, or the peer's window does not let them be said.
    fn poll_closed(&mut self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        let written = write_all(&mut self.stream, context, self.outgoing.unsent());
        let Ok(written) = written else {
            return Poll::Ready(());
        };
        let now = Instant::now();
        let completed = self.outgoing.advance(written, now);
        let counters = self.shared.counters();
        counters.count_many(Event::Answered, completed.into());
        if self.outgoing.unsent().is_empty() {
            // FIN comes with the end of the socket.
            return Poll::Ready(());
        }
        let deadline = self.closing.unwrap_or(now);
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.poll(context)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.seats[self.worker].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand idle connections have ten thousand of these, and their keys.
    #[test]
    fn what_is_kept_of_an_idle_connection_is_small() {
        fn size_of_output<F, A, B, C, D, E, O>(_: F) -> usize
        where
            F: Fn(A, B, C, D, E) -> O,
        {
            size_of::<O>()
        }
        let size = size_of_output(serve);
        assert!(size <= 640, "{size} octets");
    }
}
