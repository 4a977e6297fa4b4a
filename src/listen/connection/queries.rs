//! The queries of a connection: taken as far as the limits let it, answered, or waited for.

use std::{
    ops::ControlFlow,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use tokio::time::Instant;

use super::{Connection, End};
use crate::{
    answer::{Asker, Outcome, Pending, Transport},
    counters::Event,
    listen::{flight::Full, frames::Frame, scratch::Scratch},
    resolve::ResolveError,
};

impl Connection {
    /// Takes the queries in `scratch.plain`, as far as the limits let it.
    pub(super) fn take_queries(
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

    pub(super) fn take_query(&mut self, frame: &Frame<'_>, asker: &Asker, scratch: &mut Scratch) {
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
    pub(super) fn ask(&mut self, pending: Box<Pending>, scratch: &mut Scratch, asker: &Asker) {
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
    pub(super) fn take_answers(
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

    /// Why nothing more may be read now.
    pub(super) fn pause(&self) -> Option<Event> {
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
}
