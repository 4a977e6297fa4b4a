//! What NSEC records prove, and what they do not.

use super::*;

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
fn a_signature_that_is_remembered_holds_for_what_it_was_made_over_and_in_its_time() {
    let zone = small_zone();
    let TrustedKeys {
        zone: origin, keys, ..
    } = zone.trusted();
    let keys = TrustedKeys::proved(origin, keys).unwrap();
    let missing = name("b.example.");
    let honest = zone.answer(&missing, RecordType::A);
    let denied = Ok(Some(DeniedWhat::Name));
    let verdict =
        |message: &Message, clock| judge_with(&keys, message, &missing, RecordType::A, clock);
    for _ in 0..3 {
        assert_eq!(verdict(&honest, zone.now), denied);
    }
    // More of them than are remembered.
    for number in 0..100 {
        let qname = name(&format!("n{number}.example."));
        let message = zone.answer(&qname, RecordType::A);
        let verdict = judge_with(&keys, &message, &qname, RecordType::A, zone.now);
        assert_eq!(verdict, denied, "{qname}");
    }
    assert_eq!(verdict(&honest, zone.now), denied);
    let late = UnixTime(zone.now.0 + 100 * 365 * 24 * 3600);
    assert!(verdict(&honest, late).is_err());
    let mut forged = honest;
    for record in &mut forged.authorities {
        if let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &mut record.data {
            *nsec = NSEC::new(name("zz.example."), [RecordType::A]);
        }
    }
    assert!(verdict(&forged, zone.now).is_err());
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
