//! Where on the ladder the questions for one server stand, and when it is climbed again.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Rung;
use super::silence::{Probe, Probed, Silence, Verdict};

/// How long a rung holds that has no time of its own.
const STANDS_FOR: Duration = Duration::from_secs(3600);
/// How long nothing better is looked for after nothing was found.
const NOTHING_FOR: Duration = Duration::from_secs(3600);
/// The same, where silence or a broken connection may have passed by then.
const FAULT_FOR: Duration = Duration::from_secs(60);
/// A rung whose connection breaks so soon after it was reached is not worth waiting for once more.
const BRITTLE: Duration = Duration::from_secs(5);

/// Why a rung was left that did not answer a probe.
const SILENT: &str = "it takes questions and does not answer";

/// What is to be done with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask on this rung: designated, opportunistic or cleartext.
    Ask(Rung),
    /// Wait for the end of a climb, and look again.
    AfterClimb,
    /// Answer SERVFAIL: no rung that the policy allows is within reach.
    Fail,
}

/// A rung that was tried, or looked for, in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Missed {
    /// Which.
    pub rung: Rung,
    /// Why it is out of reach, for people.
    pub why: String,
    /// Whether that may pass soon: silence, or a connection that broke.
    pub may_pass: bool,
}

/// By which climb the rung was reached that a question went on. What is told of an earlier one says nothing about the
/// rung of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footing(u64);

/// A climb that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Climb {
    number: u64,
    /// The lowest rung that is to be tried.
    pub floor: Rung,
}

/// What became of the rung that questions were on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fall {
    /// It stands, or it was left before.
    None,
    /// It is not stood on any more; the next climb shows on which.
    Unknown,
    /// Questions stay on the ground for a minute: in cleartext where the policy allows that, nowhere else.
    Ground,
}

/// What a climb came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Climbed {
    /// The rung of encryption that was reached; none when there is nothing but cleartext.
    pub reached: Option<Rung>,
    /// For how long, where the rung says (a designation's time to live).
    pub holds_for: Option<Duration>,
    /// The rungs above.
    pub missed: Vec<Missed>,
}

#[derive(Clone, Debug)]
enum Position {
    /// Not climbed yet, or what was reached broke.
    Unknown,
    /// On a rung of encryption.
    Standing {
        rung: Rung,
        footing: Footing,
        until: Instant,
    },
    /// Nothing better than cleartext was found.
    Ground { until: Instant },
}

/// The ladder in front of one server that is not upgraded.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// The lowest rung that the policy allows.
    floor: Rung,
    position: Position,
    /// The climb under way.
    climbing: Option<Climb>,
    climbs: u64,
    /// Climbs with a smaller number do not count: they began before everything was started over.
    counts_from: u64,
    climbed_at: Option<Instant>,
    silence: Silence,
    missed: Vec<Missed>,
}

impl Ladder {
    /// Nothing is known yet. `floor` is the lowest rung that questions may take.
    #[must_use]
    pub fn new(floor: Rung) -> Self {
        Self {
            floor,
            position: Position::Unknown,
            climbing: None,
            climbs: 0,
            counts_from: 0,
            climbed_at: None,
            silence: Silence::default(),
            missed: Vec::new(),
        }
    }

    /// The lowest rung that questions may take.
    #[must_use]
    pub fn floor(&self) -> Rung {
        self.floor
    }

    /// The policy changed, and so what has to be tried.
    pub fn set_floor(&mut self, floor: Rung) {
        if floor != self.floor {
            self.floor = floor;
            self.start_over();
        }
    }

    /// Everything may be different: another network, or awake after a long sleep. What a climb or a probe finds that is
    /// under way does not count.
    pub fn start_over(&mut self) {
        self.position = Position::Unknown;
        self.climbed_at = None;
        self.silence.start_over();
        // Nobody waits for one that will not count.
        self.climbing = None;
        self.counts_from = self.climbs;
    }

    /// What is to be done with a question.
    #[must_use]
    pub fn step(&self) -> Step {
        if self.floor > Rung::Designated {
            return Step::Fail;
        }
        match self.position {
            Position::Unknown => Step::AfterClimb,
            Position::Standing { rung, .. } => Step::Ask(rung),
            Position::Ground { .. } if self.floor == Rung::Cleartext => Step::Ask(Rung::Cleartext),
            Position::Ground { .. } => Step::Fail,
        }
    }

    /// Whether it is time to climb: nothing is known, or what is known has had its time. Questions go on as
    /// [`Ladder::step`] says meanwhile.
    #[must_use]
    pub fn wants_climb(&self, now: Instant) -> bool {
        let due = match self.position {
            Position::Unknown => true,
            Position::Standing { until, .. } | Position::Ground { until } => now >= until,
        };
        due && self.climbing.is_none() && self.floor <= Rung::Designated
    }

    /// Starts a climb, unless one is under way.
    pub fn begin_climb(&mut self) -> Option<Climb> {
        if self.climbing.is_some() || self.floor > Rung::Designated {
            return None;
        }
        let climb = Climb {
            number: self.climbs,
            floor: self.floor,
        };
        self.climbs += 1;
        self.climbing = Some(climb);
        Some(climb)
    }

