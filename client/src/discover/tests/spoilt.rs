//! Answers that were changed on the way: each has its refusal.

use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::{A, NS, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::publish::Published;

use super::lab::*;
use crate::discover::*;
use crate::trust::KnownIdentity;

/// Every question of a walk: owner's first label is enough to tell the two zones apart.
const ASKED: [(bool, RecordType); 11] = [
    (true, RecordType::DNSKEY),
    (true, RecordType::NS),
    (true, RecordType::SOA),
    (true, RecordType::KEY),
    (false, RecordType::DNSKEY),
    (false, RecordType::SOA),
    (false, RecordType::TXT),
    (false, RecordType::SVCB),
    (false, RecordType::A),
    (false, RecordType::AAAA),
    (false, RecordType::TLSA),
];

fn is(ask: &Ask, (in_anchor_zone, rtype): (bool, RecordType)) -> bool {
    let arpa = Name::from_ascii("resolver-name.arpa.").unwrap();
    ask.qtype == rtype && arpa.zone_of(&ask.name) == in_anchor_zone
}

/// The name of the refusal when the answer to one question is changed.
fn refusal(which: (bool, RecordType), change: &dyn Fn(&mut Message)) -> String {
    let identity = identity();
    let zones = published(&identity);
    let trip = Walker::spoilt(&identity, &zones, |ask, message| {
        if is(ask, which) {
            change(message);
        }
    })
    .walk();
    let refusal = trip.refusal();
    assert!(!refusal.cause().is_empty() && !refusal.cure().is_empty());
    assert!(refusal.ede().1.starts_with(refusal.name()));
    refusal.name().to_owned()
}

fn all(message: &mut Message) -> impl Iterator<Item = &mut Record> {
    message.answers.iter_mut().chain(&mut message.authorities)
}

fn flip_signatures(message: &mut Message) {
    for record in all(message) {
        if let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data {
            let mut value = rrsig.sig().to_vec();
            value[20] ^= 4;
            let changed = RRSIG::from_sig(rrsig.input().clone(), value);
            record.data = RData::DNSSEC(DNSSECRData::RRSIG(changed));
        }
    }
}

#[test]
fn a_wrong_signature_anywhere_is_refused() {
    for which in ASKED {
        assert_eq!(
            refusal(which, &flip_signatures),
            "signature-wrong",
            "{which:?}"
        );
    }
}

#[test]
fn a_signature_by_an_unknown_key_is_refused() {
    for which in ASKED {
        let change = |message: &mut Message| {
            for record in all(message) {
                if let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data {
                    let mut input = rrsig.input().clone();
                    input.key_tag ^= 0x5555;
                    let changed = RRSIG::from_sig(input, rrsig.sig().to_vec());
                    record.data = RData::DNSSEC(DNSSECRData::RRSIG(changed));
                }
            }
        };
        let expected = match which.1 {
            RecordType::DNSKEY => "not-signed-by-anchor",
            _ => "unknown-key",
        };
        assert_eq!(refusal(which, &change), expected, "{which:?}");
    }
}

#[test]
fn missing_signatures_in_the_second_flight_are_refused() {
    for which in ASKED.into_iter().skip(2) {
        let change = |message: &mut Message| {
            message
                .answers
                .retain(|r| r.record_type() != RecordType::RRSIG);
            message
                .authorities
                .retain(|r| r.record_type() != RecordType::RRSIG);
        };
        assert_eq!(refusal(which, &change), "signature-missing", "{which:?}");
    }
}

#[test]
fn a_missing_record_without_proof_is_refused_where_it_is_needed() {
    for which in ASKED.into_iter().skip(2) {
        // Addresses have a second carrier, and so has the SOA record.
        let helps = matches!(
            which.1,
            RecordType::A | RecordType::AAAA | RecordType::SVCB | RecordType::SOA
        );
        if helps {
            continue;
        }
        let change = |message: &mut Message| message.answers.clear();
        assert_eq!(refusal(which, &change), "denial-missing", "{which:?}");
    }
}

#[test]
fn soa_records_that_a_forwarder_takes_out_are_read_beside_a_denial() {
    // As dnsmasq's filterwin2k does: no record, no proof, and no word about that.
    let identity = identity();
    let zones = published(&identity);
    let filter = |ask: &Ask, message: &mut Message| {
        if ask.qtype == RecordType::SOA {
            message.answers.clear();
            message.authorities.clear();
        }
    };
    let whole = Walker::to(&identity, &zones).walk();
    let filtered = Walker::spoilt(&identity, &zones, filter).walk();
    assert_eq!(
        filtered.discovered().versions,
        whole.discovered().versions,
        "the same SOA records"
    );
    // An SOA record beside the denial that nobody signed is worth nothing.
    let stripped = Walker::spoilt(&identity, &zones, |ask, message| {
        filter(ask, message);
        if ask.qtype == RecordType::MX {
            let is_signature = |record: &Record| record.record_type() == RecordType::RRSIG;
            message.authorities.retain(|record| !is_signature(record));
        }
    });
    assert_eq!(stripped.walk().refusal().name(), "signature-missing");
    // One that is not there either is missed.
    let emptied = Walker::spoilt(&identity, &zones, |ask, message| {
        if matches!(ask.qtype, RecordType::SOA | RecordType::MX) {
            message.answers.clear();
            message.authorities.clear();
        }
    });
    assert_eq!(emptied.walk().refusal().name(), "denial-missing");
}

#[test]
fn addresses_that_a_forwarder_takes_out_are_not_missed() {
    // As dnsmasq's stop-dns-rebind and unbound's private-address do.
    let identity = identity();
    let zones = published(&identity);
    let trip = Walker::spoilt(&identity, &zones, |ask, message| {
        if ask.qtype == RecordType::A {
            message.answers.clear();
        }
    })
    .walk();
    let discovered = trip.discovered();
    assert_eq!(
        discovered.addresses,
        publication().addresses,
        "from the hints"
    );
}

#[test]
fn forged_records_are_refused() {
    let forged = |which, data: RData| {
        refusal(which, &move |message: &mut Message| {
            message.answers[0].data = data.clone();
        })
    };
    let a = RData::A(A::new(203, 0, 113, 6));
    assert_eq!(forged((false, RecordType::A), a), "signature-wrong");
    let text = RData::TXT(TXT::new(vec!["forwarder".to_owned()]));
    assert_eq!(forged((false, RecordType::TXT), text), "signature-wrong");
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let ns = RData::NS(NS(name("00000000000000000000.zz.")));
    assert_eq!(forged((true, RecordType::NS), ns), "signature-wrong");
    let ns = RData::NS(NS(name("ns.example.")));
    assert_eq!(forged((true, RecordType::NS), ns), "no-resolver-name");
    let alias = RData::CNAME(hickory_proto::rr::rdata::CNAME(name("evil.example.")));
    assert_eq!(forged((false, RecordType::TLSA), alias.clone()), "alias");
}

#[test]
fn an_answer_that_cannot_be_read_is_refused() {
    let identity = identity();
    let zones = published(&identity);
    let mut walker = Walker::to(&identity, &zones);
    walker.answers = Box::new(|ask| {
        let mut bytes = answer(&zones, ask).to_vec().unwrap();
        if ask.qtype == RecordType::TLSA {
            bytes.pop();
        }
        Some(bytes)
    });
    assert_eq!(walker.walk().refusal().name(), "malformed-answer");
}

/// A first flight in which some answers lack their last byte.
fn first_flight<'a>(
    identity: &'a Identity,
    zones: &'a Published,
    broken: &'a [RecordType],
    silent: &'a [RecordType],
) -> Walker<'a> {
    let mut walker = Walker::to(identity, zones);
    walker.answers = Box::new(move |ask| {
        let mut bytes = answer(zones, ask).to_vec().unwrap();
        if broken.contains(&ask.qtype) {
            bytes.pop();
        }
        (!silent.contains(&ask.qtype)).then_some(bytes)
    });
    walker
}

