//! What a person decides: whom to trust, whom not, and which networks to forget.

use serde_json::{Value, json};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::phrase::Phrase;
use zzdot_zonegen::uri::VerificationUri;

use super::{Household, change, named, rejection, store, suspect};
use crate::comparison::{Mismatch, compare_code, find_by_phrase, phrase_of};
use crate::control::{Rejection, Request};
use crate::place::{NetworkId, Place};
use crate::store::{DecisionError, Pending, Store, WhyPending};
use crate::trust::{AnchorDs, Enrolled, KnownIdentity, Verification, VerifiedBy};

/// Longest name of a network, in octets.
const LABEL_BYTES_MAX: usize = 64;

/// Somebody shows the code of a resolver. Who was met is compared with it; who was not is enrolled.
pub(super) async fn verify(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let text = request
        .text("uri")
        .ok_or_else(|| Rejection::new("which code? `uri` is missing"))?;
    let uri: VerificationUri = text
        .trim()
        .parse()
        .map_err(|error: zzdot_zonegen::uri::UriError| Rejection::new(error.to_string()))?;
    let name = uri.name().clone();
    let memory = store(household)?;
    let (known, waiting) = (memory.identity(&name), memory.pending_of(&name));
    let met = known
        .iter()
        .chain(waiting.iter().map(|waiting| &waiting.identity));
    let met: Vec<&KnownIdentity> = met.collect();
    if met.is_empty() {
        let enrolled = enrolment(&uri);
        change(household, move |store| store.enrol(enrolled)).await?;
        return Ok(json!({ "name": name, "outcome": "enrolled" }));
    }
    compare_code(&uri, &met).map_err(|mismatch| declined(&mismatch))?;
    let is_meant = move |identity: &KnownIdentity| compare_code(&uri, &[identity]).is_ok();
    vouch(household, name, VerifiedBy::Uri, is_meant).await
}

/// Somebody compared a phrase with the one on the resolver's own screen, or accepts without one who may be accepted so.
/// A phrase is about the resolver, and says nothing about a network that has changed.
pub(super) async fn approve(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let named_one = match request.text("name") {
        Some(_) => Some(named(request)?),
        None => None,
    };
    let Some(typed) = request.text("phrase") else {
        let name = named_one.ok_or_else(|| {
            Rejection::new("which resolver? neither `name` nor `phrase` is there")
        })?;
        return match store(household)?.pending_of(&name) {
            Some(Pending {
                why: WhyPending::Changed { .. },
                surroundings,
                ..
            }) => accept_changed(household, &name, surroundings.place).await,
            _ => accept_unverified(household, name).await,
        };
    };
    let typed: Phrase = typed
        .parse()
        .map_err(|error: zzdot_zonegen::phrase::PhraseError| Rejection::new(error.to_string()))?;
    let memory = store(household)?;
    let mut met: Vec<KnownIdentity> = memory.pending().into_iter().map(|it| it.identity).collect();
    met.extend(memory.identities());
    let name =
        find_by_phrase(typed, named_one.as_ref(), &met).map_err(|mismatch| declined(&mismatch))?;
    let is_meant = move |identity: &KnownIdentity| phrase_of(identity) == Some(typed);
    vouch(household, name, VerifiedBy::Phrase, is_meant).await
}

/// Takes one away who waits, undecided.
pub(super) async fn dismiss(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let name = named(request)?;
    let who = name.clone();
    let dismissed = change(household, move |store| store.dismiss(&who)).await?;
    Ok(json!({ "name": name, "dismissed": dismissed }))
}

pub(super) async fn forget(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let name = named(request)?;
    let forgotten = household
        .forget(&name)
        .await
        .map_err(|error| Rejection::new(error.to_string()))?;
    Ok(json!({ "forgotten": forgotten }))
}

/// The user's word: never again.
pub(super) async fn revoke(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let name = named(request)?;
    let who = name.clone();
    let revoked = change(household, move |store| store.revoke(&who)).await?;
    Ok(json!({ "name": name, "revoked": revoked }))
}

