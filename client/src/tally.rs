//! What became of the questions of this process, over all servers that it asked one after the other or side by side.
//!
//! One for the process, since a server's own counters go with it when the network changes; and these are the numbers that
//! people rely on: how many questions anybody could read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ladder::Rung;

/// The tally of this process.
pub static TALLY: Tally = Tally::new();

/// Every reason for which a question may get no answer: the names of refusals, and of what keeps answers away without
/// anybody's ill will. All are told from the start, so that a reader of numbers knows what there is.
pub const REASONS: [&str; 45] = [
    "alias",
    "anchor-changed",
    "captive-portal",
    "certificate-mismatch",
    "chain-not-encrypted",
    "clock-below-floor",
    "denial-missing",
    "downgraded",
    "handshake-failed",
    "identity-revoked",
    "key-revoked",
    "legacy",
    "malformed-answer",
    "malformed-record",
    "name-changed",
    "name-not-denied",
    "no-answer",
    "no-answer-on-dot-port",
    "no-network",
    "no-resolver-name",
    "no-usable-tlsa",
    "not-approved",
    "not-encrypted",
    "not-enrolled",
    "not-signed-by-anchor",
    "not-zone-key",
    "outside-zone",
    "record-missing",
    "revoked-key-returned",
    "rolled-back",
    "signature-expired",
    "signature-missing",
    "signature-not-yet-valid",
    "signature-wrong",
    "too-many-keys",
    "too-many-signatures",
    "too-many-tries",
    "type-not-denied",
    "unknown-key",
    "unsupported-algorithm",
    "wildcard-not-denied",
    "wildcard-not-proven",
    "wrong-labels",
    "wrong-protocol",
    "wrong-signer",
];

/// Counters that only rise.
#[derive(Debug)]
pub struct Tally {
    answered: [AtomicU64; 3],
    /// Sent, be they answered or not: they were read on the way.
    cleartext: AtomicU64,
    /// By the name of the reason; the names are few.
    failed: Mutex<BTreeMap<&'static str, u64>>,
}

impl Tally {
    const fn new() -> Self {
        Self {
            answered: [const { AtomicU64::new(0) }; 3],
            cleartext: AtomicU64::new(0),
            failed: Mutex::new(BTreeMap::new()),
        }
    }

    /// Counts questions on `rung`: answered ones, or, in cleartext, sent ones.
    pub fn count(&self, rung: Rung, questions: u64) {
        self.counter(rung).fetch_add(questions, Ordering::Relaxed);
    }

    /// Counts a question that got no answer, by the name of the reason.
    pub fn count_failure(&self, reason: &'static str) {
        debug_assert!(REASONS.contains(&reason), "{reason} is not listed");
        *self.failures().entry(reason).or_default() += 1;
    }

    /// How many were counted on `rung`; [`Rung::Known`] and [`Rung::Verified`] share a counter.
    #[must_use]
    pub fn on(&self, rung: Rung) -> u64 {
        self.counter(rung).load(Ordering::Relaxed)
    }

    /// Those that got no answer, by reason.
    #[must_use]
    pub fn failed(&self) -> BTreeMap<&'static str, u64> {
        self.failures().clone()
    }

    fn counter(&self, rung: Rung) -> &AtomicU64 {
        let [identity, designated, opportunistic] = &self.answered;
        match rung {
            Rung::Verified | Rung::Known => identity,
            Rung::Designated => designated,
            Rung::Opportunistic => opportunistic,
            Rung::Cleartext => &self.cleartext,
        }
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_are_in_order_and_each_is_there_once() {
        assert!(REASONS.is_sorted_by(|one, next| one < next), "{REASONS:?}");
    }

    #[test]
    fn each_kind_of_answer_is_counted_apart_and_each_reason_under_its_name() {
        let tally = Tally::new();
        tally.count(Rung::Known, 2);
        tally.count(Rung::Verified, 1);
        tally.count(Rung::Designated, 4);
        tally.count(Rung::Opportunistic, 5);
        tally.count(Rung::Cleartext, 6);
        let counted = Rung::ALL.map(|rung| tally.on(rung));
        assert_eq!(counted, [6, 5, 4, 3, 3]);
        tally.count_failure("no-answer");
        tally.count_failure("legacy");
        tally.count_failure("no-answer");
        let failed: Vec<_> = tally.failed().into_iter().collect();
        assert_eq!(failed, [("legacy", 1), ("no-answer", 2)]);
    }
}
