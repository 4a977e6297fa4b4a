//! One connection: queries in as they come, answers out as they are ready, in any order.

use std::{io, net::IpAddr, sync::Arc, time::SystemTime};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
    sync::watch,
    task::{JoinSet, yield_now},
    time::{Instant, sleep_until, timeout},
};

use super::{
    CLOSE_TIME, IDLE_GRACE, Phase, Shared, closed,
    crowd::Place,
    drained,
    flight::Full,
    frames::{Frame, Frames},
    outgoing::Outgoing,
    tls,
};
use crate::{
    answer::{Asker, Outcome, Pending, Transport},
    counters::Event,
    resolve::ResolveError,
};

/// Queries that a connection takes before all others that are ready have had their turn: one that
/// asks without end, and is answered out of our own zones, else holds a thread for itself.
const QUERIES_A_TURN: usize = 8;

/// Who is at the other end.
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) transport: Transport,
    pub(super) place: Place,
}

/// Serves the connection until its end.
pub(super) async fn serve(
    stream: TcpStream,
    peer: Peer,
    shared: Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
) {
    if peer.transport != Transport::Tls {
        return converse(stream, peer, shared, phase).await;
    }
    let config = shared.tls.load_full();
    let handshake = tls::handshake(stream, config, shared.counters());
    let stream = tokio::select! {
        stream = timeout(shared.limits.handshake, handshake) => stream,
        // Counted by whoever told it to go.
        () = peer.place.evicted() => return,
        () = drained(&mut phase) => return,
    };
    let failure = match stream {
        // The rest does not fit into the future of a connection that is not TLS yet.
        Ok(Ok(stream)) => {
            peer.place.shook_hands(Instant::now());
            return Box::pin(converse(stream, peer, shared, phase)).await;
        }
        Ok(Err(failure)) => failure.event(),
        Err(_) => Event::HandshakeTime,
    };
    shared.counters().count(failure);
}

async fn converse<S>(stream: S, peer: Peer, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut conversation = Conversation::new(peer, shared);
    let mut draining = phase.clone();
    let end = tokio::select! {
        end = conversation.run(&mut reader, &mut writer, &mut draining) => end,
        () = closed(&mut phase) => End::Served,
    };
    let counters = conversation.shared.counters();
    match end {
        End::Served => {}
        End::Limit(event) => counters.count(event),
        End::Failed(error) if tls::is_violation(&error) => counters.count(Event::TlsBroken),
        End::Failed(_) => counters.count(Event::StreamBroken),
    }
    // The answers that were not taken are lost; close_notify (TLS) and FIN are said where the
    // peer's window lets them be said at once.
    conversation.waiting.abort_all();
    let _ = timeout(CLOSE_TIME, writer.shutdown()).await;
}

/// Why a connection is over.
enum End {
    /// Nothing more was to be said.
    Served,
    /// A limit was reached.
    Limit(Event),
    /// The connection broke.
    Failed(io::Error),
}

struct Conversation {
    peer: Peer,
    shared: Arc<Shared>,
    frames: Frames,
    outgoing: Outgoing,
    /// Answers that are waited for; aborted with the connection.
    waiting: JoinSet<Vec<u8>>,
    /// Since when the writer holds octets that it has not handed on.
    unflushed_since: Option<Instant>,
    /// The peer has said all that it will.
    finished: bool,
    /// The peer has said what it must not say.
    offended: bool,
    /// Since when a query is arriving.
    reading_since: Option<Instant>,
    /// When something was last asked or answered.
    active: Instant,
    asked_anything: bool,
    /// Reading paused, for this reason.
    paused: Option<Event>,
    /// Queries taken since it last was the others' turn.
    taken_in_turn: usize,
}

impl Conversation {
    fn new(peer: Peer, shared: Arc<Shared>) -> Self {
        Self {
            peer,
            frames: Frames::new(shared.limits.query_bytes),
            shared,
            outgoing: Outgoing::default(),
            waiting: JoinSet::new(),
            unflushed_since: None,
            finished: false,
            offended: false,
            reading_since: None,
            active: Instant::now(),
            asked_anything: false,
            paused: None,
            taken_in_turn: 0,
        }
    }

