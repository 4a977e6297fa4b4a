//! `zzdot-client resolvers list | show NAME | forget NAME`: what is remembered.
//!
//! `--json` prints `{"resolvers": [...]}` for `list`, one resolver for `show`, and
//! `{"forgotten": NAME}` for `forget`. A resolver has `name`, `trust` (`provisional`, `verified`,
//! `managed`, `revoked`), `trust-in-words`, `verification` (`by`, `at`), `phrase`, `server-type`, `endpoint`, `anchor-key-tags`, `tlsa`,
//! `first-seen`, `last-seen`, `signatures-expire` and `servers`: the configured addresses at which
//! it is expected.

use clap::{Args, Subcommand};
use serde_json::Value;
use zzdot_zonegen::exit::{Exit, Failure};
use zzdot_zonegen::name::ResolverName;

use super::daemon::Place;
use super::{print, print_json};
use crate::control::Request;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All resolvers
    List,
    /// One of them
    Show {
        /// Its name, such as 8g2l0qv7c4m1t5b9r3se.zz
        name: ResolverName,
    },
    /// Forgets one: the next meeting is a first one
    Forget {
        /// Its name
        name: ResolverName,
    },
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.action {
        Action::List => list(arguments).await,
        Action::Show { name } => show(arguments, name).await,
        Action::Forget { name } => forget(arguments, name).await,
    }
}

async fn remembered(place: &Place) -> Result<Value, Failure> {
    place.order(&Request::new("resolvers"), false).await
}

async fn list(arguments: &Arguments) -> Result<Exit, Failure> {
    let remembered = remembered(&arguments.place).await?;
    if arguments.json {
        print_json(&remembered)?;
        return Ok(Exit::Done);
    }
    let resolvers = remembered["resolvers"].as_array();
    let mut text = String::new();
    for resolver in resolvers.into_iter().flatten() {
        text.push_str(&format!(
            "{}  {}  at {}  last seen {}\n",
            field(resolver, "name"),
            field(resolver, "trust-in-words"),
            field(resolver, "endpoint"),
            field(resolver, "last-seen"),
        ));
    }
    if text.is_empty() {
        text.push_str("no resolver is remembered\n");
    }
    print(&text)?;
    Ok(Exit::Done)
}

async fn show(arguments: &Arguments, name: &ResolverName) -> Result<Exit, Failure> {
    let remembered = remembered(&arguments.place).await?;
    let wanted = name.to_string();
    let resolver = remembered["resolvers"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|resolver| resolver["name"] == wanted.as_str())
        .ok_or_else(|| unknown(name))?;
    if arguments.json {
        print_json(resolver)?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{wanted} ({})\n", field(resolver, "trust-in-words"));
    for (label, key) in [
        ("expected at", "servers"),
        ("reached at", "endpoint"),
        ("phrase", "phrase"),
        ("type", "server-type"),
        ("anchor key tags", "anchor-key-tags"),
        ("TLSA", "tlsa"),
        ("first seen", "first-seen"),
        ("last seen", "last-seen"),
        ("signatures expire", "signatures-expire"),
    ] {
        text.push_str(&format!("  {label:<18}{}\n", field(resolver, key)));
    }
    print(&text)?;
    Ok(Exit::Done)
}

async fn forget(arguments: &Arguments, name: &ResolverName) -> Result<Exit, Failure> {
    super::forget::resolver(&arguments.place, name, arguments.json).await
}

pub(super) fn unknown(name: &ResolverName) -> Failure {
    Failure::new(Exit::Usage, format!("{name} is not remembered"))
        .with_hint("`zzdot-client resolvers list` tells who is")
}

/// A value as people read it.
pub(super) fn field(object: &Value, key: &str) -> String {
    match &object[key] {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Vec<String> = items
                .iter()
                .map(|item| {
                    item.as_str()
                        .map_or_else(|| item.to_string(), str::to_owned)
                })
                .collect();
            texts.join(", ")
        }
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
