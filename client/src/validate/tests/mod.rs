#![allow(clippy::unwrap_used)]

mod oracle;
mod published;
mod zone;

use std::sync::Arc;

use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_proto::dnssec::{Algorithm, PublicKey, PublicKeyBuf};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType, SerialNumber};
use proptest::prelude::*;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::ZoneKey as SigningKey;

use self::oracle::finds_secure;
use self::zone::{TTL, TestZone, name};
use super::*;

const TYPES: [RecordType; 4] = [
    RecordType::A,
    RecordType::TXT,
    RecordType::MX,
    RecordType::AAAA,
];

fn read(message: &Message) -> Reply {
    Reply::read(&message.to_vec().unwrap()).unwrap()
}

/// Our verdict on an answer: what is denied, or nothing for records.
fn judge(
    zone: &TestZone,
    message: &Message,
    qname: &Name,
    qtype: RecordType,
    clock: UnixTime,
) -> Result<Option<DeniedWhat>, BogusReason> {
    judge_with(&zone.trusted(), message, qname, qtype, clock)
}

fn judge_with(
    keys: &TrustedKeys,
    message: &Message,
    qname: &Name,
    qtype: RecordType,
    clock: UnixTime,
) -> Result<Option<DeniedWhat>, BogusReason> {
    match validate_answer(&read(message), qname, qtype, keys, clock) {
        Ok(Answered::Records(rrset, secure)) => {
            assert_eq!((&rrset.owner, rrset.rtype), (qname, qtype));
            assert!(secure.ttl <= TTL && secure.expires >= clock);
            Ok(None)
        }
        Ok(Answered::Denied(denied)) => Ok(Some(denied.what)),
        Err(bogus) => Err(bogus.reason),
    }
}

fn small_zone() -> TestZone {
    TestZone::new(
        "example.",
        &[
            (name("a.example."), RecordType::A),
            (name("x.deep.er.example."), RecordType::TXT),
            (name("*.wild.example."), RecordType::A),
            (name("host.wild.example."), RecordType::TXT),
            (name("z.example."), RecordType::MX),
        ],
    )
}

fn reason(zone: &TestZone, message: &Message, qname: &str, qtype: RecordType) -> BogusReason {
    judge(zone, message, &name(qname), qtype, zone.now).unwrap_err()
}

/// Changes the signatures over this type, in place.
fn change_signatures(
    message: &mut Message,
    rtype: RecordType,
    change: impl Fn(&mut SigInput, &mut Vec<u8>),
) {
    let mut changed = 0;
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else {
            continue;
        };
        let mut input = rrsig.input().clone();
        if input.type_covered != rtype {
            continue;
        }
        let mut signature = rrsig.sig().to_vec();
        change(&mut input, &mut signature);
        record.data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature)));
        changed += 1;
    }
    assert!(changed > 0, "nothing to change");
}

fn change_nsecs(message: &mut Message, change: impl Fn(&NSEC) -> NSEC) {
    for record in &mut message.authorities {
        if let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data {
            record.data = RData::DNSSEC(DNSSECRData::NSEC(change(nsec)));
        }
    }
}

#[test]
fn honest_answers_of_each_kind_are_secure() {
    let zone = small_zone();
    let verdict = |qname: &str, qtype| {
        let message = zone.answer(&name(qname), qtype);
        judge(&zone, &message, &name(qname), qtype, zone.now)
    };
    assert_eq!(verdict("a.example.", RecordType::A), Ok(None));
    assert_eq!(verdict("A.Example.", RecordType::A), Ok(None));
    assert_eq!(verdict("example.", RecordType::SOA), Ok(None));
    assert_eq!(verdict("any.wild.example.", RecordType::A), Ok(None));
    assert_eq!(verdict("*.wild.example.", RecordType::A), Ok(None));
    let (name, of_type) = (Ok(Some(DeniedWhat::Name)), Ok(Some(DeniedWhat::Type)));
    assert_eq!(verdict("a.example.", RecordType::TXT), of_type);
    assert_eq!(verdict("deep.er.example.", RecordType::A), of_type);
    assert_eq!(verdict("er.example.", RecordType::A), of_type);
    assert_eq!(verdict("any.wild.example.", RecordType::TXT), of_type);
    assert_eq!(verdict("host.wild.example.", RecordType::A), of_type);
    assert_eq!(verdict("b.example.", RecordType::A), name);
    assert_eq!(verdict("0.example.", RecordType::A), name);
    assert_eq!(verdict("zz.example.", RecordType::A), name);
    assert_eq!(verdict("sub.a.example.", RecordType::A), name);
    assert_eq!(verdict("x.host.wild.example.", RecordType::A), name);
    assert_eq!(verdict("*.example.", RecordType::A), name);
}