pub(super) async fn label_network(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let id = network(request)?;
    let label = request.text("label").map(str::to_owned);
    if let Some(label) = &label
        && (label.is_empty() || label.len() > LABEL_BYTES_MAX || label.contains(char::is_control))
    {
        return Err(Rejection::new(format!(
            "a network's name has 1 to {LABEL_BYTES_MAX} octets, and no control characters"
        )));
    }
    let labelled = change(household, move |store| store.label_network(id, label)).await?;
    Ok(json!({ "network": id, "known": labelled }))
}

pub(super) async fn forget_network(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let id = network(request)?;
    let forgotten = change(household, move |store| store.forget_network(id)).await?;
    Ok(json!({ "network": id, "forgotten": forgotten }))
}

pub(super) fn network(request: &Request) -> Result<NetworkId, Rejection> {
    let id = request
        .text("network")
        .ok_or_else(|| Rejection::new("which network? `network` is missing"))?;
    id.parse()
        .map_err(|error: crate::place::NotANetworkId| Rejection::new(error.to_string()))
}

/// Whoever was compared is verified wherever it is known, and accepted where it waits.
async fn vouch(
    household: &impl Household,
    name: ResolverName,
    by: VerifiedBy,
    is_meant: impl FnOnce(&KnownIdentity) -> bool + Send + 'static,
) -> Result<Value, Rejection> {
    let who = name.clone();
    let verification = Verification {
        by,
        at: UnixTime::now(),
    };
    let accepted = change(household, move |store| {
        let waiting = store.pending_of(&who);
        let changed = |pending: &Pending| matches!(pending.why, WhyPending::Changed { .. });
        let waits = waiting.is_some_and(|pending| !changed(&pending));
        match waits {
            true => store.approve_if(&who, Some(verification), is_meant),
            false => store.verify_if(&who, verification, is_meant),
        }
        .map(|_| waits)
    })
    .await?;
    tracing::info!(%name, %by, "a person verified a resolver");
    let outcome = if accepted { "accepted" } else { "verified" };
    Ok(json!({ "name": name, "outcome": outcome, "by": by }))
}

/// Accepts somebody who waits, without anything that was compared: it stays not yet verified. The store declines where
/// another one is expected.
async fn accept_unverified(
    household: &impl Household,
    name: ResolverName,
) -> Result<Value, Rejection> {
    let who = name.clone();
    let accepted = change(
        household,
        move |store: &Store| -> Result<_, DecisionError> { store.approve(&who, None) },
    )
    .await?;
    Ok(json!({ "name": name, "outcome": "accepted", "trust": accepted.state }))
}

/// Accepts a network that has changed, by the name of whom is expected there: what `accept-network` does, with the same
/// proof. What was seen when it began to wait may be an hour old, and the twin's.
async fn accept_changed(
    household: &impl Household,
    name: &ResolverName,
    place: Place,
) -> Result<Value, Rejection> {
    let Place::Network(network) = place else {
        return Err(rejection(&DecisionError::NotProven { name: name.clone() }));
    };
    let mut told = suspect::accept_of(household, Some(network)).await?;
    let known = store(household)?.identity(name);
    told["name"] = json!(name);
    told["outcome"] = "accepted".into();
    told["trust"] = json!(known.map(|known| known.state));
    Ok(told)
}

fn enrolment(uri: &VerificationUri) -> Enrolled {
    let ds = uri.anchors().iter().filter_map(|anchor| {
        Some(AnchorDs {
            tag: anchor.key_tag(),
            algorithm: anchor.algorithm().into(),
            // A code has no digests but those of SHA-256.
            digest: anchor.digest().try_into().ok()?,
        })
    });
    Enrolled {
        name: uri.name().clone(),
        ds: ds.collect(),
        by: VerifiedBy::Uri,
        at: UnixTime::now(),
    }
}

fn declined(mismatch: &Mismatch) -> Rejection {
    Rejection {
        message: mismatch.to_string(),
        hint: mismatch.hint().map(str::to_owned),
        reason: Some(mismatch.name().to_owned()),
    }
}
