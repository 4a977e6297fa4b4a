//! What the running appliance answers on its control socket.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Mutex;
use zzdot_client::control::{Caller, Rejection, Request};

use crate::{appliance::Appliance, command::flush, rollover};

/// The appliance while it runs; taken out when it stops.
pub type Shared = Arc<Mutex<Option<Appliance>>>;

/// Answers one request of `caller`. The socket's mode says who may ask; keys are replaced for root and for the user that
/// zzdot runs as alone.
pub async fn handle(
    appliance: Shared,
    request: Request,
    caller: Caller,
) -> Result<Value, Rejection> {
    may(&request, caller, nix::unistd::geteuid().as_raw())?;
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

/// Whether `caller` may have this from a daemon that runs as the user `own`.
fn may(request: &Request, caller: Caller, own: u32) -> Result<(), Rejection> {
    if request.command != "rotate" || caller.is_privileged(own) {
        return Ok(());
    }
    tracing::warn!(uid = caller.uid, "declined to replace a key");
    Err(Rejection {
        hint: Some("try with sudo".to_owned()),
        ..Rejection::new("keys are replaced for root alone, and for the user that zzdot runs as")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_at_the_socket_asks_and_few_replace_keys() {
        let granted = |command, uid| {
            let caller = Caller { uid, pid: None };
            may(&Request::new(command), caller, 998).is_ok()
        };
        for command in ["status", "identity", "flush"] {
            assert!(granted(command, 1000), "{command}");
        }
        assert!(granted("rotate", 0) && granted("rotate", 998));
        assert!(!granted("rotate", 1000) && !granted("rotate", 65534));
    }
}
