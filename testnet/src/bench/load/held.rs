//! Connections that are kept open and idle.

use std::time::{Duration, Instant};

use super::{Target, crowd::Crowd};
use crate::bench::Failure;

/// Handshakes under way at the same time.
const UNDER_WAY: usize = 64;
const TICK: Duration = Duration::from_millis(20);
/// For all connections to have had their answer.
const OPENED: Duration = Duration::from_secs(120);

/// Open connections, each of which has asked one question.
pub(crate) struct Held<'a> {
    crowd: Crowd<'a>,
    answered: Vec<bool>,
    dead: usize,
}

impl<'a> Held<'a> {
    /// None yet.
    pub(crate) fn new(target: &'a Target) -> Result<Self, Failure> {
        Ok(Self {
            crowd: Crowd::new(target, 1)?,
            answered: Vec::new(),
            dead: 0,
        })
    }

    /// Opens connections until there are so many.
    pub(crate) fn grow_to(&mut self, connections: usize) -> Result<(), Failure> {
        let started = Instant::now();
        let mut settled = self.answered.len();
        while settled < connections {
            if started.elapsed() > OPENED {
                return Err(Failure::new(format!(
                    "{settled} of {connections} connections within {OPENED:?}"
                )));
            }
            while self.answered.len() < connections && self.answered.len() - settled < UNDER_WAY {
                let index = self.crowd.join()?;
                let now = self.crowd.now_ns();
                self.crowd.ask(index, now);
                self.answered.push(false);
            }
            settled += self.turn()?;
        }
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn hold(&mut self, time: Duration) -> Result<(), Failure> {
        let started = Instant::now();
        while started.elapsed() < time {
            self.turn()?;
        }
        Ok(())
    }

    /// How many are still open.
    pub(crate) fn alive(&self) -> usize {
        self.answered.len() - self.dead
    }

    /// What went wrong.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.crowd.tally.faults()
    }

    /// How many connections got their answer, or ended without.
    fn turn(&mut self) -> Result<usize, Failure> {
        let mut settled = 0;
        for index in self.crowd.wait(TICK)? {
            let index = index as usize;
            let now = self.crowd.now_ns();
            let received = self.crowd.receive(index, now)?;
            self.crowd.flush(index)?;
            if received.answers > 0 && !self.answered[index] {
                self.answered[index] = true;
                settled += 1;
            }
            if !received.open {
                self.crowd.tally.broken += 1;
                self.dead += 1;
                if !self.answered[index] {
                    self.answered[index] = true;
                    settled += 1;
                }
                self.crowd.leave(index)?;
            }
        }
        Ok(settled)
    }
}
