//! How long to leave a failing server alone, and whether the machine has been asleep.

use std::time::{Duration, Instant, SystemTime};

/// The pause after the first failure; doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, so that a server that is back is found within a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// By how much the wall clock has to outrun the monotonic one, which stands still in suspension.
const SLEEP_NOTICED: Duration = Duration::from_secs(3);

/// The pause between attempts to connect.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    pub(super) fn on_failure(&mut self, now: Instant) {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(8))
            .min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause);
    }

    /// Connected, which alone says little: a server may accept and hang up, again and again.
    pub(super) fn on_connected(&mut self) {
        self.not_before = None;
    }

    /// The server answered, or there is reason to hope anew.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// When the next attempt may start; none when it may at once.
    pub(super) fn pause(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|not_before| *not_before > now)
    }
}

/// Notices that the machine was suspended, by comparing its two clocks.
#[derive(Debug)]
pub(super) struct SleepWatch {
    monotonic: Instant,
    wall: SystemTime,
}

impl SleepWatch {
    pub(super) fn new(now: Instant, wall: SystemTime) -> Self {
        Self {
            monotonic: now,
            wall,
        }
    }

    /// Whether the machine slept since the last call. A wall clock that was set forward looks the
    /// same; the price is one new connection.
    pub(super) fn slept(&mut self, now: Instant, wall: SystemTime) -> bool {
        let by_monotonic = now.saturating_duration_since(self.monotonic);
        let by_wall = wall.duration_since(self.wall).unwrap_or_default();
        *self = Self::new(now, wall);
        by_wall.saturating_sub(by_monotonic) >= SLEEP_NOTICED
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_success() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.pause(start), None);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            backoff.on_failure(start);
            pauses.push(backoff.pause(start).unwrap() - start);
        }
        let millis: Vec<_> = pauses.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [100, 200, 400, 800, 800, 800]);
        assert_eq!(backoff.pause(start + LONGEST_PAUSE), None);
        backoff.reset();
        assert_eq!(backoff.pause(start), None);
    }

    #[test]
    fn endless_failures_do_not_overflow() {
        let start = Instant::now();
        let mut backoff = Backoff {
            failures: u32::MAX,
            not_before: None,
        };
        backoff.on_failure(start);
        assert_eq!(backoff.pause(start), Some(start + LONGEST_PAUSE));
    }

    #[test]
    fn suspension_is_noticed_and_ordinary_waiting_is_not() {
        let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let second = Duration::from_secs(1);
        let mut watch = SleepWatch::new(start, wall);
        assert!(!watch.slept(start + 600 * second, wall + 600 * second));
        assert!(watch.slept(start + 601 * second, wall + 7000 * second));
        assert!(!watch.slept(start + 602 * second, wall + 7001 * second));
        assert!(!watch.slept(start + 603 * second, wall), "set back");
    }
}