#[test]
fn a_box_that_says_nothing_readable_at_a_first_meeting_is_legacy() {
    let identity = identity();
    let zones = published(&identity);
    let (dnskey, ns) = (RecordType::DNSKEY, RecordType::NS);
    for (broken, silent) in [
        (&[dnskey, ns][..], &[][..]),
        (&[dnskey], &[ns]),
        (&[ns], &[dnskey]),
    ] {
        let trip = first_flight(&identity, &zones, broken, silent).walk();
        let reason = LegacyReason::Unreadable;
        assert_eq!(trip.verdict, Verdict::Legacy { reason, name: None });
    }
    let trip = first_flight(&identity, &zones, &[], &[dnskey, ns]).walk();
    assert_eq!(trip.verdict, Verdict::NoAnswer, "silence is no answer");
}

#[test]
fn unreadable_beside_signed_is_refused_and_so_is_anything_unreadable_of_who_is_known() {
    let identity = identity();
    let zones = published(&identity);
    for broken in [RecordType::DNSKEY, RecordType::NS] {
        let trip = first_flight(&identity, &zones, &[broken], &[]).walk();
        assert_eq!(trip.refusal().name(), "malformed-answer");
    }
    let met = Walker::to(&identity, &zones).walk();
    let known = KnownIdentity::first_met(met.discovered());
    let both = [RecordType::DNSKEY, RecordType::NS];
    let mut walker = first_flight(&identity, &zones, &both, &[]);
    walker.known = Some(known);
    assert_eq!(walker.walk().refusal().name(), "malformed-answer");
}

#[test]
fn a_truncated_answer_counts_as_none() {
    let identity = identity();
    let zones = published(&identity);
    let trip = Walker::spoilt(&identity, &zones, |_, message| {
        message.metadata.truncation = true;
    })
    .walk();
    assert_eq!(trip.verdict, Verdict::NoAnswer);
}