    /// Takes what a climb came to, and says whether that counts. Anything lower than the policy allows counts as nothing.
    pub fn end_climb(&mut self, now: Instant, climb: Climb, climbed: Climbed) -> bool {
        if self.climbing == Some(climb) {
            self.climbing = None;
        }
        if climb.number < self.counts_from {
            return false;
        }
        self.climbed_at = Some(now);
        self.silence.on_climbed();
        let may_pass = climbed.missed.iter().any(|missed| missed.may_pass);
        self.missed = climbed.missed;
        let reached = climbed
            .reached
            .filter(|rung| *rung > Rung::Cleartext && *rung >= self.floor);
        self.position = match reached {
            Some(rung) => Position::Standing {
                rung,
                footing: Footing(climb.number),
                until: now + climbed.holds_for.unwrap_or(STANDS_FOR).min(STANDS_FOR),
            },
            None => Position::Ground {
                until: now + if may_pass { FAULT_FOR } else { NOTHING_FOR },
            },
        };
        true
    }

    /// What the rung that questions are on was reached by; none where they are on none of encryption.
    #[must_use]
    pub fn footing(&self) -> Option<Footing> {
        match self.position {
            Position::Standing { footing, .. } => Some(footing),
            Position::Unknown | Position::Ground { .. } => None,
        }
    }

    /// There is no connection with the rung that was reached. After too little time on it, the ground is where questions
    /// stay for a minute.
    pub fn on_broken(&mut self, now: Instant, footing: Footing, why: &str) -> Fall {
        let brittle = self
            .climbed_at
            .is_some_and(|at| now.saturating_duration_since(at) < BRITTLE);
        match self.position {
            Position::Standing {
                footing: stood_on,
                rung,
                ..
            } if stood_on == footing => match brittle {
                true => self.fall_to_the_ground(now, rung, why),
                false => self.leave(),
            },
            // Another question found out first.
            _ => Fall::None,
        }
    }

    /// A question was answered on the rung that was reached.
    pub fn on_answer(&mut self, now: Instant, footing: Footing) {
        if self.footing() == Some(footing) {
            self.silence.on_heard(now);
        }
    }

    /// A question of `asked` waited in vain for its answer, though there is a connection. That may be its name's fault,
    /// so all that follows is a probe.
    pub fn on_silence(&mut self, footing: Footing, asked: Instant) {
        if self.footing() == Some(footing) {
            self.silence.on_waited(asked);
        }
    }

    /// Whether it is time to look if the rung is silent. Questions stay on it meanwhile.
    #[must_use]
    pub fn wants_probe(&self, now: Instant) -> bool {
        self.footing().is_some() && self.silence.wants_probe(now)
    }

    /// Starts a probe, if it is time for one.
    pub fn begin_probe(&mut self, now: Instant) -> Option<Probe> {
        let footing = self.footing()?;
        let wanted = self.silence.wants_probe(now);
        wanted.then(|| self.silence.begin(now, footing))
    }

    /// Whether a probe is under way.
    #[must_use]
    pub fn is_probing(&self) -> bool {
        self.silence.is_probing()
    }

    /// Takes what a probe came to. A rung that is silent is climbed anew; one that is so again, and where cleartext is
    /// not, is left for a minute.
    pub fn end_probe(&mut self, now: Instant, probe: Probe, outcome: Probed) -> Fall {
        let verdict = self.silence.end(now, probe, outcome);
        match (verdict, &self.position) {
            (Some(Verdict::SilentAgain), Position::Standing { rung, .. })
                if self.floor == Rung::Cleartext =>
            {
                self.fall_to_the_ground(now, *rung, SILENT)
            }
            // Where nothing is below, another climb is all that may help.
            (Some(Verdict::Silent | Verdict::SilentAgain), Position::Standing { .. }) => {
                self.leave()
            }
            _ => Fall::None,
        }
    }

    fn leave(&mut self) -> Fall {
        self.position = Position::Unknown;
        Fall::Unknown
    }

    fn fall_to_the_ground(&mut self, now: Instant, rung: Rung, why: &str) -> Fall {
        self.missed.retain(|missed| missed.rung != rung);
        self.missed.push(Missed {
            rung,
            why: why.to_owned(),
            may_pass: true,
        });
        self.position = Position::Ground {
            until: now + FAULT_FOR,
        };
        Fall::Ground
    }

    /// The rung on which questions are asked now; none while that is not known, or where none is allowed.
    #[must_use]
    pub fn rung(&self) -> Option<Rung> {
        match self.step() {
            Step::Ask(rung) => Some(rung),
            Step::AfterClimb | Step::Fail => None,
        }
    }

    /// Why the rungs above are out of reach, as the last climb found.
    #[must_use]
    pub fn missed(&self) -> &[Missed] {
        &self.missed
    }

    /// Whether a climb is under way.
    #[must_use]
    pub fn is_climbing(&self) -> bool {
        self.climbing.is_some()
    }
}

#[cfg(test)]
mod tests;
