//! `zzdot-client export [FILE]`: who is known, for another computer. Networks stay out of it.

use std::path::PathBuf;

use clap::Args;
use zzdot_zonegen::durable;
use zzdot_zonegen::exit::{Exit, Failure};

use super::daemon::Place;
use super::{cannot_run, print};
use crate::control::Request;

/// It tells whose resolvers this computer uses.
const EXPORT_MODE: u32 = 0o600;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file; standard output where it is missing
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let reply = arguments
        .place
        .order(&Request::new("export"), false)
        .await?;
    let text = reply["export"]
        .as_str()
        .ok_or_else(|| cannot_run("the daemon answers otherwise than this program expects"))?;
    match &arguments.file {
        None => print(text)?,
        Some(file) => durable::replace(file, text.as_bytes(), EXPORT_MODE)
            .map_err(|error| cannot_run(format!("{}: {error}", file.display())))?,
    }
    Ok(Exit::Done)
}
