//! Which question waits under which id on one connection.

use std::collections::HashMap;

use crate::wire::View;

/// Questions of one connection that wait for their answers.
#[derive(Debug)]
pub(super) struct InFlight<W> {
    waiting: HashMap<u16, Waiting<W>>,
    next_id: u16,
}

#[derive(Debug)]
struct Waiting<W> {
    /// The question as it was sent, header included: what the answer has to repeat.
    query: Vec<u8>,
    waiter: W,
}

/// Why a message answers nothing that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// Not a message, or not an answer.
    NotAnAnswer,
    /// Nothing waits under its id: an answer that came too late.
    UnknownId,
    /// Something else was asked under its id.
    WrongQuestion,
}

impl<W> InFlight<W> {
    pub(super) fn new() -> Self {
        Self {
            waiting: HashMap::new(),
            next_id: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Finds an id for `query` and writes it into it. The ids go round, so that one is not used
    /// again soon after its question was given up. None when all are taken.
    pub(super) fn insert(&mut self, query: &mut [u8], waiter: W) -> Option<u16> {
        if self.waiting.len() > usize::from(u16::MAX) {
            return None;
        }
        while self.waiting.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        crate::wire::set_id(query, id);
        let query = query.to_vec();
        self.waiting.insert(id, Waiting { query, waiter });
        Some(id)
    }

    /// Takes out who waits for this answer: the id, the opcode and the question have to match.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<W, Stray> {
        let response = View::parse(message).map_err(|_| Stray::NotAnAnswer)?;
        if !response.is_response() {
            return Err(Stray::NotAnAnswer);
        }
        let id = response.id();
        let waiting = self.waiting.get(&id).ok_or(Stray::UnknownId)?;
        let matches =
            View::parse(&waiting.query).is_ok_and(|query| crate::wire::answers(&query, &response));
        if !matches {
            return Err(Stray::WrongQuestion);
        }
        self.remove(id).ok_or(Stray::UnknownId)
    }

    pub(super) fn remove(&mut self, id: u16) -> Option<W> {
        self.waiting.remove(&id).map(|waiting| waiting.waiter)
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::{QuestionFlags, question};
    use hickory_proto::rr::{Name, RecordType};
    use std::str::FromStr;

    fn query(name: &str) -> Vec<u8> {
        let name = Name::from_str(name).unwrap();
        question(0, &name, RecordType::A, QuestionFlags::default(), None)
    }

    fn answer(query: &[u8]) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        answer
    }

    #[test]
    fn every_id_is_used_once_and_then_there_are_none() {
        let mut table = InFlight::new();
        let mut seen = std::collections::HashSet::new();
        for number in 0..=u32::from(u16::MAX) {
            assert!(seen.insert(table.insert(&mut query("a."), number).unwrap()));
        }
        assert_eq!(table.insert(&mut query("a."), 0), None);
        assert_eq!(table.remove(500), Some(500));
        assert_eq!(table.insert(&mut query("a."), 0), Some(500));
    }

    #[test]
    fn answers_find_their_askers_in_any_order_and_any_case() {
        let mut table = InFlight::new();
        let (mut first, mut second) = (query("one.example."), query("two.example."));
        table.insert(&mut first, 1);
        table.insert(&mut second, 2);
        assert_eq!(table.take(&answer(&second)), Ok(2));
        let shouted: Vec<u8> = answer(&first)
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                if at > 12 {
                    byte.to_ascii_uppercase()
                } else {
                    *byte
                }
            })
            .collect();
        assert_eq!(table.take(&shouted), Ok(1));
        assert!(table.is_empty());
    }

    #[test]
    fn another_question_under_the_same_id_leaves_the_asker_waiting() {
        let mut table = InFlight::new();
        let mut asked = query("one.example.");
        table.insert(&mut asked, 1);
        let mut other = answer(&query("two.example."));
        crate::wire::set_id(&mut other, 0);
        assert_eq!(table.take(&other), Err(Stray::WrongQuestion));
        let mut opcode = answer(&asked);
        opcode[2] |= 0x20;
        assert_eq!(table.take(&opcode), Err(Stray::WrongQuestion));
        let mut unknown = answer(&asked);
        unknown[1] = 9;
        assert_eq!(table.take(&unknown), Err(Stray::UnknownId));
        assert_eq!(table.take(&asked), Err(Stray::NotAnAnswer));
        assert_eq!(table.take(b"x"), Err(Stray::NotAnAnswer));
        assert_eq!(table.take(&answer(&asked)), Ok(1));
    }
}
