//! The octets of a connection: from the socket to queries, and from answers to the socket.

use std::{
    io,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll},
};

use rustls::HandshakeKind;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use zzdot_client::tls::session::ServerSession;

use super::{Channel, Connection, End};
use crate::{
    counters::Event,
    listen::{
        gate,
        outgoing::Mark,
        scratch::{READ_BYTES, Scratch},
    },
};

/// The first octet of TLS: a record that holds a handshake message (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Answers go into one record up to this many octets.
const RECORD_BYTES: usize = 15 * 1024;
/// What is written at once, in octets, where there is so much.
const WRITE_BYTES: usize = 64 * 1024;

/// What a read came to.
pub(super) enum Read {
    /// There is nothing now, or there will never be more.
    Nothing,
    /// All that there was.
    Some,
    /// As much as is read at once.
    Full,
}

impl Connection {
    /// Reads once, and answers what that brings.
    pub(super) fn read(
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
    pub(super) fn open(
        &mut self,
        scratch: &mut Scratch,
        length: usize,
        now: Instant,
    ) -> ControlFlow<End> {
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
                self.era = self.shared.era();
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

    pub(super) fn on_end_of_stream(&mut self) -> ControlFlow<End> {
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
    pub(super) fn on_end(&mut self, orderly: bool) {
        if orderly && !self.finished && self.paused.is_none() && self.frames.in_the_middle() {
            self.shared.counters().count(Event::StreamBroken);
        }
        self.finished = true;
        self.reading_since = None;
    }

    /// Seals, and writes, when there is enough for it.
    pub(super) fn spill(
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
    pub(super) fn seal(&mut self, scratch: &mut Scratch) -> ControlFlow<End> {
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
    pub(super) fn write(
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
}

/// Writes as much of `octets` as the kernel takes now, and says how much. Where that is not all,
/// the task is woken when it takes more.
pub(super) fn write_all(
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
