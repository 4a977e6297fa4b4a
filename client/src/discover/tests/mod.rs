#![allow(clippy::unwrap_used)]

mod denied;
mod home;
mod lab;
mod memory;
mod peers;
mod refusals;
mod rollover;
mod schedules;
mod spoilt;
mod unbound;

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::publish::publish;
use zzdot_zonegen::zone::{Publication, ServerType};

use self::lab::*;
use super::*;

#[test]
fn a_first_meeting_takes_two_flights_and_ends_upgraded() {
    let identity = identity();
    let zones = published(&identity);
    let trip = Walker::to(&identity, &zones).walk();
    let discovered = trip.discovered();
    assert_eq!(trip.flights, 2);
    assert_eq!(trip.asked.len(), 11);
    assert_eq!(trip.connected, ["192.0.2.1:853".parse().unwrap()]);
    assert_eq!(&discovered.name, identity.name());
    assert_eq!(discovered.server_type, ServerType::Resolver);
    assert_eq!(discovered.anchor.len(), 2);
    for key in identity.trust_anchor() {
        assert!(discovered.anchor.contains(&key));
    }
    assert_eq!(discovered.endpoint, "192.0.2.1:853".parse().unwrap());
    assert_eq!(discovered.addresses.len(), 2);
    assert_eq!(discovered.ttl, 60);
    assert_eq!(discovered.tlsa.len(), 1);
    assert_eq!(discovered.tlsa[0].data, identity.spki_sha256());
    assert!(discovered.signatures_expire > CLOCK);
    let validated = trip.steps.iter().filter_map(|step| match step {
        Step::Validated { rtype, .. } => Some(rtype.as_str()),
        _ => None,
    });
    let mut validated: Vec<_> = validated.collect();
    validated.sort_unstable();
    assert_eq!(
        validated,
        [
            "A", "DNSKEY", "DNSKEY", "KEY", "NS", "SOA", "SOA", "SVCB", "TLSA", "TXT"
        ]
    );
    let denied = |step: &Step| matches!(step, Step::Denied { rtype, .. } if rtype == "AAAA");
    assert!(trip.steps.iter().any(denied));
}

#[test]
fn the_questions_ask_for_signatures_and_for_no_checking() {
    let identity = identity();
    let zones = published(&identity);
    let mut seen = 0;
    let mut walker = Walker::to(&identity, &zones);
    walker.answers = Box::new(|ask| {
        let bytes = ask.message(9);
        let view = crate::wire::View::parse(&bytes).unwrap();
        assert!(view.recursion_desired() && view.checking_disabled());
        assert!(view.edns().unwrap().unwrap().dnssec_ok);
        seen += 1;
        Some(answer(&zones, ask).to_vec().unwrap())
    });
    walker.walk().discovered();
    assert_eq!(seen, 11);
}

#[test]
fn another_port_is_learned_and_proven_there() {
    let identity = identity();
    let publication = Publication {
        dot_port: 8853,
        ..publication()
    };
    let zones = publish(&identity, &publication, &stamp(None, CLOCK)).unwrap();
    let trip = Walker::to(&identity, &zones).walk();
    let endpoint: SocketAddr = "192.0.2.1:8853".parse().unwrap();
    assert_eq!(trip.discovered().endpoint, endpoint);
    assert_eq!(trip.flights, 3);
    assert_eq!(trip.connected, ["192.0.2.1:853".parse().unwrap(), endpoint]);

    // Once it is remembered, no flight is lost on it.
    let mut again = Walker::to(&identity, &zones);
    again.known = Some(crate::trust::KnownIdentity::first_met(trip.discovered()));
    let trip = again.walk();
    assert_eq!(trip.flights, 2);
    assert_eq!(trip.discovered().endpoint, endpoint);
    assert_eq!(trip.connected, [endpoint]);
}

