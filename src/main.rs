//! The `zzdot` binary: a command line, and an exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
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
    zzdot_client::log::start(line.command.default_log())?;
    // What serves has threads of its own; the rest is one thread's work.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                Exit::CannotRun,
                format!("cannot start the runtime: {error}"),
            )
        })?;
    runtime.block_on(line.command.run())
}
