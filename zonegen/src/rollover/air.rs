//! How long the zones have been there to be seen.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;

/// The most that one look at the clock adds: whoever was off for a month was not seen for a month.
pub const MOST_PER_LOOK: Duration = Duration::from_secs(24 * 3600);

/// Counts the time during which the zones were served. Every wait of a roll-over is counted by it: what a validator
/// must have had time to see, it cannot have seen while the server was off. A device that is switched on every day
/// counts in full, and a clock that jumps by a century adds a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AirClock {
    /// Seconds counted so far.
    pub secs: u64,
    /// When the system clock was last looked at.
    pub until: UnixTime,
}

impl AirClock {
    /// A clock that starts now.
    pub fn start(now: UnixTime) -> Self {
        Self {
            secs: 0,
            until: now,
        }
    }

    /// Counts the time since the last look. A system clock that fell back adds nothing.
    #[must_use]
    pub fn at(self, now: UnixTime) -> Self {
        let passed = now.0.saturating_sub(self.until.0);
        Self {
            secs: self.secs + passed.min(MOST_PER_LOOK.as_secs()),
            until: now,
        }
    }

    /// How long ago the reading `mark` was.
    pub fn since(self, mark: u64) -> Duration {
        Duration::from_secs(self.secs.saturating_sub(mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_off_the_air_and_jumps_of_the_clock_count_a_day_at_the_most() {
        let day = MOST_PER_LOOK.as_secs();
        let air = AirClock::start(UnixTime(1000)).at(UnixTime(1060));
        assert_eq!(air.secs, 60);
        let air = air.at(UnixTime(1060 + 40 * day));
        assert_eq!(air.secs, 60 + day);
        // Back again after a moment in a wrong future.
        let air = air.at(UnixTime(1120));
        assert_eq!(air.secs, 60 + day);
        assert_eq!(air.at(UnixTime(1180)).secs, 120 + day);
        assert_eq!(air.since(day), Duration::from_secs(60));
    }
}
