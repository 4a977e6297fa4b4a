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

/// Climbs, and comes to this.
fn climb(ladder: &mut Ladder, now: Instant, climbed: Climbed) {
    let climb = ladder.begin_climb().unwrap();
    assert!(ladder.end_climb(now, climb, climbed));
}

/// On the opportunistic rung, reached at `now`.
fn standing(floor: Rung, now: Instant) -> (Ladder, Footing) {
    let mut ladder = Ladder::new(floor);
    climb(&mut ladder, now, reached(Rung::Opportunistic));
    let footing = ladder.footing().unwrap();
    (ladder, footing)
}

/// Lets a question of `asked` wait in vain until `now`, and has the rung probed for it.
fn probe(ladder: &mut Ladder, asked: Instant, now: Instant, outcome: Probed) -> Fall {
    ladder.on_silence(ladder.footing().unwrap(), asked);
    let probe = ladder.begin_probe(now).unwrap();
    ladder.end_probe(now, probe, outcome)
}

#[test]
fn questions_wait_for_the_first_climb_and_take_what_it_reached() {
    let now = Instant::now();
    let mut ladder = Ladder::new(Rung::Cleartext);
    assert_eq!(ladder.step(), Step::AfterClimb);
    assert!(ladder.wants_climb(now));
    let climb = ladder.begin_climb().unwrap();
    assert_eq!(climb.floor, Rung::Cleartext);
    assert_eq!(ladder.begin_climb(), None, "one at a time");
    assert!(ladder.end_climb(now, climb, reached(Rung::Opportunistic)));
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
            if let Some(begun) = begun {
                let climbed = Climbed {
                    reached: found,
                    ..nothing(false)
                };
                ladder.end_climb(now, begun, climbed);
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
        climb(&mut ladder, now, nothing(may_pass));
        assert_eq!(ladder.step(), Step::Fail);
        assert!(!ladder.wants_climb(now + after - Duration::from_secs(1)));
        assert!(ladder.wants_climb(now + after));
    }
}

#[test]
fn a_broken_rung_is_climbed_once_more_and_a_brittle_one_is_left() {
    let mut now = Instant::now();
    let (mut ladder, footing) = standing(Rung::Cleartext, now);
    now += Duration::from_secs(600);
    assert_eq!(ladder.on_broken(now, footing, "reset"), Fall::Unknown);
    assert_eq!(ladder.step(), Step::AfterClimb);
    climb(&mut ladder, now, reached(Rung::Opportunistic));
    let footing = ladder.footing().unwrap();
    assert_eq!(ladder.on_broken(now, footing, "reset"), Fall::Ground);
    assert_eq!(ladder.step(), Step::Ask(Rung::Cleartext));
    assert_eq!(ladder.missed()[0].why, "reset");
    assert!(ladder.wants_climb(now + FAULT_FOR));

    let (mut strict, footing) = standing(Rung::Opportunistic, now);
    assert_eq!(strict.on_broken(now, footing, "reset"), Fall::Ground);
    assert_eq!(strict.step(), Step::Fail);
}

#[test]
fn slow_names_alone_push_no_question_down_however_many_they_are() {
    let mut now = Instant::now();
    let (mut ladder, footing) = standing(Rung::Cleartext, now);
    let (mut probes, mut last) = (0, None);
    for _ in 0..1_000 {
        let asked = now;
        now += Duration::from_millis(100);
        ladder.on_silence(footing, asked);
        if let Some(probe) = ladder.begin_probe(now) {
            assert!(last.is_none_or(|last| now - last >= Duration::from_secs(2)));
            assert_eq!(ladder.begin_probe(now), None, "one at a time");
            assert_eq!(ladder.end_probe(now, probe, Probed::Answered), Fall::None);
            (probes, last) = (probes + 1, Some(now));
        }
        assert_eq!(ladder.step(), Step::Ask(Rung::Opportunistic));
        assert!(!ladder.wants_climb(now));
    }
    assert!((2..=50).contains(&probes), "{probes}");
}

#[test]
fn who_answers_others_meanwhile_is_not_even_probed() {
    let asked = Instant::now();
    let (mut ladder, footing) = standing(Rung::Cleartext, asked);
    let now = asked + Duration::from_secs(4);
    ladder.on_answer(now, footing);
    ladder.on_silence(footing, asked);
    assert!(!ladder.wants_probe(now));
    // Nor does a probe count that somebody else's answer overtook.
    ladder.on_silence(footing, now + Duration::from_secs(1));
    let probe = ladder.begin_probe(now + Duration::from_secs(2)).unwrap();
    let answered = now + Duration::from_secs(3);
    ladder.on_answer(answered, footing);
    assert_eq!(
        ladder.end_probe(answered, probe, Probed::Silent),
        Fall::None
    );
    assert_eq!(ladder.step(), Step::Ask(Rung::Opportunistic));
}

