//! The subcommands: one file each.
//!
//! Data goes to standard output; messages, with the program's name and in lower case, to standard
//! error. The exit codes are those of [`zzdot_zonegen::exit::Exit`].

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use zzdot_zonegen::exit::{Exit, Failure};

pub mod check;
pub mod demo;
pub mod flush;
pub mod identity;
pub mod rotate;
pub mod serve;
pub mod status;
pub mod upstreams;

mod code;
mod daemon;

/// A DNS resolver or forwarder that names itself and becomes private by itself.
#[derive(Debug, Parser)]
#[command(name = "zzdot", version, arg_required_else_help = true)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until told to stop
    Serve(Place),
    /// Show what the running zzdot does
    Status(status::Arguments),
    /// Show whom the running zzdot asks, and how
    Upstreams(upstreams::Arguments),
    /// Make the running zzdot forget answers, all or those about a name
    Flush(flush::Arguments),
    /// Show who this resolver is
    Identity(identity::Arguments),
    /// Replace a certificate or a key by a successor
    Rotate(rotate::Arguments),
    /// Say what "serve" would do with a configuration, and change nothing
    Check(Place),
    /// Show the whole upgrade on this machine, without root and in a temporary folder
    Demo(demo::Arguments),
}

/// Which configuration, and which folder.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// The configuration file; defaults apply without one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder for the state, whatever the file says
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl Command {
    /// What is logged unless `ZZDOT_LOG` says otherwise: a daemon's doings are its output, those
    /// of a tool are not.
    pub fn default_log(&self) -> &'static str {
        match self {
            // A name that does not exist is no event: hickory warns of each, and anybody may ask for it.
            Self::Serve(_) => "info,hickory_net=error,hickory_resolver=error",
            _ => "error",
        }
    }

    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Serve(place) => serve::run(place).await,
            Self::Status(arguments) => status::run(arguments).await,
            Self::Upstreams(arguments) => upstreams::run(arguments).await,
            Self::Flush(arguments) => flush::run(arguments).await,
            Self::Identity(arguments) => identity::run(arguments).await,
            Self::Rotate(arguments) => rotate::run(arguments).await,
            Self::Check(place) => check::run(place).await,
            Self::Demo(arguments) => demo::run(arguments).await,
        }
    }
}

/// Writes data. A reader that went away is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::CannotRun,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes an object as JSON over several lines.
fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}
