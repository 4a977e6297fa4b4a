//! The command line. Answers go to standard output, messages to standard error behind the
//! program's name; exit codes are those of [`Exit`].

mod agent;
mod approve;
mod check;
mod daemon;
mod discover;
mod doctor;
mod export;
mod forget;
mod front;
mod import;
mod networks;
mod pending;
mod query;
mod resolvers;
mod run;
mod status;
pub(crate) mod style;
mod trace;
mod verify;

use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zzdot_zonegen::exit::{Exit, Failure};

use crate::log;

/// The name before each message.
const PROGRAM: &str = "zzdot-client";

/// Finds out who the configured DNS resolver is, and asks it in private from then on.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, about)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answers the questions of this machine: the daemon
    Run(run::Arguments),
    /// Finds out who a server is, told step by step
    ///
    /// Exit codes: 0 upgraded, 3 no answer, 4 refused, 5 not upgraded.
    Discover(discover::Arguments),
    /// Tells what the daemon is doing
    Status(status::Arguments),
    /// Finds out what is wrong, and whose fault it is
    ///
    /// Exit codes: 0 nothing is wrong, 3 something is.
    Doctor(doctor::Arguments),
    /// Shows who asks whom, from this computer to the end of the chain
    ///
    /// Exit codes: 0 each hop is encrypted to the end, 3 nobody could look, 4 refused, 5 not encrypted to the end.
    Trace(trace::Arguments),
    /// Tells which resolvers are remembered, and forgets them
    Resolvers(resolvers::Arguments),
    /// Tells which resolvers wait to be compared, and with what
    Pending(pending::Arguments),
    /// Vouches for a resolver by the code that `zzdot identity --qr` shows
    Verify(verify::Arguments),
    /// Accepts a resolver whose phrase was compared
    Approve(approve::Arguments),
    /// Forgets a resolver or a network
    Forget(forget::Arguments),
    /// Tells which networks are remembered, names and forgets them
    Networks(networks::Arguments),
    /// Writes down who is known, for another computer
    Export(export::Arguments),
    /// Takes over what another computer exported
    Import(import::Arguments),
    /// Notifies the user of a desktop about whom to decide
    Agent(agent::Arguments),
    /// Asks one question, through the daemon
    Query(query::Arguments),
    /// Puts the client in front of this machine's resolvers, and back
    Front(front::Arguments),
    /// Checks a configuration file
    Check(check::Arguments),
}

/// Runs the program; everything else in this crate is reached from here.
#[must_use]
pub fn main() -> ExitCode {
    let CommandLine { command } = CommandLine::parse();
    let outcome = match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Discover(arguments) => in_runtime(discover::run(&arguments)),
        Command::Status(arguments) => in_runtime(status::run(&arguments)),
        Command::Doctor(arguments) => in_runtime(doctor::run(&arguments)),
        Command::Trace(arguments) => in_runtime(trace::run(&arguments)),
        Command::Resolvers(arguments) => in_runtime(resolvers::run(&arguments)),
        Command::Pending(arguments) => in_runtime(pending::run(&arguments)),
        Command::Verify(arguments) => in_runtime(verify::run(&arguments)),
        Command::Approve(arguments) => in_runtime(approve::run(&arguments)),
        Command::Forget(arguments) => in_runtime(forget::run(&arguments)),
        Command::Networks(arguments) => in_runtime(networks::run(&arguments)),
        Command::Export(arguments) => in_runtime(export::run(&arguments)),
        Command::Import(arguments) => in_runtime(import::run(&arguments)),
        Command::Agent(arguments) => in_runtime(agent::run(&arguments)),
        Command::Query(arguments) => in_runtime(query::run(&arguments)),
        Command::Front(arguments) => in_runtime(front::run(&arguments)),
        Command::Check(arguments) => check::run(&arguments),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(PROGRAM),
    }
}

fn in_runtime(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    log::start("error")?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot_run(format!("cannot start: {error}")))?
        .block_on(work)
}

fn cannot_run(message: impl Into<String>) -> Failure {
    Failure::new(Exit::CannotRun, message)
}

/// Writes to standard output. A reader that went away, as `head` does, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(cannot_run(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| cannot_run(format!("standard output: {error}")))?;
    print(&format!("{text}\n"))
}