#[test]
fn a_silent_rung_is_climbed_once_more_and_then_left_for_a_minute() {
    let mut now = Instant::now();
    let (mut ladder, footing) = standing(Rung::Cleartext, now);
    let asked = now;
    now += Duration::from_secs(4);
    assert_eq!(
        probe(&mut ladder, asked, now, Probed::Silent),
        Fall::Unknown
    );
    assert_eq!(ladder.step(), Step::AfterClimb);
    climb(&mut ladder, now, reached(Rung::Opportunistic));
    // Those asked before are no reason to leave what was reached since.
    ladder.on_silence(footing, asked);
    ladder.on_silence(footing, now);
    assert!(!ladder.wants_probe(now + Duration::from_secs(9)));
    let asked = now;
    now += Duration::from_secs(4);
    assert_eq!(probe(&mut ladder, asked, now, Probed::Silent), Fall::Ground);
    assert_eq!(ladder.step(), Step::Ask(Rung::Cleartext));
    assert_eq!(ladder.missed().last().unwrap().why, SILENT);
    assert!(ladder.wants_climb(now + FAULT_FOR));
    // What fell silent so late in the minute is left as soon the next time, until it answers a question.
    now += FAULT_FOR;
    climb(&mut ladder, now, reached(Rung::Opportunistic));
    ladder.on_answer(now, ladder.footing().unwrap());
    now += Duration::from_secs(4);
    let asked = now - Duration::from_secs(1);
    assert_eq!(
        probe(&mut ladder, asked, now, Probed::Silent),
        Fall::Unknown
    );
}

#[test]
fn where_cleartext_brings_no_answer_either_or_is_not_allowed_nobody_falls_to_the_ground() {
    let mut now = Instant::now();
    let (mut ladder, _) = standing(Rung::Cleartext, now);
    for _ in 0..9 {
        now += Duration::from_secs(4);
        let asked = now - Duration::from_secs(3);
        assert_eq!(probe(&mut ladder, asked, now, Probed::Open), Fall::None);
        assert_eq!(ladder.step(), Step::Ask(Rung::Opportunistic));
        // The next question has it looked at again.
        assert!(ladder.wants_probe(now + Duration::from_secs(2)));
    }
    let (mut strict, _) = standing(Rung::Opportunistic, now);
    for _ in 0..9 {
        now += Duration::from_secs(4);
        let asked = now - Duration::from_secs(3);
        assert_eq!(
            probe(&mut strict, asked, now, Probed::Silent),
            Fall::Unknown
        );
        climb(&mut strict, now, reached(Rung::Opportunistic));
    }
}

#[test]
fn what_began_before_everything_was_started_over_counts_no_more() {
    let now = Instant::now();
    let (mut ladder, footing) = standing(Rung::Cleartext, now);
    ladder.on_silence(footing, now);
    let probe = ladder.begin_probe(now).unwrap();
    ladder.start_over();
    assert_eq!(ladder.end_probe(now, probe, Probed::Silent), Fall::None);
    let on_the_old_path = ladder.begin_climb().unwrap();
    ladder.start_over();
    assert!(
        ladder.wants_climb(now),
        "nobody waits for what will not count"
    );
    let on_the_new_path = ladder.begin_climb().unwrap();
    assert!(!ladder.end_climb(now, on_the_old_path, nothing(false)));
    assert_eq!(ladder.step(), Step::AfterClimb);
    assert!(ladder.is_climbing());
    assert!(ladder.end_climb(now, on_the_new_path, reached(Rung::Designated)));
    assert_eq!(ladder.step(), Step::Ask(Rung::Designated));
    // Nor does a climb that went as far down as another policy allowed, or not far enough.
    ladder.set_floor(Rung::Designated);
    let not_far_enough = ladder.begin_climb().unwrap();
    ladder.set_floor(Rung::Cleartext);
    assert!(!ladder.end_climb(now, not_far_enough, nothing(false)));
    assert_eq!(ladder.begin_climb().unwrap().floor, Rung::Cleartext);
}

#[test]
fn a_question_that_fails_after_the_rung_was_left_changes_nothing() {
    let mut now = Instant::now();
    let (mut ladder, footing) = standing(Rung::Cleartext, now);
    now += STANDS_FOR;
    climb(&mut ladder, now, reached(Rung::Opportunistic));
    assert_eq!(ladder.on_broken(now, footing, "late"), Fall::None);
    assert_eq!(ladder.step(), Step::Ask(Rung::Opportunistic));
}

#[test]
fn a_designation_holds_no_longer_than_it_says() {
    let now = Instant::now();
    let mut ladder = Ladder::new(Rung::Cleartext);
    let holds_for = Some(Duration::from_secs(300));
    climb(
        &mut ladder,
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
    climb(&mut ladder, now, reached(Rung::Opportunistic));
    ladder.set_floor(Rung::Designated);
    assert_eq!(ladder.step(), Step::AfterClimb);
    climb(&mut ladder, now, reached(Rung::Designated));
    ladder.set_floor(Rung::Designated);
    assert_eq!(ladder.step(), Step::Ask(Rung::Designated));
    ladder.start_over();
    assert_eq!(ladder.step(), Step::AfterClimb);
    ladder.set_floor(Rung::Known);
    assert_eq!(ladder.step(), Step::Fail);
    assert_eq!(ladder.begin_climb(), None);
}
