//! The command line of `zzdot-testnet`. Data goes to standard output, words to standard error.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use clap::{Parser, Subcommand};

use crate::{
    attack, bench, desktop,
    host::Host,
    hostile::random,
    products, radio, sandbox,
    story::{self, Failure, STORIES, Scene, Story},
    units,
};

/// Labs of network namespaces with real name servers, and the stories told in them.
#[derive(Debug, Parser)]
#[command(name = "zzdot-testnet", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Names every story, with one sentence about it.
    List,
    /// Plays a story, or all of them; prints a table of verdicts.
    Run {
        /// A name of `list`, or `all`.
        story: String,
        /// Keeps captures, configurations and logs in this folder, one folder a story.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Plays attacks on the product and its peers; prints what came of them, one JSON object a line.
    Attack {
        /// A group of attacks, `schedules` for random ones, or `table` for what the threat model says of all of them.
        group: String,
        /// Only the attack that this test is about.
        #[arg(long, value_name = "TEST")]
        only: Option<String>,
        /// Keeps captures, configurations and logs in this folder.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Plays a case on a desktop with the real programs that manage networks and names.
    Desktop {
        /// A case.
        case: String,
        /// Keeps captures, configurations and logs in this folder.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Plays a case on a machine that the real service manager starts, with the units as they are shipped.
    Units {
        /// A case.
        case: String,
        /// Keeps captures, configurations and logs in this folder.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Measures our programs beside their peers, and writes docs/performance.md.
    Bench(bench::Options),
    /// The floor of the bench: a server that knows one answer.
    #[command(hide = true)]
    NullServer(bench::NullServer),
    /// The floor of the bench: a stub that passes everything on.
    #[command(hide = true)]
    NullStub(bench::NullStub),
    /// Runs a program on a host of the lab around this process. For `run` and `shell` alone.
    #[command(hide = true)]
    Enter {
        host: String,
        resolv_conf: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Runs a program with wireless networks around it. For labs alone.
    #[command(hide = true)]
    Radio(radio::Playing),
    /// Becomes the first process of such a machine. For `units` alone.
    #[command(hide = true)]
    Boot { folder: PathBuf, group: PathBuf },
    /// Sets the scene of a story and opens a shell on its laptop.
    Shell {
        /// A name of `list`.
        story: String,
        /// Keeps captures, configurations and logs in this folder.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
}

/// Runs the command line.
#[must_use]
pub fn main(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Task::List => list(),
        Task::Enter {
            host,
            resolv_conf,
            command,
        } => {
            let said = if sandbox::is_inside() {
                Host::enter(&host, &resolv_conf, &command).to_string()
            } else {
                "there is no lab around this process".into()
            };
            complain(
                &format!(
                    "cannot run {} on {host}: {said}",
                    command.join(OsStr::new(" ")).display()
                ),
                None,
            );
            ExitCode::from(3)
        }
        Task::Boot { folder, group } => {
            let said = if sandbox::is_inside() {
                units::boot(&folder, &group)
                    .map_or_else(|error| error.to_string(), |never| match never {})
            } else {
                "there is no lab around this process".into()
            };
            complain(&format!("cannot boot: {said}"), None);
            ExitCode::from(3)
        }
        Task::Bench(options) => bench(&options),
        Task::NullServer(server) => told(server.run()),
        Task::NullStub(stub) => told(stub.run()),
        Task::Radio(playing) => playing.run().unwrap_or_else(|failure| told(Err(failure))),
        Task::Attack { group, .. } if group == "table" => {
            print!("{}", attack::table(attack::GROUPS));
            ExitCode::SUCCESS
        }
        Task::Attack { group, keep, .. } if group == "schedules" => play_schedules(keep.as_deref()),
        Task::Attack { group, only, keep } => {
            play_attacks(&group, only.as_deref(), keep.as_deref())
        }
        Task::Desktop { case, keep } => play_desktop(&case, keep.as_deref()),
        Task::Units { case, keep } => play_units(&case, keep.as_deref()),
        Task::Run { story, keep } if story == "all" => run_all(keep.as_deref()),
        Task::Run { story, keep } => with_story(&story, |story| {
            in_box(keep.as_deref(), story.name, |folder| {
                story::run(story, folder)
            })
        }),
        Task::Shell { story, keep } => with_story(&story, |story| {
            in_box(keep.as_deref(), story.name, |folder| shell(story, folder))
        }),
    }
}

fn play_desktop(name: &str, keep: Option<&Path>) -> ExitCode {
    let Some(case) = desktop::find(name) else {
        return no_case(name, desktop::all().map(|case| case.name));
    };
    in_box(keep, case.name, |folder| desktop::play(&case, folder))
}

fn play_units(name: &str, keep: Option<&Path>) -> ExitCode {
    let Some(case) = units::find(name) else {
        return no_case(name, units::CASES.iter().map(|case| case.name));
    };
    in_box(keep, case.name, |folder| units::play(case, folder))
}

fn no_case(name: &str, names: impl Iterator<Item = &'static str>) -> ExitCode {
    let names: Vec<_> = names.collect();
    let hint = format!("one of: {}", names.join(", "));
    complain(&format!("no case named '{name}'"), Some(&hint));
    ExitCode::from(2)
}

fn list() -> ExitCode {
    let width = STORIES
        .iter()
        .map(|story| story.name.len())
        .max()
        .unwrap_or_default();
    let mut out = io::stdout().lock();
    for story in STORIES {
        // A reader that has seen enough is no failure.
        let _ = writeln!(out, "{:width$}  {}", story.name, story.sentence);
    }
    ExitCode::SUCCESS
}

fn with_story(name: &str, tell: impl FnOnce(&'static Story) -> ExitCode) -> ExitCode {
    match story::find(name) {
        Some(story) => tell(story),
        None => {
            let names: Vec<_> = STORIES.iter().map(|story| story.name).collect();
            complain(
                &format!("no story named '{name}'"),
                Some(&format!("one of: {}, all", names.join(", "))),
            );
            ExitCode::from(2)
        }
    }
}

/// So many random schedules of faults are a number that the project has promised.
const SCHEDULES: usize = 500;

fn play_schedules(keep: Option<&Path>) -> ExitCode {
    in_box(keep, "schedules", |folder| {
        let tally = attack::play_schedules(random::seed(), SCHEDULES, folder)?;
        println!("{}", serde_json::to_string(&tally)?);
        Ok(())
    })
}

fn play_attacks(name: &str, only: Option<&str>, keep: Option<&Path>) -> ExitCode {
    let Some(group) = attack::find(name) else {
        let names: Vec<_> = attack::GROUPS.iter().map(|group| group.name).collect();
        complain(
            &format!("no group of attacks named '{name}'"),
            Some(&format!("one of: {}, schedules, table", names.join(", "))),
        );
        return ExitCode::from(2);
    };
    in_box(keep, name, |folder| {
        let reports = attack::play(group, only, folder)?;
        let failed = reports
            .iter()
            .filter(|report| report.failure.is_some())
            .count();
        for report in &reports {
            println!("{}", serde_json::to_string(report)?);
        }
        match failed {
            0 => Ok(()),
            failed => Err(Failure::new(format!(
                "{failed} of {} attacks did not end as expected",
                reports.len()
            ))),
        }
    })
}

/// Each story in a box of its own, one after the other: they share the machine's two cores, and nothing else.
fn run_all(keep: Option<&Path>) -> ExitCode {
    let mut verdicts = Vec::new();
    for story in STORIES {
        eprintln!("{}: {}", story.name, story.sentence);
        let started = Instant::now();
        let mut command =
            Command::new(env::current_exe().unwrap_or_else(|_| "zzdot-testnet".into()));
        command.args(["run", story.name]).stdout(Stdio::null());
        if let Some(folder) = keep {
            command.arg("--keep").arg(folder);
        }
        let well = match command.status() {
            Ok(status) => status.success(),
            Err(error) => {
                complain(&format!("cannot start myself: {error}"), None);
                return ExitCode::from(3);
            }
        };
        verdicts.push((story.name, well, started.elapsed()));
    }
    let mut out = io::stdout().lock();
    for (name, well, took) in &verdicts {
        let _ = writeln!(
            out,
            "{} {:6.1} s  {name}",
            if *well { "ok    " } else { "FAILED" },
            took.as_secs_f32()
        );
    }
    if verdicts.iter().all(|(_, well, _)| *well) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// In a box, unless there is nothing to measure.
fn bench(options: &bench::Options) -> ExitCode {
    if options.measures() {
        if !sandbox::is_inside() {
            if let Err(error) = products::ensure_built() {
                complain(&error.to_string(), None);
                return ExitCode::from(3);
            }
            if let Err(failure) = bench::Options::precede() {
                complain(&failure.to_string(), None);
                return ExitCode::from(3);
            }
            let arguments: Vec<OsString> = env::args_os().skip(1).collect();
            complain(&sandbox::enter(&arguments).to_string(), None);
            return ExitCode::from(3);
        }
        if let Err(error) = sandbox::furnish() {
            complain(&error.to_string(), None);
            return ExitCode::from(3);
        }
    }
    told(options.run())
}

fn told(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string(), None);
            ExitCode::FAILURE
        }
    }
}

/// Outside: builds the products and enters a box by running this very command again. Inside: does the work.
fn in_box(
    keep: Option<&Path>,
    name: &str,
    work: impl FnOnce(&Path) -> Result<(), Failure>,
) -> ExitCode {
    if !sandbox::is_inside() {
        if let Err(error) = products::ensure_built() {
            complain(&error.to_string(), None);
            return ExitCode::from(3);
        }
        let arguments: Vec<OsString> = env::args_os().skip(1).collect();
        complain(&sandbox::enter(&arguments).to_string(), None);
        return ExitCode::from(3);
    }
    match furnished(keep, name, work) {
        Ok(()) => {
            println!("{name}: ok");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            complain(&failure.to_string(), None);
            println!("{name}: FAILED");
            ExitCode::FAILURE
        }
    }
}

fn furnished(
    keep: Option<&Path>,
    name: &str,
    work: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    sandbox::furnish()?;
    let Some(folder) = keep else {
        // In the box's own tmpfs: gone with it.
        return work(&Path::new("/run/lab").join(name));
    };
    let folder = std::path::absolute(folder)?.join(name);
    if folder.exists() {
        // Logs and captures of two runs in one folder would tell a third story.
        return Err(Failure::new(format!(
            "{} exists; keep this run elsewhere, or remove it",
            folder.display()
        )));
    }
    work(&folder)
}

fn shell(story: &Story, folder: &Path) -> Result<(), Failure> {
    let mut scene = Scene::build(folder)?;
    (story.set_up)(&mut scene)?;
    eprintln!(
        "{}: {}\nThis is the laptop; the captures are in {}. Try:",
        story.name,
        story.sentence,
        folder.display()
    );
    for line in story.try_this {
        eprintln!("    {line}");
    }
    eprintln!("Other hosts: nsenter --net=/run/netns/NAME; exit takes the lab down.");
    let shell = env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into());
    scene
        .laptop()
        .command(&shell)?
        .env("PS1", "laptop\\$ ")
        .env("PATH", products::path_with_products()?)
        .status()?;
    Ok(())
}

fn complain(message: &str, hint: Option<&str>) {
    eprintln!("zzdot-testnet: {message}");
    if let Some(hint) = hint {
        eprintln!("zzdot-testnet: hint: {hint}");
    }
}
