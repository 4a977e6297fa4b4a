//! The one task of a connection: it seals and writes what waits, reads and hands out what came. All that waits goes out
//! in one record and one write; all that came is taken by one read, and answers to datagrams leave in one call.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep_until, timeout};

use super::connect::{Link, now};
use super::connection::{Ended, Express, Held, Shared, add};
use super::express::hand_over;
use super::mux::{Received, Stranded};
use crate::datagrams::Outbox;
use crate::tls::session::HOLDS_OF_SERVERS;

/// How long a goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes read at once.
const READ_BYTES: usize = 1 << 14;
/// What is kept of a buffer that was longer.
const KEPT_BYTES: usize = 1 << 15;
const LENGTH_BYTES: usize = 2;

/// Drives `link` until it ends. `patience` is for the other end to take what is written.
pub(super) async fn drive(link: Link, shared: Arc<Shared>, patience: Duration) {
    let first = now() + patience;
    let mut driver = Driver {
        read: Vec::new(),
        filled: 0,
        plain: Vec::new(),
        sealing: Vec::new(),
        outgoing: Vec::new(),
        written: 0,
        write_by: None,
        outbox: Outbox::default(),
        parting: Vec::new(),
        timer: Box::pin(sleep_until(first.into())),
        link,
        shared,
        patience,
    };
    driver.read.append(&mut driver.link.incoming);
    driver.filled = driver.read.len();
    let how = match driver.decrypt() {
        Ok(()) => poll_fn(|context| driver.poll(context)).await,
        Err(how) => how,
    };
    driver.end(how).await;
}

struct Driver {
    link: Link,
    shared: Arc<Shared>,
    patience: Duration,
    /// What was read, as far as `filled`, and is not understood yet.
    read: Vec<u8>,
    filled: usize,
    /// The same, decrypted.
    plain: Vec<u8>,
    /// Frames to be sealed.
    sealing: Vec<u8>,
    /// Sealed, and written as far as `written`.
    outgoing: Vec<u8>,
    written: usize,
    /// When the other end has to have taken it.
    write_by: Option<Instant>,
    outbox: Outbox,
    /// What the answers in `outbox` held.
    parting: Vec<(Range<usize>, Held)>,
    timer: Pin<Box<Sleep>>,
}

