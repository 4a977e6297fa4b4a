//! Whether a rung that left a question without an answer is silent.
//!
//! Anybody can make a name that nobody answers, and have a browser look it up. So a question that waits in vain only makes
//! a rung suspect. What decides is a probe, which asks what no stranger can make slow.

use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RecordType};

use super::position::Footing;
use crate::wire;

/// The least time from one probe to the next, however many questions wait in vain.
const BETWEEN_PROBES: Duration = Duration::from_secs(2);

/// The question of a probe: who serves the root. Every resolver has the answer at hand, no stranger's servers take part in
/// it, and it says nothing about anybody. Under the id 0, with the flag RD or without it.
#[must_use]
pub fn harmless_question(rd: bool) -> Vec<u8> {
    let flags = wire::QuestionFlags {
        rd,
        ..Default::default()
    };
    let edns = wire::Edns::plain(false);
    wire::question(0, &Name::root(), RecordType::NS, flags, Some(&edns))
}

/// A probe that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    footing: Footing,
    began: Instant,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// An answer came.
    Answered,
    /// None came on the rung; in cleartext, where that is allowed, one did.
    Silent,
    /// None came, and none in cleartext either: the server has a trouble that no other rung would mend. Or the question
    /// could not be sent, for a reason of our own.
    Open,
}

/// What is suspected of the rung that questions are on.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence {
    suspect: bool,
    /// When an answer came last.
    heard: Option<Instant>,
    /// A probe failed, and nothing was heard since, climbs apart.
    doubted: bool,
    probing: Option<Probe>,
    last_probe: Option<Instant>,
}

impl Silence {
    /// Nothing that was seen counts any more.
    pub(super) fn start_over(&mut self) {
        *self = Self {
            last_probe: self.last_probe,
            ..Self::default()
        };
    }

    /// A rung was reached. If it is the one that a probe failed on, that is not forgotten: a climb asks a question which
    /// more can answer than any other.
    pub(super) fn on_climbed(&mut self) {
        let doubted = self.doubted;
        self.start_over();
        self.doubted = doubted;
    }

    pub(super) fn on_heard(&mut self, now: Instant) {
        self.suspect = false;
        self.doubted = false;
        self.heard = Some(now);
    }

    /// Nothing came for a question that was asked then. Whoever answered others meanwhile is not silent.
    pub(super) fn on_waited(&mut self, asked: Instant) {
        if !self.was_heard_since(asked) {
            self.suspect = true;
        }
    }

    pub(super) fn wants_probe(&self, now: Instant) -> bool {
        let rested = |last| now.saturating_duration_since(last) >= BETWEEN_PROBES;
        self.suspect && self.probing.is_none() && self.last_probe.is_none_or(rested)
    }

    pub(super) fn is_probing(&self) -> bool {
        self.probing.is_some()
    }

    pub(super) fn begin(&mut self, now: Instant, footing: Footing) -> Probe {
        let probe = Probe {
            footing,
            began: now,
        };
        self.probing = Some(probe);
        self.last_probe = Some(now);
        probe
    }

    /// The probe ended. Says what that makes of the rung; none where it stands as it did, or is another by now.
    pub(super) fn end(&mut self, now: Instant, probe: Probe, outcome: Probed) -> Option<Verdict> {
        if self.probing != Some(probe) {
            return None;
        }
        self.probing = None;
        match outcome {
            Probed::Answered => {
                self.on_heard(now);
                None
            }
            // It answered somebody else meanwhile.
            Probed::Silent if self.was_heard_since(probe.began) => None,
            Probed::Silent if self.doubted => Some(Verdict::SilentAgain),
            Probed::Silent => {
                self.doubted = true;
                Some(Verdict::Silent)
            }
            // Still suspect: the next question has it probed again.
            Probed::Open => None,
        }
    }

    fn was_heard_since(&self, then: Instant) -> bool {
        self.heard.is_some_and(|heard| heard >= then)
    }
}

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rung is silent. It may be reached anew.
    Silent,
    /// It is silent once more, and nothing else was heard of it in between.
    SilentAgain,
}
