//! Where on the ladder the questions for one server stand, and when it is climbed again.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Rung;

/// How long a rung holds that has no time of its own.
const STANDS_FOR: Duration = Duration::from_secs(3600);
/// How long nothing better is looked for after nothing was found.
const NOTHING_FOR: Duration = Duration::from_secs(3600);
/// The same, where silence or a broken connection may have passed by then.
const FAULT_FOR: Duration = Duration::from_secs(60);
/// A rung that breaks so soon after it was reached is not worth waiting for once more.
const BRITTLE: Duration = Duration::from_secs(5);

/// Questions in a row without an answer, after which a rung is broken though its connection holds.
const SILENT_MAX: u32 = 3;

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
    Standing { rung: Rung, until: Instant },
    /// Nothing better than cleartext was found.
    Ground { until: Instant },
}

/// The ladder in front of one server that is not upgraded.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// The lowest rung that the policy allows.
    floor: Rung,
    position: Position,
    climbing: bool,
    climbed_at: Option<Instant>,
    /// Questions in a row that a rung left without an answer.
    silent: u32,
    missed: Vec<Missed>,
}

impl Ladder {
    /// Nothing is known yet. `floor` is the lowest rung that questions may take.
    #[must_use]
    pub fn new(floor: Rung) -> Self {
        Self {
            floor,
            position: Position::Unknown,
            climbing: false,
            climbed_at: None,
            silent: 0,
            missed: Vec::new(),
        }
    }

    /// The lowest rung that questions may take.
    #[must_use]
    pub fn floor(&self) -> Rung {
        self.floor
    }

    /// The policy changed. What was reached and is allowed stays.
    pub fn set_floor(&mut self, floor: Rung) {
        if floor == self.floor {
            return;
        }
        self.floor = floor;
        self.position = Position::Unknown;
    }

    /// Everything may be different: another network, or awake after a long sleep.
    pub fn start_over(&mut self) {
        self.position = Position::Unknown;
        self.climbed_at = None;
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
        due && !self.climbing && self.floor <= Rung::Designated
    }

    /// Starts a climb, unless one is under way: the lowest rung that is to be tried.
    pub fn begin_climb(&mut self) -> Option<Rung> {
        if self.climbing || self.floor > Rung::Designated {
            return None;
        }
        self.climbing = true;
        Some(self.floor)
    }

    /// Takes what a climb came to. Anything lower than the policy allows counts as nothing.
    pub fn end_climb(&mut self, now: Instant, climbed: Climbed) {
        self.climbing = false;
        self.climbed_at = Some(now);
        self.silent = 0;
        let may_pass = climbed.missed.iter().any(|missed| missed.may_pass);
        self.missed = climbed.missed;
        let reached = climbed
            .reached
            .filter(|rung| *rung > Rung::Cleartext && *rung >= self.floor);
        self.position = match reached {
            Some(rung) => Position::Standing {
                rung,
                until: now + climbed.holds_for.unwrap_or(STANDS_FOR).min(STANDS_FOR),
            },
            None => Position::Ground {
                until: now + if may_pass { FAULT_FOR } else { NOTHING_FOR },
            },
        };
    }

    /// A question got no answer on `rung`, which had been reached. True when looking for another rung is worth the
    /// question's while; after too little time on it, the ground is where questions stay for a minute.
    #[must_use]
    pub fn on_broken(&mut self, now: Instant, rung: Rung, why: &str) -> bool {
        match self.position {
            Position::Standing { rung: reached, .. } if reached == rung => {}
            // Another question found out first.
            _ => return true,
        }
        let brittle = self
            .climbed_at
            .is_some_and(|at| now.saturating_duration_since(at) < BRITTLE);
        if !brittle {
            self.position = Position::Unknown;
            return true;
        }
        self.missed.retain(|missed| missed.rung != rung);
        self.missed.push(Missed {
            rung,
            why: why.to_owned(),
            may_pass: true,
        });
        self.position = Position::Ground {
            until: now + FAULT_FOR,
        };
        self.floor == Rung::Cleartext
    }

    /// A question was answered on the rung that was reached.
    pub fn on_answer(&mut self) {
        self.silent = 0;
    }

