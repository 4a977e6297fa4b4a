//! Meeting a resolver that is remembered.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::publish::{Published, publish};

use super::lab::*;
use crate::discover::*;
use crate::trust::{KnownIdentity, TrustState};

fn met(identity: &Identity, zones: &Published) -> KnownIdentity {
    KnownIdentity::first_met(Walker::to(identity, zones).walk().discovered())
}

fn again(identity: &Identity, zones: &Published, known: &KnownIdentity, clock: UnixTime) -> Trip {
    let mut walker = Walker::to(identity, zones);
    walker.known = Some(known.clone());
    walker.clock = clock;
    walker.walk()
}

#[test]
fn the_same_resolver_is_met_from_its_anchor_and_only_newer_things_are_learned() {
    let identity = identity();
    let first = stamp(None, CLOCK);
    let zones = publish(&identity, &publication(), &first).unwrap();
    let known = met(&identity, &zones);
    assert_eq!(known.state, TrustState::Provisional);
    assert_eq!((known.first_seen, known.last_seen), (CLOCK, CLOCK));

    let later = UnixTime(CLOCK.0 + 86_400);
    let renewed = publish(&identity, &publication(), &stamp(Some(&first), later)).unwrap();
    let trip = again(&identity, &renewed, &known, later);
    assert!(trip.steps.contains(&Step::Named {
        name: identity.name().clone(),
        known: true
    }));
    let updated = known.met_again(trip.discovered()).unwrap();
    assert_eq!((updated.first_seen, updated.last_seen), (CLOCK, later));
    assert_eq!(updated.anchor.keys(), known.anchor.keys());
    assert_eq!(updated.anchor.observed(), later);
    assert_eq!(
        updated.anchor.active(),
        Some(identity.anchor_keys().ksk.dnskey())
    );
    assert_eq!(updated.state, TrustState::Provisional, "age never promotes");
    assert!(updated.versions.name_zone.serial > known.versions.name_zone.serial);
    assert!(updated.versions.anchor_zone.inception > known.versions.anchor_zone.inception);
    let unchanged = updated.met_again(trip.discovered()).unwrap();
    assert_eq!(unchanged, updated);
}

#[test]
fn what_is_remembered_survives_json() {
    let identity = identity();
    let known = met(&identity, &published(&identity));
    let json = serde_json::to_string(&known).unwrap();
    assert_eq!(serde_json::from_str::<KnownIdentity>(&json).unwrap(), known);
    let spoilt = json.replacen("257 3 13", "257 4 13", 1);
    assert!(serde_json::from_str::<KnownIdentity>(&spoilt).is_err());
}

#[test]
fn zones_older_than_those_accepted_are_refused() {
    let identity = identity();
    let first = stamp(None, CLOCK);
    let old = publish(&identity, &publication(), &first).unwrap();
    let later = UnixTime(CLOCK.0 + 86_400);
    let new = publish(&identity, &publication(), &stamp(Some(&first), later)).unwrap();
    let known = {
        let mut walker = Walker::to(&identity, &new);
        walker.clock = later;
        KnownIdentity::first_met(walker.walk().discovered())
    };
    let now = UnixTime(later.0 + 600);
    let trip = again(&identity, &old, &known, now);
    assert_eq!(trip.refusal().name(), "rolled-back");

    // One zone alone, and the serial alone.
    let mixed = Published {
        anchor_zone: new.anchor_zone.clone(),
        name_zone: old.name_zone.clone(),
    };
    assert_eq!(
        again(&identity, &mixed, &known, now).refusal().name(),
        "rolled-back"
    );
    let mut lower = stamp(None, later);
    lower.serial -= 1;
    let lower = publish(&identity, &publication(), &lower).unwrap();
    let trip = again(&identity, &lower, &known, now);
    assert!(
        trip.refusal().cause().contains("serial"),
        "{}",
        trip.refusal()
    );

    // One record that was good yesterday: its signature still holds, its zone moved on.
    let mut walker = Walker::to(&identity, &new);
    walker.known = Some(known.clone());
    walker.clock = now;
    walker.answers = Box::new(|ask| {
        let zones = if ask.qtype == RecordType::TLSA {
            &old
        } else {
            &new
        };
        Some(answer(zones, ask).to_vec().unwrap())
    });
    assert_eq!(walker.walk().refusal().name(), "rolled-back");
}

#[test]
fn an_older_copy_out_of_a_cache_is_no_roll_back_for_as_long_as_caches_keep_it() {
    let identity = identity();
    let first = stamp(None, CLOCK);
    let old = publish(&identity, &publication(), &first).unwrap();
    let later = UnixTime(CLOCK.0 + 86_400);
    let new = publish(&identity, &publication(), &stamp(Some(&first), later)).unwrap();
    let known = {
        let mut walker = Walker::to(&identity, &new);
        walker.clock = later;
        KnownIdentity::first_met(walker.walk().discovered())
    };
    let from_cache = |seconds_later: u64, ttl: u32| {
        let mut walker = Walker::spoilt(&identity, &old, move |_, message| {
            for record in message.answers.iter_mut().chain(&mut message.authorities) {
                record.ttl = ttl;
            }
        });
        walker.known = Some(known.clone());
        walker.clock = UnixTime(later.0 + seconds_later);
        walker.walk()
    };
    let trip = from_cache(10, 40);
    let updated = known.met_again(trip.discovered()).unwrap();
    assert_eq!(updated.versions, known.versions, "nothing is lowered");
    assert!(
        trip.steps
            .iter()
            .any(|step| matches!(step, Step::Stale { .. }))
    );
    // Fetched after the newer one was accepted, or longer ago than any cache keeps it.
    assert_eq!(from_cache(30, 40).refusal().name(), "rolled-back");
    assert_eq!(from_cache(61, 0).refusal().name(), "rolled-back");
}

