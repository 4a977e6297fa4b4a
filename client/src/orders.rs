//! What the daemon does and tells when its control socket asks: one function for each order.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Value, json};
use zzdot_zonegen::name::ResolverName;

use crate::authority::{Needs, authorise};
use crate::control::{Caller, Rejection, Request};
use crate::store::{Store, StoreError};
use crate::upstream::describe_all;

/// What orders are about: the daemon, as far as they reach into it.
pub trait Household: Send + Sync {
    /// What it is doing, for `zzdot-client status`.
    fn status(&self) -> Value;

    /// What it remembers; none where the server is configured and nothing has to be remembered.
    fn store(&self) -> Option<&Arc<Store>>;

    /// Forgets an identity in the store and in all sessions; false when it is not known.
    fn forget(&self, name: &ResolverName) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// What has to be shown for a command, and what people are told that it does.
fn needs(request: &Request) -> (Needs, &'static str) {
    match request.command.as_str() {
        "forget" => (Needs::Authority, "forget a resolver"),
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
    match request.command.as_str() {
        "status" => Ok(household.status()),
        "resolvers" => Ok(match household.store() {
            Some(store) => describe_all(store),
            None => json!({ "resolvers": [] }),
        }),
        "forget" => forget(household, request).await,
        _ => Err(Rejection::unknown_command(request)),
    }
}

async fn forget(household: &impl Household, request: &Request) -> Result<Value, Rejection> {
    let name: ResolverName = request
        .text("name")
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| Rejection::new("which resolver? `name` is missing"))?;
    let forgotten = household
        .forget(&name)
        .await
        .map_err(|error| Rejection::new(error.to_string()))?;
    Ok(json!({ "forgotten": forgotten }))
}
