//! `zzdot-client forget NAME [--for-good] | --network ID`
//!
//! `--json` prints `{"forgotten": NAME}`, `{"revoked": NAME}` or `{"forgotten-network": ID}`.

use clap::Args;
use serde_json::json;
use zzdot_zonegen::exit::{Exit, Failure};
use zzdot_zonegen::name::ResolverName;

use super::daemon::Place;
use super::resolvers::unknown;
use super::{print, print_json};
use crate::control::Request;
use crate::place::NetworkId;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The resolver: the next meeting is a first one
    #[arg(required_unless_present = "network")]
    name: Option<ResolverName>,
    /// Never use it again, whatever it shows; this cannot be undone
    #[arg(long, requires = "name")]
    for_good: bool,
    /// The network: it is a new one when it is met again
    #[arg(long, value_name = "ID", conflicts_with = "name")]
    network: Option<NetworkId>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (place, json) = (&arguments.place, arguments.json);
    match (&arguments.name, arguments.network) {
        (Some(name), _) if arguments.for_good => revoke(place, name, json).await,
        (Some(name), _) => resolver(place, name, json).await,
        (None, Some(id)) => network(place, id, json).await,
        (None, None) => Err(Failure::new(Exit::Usage, "neither NAME nor --network")),
    }
}

/// Forgets a resolver.
pub(super) async fn resolver(
    place: &Place,
    name: &ResolverName,
    json: bool,
) -> Result<Exit, Failure> {
    let request = Request::new("forget").with("name", name.to_string());
    let reply = place.order(&request, false).await?;
    if reply["forgotten"] != true {
        return Err(unknown(name));
    }
    match json {
        true => print_json(&json!({ "forgotten": name }))?,
        false => print(&format!("{name} is forgotten\n"))?,
    }
    Ok(Exit::Done)
}

/// Forgets a network.
pub(super) async fn network(place: &Place, id: NetworkId, json: bool) -> Result<Exit, Failure> {
    let request = Request::new("forget-network").with("network", id.to_string());
    let reply = place.order(&request, false).await?;
    if reply["forgotten"] != true {
        return Err(
            Failure::new(Exit::Usage, format!("network {id} is not remembered"))
                .with_hint("`zzdot-client networks` tells which are"),
        );
    }
    match json {
        true => print_json(&json!({ "forgotten-network": id }))?,
        false => print(&format!("network {id} is forgotten\n"))?,
    }
    Ok(Exit::Done)
}

async fn revoke(place: &Place, name: &ResolverName, json: bool) -> Result<Exit, Failure> {
    let request = Request::new("revoke").with("name", name.to_string());
    let reply = place.order(&request, false).await?;
    if reply["revoked"] != true {
        return Err(unknown(name));
    }
    match json {
        true => print_json(&json!({ "revoked": name }))?,
        false => print(&format!("{name} is never used again\n"))?,
    }
    Ok(Exit::Done)
}