#[test]
fn the_window_is_judged_in_serial_arithmetic() {
    let zone = small_zone();
    let (owner, data) = (name("a.example."), [RData::A(A::new(192, 0, 2, 1))]);
    let verdict = |inception: u32, expiration: u32, clock: u64| {
        let mut input = zone.input(&owner, RecordType::A, &zone.zsk);
        input.sig_inception = SerialNumber::new(inception);
        input.sig_expiration = SerialNumber::new(expiration);
        let mut message = zone.answer(&owner, RecordType::A);
        message.answers = zone.signed_as(&owner, &owner, &data, &zone.zsk, input);
        judge(&zone, &message, &owner, RecordType::A, UnixTime(clock))
    };
    assert_eq!(verdict(1000, 2000, 1000), Ok(None));
    assert_eq!(verdict(1000, 2000, 2000), Ok(None));
    assert_eq!(
        verdict(1000, 2000, 999),
        Err(BogusReason::SignatureNotYetValid)
    );
    assert_eq!(
        verdict(1000, 2000, 2001),
        Err(BogusReason::SignatureExpired)
    );
    // Across the turn of the 32 bits in 2106.
    let turn = 1_u64 << 32;
    assert_eq!(verdict(u32::MAX - 10, 10, turn), Ok(None));
    assert_eq!(
        verdict(u32::MAX - 10, 10, turn + 11),
        Err(BogusReason::SignatureExpired)
    );
    assert_eq!(
        verdict(u32::MAX - 10, 10, turn - 20),
        Err(BogusReason::SignatureNotYetValid)
    );
}

#[test]
fn the_time_to_live_is_cut_to_the_original_and_to_the_end_of_the_window() {
    let zone = small_zone();
    let owner = name("a.example.");
    let mut message = zone.answer(&owner, RecordType::A);
    for record in &mut message.answers {
        record.ttl = 1_000_000;
    }
    let at = |clock: UnixTime| {
        let reply = read(&message);
        let rrset = reply.answer(&owner, RecordType::A).unwrap();
        validate_rrset(rrset, &zone.trusted(), clock).unwrap().ttl
    };
    assert_eq!(at(zone.now), TTL);
    assert_eq!(at(UnixTime(zone.now.0 + 86_400 - 7)), 7);
}

