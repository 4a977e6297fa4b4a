//! What the daemon does and tells when its control socket asks: the table of its orders.
//!
//! The tools carry out the same orders on the store themselves where no daemon is running.

mod decide;
mod news;
mod suspect;
mod tell;
mod transfer;

use std::future::Future;
use std::sync::Arc;

use serde_json::{Value, json};
use zzdot_zonegen::name::ResolverName;

use crate::authority::{Needs, authorise};
use crate::chain::draw::{Trace, TracedServer};
use crate::control::{Caller, Rejection, Request};
use crate::places::{Suspect, Wanted};
use crate::store::{DecisionError, Store, StoreError};
use crate::upstream::Untraceable;

/// What orders are about: the daemon, as far as they reach into it.
pub trait Household: Send + Sync {
    /// What it is doing, for `zzdot-client status`.
    fn status(&self) -> Value;

    /// What it remembers; none where the server is configured and nothing has to be remembered.
    fn store(&self) -> Option<&Arc<Store>>;

    /// The links in networks that look like known ones and differ; none where no network is looked at.
    fn suspects(&self) -> Vec<Suspect>;

    /// Looks who asks whom, from this computer to the end, behind the server that would be asked about this name; without
    /// one, behind the server that is asked about most.
    fn trace(
        &self,
        name: Option<Wanted>,
    ) -> impl Future<Output = Result<Trace, Untraceable>> + Send;

    /// The same behind all servers.
    fn trace_all(&self) -> impl Future<Output = Vec<TracedServer>> + Send;

    /// Forgets an identity in the store and in all sessions; false when it is not known.
    fn forget(&self, name: &ResolverName) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// What is remembered while no daemon is running; nothing before the first use.
#[derive(Debug)]
pub struct AtRest(pub Option<Arc<Store>>);

impl Household for AtRest {
    fn status(&self) -> Value {
        Value::Null
    }

    fn store(&self) -> Option<&Arc<Store>> {
        self.0.as_ref()
    }

    fn suspects(&self) -> Vec<Suspect> {
        Vec::new()
    }

    async fn trace(&self, _name: Option<Wanted>) -> Result<Trace, Untraceable> {
        Err(Untraceable::Failed("the daemon is not running".to_owned()))
    }

    async fn trace_all(&self) -> Vec<TracedServer> {
        Vec::new()
    }

    async fn forget(&self, name: &ResolverName) -> Result<bool, StoreError> {
        self.0
            .as_ref()
            .map_or(Ok(false), |store| store.forget(name))
    }
}

/// What has to be shown for a command, and what people are told that it does.
fn needs(request: &Request) -> (Needs, &'static str) {
    match request.command.as_str() {
        "verify" => (Needs::Authority, "vouch for a resolver by its code"),
        "approve" => (Needs::Authority, "accept a resolver"),
        "dismiss" => (Needs::Authority, "dismiss a resolver undecided"),
        "forget" => (Needs::Authority, "forget a resolver"),
        "revoke" => (Needs::Authority, "never use a resolver again"),
        "label-network" => (Needs::Authority, "name a network"),
        "forget-network" => (Needs::Authority, "forget a network"),
        "separate-network" => (
            Needs::Authority,
            "say that this is another network than the known one",
        ),
        "accept-network" => (
            Needs::Authority,
            "say that this is the known network, and its router new",
        ),
        "export" => (Needs::Authority, "tell which resolvers are known"),
        "import" => (Needs::Authority, "take over resolvers of another computer"),
        _ => (Needs::Nothing, ""),
    }
}

/// Does what is asked, if `caller` may ask for it.
///
/// # Errors
/// What the person who asked is told instead.
pub async fn obey(
    household: &impl Household,
    request: &Request,
    caller: Caller,
) -> Result<Value, Rejection> {
    let (needs, what) = needs(request);
    authorise(needs, caller, what).await?;
    carry_out(household, request).await
}

/// Does what is asked, for somebody who may.
///
/// # Errors
/// What the person who asked is told instead.
pub async fn carry_out(household: &impl Household, request: &Request) -> Result<Value, Rejection> {
    match request.command.as_str() {
        "status" => Ok(household.status()),
        "trace" => tell::trace(household, request).await,
        "trace-all" => Ok(json!(household.trace_all().await)),
        "resolvers" => Ok(tell::resolvers(household)),
        "pending" => Ok(tell::pending(household)),
        "networks" => Ok(tell::networks(household)),
        "news" => news::news(household, request).await,
        "verify" => decide::verify(household, request).await,
        "approve" => decide::approve(household, request).await,
        "dismiss" => decide::dismiss(household, request).await,
        "forget" => decide::forget(household, request).await,
        "revoke" => decide::revoke(household, request).await,
        "label-network" => decide::label_network(household, request).await,
        "forget-network" => decide::forget_network(household, request).await,
        "separate-network" => suspect::separate(household, request).await,
        "accept-network" => suspect::accept(household, request).await,
        "export" => transfer::export(household),
        "import" => transfer::import(household, request).await,
        _ => Err(Rejection::unknown_command(request)),
    }
}

/// The store of a daemon that has one.
fn store(household: &impl Household) -> Result<&Arc<Store>, Rejection> {
    household.store().ok_or_else(|| Rejection {
        hint: Some(
            "either nobody was met yet, or `server` names the resolver by tls:// and its key"
                .to_owned(),
        ),
        ..Rejection::new("nothing is remembered here")
    })
}

/// The resolver that a request is about.
fn named(request: &Request) -> Result<ResolverName, Rejection> {
    let name = request
        .text("name")
        .ok_or_else(|| Rejection::new("which resolver? `name` is missing"))?;
    name.parse()
        .map_err(|error| Rejection::new(format!("which resolver? {error}")))
}

/// Changes the store on a thread that may wait for the disk. The sessions follow what is in it.
async fn change<T, E>(
    household: &impl Household,
    change: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
) -> Result<T, Rejection>
where
    T: Send + 'static,
    E: Into<DecisionError> + Send + 'static,
{
    let store = Arc::clone(store(household)?);
    let changed = tokio::task::spawn_blocking(move || change(&store)).await;
    let changed = changed.map_err(|error| Rejection::new(error.to_string()))?;
    changed.map_err(|error| rejection(&error.into()))
}

/// A decision that has no effect, as people are told.
fn rejection(error: &DecisionError) -> Rejection {
    let (reason, hint) = match error {
        DecisionError::NotVerified { .. } => (
            Some("not-verified"),
            Some(
                "look at `zzdot identity --qr` on the resolver that you mean, and accept it by \
                 `zzdot-client approve --phrase` or `zzdot-client verify`; nothing shorter will do",
            ),
        ),
        DecisionError::NotProven { .. } => (
            Some("not-proven"),
            Some(
                "`zzdot-client networks accept`, in that network and with the daemon running, has it prove itself",
            ),
        ),
        DecisionError::Revoked { .. } => (Some("identity-revoked"), None),
        DecisionError::OtherKey { .. } => (
            Some("other-key"),
            Some("somebody has taken over a name: do not go on until it is known who"),
        ),
        DecisionError::Unknown { .. } => (
            None,
            Some("`zzdot-client pending` and `zzdot-client resolvers list` tell who is known"),
        ),
        DecisionError::Full | DecisionError::NotAnExport(_) | DecisionError::Store(_) => {
            (None, None)
        }
    };
    Rejection {
        message: error.to_string(),
        hint: hint.map(str::to_owned),
        reason: reason.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
