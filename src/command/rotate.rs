//! `zzdot rotate`

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};
use zzdot_zonegen::{
    exit::{Exit, Failure},
    rollover::What,
};

use super::{Place, daemon, print, print_json};
use crate::rollover;

/// The arguments of `zzdot rotate`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// What is to be replaced
    #[arg(long, value_name = "WHAT")]
    what: Kind,
    /// Its secret is known to others: replace it at once, without waiting for anybody
    #[arg(long)]
    compromised: bool,
    /// The private key of the stand-by trust anchor, where it is kept elsewhere
    #[arg(long, value_name = "FILE")]
    standby_key: Option<PathBuf>,
    /// Print what happens next, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The TLS certificate and its key
    Certificate,
    /// The zone-signing keys of both zones
    Zsk,
    /// The key-signing key of the resolver's name
    Ksk,
    /// The trust anchor, by RFC 5011
    Anchor,
}

/// Asks the running zzdot for a roll-over, and says what happens next.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let what = match arguments.what {
        Kind::Certificate => What::Certificate,
        Kind::Zsk => What::Zsk,
        Kind::Ksk => What::Ksk,
        Kind::Anchor => What::Anchor,
    };
    let read = |path: &PathBuf| {
        fs::read_to_string(path)
            .map_err(|error| Failure::new(Exit::CannotRun, format!("{}: {error}", path.display())))
    };
    let standby_key = arguments.standby_key.as_ref().map(read).transpose()?;
    let request = rollover::request(what, arguments.compromised, standby_key);
    let done = daemon::ask(&arguments.place, &request).await?;
    if arguments.json {
        return print_json(&done);
    }
    let steps = done["roll-overs"].as_array().into_iter().flatten();
    let ours = steps.filter(|step| step["what"] == what.as_str());
    let text: String = ours.map(|step| rollover::line(step) + "\n").collect();
    print(if text.is_empty() { "done\n" } else { &text })
}
