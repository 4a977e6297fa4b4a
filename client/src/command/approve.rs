//! `zzdot-client approve [NAME] --phrase WORDS`: accepts a resolver whose phrase a person compared.
//!
//! Without a phrase, NAME is accepted where nobody else is expected, and stays not yet verified. `--json` prints what
//! `verify` prints.

use clap::Args;
use serde_json::Value;
use zzdot_zonegen::exit::{Exit, Failure};
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::phrase::{Phrase, PhraseError};

use super::daemon::Place;
use super::resolvers::field;
use super::{print, print_json};
use crate::control::Request;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The resolver; the phrase alone says whose it is
    #[arg(required_unless_present = "phrase")]
    name: Option<ResolverName>,
    /// The words, or the digits, that the resolver itself shows: `zzdot identity --phrase`
    #[arg(long, value_name = "WORD", num_args = 1..=8)]
    phrase: Option<Vec<String>>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut request = Request::new("approve");
    if let Some(words) = &arguments.phrase {
        // Here as well as in the daemon, so that nobody has to type a password for a slip.
        let phrase: Phrase = words.join(" ").parse().map_err(|error: PhraseError| {
            Failure::new(Exit::Usage, error.to_string())
                .with_hint("`zzdot identity --phrase` on the resolver shows it")
        })?;
        request = request.with("phrase", phrase.to_string());
    }
    if let Some(name) = &arguments.name {
        request = request.with("name", name.to_string());
    }
    let reply = arguments.place.order(&request, false).await?;
    tell(&reply, arguments.json)
}

/// What became of it.
pub(super) fn tell(reply: &Value, json: bool) -> Result<Exit, Failure> {
    if json {
        print_json(reply)?;
        return Ok(Exit::Done);
    }
    let name = field(reply, "name");
    let verified = reply["trust"] != "provisional";
    let text = match reply["outcome"].as_str() {
        Some("enrolled") => format!("{name} was not met yet; when it is, it is verified\n"),
        Some("accepted") if verified => {
            format!("{name} is verified, and expected from now on where it was met\n")
        }
        Some("accepted") => {
            format!("{name} is expected from now on where it was met; it is not yet verified\n")
        }
        _ => format!("{name} is verified\n"),
    };
    print(&text)?;
    Ok(Exit::Done)
}
