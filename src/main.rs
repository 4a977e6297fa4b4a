//! The `zzdot` binary: a command line, and an exit code.
#![forbid(unsafe_code)]

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;
use zzdot::command::CommandLine;
use zzdot_zonegen::exit::{Exit, Failure};

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match start(line) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => failure.report("zzdot"),
    }
}

fn start(line: CommandLine) -> Result<(), Failure> {
    let wanted = std::env::var("ZZDOT_LOG").unwrap_or_default();
    let filter = match wanted.as_str() {
        "" => EnvFilter::new(line.command.default_log()),
        wanted => EnvFilter::try_new(wanted).map_err(|error| {
            Failure::new(Exit::Usage, format!("ZZDOT_LOG: {wanted:?}: {error}"))
                .with_hint("allowed: \"error\", \"warn\", \"info\", \"debug\" or \"trace\"")
        })?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        Failure::new(
            Exit::CannotRun,
            format!("cannot start the runtime: {error}"),
        )
    })?;
    runtime.block_on(line.command.run())
}
