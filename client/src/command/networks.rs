//! `zzdot-client networks [label ID NAME | forget ID]`: what is remembered of networks.
//!
//! `--json` prints `{"networks": [...]}`; a network has `id`, `label`, `expects`, `server`, `endpoint`, `recognised-by`
//! (kinds of signals; the signals themselves are not told, and are kept as digests only), `first-seen` and `confirmed`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zzdot_zonegen::exit::{Exit, Failure};

use super::daemon::Place;
use super::resolvers::field;
use super::{forget, print, print_json};
use crate::control::Request;
use crate::place::NetworkId;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Gives a network a name
    Label {
        /// Its number
        id: NetworkId,
        /// What it is called from now on
        label: String,
    },
    /// Forgets a network: it is a new one when it is met again
    Forget {
        /// Its number
        id: NetworkId,
    },
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (place, json) = (&arguments.place, arguments.json);
    match &arguments.action {
        None => list(place, json).await,
        Some(Action::Label { id, label }) => name(place, *id, label, json).await,
        Some(Action::Forget { id }) => forget::network(place, *id, json).await,
    }
}

async fn list(place: &Place, json: bool) -> Result<Exit, Failure> {
    let told = place.order(&Request::new("networks"), false).await?;
    if json {
        print_json(&told)?;
        return Ok(Exit::Done);
    }
    let networks = told["networks"].as_array();
    let mut text = String::new();
    for network in networks.into_iter().flatten() {
        let label = match &network["label"] {
            Value::String(label) => format!(" ({label})"),
            _ => String::new(),
        };
        text.push_str(&format!(
            "{}{label}\n  expects           {}\n  at                {}\n  last confirmed    {}\n  recognised by     {}\n",
            field(network, "id"),
            field(network, "expects"),
            field(network, "endpoint"),
            field(network, "confirmed"),
            field(network, "recognised-by"),
        ));
    }
    if text.is_empty() {
        text.push_str("no network is remembered\n");
    }
    print(&text)?;
    Ok(Exit::Done)
}

async fn name(place: &Place, id: NetworkId, label: &str, json: bool) -> Result<Exit, Failure> {
    let request = Request::new("label-network")
        .with("network", id.to_string())
        .with("label", label);
    let reply = place.order(&request, false).await?;
    if reply["known"] != true {
        return Err(
            Failure::new(Exit::Usage, format!("network {id} is not remembered"))
                .with_hint("`zzdot-client networks` tells which are"),
        );
    }
    match json {
        true => print_json(&json!({ "network": id, "label": label }))?,
        false => print(&format!("network {id} is called {label}\n"))?,
    }
    Ok(Exit::Done)
}
