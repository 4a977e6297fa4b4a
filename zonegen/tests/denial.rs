//! What lookup says is checked against the meaning of RFC 4035 §3.1.3 by code that shares nothing
//! with it: names as lists of labels, compared octet by octet, and the zone searched from end to end.
#![allow(clippy::unwrap_used)]

mod generate;
mod upstreams;

use generate::{Sample, arbitrary_zone, forwarder, published};
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use upstreams::upstreams;
use zzdot_zonegen::lookup::Answer;
use zzdot_zonegen::signed_zone::rrsig_of;

/// Labels from the root on, in lower case: their order is the canonical one.
type Key = Vec<Vec<u8>>;

fn key(name: &Name) -> Key {
    let mut labels: Key = name
        .iter()
        .map(|label| label.to_ascii_lowercase())
        .collect();
    labels.reverse();
    labels
}

fn is_below(name: &Key, above: &Key) -> bool {
    name.len() > above.len() && name.starts_with(above)
}

struct Truth {
    records: Vec<Record>,
    owners: Vec<Key>,
    apex: Key,
}

impl Truth {
    fn of(sample: &Sample) -> Self {
        let records: Vec<Record> = sample.zone.records().cloned().collect();
        let mut owners: Vec<Key> = records.iter().map(|record| key(&record.name)).collect();
        owners.sort();
        owners.dedup();
        Self {
            apex: key(sample.zone.origin()),
            records,
            owners,
        }
    }

    fn exists(&self, name: &Key) -> bool {
        self.owners
            .iter()
            .any(|owner| owner == name || is_below(owner, name))
    }

    fn has(&self, name: &Key, qtype: RecordType) -> Vec<&Record> {
        let wanted = |record: &&Record| {
            key(&record.name) == *name
                && (record.record_type() == qtype || qtype == RecordType::ANY)
        };
        self.records.iter().filter(wanted).collect()
    }

    fn dname_above(&self, name: &Key) -> Option<&Record> {
        self.records.iter().find(|record| {
            record.record_type() == RecordType::DNAME && is_below(name, &key(&record.name))
        })
    }

    /// Judges an answer; panics where it says less or more than the truth.
    fn judge(&self, name: &Name, qtype: RecordType, answer: &Answer) {
        let subject = format!("{name} {qtype}");
        let name = key(name);
        if let Some(dname) = self.dname_above(&name) {
            assert_redirected(&name, dname, answer, &subject);
            return;
        }
        let expected = self.has(&name, qtype);
        if !expected.is_empty() {
            assert_eq!(answer.rcode, ResponseCode::NoError, "{subject}");
            assert!(answer.authorities.is_empty(), "{subject}");
            for record in &expected {
                assert!(
                    answer.answers.contains(record),
                    "{subject}: without {record}"
                );
            }
            let covered = |record: &Record| match rrsig_of(record) {
                Some(rrsig) => rrsig.input().type_covered == qtype,
                None => record.record_type() == qtype,
            };
            let all = [RecordType::ANY, RecordType::RRSIG].contains(&qtype);
            assert!(all || answer.answers.iter().all(covered), "{subject}");
            if qtype != RecordType::RRSIG {
                assert_signed(&answer.answers, &subject);
            }
            return;
        }
        assert!(answer.answers.is_empty(), "{subject}");
        assert_signed(&answer.authorities, &subject);
        let soas = answer
            .authorities
            .iter()
            .filter(|record| record.record_type() == RecordType::SOA);
        assert_eq!(soas.count(), 1, "{subject}");
        let nsecs = nsecs(&answer.authorities);
        if self.exists(&name) {
            assert_eq!(answer.rcode, ResponseCode::NoError, "{subject}");
            assert_eq!(nsecs.len(), 1, "{subject}");
            let (owner, nsec) = &nsecs[0];
            let next = key(nsec.next_domain_name());
            let types: Vec<RecordType> = nsec.type_bit_maps().collect();
            let no_data =
                *owner == name && !types.contains(&qtype) && !types.contains(&RecordType::CNAME);
            let non_terminal = *owner < name && is_below(&next, &name);
            assert!(no_data || non_terminal, "{subject}: {nsecs:?}");
            return;
        }
        assert_eq!(answer.rcode, ResponseCode::NXDomain, "{subject}");
        let mut encloser = name.clone();
        while !self.exists(&encloser) {
            encloser.pop();
        }
        let mut wildcard = encloser;
        wildcard.push(b"*".to_vec());
        for denied in [&name, &wildcard] {
            let covering = nsecs.iter().filter(|(owner, nsec)| {
                let next = key(nsec.next_domain_name());
                owner < denied && (*denied < next || next == self.apex) && !is_below(&next, denied)
            });
            assert_eq!(covering.count(), 1, "{subject}: {denied:?} in {nsecs:?}");
        }
        assert!(nsecs.len() <= 2, "{subject}: {nsecs:?}");
    }
}

