//! How the errors of the parts end the program: exit code, message, and what would help.

use std::io;

use zzdot_zonegen::exit::{Exit, Failure};

use crate::{config::ConfigError, listen::ListenError, resolve::BuildError};

/// A configuration that cannot be used.
pub fn of_config(error: ConfigError) -> Failure {
    let hint = match &error {
        ConfigError::NoStateDir => Some("name a folder with --state-dir"),
        _ => None,
    };
    with_hint(Failure::new(Exit::Usage, error.to_string()), hint)
}

/// A source of answers that the configuration describes and that cannot be had.
pub fn of_source(error: BuildError) -> Failure {
    match error {
        // Nothing is wrong with the configuration.
        BuildError::Store(error) => error.into(),
        error => Failure::new(Exit::Usage, error.to_string()),
    }
}

/// A socket that cannot be served.
pub fn of_listening(error: ListenError) -> Failure {
    let hint = match &error {
        ListenError::Bind { source, .. } => hint_of(source.kind()),
        _ => None,
    };
    with_hint(Failure::new(Exit::CannotRun, error.to_string()), hint)
}

fn hint_of(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::AddrInUse => Some(
            "another program serves there; \"ss -lntup\" names it; stop it, or choose other \
             addresses in [listen]",
        ),
        io::ErrorKind::PermissionDenied => Some(
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE or sockets passed in by \
             the service manager; or choose other ports in [listen]",
        ),
        io::ErrorKind::AddrNotAvailable => {
            Some("this host does not have that address; correct it in [listen]")
        }
        _ => None,
    }
}

fn with_hint(failure: Failure, hint: Option<&str>) -> Failure {
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
