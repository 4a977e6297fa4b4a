#![allow(clippy::unwrap_used)]

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, PublicKeyBuf};
use zzdot_zonegen::zone::ServerType;

use super::*;
use crate::discover::Discovered;
use crate::discover::Verdict;
use crate::dot::{ConnectError, ConnectStage, Ended};
use crate::trust::{Enrolled, KeySet, TrustState, ZoneVersion, ZoneVersions};

const CLOCK: UnixTime = UnixTime(1_000_000);
const WEEK: u64 = 7 * 86_400;

fn server() -> SocketAddr {
    "192.0.2.1:53".parse().unwrap()
}

fn endpoint() -> SocketAddr {
    "192.0.2.1:853".parse().unwrap()
}

fn discovered(key: u8) -> Discovered {
    let version = ZoneVersion {
        serial: 1,
        inception: CLOCK,
        accepted: CLOCK,
    };
    let key = DNSKEY::with_flags(
        257,
        PublicKeyBuf::new(vec![key; 64], Algorithm::ECDSAP256SHA256),
    );
    Discovered {
        name: "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap(),
        server_type: ServerType::Resolver,
        server: server(),
        anchor: vec![key.clone()],
        keys: KeySet {
            keys: vec![key.clone()],
            signers: vec![key],
            ..KeySet::default()
        },
        name_keys: Vec::new(),
        tlsa: vec![format!("3 1 1 {}", "ab".repeat(32)).parse().unwrap()],
        endpoint: endpoint(),
        addresses: Vec::new(),
        versions: ZoneVersions {
            anchor_zone: version,
            name_zone: version,
        },
        ttl: 60,
        signatures_expire: UnixTime(CLOCK.0 + WEEK),
        validated: CLOCK,
    }
}

fn upgraded() -> Verdict {
    Verdict::Upgraded(Box::new(discovered(1)))
}

fn legacy() -> Verdict {
    Verdict::Legacy {
        reason: LegacyReason::NoSuchZone,
        name: None,
    }
}

fn refused() -> Verdict {
    Verdict::Refused {
        refusal: Refusal::NoResolverName { told: Vec::new() },
    }
}

fn another_key() -> DotError {
    DotError::NoConnection(ConnectError::Untrusted {
        address: endpoint(),
        reason: "another key".to_owned(),
    })
}

fn unreachable() -> DotError {
    DotError::NoConnection(ConnectError::TimedOut {
        address: endpoint(),
        stage: ConnectStage::Tcp,
    })
}

struct Lab {
    session: Session,
    now: Instant,
}

impl Lab {
    fn new(policy: impl Into<Policy>) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(server(), policy.into(), None, now),
            now,
        }
    }

    fn strict() -> Self {
        let now = Instant::now();
        let known = KnownIdentity::first_met(&discovered(1));
        Self {
            session: Session::new(server(), Policy::default(), Some(known), now),
            now,
        }
    }

    fn walk(&mut self, verdict: Verdict) -> Option<KnownIdentity> {
        self.session.begin_walk().unwrap();
        self.end_walk(verdict, Ok(()))
    }

    fn end_walk(&mut self, verdict: Verdict, stored: Result<(), String>) -> Option<KnownIdentity> {
        match self.end(verdict, None) {
            Lesson::Remember(identity, _) => {
                let learned = (*identity).clone();
                self.session.learn(self.now, CLOCK, *identity, stored);
                Some(learned)
            }
            _ => None,
        }
    }

    fn end(&mut self, verdict: Verdict, known: Option<KnownIdentity>) -> Lesson {
        self.end_with(verdict, known, None)
    }

    fn end_with(
        &mut self,
        verdict: Verdict,
        known: Option<KnownIdentity>,
        enrolled: Option<Enrolled>,
    ) -> Lesson {
        let acquaintance = Acquaintance { known, enrolled };
        self.session.end_walk(self.now, verdict, acquaintance)
    }

    fn route(&self) -> Route {
        self.session.route(self.now, CLOCK)
    }
}

#[test]
fn nothing_leaves_before_the_first_verdict() {
    let mut lab = Lab::new(LegacyPolicy::Plain);
    assert_eq!(lab.route(), Route::AfterWalk);
    assert_eq!(lab.session.begin_walk(), Some(None));
    assert_eq!(lab.session.begin_walk(), None, "one walk at a time");
    assert_eq!(lab.route(), Route::AfterWalk);
}

#[test]
fn a_first_meeting_latches_and_is_to_be_remembered() {
    let mut lab = Lab::new(LegacyPolicy::Plain);
    let remembered = lab.walk(upgraded()).unwrap();
    assert_eq!(remembered.state, TrustState::Provisional);
    assert_eq!(lab.route(), Route::Encrypted);
}

#[test]
fn nothing_leads_from_strict_to_cleartext() {
    let verdicts = [
        legacy(),
        refused(),
        Verdict::NoAnswer,
        Verdict::Upgraded(Box::new(discovered(2))),
    ];
    for verdict in verdicts {
        let mut lab = Lab::strict();
        assert_eq!(
            lab.route(),
            Route::Encrypted,
            "no walk before the first question"
        );
        assert_eq!(lab.walk(verdict.clone()), None);
        for hours in 0..100 {
            let now = lab.now + Duration::from_secs(3600 * hours);
            for clock in [0, CLOCK.0, CLOCK.0 + 2 * WEEK] {
                let route = lab.session.route(now, UnixTime(clock));
                assert_ne!(route, Route::Legacy, "{verdict:?}");
            }
        }
    }
}

