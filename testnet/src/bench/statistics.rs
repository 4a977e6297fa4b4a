//! What many samples say together.

use std::collections::BTreeMap;

use super::{Goal, Row, Sample, Unit};

/// The middle of some values, and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    /// A quarter of the values is no larger.
    pub(crate) lower: f64,
    pub(crate) middle: f64,
    /// A quarter of the values is no smaller.
    pub(crate) upper: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of these values; of none there is none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let at = |share: f64| {
            // Between two values it is their weighted mean.
            let place = (values.len() - 1) as f64 * share;
            let (below, part) = (place.floor(), place.fract());
            let low = values[below as usize];
            let high = values[place.ceil() as usize];
            low + (high - low) * part
        };
        Some(Self {
            least,
            lower: at(0.25),
            middle: at(0.5),
            upper: at(0.75),
            most,
        })
    }
}

/// One program in one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) program: String,
    /// In the unit of the row.
    pub(crate) value: Spread,
    /// To the program that the row refers to, round by round.
    pub(crate) ratio: Option<Spread>,
    /// The middle of each detail.
    pub(crate) details: BTreeMap<String, f64>,
    /// How many samples count.
    pub(crate) sound: usize,
    /// What was wrong with the others, each with how many of them.
    pub(crate) faults: BTreeMap<String, usize>,
}

/// A row with everybody who was measured in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    pub(crate) row: Row,
    /// The program that ratios are to.
    pub(crate) reference: Option<&'static str>,
    /// The best first.
    pub(crate) lines: Vec<Line>,
}

/// Whether our program reached its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// Nothing was to be reached.
    NoGoal,
    /// There is no sound sample of ours, or of the program that it is compared with.
    Unmeasured,
}

impl Standing {
    /// Of all samples of this row.
    pub(crate) fn new(row: &Row, samples: &[Sample]) -> Self {
        let samples: Vec<&Sample> = samples
            .iter()
            .filter(|sample| sample.row == row.name)
            .collect();
        let reference = reference(row).filter(|name| {
            samples
                .iter()
                .any(|sample| sample.program == *name && is_sound(sample))
        });
        let mut programs: Vec<&str> = samples
            .iter()
            .map(|sample| sample.program.as_str())
            .collect();
        programs.sort_unstable();
        programs.dedup();
        let mut lines: Vec<Line> = programs
            .into_iter()
            .filter_map(|program| line(program, &samples, reference))
            .collect();
        let better_high = matches!(row.goal, Goal::AtLeast(_));
        lines.sort_by(|a, b| {
            let key = |line: &Line| line.ratio.unwrap_or(line.value).middle;
            let order = key(a).total_cmp(&key(b));
            if better_high { order.reverse() } else { order }
        });
        Self {
            row: *row,
            reference,
            lines,
        }
    }

    /// What a program did.
    pub(crate) fn line(&self, program: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.program == program)
    }

    /// Whether our program reached its goal.
    pub(crate) fn verdict(&self) -> Verdict {
        let Some(ours) = self.line(super::OURS).filter(|line| line.sound > 0) else {
            return match self.row.goal {
                Goal::None => Verdict::NoGoal,
                _ => Verdict::Unmeasured,
            };
        };
        let met = match self.row.goal {
            Goal::None => return Verdict::NoGoal,
            Goal::AtMostTimes(times, _) => match ours.ratio {
                Some(ratio) => ratio.middle <= times,
                None => return Verdict::Unmeasured,
            },
            // One lost query is one too many, in whichever round.
            Goal::AtMost(most) if self.row.unit == Unit::Count => ours.value.most <= most,
            Goal::AtMost(most) => ours.value.middle <= most,
            Goal::AtLeast(least) => ours.value.middle >= least,
        };
        if met { Verdict::Met } else { Verdict::Missed }
    }
}

/// The program that a row's ratios are to: the one in its goal, and the floor where it names none.
fn reference(row: &Row) -> Option<&'static str> {
    match (row.goal, row.unit) {
        (Goal::AtMostTimes(_, program), _) => Some(program),
        (_, Unit::Microseconds | Unit::Milliseconds) => Some(super::NULL),
        _ => None,
    }
}

fn is_sound(sample: &Sample) -> bool {
    sample.faults.is_empty()
}

