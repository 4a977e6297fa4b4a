//! An opinion on signed zones that shares no code with ours: NLnet Labs' `domain` decodes the
//! records, puts them into canonical form, sorts names and verifies signatures.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use domain::base::iana::{Class, Rtype, SecurityAlgorithm};
use domain::base::name::{ParsedName, ToLabelIter};
use domain::base::{Message, Name, Record, Serial, ToName};
use domain::dnssec::validator::base::RrsigExt;
use domain::rdata::{Dnskey, Rrsig, ZoneRecordData};
use hickory_proto::dnssec::PublicKey;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::op::{Message as HickoryMessage, MessageType, OpCode};

type Data<'a> = ZoneRecordData<&'a [u8], ParsedName<&'a [u8]>>;
type Owner = Name<Vec<u8>>;
type RrSets<'a> = BTreeMap<Owner, BTreeMap<Rtype, Vec<Record<Owner, Data<'a>>>>>;

/// Judges records as a zone at `now`.
pub(crate) fn judge(
    records: &[hickory_proto::rr::Record],
    anchors: &[DNSKEY],
    now: u32,
) -> Result<(), String> {
    let mut message = HickoryMessage::new(0, MessageType::Response, OpCode::Query);
    for record in records {
        message.add_answer(record.clone());
    }
    let octets = message.to_vec().map_err(|error| error.to_string())?;
    let message = Message::from_octets(octets.as_slice()).map_err(|error| error.to_string())?;
    let mut zone: RrSets<'_> = BTreeMap::new();
    let mut signatures = Vec::new();
    for record in message.answer().unwrap().limit_to::<Data<'_>>() {
        let record = record.map_err(|error| format!("a record cannot be decoded: {error}"))?;
        if record.class() != Class::IN {
            return Err("a record is not of class IN".into());
        }
        let owner: Owner = record.owner().to_vec();
        let record = Record::new(owner.clone(), Class::IN, record.ttl(), record.into_data());
        let sets = zone.entry(owner).or_default();
        match record.data() {
            ZoneRecordData::Rrsig(_) => signatures.push(record),
            _ => sets.entry(record.rtype()).or_default().push(record),
        }
    }
    let origin = origin(&zone)?;
    let keys = keys(&zone, &origin)?;
    let mut covered: Vec<(Owner, Rtype)> = Vec::new();
    let mut anchored = false;
    for record in &signatures {
        let ZoneRecordData::Rrsig(rrsig) = record.data() else {
            continue;
        };
        let set = zone
            .get_mut(record.owner())
            .and_then(|sets| sets.get_mut(&rrsig.type_covered()))
            .ok_or("a signature covers nothing")?;
        if record.ttl() != rrsig.original_ttl() {
            return Err("a signature has another time-to-live than its RRset".into());
        }
        let key = verify(rrsig, record.owner(), set, &keys, &origin, now)?;
        anchored |= anchors.iter().any(|anchor| {
            anchor.public_key().public_bytes() == *key.public_key() && anchor.flags() == key.flags()
        });
        covered.push((record.owner().clone(), rrsig.type_covered()));
    }
    if !anchored {
        return Err("no anchor signs".into());
    }
    for (owner, sets) in &zone {
        for rtype in sets.keys() {
            if !covered.contains(&(owner.clone(), *rtype)) {
                return Err(format!("{owner} {rtype} is not signed"));
            }
        }
    }
    check_chain(&zone)
}

fn origin(zone: &RrSets<'_>) -> Result<Owner, String> {
    let mut apexes = zone
        .iter()
        .filter(|(_, sets)| sets.contains_key(&Rtype::SOA));
    let (origin, sets) = apexes.next().ok_or("no SOA")?;
    if apexes.next().is_some() || sets[&Rtype::SOA].len() != 1 {
        return Err("more than one SOA".into());
    }
    match zone.keys().all(|owner| owner.ends_with(origin)) {
        true => Ok(origin.clone()),
        false => Err("a record is out of the zone".into()),
    }
}

