//! Who may change what is trusted: root, the daemon's own user, and whoever polkit lets. Everybody who
//! reaches the control socket may ask how things stand.
//!
//! The kernel tells who is at the other end (SO_PEERCRED, taken when the connection was made); nothing
//! that the other end says about itself is believed.

mod polkit;

use crate::control::{Caller, Rejection};

pub use polkit::{PATIENCE, PolkitError};

/// The action that polkit is asked about.
pub const ACTION: &str = "org.zzdot.client.approve";

/// What has to be shown for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it tells what anybody on this machine may know.
    Nothing,
    /// It changes what is trusted, or tells where this machine has been.
    Authority,
}

/// What the kernel says about a caller is enough, or it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Enough.
    Granted,
    /// Whether it may is polkit's to say.
    AskPolkit,
}

/// How a caller stands with a daemon that runs as the user `own`.
#[must_use]
pub fn standing(needs: Needs, caller: Caller, own: u32) -> Standing {
    match needs {
        Needs::Nothing => Standing::Granted,
        Needs::Authority if caller.is_privileged(own) => Standing::Granted,
        Needs::Authority => Standing::AskPolkit,
    }
}

/// Lets a caller pass that may do what needs `needs`. `what` is told to the person who has to type a
/// password.
///
/// # Errors
/// Why not, and what would help.
pub async fn authorise(needs: Needs, caller: Caller, what: &str) -> Result<(), Rejection> {
    let own = nix::unistd::geteuid().as_raw();
    if standing(needs, caller, own) == Standing::Granted {
        return Ok(());
    }
    match polkit::check(caller, what).await {
        Ok(()) => {
            tracing::info!(uid = caller.uid, what, "polkit authorised an order");
            Ok(())
        }
        Err(error) => {
            tracing::warn!(uid = caller.uid, what, %error, "an order was declined");
            Err(Rejection {
                hint: Some("root may: try with sudo".to_owned()),
                ..Rejection::new(error.to_string())
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32) -> Caller {
        Caller { uid, pid: Some(1) }
    }

    #[test]
    fn whoever_asks_how_things_stand_is_told() {
        assert_eq!(
            standing(Needs::Nothing, caller(1000), 998),
            Standing::Granted
        );
    }

    #[test]
    fn root_and_the_daemons_user_change_trust_and_others_have_to_be_let() {
        let of = |uid| standing(Needs::Authority, caller(uid), 998);
        assert_eq!(of(0), Standing::Granted);
        assert_eq!(of(998), Standing::Granted);
        assert_eq!(of(1000), Standing::AskPolkit);
        // What the kernel says of users that a user namespace does not know.
        assert_eq!(of(65534), Standing::AskPolkit);
    }
}
