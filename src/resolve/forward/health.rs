//! How one upstream does: what it takes, whether it rests, and when it is probed.
//!
//! Names that somebody makes slow, or whose answers he makes unfit, must not push everybody's questions to another
//! upstream, and one that takes questions and says nothing must not keep everybody waiting. A question that failed or was
//! left without an answer tells the two apart no more than the asker can; a probe does, which asks what nobody else has a
//! hand in. So such a question only makes its upstream *suspect*; a probe that fails has it *rest*, and only an answer
//! brings it back.
//!
//! Sans-IO: outcomes and the time go in, what is due comes out.

use std::time::{Duration, Instant};

/// What an upstream that was never asked is believed to take.
const UNKNOWN_LATENCY: Duration = Duration::from_millis(50);

/// The first rest; each further one without an answer in between is twice as long.
const FIRST_REST: Duration = Duration::from_secs(2);

/// The longest rest: how late a server that came back may be noticed.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The least time from one probe to the next, however many questions make an upstream suspect.
const BETWEEN_PROBES: Duration = Duration::from_secs(2);

/// The bounds of the wait before the next upstream is asked as well.
const HEDGE_AT_LEAST: Duration = Duration::from_millis(150);
const HEDGE_AT_MOST: Duration = Duration::from_millis(1_200);

/// The same, where the next one keeps a question from others less well: it is asked when the better ones failed, or when
/// they leave the asker without an answer for so long that he would ask again.
const HEDGE_TO_WORSE: Duration = Duration::from_millis(2_500);

/// What is known about one upstream.
#[derive(Debug, Clone)]
pub(super) struct Health {
    latency: Duration,
    /// When it was last heard, be it that it answered a question or a probe.
    heard: Option<Instant>,
    suspect: bool,
    rest: Option<Rest>,
    /// Rests since it last answered a question.
    rests: u32,
    /// When the probe under way began.
    probing: Option<Instant>,
    last_probe: Option<Instant>,
    /// For when somebody was told to begin a probe.
    scheduled: Option<Instant>,
    leads_back_until: Option<Instant>,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) probes: u64,
    pub(super) probes_failed: u64,
}