#[test]
fn each_mutated_signature_is_refused_by_its_reason() {
    let zone = small_zone();
    let mutated = |change: &dyn Fn(&mut SigInput, &mut Vec<u8>)| {
        let mut message = zone.answer(&name("a.example."), RecordType::A);
        change_signatures(&mut message, RecordType::A, change);
        assert!(!finds_secure(&Arc::new(small_zone()), &message));
        reason(&zone, &message, "a.example.", RecordType::A)
    };
    assert_eq!(mutated(&|_, sig| sig[5] ^= 1), BogusReason::SignatureWrong);
    assert_eq!(
        mutated(&|_, sig| sig.truncate(63)),
        BogusReason::SignatureWrong
    );
    assert_eq!(mutated(&|_, sig| sig.clear()), BogusReason::SignatureWrong);
    assert_eq!(
        mutated(&|input, _| input.key_tag ^= 1),
        BogusReason::UnknownKey
    );
    assert_eq!(
        mutated(&|input, _| input.key_tag = zone.ksk.tag()),
        BogusReason::SignatureWrong
    );
    assert_eq!(
        mutated(&|input, _| input.num_labels = 3),
        BogusReason::WrongLabels
    );
    assert_eq!(
        mutated(&|input, _| input.num_labels = 1),
        BogusReason::SignatureWrong
    );
    assert_eq!(
        mutated(&|input, _| input.num_labels = 0),
        BogusReason::WrongLabels
    );
    assert_eq!(
        mutated(&|input, _| input.signer_name = name("other.")),
        BogusReason::WrongSigner
    );
    assert_eq!(
        mutated(&|input, _| input.signer_name = name("a.example.")),
        BogusReason::WrongSigner
    );
    assert_eq!(
        mutated(&|input, _| input.original_ttl += 1),
        BogusReason::SignatureWrong
    );
    assert_eq!(
        mutated(&|input, _| input.algorithm = Algorithm::ED25519),
        BogusReason::UnknownKey
    );
    assert_eq!(
        mutated(&|input, _| input.algorithm = Algorithm::ECDSAP384SHA384),
        BogusReason::UnsupportedAlgorithm
    );
    assert_eq!(
        mutated(&|input, _| input.algorithm = Algorithm::Unknown(199)),
        BogusReason::UnsupportedAlgorithm
    );
    assert_eq!(
        mutated(&|input, _| input.sig_expiration = SerialNumber::new(zone.now.wire() + 90_000)),
        BogusReason::SignatureWrong
    );
    // A signature over another type is not one over this.
    assert_eq!(
        mutated(&|input, _| input.type_covered = RecordType::TXT),
        BogusReason::SignatureMissing
    );
}

#[test]
fn a_refusal_names_the_record_the_key_and_the_times() {
    let zone = small_zone();
    let message = zone.answer(&name("a.example."), RecordType::A);
    let late = UnixTime(zone.now.0 + 100_000);
    let reply = read(&message);
    let bogus = validate_answer(
        &reply,
        &name("a.example."),
        RecordType::A,
        &zone.trusted(),
        late,
    )
    .unwrap_err();
    assert_eq!(bogus.reason, BogusReason::SignatureExpired);
    assert_eq!(
        (bogus.owner.as_str(), bogus.rtype.as_str()),
        ("a.example", "A")
    );
    assert_eq!(bogus.key_tag, Some(zone.zsk.tag()));
    assert_eq!(bogus.signer.as_deref(), Some("example"));
    assert_eq!(bogus.inception, Some(UnixTime(zone.now.0 - 3600)));
    assert_eq!(bogus.expiration, Some(UnixTime(zone.now.0 + 86_400)));
    let json = serde_json::to_value(&bogus).unwrap();
    assert_eq!(json["reason"], "signature-expired");
}

#[test]
fn a_key_that_may_not_sign_zones_is_refused_by_its_reason() {
    let zone = small_zone();
    let message = zone.answer(&name("a.example."), RecordType::A);
    let reply = read(&message);
    let with_flags = |flags: u16, protocol: u8| {
        let public = zone.zsk.dnskey().public_key().public_bytes();
        let mut rdata = flags.to_be_bytes().to_vec();
        rdata.extend([protocol, 13]);
        rdata.extend_from_slice(public);
        let key = ZoneKey::from_rdata(&rdata).unwrap();
        // The tag depends on the flags: sign anew with the tag that this key has.
        let mut input = zone.input(&name("a.example."), RecordType::A, &zone.zsk);
        input.key_tag = key.tag();
        let data: Vec<_> = message.answers[..2]
            .iter()
            .map(|r| r.data.clone())
            .collect();
        let owner = name("a.example.");
        let mut signed = zone.answer(&owner, RecordType::A);
        signed.answers = zone.signed_as(&owner, &owner, &data, &zone.zsk, input);
        let keys = TrustedKeys {
            zone: zone.origin.clone(),
            keys: vec![key],
        };
        let reply = read(&signed);
        let rrset = reply.answer(&owner, RecordType::A).unwrap();
        validate_rrset(rrset, &keys, zone.now).map_err(|bogus| bogus.reason)
    };
    assert!(with_flags(256, 3).is_ok());
    assert_eq!(with_flags(256, 2).unwrap_err(), BogusReason::WrongProtocol);
    assert_eq!(with_flags(0, 3).unwrap_err(), BogusReason::NotZoneKey);
    assert_eq!(with_flags(0x0180, 3).unwrap_err(), BogusReason::KeyRevoked);
    assert_eq!(with_flags(0x0181, 3).unwrap_err(), BogusReason::KeyRevoked);
    assert!(reply.has_signatures());
}

