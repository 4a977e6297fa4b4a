//! What is to be measured, how long, and where.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::Failure;

/// What one run is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many times every program has its turn at every row.
    pub rounds: u32,
    /// How long one turn takes, where a row is measured by time.
    pub slice: Duration,
    /// Only whether it works is asked: the smallest set-up, every row once.
    pub smoke: bool,
    /// Parts of the names of the rows that are wanted; nothing: all.
    pub rows: Vec<String>,
    /// The programs that are wanted beside ours and the floor; nothing: all that are installed.
    pub programs: Vec<String>,
    /// Other builds of ours, each with a name and the folder of its binaries.
    pub builds: Vec<(String, PathBuf)>,
    /// More servers, each with a name and its command line.
    pub servers: Vec<(String, String)>,
    /// More stubs, likewise.
    pub stubs: Vec<(String, String)>,
    /// An empty folder for configurations, state and logs.
    pub folder: PathBuf,
    /// Who runs where.
    pub cpus: Cpus,
    /// When the run began.
    pub started: Instant,
}

/// Who runs where. On a machine with one processor both are the same, and nothing measured there means much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// The programs under test.
    pub tested: usize,
    /// Load generator, upstreams, everything else.
    pub rest: usize,
}

impl Plan {
    /// Is this row wanted?
    #[must_use]
    pub fn wants_row(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| name.contains(part.as_str()))
    }

    /// Is this program wanted? Ours and the floor always are.
    #[must_use]
    pub fn wants_program(&self, name: &str) -> bool {
        [super::OURS, super::NULL].contains(&name)
            || self.programs.is_empty()
            || self.programs.iter().any(|program| program == name)
    }

    /// Says, on standard error, how far the run is.
    pub fn tell(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.started.elapsed().as_secs_f32());
    }

    /// The programs in the order of this round: there, and back in the next.
    pub fn in_turn<'a, T>(
        &self,
        round: u32,
        programs: &'a [T],
    ) -> Box<dyn Iterator<Item = &'a T> + 'a> {
        if round.is_multiple_of(2) {
            Box::new(programs.iter())
        } else {
            Box::new(programs.iter().rev())
        }
    }
}

impl Cpus {
    /// Does `work` with this thread, and whatever it starts meanwhile, on the processor of the programs under test.
    ///
    /// # Errors
    /// The kernel refuses the processor.
    pub fn on_tested<T>(&self, work: impl FnOnce() -> T) -> Result<T, Failure> {
        pin(&[self.tested])?;
        let done = work();
        pin(&[self.rest])?;
        Ok(done)
    }

    /// The same with both processors.
    ///
    /// # Errors
    /// The kernel refuses a processor.
    pub fn on_both<T>(&self, work: impl FnOnce() -> T) -> Result<T, Failure> {
        pin(&[self.tested, self.rest])?;
        let done = work();
        pin(&[self.rest])?;
        Ok(done)
    }
}

/// Keeps this thread, and what it will start, on these processors.
pub(super) fn pin(cpus: &[usize]) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rows: &[&str], programs: &[&str]) -> Plan {
        Plan {
            rounds: 1,
            slice: Duration::ZERO,
            smoke: true,
            rows: rows.iter().map(|part| (*part).to_owned()).collect(),
            programs: programs.iter().map(|name| (*name).to_owned()).collect(),
            builds: Vec::new(),
            servers: Vec::new(),
            stubs: Vec::new(),
            folder: PathBuf::new(),
            cpus: Cpus { tested: 0, rest: 0 },
            started: Instant::now(),
        }
    }

    #[test]
    fn a_part_of_a_name_chooses_rows_and_no_part_chooses_all() {
        assert!(plan(&[], &[]).wants_row("dot-10x10"));
        assert!(plan(&["dot-", "udp"], &[]).wants_row("dot-10x10"));
        assert!(!plan(&["stub"], &[]).wants_row("dot-10x10"));
    }

    #[test]
    fn ours_and_the_floor_are_always_wanted() {
        let plan = plan(&[], &["unbound"]);
        assert!(plan.wants_program("zzdot") && plan.wants_program("null"));
        assert!(plan.wants_program("unbound") && !plan.wants_program("kresd"));
    }

    #[test]
    fn whoever_was_first_is_last_in_the_next_round() {
        let plan = plan(&[], &[]);
        let turn = |round| {
            plan.in_turn(round, &["a", "b", "c"])
                .copied()
                .collect::<String>()
        };
        assert_eq!([turn(0), turn(1), turn(2)], ["abc", "cba", "abc"]);
    }
}