/// It is asked only when the others fail, until it is heard.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// When it is probed.
    until: Instant,
}

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probed {
    Answered,
    Failed,
    /// It was never sent, for a reason of our own.
    NotSent,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            latency: UNKNOWN_LATENCY,
            heard: None,
            suspect: false,
            rest: None,
            rests: 0,
            probing: None,
            last_probe: None,
            scheduled: None,
            leads_back_until: None,
            answered: 0,
            failed: 0,
            probes: 0,
            probes_failed: 0,
        }
    }

    /// It answered a question. True where it rested until now.
    pub(super) fn on_answer(&mut self, now: Instant, took: Duration) -> bool {
        self.latency = match self.answered {
            0 => took,
            // RFC 6298 §2.3 has 1/8; a quarter follows a changed network sooner.
            _ => (self.latency * 3 + took) / 4,
        };
        self.rests = 0;
        self.answered += 1;
        self.on_heard(now)
    }

    /// Nobody waits any more for the answer to a question of `began`: another upstream answered it, or the asker gave up.
    pub(super) fn on_overtaken(&mut self, now: Instant, began: Instant) {
        // One that was hardly asked yet, since another was about to answer, was not late.
        if now.saturating_duration_since(began) >= self.hedge_after(false) {
            self.suspect_since(began);
        }
    }

    /// A question of `began` failed, or was not answered in time, which may be its name's fault.
    pub(super) fn on_failure(&mut self, began: Instant) {
        self.failed += 1;
        self.suspect_since(began);
    }

    /// Somebody who asks now and then what nobody can make slow had no answer to a question of `began`, or had one.
    pub(super) fn on_look(&mut self, now: Instant, began: Instant, answered: bool) {
        match answered {
            true => {
                self.on_heard(now);
            }
            false => self.on_probe_failed(now, began),
        }
    }

    /// Another one is back: the rest ends with a probe now. False where it does not rest.
    pub(super) fn hasten(&mut self, now: Instant) -> bool {
        if let Some(rest) = &mut self.rest {
            rest.until = rest.until.min(now);
        }
        self.rest.is_some()
    }

    /// What it is asked comes back to us, and will until then for all that is known.
    pub(super) fn on_circle(&mut self, until: Instant) {
        self.leads_back_until = Some(until);
    }

    /// When to begin a probe, unless somebody was told so before. Whoever is told does so.
    pub(super) fn schedule(&mut self, now: Instant) -> Option<Instant> {
        if self.probing.is_some() {
            return None;
        }
        let due = self.probe_due(now)?;
        if self.scheduled.is_some_and(|earlier| earlier <= due) {
            return None;
        }
        self.scheduled = Some(due);
        Some(due)
    }

    /// Begins the probe that was to begin at `due`; false when there is no use for it any more.
    pub(super) fn begin_probe(&mut self, now: Instant, due: Instant) -> bool {
        if self.scheduled == Some(due) {
            self.scheduled = None;
        }
        let is_due = self.probe_due(now).is_some_and(|due| due <= now);
        if !is_due || self.probing.is_some() {
            return false;
        }
        self.probing = Some(now);
        self.last_probe = Some(now);
        self.probes += 1;
        true
    }

    /// The probe under way ended. True where the upstream rested until now.
    pub(super) fn on_probe(&mut self, now: Instant, outcome: Probed) -> bool {
        let began = self.probing.take().unwrap_or(now);
        match outcome {
            Probed::Answered => return self.on_heard(now),
            Probed::Failed => {
                self.probes_failed += 1;
                self.on_probe_failed(now, began);
            }
            Probed::NotSent => {}
        }
        false
    }

    /// Whether it is asked only when the others fail.
    pub(super) fn rests(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether what it is asked comes back to us.
    pub(super) fn leads_back(&self, now: Instant) -> bool {
        self.leads_back_until.is_some_and(|until| now < until)
    }

    /// Whether a question failed or was left without an answer, and nothing was heard since.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// What it takes on average; none while it never answered.
    pub(super) fn latency(&self) -> Option<Duration> {
        (self.answered > 0).then_some(self.latency)
    }

    /// In steps, so that noise does not reorder equals.
    pub(super) fn latency_step(&self) -> u32 {
        self.latency.as_millis().max(1).ilog2()
    }

    /// How long to wait for this one before the next is asked as well, which may be a worse one.
    pub(super) fn hedge_after(&self, to_worse: bool) -> Duration {
        if to_worse {
            return HEDGE_TO_WORSE;
        }
        (self.latency * 3).clamp(HEDGE_AT_LEAST, HEDGE_AT_MOST)
    }

    /// When a probe is due, which is not before now; none while there is no use for one.
    fn probe_due(&self, now: Instant) -> Option<Instant> {
        let wanted = match self.rest {
            Some(rest) => rest.until,
            None if self.suspect => now,
            None => return None,
        };
        let not_before = self.last_probe.map_or(now, |last| last + BETWEEN_PROBES);
        Some(wanted.max(not_before).max(now))
    }

    fn suspect_since(&mut self, began: Instant) {
        // Whoever answered others meanwhile is not silent, and a rest has a probe at its end.
        if !self.was_heard_since(began) && self.rest.is_none() {
            self.suspect = true;
        }
    }

    fn was_heard_since(&self, then: Instant) -> bool {
        self.heard.is_some_and(|heard| heard > then)
    }

    /// True where it rested until now.
    fn on_heard(&mut self, now: Instant) -> bool {
        self.heard = Some(now);
        self.suspect = false;
        self.rest.take().is_some()
    }

    fn on_probe_failed(&mut self, now: Instant, began: Instant) {
        self.failed += 1;
        if self.was_heard_since(began) {
            // It answered somebody else meanwhile.
            self.suspect = false;
        } else if self.rest.is_none_or(|rest| rest.until <= now) {
            self.begin_rest(now);
        }
    }

    fn begin_rest(&mut self, now: Instant) {
        let rest = (FIRST_REST * 2u32.pow(self.rests.min(8))).min(LONGEST_REST);
        self.rests = self.rests.saturating_add(1);
        self.suspect = false;
        self.rest = Some(Rest { until: now + rest });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const QUICK: Duration = Duration::from_millis(4);
    const SLOW: Duration = Duration::from_millis(400);
    /// For how long a question waits before a worse upstream answers it.
    const OVERTAKEN: Duration = HEDGE_TO_WORSE;

    /// Lets the probe that is due fail, and tells how long after `now` it began.
    fn fail_a_probe(upstream: &mut Health, now: &mut Instant) -> Duration {
        let due = upstream.schedule(*now).unwrap();
        let waited = due - *now;
        assert!(upstream.begin_probe(due, due));
        *now = due + QUICK;
        upstream.on_probe(*now, Probed::Failed);
        waited
    }

    #[test]
    fn who_was_overtaken_is_probed_once_and_rests_when_that_fails() {
        let began = Instant::now();
        let mut now = began + OVERTAKEN;
        let mut upstream = Health::new();
        for _ in 0..20 {
            upstream.on_overtaken(now, began);
        }
        assert!(
            upstream.is_suspect() && !upstream.rests(),
            "nothing is known yet"
        );
        let due = upstream.schedule(now).unwrap();
        assert_eq!(due, now);
        assert_eq!(upstream.schedule(now), None, "somebody was told");
        assert!(upstream.begin_probe(now, due));
        upstream.on_overtaken(now, began);
        assert_eq!(upstream.schedule(now), None, "one at a time");
        assert!(!upstream.begin_probe(now, due));
        now += QUICK;
        upstream.on_probe(now, Probed::Failed);
        assert!(upstream.rests() && !upstream.is_suspect());
        assert_eq!(
            (upstream.probes, upstream.probes_failed, upstream.failed),
            (1, 1, 1)
        );
        // What is left over from before makes it no worse.
        upstream.on_overtaken(now, began);
        upstream.on_look(now, began, false);
        assert_eq!(upstream.schedule(now), Some(now + FIRST_REST));
    }

    #[test]
    fn names_that_are_slow_never_make_one_rest_that_answers_probes() {
        let mut now = Instant::now();
        let mut upstream = Health::new();
        upstream.on_answer(now, QUICK);
        let latency = upstream.latency();
        let mut probes = Vec::new();
        for _ in 0..200 {
            let began = now;
            now += OVERTAKEN / 5;
            upstream.on_overtaken(now, began);
            upstream.on_failure(began);
            if let Some(due) = upstream.schedule(now) {
                assert!(upstream.begin_probe(due, due));
                probes.push(due);
                upstream.on_probe(due.max(now), Probed::Answered);
            }
            assert!(!upstream.rests());
        }
        assert_eq!(upstream.latency(), latency, "a probe is no measure");
        assert!(
            probes
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= BETWEEN_PROBES)
        );
        assert_eq!(
            (probes.len() as u64, upstream.probes_failed),
            (upstream.probes, 0)
        );
    }

    #[test]
    fn who_answers_somebody_meanwhile_is_not_suspect() {
        let began = Instant::now();
        let now = began + OVERTAKEN;
        let mut upstream = Health::new();
        upstream.on_answer(began + QUICK, QUICK);
        upstream.on_overtaken(now, began);
        assert_eq!(upstream.schedule(now), None);
        // Nor is one that was hardly asked.
        upstream.on_overtaken(now + QUICK, now);
        assert_eq!(upstream.schedule(now), None);
        // And where the probe alone is left without an answer, that was not silence.
        upstream.on_overtaken(now + OVERTAKEN, now);
        let due = upstream.schedule(now + OVERTAKEN).unwrap();
        assert!(upstream.begin_probe(due, due));
        upstream.on_answer(due + QUICK, SLOW);
        upstream.on_probe(due + SLOW, Probed::Failed);
        assert!(!upstream.rests() && !upstream.is_suspect());
    }

    #[test]
    fn each_rest_ends_with_a_probe_and_is_twice_as_long_as_the_last() {
        let mut now = Instant::now();
        let mut upstream = Health::new();
        upstream.on_look(now, now, false);
        let mut rests = Vec::new();
        for _ in 0..8 {
            assert!(upstream.rests());
            // Questions that are asked of it all the same make nothing of it worse.
            upstream.on_failure(now);
            rests.push(fail_a_probe(&mut upstream, &mut now));
        }
        let secs: Vec<u64> = rests.iter().map(Duration::as_secs).collect();
        assert_eq!(secs, [2, 4, 8, 16, 32, 60, 60, 60]);
        // One that answers probes alone comes back, and is not trusted at once as it was.
        let due = upstream.schedule(now).unwrap();
        assert!(upstream.begin_probe(due, due));
        upstream.on_probe(due, Probed::Answered);
        assert!(!upstream.rests());
        upstream.on_look(due, due, false);
        assert_eq!(upstream.schedule(due), Some(due + LONGEST_REST));
        upstream.on_answer(due, QUICK);
        assert!(!upstream.rests());
        upstream.on_look(due, due, false);
        assert_eq!(upstream.schedule(due), Some(due + FIRST_REST));
    }

    #[test]
    fn a_rest_ends_sooner_where_another_one_is_back() {
        let mut now = Instant::now();
        let mut upstream = Health::new();
        assert!(!upstream.hasten(now), "it does not rest");
        upstream.on_look(now, now, false);
        for _ in 0..6 {
            fail_a_probe(&mut upstream, &mut now);
        }
        let late = upstream.schedule(now).unwrap();
        assert_eq!(late, now + LONGEST_REST);
        assert!(upstream.hasten(now));
        assert!(upstream.rests(), "it was not heard yet");
        let soon = upstream.schedule(now).unwrap();
        assert!(soon <= now + BETWEEN_PROBES);
        assert!(upstream.begin_probe(soon, soon));
        upstream.on_probe(soon, Probed::Answered);
        assert!(!upstream.rests());
        assert!(!upstream.begin_probe(late, late), "there is no use for it");
    }

    #[test]
    fn a_probe_that_there_is_no_use_for_is_not_begun() {
        let began = Instant::now();
        let mut now = began + OVERTAKEN;
        let mut upstream = Health::new();
        upstream.on_overtaken(now, began);
        let due = upstream.schedule(now).unwrap();
        upstream.on_answer(now, SLOW);
        assert!(!upstream.begin_probe(now, due));
        // Nor does one that is told for the end of a rest hold up an earlier one.
        upstream.on_look(now, now, false);
        let later = upstream.schedule(now).unwrap();
        upstream.on_answer(now, SLOW);
        let asked = now + QUICK;
        now = asked + OVERTAKEN / 2;
        upstream.on_overtaken(now, asked);
        assert_eq!(upstream.schedule(now), Some(now));
        assert!(upstream.begin_probe(now, now));
        assert!(!upstream.begin_probe(later, later), "one at a time");
    }

    #[test]
    fn what_kept_a_probe_from_being_sent_says_nothing_about_the_upstream() {
        let began = Instant::now();
        let now = began + OVERTAKEN;
        let mut upstream = Health::new();
        upstream.on_overtaken(now, began);
        let due = upstream.schedule(now).unwrap();
        assert!(upstream.begin_probe(due, due));
        upstream.on_probe(due, Probed::NotSent);
        assert!(upstream.is_suspect() && !upstream.rests());
        assert_eq!(upstream.schedule(due), Some(due + BETWEEN_PROBES));
    }

    #[test]
    fn a_look_that_fails_is_a_probe_that_fails() {
        let began = Instant::now();
        let now = began + SLOW;
        let mut upstream = Health::new();
        upstream.on_look(now, began, false);
        assert!(upstream.rests());
        upstream.on_look(now, began, true);
        assert!(!upstream.rests());
        upstream.on_look(now + SLOW, began, false);
        assert!(!upstream.rests(), "it was heard meanwhile");
    }

    #[test]
    fn a_latency_is_told_once_there_is_one() {
        let now = Instant::now();
        let mut upstream = Health::new();
        assert_eq!(upstream.latency(), None);
        upstream.on_failure(now);
        assert_eq!(upstream.latency(), None);
        upstream.on_answer(now, QUICK);
        assert_eq!(upstream.latency(), Some(QUICK), "measured, not guessed");
        upstream.on_answer(now, SLOW);
        assert_eq!(upstream.latency(), Some((QUICK * 3 + SLOW) / 4));
    }

    #[test]
    fn the_hedge_stays_within_its_bounds() {
        let now = Instant::now();
        let mut upstream = Health::new();
        for _ in 0..50 {
            upstream.on_answer(now, Duration::ZERO);
        }
        assert_eq!(upstream.hedge_after(false), HEDGE_AT_LEAST);
        for _ in 0..50 {
            upstream.on_answer(now, Duration::from_secs(5));
        }
        assert_eq!(upstream.hedge_after(false), HEDGE_AT_MOST);
    }
}