#[test]
fn records_taken_out_put_in_or_moved_are_refused() {
    let zone = small_zone();
    let honest = zone.answer(&name("a.example."), RecordType::A);
    let extra =
        |owner: &str| Record::from_rdata(name(owner), TTL, RData::A(A::new(203, 0, 113, 1)));
    let mut fewer = honest.clone();
    fewer.answers.remove(0);
    let mut more = honest.clone();
    more.answers.push(extra("a.example."));
    let mut other = honest.clone();
    other.answers[0].data = RData::A(A::new(203, 0, 113, 1));
    let mut unsigned = honest.clone();
    unsigned.answers.pop();
    let mut moved = honest.clone();
    for record in &mut moved.answers {
        record.name = name("z.example.");
    }
    let mut retyped = honest.clone();
    for record in &mut retyped.answers[..2] {
        record.data = RData::TXT(TXT::new(vec!["abc".to_owned()]));
    }
    change_signatures(&mut retyped, RecordType::A, |input, _| {
        input.type_covered = RecordType::TXT;
    });
    let shared = Arc::new(small_zone());
    for (message, qname, qtype, expected) in [
        (
            &fewer,
            "a.example.",
            RecordType::A,
            BogusReason::SignatureWrong,
        ),
        (
            &more,
            "a.example.",
            RecordType::A,
            BogusReason::SignatureWrong,
        ),
        (
            &other,
            "a.example.",
            RecordType::A,
            BogusReason::SignatureWrong,
        ),
        (
            &unsigned,
            "a.example.",
            RecordType::A,
            BogusReason::SignatureMissing,
        ),
        (
            &moved,
            "z.example.",
            RecordType::A,
            BogusReason::SignatureWrong,
        ),
        (
            &moved,
            "a.example.",
            RecordType::A,
            BogusReason::DenialMissing,
        ),
        (
            &retyped,
            "a.example.",
            RecordType::TXT,
            BogusReason::SignatureWrong,
        ),
    ] {
        assert_eq!(reason(&zone, message, qname, qtype), expected);
        assert!(!finds_secure(&shared, message));
    }
    let mut repeated = honest.clone();
    repeated.answers.push(honest.answers[0].clone());
    repeated.answers[0].ttl = 5;
    assert_eq!(
        judge(
            &zone,
            &repeated,
            &name("a.example."),
            RecordType::A,
            zone.now
        ),
        Ok(None),
        "duplicates and unlike times to live are nobody's lie"
    );
}

