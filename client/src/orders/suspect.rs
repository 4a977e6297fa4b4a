//! What a person says about a network that is suspect: it is another one, or it is the same.

use serde_json::{Value, json};
use zzdot_zonegen::clock::UnixTime;

use super::{Household, change, decide, store};
use crate::control::{Rejection, Request};
use crate::place::NetworkId;
use crate::places::Suspect;

const HOW_THINGS_STAND: &str = "`zzdot-client status` tells which network this is taken for";

/// It is another network that only looks like the known one: from now on it is a new one, and what is known stays bound
/// to the old.
pub(super) async fn separate(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let suspect = the_one_meant(household, network_named(request)?)?;
    let (link, from) = (&suspect.link, suspect.network);
    if suspect.turned {
        return Err(declined(
            "was-expected",
            format!(
                "{link} was in network {from} since it came up, and networks do not turn into others"
            ),
            "somebody may have taken the router's place; if you did move, disconnect the link for half a minute, connect it \
             and say so again",
        ));
    }
    recognisable(&suspect)?;
    let known = store(household)?.network(from);
    let id = NetworkId::draw().map_err(|error| Rejection::new(error.to_string()))?;
    let surroundings = suspect.surroundings.clone();
    let shows: Vec<_> = surroundings.signals.0.keys().copied().collect();
    let now = UnixTime::now();
    let separated = change(household, move |store| {
        store.separate(id, &surroundings, now)
    })
    .await?;
    let Some(known) = known.filter(|_| separated) else {
        return Err(gone(from));
    };
    tracing::warn!(network = %id, %from, link, "a person told a network apart from the known one that it looks like");
    Ok(json!({
        "network": id,
        "separated-from": from,
        "link": link,
        "recognised-by": shows,
        "expected-there": known.expects,
    }))
}

/// It is the known network, and something of it is new: that is learned, if the resolver that is expected proves itself
/// there.
pub(super) async fn accept(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    accept_of(household, network_named(request)?).await
}

/// The same for the network `named`, or the only one that is suspect.
pub(super) async fn accept_of(
    household: &impl Household,
    named: Option<NetworkId>,
) -> Result<Value, Rejection> {
    let suspect = the_one_meant(household, named)?;
    let (link, network) = (suspect.link.clone(), suspect.network);
    recognisable(&suspect)?;
    let proven = suspect.prove().await.map_err(|error| {
        declined(
            "not-proven",
            format!("the resolver that is expected in network {network} did not prove itself over {link}: {error}"),
            "nothing was learned. Where it is another network, `zzdot-client networks separate` says so; where the resolver \
             was replaced, `zzdot-client pending` tells what to do",
        )
    })?;
    let name = proven.identity.name.clone();
    let now = UnixTime::now();
    let learned = change(household, move |store| {
        store.accept(&proven.surroundings, proven.server, &proven.identity, now)
    })
    .await?;
    let learned = learned.ok_or_else(|| gone(network))?;
    tracing::warn!(%network, link, ?learned, "a person accepted what is new about a network");
    Ok(json!({ "network": network, "link": link, "proven": name, "learned": learned }))
}

fn network_named(request: &Request) -> Result<Option<NetworkId>, Rejection> {
    match request.text("network") {
        Some(_) => decide::network(request).map(Some),
        None => Ok(None),
    }
}

/// The network that looks like the one named, or the only one that is suspect.
fn the_one_meant(
    household: &impl Household,
    named: Option<NetworkId>,
) -> Result<Suspect, Rejection> {
    let mut suspects = household.suspects();
    suspects.retain(|suspect| named.is_none_or(|named| suspect.network == named));
    match (suspects.pop(), suspects.len(), named) {
        (Some(suspect), 0, _) => Ok(suspect),
        (Some(_), _, _) => Err(Rejection {
            hint: Some(
                "disconnect all but one, or name the known network where they look like several"
                    .to_owned(),
            ),
            ..Rejection::new("several links are in networks that look like known ones")
        }),
        (None, _, Some(named)) => Err(Rejection {
            hint: Some(HOW_THINGS_STAND.to_owned()),
            ..Rejection::new(format!(
                "no link is in a network that looks like {named} and differs"
            ))
        }),
        (None, ..) => Err(Rejection {
            hint: Some(HOW_THINGS_STAND.to_owned()),
            ..Rejection::new("no link is in a network that looks like a known one and differs")
        }),
    }
}

/// What is said about a network has to be found again with it.
fn recognisable(suspect: &Suspect) -> Result<(), Rejection> {
    if suspect.recognisable {
        return Ok(());
    }
    Err(declined(
        "not-recognisable",
        format!(
            "the network on {} shows nothing that it would be told apart by: no router of its own address",
            suspect.link
        ),
        "it stays suspect: the resolver that is expected is asked, and nobody else. `zzdot-client networks forget` makes it new, \
         and the one that it looks like too",
    ))
}

fn gone(network: NetworkId) -> Rejection {
    Rejection {
        hint: Some(HOW_THINGS_STAND.to_owned()),
        ..Rejection::new(format!(
            "network {network} changed meanwhile; nothing was changed"
        ))
    }
}

fn declined(reason: &str, message: String, hint: &str) -> Rejection {
    Rejection {
        message,
        hint: Some(hint.to_owned()),
        reason: Some(reason.to_owned()),
    }
}
