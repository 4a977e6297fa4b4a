//! polkit, over the system bus: `org.freedesktop.PolicyKit1.Authority.CheckAuthorization`.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;
use zbus::zvariant::Value;
use zbus::{Connection, Proxy};

use super::ACTION;
use crate::control::Caller;

/// How long a person has to type a password.
pub const PATIENCE: Duration = Duration::from_secs(120);

const SERVICE: &str = "org.freedesktop.PolicyKit1";
const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";
const INTERFACE: &str = "org.freedesktop.PolicyKit1.Authority";
/// polkit may ask a person for a password.
const ALLOW_USER_INTERACTION: u32 = 1;

/// Why a caller may not.
#[derive(Debug, thiserror::Error)]
pub enum PolkitError {
    /// polkit says no, or the person did not type the password.
    #[error("not authorised to change whom this machine trusts")]
    Denied,
    /// A password would have helped, and there is nobody to ask for it.
    #[error(
        "not authorised to change whom this machine trusts: a password is needed, and no agent asks for it"
    )]
    Challenge,
    /// The system bus or polkit is not there.
    #[error(
        "only root may change whom this machine trusts: polkit cannot be asked about others: {0}"
    )]
    Gone(#[from] zbus::Error),
    /// Nobody typed anything.
    #[error("not authorised to change whom this machine trusts: nobody answered in time")]
    Silent,
    /// The kernel does not say which process asks.
    #[error("only root may change whom this machine trusts: the caller is in another namespace")]
    Nobody,
}

/// What polkit answers: authorised, a challenge would help, details.
type Answer = (bool, bool, HashMap<String, String>);

/// Asks polkit whether `caller` may; a person may be asked for a password meanwhile.
pub(super) async fn check(caller: Caller, what: &str) -> Result<(), PolkitError> {
    let pid = caller.pid.and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.filter(|pid| *pid != 0).ok_or(PolkitError::Nobody)?;
    let asked = timeout(PATIENCE, ask(caller.uid, pid, what)).await;
    let (authorised, challenge, _) = asked.map_err(|_| PolkitError::Silent)??;
    match (authorised, challenge) {
        (true, _) => Ok(()),
        (false, true) => Err(PolkitError::Challenge),
        (false, false) => Err(PolkitError::Denied),
    }
}

async fn ask(uid: u32, pid: u32, what: &str) -> zbus::Result<Answer> {
    let bus = Connection::system().await?;
    let authority = Proxy::new(&bus, SERVICE, PATH, INTERFACE).await?;
    // The user is the kernel's word at the time of connecting. polkit compares it with the process that
    // has this number now, so that nobody profits from taking over the number. It looks up the start
    // time itself: other users' processes may be hidden from this one.
    let subject = HashMap::from([
        ("pid", Value::U32(pid)),
        ("start-time", Value::U64(0)),
        ("uid", Value::I32(uid.cast_signed())),
    ]);
    let details = HashMap::from([
        ("what", what),
        // `$(what)` is put in by polkit.
        (
            "polkit.message",
            "Authentication is needed to change whom this computer trusts with its DNS: $(what)",
        ),
    ]);
    let arguments = (
        ("unix-process", subject),
        ACTION,
        details,
        ALLOW_USER_INTERACTION,
        "",
    );
    authority.call("CheckAuthorization", &arguments).await
}
