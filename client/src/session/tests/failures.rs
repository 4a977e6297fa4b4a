//! Connections that fail, and where a session looks then.

use super::*;

#[test]
fn another_key_leads_to_a_walk_in_cleartext_but_not_to_many() {
    let mut lab = Lab::strict();
    assert!(lab.session.may_walk_in_clear(lab.now, &another_key()));
    let advice = lab.session.on_tls_failure(lab.now, &another_key());
    assert_eq!(advice, Advice::Walk);
    lab.walk(refused());
    for _ in 0..49 {
        match lab.session.on_tls_failure(lab.now, &another_key()) {
            Advice::Fail(failure) => assert_eq!(failure.name(), "no-resolver-name"),
            other => panic!("{other:?}"),
        }
        lab.now += REWALK_PAUSE / 50;
    }
    lab.now += REWALK_PAUSE / 50;
    let advice = lab.session.on_tls_failure(lab.now, &another_key());
    assert!(
        matches!(advice, Advice::FailAndWalk(_)),
        "told at once, and looked at behind: {advice:?}"
    );
    lab.now += TOLD_FOR;
    let advice = lab.session.on_tls_failure(lab.now, &another_key());
    assert_eq!(advice, Advice::Walk, "old news: worth waiting");
}

#[test]
fn a_port_that_does_not_answer_leads_to_no_walk_in_cleartext() {
    let mut lab = Lab::strict();
    let started = lab.now;
    while lab.now - started < MOVED_AFTER {
        match lab.session.on_tls_failure(lab.now, &unreachable()) {
            Advice::Fail(failure) => assert_eq!(failure.name(), "no-answer-on-dot-port"),
            other => panic!("{other:?}"),
        }
        assert!(!lab.session.may_walk_in_clear(lab.now, &unreachable()));
        lab.now += Duration::from_secs(1);
    }
}

#[test]
fn a_resolver_that_may_have_moved_is_looked_for_by_the_minute() {
    let mut lab = Lab::strict();
    let _ = lab.session.on_tls_failure(lab.now, &unreachable());
    lab.now += MOVED_AFTER;
    let started = lab.now;
    let mut walks = 0;
    while lab.now - started < 10 * MOVED_PAUSE {
        match lab.session.on_tls_failure(lab.now, &unreachable()) {
            Advice::Fail(_) => {}
            Advice::FailAndWalk(_) => {
                walks += 1;
                assert!(lab.session.may_walk_in_clear(lab.now, &unreachable()));
                lab.walk(Verdict::NoAnswer);
            }
            Advice::Walk => panic!("nobody waits for it"),
        }
        lab.now += Duration::from_secs(1);
    }
    assert_eq!(walks, 10);
    lab.session.on_tls_answer();
    let _ = lab.session.on_tls_failure(lab.now, &unreachable());
    assert!(
        !lab.session.may_walk_in_clear(lab.now, &unreachable()),
        "an answer in between starts the minute anew"
    );
}

#[test]
fn failures_of_long_ago_are_no_reason_to_look_elsewhere() {
    let mut lab = Lab::strict();
    let _ = lab.session.on_tls_failure(lab.now, &unreachable());
    lab.now += Duration::from_secs(8 * 3600);
    let advice = lab.session.on_tls_failure(lab.now, &unreachable());
    assert!(matches!(advice, Advice::Fail(_)), "{advice:?}");
    lab.now += MOVED_AFTER / 2;
    lab.session.on_tls_connected();
    lab.now += MOVED_AFTER / 2;
    let advice = lab.session.on_tls_failure(lab.now, &unreachable());
    assert!(matches!(advice, Advice::Fail(_)), "{advice:?}");
}

#[test]
fn whether_a_resolver_is_back_is_seen_soon_even_if_nobody_asks() {
    let mut lab = Lab::strict();
    lab.walk(upgraded()).unwrap();
    let _ = lab.session.on_tls_failure(lab.now, &unreachable());
    assert!(!lab.session.wants_refresh(lab.now));
    lab.now += REFRESH_RETRY;
    assert!(lab.session.wants_refresh(lab.now));
}