/// Nobody signs how old a copy is: who stole a key that was replaced would say that it is out of a cache.
#[test]
fn an_older_copy_out_of_a_cache_brings_back_no_key_that_was_replaced() {
    let identity = identity();
    let first = stamp(None, CLOCK);
    let old = publish(&identity, &publication(), &first).unwrap();
    let later = UnixTime(CLOCK.0 + 86_400);
    let new = publish(&identity, &publication(), &stamp(Some(&first), later)).unwrap();
    let mut walker = Walker::to(&identity, &new);
    walker.clock = later;
    let mut known = KnownIdentity::first_met(walker.walk().discovered());
    // The newer version named another key.
    known.tlsa = vec![Tlsa::from_rdata(&[[3, 1, 1].as_slice(), &[7; 32]].concat()).unwrap()];
    let mut walker = Walker::spoilt(&identity, &old, |_, message| {
        for record in message.answers.iter_mut().chain(&mut message.authorities) {
            record.ttl = 0;
        }
    });
    walker.known = Some(known);
    walker.clock = UnixTime(later.0 + 1);
    assert_eq!(walker.walk().refusal().name(), "rolled-back");
}

#[test]
fn another_anchor_under_the_same_name_is_refused() {
    let mine = identity();
    let zones = published(&mine);
    let known = met(&mine, &zones);
    let other = identity();
    let stranger = met(&other, &published(&other));
    let expected = KnownIdentity {
        anchor: stranger.anchor.clone(),
        ..known.clone()
    };
    let trip = again(&mine, &zones, &expected, CLOCK);
    let Refusal::AnchorChanged {
        name,
        remembered,
        shown,
    } = trip.refusal()
    else {
        panic!("{:?}", trip.verdict);
    };
    assert_eq!(name, mine.name());
    assert_eq!((remembered.len(), shown.len()), (2, 2));
    assert_eq!(trip.asked.len(), 3, "no more than who follows is asked");
    let discovered = Walker::to(&mine, &zones).walk();
    let refused = expected.met_again(discovered.discovered()).unwrap_err();
    assert_eq!(refused.name(), "anchor-changed");
}

#[test]
fn another_name_where_one_is_remembered_is_refused() {
    let mine = identity();
    let known = met(&mine, &published(&mine));
    let other = identity();
    let zones = published(&other);
    let trip = again(&other, &zones, &known, CLOCK);
    assert_eq!(
        *trip.refusal(),
        Refusal::NameChanged {
            remembered: mine.name().clone(),
            told: other.name().clone()
        }
    );
    let trip = Walker::to(&other, &zones).walk();
    assert_eq!(
        known.met_again(trip.discovered()).unwrap_err().name(),
        "name-changed"
    );
}

#[test]
fn a_revoked_identity_is_never_used_again() {
    let identity = identity();
    let zones = published(&identity);
    let known = met(&identity, &zones);
    let revoked = known.clone().revoked();
    let trip = again(&identity, &zones, &revoked, CLOCK);
    assert_eq!(trip.refusal().name(), "identity-revoked");
    assert!(trip.asked.is_empty());
    let discovered = Walker::to(&identity, &zones).walk();
    let refused = revoked.met_again(discovered.discovered()).unwrap_err();
    assert_eq!(refused.name(), "identity-revoked");
}

#[test]
fn a_known_resolver_that_answers_as_a_legacy_one_is_refused() {
    let identity = identity();
    let zones = published(&identity);
    let known = met(&identity, &zones);
    let mut walker = Walker::spoilt(&identity, &zones, |_, message| {
        message.answers.clear();
        message.metadata.response_code = ResponseCode::NXDomain;
    });
    walker.known = Some(known.clone());
    assert_eq!(walker.walk().refusal().name(), "downgraded");
    // A failure is no evidence of anything.
    let mut walker = Walker::spoilt(&identity, &zones, |_, message| {
        message.answers.clear();
        message.metadata.response_code = ResponseCode::ServFail;
    });
    walker.known = Some(known);
    assert_eq!(walker.walk().verdict, Verdict::NoAnswer);
}

#[test]
fn the_last_meeting_is_a_floor_for_the_clock() {
    let identity = identity();
    let zones = published(&identity);
    let known = met(&identity, &zones);
    let set_back = CLOCK.minus(CLOCK_SLACK);
    again(&identity, &zones, &known, set_back).discovered();
    let clock = UnixTime(set_back.0 - 1);
    let trip = again(&identity, &zones, &known, clock);
    assert_eq!(
        *trip.refusal(),
        Refusal::ClockBelowFloor {
            clock,
            floor: set_back
        }
    );
}

#[test]
fn a_remembered_port_is_kept_where_its_record_is_taken_out() {
    let identity = identity();
    let publication = zzdot_zonegen::zone::Publication {
        dot_port: 8853,
        ..publication()
    };
    let zones = publish(&identity, &publication, &stamp(None, CLOCK)).unwrap();
    let known = met(&identity, &zones);
    let mut walker = Walker::spoilt(&identity, &zones, |ask, message| {
        if ask.qtype == RecordType::SVCB {
            message.answers.clear();
        }
    });
    walker.known = Some(known);
    assert_eq!(walker.walk().discovered().endpoint.port(), 8853);
}
