//! The desktop agent: tells a person, in the session, about whom to decide, and of networks that want people to log in first.
//!
//! It belongs to a user and has no power at all: it asks the daemon what everybody may ask, and shows it. A notification has no
//! button that trusts anybody: what is to be typed stands on the resolver's own screen, and nowhere else.

mod desktop;
mod notice;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use serde_json::Value;
use zbus::Connection;
use zbus::fdo::{RequestNameFlags, RequestNameReply};
use zzdot_zonegen::exit::Failure;

use desktop::Desktop;
use notice::{Act, Shown, notices};

/// The name on the session bus by which there is one agent in a session.
pub const BUS_NAME: &str = "org.zzdot.client.Agent";
/// Pause before a daemon that is not running, or a desktop that shows nothing yet, is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no session bus, or it is gone.
    #[error("the session bus cannot be used: {0}")]
    Bus(#[from] zbus::Error),
    /// The session ended.
    #[error("the session bus is gone")]
    Gone,
    /// One is enough.
    #[error("another agent is running in this session")]
    Another,
}

/// Runs until the session bus goes away. `ask` asks the daemon who is pending, and of portals, and returns when that is news to
/// whoever knows what it is given; that the daemon is not running is no failure, it may be later.
///
/// # Errors
/// [`AgentError`].
pub async fn run<F>(ask: impl Fn(Option<String>) -> F) -> Result<(), AgentError>
where
    F: Future<Output = Result<Option<Value>, Failure>>,
{
    let bus = Connection::session().await?;
    // Not queued: whoever came first stays.
    let flags = RequestNameFlags::DoNotQueue.into();
    match bus.request_name_with_flags(BUS_NAME, flags).await {
        Ok(RequestNameReply::PrimaryOwner) => {}
        Ok(_) | Err(zbus::Error::NameTaken) => return Err(AgentError::Another),
        Err(error) => return Err(error.into()),
    }
    let desktop = Desktop::new(&bus).await?;
    let mut end = pin!(desktop.end());
    let mut shown = Shown::default();
    // What all of it was shown of.
    let mut known = None;
    loop {
        let told = tokio::select! {
            () = &mut end => return Err(AgentError::Gone),
            told = ask(known.take()) => told,
        };
        match told {
            Ok(Some(told)) if follow(&desktop, &mut shown, &told).await => {
                known = told["news"].as_str().map(str::to_owned);
            }
            Ok(Some(_)) => {}
            // Whoever was shown may still wait.
            Ok(None) => tracing::debug!("the daemon is not running"),
            Err(failure) => tracing::debug!(%failure, "the daemon cannot be asked"),
        }
        if known.is_none() {
            tokio::select! {
                () = &mut end => return Err(AgentError::Gone),
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// Shows who is new, and takes away who is decided; false where something could not be shown.
async fn follow(desktop: &Desktop, shown: &mut Shown, told: &Value) -> bool {
    let mut all = true;
    for act in shown.compare(notices(told)) {
        match act {
            Act::Show(notice) => match desktop.show(&notice).await {
                Ok(id) => shown.is_shown(&notice, id),
                // Nobody shows notifications yet: tried again.
                Err(error) => {
                    all = false;
                    tracing::warn!(%error, "nothing can be shown");
                }
            },
            Act::Close(id) => {
                if let Err(error) = desktop.close(id).await {
                    tracing::debug!(%error, "a notification is gone already");
                }
            }
        }
    }
    all
}