fn keys<'a>(zone: &RrSets<'a>, origin: &Owner) -> Result<Vec<Dnskey<&'a [u8]>>, String> {
    let records = zone[origin].get(&Rtype::DNSKEY).ok_or("no DNSKEY")?;
    let keys = records.iter().map(|record| match record.data() {
        ZoneRecordData::Dnskey(key)
            if matches!(key.flags(), 256 | 257)
                && key.protocol() == 3
                && key.algorithm() == SecurityAlgorithm::ECDSAP256SHA256 =>
        {
            Ok(key.clone())
        }
        _ => Err("a DNSKEY is unusable".to_owned()),
    });
    keys.collect()
}

/// RFC 4035 §5.3, and that the KSK signs the DNSKEYs and nothing else.
fn verify<'k, 'a>(
    rrsig: &Rrsig<&[u8], ParsedName<&[u8]>>,
    owner: &Owner,
    set: &mut [Record<Owner, Data<'a>>],
    keys: &'k [Dnskey<&'a [u8]>],
    origin: &Owner,
    now: u32,
) -> Result<&'k Dnskey<&'a [u8]>, String> {
    let subject = format!("{owner} {}", rrsig.type_covered());
    if !rrsig.signer_name().name_eq(origin) {
        return Err(format!("{subject}: another signer"));
    }
    if usize::from(rrsig.labels()) != owner.iter_labels().count() - 1 {
        return Err(format!("{subject}: the labels are wrong"));
    }
    if set
        .iter()
        .any(|record| record.ttl() != rrsig.original_ttl())
    {
        return Err(format!("{subject}: the time-to-live is wrong"));
    }
    let after =
        |a: u32, b: u32| Serial(a).partial_cmp(&Serial(b)) == Some(std::cmp::Ordering::Greater);
    let (inception, expiration) = (rrsig.inception().into_int(), rrsig.expiration().into_int());
    if after(inception, now) || after(now, expiration) {
        return Err(format!("{subject}: not valid now"));
    }
    let longest = if rrsig.type_covered() == Rtype::DNSKEY {
        14
    } else {
        7
    };
    if expiration.wrapping_sub(inception) > longest * 86_400 {
        return Err(format!("{subject}: valid for too long"));
    }
    let is_ksk = rrsig.type_covered() == Rtype::DNSKEY;
    let mut signed = Vec::new();
    rrsig.signed_data(&mut signed, set).unwrap();
    keys.iter()
        .filter(|key| {
            key.key_tag() == rrsig.key_tag()
                && key.algorithm() == rrsig.algorithm()
                && key.is_secure_entry_point() == is_ksk
        })
        .find(|key| rrsig.verify_signed_data(key, &signed).is_ok())
        .ok_or_else(|| format!("{subject}: no key verifies"))
}

/// RFC 4034 §4: one NSEC an owner, to the next owner, with the types that are there.
fn check_chain(zone: &RrSets<'_>) -> Result<(), String> {
    let owners: Vec<&Owner> = zone.keys().collect();
    for (index, (owner, sets)) in zone.iter().enumerate() {
        let nsec = match sets.get(&Rtype::NSEC).map(Vec::as_slice) {
            Some([record]) => record,
            _ => return Err(format!("{owner} has not one NSEC")),
        };
        let ZoneRecordData::Nsec(nsec) = nsec.data() else {
            return Err(format!("{owner}: the NSEC is none"));
        };
        if !nsec.next_name().name_eq(owners[(index + 1) % owners.len()]) {
            return Err(format!("{owner}: the NSEC leads elsewhere"));
        }
        let mut expected: Vec<Rtype> = sets.keys().copied().chain([Rtype::RRSIG]).collect();
        expected.sort();
        let mut found: Vec<Rtype> = nsec.types().iter().collect();
        found.sort();
        if found != expected {
            return Err(format!("{owner}: the NSEC has other types"));
        }
    }
    Ok(())
}
