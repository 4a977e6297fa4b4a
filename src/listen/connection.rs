//! One connection: queries in as they come, answers out as they are ready, in any order.
//!
//! A turn of a connection is one read at the most: everything in it is decrypted, answered, sealed
//! and written, and then it is the others' turn. What waits for the source of answers, waits beside
//! the connection. Between turns it holds no buffers but for what is half received or not taken.

use std::{
    future::{Future, poll_fn},
    io,
    net::IpAddr,
    ops::ControlFlow,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::SystemTime,
};

use rustls::HandshakeKind;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, Sleep, sleep_until},
};
use zzdot_client::tls::session::ServerSession;

use super::{
    CLOSE_TIME, IDLE_GRACE, Phase, Shared,
    crowd::Place,
    flight::Full,
    frames::{Frame, Frames},
    gate::{self, Ticket},
    outgoing::{Mark, Outgoing},
    scratch::{READ_BYTES, Scratch},
};
use crate::{
    answer::{Asker, Outcome, Pending, Transport},
    counters::Event,
    resolve::ResolveError,
};

/// The first octet of TLS: a record that holds a handshake message (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Answers go into one record up to this many octets.
const RECORD_BYTES: usize = 15 * 1024;
/// What is written at once, in octets, where there is so much.
const WRITE_BYTES: usize = 64 * 1024;

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

/// What a read came to.
enum Read {
    /// There is nothing now, or there will never be more.
    Nothing,
    /// All that there was.
    Some,
    /// As much as is read at once.
    Full,
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
        let draining = phase != Phase::Serving;
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

