//! How often each user is connected, so that none of them keeps the others out. Without IO.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Caller;

/// Connections that one user may have, other than root and the daemon's own: nobody keeps others out.
pub const CONTROL_CONNECTIONS_PER_USER: usize = 4;
/// Who is connected, and how often.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<BTreeMap<u32, usize>>);

/// One connection of one user, as long as this lives.
pub(super) struct Presence {
    crowd: Arc<Crowd>,
    pub(super) caller: Caller,
}

impl Crowd {
    /// None where this user is here often enough.
    pub(super) fn enter(self: &Arc<Self>, caller: Caller, own: u32) -> Option<Presence> {
        let mut connected = self.lock();
        let count = connected.entry(caller.uid).or_default();
        if *count >= CONTROL_CONNECTIONS_PER_USER && !caller.is_privileged(own) {
            return None;
        }
        *count += 1;
        let crowd = Arc::clone(self);
        Some(Presence { crowd, caller })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        // A count is changed in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut connected = self.crowd.lock();
        if let Some(count) = connected.get_mut(&self.caller.uid) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&self.caller.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_user_who_is_there_often_enough_waits_outside() {
        let crowd = Arc::new(Crowd::default());
        let user = |uid| Caller { uid, pid: None };
        let enter = |uid| crowd.enter(user(uid), 998);
        let mut inside: Vec<_> = (0..CONTROL_CONNECTIONS_PER_USER)
            .map(|_| enter(1000).unwrap())
            .collect();
        assert!(enter(1000).is_none());
        assert!(enter(1001).is_some(), "another user");
        for privileged in [0, 998] {
            let all: Vec<_> = (0..10).map(|_| enter(privileged)).collect();
            assert!(all.iter().all(Option::is_some));
        }
        inside.pop();
        assert!(enter(1000).is_some(), "one left");
        drop(inside);
        assert!(crowd.lock().is_empty(), "nobody is counted who is gone");
    }
}