impl Driver {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if let Err(how) = self.poll_write(context) {
                return Poll::Ready(how);
            }
            let read = match self.poll_read(context) {
                Ok(read) => read,
                Err(how) => return Poll::Ready(how),
            };
            let time = now();
            let (how, wake, waits) = {
                let mut state = self.shared.lock();
                // From here on, whoever asks wakes.
                if !state
                    .waker
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(context.waker()))
                {
                    state.waker = Some(context.waker().clone());
                }
                let mux = &state.mux;
                let waits = mux.has_outgoing() && self.is_written();
                let released = state.released && !mux.has_outgoing() && self.is_written();
                let how = if released {
                    Some(Ended::Released)
                } else {
                    mux.on_timeout(time)
                };
                (how, mux.next_timeout(), waits)
            };
            if let Some(how) = how {
                return Poll::Ready(how);
            }
            if self.write_by.is_some_and(|by| by <= time) {
                return Poll::Ready(Ended::Broken(io::ErrorKind::TimedOut));
            }
            self.take_over_overdue(time);
            let wake = self.write_by.map_or(wake, |by| by.min(wake));
            let rung = self.poll_timer(context, wake);
            if !(read || waits || rung) {
                return Poll::Pending;
            }
        }
    }

    fn is_written(&self) -> bool {
        self.written == self.outgoing.len()
    }

    /// Writes what there is.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        if self.is_written() {
            self.seal()?;
        }
        while let Some(rest) = self
            .outgoing
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match Pin::new(&mut self.link.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Err(Ended::Broken(io::ErrorKind::WriteZero)),
                Poll::Ready(Ok(bytes)) => self.written += bytes,
                Poll::Ready(Err(error)) => return Err(Ended::Broken(error.kind())),
                Poll::Pending => {
                    self.write_by.get_or_insert_with(|| now() + self.patience);
                    return Ok(());
                }
            }
        }
        self.outgoing.clear();
        self.outgoing.shrink_to(KEPT_BYTES);
        (self.written, self.write_by) = (0, None);
        Ok(())
    }

    /// Encrypts what waits.
    fn seal(&mut self) -> Result<(), Ended> {
        {
            let mut state = self.shared.lock();
            if !state.mux.has_outgoing() {
                return Ok(());
            }
            let was_full = !state.mux.has_room();
            state.mux.take_outgoing(&mut self.sealing);
            drop(state);
            if was_full {
                self.shared.tell_room();
            }
        }
        match &mut self.link.tls {
            Some(tls) => tls
                .seal(&self.sealing, &mut self.outgoing)
                .map_err(|_| Ended::Broken(io::ErrorKind::InvalidData))?,
            None => self.outgoing.extend_from_slice(&self.sealing),
        }
        self.sealing.clear();
        Ok(())
    }

    /// Reads what there is; whether there was anything.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Result<bool, Ended> {
        let wanted = (self.filled + READ_BYTES).min(HOLDS_OF_SERVERS.max(READ_BYTES));
        if self.read.len() < wanted {
            self.read.resize(wanted, 0);
        }
        let room = self.read.get_mut(self.filled..).unwrap_or_default();
        let mut room = ReadBuf::new(room);
        match Pin::new(&mut self.link.stream).poll_read(context, &mut room) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => return Err(Ended::Broken(error.kind())),
            Poll::Ready(Ok(())) => {}
        }
        let bytes = room.filled().len();
        if bytes == 0 {
            // Inside of a message, or of TLS, that is no way to end.
            let cut = self.link.tls.is_some() || !self.plain.is_empty();
            return Err(if cut {
                Ended::Broken(io::ErrorKind::UnexpectedEof)
            } else {
                Ended::ByServer
            });
        }
        self.filled += bytes;
        self.decrypt()?;
        Ok(true)
    }

    /// Takes out of what was read all that is whole.
    fn decrypt(&mut self) -> Result<(), Ended> {
        let incoming = self.read.get_mut(..self.filled).unwrap_or_default();
        let Some(tls) = &mut self.link.tls else {
            self.plain.extend_from_slice(incoming);
            self.filled = 0;
            self.hand_out();
            return Ok(());
        };
        let outcome = tls.advance(incoming, &mut self.plain, &mut self.outgoing);
        let closed = tls.peer_closed();
        self.hand_out();
        match outcome {
            Ok(progress) => {
                self.read.copy_within(progress.taken..self.filled, 0);
                self.filled -= progress.taken;
            }
            Err(error) => {
                tracing::debug!(%error, "TLS");
                return Err(Ended::Broken(io::ErrorKind::InvalidData));
            }
        }
        if self.filled == 0 && self.read.len() > KEPT_BYTES {
            self.read = Vec::new();
        }
        if closed { Err(Ended::ByServer) } else { Ok(()) }
    }

    /// Hands out the messages that are whole.
    fn hand_out(&mut self) {
        let mut taken = 0;
        let time = now();
        while self.has_message(taken) {
            taken = self.hand_out_batch(taken, time);
        }
        if taken == self.plain.len() {
            self.plain.clear();
        } else {
            self.plain.drain(..taken);
        }
        self.plain.shrink_to(KEPT_BYTES.max(self.plain.len()));
    }

    fn has_message(&self, at: usize) -> bool {
        message_at(&self.plain, at).is_some()
    }

    /// As many as go into one outbox; where the next begins.
    fn hand_out_batch(&mut self, mut taken: usize, time: Instant) -> usize {
        let (mut received, mut late, mut mismatched) = (0, 0, 0);
        let mut stranded: Vec<Stranded<Express>> = Vec::new();
        {
            let mut state = self.shared.lock();
            while !self.outbox.is_full()
                && let Some(at) = message_at(&self.plain, taken)
            {
                taken = at.end;
                let start = at.start;
                let message = self.plain.get_mut(at).unwrap_or_default();
                received += 1;
                let content = |express: &Express, code| express.held.patron.is_content(code);
                match state.mux.receive(time, message, content) {
                    Received::Express(express, length) => {
                        let at = start..start + length;
                        self.outbox.put(at.clone(), express.asker);
                        self.parting.push((at, express.held));
                    }
                    Received::Stranded(one) => stranded.push(one),
                    Received::Task => {}
                    Received::Late => late += 1,
                    Received::Mismatched => mismatched += 1,
                }
            }
        }
        let counters = &self.shared.counters;
        add(&counters.received, received - late - mismatched);
        add(&counters.late, late);
        add(&counters.mismatched, mismatched);
        // Counted first: who has his answer may look.
        if let Some((_, held)) = self.parting.first() {
            held.patron.answered(self.parting.len() as u64);
        }
        for (at, held) in &self.parting {
            if let (Some(terms), Some(answer)) = (held.terms, self.plain.get(at.clone())) {
                held.patron.keep(answer, terms, time);
            }
        }
        self.outbox.send(&self.plain);
        self.parting.clear();
        stranded.into_iter().for_each(hand_over);
        taken
    }

    fn take_over_overdue(&mut self, time: Instant) {
        let overdue = self.shared.lock().mux.overdue(time);
        overdue.into_iter().for_each(hand_over);
    }

    /// Sets the timer, which may ring too early but never too late; whether it rang.
    fn poll_timer(&mut self, context: &mut Context<'_>, wake: Instant) -> bool {
        if wake < self.timer.deadline().into_std() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(wake.into());
        }
        self.timer.as_mut().poll(context).is_ready()
    }

    async fn end(mut self, how: Ended) {
        let stranded = self.shared.lock().mux.end(how);
        self.shared.tell_room();
        stranded.into_iter().for_each(hand_over);
        // close_notify (RFC 8446 §6.1), so that the other end knows that nothing is missing.
        if let Some(tls) = &mut self.link.tls {
            tls.close(&mut self.outgoing);
        }
        let rest = self.outgoing.get(self.written..).unwrap_or_default();
        let stream = &mut self.link.stream;
        let _ = timeout(FAREWELL, async {
            stream.write_all(rest).await?;
            stream.shutdown().await
        })
        .await;
    }
}

/// Where the message stands whose frame begins at `at`; none while it is not whole.
fn message_at(plain: &[u8], at: usize) -> Option<Range<usize>> {
    let length = plain.get(at..at + LENGTH_BYTES)?.first_chunk()?;
    let start = at + LENGTH_BYTES;
    let end = start + usize::from(u16::from_be_bytes(*length));
    (end <= plain.len()).then_some(start..end)
}
