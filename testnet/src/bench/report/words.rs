//! Numbers, goals and verdicts as people read them.

use crate::bench::{Goal, Row, Unit, statistics::Verdict};

/// Headings of details; another's is its name.
const HEADINGS: &[(&str, &str)] = &[
    ("per_second", "a second"),
    ("p50_us", "p50 µs"),
    ("p99_us", "p99 µs"),
    ("load_cpu_percent", "load generator busy"),
    ("program_cpu_percent", "program busy"),
    ("resumed_percent", "resumed"),
    ("resident_octets", "resident in all"),
    ("start_octets", "after the start"),
    ("one_cpu_us", "one worker, µs a query"),
    ("two_cpu_us", "two workers, µs a query"),
    ("smaller_share_percent", "work of the lesser worker"),
];

pub(super) fn goal(row: &Row) -> String {
    match row.goal {
        Goal::AtMostTimes(times, program) => format!("≤ {times} × {program}"),
        Goal::AtMost(value) => format!("≤ {}", number(row.unit, value)),
        Goal::AtLeast(value) => format!("≥ {}", number(row.unit, value)),
        Goal::None => "–".into(),
    }
}

pub(super) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::Missed => "MISSED",
        Verdict::NoGoal => "no goal",
        Verdict::Unmeasured => "UNJUDGED",
    }
}

pub(super) fn verdict_mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::Missed => "**missed**",
        Verdict::NoGoal => "",
        Verdict::Unmeasured => "**not judged**",
    }
}

/// A value as people read it.
pub(crate) fn number(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Microseconds => format!("{} µs", plain(value)),
        Unit::Milliseconds => format!("{} ms", plain(value)),
        Unit::Octets if value >= 1e6 => format!("{:.1} MB", value / 1e6),
        Unit::Octets => format!("{:.1} KiB", value / 1024.0),
        Unit::Percent => format!("{value:.1} %"),
        Unit::Times => format!("{value:.2} ×"),
        Unit::Count if value.fract() == 0.0 => format!("{value:.0}"),
        Unit::Count => format!("{value:.2}"),
    }
}

pub(super) fn heading(detail: &str) -> String {
    HEADINGS
        .iter()
        .find(|(name, _)| *name == detail)
        .map_or_else(
            || detail.replace('_', " "),
            |(_, heading)| (*heading).to_owned(),
        )
}

/// Its unit is the last word of its name.
pub(super) fn detail(name: &str, value: f64) -> String {
    if name.ends_with("percent") {
        format!("{value:.0} %")
    } else if name.ends_with("octets") {
        number(Unit::Octets, value)
    } else {
        plain(value)
    }
}

/// Three digits that say something.
fn plain(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// As the common renderers make it of a heading.
pub(super) fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        for (unit, value, expected) in [
            (Unit::Microseconds, 2.034, "2.03 µs"),
            (Unit::Microseconds, 20.34, "20.3 µs"),
            (Unit::Microseconds, 43725.0, "43725 µs"),
            (Unit::Milliseconds, 0.0, "0 ms"),
            (Unit::Octets, 7168.0, "7.0 KiB"),
            (Unit::Octets, 10e6, "10.0 MB"),
            (Unit::Times, 1.8, "1.80 ×"),
            (Unit::Count, 0.0, "0"),
            (Unit::Count, 1.5, "1.50"),
        ] {
            assert_eq!(number(unit, value), expected);
        }
        assert_eq!(anchor("DoT, CPU time a query"), "dot-cpu-time-a-query");
    }
}