    /// Reads once, and answers what that brings.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> ControlFlow<End, Read> {
        if self.is_shaking_hands() && !self.greeted {
            // What costs much waits its turn, and what is to come with it waits in the kernel.
            let ready = self.stream.poll_read_ready(context).is_ready();
            if !ready || !gate::may_pass(&mut self.ticket, context.waker()) {
                return ControlFlow::Continue(Read::Nothing);
            }
        }
        let held = self.sealed.len();
        let mut buffer = ReadBuf::new(&mut scratch.incoming[held..held + READ_BYTES]);
        let read = match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => return ControlFlow::Continue(Read::Nothing),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                self.on_end_of_stream()?;
                return ControlFlow::Continue(Read::Nothing);
            }
            Poll::Ready(Ok(())) => buffer.filled().len(),
            Poll::Ready(Err(_)) if self.is_shaking_hands() && held > 0 => {
                return ControlFlow::Break(End::Because(Event::TlsBroken));
            }
            Poll::Ready(Err(_)) => return ControlFlow::Break(End::Because(Event::StreamBroken)),
        };
        scratch.incoming[..held].copy_from_slice(&self.sealed);
        self.sealed = Vec::new();
        self.frames.hand_out(&mut scratch.plain);
        self.open(scratch, held + read, now)?;
        self.take_queries(context, scratch, now)?;
        if let Channel::Tls(session) = &self.channel
            && session.peer_closed()
        {
            self.on_end(true);
        }
        ControlFlow::Continue(match read {
            READ_BYTES => Read::Full,
            _ => Read::Some,
        })
    }

    /// Turns the first octets of `incoming` into the octets of queries.
    fn open(&mut self, scratch: &mut Scratch, length: usize, now: Instant) -> ControlFlow<End> {
        let incoming = &mut scratch.incoming[..length];
        let broken = ControlFlow::Break(End::Because(Event::TlsBroken));
        let session = match &mut self.channel {
            Channel::Plain => {
                scratch.plain.extend_from_slice(incoming);
                return ControlFlow::Continue(());
            }
            // A query in cleartext gets neither an answer nor an alert, and is counted as what it
            // is: a client that leaks.
            Channel::Fresh if incoming[0] != HANDSHAKE_RECORD => {
                return ControlFlow::Break(End::Because(Event::TlsCleartext));
            }
            Channel::Fresh => {
                let Ok(session) = ServerSession::new(self.shared.tls.load_full()) else {
                    return broken;
                };
                self.channel = Channel::Tls(Box::new(session));
                return self.open(scratch, length, now);
            }
            Channel::Tls(session) => session,
        };
        let Ok(progress) = session.advance(incoming, &mut scratch.plain, &mut scratch.outgoing)
        else {
            return broken;
        };
        self.greeted = self.greeted || !scratch.outgoing.is_empty();
        self.sealed = incoming[progress.taken..].to_vec();
        if progress.completed {
            let counters = self.shared.counters();
            counters.count(Event::TlsHandshake);
            if session.handshake_kind() == Some(HandshakeKind::Resumed) {
                counters.count(Event::TlsResumed);
            }
            self.active = now;
            self.peer.place.shook_hands(now);
        }
        ControlFlow::Continue(())
    }

    fn on_end_of_stream(&mut self) -> ControlFlow<End> {
        match &self.channel {
            Channel::Plain => self.on_end(true),
            // Nothing came.
            Channel::Fresh => return ControlFlow::Break(End::Because(Event::StreamBroken)),
            Channel::Tls(session) if session.is_handshaking() => {
                return ControlFlow::Break(End::Because(Event::TlsBroken));
            }
            // Gone without close_notify, as most clients go.
            Channel::Tls(_) => self.on_end(false),
        }
        ControlFlow::Continue(())
    }

    /// The peer has nothing more to say.
    fn on_end(&mut self, orderly: bool) {
        if orderly && !self.finished && self.paused.is_none() && self.frames.in_the_middle() {
            self.shared.counters().count(Event::StreamBroken);
        }
        self.finished = true;
        self.reading_since = None;
    }

    /// Takes the queries in `scratch.plain`, as far as the limits let it.
    fn take_queries(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> ControlFlow<End> {
        let plain = std::mem::take(&mut scratch.plain);
        let mut rest = &plain[..];
        let asker = Asker {
            address: self.peer.address,
            transport: self.peer.transport,
            time: SystemTime::now(),
            instant: now.into_std(),
            pressed: false,
            idle: Some(self.shared.limits.idle),
        };
        let mut taken = 0;
        while !self.offended {
            self.paused = self.pause();
            if let Some(event) = self.paused {
                self.shared.counters().count(event);
                break;
            }
            let Some(frame) = self.frames.next(&mut rest) else {
                break;
            };
            taken += 1;
            self.take_query(&frame, &asker, scratch);
            self.spill(context, scratch, now)?;
        }
        if taken > 0 {
            self.asked_anything = true;
            self.active = now;
            self.reading_since = None;
            let event = match self.peer.transport {
                Transport::Tls => Event::TlsQuery,
                Transport::Udp | Transport::Tcp => Event::TcpQuery,
            };
            self.shared.counters().count_many(event, taken);
        }
        if !self.offended {
            self.frames.hold(rest);
        }
        let arriving = self.frames.in_the_middle() || !self.sealed.is_empty();
        self.reading_since = match arriving && !self.finished && self.paused.is_none() {
            true => self.reading_since.or(Some(now)),
            false => None,
        };
        scratch.plain = plain;
        scratch.plain.clear();
        ControlFlow::Continue(())
    }

    fn take_query(&mut self, frame: &Frame<'_>, asker: &Asker, scratch: &mut Scratch) {
        let responder = &self.shared.responder;
        let mut outcome = None;
        scratch.answer(|out| {
            let decided = match frame {
                Frame::Whole(query) => responder.answer(asker, query, out),
                Frame::Overlong(head) => {
                    self.shared.counters().count(Event::QueryBytes);
                    responder.answer_overlong(asker, head, out)
                }
            };
            matches!(outcome.insert(decided), Outcome::Replied(_))
        });
        match outcome {
            Some(Outcome::Replied(Some(refresh))) => self.shared.inquirer.refresh(refresh),
            Some(Outcome::Replied(None)) | None => {}
            Some(Outcome::Ask(pending)) => self.ask(pending, scratch, asker),
            // Counted by the responder. What is no query makes the rest of the stream suspect:
            // what was asked before is answered, and nothing more is read.
            Some(Outcome::Drop(_)) => {
                self.offended = true;
                self.finished = true;
            }
        }
    }

    /// Waits for the answer beside the connection.
    fn ask(&mut self, pending: Box<Pending>, scratch: &mut Scratch, asker: &Asker) {
        let flight = &self.shared.stream_flight;
        let place = if self.waiting.is_none() {
            // However greedy the other connections of this address are, each gets its turn.
            Ok(flight.enter_alone(self.peer.address))
        } else {
            flight.enter(self.peer.address)
        };
        match place {
            Ok(permit) => {
                let shared = Arc::clone(&self.shared);
                self.waiting.get_or_insert_default().spawn(async move {
                    let answer = shared.inquirer.ask(pending).await;
                    drop(permit);
                    answer
                });
            }
            Err(full) => {
                self.shared.counters().count(match full {
                    Full::All => Event::StreamQueriesAll,
                    Full::Address => Event::StreamQueriesAddress,
                });
                let overloaded = Err(ResolveError::Overloaded);
                let responder = &self.shared.responder;
                let answer = responder.finish(*pending, overloaded, asker.instant);
                scratch.answer(|out| {
                    out.extend_from_slice(&answer);
                    true
                });
            }
        }
    }

    /// Takes the answers that have come.
    fn take_answers(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> ControlFlow<End> {
        while let Some(waiting) = &mut self.waiting {
            match waiting.poll_join_next(context) {
                Poll::Ready(Some(Ok(answer))) => {
                    self.active = now;
                    scratch.answer(|out| {
                        out.extend_from_slice(&answer);
                        true
                    });
                    self.spill(context, scratch, now)?;
                }
                // A task that panicked has no answer; its asker tries again.
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) => self.waiting = None,
                Poll::Pending => break,
            }
        }
        ControlFlow::Continue(())
    }

    /// Seals, and writes, when there is enough for it.
    fn spill(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> ControlFlow<End> {
        if scratch.answers.len() >= RECORD_BYTES {
            self.seal(scratch)?;
        }
        if scratch.outgoing.len() >= WRITE_BYTES {
            self.write(context, scratch, now)?;
        }
        ControlFlow::Continue(())
    }

    /// Makes the answers into octets for the socket.
    fn seal(&mut self, scratch: &mut Scratch) -> ControlFlow<End> {
        if scratch.answers.is_empty() {
            return ControlFlow::Continue(());
        }
        match &mut self.channel {
            Channel::Tls(session) => {
                if session
                    .seal(&scratch.answers, &mut scratch.outgoing)
                    .is_err()
                {
                    return ControlFlow::Break(End::Because(Event::TlsBroken));
                }
            }
            Channel::Plain | Channel::Fresh => {
                scratch.outgoing.extend_from_slice(&scratch.answers);
            }
        }
        scratch.marks.push(Mark {
            end: scratch.outgoing.len(),
            answers: std::mem::take(&mut scratch.answered),
        });
        scratch.answers.clear();
        ControlFlow::Continue(())
    }

    /// Writes what there is; the connection keeps what the kernel does not take.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> ControlFlow<End> {
        self.seal(scratch)?;
        let mut completed = 0;
        let written = if self.outgoing.unsent().is_empty() {
            let octets = &scratch.outgoing;
            write_all(&mut self.stream, context, octets).map(|written| {
                scratch.marks.retain_mut(|mark| {
                    let taken = mark.end <= written;
                    match taken {
                        true => completed += mark.answers,
                        false => mark.end -= written,
                    }
                    !taken
                });
                self.outgoing.push(&octets[written..], &scratch.marks, now);
            })
        } else {
            self.outgoing.push(&scratch.outgoing, &scratch.marks, now);
            write_all(&mut self.stream, context, self.outgoing.unsent())
                .map(|written| completed = self.outgoing.advance(written, now))
        };
        scratch.outgoing.clear();
        scratch.marks.clear();
        if written.is_err() {
            return ControlFlow::Break(End::Because(Event::StreamBroken));
        }
        if completed > 0 {
            self.peer.place.answered(completed, now);
            let counters = self.shared.counters();
            counters.count_many(Event::Answered, completed.into());
        }
        ControlFlow::Continue(())
    }

    /// Why nothing more may be read now.
    fn pause(&self) -> Option<Event> {
        let limits = &self.shared.limits;
        let waiting = self.waiting.as_ref().map_or(0, |waiting| waiting.len());
        if waiting >= limits.queries_per_connection {
            Some(Event::QueriesConnection)
        } else if self.outgoing.unsent().len() >= limits.unsent_bytes_per_connection {
            Some(Event::UnsentConnection)
        } else {
            None
        }
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
            // FIN: does not wait, and whether it could be said makes no difference.
            let _ = Pin::new(&mut self.stream).poll_shutdown(context);
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

/// Writes as much of `octets` as the kernel takes now, and says how much. Where that is not all,
/// the task is woken when it takes more.
fn write_all(
    stream: &mut TcpStream,
    context: &mut Context<'_>,
    octets: &[u8],
) -> io::Result<usize> {
    let mut written = 0;
    while written < octets.len() {
        match Pin::new(&mut *stream).poll_write(context, &octets[written..]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(more)) => written += more,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(written)
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
