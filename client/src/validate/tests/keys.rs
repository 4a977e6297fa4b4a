//! Which keys may sign, and how much work they can cause.

use super::*;

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
            verified: None,
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

/// A record signed by hand with an algorithm that zonegen does not use, and its verdict.
fn verdict_of(algorithm: u8, public: &[u8], sign: &dyn Fn(&[u8]) -> Vec<u8>) -> bool {
    let zone = small_zone();
    let owner = name("a.example.");
    let mut rdata = vec![1, 0, 3, algorithm];
    rdata.extend_from_slice(public);
    let key = ZoneKey::from_rdata(&rdata).unwrap();
    let mut input = zone.input(&owner, RecordType::A, &zone.zsk);
    input.algorithm = Algorithm::from_u8(algorithm);
    input.key_tag = key.tag();
    let mut message = zone.answer(&owner, RecordType::A);
    message.answers.pop();
    let signed = TBS::from_input(&owner, DNSClass::IN, &input, message.answers.iter()).unwrap();
    let rrsig = RRSIG::from_sig(input, sign(signed.as_ref()));
    let data = RData::DNSSEC(DNSSECRData::RRSIG(rrsig));
    message
        .answers
        .push(Record::from_rdata(owner.clone(), TTL, data));
    let keys = TrustedKeys {
        zone: zone.origin.clone(),
        keys: vec![key],
        verified: None,
    };
    judge_with(&keys, &message, &owner, RecordType::A, zone.now).is_ok()
}

#[test]
fn ed25519_and_rsa_signatures_are_verified_too() {
    let random = SystemRandom::new();
    let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ed25519 = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let public = ed25519.public_key().as_ref();
    let sign = |message: &[u8]| ed25519.sign(message).as_ref().to_vec();
    assert!(verdict_of(15, public, &sign));
    assert!(!verdict_of(15, &public[1..], &sign));
    assert!(!verdict_of(15, public, &|message| sign(&message[1..])));

    // A key made for this test alone.
    let rsa = RsaKeyPair::from_pkcs8(include_bytes!("rsa-2048.pkcs8")).unwrap();
    let parts: RsaPublicKeyComponents<Vec<u8>> = rsa.public().into();
    let sign = |message: &[u8]| {
        let mut signature = vec![0; rsa.public().modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
            .unwrap();
        signature
    };
    // RFC 3110 §2: the length of the exponent in one byte, or in two after a zero.
    let short = [&[parts.e.len() as u8], parts.e.as_slice(), &parts.n].concat();
    let long = [&[0, 0, parts.e.len() as u8], parts.e.as_slice(), &parts.n].concat();
    assert!(verdict_of(8, &short, &sign));
    assert!(verdict_of(8, &long, &sign));
    assert!(!verdict_of(8, &short, &|message| sign(&message[1..])));
    for broken in [&[0][..], &[0, 1], &[200, 1], &[1, 3], &[0; 40]] {
        assert!(!verdict_of(8, broken, &sign));
    }
}