#[test]
fn the_work_for_one_message_is_bounded() {
    let zone = small_zone();
    let honest = zone.answer(&name("a.example."), RecordType::A);
    let mut many = honest.clone();
    let rrsig = many.answers.pop().unwrap();
    for tag in 0..=MAX_SIGNATURES as u16 {
        let mut copy = Message::response(1, hickory_proto::op::OpCode::Query);
        copy.answers = vec![rrsig.clone()];
        change_signatures(&mut copy, RecordType::A, |input, _| input.key_tag = tag);
        many.answers.extend(copy.answers);
    }
    assert_eq!(
        reason(&zone, &many, "a.example.", RecordType::A),
        BogusReason::TooManySignatures
    );

    // More keys with the tag of the signature than an honest zone ever has.
    let mut keys = zone.trusted();
    let twin = keys.keys[1].clone();
    keys.keys = vec![twin; MAX_KEYS_PER_SIGNATURE + 1];
    let reply = read(&honest);
    let rrset = reply.answer(&name("a.example."), RecordType::A).unwrap();
    let bogus = validate_rrset(rrset, &keys, zone.now).unwrap_err();
    assert_eq!(bogus.reason, BogusReason::TooManyTries);

    let mut crowd = zone.answer(&zone.origin, RecordType::DNSKEY);
    for number in 0..MAX_KEYS as u8 {
        let key = PublicKeyBuf::new(vec![number; 64], Algorithm::ECDSAP256SHA256);
        let key = DNSKEY::with_flags(256, key);
        let data = RData::DNSSEC(DNSSECRData::DNSKEY(key));
        crowd
            .answers
            .push(Record::from_rdata(zone.origin.clone(), TTL, data));
    }
    let reply = read(&crowd);
    let rrset = reply.answer(&zone.origin, RecordType::DNSKEY).unwrap();
    let bogus = validate_keys(rrset, &zone.origin, &zone.anchors(), zone.now).unwrap_err();
    assert_eq!(bogus.reason, BogusReason::TooManyKeys);

    let mut flood = honest.clone();
    let host =
        |n: usize| Record::from_rdata(name(&format!("h{n}.")), 1, RData::A(A::new(1, 1, 1, 1)));
    flood.answers.extend((0..MAX_RECORDS).map(host));
    let error = Reply::read(&flood.to_vec().unwrap()).unwrap_err();
    assert_eq!(error, ReplyError::TooManyRecords);
}

#[test]
fn the_keys_of_a_zone_need_the_signature_of_an_anchor() {
    let zone = small_zone();
    let honest = zone.answer(&zone.origin, RecordType::DNSKEY);
    let validate = |message: &Message, anchors: &[ZoneKey]| {
        let reply = read(message);
        let rrset = reply.answer(&zone.origin, RecordType::DNSKEY).unwrap();
        validate_keys(rrset, &zone.origin, anchors, zone.now)
            .map(|(keys, _)| keys.keys().len())
            .map_err(|bogus| bogus.reason)
    };
    assert_eq!(validate(&honest, &zone.anchors()), Ok(2));

    let mut unsigned = honest.clone();
    unsigned
        .answers
        .retain(|r| r.record_type() == RecordType::DNSKEY);
    let all: Vec<ZoneKey> = zone.trusted().keys;
    assert_eq!(
        validate(&unsigned, &all),
        Err(BogusReason::SignatureMissing)
    );

    let stranger = TestZone::new("example.", &[]);
    assert_eq!(
        validate(&honest, &stranger.anchors()),
        Err(BogusReason::NotSignedByAnchor)
    );

    // Signed by the ZSK alone, which is no anchor.
    let data: Vec<_> = unsigned.answers.iter().map(|r| r.data.clone()).collect();
    let by = |key: &SigningKey, data: &[RData]| {
        let input = zone.input(&zone.origin, RecordType::DNSKEY, key);
        let mut message = honest.clone();
        message.answers = zone.signed_as(&zone.origin, &zone.origin, data, key, input);
        message
    };
    assert_eq!(
        validate(&by(&zone.zsk, &data), &zone.anchors()),
        Err(BogusReason::NotSignedByAnchor)
    );
    assert!(validate(&by(&zone.ksk, &data), &zone.anchors()).is_ok());

    // The anchor signs a set that it is not part of, or is part of as a revoked key.
    assert_eq!(
        validate(&by(&zone.ksk, &data[1..]), &zone.anchors()),
        Err(BogusReason::NotSignedByAnchor)
    );
    let ksk = zone.ksk.dnskey();
    let revoked = DNSKEY::with_flags(ksk.flags() | 0x80, ksk.public_key().clone());
    let mut with_revoked = data.clone();
    with_revoked[0] = RData::DNSSEC(DNSSECRData::DNSKEY(revoked));
    assert_eq!(
        validate(&by(&zone.ksk, &with_revoked), &zone.anchors()),
        Err(BogusReason::NotSignedByAnchor)
    );
}

