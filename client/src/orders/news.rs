//! What a person is told without asking: one order that waits until there is news.

use std::time::Duration;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{Household, tell};
use crate::control::{Rejection, Request};
use crate::store::Changes;

/// How long it waits: less than whoever asks does.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks at what nobody tells of: a portal opens, and its time passes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// About whom a person can decide, and whether a network wants people to log in: as soon as that is something else than what
/// is `known`, which is the `news` of an earlier reply; and after a while in any case.
pub(super) async fn news(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let known = request.text("known");
    let deadline = Instant::now() + PATIENCE;
    // Before anything is looked at: what changes meanwhile is told.
    let mut memory = household.store().map(|store| store.changes());
    loop {
        let mut told = tell::pending(household);
        let portal = &household.status()["portal"];
        told["portal"] = json!({ "open": portal["open"], "address": portal["address"] });
        let news = HEXLOWER.encode(digest(&SHA256, told.to_string().as_bytes()).as_ref());
        let now = Instant::now();
        if known != Some(&*news) || now >= deadline {
            told["news"] = news.into();
            return Ok(told);
        }
        tokio::select! {
            () = changed(memory.as_mut()) => {}
            () = sleep_until(deadline.min(now + LOOK_EVERY)) => {}
        }
    }
}

async fn changed(memory: Option<&mut Changes>) {
    match memory {
        Some(memory) => memory.changed().await,
        None => std::future::pending().await,
    }
}
