//! The desktop agent: tells a person, in the session, about whom to decide, and of networks that want people to log in first.
//!
//! It belongs to a user and has no power at all: it asks the daemon what everybody may ask, and shows it. A notification has no
//! button that trusts anybody: what is to be typed stands on the resolver's own screen, and nowhere else.

mod desktop;
mod notice;

use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use zbus::Connection;
use zbus::fdo::{RequestNameFlags, RequestNameReply};
use zzdot_zonegen::exit::Failure;

use desktop::Desktop;
use notice::{Act, Shown, notices};

/// The name on the session bus by which there is one agent in a session.
pub const BUS_NAME: &str = "org.zzdot.client.Agent";
/// How often the daemon is asked: soon enough for somebody who waits for a page.
const EVERY: Duration = Duration::from_secs(2);

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

/// Runs until the session bus goes away. `ask` asks the daemon who is pending, and of portals; that it is not running is no failure, it may be
/// later.
///
/// # Errors
/// [`AgentError`].
pub async fn run<F>(ask: impl Fn() -> F) -> Result<(), AgentError>
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
    let mut shown = Shown::default();
    while !desktop.is_gone() {
        match ask().await {
            Ok(Some(told)) => follow(&desktop, &mut shown, &told).await,
            // Whoever was shown may still wait.
            Ok(None) => tracing::debug!("the daemon is not running"),
            Err(failure) => tracing::debug!(%failure, "the daemon cannot be asked"),
        }
        tokio::time::sleep(EVERY).await;
    }
    Err(AgentError::Gone)
}

/// Shows who is new, and takes away who is decided.
async fn follow(desktop: &Desktop, shown: &mut Shown, told: &Value) {
    for act in shown.compare(notices(told)) {
        match act {
            Act::Show(notice) => match desktop.show(&notice).await {
                Ok(id) => shown.is_shown(&notice, id),
                // Nobody shows notifications yet: tried again the next time.
                Err(error) => tracing::warn!(%error, "nothing can be shown"),
            },
            Act::Close(id) => {
                if let Err(error) = desktop.close(id).await {
                    tracing::debug!(%error, "a notification is gone already");
                }
            }
        }
    }
}