#[test]
fn a_wildcard_does_not_stand_in_for_a_name_that_exists() {
    let zone = small_zone();
    let expanded = zone.answer(&name("any.wild.example."), RecordType::A);
    let mut bare = expanded.clone();
    bare.authorities.clear();
    assert_eq!(
        reason(&zone, &bare, "any.wild.example.", RecordType::A),
        BogusReason::WildcardNotProven
    );
    // The same records shown at a name that exists, with whatever proof there is.
    let mut forged = expanded.clone();
    for record in &mut forged.answers {
        record.name = name("host.wild.example.");
    }
    forged.authorities = zone.nsec_at_or_before(&name("host.wild.example."));
    assert_eq!(
        reason(&zone, &forged, "host.wild.example.", RecordType::A),
        BogusReason::WildcardNotProven
    );
    // And below a name that exists, which blocks the wildcard.
    let below = name("x.host.wild.example.");
    for record in &mut forged.answers {
        record.name = below.clone();
    }
    forged.authorities = zone.nsec_at_or_before(&below);
    assert_eq!(
        reason(&zone, &forged, "x.host.wild.example.", RecordType::A),
        BogusReason::WildcardNotProven
    );
}

#[test]
fn an_incomplete_or_foreign_denial_is_refused_by_its_reason() {
    let zone = small_zone();
    let of = |text: &str| zone.nsec_at_or_before(&name(text));
    let verdict = |qname: &str, qtype, authorities: Vec<Record>| {
        let mut message = zone.answer(&name(qname), qtype);
        message.answers.clear();
        message.authorities = authorities;
        reason(&zone, &message, qname, qtype)
    };
    let a = RecordType::A;
    assert_eq!(verdict("b.example.", a, vec![]), BogusReason::DenialMissing);
    assert_eq!(
        verdict("b.example.", a, of("z.example.")),
        BogusReason::NameNotDenied
    );
    assert_eq!(
        verdict("y.example.", a, of("y.example.")),
        BogusReason::WildcardNotDenied
    );
    assert_eq!(
        verdict("a.example.", a, of("a.example.")),
        BogusReason::TypeNotDenied
    );
    // A name that the wildcard answers is not denied by the span that it falls into.
    let mut both = of("q.wild.example.");
    both.extend(of("*.wild.example."));
    assert_eq!(
        verdict("q.wild.example.", a, both),
        BogusReason::WildcardNotDenied
    );

    let other = TestZone::new("other.", &[]);
    assert_eq!(
        verdict("b.example.", a, other.nsec_at_or_before(&name("b.other."))),
        BogusReason::OutsideZone
    );
}

#[test]
fn the_parents_side_of_a_zone_cut_denies_nothing_of_the_child() {
    let zone = small_zone();
    let cut = name("a.example.");
    let nsec_with = |types: &[RecordType]| {
        let nsec = NSEC::new(name("z.example."), types.iter().copied());
        let input = zone.input(&cut, RecordType::NSEC, &zone.zsk);
        let data = [RData::DNSSEC(DNSSECRData::NSEC(nsec))];
        let mut message = zone.answer(&cut, RecordType::TXT);
        message.authorities = zone.signed_as(&cut, &cut, &data, &zone.zsk, input);
        message
    };
    let verdict = |message: &Message, qname: &str, qtype| {
        judge(&zone, message, &name(qname), qtype, zone.now)
    };
    let (ns, soa, dname) = (RecordType::NS, RecordType::SOA, RecordType::from(39));
    let of_type = Ok(Some(DeniedWhat::Type));
    let parent = nsec_with(&[ns]);
    assert_eq!(verdict(&parent, "a.example.", RecordType::DS), of_type);
    assert_eq!(
        verdict(&parent, "a.example.", RecordType::A),
        Err(BogusReason::TypeNotDenied)
    );
    assert_eq!(
        verdict(&parent, "x.a.example.", RecordType::A),
        Err(BogusReason::NameNotDenied)
    );
    let child = nsec_with(&[ns, soa]);
    assert_eq!(verdict(&child, "a.example.", RecordType::A), of_type);
    assert_eq!(
        verdict(&child, "a.example.", RecordType::DS),
        Err(BogusReason::TypeNotDenied)
    );
    assert_eq!(
        verdict(&nsec_with(&[dname]), "x.a.example.", RecordType::A),
        Err(BogusReason::NameNotDenied)
    );
    assert_eq!(
        verdict(
            &nsec_with(&[RecordType::CNAME]),
            "a.example.",
            RecordType::A
        ),
        Err(BogusReason::TypeNotDenied)
    );
}

