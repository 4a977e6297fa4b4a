//! What the running appliance answers on its control socket.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Mutex;
use zzdot_client::control::{Rejection, Request};

use crate::{appliance::Appliance, command::flush, rollover};

/// The appliance while it runs; taken out when it stops.
pub type Shared = Arc<Mutex<Option<Appliance>>>;

/// Answers one request.
pub async fn handle(appliance: Shared, request: Request) -> Result<Value, Rejection> {
    let mut appliance = appliance.lock().await;
    let Some(appliance) = appliance.as_mut() else {
        return Err(Rejection::new("zzdot is stopping"));
    };
    match request.command.as_str() {
        "status" => Ok(appliance.status()),
        "identity" => Ok(appliance.summary()),
        "flush" => match request.text("name").map(flush::parse) {
            None => Ok(appliance.flush(None)),
            Some(Some(name)) => Ok(appliance.flush(Some(&name))),
            Some(None) => Err(Rejection::new(
                "what is to be forgotten is not a domain name",
            )),
        },
        "rotate" => {
            let done =
                rollover::rotation(&request).and_then(|rotation| appliance.rotate(&rotation));
            done.map_err(|failure| Rejection {
                message: failure.message,
                hint: failure.hint,
                reason: None,
            })
        }
        _ => Err(Rejection::unknown_command(&request)),
    }
}
