//! Which question waits under which id on one connection.

use std::time::Instant;

use crate::wire::View;

/// Ids, and so the most questions on one connection.
const IDS: usize = 1 << 16;

/// Questions of one connection that wait for their answers. Places are used again with their buffers, so that a
/// question costs no allocation once there were as many before.
#[derive(Debug)]
pub(super) struct InFlight<W> {
    places: Vec<Place<W>>,
    free: Vec<u16>,
    /// By id: one more than the place of the question that waits under it, or 0.
    by_id: Vec<u16>,
    next_id: u16,
    len: usize,
}

#[derive(Debug)]
struct Place<W> {
    /// The question, header included: what the answer has to repeat.
    query: Vec<u8>,
    id: u16,
    asked_at: Instant,
    /// None where nobody waits.
    waiter: Option<W>,
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
            places: Vec::new(),
            free: Vec::new(),
            // Zeroed memory is not there until it is written to.
            by_id: vec![0; IDS],
            next_id: 0,
            len: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Finds an id for `query`. The ids go round, so that one is not used again soon after its question was given up.
    /// The waiter comes back when all are taken.
    pub(super) fn insert(&mut self, query: &[u8], asked_at: Instant, waiter: W) -> Result<u16, W> {
        // One fewer than there are, so that a place and one fits into 16 bits.
        if self.len >= IDS - 1 {
            return Err(waiter);
        }
        while self.place_of(self.next_id).is_some() {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let at = self.free.pop().unwrap_or(self.places.len() as u16);
        match self.places.get_mut(usize::from(at)) {
            Some(place) => {
                place.query.clear();
                place.query.extend_from_slice(query);
                (place.id, place.asked_at) = (id, asked_at);
                place.waiter = Some(waiter);
            }
            None => self.places.push(Place {
                query: query.to_vec(),
                id,
                asked_at,
                waiter: Some(waiter),
            }),
        }
        if let Some(slot) = self.by_id.get_mut(usize::from(id)) {
            *slot = at + 1;
        }
        self.len += 1;
        Ok(id)
    }

    /// Takes out who waits for this answer, and tells what he asked and when: the id, the opcode and the question have to match.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<(W, &[u8], Instant), Stray> {
        let response = View::parse(message).map_err(|_| Stray::NotAnAnswer)?;
        if !response.is_response() {
            return Err(Stray::NotAnAnswer);
        }
        let id = response.id();
        let at = self.place_of(id).ok_or(Stray::UnknownId)?;
        let place = self.places.get(at).ok_or(Stray::UnknownId)?;
        let matches = View::parse(&place.query).is_ok_and(|query| answers(&query, &response));
        if !matches {
            return Err(Stray::WrongQuestion);
        }
        let waiter = self.remove(id).ok_or(Stray::UnknownId)?;
        // The place is free, and what stands there is still to be read.
        let place = self.places.get(at).ok_or(Stray::UnknownId)?;
        Ok((waiter, &place.query, place.asked_at))
    }

    pub(super) fn remove(&mut self, id: u16) -> Option<W> {
        let at = self.place_of(id)?;
        let waiter = self.places.get_mut(at)?.waiter.take()?;
        *self.by_id.get_mut(usize::from(id))? = 0;
        self.free.push(at as u16);
        self.len -= 1;
        Some(waiter)
    }

    /// Those that wait, with id, question and when it was asked.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &[u8], Instant, &mut W)> {
        self.places.iter_mut().filter_map(|place| {
            let waiter = place.waiter.as_mut()?;
            Some((place.id, &place.query[..], place.asked_at, waiter))
        })
    }

    /// Nobody waits any more: all who did, with question and when it was asked.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Vec<u8>, Instant, W)> + use<W> {
        let places = std::mem::replace(self, Self::new()).places;
        places
            .into_iter()
            .filter_map(|place| Some((place.query, place.asked_at, place.waiter?)))
    }

    fn place_of(&self, id: u16) -> Option<usize> {
        let at = *self.by_id.get(usize::from(id))?;
        usize::from(at).checked_sub(1)
    }
}

/// As [`crate::wire::answers`], but for the id, which was ours to choose and is not in the question that is kept.
fn answers(query: &View<'_>, response: &View<'_>) -> bool {
    let questions = (query.question(), response.question());
    let same = matches!(questions, (Some(asked), Some(echoed)) if asked.eq_ignore_case(&echoed));
    same && query.opcode() == response.opcode()
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

    /// Asks; gives back the question as it is sent.
    fn ask(table: &mut InFlight<u32>, name: &str, asker: u32) -> Vec<u8> {
        let mut query = query(name);
        let id = table.insert(&query, Instant::now(), asker).unwrap();
        crate::wire::set_id(&mut query, id);
        query
    }

    fn taken(table: &mut InFlight<u32>, message: &[u8]) -> Result<u32, Stray> {
        table.take(message).map(|(asker, ..)| asker)
    }

    fn answer(query: &[u8]) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        answer
    }

    #[test]
    fn every_id_is_used_once_and_then_there_are_none() {
        let (mut table, now) = (InFlight::new(), Instant::now());
        let mut seen = std::collections::HashSet::new();
        for number in 0..u32::from(u16::MAX) {
            assert!(seen.insert(table.insert(&query("a."), now, number).unwrap()));
        }
        assert_eq!(table.insert(&query("a."), now, 9), Err(9));
        assert_eq!(table.remove(500), Some(500));
        assert_eq!(table.remove(500), None);
        assert_eq!(table.insert(&query("a."), now, 7), Ok(u16::MAX));
        assert_eq!(table.insert(&query("a."), now, 9), Err(9));
    }

    #[test]
    fn answers_find_their_askers_in_any_order_and_any_case() {
        let mut table = InFlight::new();
        let mut ask = |name, asker| ask(&mut table, name, asker);
        let (first, second) = (ask("one.example.", 1), ask("two.example.", 2));
        assert_eq!(taken(&mut table, &answer(&second)), Ok(2));
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
        assert_eq!(taken(&mut table, &shouted), Ok(1));
        assert!(table.is_empty());
    }

    #[test]
    fn another_question_under_the_same_id_leaves_the_asker_waiting() {
        let mut table = InFlight::new();
        let asked = ask(&mut table, "one.example.", 1);
        let mut other = answer(&query("two.example."));
        crate::wire::set_id(&mut other, 0);
        assert_eq!(taken(&mut table, &other), Err(Stray::WrongQuestion));
        let mut opcode = answer(&asked);
        opcode[2] |= 0x20;
        assert_eq!(taken(&mut table, &opcode), Err(Stray::WrongQuestion));
        let mut unknown = answer(&asked);
        unknown[1] = 9;
        assert_eq!(taken(&mut table, &unknown), Err(Stray::UnknownId));
        assert_eq!(taken(&mut table, &asked), Err(Stray::NotAnAnswer));
        assert_eq!(taken(&mut table, b"x"), Err(Stray::NotAnAnswer));
        assert_eq!(taken(&mut table, &answer(&asked)), Ok(1));
    }
}
