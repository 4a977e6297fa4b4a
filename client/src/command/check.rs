//! `zzdot-client check --config FILE`: says `FILE: ok`, or what is wrong and where.

use std::path::PathBuf;

use clap::Args;
use zzdot_zonegen::exit::{Exit, Failure};

use super::print;
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to check
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    Config::load(&arguments.config)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    print(&format!("{}: ok\n", arguments.config.display()))?;
    Ok(Exit::Done)
}
