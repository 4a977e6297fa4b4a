//! Every zone signed here satisfies NLnet Labs' `domain`; every single mutation is refused by it and
//! by our own `verify`.
#![allow(clippy::unwrap_used)]

mod generate;
mod oracle;
mod upstreams;

use generate::{Sample, forwarder, samples};
use hickory_proto::rr::{Record, RecordType};
use hickory_proto::serialize::binary::{
    BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding,
};
use proptest::prelude::*;
use upstreams::upstreams;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::master_file::{read, write_zone};
use zzdot_zonegen::signed_zone::{SignedZone, rrsig_of};
use zzdot_zonegen::verify::verify;

/// Mutations tried on each zone.
const MUTATIONS: usize = 40;

/// What our verifier says of records as a zone.
fn we_judge(records: &[Record], sample: &Sample, now: UnixTime) -> Result<(), String> {
    let zone = SignedZone::from_records(records.to_vec()).map_err(|error| error.to_string())?;
    if zone.origin() != sample.zone.origin() {
        return Err("another zone".to_owned());
    }
    verify(&zone, &sample.anchors, now)
        .map(drop)
        .map_err(|bogus| bogus.to_string())
}

fn they_judge(records: &[Record], sample: &Sample, now: UnixTime) -> Result<(), String> {
    oracle::judge(records, &sample.anchors, now.wire())
}

fn records(sample: &Sample) -> Vec<Record> {
    sample.zone.records().cloned().collect()
}

fn assert_refused(mutated: &[Record], sample: &Sample, now: UnixTime, what: &str) {
    assert!(we_judge(mutated, sample, now).is_err(), "we accept: {what}");
    assert!(
        they_judge(mutated, sample, now).is_err(),
        "domain accepts: {what}"
    );
}

/// The record with one bit of its wire form flipped; `None` where that is no record, or the same
/// (the case of a letter in a name).
fn flip(record: &Record, bit: usize) -> Option<Record> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.emit(&mut encoder).unwrap();
    let bit = bit % (octets.len() * 8);
    octets[bit / 8] ^= 1 << (bit % 8);
    let mut decoder = BinDecoder::new(&octets);
    let flipped = Record::read(&mut decoder).ok()?;
    (decoder.is_empty() && !same(&flipped, record)).then_some(flipped)
}

fn same(one: &Record, other: &Record) -> bool {
    one.name == other.name
        && one.dns_class == other.dns_class
        && one.ttl == other.ttl
        && one.data == other.data
}

/// Each DNAME and each PTR with one bit flipped in each octet.
#[test]
fn a_forwarders_zone_satisfies_domain_and_ourselves_and_no_change_of_what_it_says_does() {
    let sample = forwarder(upstreams());
    let records = records(&sample);
    assert_eq!(they_judge(&records, &sample, sample.now), Ok(()));
    assert_eq!(we_judge(&records, &sample, sample.now), Ok(()));
    let mut flipped = 0;
    for (index, record) in records.iter().enumerate() {
        if !matches!(record.record_type(), RecordType::DNAME | RecordType::PTR) {
            continue;
        }
        for bit in (0..400).step_by(17) {
            let Some(changed) = flip(record, bit) else {
                continue;
            };
            let mut records = records.clone();
            let what = format!("{record} -> {changed}");
            records[index] = changed;
            assert_refused(&records, &sample, sample.now, &what);
            flipped += 1;
        }
    }
    assert!(flipped > 100, "{flipped}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_signed_zone_satisfies_domain_and_ourselves(samples in samples()) {
        for sample in samples {
            let records = records(&sample);
            prop_assert_eq!(they_judge(&records, &sample, sample.now), Ok(()));
            prop_assert_eq!(we_judge(&records, &sample, sample.now), Ok(()));
            let text = write_zone(&sample.zone);
            let again = SignedZone::from_records(read(&text, None).unwrap()).unwrap();
            prop_assert_eq!(&again, &sample.zone);
        }
    }

    #[test]
    fn every_flipped_bit_is_refused(
        samples in samples(),
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<usize>()), MUTATIONS),
    ) {
        for sample in samples {
            for (index, bit) in &picks {
                let mut records = records(&sample);
                let index = index.index(records.len());
                let Some(flipped) = flip(&records[index], *bit) else {
                    continue;
                };
                let what = format!("{} -> {flipped}", records[index]);
                records[index] = flipped;
                assert_refused(&records, &sample, sample.now, &what);
            }
        }
    }

    #[test]
    fn every_missing_or_foreign_record_is_refused(samples in samples(), other in samples()) {
        for sample in samples {
            for index in 0..records(&sample).len() {
                let mut records = records(&sample);
                let removed = records.remove(index);
                assert_refused(&records, &sample, sample.now, &format!("without {removed}"));
            }
            // A record of another zone of the same name, in the place of ours.
            for foreign in other.iter().filter(|other| other.zone.origin() == sample.zone.origin()) {
                for (index, theirs) in foreign.zone.records().enumerate() {
                    let mut records = records(&sample);
                    if records.iter().any(|ours| same(ours, theirs)) {
                        continue;
                    }
                    let index = index % records.len();
                    records[index] = theirs.clone();
                    assert_refused(&records, &sample, sample.now, &format!("with {theirs}"));
                }
            }
        }
    }

    /// Nothing is wrong with what is left, but the chain of NSECs tells that something is gone.
    #[test]
    fn every_missing_rrset_or_owner_is_refused(samples in samples()) {
        for sample in samples {
            let covers = |record: &Record, rtype| {
                record.record_type() == rtype
                    || rrsig_of(record).is_some_and(|rrsig| rrsig.input().type_covered == rtype)
            };
            for (owner, rtype, _) in sample.zone.rrsets() {
                let mut records = records(&sample);
                records.retain(|record| record.name != *owner || !covers(record, rtype));
                let what = format!("without {owner} {rtype}");
                assert_refused(&records, &sample, sample.now, &what);
                records.retain(|record| record.name != *owner);
                let what = format!("without {owner}");
                assert_refused(&records, &sample, sample.now, &what);
            }
        }
    }

    #[test]
    fn every_moment_outside_the_validity_is_refused(samples in samples(), seconds in 1_u64..1 << 30) {
        for sample in samples {
            let records = records(&sample);
            let hour = 3600;
            let before = UnixTime(sample.now.0 - hour - seconds);
            assert_refused(&records, &sample, before, "too early");
            let after = UnixTime(sample.now.0 - hour + 7 * 86_400 + seconds);
            assert_refused(&records, &sample, after, "too late");
        }
    }

    #[test]
    fn an_anchor_of_somebody_else_is_refused(samples in samples(), other in samples()) {
        for mut sample in samples {
            sample.anchors = other[0].anchors.clone();
            let records = records(&sample);
            assert_refused(&records, &sample, sample.now, "another anchor");
        }
    }
}