/// RFC 6672 §3: the DNAME, its signature, and the CNAME that follows from it; the root is where all of ours
/// lead to.
fn assert_redirected(name: &Key, dname: &Record, answer: &Answer, subject: &str) {
    assert_eq!(answer.rcode, ResponseCode::NoError, "{subject}");
    assert!(answer.authorities.is_empty(), "{subject}");
    let [first, signature, made] = answer.answers.as_slice() else {
        panic!("{subject}: {:?}", answer.answers);
    };
    assert_eq!(first, dname, "{subject}");
    let covered = rrsig_of(signature).map(|rrsig| rrsig.input().type_covered);
    assert_eq!(covered, Some(RecordType::DNAME), "{subject}");
    assert_eq!((key(&made.name), made.ttl), (name.clone(), dname.ttl));
    let RData::CNAME(target) = &made.data else {
        panic!("{subject}: {made}");
    };
    let kept = &name[key(&dname.name).len()..];
    assert_eq!(key(&target.0), kept, "{subject}");
    let redirected = answer.redirected.as_ref().map(|to| (&to.owner, &to.target));
    assert_eq!(redirected, Some((&dname.name, &target.0)), "{subject}");
}

fn nsecs<'a>(records: &'a [Record]) -> Vec<(Key, &'a NSEC)> {
    let nsec = |record: &'a Record| match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => Some((key(&record.name), nsec)),
        _ => None,
    };
    records.iter().filter_map(nsec).collect()
}

/// Each record has a signature beside it.
fn assert_signed(records: &[Record], subject: &str) {
    for record in records.iter().filter(|record| rrsig_of(record).is_none()) {
        let signed = records.iter().any(|other| {
            other.name == record.name
                && rrsig_of(other)
                    .is_some_and(|rrsig| rrsig.input().type_covered == record.record_type())
        });
        assert!(signed, "{subject}: {record} is not signed");
    }
}

const TYPES: [RecordType; 15] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::ANY,
    RecordType::CNAME,
    RecordType::DNAME,
    RecordType::DNSKEY,
    RecordType::DS,
    RecordType::KEY,
    RecordType::MX,
    RecordType::NS,
    RecordType::NSEC,
    RecordType::RRSIG,
    RecordType::SOA,
    RecordType::TLSA,
    RecordType::TXT,
];

/// Every type at every owner and above and around it, and `random` names at and below them.
fn judge_sample(sample: &Sample, random: &[(prop::sample::Index, Vec<Vec<u8>>)]) {
    let truth = Truth::of(sample);
    let mut names: Vec<Name> = Vec::new();
    for record in &truth.records {
        let mut name = record.name.clone();
        while sample.zone.origin().zone_of(&name) {
            names.push(name.clone());
            for label in [&b"\0"[..], b"*", b"a", b"\xff"] {
                names.push(name.prepend_label(label).unwrap());
            }
            name = name.base_name();
        }
    }
    names.sort();
    names.dedup();
    for name in &names {
        for qtype in TYPES {
            truth.judge(name, qtype, &sample.zone.lookup(name, qtype).unwrap());
        }
    }
    for (at, labels) in random {
        let mut name = names[at.index(names.len())].clone();
        for label in labels {
            name = name.prepend_label(&label[..]).unwrap();
        }
        let qtype = TYPES[at.index(TYPES.len())];
        truth.judge(&name, qtype, &sample.zone.lookup(&name, qtype).unwrap());
    }
}

fn random_names() -> impl Strategy<Value = Vec<(prop::sample::Index, Vec<Vec<u8>>)>> {
    let label = prop::collection::vec(any::<u8>(), 1..6);
    let name = (
        any::<prop::sample::Index>(),
        prop::collection::vec(label, 0..4),
    );
    prop::collection::vec(name, 400)
}

#[test]
fn a_forwarders_zone_denies_what_is_not_there_and_leads_on_below_q() {
    judge_sample(&forwarder(upstreams()), &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn published_zones_deny_what_is_not_there_and_nothing_else(
        samples in published(),
        random in random_names(),
    ) {
        for sample in samples {
            judge_sample(&sample, &random);
        }
    }

    #[test]
    fn zones_of_any_names_deny_what_is_not_there_and_nothing_else(
        sample in arbitrary_zone(),
        random in random_names(),
    ) {
        judge_sample(&sample, &random);
    }

    #[test]
    fn a_name_outside_the_zone_is_not_answered(sample in arbitrary_zone(), label in "[a-z]{1,8}") {
        let outside = [
            Name::from_ascii("example.").unwrap(),
            Name::root(),
            Name::from_ascii(format!("{label}.example.")).unwrap(),
            Name::from_ascii(format!("{label}zone.example.")).unwrap(),
        ];
        for name in outside.iter().filter(|name| !sample.zone.origin().zone_of(name)) {
            prop_assert_eq!(sample.zone.lookup(name, RecordType::A), None);
        }
    }
}
