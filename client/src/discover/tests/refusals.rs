//! What people and applications are told when a resolver is refused.

use std::collections::BTreeSet;

use zzdot_zonegen::clock::UnixTime;

use super::lab::*;
use crate::discover::*;
use crate::trust::{KnownIdentity, Verification, VerifiedBy};
use crate::validate::{Bogus, BogusReason};

fn every_refusal(known: &KnownIdentity) -> Vec<Refusal> {
    let name = || known.name.clone();
    let endpoint = known.endpoint;
    let bogus = |reason| {
        let rtype = hickory_proto::rr::RecordType::TLSA;
        Refusal::Bogus(Bogus::new(reason, known.name.as_name(), rtype))
    };
    let reason = LegacyReason::NoSuchZone;
    let all = vec![
        bogus(BogusReason::SignatureExpired),
        bogus(BogusReason::SignatureNotYetValid),
        bogus(BogusReason::NotSignedByAnchor),
        Refusal::MalformedAnswer {
            asked: "a. TLSA".to_owned(),
            error: "half of it".to_owned(),
        },
        Refusal::NoResolverName { told: Vec::new() },
        Refusal::RecordMissing {
            record: "a TLSA".to_owned(),
        },
        Refusal::NoUsableTlsa {
            owner: "a".to_owned(),
        },
        Refusal::CertificateMismatch {
            endpoint,
            mismatch: TlsaMismatch::OtherKey,
        },
        Refusal::NoAnswerOnDotPort {
            tried: vec![endpoint],
        },
        Refusal::HandshakeFailed {
            endpoint,
            detail: "reset".to_owned(),
        },
        Refusal::AnchorChanged {
            name: name(),
            remembered: vec![1],
            shown: vec![2],
        },
        Refusal::NameChanged {
            remembered: name(),
            told: name(),
        },
        Refusal::RolledBack {
            zone: "a".to_owned(),
            detail: "serial 1, before 2".to_owned(),
        },
        Refusal::IdentityRevoked { name: name() },
        Refusal::ClockBelowFloor {
            clock: UnixTime(0),
            floor: CLOCK,
        },
        Refusal::Downgraded {
            name: name(),
            reason,
        },
        Refusal::Legacy { reason },
        Refusal::NotEncrypted {
            reason,
            missed: Vec::new(),
        },
        Refusal::RevokedKeyReturned {
            name: name(),
            key_tags: vec![1],
        },
        Refusal::NotEnrolled { name: name() },
        Refusal::NotApproved { name: name() },
        Refusal::CaptivePortal { portal: None },
        Refusal::ChainNotEncrypted {
            hop: Some("a -> b".to_owned()),
            why: "it is in the clear".to_owned(),
        },
    ];
    for refusal in &all {
        // Whoever adds one adds it above, too.
        match refusal {
            Refusal::Bogus(_)
            | Refusal::MalformedAnswer { .. }
            | Refusal::NoResolverName { .. }
            | Refusal::RecordMissing { .. }
            | Refusal::NoUsableTlsa { .. }
            | Refusal::CertificateMismatch { .. }
            | Refusal::NoAnswerOnDotPort { .. }
            | Refusal::HandshakeFailed { .. }
            | Refusal::AnchorChanged { .. }
            | Refusal::NameChanged { .. }
            | Refusal::RolledBack { .. }
            | Refusal::IdentityRevoked { .. }
            | Refusal::ClockBelowFloor { .. }
            | Refusal::Downgraded { .. }
            | Refusal::Legacy { .. }
            | Refusal::NotEncrypted { .. }
            | Refusal::RevokedKeyReturned { .. }
            | Refusal::NotEnrolled { .. }
            | Refusal::NotApproved { .. }
            | Refusal::ChainNotEncrypted { .. }
            | Refusal::CaptivePortal { .. } => {}
        }
    }
    all
}

#[test]
fn every_refusal_has_a_name_of_its_own_a_cause_a_cure_and_what_to_do() {
    let identity = identity();
    let zones = published(&identity);
    let known = KnownIdentity::first_met(Walker::to(&identity, &zones).walk().discovered());
    let mut names = BTreeSet::new();
    for refusal in every_refusal(&known) {
        let name = refusal.name();
        assert!(names.insert(name), "{name} twice");
        let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(name.chars().all(kebab), "{name}");
        let (_, told) = refusal.ede();
        assert_eq!(told, format!("{name}: {}", refusal.cause()));
        let sentences = [refusal.cause(), refusal.cure()];
        for explanation in [refusal.explain(None), refusal.explain(Some(&known))] {
            let Explanation {
                expected,
                offered,
                innocent_cause,
                options,
                ..
            } = explanation;
            for text in [expected, offered, innocent_cause]
                .iter()
                .chain(&options)
                .chain(&sentences)
            {
                assert!(!text.is_empty() && !text.ends_with('.'), "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn a_mismatch_says_whom_it_expected_since_when_and_offers_no_way_without_comparing() {
    let identity = identity();
    let zones = published(&identity);
    let known = KnownIdentity::first_met(Walker::to(&identity, &zones).walk().discovered());
    let by = VerifiedBy::Phrase;
    let known = known.verified(Verification { by, at: CLOCK });
    let told = Refusal::AnchorChanged {
        name: known.name.clone(),
        remembered: vec![1],
        shown: vec![2],
    };
    let told = told.explain(Some(&known)).to_string();
    for part in [
        &format!("expected: {}, verified by its phrase", known.name),
        &format!("known since {CLOCK}"),
        "offered:  the trust anchor of",
        "perhaps:  the resolver was set up anew",
        "1. wait",
        "2. compare",
        "3. use another network",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert!(!told.contains("resolvers forget"), "{told}");
}
