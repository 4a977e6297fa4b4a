//! `zzdot-client verify [URI]`: vouches for a resolver by the code that it shows itself.
//!
//! `--json` prints `name` and `outcome`: `verified` (in use, and verified from now on), `accepted` (it waited, and is expected
//! from now on where it was met), or `enrolled` (not met yet; the first meeting verifies it).

use std::io::{self, BufRead, IsTerminal, Read};

use clap::Args;
use zzdot_zonegen::exit::{Exit, Failure};
use zzdot_zonegen::uri::{URI_BYTES_MAX, UriError, VerificationUri};

use super::daemon::Place;
use super::{approve, cannot_run};
use crate::control::Request;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The text of the QR code, in quotes; a line is read where it is missing
    uri: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let text = match &arguments.uri {
        Some(text) => text.clone(),
        None => read_line()?,
    };
    // Here as well as in the daemon, so that nobody has to type a password for a slip.
    let uri: VerificationUri = text.trim().parse().map_err(|error: UriError| {
        let hint = match error {
            UriError::CutOff => "the text has to stand in quotes, since shells read `&` as an end",
            UriError::Version(_) => "use the version of zzdot that made it, or a newer one",
            _ => "scan or copy it again; `zzdot identity --qr` on the resolver shows it",
        };
        Failure::new(Exit::Usage, error.to_string()).with_hint(hint)
    })?;
    let request = Request::new("verify").with("uri", uri.to_string());
    let reply = arguments.place.order(&request, true).await?;
    approve::tell(&reply, arguments.json)
}

fn read_line() -> Result<String, Failure> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        super::print("the text of the code: ")?;
    }
    let mut line = String::new();
    stdin
        .take(2 * URI_BYTES_MAX as u64)
        .read_line(&mut line)
        .map_err(|error| cannot_run(format!("standard input: {error}")))?;
    Ok(line)
}
