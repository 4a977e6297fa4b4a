//! What is told to everybody on this machine.

use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::BinEncodable;
use serde_json::{Value, json};

use super::Household;
use crate::comparison::phrase_of;
use crate::control::{Rejection, Request};
use crate::place::Place;
use crate::places::Wanted;
use crate::store::{KnownNetwork, Pending, Store, WhyPending};
use crate::trust::{KnownIdentity, TrustState};
use crate::upstream::describe_all;

/// Who asks whom. Everybody on this machine may know whose eyes his questions pass.
pub(super) async fn trace(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let name = request.text("name").map(wanted).transpose()?;
    match household.trace(name).await {
        Ok(trace) => Ok(json!(trace)),
        Err(untraceable) => Err(Rejection {
            hint: Some("`zzdot-client status` and `zzdot-client doctor` tell more".to_owned()),
            reason: untraceable.reason().map(str::to_owned),
            ..Rejection::new(untraceable.to_string())
        }),
    }
}

fn wanted(text: &str) -> Result<Wanted, Rejection> {
    let name = Name::from_utf8(text).and_then(|name| name.to_bytes());
    let text = text.chars().take(300).collect();
    match name {
        Ok(wire) => Ok(Wanted { text, wire }),
        Err(error) => Err(Rejection::new(format!("{text} is no name: {error}"))),
    }
}

pub(super) fn resolvers(household: &impl Household) -> Value {
    match household.store() {
        Some(store) => describe_all(store),
        None => json!({ "resolvers": [] }),
    }
}

/// Everybody about whom a person can decide: who waits, and who is used and not verified.
pub(super) fn pending(household: &impl Household) -> Value {
    let Some(store) = household.store() else {
        return json!({ "pending": [], "enrolled": [] });
    };
    let waiting: Vec<Pending> = store.pending();
    let waits = |known: &KnownIdentity| {
        let same = |waiting: &Pending| waiting.identity.name == known.name;
        waiting.iter().any(same)
    };
    let in_use = store.identities();
    let unverified = in_use
        .iter()
        .filter(|known| known.state == TrustState::Provisional && !waits(known))
        .map(|known| unverified(store, known));
    let told: Vec<Value> = waiting
        .iter()
        .map(|pending| waiting_one(store, pending))
        .chain(unverified)
        .collect();
    let enrolled = store.all_enrolled().into_iter().map(|enrolled| {
        json!({ "name": enrolled.name, "ds": enrolled.ds, "by": enrolled.by, "at": enrolled.at.to_string() })
    });
    json!({ "pending": told, "enrolled": enrolled.collect::<Vec<_>>() })
}

fn waiting_one(store: &Store, pending: &Pending) -> Value {
    let mut told = common(&pending.identity);
    told["why"] = pending.why.name().into();
    match &pending.why {
        WhyPending::FirstUse => {}
        WhyPending::Mismatch { expected } => {
            told["expected"] = json!(expected);
            let known = store.identity(expected);
            told["expected-since"] = json!(known.map(|known| known.first_seen.to_string()));
        }
        WhyPending::Changed { differs } => told["differs"] = json!(differs),
    }
    told["since"] = json!(pending.since.to_string());
    told["server"] = json!(pending.server);
    told["network"] = network_of(store, pending.surroundings.place);
    told
}

fn unverified(store: &Store, known: &KnownIdentity) -> Value {
    let mut told = common(known);
    told["why"] = "unverified".into();
    told["since"] = json!(known.first_seen.to_string());
    told["server"] = json!(store.servers_of(&known.name).first());
    let networks = store.networks();
    let network = networks
        .iter()
        .find(|network| network.expects == known.name);
    told["network"] = network.map_or(Value::Null, short);
    told
}

fn common(identity: &KnownIdentity) -> Value {
    let phrase = phrase_of(identity);
    json!({
        "name": identity.name,
        "why": null,
        "trust": identity.state,
        "phrase": phrase.map(|phrase| phrase.to_string()),
        "phrase-digits": phrase.map(|phrase| phrase.digits()),
        "endpoint": identity.endpoint,
    })
}

fn network_of(store: &Store, place: Place) -> Value {
    match place {
        Place::Server(_) => Value::Null,
        Place::Network(id) => match store.network(id) {
            Some(network) => short(&network),
            None => json!({ "id": id, "label": null }),
        },
    }
}

fn short(network: &KnownNetwork) -> Value {
    json!({ "id": network.id, "label": network.label })
}

/// All networks; of their signals the kinds only.
pub(super) fn networks(household: &impl Household) -> Value {
    let networks = household.store().map(|store| store.networks());
    let told = networks.into_iter().flatten().map(|network| {
        json!({
            "id": network.id,
            "label": network.label,
            "expects": network.expects,
            "server": network.server,
            "endpoint": network.endpoint,
            "recognised-by": network.signals.0.keys().collect::<Vec<_>>(),
            "first-seen": network.first_seen.to_string(),
            "confirmed": network.confirmed.to_string(),
        })
    });
    let told: Vec<Value> = told.collect();
    let separated = household.store().map(|store| store.separated());
    let separated = separated.into_iter().flatten().map(|separated| {
        json!({
            "id": separated.id,
            "separated-from": separated.from,
            "recognised-by": separated.signals.0.keys().collect::<Vec<_>>(),
            "since": separated.at.to_string(),
        })
    });
    json!({ "networks": told, "separated": separated.collect::<Vec<_>>() })
}
