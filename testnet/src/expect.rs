//! What cases expect, at once or in time.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    process::POLL,
    story::{Failure, Told},
};

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
