//! What came of the questions.

use std::{collections::BTreeMap, time::Duration};

use super::question::Wrong;

/// Counts and latencies of one slice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Right answers.
    pub(crate) answers: u64,
    /// Wrong ones.
    pub(crate) wrong: BTreeMap<Wrong, u64>,
    /// Questions that got no answer in time, or whose connection ended.
    pub(crate) lost: u64,
    /// Questions that were due and could not be put, with all identifiers in use.
    pub(crate) held_back: u64,
    /// How often the load generator itself was late, and gave up what was due.
    pub(crate) held_up: u64,
    /// Connections that the other side ended, or that failed.
    pub(crate) broken: u64,
    /// Whole handshakes.
    pub(crate) full: u64,
    /// Resumed sessions.
    pub(crate) resumed: u64,
    /// In units of 100 ns.
    latencies: Vec<u32>,
}

impl Tally {
    /// A right answer came after this time.
    pub(crate) fn answered(&mut self, after_ns: u64) {
        self.answers += 1;
        self.latencies
            .push(u32::try_from(after_ns / 100).unwrap_or(u32::MAX));
    }

    /// A wrong answer came.
    pub(crate) fn wrong(&mut self, wrong: Wrong) {
        *self.wrong.entry(wrong).or_default() += 1;
    }

    /// Starts over, keeping the memory.
    pub(crate) fn clear(&mut self) {
        let mut latencies = std::mem::take(&mut self.latencies);
        latencies.clear();
        *self = Self {
            latencies,
            ..Self::default()
        };
    }

    /// The latency that this share (0 to 1) of the answers did not exceed, in microseconds.
    pub(crate) fn percentile_us(&mut self, share: f64) -> f64 {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        // A whole number no larger than the length.
        let place = (last as f64 * share).round() as usize;
        self.latencies
            .get(place)
            .map_or(f64::NAN, |hundreds| f64::from(*hundreds) / 10.0)
    }

    /// Queries lost or answered with a failure.
    pub(crate) fn failed(&self) -> u64 {
        self.lost + self.wrong.values().sum::<u64>()
    }

    /// Everything that should not have happened.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self
            .wrong
            .iter()
            .map(|(wrong, count)| format!("{count} {wrong}"))
            .collect();
        for (count, what) in [
            (self.lost, "lost queries"),
            (self.broken, "broken connections"),
        ] {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        }
        if self.answers == 0 {
            faults.push("no answer at all".into());
        }
        faults
    }
}

/// One slice: what came of it, and what it took.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
    /// CPU time of the program under test.
    pub(crate) tested_cpu: Duration,
    /// CPU time of this process: near 100 % of the elapsed time, the load generator is the limit.
    pub(crate) own_cpu: Duration,
}

impl Report {
    /// CPU time of the program under test for each right answer.
    pub(crate) fn cpu_us_each(&self) -> f64 {
        self.tested_cpu.as_secs_f64() * 1e6 / self.tally.answers as f64
    }

    /// Right answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.tally.answers as f64 / self.elapsed.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_latencies_that_were_measured() {
        let mut tally = Tally::default();
        assert!(tally.percentile_us(0.5).is_nan());
        for us in [5, 1, 4, 2, 3] {
            tally.answered(us * 1000);
        }
        assert_eq!(tally.percentile_us(0.5), 3.0);
        assert_eq!(tally.percentile_us(1.0), 5.0);
        assert_eq!(tally.percentile_us(0.0), 1.0);
    }

    #[test]
    fn everything_wrong_is_a_fault_and_silence_too() {
        let mut tally = Tally::default();
        assert_eq!(tally.faults(), ["no answer at all"]);
        tally.answered(1);
        assert!(tally.faults().is_empty());
        tally.wrong(Wrong::Servfail);
        tally.lost = 2;
        tally.broken = 1;
        assert_eq!(
            tally.faults(),
            ["1 SERVFAIL", "2 lost queries", "1 broken connections"]
        );
        assert_eq!(tally.failed(), 3);
        tally.clear();
        assert_eq!(tally.failed(), 0);
    }
}
