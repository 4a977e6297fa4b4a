//! What is carried from one computer to another.

use serde_json::{Value, json};
use zzdot_zonegen::clock::UnixTime;

use super::{Household, change, rejection, store};
use crate::control::{Rejection, Request};
use crate::store::Exported;

/// Everybody who is known, as the text of a file.
pub(super) fn export(household: &impl Household) -> Result<Value, Rejection> {
    let exported = store(household)?.export();
    let text = exported
        .text()
        .map_err(|error| Rejection::new(error.to_string()))?;
    Ok(json!({ "export": text }))
}

/// Takes over all of such a text, or nothing.
pub(super) async fn import(
    household: &impl Household,
    request: &Request,
) -> Result<Value, Rejection> {
    let text = request
        .text("export")
        .ok_or_else(|| Rejection::new("what is to be imported? `export` is missing"))?;
    let exported = Exported::read(text).map_err(|error| rejection(&error))?;
    let imported = change(household, move |store| {
        store.import(&exported, UnixTime::now())
    })
    .await?;
    Ok(json!(imported))
}
