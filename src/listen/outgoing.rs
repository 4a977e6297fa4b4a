//! What the kernel has not taken of a connection's answers.

use std::collections::VecDeque;

use tokio::time::Instant;

/// Where in what is sent so many answers end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) end: usize,
    pub(super) answers: u32,
}

/// Octets for the peer, one after the other. Holds memory only while there are any.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    sent: usize,
    /// The answers that are not wholly sent.
    marks: VecDeque<Mark>,
    /// Since when the first of them has been next.
    next_since: Option<Instant>,
}

impl Outgoing {
    /// Adds `octets`, in which `marks` say where answers end.
    pub(super) fn push(&mut self, octets: &[u8], marks: &[Mark], now: Instant) {
        if octets.is_empty() {
            return;
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(octets);
        self.marks.extend(marks.iter().map(|mark| Mark {
            end: start + mark.end,
            ..*mark
        }));
        self.next_since.get_or_insert(now);
    }

    /// What is to be written.
    pub(super) fn unsent(&self) -> &[u8] {
        self.buffer.get(self.sent..).unwrap_or_default()
    }

    /// Notes that `written` octets more were taken; says how many answers that completes.
    pub(super) fn advance(&mut self, written: usize, now: Instant) -> u32 {
        self.sent += written;
        let mut completed = 0;
        while let Some(mark) = self.marks.front().filter(|mark| mark.end <= self.sent) {
            completed += mark.answers;
            self.marks.pop_front();
        }
        if self.sent >= self.buffer.len() {
            *self = Self::default();
        } else if completed > 0 {
            self.next_since = Some(now);
        }
        // What was sent makes room before it is more than what was not.
        if self.sent > self.buffer.len() / 2 {
            let sent = std::mem::take(&mut self.sent);
            self.buffer.drain(..sent);
            self.marks.iter_mut().for_each(|mark| mark.end -= sent);
        }
        completed
    }

    /// Since when the answer that is next has waited to be taken.
    pub(super) fn next_since(&self) -> Option<Instant> {
        self.next_since
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn push(outgoing: &mut Outgoing, octets: &[u8], now: Instant) {
        let mark = Mark {
            end: octets.len(),
            answers: 1,
        };
        outgoing.push(octets, &[mark], now);
    }

    #[test]
    fn the_clock_of_an_answer_starts_when_it_is_next() {
        let start = Instant::now();
        let second = start + Duration::from_secs(1);
        let mut outgoing = Outgoing::default();
        push(&mut outgoing, b"__abc", start);
        push(&mut outgoing, b"__de", start);
        assert_eq!(outgoing.advance(4, second), 0);
        assert_eq!(outgoing.next_since(), Some(start), "not reset by progress");
        assert_eq!(outgoing.advance(1, second), 1);
        assert_eq!(outgoing.next_since(), Some(second));
        assert_eq!(outgoing.advance(4, second), 1);
        assert_eq!(outgoing.next_since(), None);
        assert!(outgoing.unsent().is_empty());
        assert_eq!(outgoing.buffer.capacity(), 0, "no memory while idle");
    }

    #[test]
    fn the_answers_of_one_record_are_taken_together() {
        let now = Instant::now();
        let mut outgoing = Outgoing::default();
        let mark = |end, answers| Mark { end, answers };
        outgoing.push(&[0; 30], &[mark(10, 3), mark(30, 5)], now);
        assert_eq!(outgoing.advance(9, now), 0);
        assert_eq!(outgoing.advance(20, now), 3);
        assert_eq!(outgoing.advance(1, now), 5);
    }

    proptest! {
        #[test]
        fn octets_leave_in_the_order_in_which_they_came(
            answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 1..30),
            step in 1usize..200,
        ) {
            let now = Instant::now();
            let mut outgoing = Outgoing::default();
            let (mut expected, mut seen): (Vec<u8>, Vec<u8>) = Default::default();
            let mut completed = 0;
            for answer in &answers {
                expected.extend(answer);
                push(&mut outgoing, answer, now);
                let part = outgoing.unsent()[..step.min(outgoing.unsent().len())].to_vec();
                seen.extend(&part);
                completed += outgoing.advance(part.len(), now);
            }
            seen.extend(outgoing.unsent());
            let rest = outgoing.unsent().len();
            completed += outgoing.advance(rest, now);
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(completed as usize, answers.len());
        }
    }
}
