//! Messages out of a stream: each has its length in two octets in front (RFC 1035 §4.2.2).

/// How much of an overlong message is kept: its header and its question.
const HEAD_BYTES: usize = 512;
/// What is read ahead at once, in octets: dozens of queries.
const READ_BYTES: usize = 2048;

/// What has arrived and is not yet taken.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Octets at the beginning of the buffer that are taken.
    taken: usize,
    /// Octets of an overlong message that are still to come.
    skip: usize,
    longest: usize,
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Whole(&'a [u8]),
    /// The beginning of a message that is longer than allowed.
    Overlong(&'a [u8]),
}

impl Frames {
    pub(super) fn new(longest: usize) -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            skip: 0,
            longest: longest.max(HEAD_BYTES),
        }
    }

    /// Where the next octets go. It has room; what it holds is bounded by one message of the
    /// greatest length and what is read at once.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        let missing = self.missing();
        self.buffer
            .reserve_exact(missing.clamp(READ_BYTES, READ_BYTES.max(self.longest)));
        &mut self.buffer
    }

    /// The next message that has arrived.
    pub(super) fn next(&mut self) -> Option<Frame<'_>> {
        let skipped = self.skip.min(self.buffer.len() - self.taken);
        self.skip -= skipped;
        self.taken += skipped;
        let start = self.taken + 2;
        let length = self.length()?;
        if length > self.longest {
            let head = self.buffer.get(start..start + HEAD_BYTES)?;
            self.taken = start + HEAD_BYTES;
            self.skip = length - HEAD_BYTES;
            return Some(Frame::Overlong(head));
        }
        let message = self.buffer.get(start..start + length)?;
        self.taken = start + length;
        Some(Frame::Whole(message))
    }

    /// Whether a message has begun to arrive and is not complete.
    pub(super) fn in_the_middle(&self) -> bool {
        self.skip > 0 || self.taken < self.buffer.len()
    }

    /// Gives the memory back when there is nothing in it.
    pub(super) fn rest(&mut self) {
        if !self.in_the_middle() {
            self.buffer = Vec::new();
            self.taken = 0;
        }
    }

    fn length(&self) -> Option<usize> {
        let prefix = self.buffer.get(self.taken..self.taken + 2)?;
        Some(usize::from(u16::from_be_bytes(prefix.try_into().ok()?)))
    }

    /// How many octets the message that has begun still lacks.
    fn missing(&self) -> usize {
        self.length().map_or(2, |length| {
            (2 + length).saturating_sub(self.buffer.len() - self.taken)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for message in messages {
            stream.extend((message.len() as u16).to_be_bytes());
            stream.extend(message);
        }
        stream
    }

    #[test]
    fn an_overlong_message_leaves_its_head_and_does_not_disturb_the_next() {
        let messages = [vec![1; 600], vec![2; 5000], vec![3; 7]];
        let mut frames = Frames::new(1000);
        let mut seen = Vec::new();
        for octets in framed(&messages).chunks(100) {
            frames.buffer().extend_from_slice(octets);
            while let Some(frame) = frames.next() {
                seen.push(match frame {
                    Frame::Whole(message) => (message.to_vec(), false),
                    Frame::Overlong(head) => (head.to_vec(), true),
                });
            }
            assert!(frames.buffer.len() <= 1000 + 2 + 100, "bounded");
        }
        let expected = vec![
            (vec![1; 600], false),
            (vec![2; 512], true),
            (vec![3; 7], false),
        ];
        assert_eq!(seen, expected);
        assert!(!frames.in_the_middle());
        frames.rest();
        assert_eq!(frames.buffer.capacity(), 0);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cut in 1usize..500,
        ) {
            let mut frames = Frames::new(4096);
            let mut seen = Vec::new();
            for octets in framed(&messages).chunks(cut) {
                frames.buffer().extend_from_slice(octets);
                while let Some(Frame::Whole(message)) = frames.next() {
                    seen.push(message.to_vec());
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(!frames.in_the_middle());
        }
    }
}
