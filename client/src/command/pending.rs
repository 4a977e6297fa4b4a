//! `zzdot-client pending [--dismiss NAME]`: about whom a person can decide.
//!
//! `--json` prints `{"pending": [...], "enrolled": [...]}`. One of `pending` has `name`, `why` (`unverified`: in use and not
//! compared; `first-use`; `mismatch`, with `expected` and `expected-since`; `changed`, with `differs`), `trust`, `phrase`,
//! `phrase-digits`, `endpoint`, `server`, `network` (`id`, `label`) and `since`. One of `enrolled` was vouched for and not met
//! yet: `name`, `ds`, `by`, `at`.

use clap::Args;
use serde_json::{Value, json};
use zzdot_zonegen::exit::{Exit, Failure};
use zzdot_zonegen::name::ResolverName;

use super::daemon::Place;
use super::resolvers::{field, unknown};
use super::{print, print_json};
use crate::control::Request;

const COMPARE: &str = "
Compare the words, or the digits, with those that `zzdot identity --qr` shows on the resolver itself. If they agree:

    zzdot-client approve --phrase THE WORDS ON THE RESOLVER'S OWN SCREEN

or scan its code, and give the text to `zzdot-client verify`.
";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Take one away who waits, undecided
    #[arg(long, value_name = "NAME")]
    dismiss: Option<ResolverName>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if let Some(name) = &arguments.dismiss {
        return dismiss(arguments, name).await;
    }
    let told = arguments
        .place
        .order(&Request::new("pending"), false)
        .await?;
    match arguments.json {
        true => print_json(&told)?,
        false => print(&in_words(&told))?,
    }
    Ok(Exit::Done)
}

async fn dismiss(arguments: &Arguments, name: &ResolverName) -> Result<Exit, Failure> {
    let request = Request::new("dismiss").with("name", name.to_string());
    let reply = arguments.place.order(&request, false).await?;
    if reply["dismissed"] != true {
        return Err(unknown(name));
    }
    match arguments.json {
        true => print_json(&json!({ "dismissed": name }))?,
        false => print(&format!("{name} does not wait any more\n"))?,
    }
    Ok(Exit::Done)
}

fn in_words(told: &Value) -> String {
    let mut text = String::new();
    for one in told["pending"].as_array().into_iter().flatten() {
        text.push_str(&format!("{}  {}\n", field(one, "name"), why(one)));
        match &one["phrase"] {
            Value::String(phrase) => text.push_str(&format!(
                "    {phrase}\n    {}\n",
                field(one, "phrase-digits")
            )),
            _ => text.push_str("    its phrase is known when it was met once more\n"),
        }
        text.push_str(&format!(
            "    {}since {}\n",
            place(one),
            field(one, "since")
        ));
    }
    if !text.is_empty() {
        text.push_str(COMPARE);
    }
    for one in told["enrolled"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "{}  vouched for on {}, not met yet\n",
            field(one, "name"),
            field(one, "at")
        ));
    }
    if text.is_empty() {
        text.push_str("nobody waits, and everybody in use is verified\n");
    }
    text
}

fn why(one: &Value) -> String {
    match one["why"].as_str() {
        Some("unverified") => "in use, not yet verified".to_owned(),
        Some("first-use") => "met for the first time, not used".to_owned(),
        Some("mismatch") => {
            let since = match &one["expected-since"] {
                Value::String(since) => format!(", known since {since},"),
                _ => String::new(),
            };
            format!(
                "answers where {}{since} is expected; not used",
                field(one, "expected")
            )
        }
        Some("changed") => format!(
            "is the one expected, but its network looks different: {} (`zzdot-client networks accept` there if you know why)",
            field(one, "differs")
        ),
        _ => field(one, "why"),
    }
}

fn place(one: &Value) -> String {
    let network = &one["network"];
    let network = match (&network["label"], &network["id"]) {
        (Value::String(label), _) => format!("in network {label}, "),
        (_, Value::String(id)) => format!("in network {id}, "),
        _ => String::new(),
    };
    match &one["server"] {
        Value::String(server) => format!("{network}behind {server}, "),
        _ => network,
    }
}
