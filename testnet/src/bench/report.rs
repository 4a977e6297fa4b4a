//! The page: every row with its plot, what it means, and how it was measured.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

mod words;

pub(crate) use words::number;

use self::words::{anchor, detail, goal, heading, verdict_mark, verdict_word};
use super::{
    Failure, GROUPS, Goal, NULL, OURS,
    journal::Results,
    peers::{NULL_AGAIN, is_floor},
    plot::plot,
    statistics::{Line, Standing, Verdict},
};

/// Where the parts of the page are, below its folder.
const PAGE: &str = "performance.md";
const IMAGES: &str = "images/performance";
/// Remarks by hand, woven in under the headings of the same names.
pub(crate) const NOTES: &str = "performance-notes.md";
/// The measured values.
pub(crate) const RESULTS: &str = "performance.jsonl";

/// Writes page and plots; says where the page is.
pub(crate) fn write(folder: &Path, results: &Results) -> Result<PathBuf, Failure> {
    let images = folder.join(IMAGES);
    fs::create_dir_all(&images)?;
    let notes = match fs::read_to_string(folder.join(NOTES)) {
        Ok(text) => parse_notes(&text),
        Err(_) => BTreeMap::new(),
    };
    let standings = standings(results);
    for standing in &standings {
        let file = images.join(format!("{}.svg", standing.row.name));
        fs::write(file, plot(standing))?;
    }
    let page = folder.join(PAGE);
    fs::write(&page, render(results, &standings, &notes)?)?;
    Ok(page)
}

/// Every row that was measured, in the order of the page.
pub(crate) fn standings(results: &Results) -> Vec<Standing> {
    let samples = results.samples();
    GROUPS
        .iter()
        .flat_map(|group| group.rows)
        .map(|row| Standing::new(row, &samples))
        .filter(|standing| !standing.lines.is_empty())
        .collect()
}

