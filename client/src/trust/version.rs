//! How new a resolver's zones are: what may only rise.

use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;

/// How new a zone is: what may only rise (protocol, "Change over time", roll-back).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ZoneVersion {
    /// SOA serial, compared in serial arithmetic (RFC 1982).
    pub serial: u32,
    /// Inception of the signature over the SOA.
    pub inception: UnixTime,
    /// When this was first accepted. What a cache fetched before then may be older.
    pub accepted: UnixTime,
}

/// The versions of a resolver's two zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ZoneVersions {
    /// Of `resolver-name.arpa`.
    pub anchor_zone: ZoneVersion,
    /// Of the zone of the resolver's name.
    pub name_zone: ZoneVersion,
}

impl ZoneVersion {
    /// Whether this is older than `accepted`, in serial or in inception.
    #[must_use]
    pub fn is_older_than(&self, accepted: &Self) -> bool {
        let ahead = accepted.serial.wrapping_sub(self.serial).cast_signed();
        ahead > 0 || self.inception < accepted.inception
    }

    /// How this compares with the version `held`, when it spent `in_caches` seconds there.
    ///
    /// A copy out of a cache may be older for as long as caches may keep it: when it was fetched
    /// before the newer version was accepted. The age is what the record's time-to-live claims,
    /// which nobody signs, but it is never more than the time-to-live that is signed.
    pub(crate) fn age_against(&self, held: &Self, in_caches: u32) -> Age {
        if !self.is_older_than(held) {
            return Age::Fresh;
        }
        if self.accepted.0.saturating_sub(u64::from(in_caches)) < held.accepted.0 {
            return Age::Stale;
        }
        Age::RolledBack(if self.inception < held.inception {
            format!("signed at {}, before {}", self.inception, held.inception)
        } else {
            format!("serial {}, before {}", self.serial, held.serial)
        })
    }

    /// `seen` where it is newer, and in no respect older, than what was accepted so far.
    pub(super) fn raised_to(self, seen: Self) -> Self {
        let serial_rises = seen.serial.wrapping_sub(self.serial).cast_signed() > 0;
        let rises = serial_rises || seen.inception > self.inception;
        if rises && !seen.is_older_than(&self) {
            seen
        } else {
            self
        }
    }
}

/// How a zone's version compares with the newest accepted before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// As new or newer.
    Fresh,
    /// Older, and out of a cache.
    Stale,
    /// Older, and no cache can be the reason.
    RolledBack(String),
}
