//! Answers on their way out of a connection.

use std::collections::VecDeque;

use tokio::time::Instant;

/// The memory that is kept for the next answers, in octets.
const KEPT_BYTES: usize = 4096;

/// Answers that the peer has not taken, framed and one after the other.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    sent: usize,
    /// Where in the buffer each answer ends that is not wholly sent.
    ends: VecDeque<usize>,
    /// Since when the first of them has been next.
    next_since: Option<Instant>,
}

impl Outgoing {
    /// Adds an answer. One that is too long for a frame, which none is, is left out.
    pub(super) fn push(&mut self, answer: &[u8], now: Instant) {
        let Ok(length) = u16::try_from(answer.len()) else {
            return;
        };
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(answer);
        self.ends.push_back(self.buffer.len());
        self.next_since.get_or_insert(now);
    }

    /// What is to be written.
    pub(super) fn unsent(&self) -> &[u8] {
        self.buffer.get(self.sent..).unwrap_or_default()
    }

    /// Notes that `written` octets more were taken; says how many answers that completes.
    pub(super) fn advance(&mut self, written: usize, now: Instant) -> usize {
        self.sent += written;
        let before = self.ends.len();
        while self.ends.front().is_some_and(|end| *end <= self.sent) {
            self.ends.pop_front();
        }
        let completed = before - self.ends.len();
        if self.ends.is_empty() {
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES);
            self.sent = 0;
            self.next_since = None;
        } else if completed > 0 {
            self.next_since = Some(now);
        }
        // What was sent makes room before it is more than what was not.
        if self.sent > self.buffer.len() / 2 {
            let sent = std::mem::take(&mut self.sent);
            self.buffer.drain(..sent);
            self.ends.iter_mut().for_each(|end| *end -= sent);
        }
        completed
    }

    /// Since when the answer that is next has waited to be taken.
    pub(super) fn next_since(&self) -> Option<Instant> {
        self.next_since
    }

    /// Gives the memory back when there is nothing in it.
    pub(super) fn rest(&mut self) {
        if self.ends.is_empty() {
            self.buffer = Vec::new();
            self.ends = VecDeque::new();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn the_clock_of_an_answer_starts_when_it_is_next() {
        let start = Instant::now();
        let second = start + Duration::from_secs(1);
        let mut outgoing = Outgoing::default();
        outgoing.push(b"abc", start);
        outgoing.push(b"de", start);
        assert_eq!(outgoing.advance(4, second), 0);
        assert_eq!(outgoing.next_since(), Some(start), "not reset by progress");
        assert_eq!(outgoing.advance(1, second), 1);
        assert_eq!(outgoing.next_since(), Some(second));
        assert_eq!(outgoing.advance(4, second), 1);
        assert_eq!(outgoing.next_since(), None);
        assert!(outgoing.unsent().is_empty());
    }

    proptest! {
        #[test]
        fn octets_leave_in_the_order_in_which_they_came(
            answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..30),
            step in 1usize..200,
        ) {
            let now = Instant::now();
            let mut outgoing = Outgoing::default();
            let (mut expected, mut seen): (Vec<u8>, Vec<u8>) = Default::default();
            let mut completed = 0;
            for answer in &answers {
                expected.extend((answer.len() as u16).to_be_bytes());
                expected.extend(answer);
                outgoing.push(answer, now);
                let part = outgoing.unsent()[..step.min(outgoing.unsent().len())].to_vec();
                seen.extend(&part);
                completed += outgoing.advance(part.len(), now);
            }
            seen.extend(outgoing.unsent());
            let rest = outgoing.unsent().len();
            completed += outgoing.advance(rest, now);
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(completed, answers.len());
        }
    }
}