    /// A question waited in vain for its answer on `rung`, though there is a connection. One may be at fault itself;
    /// several in a row are not. True as with [`Ladder::on_broken`].
    #[must_use]
    pub fn on_silence(&mut self, now: Instant, rung: Rung) -> bool {
        self.silent += 1;
        self.silent >= SILENT_MAX
            && self.on_broken(now, rung, "it takes questions and does not answer")
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
        self.climbing
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reached(rung: Rung) -> Climbed {
        Climbed {
            reached: Some(rung),
            holds_for: None,
            missed: Vec::new(),
        }
    }

    fn nothing(may_pass: bool) -> Climbed {
        Climbed {
            reached: None,
            holds_for: None,
            missed: vec![Missed {
                rung: Rung::Opportunistic,
                why: "nobody is there".to_owned(),
                may_pass,
            }],
        }
    }

    #[test]
    fn questions_wait_for_the_first_climb_and_take_what_it_reached() {
        let now = Instant::now();
        let mut ladder = Ladder::new(Rung::Cleartext);
        assert_eq!(ladder.step(), Step::AfterClimb);
        assert!(ladder.wants_climb(now));
        assert_eq!(ladder.begin_climb(), Some(Rung::Cleartext));
        assert_eq!(ladder.begin_climb(), None, "one at a time");
        ladder.end_climb(now, reached(Rung::Opportunistic));
        assert_eq!(ladder.step(), Step::Ask(Rung::Opportunistic));
        assert!(!ladder.wants_climb(now + STANDS_FOR - Duration::from_secs(1)));
        assert!(ladder.wants_climb(now + STANDS_FOR));
        let asked = ladder.step();
        assert_eq!(
            asked,
            Step::Ask(Rung::Opportunistic),
            "while it is looked again"
        );
    }

    #[test]
    fn no_question_goes_lower_than_the_policy_allows() {
        let now = Instant::now();
        for floor in Rung::ALL {
            for found in [None, Some(Rung::Opportunistic), Some(Rung::Designated)] {
                let mut ladder = Ladder::new(floor);
                let begun = ladder.begin_climb();
                assert_eq!(begun.is_some(), floor <= Rung::Designated);
                if begun.is_some() {
                    let climbed = Climbed {
                        reached: found,
                        ..nothing(false)
                    };
                    ladder.end_climb(now, climbed);
                }
                match ladder.step() {
                    Step::Ask(rung) => {
                        assert!(rung >= floor);
                        assert_eq!(rung, found.unwrap_or(Rung::Cleartext));
                    }
                    Step::Fail => assert!(found.unwrap_or(Rung::Cleartext) < floor),
                    Step::AfterClimb => panic!("{floor:?} {found:?}"),
                }
            }
        }
    }

    #[test]
    fn what_was_not_there_is_looked_for_in_an_hour_and_what_failed_in_a_minute() {
        let now = Instant::now();
        for (may_pass, after) in [(true, FAULT_FOR), (false, NOTHING_FOR)] {
            let mut ladder = Ladder::new(Rung::Opportunistic);
            ladder.begin_climb().unwrap();
            ladder.end_climb(now, nothing(may_pass));
            assert_eq!(ladder.step(), Step::Fail);
            assert!(!ladder.wants_climb(now + after - Duration::from_secs(1)));
            assert!(ladder.wants_climb(now + after));
        }
    }

    #[test]
    fn a_broken_rung_is_climbed_once_more_and_a_brittle_one_is_left() {
        let mut now = Instant::now();
        let mut ladder = Ladder::new(Rung::Cleartext);
        ladder.begin_climb().unwrap();
        ladder.end_climb(now, reached(Rung::Opportunistic));
        now += Duration::from_secs(600);
        assert!(ladder.on_broken(now, Rung::Opportunistic, "reset"));
        assert_eq!(ladder.step(), Step::AfterClimb);
        ladder.begin_climb().unwrap();
        ladder.end_climb(now, reached(Rung::Opportunistic));
        assert!(ladder.on_broken(now, Rung::Opportunistic, "reset"));
        assert_eq!(ladder.step(), Step::Ask(Rung::Cleartext));
        assert_eq!(ladder.missed()[0].why, "reset");
        assert!(ladder.wants_climb(now + FAULT_FOR));

        let mut strict = Ladder::new(Rung::Opportunistic);
        strict.begin_climb().unwrap();
        strict.end_climb(now, reached(Rung::Opportunistic));
        assert!(!strict.on_broken(now, Rung::Opportunistic, "reset"));
        assert_eq!(strict.step(), Step::Fail);
    }

    #[test]
    fn one_slow_question_breaks_no_rung_and_three_in_a_row_do() {
        let mut now = Instant::now();
        let mut ladder = Ladder::new(Rung::Cleartext);
        ladder.begin_climb().unwrap();
        ladder.end_climb(now, reached(Rung::Opportunistic));
        now += Duration::from_secs(60);
        for _ in 0..2 * SILENT_MAX {
            assert!(!ladder.on_silence(now, Rung::Opportunistic));
            ladder.on_answer();
        }
        assert!(!ladder.on_silence(now, Rung::Opportunistic));
        assert!(!ladder.on_silence(now, Rung::Opportunistic));
        assert!(ladder.on_silence(now, Rung::Opportunistic));
        assert_eq!(ladder.step(), Step::AfterClimb);
    }

    #[test]
    fn a_question_that_fails_after_the_rung_was_left_changes_nothing() {
        let now = Instant::now();
        let mut ladder = Ladder::new(Rung::Cleartext);
        ladder.begin_climb().unwrap();
        ladder.end_climb(now, reached(Rung::Designated));
        assert!(ladder.on_broken(now, Rung::Opportunistic, "late"));
        assert_eq!(ladder.step(), Step::Ask(Rung::Designated));
    }

    #[test]
    fn a_designation_holds_no_longer_than_it_says() {
        let now = Instant::now();
        let mut ladder = Ladder::new(Rung::Cleartext);
        ladder.begin_climb().unwrap();
        let holds_for = Some(Duration::from_secs(300));
        ladder.end_climb(
            now,
            Climbed {
                holds_for,
                ..reached(Rung::Designated)
            },
        );
        assert!(ladder.wants_climb(now + Duration::from_secs(300)));
    }

    #[test]
    fn another_policy_or_another_network_means_another_climb() {
        let now = Instant::now();
        let mut ladder = Ladder::new(Rung::Cleartext);
        ladder.begin_climb().unwrap();
        ladder.end_climb(now, reached(Rung::Opportunistic));
        ladder.set_floor(Rung::Designated);
        assert_eq!(ladder.step(), Step::AfterClimb);
        ladder.begin_climb().unwrap();
        ladder.end_climb(now, reached(Rung::Designated));
        ladder.set_floor(Rung::Designated);
        assert_eq!(ladder.step(), Step::Ask(Rung::Designated));
        ladder.start_over();
        assert_eq!(ladder.step(), Step::AfterClimb);
        ladder.set_floor(Rung::Known);
        assert_eq!(ladder.step(), Step::Fail);
        assert_eq!(ladder.begin_climb(), None);
    }
}
