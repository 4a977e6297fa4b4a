//! Many questions on one stream of frames. Without IO: questions, answers and the time in; frames, answers and timeouts
//! out.
//!
//! Who asks is either a task, which is sent its answer, or an [`Waiter::Express`] asker: the caller is given the answer
//! where it stands in the stream, and sends it on. A question of that kind costs no allocation; in return it gets
//! nothing but an answer. Whatever else befalls it (silence, the end of the connection, an answer that cannot be passed
//! on) it becomes [`Stranded`]: the question of a task.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::hop::{push_outbound, restore};
use super::in_flight::{InFlight, Stray};
use super::{DotLimits, Ended};
use crate::wire;

/// Bytes that wait to be written, after which no more questions are taken: the server does not read.
const OUTGOING_MAX: usize = 1 << 18;
/// What is kept of a buffer that was longer.
const OUTGOING_KEPT: usize = 1 << 15;
/// Messages that answer other questions under ids in use, after which the server is not believed
/// to know what it does. (Late answers do not count.)
const WRONG_QUESTIONS_MAX: u32 = 16;
const LENGTH_BYTES: usize = 2;
/// The octet of a header whose lower half is the response code (RFC 1035 §4.1.1).
const RCODE: usize = 3;

/// One connection's questions and answers.
#[derive(Debug)]
pub(super) struct Mux<E> {
    in_flight: InFlight<Waiter<E>>,
    /// Frames that are to be written.
    outgoing: Vec<u8>,
    ended: Option<Ended>,
    /// The server asked for no more questions on this connection (RFC 7828 §3.2.2).
    leaving: bool,
    heard: bool,
    /// Answers came that could be passed on, since somebody asked whether there were.
    answered: bool,
    idle_limit: Duration,
    idle_most: Duration,
    silence_limit: Duration,
    hedge_after: Duration,
    padding: usize,
    last_activity: Instant,
    last_received: Instant,
    /// When the oldest question went out since the server was last heard.
    waiting_since: Option<Instant>,
    /// No express question is older.
    express_since: Option<Instant>,
    express: usize,
    wrong_questions: u32,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Waiter<E> {
    /// A task.
    Task(oneshot::Sender<Vec<u8>>),
    /// The caller, who keeps this for it.
    Express(E),
}

/// What became of a message of the server.
#[derive(Debug)]
pub(super) enum Received<E> {
    /// The answer to a question of the caller's: the first so many bytes of the message.
    Express(E, usize),
    /// The answer cannot be passed on.
    Stranded(Stranded<E>),
    /// A task has its answer.
    Task,
    /// Nobody waits for it.
    Late,
    /// It answers what was not asked.
    Mismatched,
}

/// A question of the caller's that needs more than patience. A task takes it from here.
#[derive(Debug)]
pub(super) struct Stranded<E> {
    /// What the caller gave along.
    pub(super) express: E,
    /// The question as it was asked.
    pub(super) query: Vec<u8>,
    pub(super) asked_at: Instant,
    /// The id under which the answer may still come.
    pub(super) id: Option<u16>,
    /// Where it comes then.
    pub(super) answer: oneshot::Receiver<Vec<u8>>,
}

impl<E> Mux<E> {
    pub(super) fn new(now: Instant, limits: &DotLimits) -> Self {
        Self {
            in_flight: InFlight::new(),
            outgoing: Vec::new(),
            ended: None,
            leaving: false,
            heard: false,
            answered: false,
            idle_limit: limits.idle,
            idle_most: limits.idle_max,
            silence_limit: limits.silence,
            hedge_after: limits.hedge_after,
            padding: limits.padding,
            last_activity: now,
            last_received: now,
            waiting_since: None,
            express_since: None,
            express: 0,
            wrong_questions: 0,
        }
    }

    /// How it ended, if it did.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Whether new questions may be asked.
    pub(super) fn is_open(&self) -> bool {
        self.ended.is_none() && !self.leaving
    }

    /// Whether what is to be written is little enough for more.
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.len() < OUTGOING_MAX
    }

    /// Whether the server ever said anything.
    pub(super) fn was_heard(&self) -> bool {
        self.heard
    }

    /// Whether answers came that could be passed on, since this was asked last.
    pub(super) fn take_answered(&mut self) -> bool {
        std::mem::take(&mut self.answered)
    }