#[test]
fn each_legacy_answer_has_its_name() {
    let identity = identity();
    let zones = published(&identity);
    let denied = |message: &mut Message, code| {
        message.answers.clear();
        message.authorities.clear();
        message.metadata.response_code = code;
    };
    for (code, reason) in [
        (ResponseCode::NXDomain, LegacyReason::NoSuchZone),
        (ResponseCode::NoError, LegacyReason::NoData),
        (ResponseCode::Refused, LegacyReason::Refused),
        (ResponseCode::NotImp, LegacyReason::NotImplemented),
        (ResponseCode::FormErr, LegacyReason::FormatError),
        (ResponseCode::ServFail, LegacyReason::ServerFailure),
        (ResponseCode::YXDomain, LegacyReason::OtherCode),
    ] {
        let trip = Walker::spoilt(&identity, &zones, |_, m| denied(m, code)).walk();
        assert_eq!(trip.verdict, Verdict::Legacy { reason, name: None });
        assert_eq!(trip.flights, 1);
        assert!(trip.connected.is_empty());
    }
    let unsigned = Walker::spoilt(&identity, &zones, |_, m| {
        m.answers.retain(|r| r.record_type() != RecordType::RRSIG);
    })
    .walk();
    assert_eq!(
        unsigned.verdict,
        Verdict::Legacy {
            reason: LegacyReason::NoSignatures,
            name: None,
        }
    );
    // As the root would deny it: NXDOMAIN with somebody's signatures.
    let signed = Walker::spoilt(&identity, &zones, |_, message| {
        message.answers.clear();
        message.authorities = zones
            .name_zone
            .lookup(identity.name().as_name(), RecordType::NULL)
            .unwrap()
            .authorities;
        message.metadata.response_code = ResponseCode::NXDomain;
    });
    assert_eq!(
        signed.walk().verdict,
        Verdict::Legacy {
            reason: LegacyReason::SignedDenial,
            name: None,
        }
    );
}

#[test]
fn one_legacy_answer_is_enough_when_the_other_question_is_swallowed() {
    let identity = identity();
    let zones = published(&identity);
    for swallowed in [RecordType::DNSKEY, RecordType::NS] {
        let mut walker = Walker::to(&identity, &zones);
        walker.answers = Box::new(|ask| {
            let mut message = answer(&zones, ask);
            message.answers.clear();
            message.metadata.response_code = ResponseCode::NXDomain;
            (ask.qtype != swallowed).then(|| message.to_vec().unwrap())
        });
        assert_eq!(
            walker.walk().verdict,
            Verdict::Legacy {
                reason: LegacyReason::NoSuchZone,
                name: None,
            }
        );
    }
}

#[test]
fn silence_is_no_answer_and_never_legacy() {
    let identity = identity();
    let zones = published(&identity);
    let silent_to = |silent: &dyn Fn(&Ask) -> bool| {
        let mut walker = Walker::to(&identity, &zones);
        walker.answers =
            Box::new(|ask| (!silent(ask)).then(|| answer(&zones, ask).to_vec().unwrap()));
        walker.walk()
    };
    assert_eq!(silent_to(&|_| true).verdict, Verdict::NoAnswer);
    for rtype in [
        RecordType::DNSKEY,
        RecordType::NS,
        RecordType::KEY,
        RecordType::SOA,
        RecordType::TXT,
        RecordType::TLSA,
    ] {
        assert_eq!(
            silent_to(&|ask| ask.qtype == rtype).verdict,
            Verdict::NoAnswer,
            "{rtype}"
        );
    }
    // These help, and the walk gets by without.
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::SVCB] {
        let trip = silent_to(&|ask| ask.qtype == rtype);
        trip.discovered();
        let rtype = rtype.to_string();
        let told = |step: &Step| matches!(step, Step::DoneWithout { rtype: t, .. } if *t == rtype);
        assert!(trip.steps.iter().any(told));
    }
    let failing = Walker::spoilt(&identity, &zones, |ask, message| {
        if ask.qtype == RecordType::TLSA {
            message.metadata.response_code = ResponseCode::ServFail;
        }
    });
    assert_eq!(failing.walk().verdict, Verdict::NoAnswer);
}

#[test]
fn a_walk_that_nobody_reports_to_ends_at_its_time_limit() {
    let identity = identity();
    let zones = published(&identity);
    for lost in [0, 1, 2, 5, 8] {
        let mut walker = Walker::to(&identity, &zones);
        let mut round = 0;
        walker.shuffle = Box::new(move |reports| {
            round += 1;
            // The first flight gets through; of the second this many reports are lost.
            if round == 2 || lost == 0 {
                reports.truncate(reports.len().saturating_sub(1 + lost));
            }
        });
        let verdict = walker.walk().verdict;
        let no_tls = |verdict: &Verdict| {
            matches!(
                verdict,
                Verdict::Refused {
                    refusal: Refusal::NoAnswerOnDotPort { .. }
                }
            )
        };
        assert!(
            verdict == Verdict::NoAnswer || no_tls(&verdict),
            "{verdict:?}"
        );
    }
}

