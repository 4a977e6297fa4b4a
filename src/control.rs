//! What the running appliance answers on its control socket.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Mutex;
use zzdot_client::control::{Caller, Rejection, Request};
use zzdot_zonegen::exit::Failure;

use crate::{appliance::Appliance, command::flush, rollover};

/// The appliance while it runs; taken out when it stops.
pub type Shared = Arc<Mutex<Option<Appliance>>>;

/// Answers one request of `caller`. The socket's mode says who may ask; keys are replaced, and upstreams forgotten,
/// for root and for the user that zzdot runs as alone.
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
        "identity" => appliance.summary().map_err(rejection),
        "flush" => match request.text("name").map(flush::parse) {
            None => Ok(appliance.flush(None)),
            Some(Some(name)) => Ok(appliance.flush(Some(&name))),
            Some(None) => Err(Rejection::new(
                "what is to be forgotten is not a domain name",
            )),
        },
        "upstreams" => Ok(appliance.upstreams()),
        "forget-upstream" => {
            let name = request.text("name").and_then(|name| name.parse().ok());
            let Some(name) = name else {
                return Err(Rejection::new("who is to be forgotten is not named"));
            };
            let forgotten = appliance.forget_upstream(&name).await;
            forgotten.map_err(|error| Rejection::new(error.to_string()))
        }
        "rotate" => {
            let done =
                rollover::rotation(&request).and_then(|rotation| appliance.rotate(&rotation));
            done.map_err(rejection)
        }
        _ => Err(Rejection::unknown_command(&request)),
    }
}

fn rejection(failure: Failure) -> Rejection {
    Rejection {
        message: failure.message,
        hint: failure.hint,
        reason: None,
    }
}

/// Whether `caller` may have this from a daemon that runs as the user `own`.
fn may(request: &Request, caller: Caller, own: u32) -> Result<(), Rejection> {
    let what = match request.command.as_str() {
        "rotate" => "keys are replaced",
        "forget-upstream" => "upstreams are forgotten",
        _ => return Ok(()),
    };
    if caller.is_privileged(own) {
        return Ok(());
    }
    tracing::warn!(uid = caller.uid, command = request.command, "declined");
    Err(Rejection {
        hint: Some("try with sudo".to_owned()),
        ..Rejection::new(format!(
            "{what} for root alone, and for the user that zzdot runs as"
        ))
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
        for command in ["status", "identity", "flush", "upstreams"] {
            assert!(granted(command, 1000), "{command}");
        }
        for command in ["rotate", "forget-upstream"] {
            assert!(granted(command, 0) && granted(command, 998));
            assert!(!granted(command, 1000) && !granted(command, 65534));
        }
    }
}
