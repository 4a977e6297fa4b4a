//! The buffers of a worker, lent to one connection at a time.
//!
//! A connection has buffers of its own only for what is half received, or not yet taken by its
//! peer; ten thousand idle ones have none.

use std::cell::RefCell;

use zzdot_client::tls::session::HOLDS_OF_CLIENTS;

use super::outgoing::Mark;

/// The most that is read at once, in octets: a full record of TLS, or hundreds of queries. It is
/// also what a connection may do before the others have their turn.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// What an unusual turn needed beyond this is given back, in octets.
const KEPT_BYTES: usize = 128 * 1024;

/// What a turn works with. Empty between turns, but for `incoming`, which is never cleared.
#[derive(Debug)]
pub(super) struct Scratch {
    /// What comes from the socket, behind what was left over from before.
    pub(super) incoming: Vec<u8>,
    /// Framed queries.
    pub(super) plain: Vec<u8>,
    /// Framed answers that are not yet in `outgoing`.
    pub(super) answers: Vec<u8>,
    /// How many they are.
    pub(super) answered: u32,
    /// What goes to the socket.
    pub(super) outgoing: Vec<u8>,
    /// Which answers that completes.
    pub(super) marks: Vec<Mark>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

impl Scratch {
    const fn new() -> Self {
        Self {
            incoming: Vec::new(),
            plain: Vec::new(),
            answers: Vec::new(),
            answered: 0,
            outgoing: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Lends the worker's buffers for a turn. Not within a turn.
    pub(super) fn lend<T>(turn: impl FnOnce(&mut Self) -> T) -> T {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.incoming.is_empty() {
                scratch.incoming = vec![0; HOLDS_OF_CLIENTS + READ_BYTES];
            }
            let result = turn(scratch);
            scratch.clear();
            result
        })
    }

    fn clear(&mut self) {
        self.answered = 0;
        self.marks.clear();
        for buffer in [&mut self.plain, &mut self.answers, &mut self.outgoing] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }

    /// Frames an answer that `write` appends; it says whether there is one.
    pub(super) fn answer(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.answers.len();
        self.answers.extend_from_slice(&[0; 2]);
        let written = write(&mut self.answers);
        let length = u16::try_from(self.answers.len() - start - 2);
        match length {
            Ok(length) if written => {
                self.answers[start..start + 2].copy_from_slice(&length.to_be_bytes());
                self.answered += 1;
            }
            // One that is too long for a frame, which none is, is left out.
            _ => self.answers.truncate(start),
        }
    }
}
