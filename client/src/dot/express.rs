//! The short way for questions that need nothing but an answer: from a datagram onto a connection that is there, and the
//! answer back into a datagram, without a task or an allocation of their own.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::DotError;
use super::connect::now;
use super::connection::{Connection, Express, Held, Ticket};
use super::hop::Outbound;
use super::mux::Stranded;
use super::pool::Inner;
use crate::cache::{KeyBits, ViewId};
use crate::datagrams::{Asker, Replies};

/// Who answers for the questions of a [`Lane`].
pub trait Patron: Send + Sync {
    /// So many answers are on their way.
    fn answered(&self, answers: u64);

    /// Appends the answer to `query`, if he knows one that the pool of this number would give. If not, the terms under
    /// which the one that comes is to be shown to [`Patron::keep`], if any.
    fn recall(&self, _query: &[u8], _pool: u32, _now: Instant, _out: &mut Vec<u8>) -> Recalled {
        Recalled::Unknown(None)
    }

    /// Whether an answer with this response code (the four bits of the header) goes to whoever asked. Where not,
    /// [`Patron::take_over`] is called, and what may still answer is this answer. Called once for each answer, while the
    /// connection is locked.
    fn is_content(&self, _code: u8) -> bool {
        true
    }

    /// The answer to a question with these terms.
    fn keep(&self, _answer: &[u8], _terms: Terms, _now: Instant) {}

    /// Patience alone does not answer this question, or not well: look after it in a task. Called within a tokio runtime.
    fn take_over(self: Arc<Self>, question: Unanswered);
}

/// What makes a difference to an answer beside its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The bits of the question.
    pub bits: KeyBits,
    /// Where it came from.
    pub view: ViewId,
}

/// Whether an answer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recalled {
    /// It was appended.
    Known,
    /// It is not, and may be kept under these terms, if any.
    Unknown(Option<Terms>),
}

/// A connection that questions can leave by now. They leave together when it is dropped.
pub struct Lane {
    pool: Arc<Inner>,
    connection: Arc<Connection>,
    patron: Arc<dyn Patron>,
    now: Instant,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("connection", &self.connection.serial)
            .finish_non_exhaustive()
    }
}

impl Lane {
    pub(super) fn new(
        pool: Arc<Inner>,
        connection: Arc<Connection>,
        patron: Arc<dyn Patron>,
    ) -> Self {
        Self {
            pool,
            connection,
            patron,
            now: now(),
        }
    }

    /// Asks `query` for `asker`, unless the answer is known, which goes to `replies`.
    ///
    /// # Errors
    /// Gives the asker back where that cannot be: no turn, no room, no question.
    pub fn ask(&self, query: &[u8], asker: Asker, replies: &mut Replies) -> Result<(), Asker> {
        let recalled =
            |out: &mut Vec<u8>| self.patron.recall(query, self.pool.number(), self.now, out);
        let (asker, terms) = match replies.put(asker, recalled) {
            Ok(()) => return Ok(()),
            Err(unknown) => unknown,
        };
        let Some(turn) = self.pool.try_turn() else {
            return Err(asker);
        };
        let held = Held {
            patron: Arc::clone(&self.patron),
            pool: Arc::clone(&self.pool),
            connection: Arc::clone(&self.connection),
            turn,
            terms,
        };
        let express = Express { asker, held };
        self.connection
            .send_express(self.now, query, express)
            .map_err(|express| express.asker)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.connection.hurry();
    }
}

/// A question that was sent by a [`Lane`], and what is left to do for it.
pub struct Unanswered {
    /// The question as it was asked.
    pub query: Vec<u8>,
    /// When it was.
    pub asked_at: Instant,
    /// Who asked.
    pub asker: Asker,
    /// What may still answer it.
    pub pursuit: Pursuit,
}

/// A question under way.
pub struct Pursuit {
    pool: Arc<Inner>,
    ticket: Ticket,
    _turn: tokio::sync::OwnedSemaphorePermit,
}

impl Pursuit {
    /// The answer to `query`: the one under way, or that of another try, as for any question of the pool.
    ///
    /// # Errors
    /// [`DotError`]; never later than `deadline`.
    pub async fn answer(self, query: &[u8], deadline: Instant) -> Result<Vec<u8>, DotError> {
        let outbound = Outbound::new(query, self.pool.padding())?;
        let answer = self.pool.follow(self.ticket, &outbound);
        self.pool.in_time(deadline, answer).await
    }
}

/// Gives a question to the one who answers for it.
pub(super) fn hand_over(stranded: Stranded<Express>) {
    let Express { asker, held } = stranded.express;
    let ticket = Ticket::new(
        held.connection,
        stranded.id,
        stranded.asked_at,
        stranded.answer,
    );
    held.patron.take_over(Unanswered {
        query: stranded.query,
        asked_at: stranded.asked_at,
        asker,
        pursuit: Pursuit {
            pool: held.pool,
            ticket,
            _turn: held.turn,
        },
    });
}