#[test]
fn a_key_record_that_hickory_cannot_decode_spoils_nothing() {
    let zone = small_zone();
    let mut message = zone
        .answer(&name("a.example."), RecordType::A)
        .to_vec()
        .unwrap();
    let before = Reply::read(&message).unwrap();
    // KEY with flags 0x0181, protocol 3, algorithm 13.
    message.extend_from_slice(b"\x00\x00\x19\x00\x01\x00\x00\x00\x3C\x00\x05\x01\x81\x03\x0D\x00");
    message[9] = 1;
    assert!(Message::from_vec(&message).is_err());
    let after = Reply::read(&message).unwrap();
    assert_eq!(after.rrsets[..1], before.rrsets[..1]);
    let key = ZoneKey::from_rdata(&after.rrsets[1].data[0]).unwrap();
    assert!(!key.is_anchor_material());
}

#[test]
fn a_key_goes_to_hickory_and_back() {
    let zone = small_zone();
    for key in [zone.ksk.dnskey(), zone.zsk.dnskey()] {
        let ours = ZoneKey::from(key);
        assert_eq!(ours.to_dnskey(), *key);
        assert_eq!(ours.tag(), key.calculate_key_tag().unwrap());
    }
}

/// Names at and below `example.`, with asterisks, that often coincide or nest.
fn any_name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![4 => "[a-d]", 1 => Just("*".to_owned()), 1 => Just("a0".to_owned())];
    proptest::collection::vec(label, 0..4).prop_map(|labels| {
        let mut text = labels.join(".");
        if !text.is_empty() {
            text.push('.');
        }
        name(&format!("{text}example."))
    })
}

