//! Which upstream is asked first, and how long before the next one is asked as well.
//!
//! Sans-IO: outcomes and the time go in, an order comes out.

use std::time::{Duration, Instant};

use super::reach::Tier;

/// What an upstream that was never asked is believed to take.
const UNKNOWN_LATENCY: Duration = Duration::from_millis(50);

/// Failures in a row from which on an upstream is asked only when the others fail.
const FAILURES_BEFORE_REST: u32 = 2;

/// The first rest; each further failure doubles it.
const FIRST_REST: Duration = Duration::from_secs(2);

/// The longest rest: how late a server that came back may be noticed.
const LONGEST_REST: Duration = Duration::from_secs(60);

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
    failures: u32,
    rests_until: Option<Instant>,
    pub(super) answered: u64,
    pub(super) failed: u64,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            latency: UNKNOWN_LATENCY,
            failures: 0,
            rests_until: None,
            answered: 0,
            failed: 0,
        }
    }

    pub(super) fn on_answer(&mut self, took: Duration) {
        self.latency = match self.answered {
            0 => took,
            // RFC 6298 §2.3 has 1/8; a quarter follows a changed network sooner.
            _ => (self.latency * 3 + took) / 4,
        };
        self.failures = 0;
        self.rests_until = None;
        self.answered += 1;
    }

    pub(super) fn on_failure(&mut self, now: Instant) {
        self.failed += 1;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_BEFORE_REST {
            let doublings = (self.failures - FAILURES_BEFORE_REST).min(8);
            let rest = (FIRST_REST * 2u32.pow(doublings)).min(LONGEST_REST);
            self.rests_until = Some(now + rest);
        }
    }

    pub(super) fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// What it takes on average; none while it never answered.
    pub(super) fn latency(&self) -> Option<Duration> {
        (self.answered > 0).then_some(self.latency)
    }

    /// How long to wait for this one before the next is asked as well, which may be a worse one.
    pub(super) fn hedge_after(&self, to_worse: bool) -> Duration {
        if to_worse {
            return HEDGE_TO_WORSE;
        }
        (self.latency * 3).clamp(HEDGE_AT_LEAST, HEDGE_AT_MOST)
    }
}

/// The upstreams in the order in which they are asked: those at work before those that rest, those that keep a question
/// from others before those that do not, then by latency in steps (so that noise does not reorder equals), then as
/// configured.
pub(super) fn order(upstreams: &[Health], tiers: &[Tier], now: Instant) -> Vec<usize> {
    let mut order: Vec<usize> = (0..upstreams.len()).collect();
    order.sort_by_key(|&at| {
        let upstream = &upstreams[at];
        let step = upstream.latency.as_millis().max(1).ilog2();
        (upstream.rests(now), tiers[at], step, at)
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(4);
    const SLOW: Duration = Duration::from_millis(400);
    const CLEAR: &[Tier] = &[Tier::Cleartext; 3];

    #[test]
    fn the_configured_order_holds_while_nothing_is_known() {
        let upstreams = [Health::new(), Health::new(), Health::new()];
        assert_eq!(order(&upstreams, CLEAR, Instant::now()), [0, 1, 2]);
    }

    #[test]
    fn the_quicker_one_comes_first() {
        let mut upstreams = [Health::new(), Health::new()];
        for _ in 0..10 {
            upstreams[0].on_answer(SLOW);
            upstreams[1].on_answer(QUICK);
        }
        assert_eq!(order(&upstreams, CLEAR, Instant::now()), [1, 0]);
    }

    #[test]
    fn who_keeps_a_question_from_others_is_asked_before_who_is_quick() {
        let now = Instant::now();
        let mut upstreams = [Health::new(), Health::new(), Health::new()];
        for (upstream, took) in upstreams.iter_mut().zip([QUICK, SLOW, SLOW]) {
            upstream.on_answer(took);
        }
        let tiers = [Tier::Cleartext, Tier::Encrypted, Tier::Authenticated];
        assert_eq!(order(&upstreams, &tiers, now), [2, 1, 0]);
        // One that does not answer protects nobody.
        upstreams[2].on_failure(now);
        upstreams[2].on_failure(now);
        assert_eq!(order(&upstreams, &tiers, now), [1, 0, 2]);
        assert!(upstreams[1].hedge_after(true) > upstreams[1].hedge_after(false));
    }

    #[test]
    fn one_that_fails_rests_and_is_tried_again_later() {
        let now = Instant::now();
        let mut upstreams = [Health::new(), Health::new()];
        upstreams[0].on_failure(now);
        assert_eq!(
            order(&upstreams, CLEAR, now),
            [0, 1],
            "one failure is chance"
        );
        upstreams[0].on_failure(now);
        assert_eq!(order(&upstreams, CLEAR, now), [1, 0]);
        assert_eq!(order(&upstreams, CLEAR, now + FIRST_REST), [0, 1]);
        upstreams[0].on_answer(QUICK);
        assert_eq!(order(&upstreams, CLEAR, now), [0, 1]);
    }

    #[test]
    fn a_latency_is_told_once_there_is_one() {
        let mut upstream = Health::new();
        assert_eq!(upstream.latency(), None);
        upstream.on_failure(Instant::now());
        assert_eq!(upstream.latency(), None);
        upstream.on_answer(QUICK);
        assert_eq!(upstream.latency(), Some(QUICK), "measured, not guessed");
        upstream.on_answer(SLOW);
        assert_eq!(upstream.latency(), Some((QUICK * 3 + SLOW) / 4));
    }

    #[test]
    fn the_rest_is_bounded() {
        let now = Instant::now();
        let mut upstream = Health::new();
        for _ in 0..100 {
            upstream.on_failure(now);
        }
        assert!(upstream.rests(now));
        assert!(!upstream.rests(now + LONGEST_REST));
    }

    #[test]
    fn the_hedge_stays_within_its_bounds() {
        let mut upstream = Health::new();
        for _ in 0..50 {
            upstream.on_answer(Duration::ZERO);
        }
        assert_eq!(upstream.hedge_after(false), HEDGE_AT_LEAST);
        for _ in 0..50 {
            upstream.on_answer(Duration::from_secs(5));
        }
        assert_eq!(upstream.hedge_after(false), HEDGE_AT_MOST);
    }
}
