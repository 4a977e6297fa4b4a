//! `zzdot-testnet bench`.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use clap::Args;
use nix::unistd::geteuid;

use super::{
    Failure, GROUPS, OURS, Plan, Sample,
    journal::{Journal, Results, Run},
    machine, plan,
    report::{self, RESULTS},
};
use crate::programs;

/// What everything runs at where root allows it: whatever else runs on the machine stays out of the figures.
const NICE: &str = "-10";

/// Measures our programs beside their peers and the floor, and writes the page about it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Measures only rows whose name has this in it; may be given more than once.
    #[arg(long, value_name = "PART")]
    rows: Vec<String>,
    /// Measures only these peers, beside ours and the floor.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    programs: Vec<String>,
    /// How many times every program has its turn.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// How long one turn takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    slice: u64,
    /// Only checks that everything works: every row once, as short as can be, with all peers.
    #[arg(long)]
    smoke: bool,
    /// The folder for page, plots and values; rows that are not measured now are kept from earlier runs.
    #[arg(long, value_name = "DIR", default_value = "docs")]
    out: PathBuf,
    /// Forgets earlier runs.
    #[arg(long)]
    fresh: bool,
    /// Measures nothing; makes page and plots of the values in the folder.
    #[arg(long, conflicts_with_all = ["rows", "smoke", "fresh"])]
    report: bool,
    /// Another build of our programs, as a column of its own.
    #[arg(long, value_name = "NAME=FOLDER", value_parser = pair)]
    build: Vec<(String, String)>,
    /// Another server: a command with {udp}, {dot}, {upstream}, {certificate}, {key} and {folder} to be filled in. One whose name
    /// begins with `null` answers 192.0.2.1 to everything.
    #[arg(long, value_name = "NAME=COMMAND", value_parser = pair)]
    server: Vec<(String, String)>,
    /// Another stub: a command with {udp}, {upstream}, {authority} and {folder} to be filled in.
    #[arg(long, value_name = "NAME=COMMAND", value_parser = pair)]
    stub: Vec<(String, String)>,
    /// Keeps configurations and logs of all programs in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("NAME=... is expected".into()),
    }
}

impl Options {
    /// Must something be measured, in a box?
    pub(crate) fn measures(&self) -> bool {
        !self.report
    }

    /// Before the box is entered: becomes more important than other programs, where that is allowed.
    pub(crate) fn precede() -> Result<(), Failure> {
        const ASKED: &str = "ZZDOT_BENCH_NICE";
        if !geteuid().is_root() || std::env::var_os(ASKED).is_some() {
            return Ok(());
        }
        let error = Command::new(programs::find("nice")?)
            .args(["-n", NICE])
            .arg(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env(ASKED, NICE)
            .exec();
        Err(error.into())
    }

    /// Measures, in the box, or only writes the page.
    ///
    /// # Errors
    /// Ours or the floor cannot be measured, or the results cannot be written.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.out)?;
        let values = self.out.join(RESULTS);
        let results = if self.report {
            Results::read(&values)?
        } else {
            if self.fresh && values.exists() {
                fs::remove_file(&values)?;
            }
            self.measure(&values)?
        };
        let page = report::write(&self.out, &results)?;
        let standings = report::standings(&results);
        print!("{}", report::summary(&standings));
        println!("{}", page.display());
        if self.smoke {
            check_complete(&self.rows, &results)?;
        }
        Ok(())
    }