fn any_owners() -> impl Strategy<Value = Vec<(Name, RecordType)>> {
    // An asterisk in the middle of an owner is legal and never a wildcard (RFC 4592 §2.1.1), but
    // signers and validators count its labels differently: leave it to the askers.
    let owner = any_name().prop_filter("an asterisk stands first", |name| {
        name.iter().skip(1).all(|label| label != b"*")
    });
    proptest::collection::vec((owner, prop::sample::select(&TYPES[..3])), 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hundreds_of_names_are_answered_or_denied_as_domain_finds_too(
        owners in any_owners(),
        asked in proptest::collection::vec((any_name(), prop::sample::select(&TYPES[..])), 40),
    ) {
        let zone = Arc::new(TestZone::new("example.", &owners));
        for (qname, qtype) in &asked {
            let message = zone.answer(qname, *qtype);
            let ours = judge(&zone, &message, qname, *qtype, zone.now);
            prop_assert!(ours.is_ok(), "{qname} {qtype}: {ours:?} {owners:?}");
            let positive = !message.answers.is_empty();
            let gone = message.metadata.response_code == ResponseCode::NXDomain;
            let expected = match (positive, gone) {
                (true, _) => None,
                (false, true) => Some(DeniedWhat::Name),
                (false, false) => Some(DeniedWhat::Type),
            };
            prop_assert_eq!(ours, Ok(expected));
            prop_assert!(finds_secure(&zone, &message), "{qname} {qtype} {owners:?}");
        }
    }

    #[test]
    fn a_proof_for_one_name_proves_another_only_where_domain_agrees(
        owners in any_owners(),
        pairs in proptest::collection::vec((any_name(), any_name(), prop::sample::select(&TYPES[..])), 40),
    ) {
        let zone = Arc::new(TestZone::new("example.", &owners));
        for (proven, asked, qtype) in &pairs {
            let mut message = zone.answer(proven, *qtype);
            if !message.answers.is_empty() {
                continue;
            }
            message.queries = zone.answer(asked, *qtype).queries;
            if let Ok(Some(what)) = judge(&zone, &message, asked, *qtype, zone.now) {
                message.metadata.response_code = match what {
                    DeniedWhat::Name => ResponseCode::NXDomain,
                    DeniedWhat::Type => ResponseCode::NoError,
                };
                prop_assert!(finds_secure(&zone, &message), "{asked} by {proven}: {message}");
                let honest = zone.answer(asked, *qtype);
                prop_assert!(honest.answers.is_empty(), "{asked} exists: {owners:?}");
            }
        }
    }

    #[test]
    fn each_single_mutation_is_refused_by_both(
        owners in any_owners(),
        (qname, qtype) in (any_name(), prop::sample::select(&TYPES[..])),
        bit in 0usize..512,
        kind in 0..8,
    ) {
        let zone = Arc::new(TestZone::new("example.", &owners));
        let mut message = zone.answer(&qname, qtype);
        let positive = !message.answers.is_empty();
        let target = if positive { qtype } else { RecordType::NSEC };
        let shift = |serial: &mut SerialNumber, by: u32| {
            *serial = SerialNumber::new(serial.get().wrapping_add(by));
        };
        match kind {
            0 => change_signatures(&mut message, target, |_, sig| sig[bit / 8] ^= 1 << (bit % 8)),
            1 => change_signatures(&mut message, target, |input, _| input.key_tag ^= 1),
            2 => change_signatures(&mut message, target, |input, _| {
                input.signer_name = name("a.example.");
            }),
            3 => change_signatures(&mut message, target, |input, _| input.num_labels ^= 1),
            4 => change_signatures(&mut message, target, |input, _| {
                shift(&mut input.sig_inception, 7200);
            }),
            5 => change_signatures(&mut message, target, |input, _| {
                shift(&mut input.sig_expiration, 0_u32.wrapping_sub(172_800));
            }),
            6 if positive => message.answers[0].data = RData::TXT(TXT::new(vec!["forged".into()])),
            6 => change_nsecs(&mut message, |nsec| {
                let mut next = nsec.next_domain_name().prepend_label("0").unwrap();
                next.set_fqdn(true);
                NSEC::new(next, nsec.type_bit_maps())
            }),
            _ if positive => message.answers.retain(|r| r.record_type() != RecordType::RRSIG),
            _ => change_nsecs(&mut message, |nsec| {
                let types = nsec.type_bit_maps().chain([RecordType::HINFO]);
                NSEC::new(nsec.next_domain_name().clone(), types)
            }),
        }
        let ours = judge(&zone, &message, &qname, qtype, zone.now);
        prop_assert!(ours.is_err(), "kind {kind}: {message}");
        prop_assert!(!finds_secure(&zone, &message), "kind {kind}: {message}");
    }

    #[test]
    fn random_records_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        rtype in prop::sample::select(&[25u16, 46, 47, 48, 52, 64, 6, 35][..]),
    ) {
        let zone = small_zone();
        let mut message = zone.answer(&name("b.example."), RecordType::A).to_vec().unwrap();
        message.extend_from_slice(b"\x01b\x07example\x00");
        message.extend_from_slice(&rtype.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, bytes.len() as u8]);
        message.extend_from_slice(&bytes);
        let count = u16::from_be_bytes([message[8], message[9]]) + 1;
        message[8..10].copy_from_slice(&count.to_be_bytes());
        if let Ok(reply) = Reply::read(&message) {
            for owner in zone.owners() {
                for qtype in TYPES {
                    let _ = validate_answer(&reply, owner, qtype, &zone.trusted(), zone.now);
                }
            }
        }
    }
}