#[test]
fn the_clock_below_the_floor_asks_nothing() {
    let identity = identity();
    let zones = published(&identity);
    let mut walker = Walker::to(&identity, &zones);
    walker.clock = UnixTime(1_600_000_000);
    let trip = walker.walk();
    assert_eq!(trip.refusal().name(), "clock-below-floor");
    assert!(trip.asked.is_empty() && trip.connected.is_empty());
}

#[test]
fn verdicts_and_steps_are_told_in_stable_json() {
    let identity = identity();
    let zones = published(&identity);
    let trip = Walker::to(&identity, &zones).walk();
    let verdict = serde_json::to_value(&trip.verdict).unwrap();
    assert_eq!(verdict["verdict"], "upgraded");
    assert_eq!(verdict["name"], identity.name().to_string());
    assert_eq!(verdict["server-type"], "resolver");
    assert_eq!(verdict["endpoint"], "192.0.2.1:853");
    assert!(
        verdict["anchor"][0]
            .as_str()
            .unwrap()
            .starts_with("257 3 13 ")
    );
    assert!(verdict["tlsa"][0].as_str().unwrap().starts_with("3 1 1 "));
    let first = serde_json::to_value(&trip.steps[0]).unwrap();
    assert_eq!(first["step"], "asked");
    let legacy = Verdict::Legacy {
        reason: LegacyReason::NoSuchZone,
        name: None,
    };
    assert_eq!(
        serde_json::to_value(legacy).unwrap(),
        serde_json::json!({"verdict": "legacy", "reason": "no-such-zone"})
    );
    let refused = Verdict::Refused {
        refusal: Refusal::NoAnswerOnDotPort { tried: vec![] },
    };
    let refused = serde_json::to_value(refused).unwrap();
    assert_eq!(refused["refusal"]["name"], "no-answer-on-dot-port");
    assert_eq!(refused["refusal"]["ede"], 23);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reports_in_any_order_twice_or_to_other_questions_change_nothing(
        order in proptest::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let identity = identity();
        let zones = published(&identity);
        let mut walker = Walker::to(&identity, &zones);
        let mut order = order.into_iter().cycle();
        walker.shuffle = Box::new(move |reports| {
            let mut copies = reports.clone();
            // Each answer also comes for the question before it, as a late one would.
            let messages: Vec<_> = reports.iter().filter_map(|report| match report {
                Report::Message(id, bytes) => Some((*id, bytes.clone())),
                _ => None,
            }).collect();
            for pair in messages.windows(2) {
                copies.push(Report::Message(pair[0].0, pair[1].1.clone()));
            }
            copies.append(reports);
            for at in (1..copies.len()).rev() {
                copies.swap(at, order.next().unwrap().index(at + 1));
            }
            *reports = copies;
        });
        let trip = walker.walk();
        prop_assert_eq!(&trip.discovered().name, identity.name());
        prop_assert_eq!(trip.flights, 2);
    }

    #[test]
    fn whatever_the_server_says_the_walk_ends_and_trusts_no_other_key(
        hits in proptest::collection::vec((0usize..14, any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let identity = identity();
        let zones = published(&identity);
        let mut walker = Walker::to(&identity, &zones);
        let mut count = 0;
        walker.answers = Box::new(|ask| {
            let mut bytes = answer(&zones, ask).to_vec().unwrap();
            for (which, at, value) in &hits {
                if *which == count {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
            }
            count += 1;
            Some(bytes)
        });
        let trip = walker.walk();
        if let Verdict::Upgraded(discovered) = &trip.verdict {
            prop_assert_eq!(&discovered.name, identity.name());
            prop_assert_eq!(discovered.tlsa[0].data.as_slice(), identity.spki_sha256());
            let mine: Vec<IpAddr> = publication().addresses;
            prop_assert!(discovered.addresses.iter().all(|address| mine.contains(address)));
        }
    }
}
