//! `zzdot-client import FILE`: takes over what another computer exported, all of it or nothing.
//!
//! `--json` prints `added`, `verified`, `revoked` and `unchanged`: names.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;
use zzdot_zonegen::exit::{Exit, Failure};

use super::daemon::Place;
use super::resolvers::field;
use super::{cannot_run, print, print_json};
use crate::control::Request;
use crate::store::EXPORT_BYTES_MAX;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file; `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let unreadable =
        |error: io::Error| cannot_run(format!("{}: {error}", arguments.file.display()));
    let source: Box<dyn Read> = match arguments.file.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(&arguments.file).map_err(unreadable)?),
    };
    let mut text = String::new();
    // One more than is allowed: what is larger is told so.
    let most = EXPORT_BYTES_MAX as u64 + 1;
    source
        .take(most)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let request = Request::new("import").with("export", text);
    let reply = arguments.place.order(&request, true).await?;
    if arguments.json {
        print_json(&reply)?;
        return Ok(Exit::Done);
    }
    for (label, key) in [
        ("added", "added"),
        ("verified", "verified"),
        ("revoked", "revoked"),
        ("known before", "unchanged"),
    ] {
        if reply[key].as_array().is_some_and(|names| !names.is_empty()) {
            print(&format!("{label}: {}\n", field(&reply, key)))?;
        }
    }
    Ok(Exit::Done)
}
