//! Stays in front: whenever something changes that may lead past this program, it is put right at once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::steps::again;
use crate::host::Places;
use crate::host::watch::Signs;

/// Between two looks: what comes in between is seen by the second one. Longer each time while somebody undoes what was
/// done: neither of the two is to keep the machine busy.
const BETWEEN: Duration = Duration::from_millis(20);
const BETWEEN_MAX: Duration = Duration::from_secs(2);
/// Without any sign.
const ROUND: Duration = Duration::from_secs(60);
/// After somebody could not be told.
const AGAIN: Duration = Duration::from_secs(2);
/// resolved is restarted for another search list no more often: whoever runs a network can change that at will, and a
/// service that is restarted too often is given up.
const RESTART_EVERY: Duration = Duration::from_secs(60);

/// For ever. Does nothing while this machine is not asked to ask us: who is put back stays back.
pub async fn follow(places: &Places, listen: &[SocketAddr]) {
    let mut signs = Signs::new(places).await;
    let mut restarted: Option<Instant> = None;
    let mut between = BETWEEN;
    loop {
        let now = Instant::now();
        let calm = restarted.is_some_and(|at| now < at + RESTART_EVERY);
        let wait = match again(places, listen, calm).await {
            Ok(applied) => {
                for note in &applied.notes {
                    tracing::warn!("{note}");
                }
                if applied.restarted {
                    restarted = Some(now);
                }
                between = match applied.touched {
                    true => (between * 2).min(BETWEEN_MAX),
                    false => BETWEEN,
                };
                match (applied.notes.is_empty(), calm) {
                    (false, _) => AGAIN,
                    (true, true) => RESTART_EVERY,
                    (true, false) => ROUND,
                }
            }
            Err(error) => {
                tracing::error!(%error, "not in front of all");
                AGAIN
            }
        };
        let _ = timeout(wait, signs.next()).await;
        sleep(between).await;
    }
}
