//! Signatures, each spoilt in one respect.

use super::*;

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
