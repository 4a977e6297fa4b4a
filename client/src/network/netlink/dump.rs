//! The order in which the kernel's tables are asked for, and what to do when what it said is not whole.

use super::ask::Table;
use super::parse::{Event, Said};

/// Dumps in a row that changes may disturb before one is taken as it is: what changed is told as an event too.
const DISTURBED_MAX: u32 = 5;

/// What whoever keeps the tables has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// All that is known may be wrong: everything is told anew.
    Afresh,
    /// Something is so.
    Event(Event),
    /// Everything was told.
    Whole,
}

/// Where the dump stands.
#[derive(Debug, Default)]
pub(super) struct Dump {
    /// The number of the request under way.
    sequence: u32,
    /// The tables still to be told, the one under way first; none when everything was told.
    pending: Vec<Table>,
    disturbed: bool,
    disturbed_in_a_row: u32,
}

impl Dump {
    /// Begins from the start. The request to send.
    pub(super) fn begin(&mut self) -> Vec<u8> {
        self.pending = Table::ALL.to_vec();
        self.disturbed = false;
        self.ask().unwrap_or_default()
    }

    /// What follows from what the kernel said: what to tell, and what to ask.
    pub(super) fn on(&mut self, said: Said) -> (Option<Told>, Option<Vec<u8>>) {
        match said {
            Said::Event(event) => (Some(Told::Event(event)), None),
            Said::Overrun => (Some(Told::Afresh), Some(self.begin())),
            Said::DumpEnds {
                sequence,
                interrupted,
            } if sequence == self.sequence => {
                self.disturbed |= interrupted;
                self.next_table()
            }
            Said::Refused { sequence, errno } if sequence == self.sequence => {
                tracing::warn!(errno, table = ?self.pending.first(), "the kernel does not tell");
                self.next_table()
            }
            // Of a dump that was given up.
            Said::DumpEnds { .. } | Said::Refused { .. } => (None, None),
        }
    }

    fn next_table(&mut self) -> (Option<Told>, Option<Vec<u8>>) {
        if !self.pending.is_empty() {
            self.pending.remove(0);
        }
        if !self.pending.is_empty() {
            return (None, self.ask());
        }
        if self.disturbed && self.disturbed_in_a_row < DISTURBED_MAX {
            self.disturbed_in_a_row += 1;
            return (Some(Told::Afresh), Some(self.begin()));
        }
        self.disturbed_in_a_row = 0;
        (Some(Told::Whole), None)
    }

    fn ask(&mut self) -> Option<Vec<u8>> {
        let table = *self.pending.first()?;
        self.sequence = self.sequence.wrapping_add(1);
        Some(table.request(self.sequence))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ends(dump: &mut Dump, interrupted: bool) -> (Option<Told>, Option<Vec<u8>>) {
        let sequence = dump.sequence;
        dump.on(Said::DumpEnds {
            sequence,
            interrupted,
        })
    }

    #[test]
    fn the_tables_are_asked_for_one_after_the_other() {
        let mut dump = Dump::default();
        dump.begin();
        for _ in 0..3 {
            let (told, request) = ends(&mut dump, false);
            assert_eq!(told, None);
            assert!(request.is_some());
        }
        assert_eq!(ends(&mut dump, false), (Some(Told::Whole), None));
    }

    #[test]
    fn after_an_overrun_everything_is_asked_for_again_and_late_ends_count_for_nothing() {
        let mut dump = Dump::default();
        dump.begin();
        let before = dump.sequence;
        let (told, request) = dump.on(Said::Overrun);
        assert_eq!(told, Some(Told::Afresh));
        assert!(request.is_some());
        let late = Said::DumpEnds {
            sequence: before,
            interrupted: false,
        };
        assert_eq!(dump.on(late), (None, None));
        assert_eq!(dump.pending.len(), 4);
    }

    #[test]
    fn a_dump_that_changes_disturb_is_asked_for_again_but_not_for_ever() {
        let mut dump = Dump::default();
        dump.begin();
        let mut afresh = 0;
        for _ in 0..1000 {
            match ends(&mut dump, true).0 {
                Some(Told::Afresh) => afresh += 1,
                Some(Told::Whole) => {
                    assert_eq!(afresh, DISTURBED_MAX);
                    return;
                }
                _ => {}
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_table_that_the_kernel_refuses_is_left_out() {
        let mut dump = Dump::default();
        dump.begin();
        let sequence = dump.sequence;
        let (_, request) = dump.on(Said::Refused { sequence, errno: 1 });
        assert!(request.is_some());
        assert_eq!(dump.pending.len(), 3);
    }
}
