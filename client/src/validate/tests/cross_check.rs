//! Zones, questions and mutations at random: `domain` has the second say.

use super::*;

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
