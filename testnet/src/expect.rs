//! What cases expect, at once or in time.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;

use crate::{
    process::POLL,
    story::{self, Failure, Told},
};

/// Plays a case that needs root, for this reason. On failure the logs of all programs in `folder` are shown.
pub(crate) fn play_as_root(reason: &str, folder: &Path, play: impl FnOnce() -> Told) -> Told {
    if !geteuid().is_root() {
        let cure = "mend it with: sudo --preserve-env=PATH,HOME scripts/test";
        return Err(Failure::new(format!("{reason}; {cure}")));
    }
    let told = play();
    if told.is_err() {
        story::show_logs(folder);
    }
    told
}

/// Fails with these words where something does not hold.
pub(crate) fn ensure(holds: bool, otherwise: &str) -> Told {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(otherwise))
    }
}

/// Waits until something holds.
pub(crate) fn within(
    patience: Duration,
    awaited: &str,
    mut holds: impl FnMut() -> Result<bool, Failure>,
) -> Told {
    let deadline = Instant::now() + patience;
    while !holds()? {
        if Instant::now() >= deadline {
            let seconds = patience.as_secs();
            return Err(Failure::new(format!("not within {seconds} s: {awaited}")));
        }
        thread::sleep(POLL);
    }
    Ok(())
}
