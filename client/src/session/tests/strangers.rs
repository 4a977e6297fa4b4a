//! Strangers, by policy; and what people decide about them.
use super::*;
use crate::config::FirstUse;
use crate::trust::{AnchorDs, Verification, VerifiedBy};

const AT: UnixTime = UnixTime(7);

fn lab(first_use: FirstUse) -> Lab {
    Lab::new(Policy {
        first_use,
        ..Policy::default()
    })
}

/// Somebody vouched for the resolver of the tests, by this key.
fn vouched(key: u8) -> Enrolled {
    let known = KnownIdentity::first_met(&discovered(key));
    Enrolled {
        ds: vec![AnchorDs::of(known.anchor.active().unwrap())],
        name: known.name,
        by: VerifiedBy::Uri,
        at: AT,
    }
}

fn verified() -> KnownIdentity {
    let verification = Verification {
        by: VerifiedBy::Phrase,
        at: AT,
    };
    KnownIdentity::first_met(&discovered(1)).verified(verification)
}

fn refusal(lab: &Lab) -> &'static str {
    match lab.route() {
        Route::Fail(failure) | Route::FailAndWalk(failure) => failure.name(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stranger_waits_for_a_person_where_the_policy_is_to_ask() {
    for (first_use, told) in [
        (FirstUse::Ask, "not-approved"),
        (FirstUse::EnrolledOnly, "not-enrolled"),
    ] {
        let mut lab = lab(first_use);
        lab.session.begin_walk().unwrap();
        let met = KnownIdentity::first_met(&discovered(1));
        assert_eq!(lab.end(upgraded(), None), Lesson::Ask(Box::new(met)));
        assert_eq!(refusal(&lab), told);
        assert_eq!(lab.session.undecided(), Some(&discovered(1).name));
        lab.session.rebind(None);
        assert_eq!(refusal(&lab), told, "nobody decided");
        lab.session.rebind(Some(verified()));
        assert_eq!(lab.route(), Route::Encrypted);
    }
}

#[test]
fn who_is_known_from_elsewhere_is_no_stranger() {
    let known = KnownIdentity::first_met(&discovered(1));
    let mut asking = lab(FirstUse::Ask);
    asking.session.begin_walk().unwrap();
    let lesson = asking.end(upgraded(), Some(known.clone()));
    assert!(matches!(lesson, Lesson::Remember(..)), "{lesson:?}");
    let mut strict = lab(FirstUse::EnrolledOnly);
    strict.session.begin_walk().unwrap();
    let lesson = strict.end(upgraded(), Some(known));
    assert!(matches!(lesson, Lesson::Ask(_)), "nobody vouched for it");
    strict.session.forget();
    strict.session.begin_walk().unwrap();
    let lesson = strict.end(upgraded(), Some(verified()));
    assert!(matches!(lesson, Lesson::Remember(..)), "{lesson:?}");
}

#[test]
fn the_first_meeting_verifies_whoever_was_enrolled() {
    for first_use in [FirstUse::Auto, FirstUse::Ask, FirstUse::EnrolledOnly] {
        let mut lab = lab(first_use);
        lab.session.begin_walk().unwrap();
        match lab.end_with(upgraded(), None, Some(vouched(1))) {
            Lesson::Remember(identity, _) => {
                assert_eq!(identity.state, TrustState::Verified);
                assert_eq!(identity.verification.unwrap().at, AT);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn whoever_shows_another_key_than_the_one_enrolled_is_refused() {
    for first_use in [FirstUse::Auto, FirstUse::Ask, FirstUse::EnrolledOnly] {
        let mut lab = lab(first_use);
        lab.session.begin_walk().unwrap();
        let lesson = lab.end_with(upgraded(), None, Some(vouched(2)));
        assert_eq!(lesson, Lesson::Nothing);
        assert_eq!(refusal(&lab), "anchor-changed");
    }
}

#[test]
fn an_enrolled_key_that_is_shown_and_does_not_sign_proves_nothing() {
    let mut found = discovered(1);
    let enrolled = vouched(2);
    // The key is public: anybody can show it beside the own.
    found.keys.keys.extend(discovered(2).keys.keys);
    let mut lab = lab(FirstUse::Auto);
    lab.session.begin_walk().unwrap();
    let lesson = lab.end_with(Verdict::Upgraded(Box::new(found)), None, Some(enrolled));
    assert_eq!(lesson, Lesson::Nothing);
    assert_eq!(refusal(&lab), "anchor-changed");
}

#[test]
fn a_known_key_that_is_shown_and_does_not_sign_proves_nothing() {
    let known = KnownIdentity::first_met(&discovered(2));
    let mut found = discovered(1);
    found.keys.keys.extend(discovered(2).keys.keys);
    let mut lab = lab(FirstUse::Auto);
    lab.session.begin_walk().unwrap();
    let lesson = lab.end(Verdict::Upgraded(Box::new(found)), Some(known));
    assert_eq!(lesson, Lesson::Nothing);
    assert_eq!(refusal(&lab), "anchor-changed");
}

#[test]
fn where_only_the_enrolled_are_used_a_provisional_one_is_not_even_where_it_is_expected() {
    let mut lab = Lab::strict();
    let strictest = Policy {
        first_use: FirstUse::EnrolledOnly,
        ..Policy::default()
    };
    lab.session.set_policy(strictest);
    assert_eq!(refusal(&lab), "not-enrolled");
    lab.session.rebind(Some(verified()));
    assert_eq!(lab.route(), Route::Encrypted);
}

#[test]
fn what_another_place_learned_about_a_resolver_is_not_unlearned_here() {
    let mut lab = Lab::strict();
    lab.session.begin_walk().unwrap();
    match lab.end(upgraded(), Some(verified())) {
        Lesson::Remember(identity, _) => assert_eq!(identity.state, TrustState::Verified),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_resolver_that_revokes_itself_is_never_used_again() {
    let name = discovered(1).name;
    let revoked = || Verdict::Refused {
        refusal: Refusal::IdentityRevoked { name: name.clone() },
    };
    let mut lab = Lab::strict();
    lab.session.begin_walk().unwrap();
    assert_eq!(lab.end(revoked(), None), Lesson::Revoke(name.clone()));
    assert_eq!(refusal(&lab), "identity-revoked");
    lab.session.begin_walk().unwrap();
    assert_eq!(lab.end(revoked(), None), Lesson::Nothing, "it is known");
    // Where it is not expected, it is known from elsewhere that it was.
    let mut lab = Lab::new(Policy::default());
    lab.session.begin_walk().unwrap();
    assert_eq!(lab.end(revoked(), None), Lesson::Revoke(name.clone()));
}

#[test]
fn a_person_who_forgets_is_obeyed_and_a_store_that_failed_is_not() {
    let mut lab = Lab::strict();
    lab.session.rebind(None);
    assert_eq!(lab.route(), Route::AfterWalk);
    let mut lab = Lab::new(Policy::default());
    lab.session.begin_walk().unwrap();
    lab.end_walk(upgraded(), Err("disk full".to_owned()))
        .unwrap();
    lab.session.rebind(None);
    assert_eq!(lab.route(), Route::Encrypted, "the latch holds");
    let older = KnownIdentity {
        tlsa: Vec::new(),
        ..verified()
    };
    lab.session.rebind(Some(older));
    let known = lab.session.identity().unwrap();
    assert_eq!(known.state, TrustState::Verified);
    assert!(!known.tlsa.is_empty(), "what was learned since stays");
}

#[test]
fn a_change_of_the_store_does_not_undo_what_a_walk_just_found() {
    let mut lab = Lab::new(Policy::default());
    lab.walk(legacy());
    lab.session.rebind(None);
    assert_eq!(lab.route(), Route::Legacy);
}

#[test]
fn after_a_long_sleep_failures_of_before_count_for_nothing() {
    let mut lab = Lab::strict();
    let _ = lab.session.on_tls_failure(lab.now, &unreachable());
    lab.now += MOVED_AFTER;
    assert!(lab.session.may_walk_in_clear(lab.now, &unreachable()));
    lab.session.on_resume(lab.now);
    assert!(!lab.session.may_walk_in_clear(lab.now, &unreachable()));
    assert_eq!(lab.route(), Route::Encrypted, "the latch holds");
    for verdict in [legacy(), Verdict::NoAnswer] {
        let mut lab = Lab::new(Policy::default());
        lab.walk(verdict);
        lab.session.on_resume(lab.now);
        assert_eq!(lab.route(), Route::AfterWalk, "the world may be another");
    }
}

fn denied_on_the_way() -> Verdict {
    Verdict::Legacy {
        reason: LegacyReason::DeniedOnTheWay,
        name: Some(discovered(1).name),
    }
}

#[test]
fn whom_a_box_denies_at_a_first_meeting_is_looked_for_again_in_five_minutes_and_the_policy_decides_until_then()
 {
    for (policy, asks) in [
        (LegacyPolicy::Plain, true),
        (LegacyPolicy::Encrypted, true),
        (LegacyPolicy::Verified, true),
        (LegacyPolicy::Refuse, false),
    ] {
        let mut lab = Lab::new(policy);
        assert_eq!(lab.walk(denied_on_the_way()), None);
        match lab.route() {
            // As far down the ladder as the policy says.
            Route::Legacy => assert!(asks),
            Route::Fail(Failure::Refused(refusal)) => {
                assert!(!asks);
                assert_eq!(refusal.name(), "legacy");
                assert!(refusal.cure().contains("synth-from-dnssec no"));
            }
            other => panic!("{other:?}"),
        }
        lab.now += Duration::from_secs(299);
        assert_ne!(lab.route(), Route::AfterWalk);
        lab.now += Duration::from_secs(1);
        assert_eq!(lab.route(), Route::AfterWalk);
        assert!(lab.walk(upgraded()).is_some(), "the box forgot");
        assert_eq!(lab.route(), Route::Encrypted);
    }
}

#[test]
fn whom_a_box_denies_and_who_is_known_from_elsewhere_or_vouched_for_is_refused() {
    let known = KnownIdentity::first_met(&discovered(1));
    for (known, enrolled) in [(Some(known), None), (None, Some(vouched(1)))] {
        let mut lab = lab(FirstUse::Auto);
        lab.session.begin_walk().unwrap();
        let lesson = lab.end_with(denied_on_the_way(), known, enrolled);
        assert_eq!(lesson, Lesson::Nothing);
        assert_eq!(refusal(&lab), "downgraded");
        lab.now += REFUSED_FOR;
        assert!(matches!(lab.route(), Route::FailAndWalk(_)));
    }
    let revoked = KnownIdentity {
        state: TrustState::Revoked,
        ..KnownIdentity::first_met(&discovered(1))
    };
    let mut lab = lab(FirstUse::Auto);
    lab.session.begin_walk().unwrap();
    let lesson = lab.end(denied_on_the_way(), Some(revoked));
    assert_eq!(lesson, Lesson::Revoke(discovered(1).name));
    assert_eq!(refusal(&lab), "identity-revoked");
}

#[test]
fn where_somebody_is_expected_a_boxs_own_denial_changes_nothing() {
    let mut lab = Lab::strict();
    lab.session.begin_walk().unwrap();
    assert_eq!(lab.end(denied_on_the_way(), None), Lesson::Nothing);
    assert_eq!(lab.route(), Route::Encrypted);
}
