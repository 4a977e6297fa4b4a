//! Finds the running zzdot and asks it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use zzdot_client::control::{self, ControlError, Request};
use zzdot_zonegen::exit::{Exit, Failure};

use super::Place;
use crate::{
    config::{ConfigError, Environment, Paths},
    error,
};

/// Where the packaged service has its socket.
const SERVICE_SOCKET: &str = "/run/zzdot/control.sock";

/// Asks the daemon that the command line means: the one of the folder or file named, or else the
/// one of this user, or else the service.
pub(super) async fn ask(place: &Place, request: &Request) -> Result<Value, Failure> {
    let mut last = None;
    for socket in sockets(place)? {
        match control::call(&socket, request).await {
            Ok(answer) => return Ok(answer),
            Err(error @ ControlError::NotRunning { .. }) => {
                last.get_or_insert(error);
            }
            Err(error) => return Err(failure(error)),
        }
    }
    Err(last.map_or_else(
        || Failure::new(Exit::CannotRun, "no control socket is known"),
        failure,
    ))
}

fn sockets(place: &Place) -> Result<Vec<PathBuf>, Failure> {
    let paths = Paths::load(
        place.config.as_deref(),
        place.state_dir.as_deref(),
        &Environment::of_process(),
    );
    match paths {
        Ok(paths) if names_a_place(place, &paths) => Ok(vec![paths.control_socket]),
        Ok(paths) => Ok(vec![paths.control_socket, Path::new(SERVICE_SOCKET).into()]),
        Err(ConfigError::NoStateDir) => Ok(vec![Path::new(SERVICE_SOCKET).into()]),
        Err(error) => Err(error::of_config(error)),
    }
}

/// Whether the command line or its file say where the daemon's folder or socket is. The service manager names those of
/// the service, and its configuration file need not.
fn names_a_place(place: &Place, paths: &Paths) -> bool {
    let unnamed = Paths::load(None, None, &Environment::of_process());
    place.state_dir.is_some()
        || unnamed.map_or(true, |unnamed| {
            unnamed.control_socket != paths.control_socket
        })
}

fn failure(error: ControlError) -> Failure {
    let hint = match &error {
        ControlError::NotRunning { .. } => {
            Some("start it with \"zzdot serve\", or name its folder with --state-dir".to_owned())
        }
        ControlError::Rejected(rejection) => rejection.hint.clone(),
        _ => None,
    };
    let failure = Failure::new(Exit::CannotRun, error.to_string());
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