    /// When the server was last heard, or the connection began.
    pub(super) fn last_received(&self) -> Instant {
        self.last_received
    }

    /// Whether something was unanswered by then, and the server said nothing since.
    pub(super) fn is_silent_since(&self, then: Instant) -> bool {
        self.waiting_since.is_some_and(|since| since <= then)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Asks `message` as it is, but for the id, which comes back. None when no id is free, or the message is too long.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        message: &[u8],
        answer: oneshot::Sender<Vec<u8>>,
    ) -> Option<u16> {
        let length = u16::try_from(message.len()).ok()?;
        let id = self.in_flight.insert(message, now, Waiter::Task(answer));
        let id = id.ok()?;
        self.outgoing.extend_from_slice(&length.to_be_bytes());
        let start = self.outgoing.len();
        self.outgoing.extend_from_slice(message);
        self.asked(now, start, id);
        Some(id)
    }

    /// Asks `query` for the caller, made ready for the hop.
    ///
    /// # Errors
    /// `express` comes back where the question cannot be asked so, and why is told by asking it as a task.
    pub(super) fn ask_express(&mut self, now: Instant, query: &[u8], express: E) -> Result<(), E> {
        let frame = self.outgoing.len();
        let start = frame + LENGTH_BYTES;
        self.outgoing.extend_from_slice(&[0; LENGTH_BYTES]);
        let pushed = push_outbound(query, self.padding, &mut self.outgoing);
        let length = u16::try_from(self.outgoing.len() - start);
        let (Ok(_), Ok(length)) = (pushed, length) else {
            self.outgoing.truncate(frame);
            return Err(express);
        };
        let waiter = Waiter::Express(express);
        let id = match self.in_flight.insert(query, now, waiter) {
            Ok(id) => id,
            Err(waiter) => {
                self.outgoing.truncate(frame);
                return match waiter {
                    Waiter::Express(express) => Err(express),
                    Waiter::Task(_) => Ok(()),
                };
            }
        };
        if let Some(slot) = self.outgoing.get_mut(frame..start) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
        self.asked(now, start, id);
        self.express += 1;
        self.express_since.get_or_insert(now);
        Ok(())
    }

    fn asked(&mut self, now: Instant, start: usize, id: u16) {
        wire::set_id(self.outgoing.get_mut(start..).unwrap_or_default(), id);
        self.waiting_since.get_or_insert(now);
        self.last_activity = now;
    }

    /// Whether there is something to write.
    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Gives away the frames to be written, for a buffer that is empty.
    pub(super) fn take_outgoing(&mut self, empty: &mut Vec<u8>) {
        empty.shrink_to(OUTGOING_KEPT);
        std::mem::swap(&mut self.outgoing, empty);
    }

