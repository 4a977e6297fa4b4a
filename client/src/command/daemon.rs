//! Finding the daemon, for the tools.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use zzdot_zonegen::exit::{Exit, Failure};

use super::cannot_run;
use crate::authority;
use crate::config::{Config, control_socket, state_dir};
use crate::control::{CONTROL_IDLE, ControlError, Rejection, Request, call_patiently};
use crate::orders::{AtRest, carry_out};
use crate::store::Store;

/// Where the packaged service keeps its socket.
const SERVICE_SOCKET: &str = "/run/zzdot-client/control.sock";

/// Somebody types a password, and the daemon does the rest.
const PATIENCE: Duration = authority::PATIENCE.saturating_add(CONTROL_IDLE);

/// Which daemon, and whose memory.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The daemon's configuration file, for its state folder and control socket
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The daemon's state folder
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Place {
    /// The state folder by the rules of the daemon.
    pub(super) fn state_dir(&self) -> Result<PathBuf, Failure> {
        let config = self.config()?;
        let configured = config
            .as_ref()
            .and_then(|config| config.state_dir.as_deref());
        state_dir(self.state_dir.as_deref(), configured)
    }

    /// What is wrong with the configuration file, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        self.config().map(drop).map_err(|failure| failure.message)
    }

    fn config(&self) -> Result<Option<Config>, Failure> {
        self.config
            .as_deref()
            .map(Config::load)
            .transpose()
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    }

    /// Asks the daemon; none when none is running.
    pub(super) async fn ask(&self, request: &Request) -> Result<Option<Value>, Failure> {
        self.ask_patiently(request, CONTROL_IDLE).await
    }

    /// Has an order carried out: by the daemon, where somebody may have to type a password first, or on what is
    /// remembered where none is running. `fresh` is an order that makes sense before the first use.
    pub(super) async fn order(&self, request: &Request, fresh: bool) -> Result<Value, Failure> {
        if let Some(reply) = self.ask_patiently(request, PATIENCE).await? {
            return Ok(reply);
        }
        let folder = self.state_dir()?;
        let is_roots = nix::unistd::geteuid().is_root()
            && std::env::var_os("STATE_DIRECTORY").is_none_or(|value| value.is_empty())
            && self.may_be_the_service()?;
        if is_roots && !Store::exists(&folder) {
            return Err(nobodys_memory());
        }
        let store = match fresh || Store::exists(&folder) {
            true => Some(Arc::new(Store::open(&folder)?.0)),
            false => None,
        };
        carry_out(&AtRest(store), request).await.map_err(declined)
    }

    /// Has the daemon, which has to be running, carry out an order for which somebody may have to type a password.
    pub(super) async fn order_running(&self, request: &Request) -> Result<Value, Failure> {
        let reply = self.ask_patiently(request, PATIENCE).await?;
        reply.ok_or_else(not_running)
    }

    async fn ask_patiently(
        &self,
        request: &Request,
        patience: Duration,
    ) -> Result<Option<Value>, Failure> {
        let config = self.config()?;
        let configured = config
            .as_ref()
            .and_then(|config| config.control_socket.as_deref());
        let may_be_the_service = configured.is_none() && self.may_be_the_service()?;
        let mut sockets = match self.state_dir() {
            Ok(folder) => vec![control_socket(configured, &folder)],
            Err(_) if may_be_the_service => Vec::new(),
            Err(failure) => return Err(failure),
        };
        if may_be_the_service {
            sockets.push(PathBuf::from(SERVICE_SOCKET));
        }
        for socket in sockets {
            match call_patiently(&socket, request, patience).await {
                Ok(value) => return Ok(Some(value)),
                Err(ControlError::NotRunning { .. }) => {}
                Err(ControlError::Rejected(rejection)) => return Err(declined(rejection)),
                Err(error) => {
                    return Err(cannot_run(error.to_string())
                        .with_hint("the socket belongs to the daemon's user: try as root"));
                }
            }
        }
        Ok(None)
    }

    /// Whether nothing says whose memory is meant: the service manager names the service's folders, and its configuration
    /// file need not.
    fn may_be_the_service(&self) -> Result<bool, Failure> {
        let config = self.config()?;
        let configured = config.is_some_and(|config| config.state_dir.is_some());
        Ok(!configured && self.state_dir.is_none())
    }

    /// Asks the daemon, which has to be running.
    pub(super) async fn ask_running(&self, request: &Request) -> Result<Value, Failure> {
        self.ask(request).await?.ok_or_else(not_running)
    }
}

/// For root: what would be written below its own home no daemon reads, and what is not there the service may well know.
fn nobodys_memory() -> Failure {
    cannot_run("the daemon is not running, and nothing says whose memory this is about").with_hint(
        "start the service and try again, or name another memory with --config or --state-dir",
    )
}

fn not_running() -> Failure {
    cannot_run("the daemon is not running")
        .with_hint("start it with `zzdot-client run`, or name its --config or --state-dir")
}

fn declined(rejection: Rejection) -> Failure {
    Failure {
        exit: match rejection.reason {
            Some(_) => Exit::Distrust,
            None => Exit::CannotRun,
        },
        message: rejection.message,
        hint: rejection.hint,
    }
}
