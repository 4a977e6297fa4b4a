//! Messages out of a stream: each has its length in two octets in front (RFC 1035 §4.2.2).

/// How much of an overlong message is kept: its header and its question.
const HEAD_BYTES: usize = 512;

/// What a stream holds of messages that are not taken yet.
#[derive(Debug)]
pub(super) struct Frames {
    /// What has arrived of them.
    held: Vec<u8>,
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
            held: Vec::new(),
            skip: 0,
            longest: longest.max(HEAD_BYTES),
        }
    }

    /// Moves what is held to the end of `octets`, where what arrives next is to follow it.
    pub(super) fn hand_out(&mut self, octets: &mut Vec<u8>) {
        if !self.held.is_empty() {
            octets.extend_from_slice(&self.held);
            self.held = Vec::new();
        }
    }

    /// Takes the next whole message from the front of `octets`.
    pub(super) fn next<'a>(&mut self, octets: &mut &'a [u8]) -> Option<Frame<'a>> {
        let skipped = self.skip.min(octets.len());
        self.skip -= skipped;
        *octets = octets.get(skipped..)?;
        let (prefix, rest) = octets.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*prefix));
        if length > self.longest {
            let (head, rest) = rest.split_at_checked(HEAD_BYTES)?;
            *octets = rest;
            self.skip = length - HEAD_BYTES;
            return Some(Frame::Overlong(head));
        }
        let (message, rest) = rest.split_at_checked(length)?;
        *octets = rest;
        Some(Frame::Whole(message))
    }

    /// Holds what [`Frames::next`] left.
    pub(super) fn hold(&mut self, octets: &[u8]) {
        debug_assert!(self.held.is_empty(), "handed out before");
        self.held = octets.to_vec();
    }

    /// Whether a message has begun to arrive and is not taken.
    pub(super) fn in_the_middle(&self) -> bool {
        self.skip > 0 || !self.held.is_empty()
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

    /// The messages of a stream that arrives in pieces; the second of each pair: only the head.
    fn taken(frames: &mut Frames, stream: &[u8], cut: usize) -> Vec<(Vec<u8>, bool)> {
        let mut seen = Vec::new();
        for piece in stream.chunks(cut) {
            let mut octets = Vec::new();
            frames.hand_out(&mut octets);
            octets.extend_from_slice(piece);
            let mut rest = &octets[..];
            while let Some(frame) = frames.next(&mut rest) {
                seen.push(match frame {
                    Frame::Whole(message) => (message.to_vec(), false),
                    Frame::Overlong(head) => (head.to_vec(), true),
                });
            }
            frames.hold(rest);
            assert!(frames.held.len() <= frames.longest + 2, "bounded");
        }
        seen
    }

    #[test]
    fn an_overlong_message_leaves_its_head_and_does_not_disturb_the_next() {
        let messages = [vec![1; 600], vec![2; 5000], vec![3; 7]];
        let mut frames = Frames::new(1000);
        let seen = taken(&mut frames, &framed(&messages), 100);
        let expected = vec![
            (vec![1; 600], false),
            (vec![2; 512], true),
            (vec![3; 7], false),
        ];
        assert_eq!(seen, expected);
        assert!(!frames.in_the_middle());
        assert_eq!(frames.held.capacity(), 0, "no memory while idle");
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cut in 1usize..500,
        ) {
            let mut frames = Frames::new(4096);
            let seen = taken(&mut frames, &framed(&messages), cut);
            let expected: Vec<_> = messages.into_iter().map(|message| (message, false)).collect();
            prop_assert_eq!(seen, expected);
            prop_assert!(!frames.in_the_middle());
        }
    }
}
