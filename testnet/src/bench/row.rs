//! The rows of the table, and what is measured for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Failure, Plan};

/// The name under which our program is measured, appliance and client alike.
pub const OURS: &str = "zzdot";
/// The name of the floor.
pub const NULL: &str = "null";

/// Rows that share a set-up.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// A word for the progress on the terminal.
    pub name: &'static str,
    /// What it measures.
    pub rows: &'static [Row],
    /// Sets up, measures every row that the plan wants, and takes down. A row that is not wanted costs no time.
    pub measure: Measure,
}

/// How a group is measured; every sample is handed over at once.
pub type Measure = fn(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure>;

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// As `--rows` takes it, and the name of its plot: lower case, digits and hyphens.
    pub name: &'static str,
    /// What is measured, as a heading.
    pub title: &'static str,
    /// Of the values.
    pub unit: Unit,
    /// What our program is to reach.
    pub goal: Goal,
    /// How it is measured, in a sentence or two.
    pub method: &'static str,
}

/// Of what the values are a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Millionths of a second, of a CPU or of a clock.
    Microseconds,
    /// Thousandths of a second.
    Milliseconds,
    /// Octets; shown as KiB or MB.
    Octets,
    /// A hundredth part.
    Percent,
    /// So many times another value.
    Times,
    /// Plain things, such as packets or lost queries.
    Count,
}

/// What our program is to reach. Every row but those with [`Goal::AtLeast`] and [`Goal::None`] is better the lower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most so many times what a program (the floor, or a peer) needs in the same round.
    AtMostTimes(f64, &'static str),
    /// At most so much, in the unit of the row.
    AtMost(f64),
    /// At least so much, in the unit of the row.
    AtLeast(f64),
    /// Told for comparison.
    None,
}

/// What one program did in one slice of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// [`Row::name`]
    pub row: String,
    /// [`OURS`], [`NULL`], or the peer's.
    pub program: String,
    /// Counted from 0. Only what was measured in the same round is compared.
    pub round: u32,
    /// In the unit of the row.
    pub value: f64,
    /// What else is worth a column: `qps`, `p99_us`, `resumed_percent`... with the unit in the name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, f64>,
    /// Why it cannot be relied on: wrong answers, lost queries, closed connections. Such a sample is told and counts for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

impl Sample {
    /// A value without details.
    #[must_use]
    pub fn new(row: &Row, program: &str, round: u32, value: f64) -> Self {
        Self {
            row: row.name.to_owned(),
            program: program.to_owned(),
            round,
            value,
            details: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// With one more detail; what is no number is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        if value.is_finite() {
            self.details.insert(name.to_owned(), value);
        }
        self
    }

    /// With one more reason not to rely on it.
    #[must_use]
    pub fn faulty(mut self, fault: impl Into<String>) -> Self {
        self.faults.push(fault.into());
        self
    }
}