    async fn run<S>(
        &mut self,
        reader: &mut ReadHalf<S>,
        writer: &mut WriteHalf<S>,
        phase: &mut watch::Receiver<Phase>,
    ) -> End
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut draining = false;
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            let others_turn = !draining && self.taken_in_turn >= QUERIES_A_TURN;
            if (self.finished && !others_turn || draining) && self.is_quiet() {
                return End::Served;
            }
            let (deadline, limit) = self.deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            let may_read = !self.finished && !draining && self.paused.is_none() && !others_turn;
            let must_write = self.unflushed_since.is_some() || !self.outgoing.unsent().is_empty();
            tokio::select! {
                // Answers before questions: a peer that only asks is slowed by its own answers.
                biased;
                written = write(writer, self.outgoing.unsent()), if must_write => match written {
                    Ok(written) => {
                        self.on_written(written);
                        if self.paused.is_some() && !draining {
                            self.take_queries();
                        }
                    }
                    Err(error) => return End::Failed(error),
                },
                Some(answer) = self.waiting.join_next(), if !self.waiting.is_empty() => {
                    // A task that panicked has no answer; its asker tries again.
                    if let Ok(answer) = answer {
                        self.send(&answer);
                    }
                    if !draining {
                        self.take_queries();
                    }
                }
                () = yield_now(), if others_turn => {
                    self.taken_in_turn = 0;
                    self.take_queries();
                }
                read = reader.read_buf(self.frames.buffer()), if may_read => match read {
                    Ok(0) => {
                        self.finished = true;
                        self.reading_since = None;
                        if self.frames.in_the_middle() {
                            self.shared.counters().count(Event::StreamBroken);
                        }
                    }
                    Ok(_) => self.take_queries(),
                    // Gone without close_notify, as most clients go.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        self.finished = true;
                        self.reading_since = None;
                    }
                    Err(error) => return End::Failed(error),
                },
                () = self.peer.place.evicted() => return End::Served,
                () = drained(phase), if !draining => draining = true,
                () = timer.as_mut() => return End::Limit(limit),
            }
        }
    }

    /// Takes the queries that have arrived, as far as the limits let it.
    fn take_queries(&mut self) {
        while !self.offended {
            let before = self.paused;
            self.paused = self.pause();
            if let Some(event) = self.paused {
                if before != self.paused {
                    self.shared.counters().count(event);
                }
                self.reading_since = None;
                return;
            }
            if self.taken_in_turn >= QUERIES_A_TURN {
                return;
            }
            let asker = Asker {
                address: self.peer.address,
                transport: self.peer.transport,
                time: SystemTime::now(),
                instant: std::time::Instant::now(),
                pressed: false,
                idle: Some(self.shared.limits.idle),
            };
            let responder = &self.shared.responder;
            let mut answer = Vec::new();
            let outcome = match self.frames.next() {
                Some(Frame::Whole(query)) => responder.answer(&asker, query, &mut answer),
                Some(Frame::Overlong(head)) => {
                    self.shared.counters().count(Event::QueryBytes);
                    responder.answer_overlong(&asker, head, &mut answer)
                }
                None => break,
            };
            self.shared.counters().count(match self.peer.transport {
                Transport::Tls => Event::TlsQuery,
                Transport::Udp | Transport::Tcp => Event::TcpQuery,
            });
            self.active = Instant::now();
            self.asked_anything = true;
            self.reading_since = None;
            self.taken_in_turn += 1;
            match outcome {
                Outcome::Replied(refresh) => {
                    self.send(&answer);
                    if let Some(refresh) = refresh {
                        self.shared.inquirer.refresh(refresh);
                    }
                }
                Outcome::Ask(pending) => self.ask(pending),
                // Counted by the responder. What is no query makes the rest of the stream suspect:
                // what was asked before is answered, and nothing more is read.
                Outcome::Drop(_) => {
                    self.offended = true;
                    self.finished = true;
                    return;
                }
            }
        }
        if self.finished {
            // Nothing more arrives to wait for.
            self.reading_since = None;
        } else if self.frames.in_the_middle() {
            self.reading_since.get_or_insert_with(Instant::now);
        } else if self.waiting.is_empty() {
            self.frames.rest();
        }
    }

    /// Waits for the answer beside the connection.
    fn ask(&mut self, pending: Box<Pending>) {
        let flight = &self.shared.stream_flight;
        let place = if self.waiting.is_empty() {
            // However greedy the other connections of this address are, each gets its turn.
            Ok(flight.enter_alone(self.peer.address))
        } else {
            flight.enter(self.peer.address)
        };
        match place {
            Ok(permit) => {
                let shared = Arc::clone(&self.shared);
                self.waiting.spawn(async move {
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
                let now = std::time::Instant::now();
                let answer = self.shared.responder.finish(*pending, overloaded, now);
                self.send(&answer);
            }
        }
    }

    fn send(&mut self, answer: &[u8]) {
        let now = Instant::now();
        self.active = now;
        self.outgoing.push(answer, now);
    }

    fn on_written(&mut self, written: usize) {
        let now = Instant::now();
        if written > 0 {
            self.unflushed_since.get_or_insert(now);
        } else {
            self.unflushed_since = None;
        }
        for _ in 0..self.outgoing.advance(written, now) {
            self.peer.place.answered(now);
            self.shared.counters().count(Event::Answered);
        }
        if self.is_quiet() {
            self.outgoing.rest();
        }
    }

    /// Why nothing more may be read now.
    fn pause(&self) -> Option<Event> {
        let limits = &self.shared.limits;
        if self.waiting.len() >= limits.queries_per_connection {
            Some(Event::QueriesConnection)
        } else if self.outgoing.unsent().len() >= limits.unsent_bytes_per_connection {
            Some(Event::UnsentConnection)
        } else {
            None
        }
    }

    /// Nothing is waited for and nothing is left to send.
    fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
            && self.outgoing.unsent().is_empty()
            && self.unflushed_since.is_none()
    }

    /// When patience ends, and with what.
    fn deadline(&self) -> (Instant, Event) {
        let limits = &self.shared.limits;
        let write = self
            .outgoing
            .next_since()
            .into_iter()
            .chain(self.unflushed_since)
            .min()
            .map(|since| (since + limits.write, Event::WriteTime));
        let read = self
            .reading_since
            .map(|since| (since + limits.read, Event::ReadTime));
        let idle = match (self.asked_anything, self.waiting.is_empty()) {
            (false, _) => (self.active + limits.first_query, Event::FirstQueryTime),
            (true, true) => (self.active + limits.idle + IDLE_GRACE, Event::IdleTime),
            // The source of answers has its own limit: this one is never reached.
            (true, false) => (
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
}

/// Writes some of `octets`; flushes, where there are none. Safe to cancel.
async fn write<S>(writer: &mut WriteHalf<S>, octets: &[u8]) -> io::Result<usize>
where
    S: AsyncRead + AsyncWrite,
{
    if octets.is_empty() {
        writer.flush().await.map(|()| 0)
    } else {
        match writer.write(octets).await {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        }
    }
}