#[test]
fn a_clock_outside_of_the_window_is_told_as_such() {
    let identity = identity();
    let zones = published(&identity);
    for (clock, expected) in [
        (UnixTime(CLOCK.0 + 20 * 86_400), "signature-expired"),
        (UnixTime(CLOCK.0 - 2 * 86_400), "signature-not-yet-valid"),
    ] {
        let mut walker = Walker::to(&identity, &zones);
        walker.clock = clock;
        let trip = walker.walk();
        assert_eq!(trip.refusal().name(), expected);
        let json = serde_json::to_value(trip.refusal()).unwrap();
        assert_eq!(json["record"]["owner"], "resolver-name.arpa");
        assert!(json["record"]["expiration"].is_u64());
    }
}

#[test]
fn the_key_of_another_identity_is_refused() {
    let mine = identity();
    let zones = published(&mine);
    let other = identity();
    let theirs = published(&other);
    // The anchor zone of one resolver, the name zone of the same name signed by another's keys.
    let mixed = Published {
        anchor_zone: theirs.anchor_zone.clone(),
        name_zone: zones.name_zone.clone(),
    };
    let trip = Walker::to(&mine, &mixed).walk();
    // Nothing is published at the name that the anchor zone tells.
    assert_eq!(trip.refusal().name(), "denial-missing");

    let key_swapped = Walker::spoilt(&mine, &zones, |ask, message| {
        if ask.qtype == RecordType::KEY {
            let owner = zzdot_zonegen::owners::key_owner(other.name());
            message.answers[0].data = theirs
                .anchor_zone
                .lookup(&owner, RecordType::KEY)
                .unwrap()
                .answers[0]
                .data
                .clone();
        }
    });
    assert_eq!(key_swapped.walk().refusal().name(), "signature-wrong");
}

#[test]
fn denials_of_what_is_needed_are_told_as_missing_records() {
    use zzdot_zonegen::sign::{Validity, sign};
    let identity = identity();
    let zones = published(&identity);
    let without = |rtype: RecordType| {
        let kept = zones.name_zone.records().filter(|record| {
            ![
                rtype,
                RecordType::DNSKEY,
                RecordType::NSEC,
                RecordType::RRSIG,
            ]
            .contains(&record.record_type())
        });
        let validity = Validity {
            inception: UnixTime(CLOCK.0 - 3600),
            lifetime: std::time::Duration::from_secs(86_400),
            dnskey_lifetime: std::time::Duration::from_secs(86_400),
            jitter: std::time::Duration::ZERO,
            jitter_seed: 0,
        };
        let name_zone = sign(kept.cloned(), identity.name_keys(), &[], 60, &validity).unwrap();
        Published {
            anchor_zone: zones.anchor_zone.clone(),
            name_zone,
        }
    };
    for rtype in [RecordType::TXT, RecordType::TLSA] {
        let zones = without(rtype);
        let trip = Walker::to(&identity, &zones).walk();
        let refusal = trip.refusal();
        assert_eq!(refusal.name(), "record-missing");
        assert!(refusal.cause().contains(&rtype.to_string()), "{refusal}");
    }
    for rtype in [RecordType::A, RecordType::SVCB] {
        let zones = without(rtype);
        Walker::to(&identity, &zones).walk().discovered();
    }
}

#[test]
fn a_revoked_key_of_the_name_is_refused_and_not_a_decoding_failure() {
    use zzdot_zonegen::sign::{Validity, sign};
    let identity = identity();
    let zones = published(&identity);
    // What no signer here makes, since hickory cannot decode it: the record as unknown data.
    let owner = zzdot_zonegen::owners::key_owner(identity.name());
    let key = zones.anchor_zone.rrset(&owner, RecordType::KEY).unwrap();
    let mut rdata =
        hickory_proto::serialize::binary::BinEncodable::to_bytes(&key.records[0].data).unwrap();
    rdata[1] |= 0x80;
    let unknown = RData::Unknown {
        code: RecordType::KEY,
        rdata: hickory_proto::rr::rdata::NULL::with(rdata),
    };
    let kept = zones.anchor_zone.records().filter(|record| {
        ![
            RecordType::KEY,
            RecordType::DNSKEY,
            RecordType::NSEC,
            RecordType::RRSIG,
        ]
        .contains(&record.record_type())
    });
    let records = kept
        .cloned()
        .chain([Record::from_rdata(owner, 60, unknown)]);
    let day = std::time::Duration::from_secs(86_400);
    let validity = Validity {
        inception: UnixTime(CLOCK.0 - 3600),
        lifetime: day,
        dnskey_lifetime: day,
        jitter: std::time::Duration::ZERO,
        jitter_seed: 0,
    };
    let revoked = Published {
        anchor_zone: sign(records, identity.anchor_keys(), &[], 60, &validity).unwrap(),
        name_zone: zones.name_zone.clone(),
    };
    let trip = Walker::to(&identity, &revoked).walk();
    assert_eq!(trip.refusal().name(), "key-revoked");
}
