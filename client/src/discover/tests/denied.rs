//! A box on the way that denies a resolver by what it was told of other names.

use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::lab::*;
use crate::discover::*;
use crate::trust::KnownIdentity;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn soa(zone: &str) -> Record {
    let data = SOA::new(name(zone), name(zone), 1, 1, 1, 1, 1);
    Record::from_rdata(name(zone), 60, RData::SOA(data))
}

fn nsec(owner: &str, next: &str) -> Record {
    let data = NSEC::new(name(next), [RecordType::NS, RecordType::NSEC]);
    Record::from_rdata(name(owner), 60, RData::DNSSEC(DNSSECRData::NSEC(data)))
}

/// Of the shape of a signature in the name of `zone`: nobody here holds a key to validate it by.
fn signature(over: &Record, zone: &str, like: &Message) -> Record {
    let made = like.answers.iter().chain(&like.authorities);
    let mut made = made.filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(made)) => Some(made),
        _ => None,
    });
    let mut input = made.next_back().unwrap().input().clone();
    input.type_covered = over.record_type();
    input.signer_name = name(zone);
    let data = DNSSECRData::RRSIG(RRSIG::from_sig(input, vec![1; 64]));
    Record::from_rdata(over.name.clone(), 60, RData::DNSSEC(data))
}

/// As unbound and BIND deny what lies between two names of a zone.
fn deny(message: &mut Message, zone: &str, spans: &[(&str, &str)]) {
    let mut authorities = Vec::new();
    for record in [soa(zone)]
        .into_iter()
        .chain(spans.iter().map(|(owner, next)| nsec(owner, next)))
    {
        let made = signature(&record, zone, message);
        authorities.extend([record, made]);
    }
    *message = bare(message);
    message.authorities = authorities;
}

/// The same response with NXDOMAIN and nothing else.
fn bare(message: &Message) -> Message {
    let mut message = message.clone();
    message.answers.clear();
    message.authorities.clear();
    message.metadata.response_code = ResponseCode::NXDomain;
    message
}

const ROOT: &[(&str, &str)] = &[(".", "aaa."), ("zw.", ".")];

fn is_below_zz(ask: &Ask) -> bool {
    name("zz.").zone_of(&ask.name)
}

/// How the walk ends where the answers to some questions are changed.
fn end(which: impl Fn(&Ask) -> bool, change: impl Fn(&mut Message)) -> Trip {
    let identity = identity();
    let zones = published(&identity);
    let mut trip = Walker::spoilt(&identity, &zones, |ask, message| {
        if which(ask) {
            // Something signed to take the shape of a signature from.
            *message = answer(
                &zones,
                &Ask {
                    name: name("resolver-name.arpa."),
                    qtype: RecordType::NS,
                    ..ask.clone()
                },
            );
            message.queries[0].set_name(ask.name.clone());
            message.queries[0].set_query_type(ask.qtype);
            change(message);
        }
    })
    .walk();
    if let Verdict::Legacy { name, .. } = &mut trip.verdict {
        assert_eq!(name.take().as_ref(), Some(identity.name()));
    }
    trip
}

fn denied() -> Verdict {
    Verdict::Legacy {
        reason: LegacyReason::DeniedOnTheWay,
        name: None,
    }
}

/// In the name of which zone, and whether a proof was shown.
fn told(trip: &Trip) -> (&str, bool) {
    let told = trip.steps.iter().find_map(|step| match step {
        Step::DeniedOnTheWay {
            zone, with_proof, ..
        } => Some((zone.as_str(), *with_proof)),
        _ => None,
    });
    told.unwrap_or_else(|| panic!("{:#?}", trip.steps))
}

#[test]
fn a_box_that_denies_the_name_by_itself_at_a_first_meeting_is_legacy_and_is_told_so() {
    let by_root = end(is_below_zz, |message| deny(message, ".", ROOT));
    assert_eq!(by_root.verdict, denied());
    assert_eq!(told(&by_root), (".", true));
    let by_word = end(is_below_zz, |message| {
        *message = bare(message);
        message.authorities = vec![soa(".")];
    });
    assert_eq!(by_word.verdict, denied());
    assert_eq!(told(&by_word), (".", false));
    // The resolver's other zone has neighbours, too.
    let by_arpa = end(
        |ask| ask.qtype == RecordType::KEY,
        |message| {
            deny(
                message,
                "arpa.",
                &[("resolver-aa.arpa.", "root-servers.arpa.")],
            )
        },
    );
    assert_eq!(by_arpa.verdict, denied());
    assert_eq!(told(&by_arpa), ("arpa", true));
}

