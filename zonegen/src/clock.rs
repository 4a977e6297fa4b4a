//! Wall-clock time as DNSSEC sees it, and the floor below which a clock is not believed.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The system clock. A clock before 1970 reads as zero, which every floor refuses.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The 32-bit form of an RRSIG's times, to be compared in serial arithmetic (RFC 4034 §3.1.5).
    pub fn wire(self) -> u32 {
        (self.0 & u64::from(u32::MAX)) as u32
    }

    /// The moment whose wire form is `wire`, as seen from `self`: less than 34 years ahead, and else the last one before.
    ///
    /// Serial arithmetic looks as far ahead as back (RFC 1982), and a clock that is wrong by 74 years makes of a signature
    /// of today one of the next century. Nobody signs that far ahead, and clocks are wrong by any amount.
    pub fn near(self, wire: u32) -> Self {
        const TURN: u64 = 1 << 32;
        const AHEAD: u64 = TURN / 4;
        let ahead = u64::from(wire.wrapping_sub(self.wire()));
        let moment = self.0.saturating_add(ahead);
        match moment.checked_sub(TURN) {
            Some(before) if ahead >= AHEAD => Self(before),
            _ => Self(moment),
        }
    }

    /// `self` plus `span`, in whole seconds; never overflows.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// `self` minus `span`, in whole seconds; not below zero.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        Self(
            time.duration_since(UNIX_EPOCH)
                .map_or(0, |span| span.as_secs()),
        )
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC, such as `2026-08-01T12:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = i64::try_from(self.0)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|date| date.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "second {}", self.0),
        }
    }
}

/// When this program was built (`SOURCE_DATE_EPOCH` where the build sets it).
pub fn build_date() -> UnixTime {
    UnixTime(
        env!("ZZDOT_BUILD_DATE")
            .parse()
            .expect("the build script writes a number"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_undoes_wire_on_both_sides_of_2106() {
        let turn = UnixTime(1 << 32);
        for offset in [-5_i64, -1, 0, 1, 86_400] {
            let time = UnixTime(turn.0.saturating_add_signed(offset));
            assert_eq!(turn.near(time.wire()), time);
        }
    }

    #[test]
    fn a_date_of_today_stays_one_however_wrong_the_clock_is() {
        let today = UnixTime(1_800_000_000);
        for clock in [
            0,
            1_799_000_000,
            1_801_000_000,
            4_102_444_800,
            5_000_000_000,
        ] {
            assert_eq!(UnixTime(clock).near(today.wire()), today, "{clock}");
        }
    }

    #[test]
    fn time_is_shown_in_utc() {
        assert_eq!(UnixTime(86_400).to_string(), "1970-01-02T00:00:00Z");
    }

    #[test]
    fn the_build_date_is_in_the_past() {
        assert!(build_date() <= UnixTime::now());
    }
}
