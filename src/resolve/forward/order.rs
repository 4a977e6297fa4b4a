//! Which upstream is asked first, and who is asked after whom.
//!
//! Sans-IO: what is known of each and the time go in, an order comes out.

use std::time::Instant;

use super::{health::Health, reach::Tier};

/// The upstreams in the order in which they are asked: those at work before those that rest, those that keep a question
/// from others before those that do not, then by latency in steps (so that noise does not reorder equals), then as
/// configured. One that leads back to us is not asked at all.
pub(super) fn order(upstreams: &[Health], tiers: &[Tier], now: Instant) -> Vec<usize> {
    let asked = |at: &usize| !upstreams[*at].leads_back(now);
    let mut order: Vec<usize> = (0..upstreams.len()).filter(asked).collect();
    order.sort_by_key(|&at| {
        let upstream = &upstreams[at];
        (upstream.rests(), tiers[at], upstream.latency_step(), at)
    });
    order
}

/// How many of `order` are asked before somebody who has an answer that others might better is told so: all that are at
/// work; where none is, all.
pub(super) fn at_work(upstreams: &[Health], order: &[usize]) -> usize {
    let at_work = order.iter().take_while(|&&at| !upstreams[at].rests());
    match at_work.count() {
        0 => order.len(),
        some => some,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::health::Probed, *};

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
        let now = Instant::now();
        let mut upstreams = [Health::new(), Health::new()];
        for _ in 0..10 {
            upstreams[0].on_answer(now, SLOW);
            upstreams[1].on_answer(now, QUICK);
        }
        assert_eq!(order(&upstreams, CLEAR, now), [1, 0]);
    }

    #[test]
    fn who_keeps_a_question_from_others_is_asked_before_who_is_quick() {
        let now = Instant::now();
        let mut upstreams = [Health::new(), Health::new(), Health::new()];
        for (upstream, took) in upstreams.iter_mut().zip([QUICK, SLOW, SLOW]) {
            upstream.on_answer(now, took);
        }
        let tiers = [Tier::Cleartext, Tier::Encrypted, Tier::Authenticated];
        assert_eq!(order(&upstreams, &tiers, now), [2, 1, 0]);
        // One that does not answer protects nobody.
        upstreams[2].on_look(now, now, false);
        assert_eq!(order(&upstreams, &tiers, now), [1, 0, 2]);
        assert!(upstreams[1].hedge_after(true) > upstreams[1].hedge_after(false));
    }

    #[test]
    fn one_that_fails_rests_until_it_is_heard() {
        let now = Instant::now();
        let mut upstreams = [Health::new(), Health::new()];
        for _ in 0..20 {
            upstreams[0].on_failure(now);
        }
        let asked = order(&upstreams, CLEAR, now);
        assert_eq!(asked, [0, 1], "it may be the questions");
        let due = upstreams[0].schedule(now).expect("there is a probe");
        assert!(upstreams[0].begin_probe(due, due));
        upstreams[0].on_probe(due, Probed::Failed);
        assert_eq!(order(&upstreams, CLEAR, now), [1, 0]);
        assert_eq!(at_work(&upstreams, &[1, 0]), 1);
        // Time alone does not bring it back, so that no question has to find out.
        let due = upstreams[0].schedule(now).expect("there is a probe");
        assert_eq!(order(&upstreams, CLEAR, due), [1, 0]);
        assert!(upstreams[0].begin_probe(due, due));
        upstreams[0].on_probe(due, Probed::Answered);
        assert_eq!(order(&upstreams, CLEAR, due), [0, 1]);
        for upstream in &mut upstreams {
            upstream.on_look(due, due, false);
        }
        assert_eq!(order(&upstreams, CLEAR, due), [0, 1], "as if none rested");
        assert_eq!(at_work(&upstreams, &[0, 1]), 2);
    }

    #[test]
    fn one_that_leads_back_is_left_out_for_its_time_and_no_other_is() {
        let now = Instant::now();
        let mut upstreams = [Health::new(), Health::new()];
        upstreams[0].on_circle(now + SLOW);
        assert_eq!(order(&upstreams, CLEAR, now), [1]);
        assert_eq!(order(&upstreams, CLEAR, now + SLOW), [0, 1]);
    }
}