/// Our program's verdicts in a few lines, for the terminal.
pub(crate) fn summary(standings: &[Standing]) -> String {
    let width = standings
        .iter()
        .map(|standing| standing.row.name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for standing in standings {
        let _ = writeln!(
            text,
            "{:width$}  {:9}  {:>22}  goal {}",
            standing.row.name,
            verdict_word(standing.verdict()),
            standing
                .line(OURS)
                .map_or_else(|| "-".into(), |line| cell(standing, line)),
            goal(&standing.row)
        );
    }
    text
}

fn render(
    results: &Results,
    standings: &[Standing],
    notes: &BTreeMap<String, String>,
) -> Result<String, Failure> {
    let mut page = String::from(
        "# Performance\n\n\
         Made by `zzdot-testnet bench`; remarks are from [performance-notes.md](performance-notes.md), the measured values are in \
         [performance.jsonl](performance.jsonl).\n\n",
    );
    if let Some(note) = notes.get("") {
        let _ = writeln!(page, "{note}\n");
    }
    let met = |wanted| {
        standings
            .iter()
            .filter(|standing| standing.verdict() == wanted)
            .count()
    };
    let _ = writeln!(
        page,
        "Of {} goals {} are met and {} missed{}.\n",
        standings
            .iter()
            .filter(|standing| standing.row.goal != Goal::None)
            .count(),
        met(Verdict::Met),
        met(Verdict::Missed),
        match met(Verdict::Unmeasured) {
            0 => String::new(),
            count => format!("; {count} could not be judged"),
        }
    );
    page += "| | goal | zzdot | best peer | null | |\n|---|---|---|---|---|---|\n";
    for standing in standings {
        let shown =
            |line: Option<&Line>| line.map_or_else(|| "–".to_owned(), |line| cell(standing, line));
        let peer = standing.lines.iter().find(|line| is_peer(&line.program));
        let peer = peer.map_or_else(
            || "–".to_owned(),
            |line| format!("{} ({})", cell(standing, line), line.program),
        );
        let null = standing.line(NULL).map_or_else(
            || "–".to_owned(),
            |line| number(standing.row.unit, line.value.middle),
        );
        let _ = writeln!(
            page,
            "| [{}](#{}) | {} | {} | {peer} | {null} | {} |",
            standing.row.title,
            anchor(standing.row.title),
            goal(&standing.row),
            shown(standing.line(OURS)),
            verdict_mark(standing.verdict())
        );
    }
    page += "\n`×` is the middle of the ratios to `null` (or to the program that the goal names), each taken within one round; in the tables, the value behind \
             it is the middle one. All features of the appliance are on: access list, padding when asked for, limits, counters, cookies.\n";
    for standing in standings {
        section(&mut page, standing, notes.get(standing.row.name));
    }
    method(&mut page, results, standings)?;
    Ok(page)
}

fn section(page: &mut String, standing: &Standing, note: Option<&String>) {
    let row = &standing.row;
    let _ = writeln!(
        page,
        "\n## {}\n\n![{}]({IMAGES}/{}.svg)\n\n{} Goal: {}. {}\n",
        row.title,
        row.title,
        row.name,
        row.method,
        goal(row),
        match standing.verdict() {
            Verdict::Met => "**Met.**",
            Verdict::Missed => "**Missed.**",
            Verdict::NoGoal => "Told for comparison.",
            Verdict::Unmeasured => "**Not judged:** no sound sample to judge by.",
        }
    );
    let columns: BTreeSet<&String> = standing
        .lines
        .iter()
        .flat_map(|line| line.details.keys())
        .collect();
    let mut head = String::from("| program |");
    if standing.reference.is_some() {
        head += " ratio | middle half |";
    }
    head += " least | middle | most |";
    for name in &columns {
        let _ = write!(head, " {} |", heading(name));
    }
    let _ = writeln!(
        page,
        "{head}\n|{}",
        "---|".repeat(head.matches('|').count() - 1)
    );
    for line in &standing.lines {
        let name = if line.program == OURS {
            format!("**{OURS}**")
        } else {
            line.program.clone()
        };
        let _ = write!(page, "| {name} |");
        if standing.reference.is_some() {
            match line.ratio {
                Some(ratio) => {
                    let _ = write!(
                        page,
                        " {:.2} × | {:.2}–{:.2} |",
                        ratio.middle, ratio.lower, ratio.upper
                    );
                }
                None => *page += " – | – |",
            }
        }
        for value in [line.value.least, line.value.middle, line.value.most] {
            let _ = write!(page, " {} |", number(row.unit, value));
        }
        for name in &columns {
            match line.details.get(*name) {
                Some(value) => {
                    let _ = write!(page, " {} |", detail(name, *value));
                }
                None => *page += " – |",
            }
        }
        page.push('\n');
    }
    let faulty: Vec<String> = standing
        .lines
        .iter()
        .filter(|line| !line.faults.is_empty())
        .map(|line| {
            let faults: Vec<String> = line
                .faults
                .iter()
                .map(|(fault, slices)| format!("{fault} in {slices} slices"))
                .collect();
            let counted = if line.sound == 0 {
                "; none of its slices was sound, the values above are of all"
            } else {
                "; those slices do not count"
            };
            format!("{}: {}{counted}.", line.program, faults.join(", "))
        })
        .collect();
    if !faulty.is_empty() {
        let _ = writeln!(page, "\nFaults: {}", faulty.join(" "));
    }
    if let Some(note) = note {
        let _ = writeln!(page, "\n{note}");
    }
}

fn method(page: &mut String, results: &Results, standings: &[Standing]) -> Result<(), Failure> {
    *page += "\n## Method\n\n\
        Everything runs on the loopback of a network namespace of its own. The program under test has one processor, load generator, upstream \
        and everything else another; all at nice −10 where that is allowed. All programs of a table run at the same time, idle but for the one whose turn \
        it is: each round gives every program one slice of every cell, there and back again, so that a machine that slows down slows down \
        everybody. A ratio is taken within one round; the middle of the rounds' ratios is what counts.\n\n\
        - CPU time is what the scheduler counted for all threads of the program and its children during the slice (`/proc/PID/task/*/schedstat`), \
        divided by the right answers. It includes the kernel's work for the program's own system calls.\n\
        - `null` is a program of the bench: the same sockets, the same TLS library and cryptography (rustls with ring), one thread waiting in `epoll`; \
        everything that came is read at once, and all answers to it leave in one TLS record and one write, or in one `sendmmsg`. It parses nothing but the name's length, and answers \
        everything with the same address. The null stub passes messages on over one TLS connection and back. `null-again` is a second copy of it.\n\
        - Every answer is checked: it must belong to a query that is waited for, repeat its question, and bring the address that the zone has. A slice with a \
        wrong or lost answer, or a broken connection, does not count and is named.\n\
        - Servers forward to NSD over UDP and have all 10,000 names in their caches before they are measured; nobody validates; connection limits are high; one thread each. \
        Stubs ask `null` over TLS with its certificate checked (stubby: not checked), without a cache, every name new.\n\
        - TLS 1.3, X25519, AES-256-GCM, ECDSA P-256; one query a TLS record; no EDNS. The load generator does not verify the server's signature.\n";
    *page += "\n## Noise\n\n";
    let mut told = false;
    for standing in standings {
        if let Some(ratio) = standing.line(NULL_AGAIN).and_then(|line| line.ratio) {
            if !told {
                *page += "What the second copy of `null` needs, as a ratio to the first: where it is not 1.00, that is noise, and a difference between two programs \
                          that is no larger means nothing. The middle half of the rounds spans what stands behind it.\n\n| | null-again | middle half |\n|---|---|---|\n";
                told = true;
            }
            let _ = writeln!(
                page,
                "| {} | {:.2} × | {:.2}–{:.2} |",
                standing.row.title, ratio.middle, ratio.lower, ratio.upper
            );
        }
    }
    for (run, samples) in &results.runs {
        let mut rows: Vec<&str> = samples.iter().map(|sample| sample.row.as_str()).collect();
        rows.sort_unstable();
        rows.dedup();
        let _ = writeln!(
            page,
            "\n## Run of {}\n\n{} rounds, slices of {} ms; the hypervisor took {:.1} % of the processors' time. Rows: {}.\n\n| | |\n|---|---|",
            run.date,
            run.rounds,
            run.slice_ms,
            run.stolen_percent,
            rows.join(", ")
        );
        for (name, value) in run.machine.iter().chain(&run.programs) {
            let _ = writeln!(page, "| {name} | {} |", value.replace('|', "/"));
        }
    }
    Ok(())
}

fn is_peer(program: &str) -> bool {
    !is_floor(program) && !program.starts_with(OURS)
}

/// The ratio where there is one, and the value.
fn cell(standing: &Standing, line: &Line) -> String {
    let value = number(standing.row.unit, line.value.middle);
    let text = match line.ratio {
        Some(ratio) => format!("{:.2} × · {value}", ratio.middle),
        None => value,
    };
    if line.sound == 0 {
        format!("{text}, with faults")
    } else {
        text
    }
}

/// What stands below each heading `## name`, by name; what stands before the first one has the empty name.
fn parse_notes(text: &str) -> BTreeMap<String, String> {
    let mut notes: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            name = heading.trim().to_owned();
        } else if !["# ", "<!--"].iter().any(|aside| line.starts_with(aside)) {
            let note = notes.entry(name.clone()).or_default();
            note.push_str(line);
            note.push('\n');
        }
    }
    notes
        .into_iter()
        .map(|(name, note)| (name, note.trim().to_owned()))
        .filter(|(_, note)| !note.is_empty())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bench::{Sample, journal::Run};

    fn results() -> Results {
        let row = GROUPS[0].rows[0];
        let sample =
            |program: &str, value: f64| Sample::new(&row, program, 0, value).with("p99_us", 1234.5);
        Results {
            runs: vec![(
                Run {
                    date: "2026-01-02".into(),
                    programs: BTreeMap::from([("kresd".into(), "5.6.0 | old".into())]),
                    ..Run::default()
                },
                vec![
                    sample(OURS, 4.0),
                    sample(NULL, 2.0),
                    sample("kresd", 22.0).faulty("3 SERVFAIL"),
                ],
            )],
        }
    }

    #[test]
    fn a_page_has_verdict_both_sides_faults_and_the_remark_of_its_row() {
        let folder = tempfile::tempdir().unwrap();
        let row = GROUPS[0].rows[0];
        let notes = format!(
            "# Remarks\n\n<!-- How to. -->\nFor all.\n\n## {}\n\nOne remark,\nof two lines.\n\n## other\n\nElsewhere.\n",
            row.name
        );
        fs::write(folder.path().join(NOTES), notes).unwrap();
        let page = fs::read_to_string(write(folder.path(), &results()).unwrap()).unwrap();
        for part in [
            "Of 1 goals 1 are met and 0 missed.",
            "| 2.00 × · 4 µs | 11.00 × · 22 µs, with faults (kresd) | 2 µs | met |",
            "| **zzdot** | 2.00 × | 2.00–2.00 | 4 µs | 4 µs | 4 µs | 1234 |",
            "Faults: kresd: SERVFAIL in 1 slices; none of its slices was sound",
            "For all.",
            "One remark,\nof two lines.",
            "| kresd | 5.6.0 / old |",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("Elsewhere") && !page.contains("How to"));
        let plot = folder.path().join(IMAGES).join(format!("{}.svg", row.name));
        assert!(plot.is_file());
        assert!(page.contains(&format!("{IMAGES}/{}.svg", row.name)));
    }

    #[test]
    fn rows_have_different_names_that_can_be_file_names() {
        let mut names: Vec<_> = GROUPS
            .iter()
            .flat_map(|group| group.rows)
            .map(|row| row.name)
            .collect();
        for name in &names {
            assert!(
                name.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{name}"
            );
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