    /// Takes one message of the server. The answer to a question of the caller's is only given to it where it is
    /// `content` with this response code (the four bits of the header); elsewhere a task has it.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        message: &mut [u8],
        content: impl FnOnce(&E, u8) -> bool,
    ) -> Received<E> {
        self.heard = true;
        self.last_received = now;
        self.last_activity = now;
        let received = self.deliver(message, content);
        if matches!(received, Received::Mismatched) {
            self.wrong_questions += 1;
        }
        self.waiting_since = (!self.in_flight.is_empty()).then_some(now);
        received
    }

    fn deliver(&mut self, message: &mut [u8], content: impl FnOnce(&E, u8) -> bool) -> Received<E> {
        let (waiter, query, asked_at) = match self.in_flight.take(message) {
            Ok(taken) => taken,
            Err(Stray::UnknownId) => return Received::Late,
            Err(Stray::WrongQuestion | Stray::NotAnAnswer) => return Received::Mismatched,
        };
        let express = match waiter {
            Waiter::Express(express) => express,
            Waiter::Task(waiter) => {
                let _ = waiter.send(message.to_vec());
                return Received::Task;
            }
        };
        let asked = wire::View::parse(query).ok();
        let tail = asked.and_then(|asked| asked.tail().ok());
        let with_edns = tail.is_some_and(|tail| tail.edns.is_some());
        let code = message.get(RCODE).map_or(0, |octet| octet & 0xF);
        let restored = content(&express, code)
            .then(|| restore(asked.map_or(0, |asked| asked.id()), with_edns, message));
        let restored = match restored {
            Some(Ok(restored)) => restored,
            None | Some(Err(_)) => {
                let (sender, answer) = oneshot::channel();
                let _ = sender.send(message.to_vec());
                let stranded = Stranded {
                    express,
                    query: query.to_vec(),
                    asked_at,
                    id: None,
                    answer,
                };
                self.one_express_less();
                return Received::Stranded(stranded);
            }
        };
        // Askers may check the letter case of the question that comes back.
        if let Some(question) = asked.and_then(|asked| asked.question()) {
            wire::restore_case(message, &question);
        }
        self.one_express_less();
        self.answered = true;
        if let Some(timeout) = restored.keepalive {
            self.keep_alive(timeout);
        }
        Received::Express(express, restored.length)
    }

    fn one_express_less(&mut self) {
        self.express -= 1;
        if self.express == 0 {
            self.express_since = None;
        }
    }

    /// A task's answer could be passed on.
    pub(super) fn on_answered(&mut self) {
        self.answered = true;
    }

    /// The server said how long it keeps idle connections; zero asks to leave.
    pub(super) fn keep_alive(&mut self, timeout: Duration) {
        if timeout.is_zero() {
            self.leaving = true;
        } else {
            self.idle_limit = timeout.min(self.idle_most);
        }
    }

    /// Whoever asked `id` gave up.
    pub(super) fn give_up(&mut self, id: u16) {
        if let Some(Waiter::Express(_)) = self.in_flight.remove(id) {
            self.one_express_less();
        }
    }

    /// Express questions that have waited for so long that a task has to look after them.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Stranded<E>> {
        let Some(oldest) = self.express_since else {
            return Vec::new();
        };
        if now.saturating_duration_since(oldest) < self.hedge_after {
            return Vec::new();
        }
        let mut stranded = Vec::new();
        let mut since = None;
        for (id, query, asked_at, waiter) in self.in_flight.iter_mut() {
            if matches!(waiter, Waiter::Task(_)) {
                continue;
            }
            if now.saturating_duration_since(asked_at) < self.hedge_after {
                since = since.into_iter().chain([asked_at]).min();
                continue;
            }
            let (sender, answer) = oneshot::channel();
            if let Waiter::Express(express) = std::mem::replace(waiter, Waiter::Task(sender)) {
                stranded.push(Stranded {
                    express,
                    query: query.to_vec(),
                    asked_at,
                    id: Some(id),
                    answer,
                });
            }
        }
        self.express -= stranded.len();
        self.express_since = since;
        stranded
    }

    /// Why it ends now, if it does.
    pub(super) fn on_timeout(&self, now: Instant) -> Option<Ended> {
        let waited = |since: Instant| now.saturating_duration_since(since);
        if self.wrong_questions >= WRONG_QUESTIONS_MAX {
            Some(Ended::Confused)
        } else if self
            .waiting_since
            .is_some_and(|since| waited(since) >= self.silence_limit)
        {
            Some(Ended::Silent)
        } else if self.in_flight.is_empty()
            && (self.leaving || waited(self.last_activity) >= self.idle_limit)
        {
            Some(Ended::Idle)
        } else {
            None
        }
    }

    /// When to look again at the latest.
    pub(super) fn next_timeout(&self) -> Instant {
        let idle = self.last_activity + self.idle_limit;
        let quiet = match self.waiting_since.map(|since| since + self.silence_limit) {
            Some(silent) if self.in_flight.is_empty() => idle.min(silent),
            Some(silent) => silent,
            None => idle,
        };
        match self.express_since {
            Some(since) => quiet.min(since + self.hedge_after),
            None => quiet,
        }
    }

    /// Nothing comes any more. Tasks see it by themselves; what was express is left to them.
    pub(super) fn end(&mut self, how: Ended) -> Vec<Stranded<E>> {
        self.ended.get_or_insert(how);
        (self.express, self.express_since) = (0, None);
        let mut stranded = Vec::new();
        for (query, asked_at, waiter) in self.in_flight.drain() {
            if let Waiter::Express(express) = waiter {
                // Closed without an answer.
                let (_, answer) = oneshot::channel();
                stranded.push(Stranded {
                    express,
                    query,
                    asked_at,
                    id: None,
                    answer,
                });
            }
        }
        stranded
    }
}
