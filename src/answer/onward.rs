//! Questions that are handed on, and what comes back.

use std::{sync::Arc, time::Instant};

use zzdot_client::{
    cache::{Image, Key, KeyBits, ViewId},
    wire::{self, View},
};

use super::{
    Asker, Responder,
    passage::Errand,
    refusal::{ede, rcode},
    terms::Terms,
};
use crate::{
    counters::Event,
    resolve::{ResolveError, Through},
};

/// A query that waits for the source of answers.
#[derive(Debug, Clone)]
pub struct Pending {
    pub(super) onward: Onward,
    pub(super) terms: Terms,
    pub(super) has_stale: bool,
    /// Where one given upstream is asked instead of the source.
    pub(super) errand: Option<Box<Errand>>,
}

impl Pending {
    /// What to ask: well-formed, one question, an OPT record only if the asker sent one, id 0.
    pub fn query(&self) -> Arc<[u8]> {
        match &self.errand {
            Some(errand) => Arc::clone(&errand.query),
            None => Arc::clone(&self.onward.query),
        }
    }

    /// Through which upstream to ask, where it is to be one given upstream; otherwise the source is asked.
    pub fn through(&self) -> Option<&Through> {
        self.errand.as_deref().map(|errand| &errand.through)
    }

    /// Whether there was an answer whose time has passed, see [`Responder::stale`].
    pub fn has_stale(&self) -> bool {
        self.has_stale
    }

    /// The same question, asked for those who come later.
    pub fn into_refresh(self) -> Refresh {
        Refresh {
            onward: self.onward,
        }
    }
}

/// A question that is asked again while its answer may still serve.
#[derive(Debug, Clone)]
pub struct Refresh {
    pub(super) onward: Onward,
}

impl Refresh {
    /// What to ask, as [`Pending::query`].
    pub fn query(&self) -> Arc<[u8]> {
        Arc::clone(&self.onward.query)
    }
}

/// What is asked of the source, and where the answer belongs.
#[derive(Debug, Clone)]
pub(super) struct Onward {
    query: Arc<[u8]>,
    question_len: usize,
    bits: KeyBits,
    /// Of the time of asking: an answer of a source that was replaced meanwhile is not kept.
    pub(super) view: ViewId,
    /// Unix time in seconds.
    clock: u64,
}

impl Onward {
    pub(super) fn new(question: &[u8], terms: &Terms, asker: &Asker, view: ViewId) -> Self {
        let clock = asker.time.duration_since(std::time::UNIX_EPOCH);
        Self {
            query: terms.onward_query(question).into(),
            question_len: question.len(),
            bits: terms.key_bits(),
            view,
            clock: clock.unwrap_or_default().as_secs(),
        }
    }

    /// The question section, with the letters in which it came.
    pub(super) fn question(&self) -> &[u8] {
        self.query
            .get(wire::HEADER_BYTES..wire::HEADER_BYTES + self.question_len)
            .unwrap_or_default()
    }

    pub(super) fn key(&self) -> Option<Key> {
        Key::new(self.question(), self.bits)
    }

    /// Makes the image of what the source gave; an image of a failure, and its event, when that is
    /// no answer to the question.
    fn image(&self, response: Result<Vec<u8>, ResolveError>) -> (Image, Option<Event>) {
        self.judge(response, |response| self.read(response))
    }

    /// As [`Onward::image`], where `read` says what is an answer.
    fn judge(
        &self,
        response: Result<Vec<u8>, ResolveError>,
        read: impl FnOnce(&[u8]) -> Option<Image>,
    ) -> (Image, Option<Event>) {
        match response {
            Ok(response) => match read(&response) {
                Some(image) => (image, None),
                None => {
                    let text = "what came back is no answer to the question";
                    let ede = (ede::INVALID_DATA, text);
                    let image = Image::failure(self.question(), rcode::SERVFAIL, Some(ede), true);
                    (image, Some(Event::SourceMismatch))
                }
            },
            Err(error) => {
                let (code, text) = error.ede();
                // What ails this server now says nothing about the name.
                let keep = !matches!(
                    error,
                    ResolveError::Overloaded
                        | ResolveError::NoUpstream
                        | ResolveError::Unsupported(_)
                );
                let image =
                    Image::failure(self.question(), error.rcode(), Some((code, &text)), keep);
                (image, Some(Event::SourceFailed))
            }
        }
    }

    fn read(&self, response: &[u8]) -> Option<Image> {
        let view = View::parse(response).ok()?;
        let question = view.question()?;
        let (name, rest) = self.question().split_last_chunk::<4>()?;
        let same = view.is_response()
            && view.opcode() == 0
            && question.wire_name.eq_ignore_ascii_case(name)
            && [question.qtype.to_be_bytes(), question.qclass.to_be_bytes()].concat() == rest;
        if !same {
            return None;
        }
        Image::read(response, self.clock).ok()
    }
}

impl Responder {
    /// The response to a query that was [`Outcome::Ask`](super::Outcome::Ask). A failure becomes an
    /// answer whose time has passed, where there is one (RFC 8767).
    pub fn finish(
        &self,
        pending: Pending,
        response: Result<Vec<u8>, ResolveError>,
        now: Instant,
    ) -> Vec<u8> {
        let Pending {
            onward,
            terms,
            errand,
            ..
        } = pending;
        if let Some(errand) = errand {
            return self.finish_errand(&onward, &terms, &errand, response);
        }
        let (image, failure) = onward.image(response);
        if self.has_better(&onward, &image, failure, now)
            && let Some(better) = self.copy_again(&onward, &terms, now)
        {
            return better;
        }
        if let Some(event) = failure {
            self.counters.count(event);
        }
        let mut out = Vec::new();
        self.seal(&terms, onward.question(), &image, &mut out);
        self.keep(&onward, image, now);
        out
    }

    /// The response to a question that was passed on. It is not kept: it is the upstream's word, wanted as
    /// it is now, and who asks for it may invent names without end.
    fn finish_errand(
        &self,
        onward: &Onward,
        terms: &Terms,
        errand: &Errand,
        response: Result<Vec<u8>, ResolveError>,
    ) -> Vec<u8> {
        let (image, failure) =
            onward.judge(response, |response| errand.image(response, onward.clock));
        if let Some(event) = failure {
            self.counters.count(event);
        }
        let mut out = Vec::new();
        self.seal(terms, onward.question(), &image, &mut out);
        out
    }

    /// An answer whose time has passed, for those who have waited long enough for a fresh one
    /// (RFC 8767 §5); none where there is none.
    pub fn stale(&self, pending: &Pending, now: Instant) -> Option<Vec<u8>> {
        self.copy_again(&pending.onward, &pending.terms, now)
    }

    /// Keeps what came for a refresh.
    pub fn refreshed(
        &self,
        refresh: Refresh,
        response: Result<Vec<u8>, ResolveError>,
        now: Instant,
    ) {
        let (image, failure) = refresh.onward.image(response);
        if !self.has_better(&refresh.onward, &image, failure, now) {
            self.keep(&refresh.onward, image, now);
        }
    }
}