    fn measure(&self, values: &Path) -> Result<Results, Failure> {
        if self.smoke {
            programs::check_peers()?;
        }
        if cfg!(debug_assertions) && !self.smoke {
            eprintln!("this build is not optimised: what it measures means nothing");
        }
        machine::raise_limits()?;
        loopback_up()?;
        let temporary;
        let folder = match &self.keep {
            Some(folder) => {
                fs::create_dir_all(folder)?;
                folder.canonicalize()?
            }
            None => {
                temporary = tempfile::tempdir_in("/run/lab")?;
                temporary.path().to_owned()
            }
        };
        let plan = self.plan(folder)?;
        plan::pin(&[plan.cpus.rest])?;
        let mut run = Run {
            date: today(),
            machine: machine::machine(),
            programs: machine::versions(&plan),
            rounds: plan.rounds,
            slice_ms: u64::try_from(plan.slice.as_millis()).unwrap_or(u64::MAX),
            stolen_percent: 0.0,
        };
        let (stolen_before, all_before) = machine::stolen();
        let mut journal = Journal::begin(values, &run)?;
        let mut unwritten = None;
        for group in GROUPS {
            if !group.rows.iter().any(|row| plan.wants_row(row.name)) {
                continue;
            }
            let mut folder = plan.clone();
            folder.folder = plan.folder.join(group.name);
            fs::create_dir_all(&folder.folder)?;
            (group.measure)(&folder, &mut |mut sample: Sample| {
                if !sample.value.is_finite() {
                    sample.value = 0.0;
                    sample = sample.faulty("no value");
                }
                if !sample.faults.is_empty() {
                    plan.tell(&format!(
                        "NOT COUNTED: {} {}: {}",
                        sample.program,
                        sample.row,
                        sample.faults.join(", ")
                    ));
                }
                if let Err(failure) = journal.record(sample) {
                    unwritten.get_or_insert(failure);
                }
            })
            .map_err(|failure| Failure::new(format!("{}: {failure}", group.name)))?;
        }
        if let Some(failure) = unwritten {
            return Err(failure);
        }
        let (stolen, all) = machine::stolen();
        run.stolen_percent =
            100.0 * (stolen - stolen_before) as f64 / (all - all_before).max(1) as f64;
        plan.tell("done");
        journal.end(&run)
    }

    fn plan(&self, folder: PathBuf) -> Result<Plan, Failure> {
        let (rounds, slice) = if self.smoke {
            (1, Duration::from_millis(50))
        } else {
            (self.rounds, Duration::from_millis(self.slice))
        };
        let mut builds = Vec::new();
        for (name, folder) in &self.build {
            builds.push((name.clone(), fs::canonicalize(folder)?));
        }
        Ok(Plan {
            rounds,
            slice,
            smoke: self.smoke,
            rows: self.rows.clone(),
            programs: self.programs.clone(),
            builds,
            servers: self.server.clone(),
            stubs: self.stub.clone(),
            folder,
            cpus: machine::cpus()?,
            started: Instant::now(),
        })
    }
}

/// A new network namespace has a loopback, but one that is down.
fn loopback_up() -> Result<(), Failure> {
    let status = Command::new(programs::find("ip")?)
        .args(["link", "set", "lo", "up"])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("ip link set lo up: {status}")))
    }
}

/// Every row that was wanted has a value of ours, and none has a fault.
fn check_complete(wanted: &[String], results: &Results) -> Result<(), Failure> {
    let samples = results.samples();
    for row in GROUPS.iter().flat_map(|group| group.rows) {
        if !wanted.is_empty() && !wanted.iter().any(|part| row.name.contains(part.as_str())) {
            continue;
        }
        if !samples
            .iter()
            .any(|sample| sample.row == row.name && sample.program.starts_with(OURS))
        {
            return Err(Failure::new(format!("{}: no sample of ours", row.name)));
        }
    }
    let faulty: Vec<String> = samples
        .iter()
        .filter(|sample| !sample.faults.is_empty() && sample.program == OURS)
        .map(|sample| {
            format!(
                "{} of {}: {}",
                sample.row,
                sample.program,
                sample.faults.join(", ")
            )
        })
        .collect();
    if faulty.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(faulty.join("\n")))
    }
}

/// Year, month and day (UTC).
fn today() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    date(seconds / 86_400)
}

/// The Gregorian date so many days after 1 January 1970.
fn date(mut days: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_514, "2026-03-02"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn a_pair_has_a_name_and_a_value() {
        assert_eq!(pair("a=b c=d"), Ok(("a".into(), "b c=d".into())));
        assert!(pair("a").is_err() && pair("=b").is_err() && pair("a=").is_err());
    }
}
