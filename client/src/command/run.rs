//! `zzdot-client run`: the daemon.

use std::path::PathBuf;

use clap::Args;
use zzdot_zonegen::exit::{Exit, Failure};

use super::cannot_run;
use crate::{config::Config, log};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file; without one, the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to remember things, instead of `state-dir` of the configuration
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    log::start("info")?;
    let load = {
        let path = arguments.config.clone();
        move || {
            path.as_deref()
                .map_or_else(Config::defaults, Config::load)
                .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
        }
    };
    let config = load()?;
    // One thread: a question that had to be handed from one to another would wait for the other to wake.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot_run(format!("cannot start: {error}")))?
        .block_on(crate::run::run(config, load, arguments.state_dir.clone()))?;
    Ok(Exit::Done)
}