#[test]
fn a_legacy_server_is_used_as_the_configuration_says_for_an_hour() {
    let mut lab = Lab::new(LegacyPolicy::Plain);
    lab.walk(legacy());
    assert_eq!(lab.route(), Route::Legacy);
    lab.now += Duration::from_secs(3599);
    assert_eq!(lab.route(), Route::Legacy);
    lab.now += Duration::from_secs(1);
    assert_eq!(lab.route(), Route::AfterWalk);
    let mut lab = Lab::new(LegacyPolicy::Refuse);
    lab.walk(legacy());
    match lab.route() {
        Route::Fail(failure) => assert!(failure.ede().1.starts_with("legacy: ")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn refusals_and_silence_are_told_and_looked_at_again() {
    let mut lab = Lab::new(LegacyPolicy::Plain);
    lab.walk(refused());
    match lab.route() {
        Route::Fail(failure) => assert!(failure.ede().1.starts_with("no-resolver-name: ")),
        other => panic!("{other:?}"),
    }
    lab.now += REFUSED_FOR;
    assert!(
        matches!(lab.route(), Route::FailAndWalk(_)),
        "told at once, and looked at behind"
    );
    lab.walk(Verdict::NoAnswer);
    assert!(matches!(lab.route(), Route::Fail(Failure::NoAnswer(_))));
    lab.now += NO_ANSWER_FOR;
    assert!(matches!(
        lab.route(),
        Route::FailAndWalk(Failure::NoAnswer(_))
    ));
    lab.now += TOLD_FOR;
    assert_eq!(lab.route(), Route::AfterWalk, "old news: worth waiting");
}

#[test]
fn the_anchor_of_a_name_known_from_elsewhere_counts() {
    let mut lab = Lab::new(LegacyPolicy::Plain);
    lab.session.begin_walk().unwrap();
    let known = KnownIdentity::first_met(&discovered(2));
    assert_eq!(lab.end(upgraded(), Some(known)), Lesson::Nothing);
    match lab.session.state() {
        State::Refused { refusal, .. } => assert_eq!(refusal.name(), "anchor-changed"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn expired_signatures_are_renewed_before_the_key_is_used() {
    let mut lab = Lab::strict();
    let late = UnixTime(CLOCK.0 + WEEK + 1);
    assert_eq!(lab.session.route(lab.now, late), Route::AfterWalk);
    lab.session.begin_walk().unwrap();
    lab.end(Verdict::NoAnswer, None);
    assert!(matches!(lab.session.route(lab.now, late), Route::Fail(_)));
    lab.now += REWALK_PAUSE;
    assert!(matches!(
        lab.session.route(lab.now, late),
        Route::FailAndWalk(_)
    ));
    lab.now += TOLD_FOR;
    assert_eq!(lab.session.route(lab.now, late), Route::AfterWalk);
}

#[test]
fn an_identity_is_renewed_by_the_hour() {
    let mut lab = Lab::strict();
    lab.walk(upgraded()).unwrap();
    assert!(!lab.session.wants_refresh(lab.now));
    lab.now += REFRESH;
    assert!(lab.session.wants_refresh(lab.now));
    lab.session.begin_walk().unwrap();
    assert!(!lab.session.wants_refresh(lab.now), "one walk at a time");
}

#[test]
fn what_could_not_be_remembered_is_told_and_tried_again_soon() {
    let mut lab = Lab::new(LegacyPolicy::Plain);
    lab.session.begin_walk().unwrap();
    lab.end_walk(upgraded(), Err("disk full".to_owned()))
        .unwrap();
    assert_eq!(lab.session.unremembered(), Some("disk full"));
    assert_eq!(
        lab.route(),
        Route::Encrypted,
        "the latch holds nevertheless"
    );
    lab.now += REFRESH_RETRY;
    assert!(lab.session.wants_refresh(lab.now));
    assert!(lab.walk(upgraded()).is_some());
    assert_eq!(lab.session.unremembered(), None);
    lab.now += REFRESH_RETRY;
    assert!(!lab.session.wants_refresh(lab.now));
}

#[test]
fn what_happened_to_the_keys_is_told_with_what_is_remembered() {
    let mut lab = Lab::strict();
    lab.session.begin_walk().unwrap();
    let mut found = discovered(1);
    let new = discovered(2).keys.keys.remove(0);
    found.keys.keys.push(new.clone());
    let Lesson::Remember(_, events) = lab.end(Verdict::Upgraded(Box::new(found)), None) else {
        panic!("it is to be remembered");
    };
    let tag = zzdot_zonegen::keys::key_tag(&new);
    assert_eq!(events, [crate::trust::AnchorEvent::Pending(tag)]);
    let told = events[0].to_string();
    assert_eq!(
        told,
        format!("key {tag} is new, and watched before it is trusted")
    );
}

#[test]
fn no_question_is_answered_before_the_store_has_it() {
    let mut lab = Lab::new(LegacyPolicy::Plain);
    lab.session.begin_walk().unwrap();
    let Lesson::Remember(identity, _) = lab.end(upgraded(), None) else {
        panic!("it is to be remembered");
    };
    assert_eq!(lab.route(), Route::AfterWalk);
    assert_eq!(lab.session.begin_walk(), None, "it is not over yet");
    lab.session.learn(lab.now, CLOCK, *identity, Ok(()));
    assert_eq!(lab.route(), Route::Encrypted);
}

#[test]
fn what_another_session_met_binds_this_one() {
    for verdict in [legacy(), refused(), Verdict::NoAnswer] {
        let mut lab = Lab::new(LegacyPolicy::Plain);
        lab.walk(verdict);
        lab.session.bind(KnownIdentity::first_met(&discovered(1)));
        lab.walk(legacy());
        for hours in 0..3 {
            lab.now += Duration::from_secs(3600 * hours);
            assert_eq!(lab.route(), Route::Encrypted);
        }
    }
}

#[test]
fn a_revoked_identity_is_not_asked_anything() {
    let now = Instant::now();
    let revoked = KnownIdentity::first_met(&discovered(1)).revoked();
    let session = Session::new(server(), Policy::default(), Some(revoked), now);
    match session.route(now, CLOCK) {
        Route::Fail(failure) => assert_eq!(failure.name(), "identity-revoked"),
        other => panic!("{other:?}"),
    }
    assert!(!session.wants_refresh(now + REFRESH));
}

#[test]
fn a_walk_that_may_not_go_in_cleartext_ends_with_the_reason() {
    let mut lab = Lab::strict();
    let late = UnixTime(CLOCK.0 + WEEK + 1);
    lab.session.begin_walk().unwrap();
    lab.session.abandon_walk(lab.now, &unreachable());
    match lab.session.route(lab.now, late) {
        Route::Fail(failure) => assert_eq!(failure.name(), "no-answer-on-dot-port"),
        other => panic!("{other:?}"),
    }
    assert!(lab.session.begin_walk().is_some(), "it is over");
}

#[test]
fn a_resolver_that_changes_right_after_it_was_met_is_looked_at_again_once() {
    let mut lab = Lab::new(LegacyPolicy::Plain);
    lab.walk(upgraded()).unwrap();
    let advice = lab.session.on_tls_failure(lab.now, &another_key());
    assert_eq!(advice, Advice::Walk);
    lab.walk(upgraded()).unwrap();
    let again = lab.session.on_tls_failure(lab.now, &another_key());
    assert!(matches!(again, Advice::Fail(_)), "{again:?}");
}

#[test]
fn what_a_walk_finds_after_its_resolver_was_forgotten_counts_for_nothing() {
    for verdict in [refused(), upgraded(), Verdict::NoAnswer] {
        let mut lab = Lab::strict();
        lab.session.begin_walk().unwrap();
        lab.session.forget();
        assert_eq!(lab.end(verdict, None), Lesson::Nothing);
        assert_eq!(lab.route(), Route::AfterWalk);
        assert_eq!(lab.session.begin_walk(), Some(None), "a first meeting");
    }
}

#[test]
fn what_the_walk_found_says_more_than_that_tls_fails() {
    let mut lab = Lab::strict();
    lab.walk(legacy());
    match lab.session.on_tls_failure(lab.now, &another_key()) {
        Advice::Fail(failure) => assert!(failure.ede().1.starts_with("downgraded: ")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_over_tls_clears_what_stood_in_the_way() {
    let mut lab = Lab::strict();
    let _ = lab.session.on_tls_failure(lab.now, &another_key());
    lab.walk(legacy());
    assert!(matches!(
        lab.session.state(),
        State::Strict { fault: Some(_), .. }
    ));
    lab.session.on_tls_answer();
    assert!(matches!(
        lab.session.state(),
        State::Strict { fault: None, .. }
    ));
    // But a walk that failed while TLS went on working is still to be told.
    lab.walk(legacy());
    lab.session.on_tls_answer();
    assert!(matches!(
        lab.session.state(),
        State::Strict { fault: Some(_), .. }
    ));
}

#[test]
fn a_slow_answer_is_no_reason_to_doubt_the_resolver() {
    let mut lab = Lab::strict();
    let slow = DotError::Deadline {
        address: endpoint(),
        connect: None,
    };
    let lost = DotError::Lost {
        address: endpoint(),
        ended: Ended::ByServer,
    };
    for error in [slow, lost] {
        let advice = lab.session.on_tls_failure(lab.now, &error);
        assert!(matches!(advice, Advice::Fail(Failure::NoAnswer(_))));
    }
}

#[test]
fn forgetting_makes_the_next_meeting_a_first_one() {
    let mut lab = Lab::strict();
    lab.session.forget();
    assert_eq!(lab.route(), Route::AfterWalk);
    assert_eq!(lab.session.begin_walk(), Some(None));
}

mod failures;
mod routes;
mod strangers;