#[test]
fn a_box_that_has_part_of_the_zone_and_denies_the_rest_is_the_same() {
    for part in [
        RecordType::DNSKEY,
        RecordType::SOA,
        RecordType::TXT,
        RecordType::TLSA,
    ] {
        let trip = end(
            |ask| is_below_zz(ask) && ask.qtype == part,
            |message| deny(message, ".", ROOT),
        );
        assert_eq!(trip.verdict, denied(), "{part}");
    }
    // What need not be there is done without, however it was taken out.
    for part in [RecordType::SVCB, RecordType::A, RecordType::AAAA] {
        let trip = end(
            |ask| is_below_zz(ask) && ask.qtype == part,
            |message| deny(message, ".", ROOT),
        );
        trip.discovered();
    }
    let versionless = end(
        |ask| is_below_zz(ask) && matches!(ask.qtype, RecordType::MX),
        |message| deny(message, ".", ROOT),
    );
    versionless.discovered();
    let filtered = end(
        |ask| is_below_zz(ask) && matches!(ask.qtype, RecordType::SOA | RecordType::MX),
        |message| deny(message, ".", ROOT),
    );
    assert_eq!(filtered.verdict, denied());
}

#[test]
fn nothing_else_is_taken_for_a_boxs_own_denial() {
    type Change = fn(&mut Message);
    let changes: [(&str, Change); 11] = [
        ("without the SOA record", |message| {
            deny(message, ".", ROOT);
            message.authorities.drain(..2);
        }),
        ("with nothing at all", |message| *message = bare(message)),
        ("an empty answer", |message| {
            deny(message, ".", ROOT);
            message.metadata.response_code = ResponseCode::NoError;
        }),
        ("in the name of another zone", |message| {
            deny(message, "example.", &[("a.example.", "example.")]);
        }),
        ("by a record that covers another name", |message| {
            deny(message, ".", &[("zw.", "zy.")]);
        }),
        ("by a record that knows of something below", |message| {
            let below = format!("a.{}", message.queries[0].name());
            deny(message, ".", &[("zw.", &below)]);
        }),
        ("by a record that nobody signed", |message| {
            *message = bare(message);
            message.authorities = vec![soa("."), nsec("zw.", ".")];
        }),
        ("signed in the name of another zone", |message| {
            deny(message, ".", ROOT);
            for record in &mut message.authorities {
                if let RData::DNSSEC(DNSSECRData::RRSIG(made)) = &record.data {
                    let mut input = made.input().clone();
                    input.signer_name = name("zz.");
                    let made = RRSIG::from_sig(input, made.sig().to_vec());
                    record.data = RData::DNSSEC(DNSSECRData::RRSIG(made));
                }
            }
        }),
        ("beside an alias", |message| {
            let owner = message.queries[0].name().clone();
            deny(message, ".", ROOT);
            let alias = RData::CNAME(CNAME(name("elsewhere.example.")));
            message.answers = vec![Record::from_rdata(owner, 60, alias)];
        }),
        ("beside an answer", |message| {
            deny(message, ".", ROOT);
            let data = RData::A(A::new(192, 0, 2, 1));
            message.answers = vec![Record::from_rdata(name("zz."), 60, data)];
        }),
        ("beside records of another type", |message| {
            deny(message, ".", ROOT);
            let data = RData::TXT(TXT::new(vec!["?".to_owned()]));
            message
                .authorities
                .push(Record::from_rdata(name("."), 60, data));
        }),
    ];
    for (what, change) in changes {
        let trip = end(is_below_zz, change);
        assert_eq!(trip.refusal().name(), "denial-missing", "{what}");
    }
}

#[test]
fn what_the_zone_itself_denies_is_the_zones_word() {
    let identity = identity();
    let zones = published(&identity);
    let trip = Walker::spoilt(&identity, &zones, |ask, message| {
        if ask.qtype == RecordType::TLSA {
            let nothing = name("nothing").append_domain(identity.name().as_name());
            let ask = Ask {
                name: nothing.unwrap(),
                ..ask.clone()
            };
            let queries = std::mem::take(&mut message.queries);
            *message = answer(&zones, &ask);
            assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
            message.queries = queries;
        }
    })
    .walk();
    assert_eq!(trip.refusal().name(), "type-not-denied");
}

#[test]
fn a_resolver_that_is_known_is_not_given_up_for_a_boxs_own_denial() {
    let identity = identity();
    let zones = published(&identity);
    let met = Walker::to(&identity, &zones).walk();
    let mut walker = Walker::spoilt(&identity, &zones, |ask, message| {
        if is_below_zz(ask) {
            *message = bare(message);
            message.authorities = vec![soa(".")];
        }
    });
    walker.known = Some(KnownIdentity::first_met(met.discovered()));
    let trip = walker.walk();
    let refusal = trip.refusal();
    assert_eq!(refusal.name(), "downgraded");
    for box_of_today in ["unbound: ", "BIND: "] {
        assert!(refusal.cure().contains(box_of_today), "{}", refusal.cure());
    }
    assert!(refusal.explain(None).innocent_cause.contains("mistyped"));
}

#[test]
fn a_denial_on_the_way_has_its_json() {
    let identity = identity();
    let denied = Verdict::Legacy {
        reason: LegacyReason::DeniedOnTheWay,
        name: Some(identity.name().clone()),
    };
    let json = serde_json::json!({
        "verdict": "legacy", "reason": "denied-on-the-way", "name": identity.name().to_string()
    });
    assert_eq!(serde_json::to_value(&denied).unwrap(), json);
    assert_eq!(denied.name(), Some(identity.name()));
}
