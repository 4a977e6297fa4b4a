//! `zzdot-client networks [label ID NAME | forget ID | separate [ID] | accept [ID]]`: what is remembered of networks, and
//! what a person says about one that looks like a known one and differs.
//!
//! `--json` prints `{"networks": [...], "separated": [...]}`; a network has `id`, `label`, `expects`, `server`, `endpoint`, `recognised-by`
//! (kinds of signals; the signals themselves are not told, and are kept as digests only), `first-seen` and `confirmed`;
//! one of `separated` has `id`, `separated-from`, `recognised-by` and `since`. `separate` prints `network`,
//! `separated-from`, `link`, `recognised-by` and `expected-there`; `accept` prints `network`, `link`, `proven` and `learned`.

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
    /// Says that this is another network, which only looks like a known one
    ///
    /// From now on it is a network of its own, and new: whoever answers there is met as the configuration says about
    /// strangers. What is known stays bound to the known network. The daemon has to be running, since it alone knows where
    /// this machine is.
    Separate {
        /// The number of the known network that it looks like; needed where links look like several
        id: Option<NetworkId>,
    },
    /// Says that this is the known network, and that its router is new
    ///
    /// What the network shows now is learned, once the resolver that is expected there has proven itself over a new TLS
    /// connection; never without that. The daemon has to be running.
    Accept {
        /// The number of the known network; needed where links look like several
        id: Option<NetworkId>,
    },
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (place, json) = (&arguments.place, arguments.json);
    match &arguments.action {
        None => list(place, json).await,
        Some(Action::Label { id, label }) => name(place, *id, label, json).await,
        Some(Action::Forget { id }) => forget::network(place, *id, json).await,
        Some(Action::Separate { id }) => separate(place, *id, json).await,
        Some(Action::Accept { id }) => accept(place, *id, json).await,
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
    for separated in told["separated"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "{}\n  another one than  {}, though it looks like it\n  since             {}\n  recognised by     {}\n",
            field(separated, "id"),
            field(separated, "separated-from"),
            field(separated, "since"),
            field(separated, "recognised-by"),
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

/// An order about the network that this machine is in.
fn here(command: &str, id: Option<NetworkId>) -> Request {
    let request = Request::new(command);
    match id {
        Some(id) => request.with("network", id.to_string()),
        None => request,
    }
}

async fn separate(place: &Place, id: Option<NetworkId>, json: bool) -> Result<Exit, Failure> {
    let reply = place.order_running(&here("separate-network", id)).await?;
    if json {
        print_json(&reply)?;
        return Ok(Exit::Done);
    }
    print(&format!(
        "the network on {} is another one than {}, and is called {} from now on\n\
         it is new: whoever answers there is met as `first-use` and `legacy` say\n\
         {} is expected in {} as before\n",
        field(&reply, "link"),
        field(&reply, "separated-from"),
        field(&reply, "network"),
        field(&reply, "expected-there"),
        field(&reply, "separated-from"),
    ))?;
    Ok(Exit::Done)
}

async fn accept(place: &Place, id: Option<NetworkId>, json: bool) -> Result<Exit, Failure> {
    let reply = place.order_running(&here("accept-network", id)).await?;
    if json {
        print_json(&reply)?;
        return Ok(Exit::Done);
    }
    print(&format!(
        "{} has proven itself over {}\nnetwork {} is recognised from now on by what it shows now, too; new is: {}\n",
        field(&reply, "proven"),
        field(&reply, "link"),
        field(&reply, "network"),
        field(&reply, "learned"),
    ))?;
    Ok(Exit::Done)
}