/// Over the sound samples; where there are none, over all of them: how bad it is should be seen too.
fn line(program: &str, samples: &[&Sample], reference: Option<&str>) -> Option<Line> {
    let own: Vec<&Sample> = samples
        .iter()
        .copied()
        .filter(|sample| sample.program == program)
        .collect();
    let sound: Vec<&Sample> = own.iter().copied().filter(|s| is_sound(s)).collect();
    let counted = if sound.is_empty() { &own } else { &sound };
    let ratio = reference.and_then(|reference| {
        let of_round = |round| {
            samples
                .iter()
                .find(|s| s.program == reference && s.round == round && is_sound(s))
                .filter(|sample| sample.value > 0.0)
        };
        let ratios = counted
            .iter()
            .filter_map(|sample| Some(sample.value / of_round(sample.round)?.value));
        Spread::of(ratios.collect())
    });
    let mut details: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for sample in counted {
        for (name, value) in &sample.details {
            details.entry(name.clone()).or_default().push(*value);
        }
    }
    let mut faults = BTreeMap::new();
    for fault in own.iter().flat_map(|sample| &sample.faults) {
        *faults.entry(kind_of(fault)).or_default() += 1;
    }
    Some(Line {
        program: program.to_owned(),
        value: Spread::of(counted.iter().map(|sample| sample.value).collect())?,
        ratio,
        details: details
            .into_iter()
            .filter_map(|(name, values)| Some((name, Spread::of(values)?.middle)))
            .collect(),
        sound: sound.len(),
        faults,
    })
}

/// Without its numbers, so that the same thing in two slices is the same.
fn kind_of(fault: &str) -> String {
    fault
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')
        .to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bench::{NULL, OURS};

    const ROW: Row = Row {
        name: "row",
        title: "Row",
        unit: Unit::Microseconds,
        goal: Goal::AtMostTimes(2.0, NULL),
        method: "",
    };

    fn sample(program: &str, round: u32, value: f64) -> Sample {
        Sample::new(&ROW, program, round, value)
    }

    #[test]
    fn the_middle_of_an_even_number_of_values_is_between_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            (
                spread.least,
                spread.lower,
                spread.middle,
                spread.upper,
                spread.most
            ),
            (1.0, 1.75, 2.5, 3.25, 4.0)
        );
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![7.0]).unwrap().lower, 7.0);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine is five times slower in the second round; the ratio is 2 in both.
        let samples = [
            sample(NULL, 0, 1.0),
            sample(OURS, 0, 2.0),
            sample(OURS, 1, 10.0),
            sample(NULL, 1, 5.0),
        ];
        let standing = Standing::new(&ROW, &samples);
        let ratio = standing.line(OURS).unwrap().ratio.unwrap();
        assert_eq!((ratio.least, ratio.most), (2.0, 2.0));
        assert_eq!(standing.verdict(), Verdict::Met);
        assert_eq!(standing.lines[0].program, NULL);
    }

    #[test]
    fn a_sample_with_a_fault_counts_for_nothing_and_is_told() {
        let samples = [
            sample(NULL, 0, 1.0),
            sample(NULL, 1, 1.0),
            sample(OURS, 0, 1.5),
            sample(OURS, 1, 0.1).faulty("3 lost queries"),
        ];
        let standing = Standing::new(&ROW, &samples);
        let ours = standing.line(OURS).unwrap();
        assert_eq!((ours.sound, ours.value.least), (1, 1.5));
        assert_eq!(ours.faults["lost queries"], 1);
    }

    #[test]
    fn without_a_sound_sample_there_is_no_verdict_but_a_value_to_look_at() {
        let samples = [
            sample(NULL, 0, 1.0),
            sample(OURS, 0, 1.5).faulty("1 SERVFAIL"),
        ];
        let standing = Standing::new(&ROW, &samples);
        assert_eq!(standing.verdict(), Verdict::Unmeasured);
        assert_eq!(standing.line(OURS).unwrap().value.middle, 1.5);
        let samples = [sample(NULL, 1, 1.0), sample(OURS, 0, 1.5)];
        assert_eq!(
            Standing::new(&ROW, &samples).verdict(),
            Verdict::Unmeasured,
            "another round is no comparison"
        );
    }

    #[test]
    fn one_bad_round_misses_a_goal_that_is_a_count() {
        let row = Row {
            unit: Unit::Count,
            goal: Goal::AtMost(0.0),
            ..ROW
        };
        let mut samples = [sample(OURS, 0, 0.0), sample(OURS, 1, 0.0)];
        assert_eq!(Standing::new(&row, &samples).verdict(), Verdict::Met);
        samples[1].value = 1.0;
        assert_eq!(Standing::new(&row, &samples).verdict(), Verdict::Missed);
    }

    #[test]
    fn at_least_is_better_the_higher() {
        let row = Row {
            unit: Unit::Percent,
            goal: Goal::AtLeast(100.0),
            ..ROW
        };
        let samples = [sample(OURS, 0, 99.0), sample(NULL, 0, 100.0)];
        let standing = Standing::new(&row, &samples);
        assert_eq!(standing.verdict(), Verdict::Missed);
        assert_eq!(standing.lines[0].program, NULL);
    }
}
