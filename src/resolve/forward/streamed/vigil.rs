//! Whether a connection is silent. A name that is slow is no silence, as long as anything at all comes over the connection
//! that has it to answer.
//!
//! Sans-IO: questions, how much was heard so far, and the time go in.

use std::time::{Duration, Instant};

/// For how long nothing at all comes over a connection that has questions to answer before it is given up. What a slow
/// name costs so is a handshake, and it is waited for on both; what a dead connection costs has to be over before somebody
/// is asked who keeps the question from others less well.
const SILENCE: Duration = Duration::from_secs(1);

/// How often it is to be looked whether something came.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// For how long nothing is asked on a connection before it is not used any more: routers forget, and nobody says so.
const IDLE: Duration = Duration::from_secs(30);

/// One connection's.
#[derive(Debug)]
pub(super) struct Vigil {
    /// How much had come when it was looked last.
    heard: u64,
    /// Questions that wait.
    waiting: u32,
    /// When the last one went out.
    asked: Option<Instant>,
    /// When the oldest question went out since something was heard, though nobody may wait for its answer any more: on a
    /// connection that is dead no question waits for as long as that takes to find out.
    since: Option<Instant>,
}

impl Vigil {
    pub(super) fn new() -> Self {
        Self {
            heard: 0,
            waiting: 0,
            asked: None,
            since: None,
        }
    }

    /// A question goes out.
    pub(super) fn on_question(&mut self, now: Instant, heard: u64) {
        self.listen(now, heard);
        let lately = |asked: Instant| now.saturating_duration_since(asked) <= SILENCE;
        if self.waiting == 0 && !self.asked.is_some_and(lately) {
            // Nothing could come since, and that says nothing.
            self.since = None;
        }
        self.waiting += 1;
        self.asked = Some(now);
        self.since.get_or_insert(now);
    }

    /// Whether nothing was asked for so long that nobody knows whether the other end is still there.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let long_ago = |asked: Instant| now.saturating_duration_since(asked) >= IDLE;
        self.waiting == 0 && self.asked.is_some_and(long_ago)
    }

    /// A question is answered, or nobody waits for its answer any more.
    pub(super) fn on_end(&mut self, now: Instant, heard: u64, answered: bool) {
        self.listen(now, heard);
        self.waiting = self.waiting.saturating_sub(1);
        // What came after the last question, an acknowledgement for example, shows that the connection is well.
        if self.waiting == 0 && (answered || self.since > self.asked) {
            self.since = None;
        }
    }

    /// Whether it is to be given up.
    pub(super) fn is_silent(&mut self, now: Instant, heard: u64) -> bool {
        self.listen(now, heard);
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= SILENCE)
    }

    fn listen(&mut self, now: Instant, heard: u64) {
        if heard != self.heard {
            self.heard = heard;
            self.since = (self.waiting > 0).then_some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_name_among_quick_ones_is_no_silence() {
        let (mut vigil, start) = (Vigil::new(), Instant::now());
        vigil.on_question(start, 0);
        for step in 1..20 {
            let now = start + LOOK_EVERY * step;
            let heard = u64::from(step);
            vigil.on_question(now, heard);
            vigil.on_end(now, heard + 1, true);
            assert!(!vigil.is_silent(now, heard + 1), "{step}");
        }
        let last = start + LOOK_EVERY * 19;
        assert!(!vigil.is_silent(last + SILENCE / 2, 20));
        assert!(
            vigil.is_silent(last + SILENCE, 20),
            "only the slow one is left"
        );
        assert!(!vigil.is_silent(last + SILENCE, 21));
    }

    #[test]
    fn nothing_is_expected_where_nothing_was_asked() {
        let (mut vigil, start) = (Vigil::new(), Instant::now());
        assert!(!vigil.is_silent(start + SILENCE, 7));
        vigil.on_question(start + SILENCE, 7);
        vigil.on_end(start + SILENCE, 8, true);
        assert!(!vigil.is_silent(start + SILENCE * 9, 8));
    }

    #[test]
    fn questions_that_were_given_up_early_add_up_to_silence() {
        let (mut vigil, mut now) = (Vigil::new(), Instant::now());
        for _ in 0..4 {
            assert!(!vigil.is_silent(now, 0));
            vigil.on_question(now, 0);
            now += SILENCE / 4;
            vigil.on_end(now, 0, false);
        }
        assert!(vigil.is_silent(now, 0));
        assert!(!vigil.is_silent(now, 1), "it was heard after all");
        assert!(!vigil.is_silent(now + SILENCE, 1), "and nobody waits");
    }

    #[test]
    fn a_question_that_was_given_up_long_ago_says_nothing_about_the_next() {
        let (mut vigil, start) = (Vigil::new(), Instant::now());
        vigil.on_question(start, 0);
        vigil.on_end(start + SILENCE / 2, 0, false);
        let next = start + SILENCE * 9;
        vigil.on_question(next, 0);
        assert!(!vigil.is_silent(next, 0));
        assert!(vigil.is_silent(next + SILENCE, 0));
    }

    #[test]
    fn a_connection_is_idle_when_nothing_was_asked_for_long_and_nobody_waits() {
        let (mut vigil, start) = (Vigil::new(), Instant::now());
        assert!(!vigil.is_idle(start + IDLE * 9), "it was just made");
        vigil.on_question(start, 0);
        assert!(!vigil.is_idle(start + IDLE), "somebody waits");
        vigil.on_end(start + IDLE, 1, true);
        assert!(vigil.is_idle(start + IDLE));
        vigil.on_question(start + IDLE, 1);
        vigil.on_end(start + IDLE, 2, true);
        assert!(!vigil.is_idle(start + IDLE * 2 - LOOK_EVERY));
    }

    #[test]
    fn a_question_that_was_taken_and_given_up_leaves_nothing_behind() {
        let (mut vigil, start) = (Vigil::new(), Instant::now());
        vigil.on_question(start, 0);
        assert!(!vigil.is_silent(start + LOOK_EVERY, 1));
        vigil.on_end(start + SILENCE, 1, false);
        assert!(!vigil.is_silent(start + SILENCE * 9, 1));
    }
}
