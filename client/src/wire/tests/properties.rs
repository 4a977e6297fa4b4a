//! What holds of any message, sound or spoilt.

use proptest::prelude::*;

use super::*;

/// Names, mostly related to one another so that compression has work.
fn any_name() -> impl Strategy<Value = Name> {
    proptest::collection::vec("[a-cA-C]{1,5}", 0..5)
        .prop_map(|labels| Name::from_labels(labels.iter().map(|l| l.as_bytes())).unwrap())
}

fn any_record() -> impl Strategy<Value = Record> {
    (any_name(), any_name(), any::<u32>(), 0..5u8).prop_map(|(owner, target, ttl, kind)| {
        let data = match kind {
            0 => RData::A(A::new(192, 0, 2, 1)),
            1 => RData::CNAME(CNAME(target)),
            2 => RData::MX(MX::new(7, target)),
            3 => RData::SOA(hickory_proto::rr::rdata::SOA::new(
                target.clone(),
                target,
                1,
                2,
                3,
                4,
                5,
            )),
            _ => RData::NULL(NULL::with(vec![0xC0; 9])),
        };
        Record::from_rdata(owner, ttl, data)
    })
}

prop_compose! {
    fn any_message()(
        asked in any_name(),
        id in any::<u16>(),
        answers in proptest::collection::vec(any_record(), 0..6),
        authorities in proptest::collection::vec(any_record(), 0..3),
        additionals in proptest::collection::vec(any_record(), 0..3),
        edns in any::<bool>(),
    ) -> Vec<u8> {
        let mut message = Message::response(id, hickory_proto::op::OpCode::Query);
        message.queries = vec![hickory_proto::op::Query::query(asked, RecordType::A)];
        message.answers = answers;
        message.authorities = authorities;
        message.additionals = additionals;
        let bytes = message.to_vec().unwrap();
        if edns { with_edns(&bytes, Some(&Edns::plain(true))).unwrap() } else { bytes }
    }
}

/// Runs everything that looks at a message.
fn exercise(bytes: &[u8]) {
    let _ = error_reply(bytes, 1, Some((0, "text")));
    let _ = truncate(bytes, 100);
    for edns in [None, Some(Edns::plain(true))] {
        if let Ok(changed) = with_edns(bytes, edns.as_ref()) {
            View::parse(&changed).unwrap().check().unwrap();
        }
    }
    let mut padded = bytes.to_vec();
    if pad(&mut padded, 128).is_ok() {
        View::parse(&padded).unwrap().check().unwrap();
        assert!(padded.len().is_multiple_of(128) || padded.len() == MAX_MESSAGE_BYTES);
    } else {
        assert_eq!(padded, bytes);
    }
    if let Ok(view) = View::parse(bytes) {
        let _ = view.check();
        let _ = view.edns();
        let _ = answer_chain_ok(&view, &view);
        assert!(view.records().count() <= bytes.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
    }

    #[test]
    fn spoilt_messages_never_panic(
        mut bytes in any_message(),
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
    ) {
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        exercise(&bytes);
        bytes.truncate(keep.index(bytes.len() + 1));
        exercise(&bytes);
    }

    #[test]
    fn valid_messages_read_as_hickory_reads_them(bytes in any_message()) {
        let theirs = Message::from_vec(&bytes).unwrap();
        let view = View::parse(&bytes).unwrap();
        view.check().unwrap();
        let question = view.question().unwrap();
        prop_assert_eq!(question.wire_name, wire(theirs.queries[0].name()));
        let ours: Vec<_> = view.records().map(Result::unwrap).filter(|r| r.rtype != 41).collect();
        let all: Vec<_> = theirs.all_sections().collect();
        prop_assert_eq!(ours.len(), all.len());
        for (ours, theirs) in ours.iter().zip(all) {
            prop_assert_eq!(ours.owner.to_wire(), wire(&theirs.name));
            prop_assert_eq!(ours.rtype, u16::from(theirs.record_type()));
            prop_assert_eq!(ours.ttl, theirs.ttl);
        }
        prop_assert_eq!(view.edns().unwrap().is_some(), theirs.edns.is_some());
    }

    #[test]
    fn changing_the_opt_record_changes_nothing_else(bytes in any_message()) {
        let before = Message::from_vec(&bytes).unwrap();
        let bare = with_edns(&bytes, None).unwrap();
        let again = with_edns(&bare, Some(&Edns::plain(true))).unwrap();
        let mut padded = bytes.clone();
        pad(&mut padded, 128).unwrap();
        for changed in [&bare, &again, &padded] {
            let after = Message::from_vec(changed).unwrap();
            prop_assert_eq!(&after.answers, &before.answers);
            prop_assert_eq!(&after.authorities, &before.authorities);
            prop_assert_eq!(&after.additionals, &before.additionals);
        }
    }
}

fn wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.iter() {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}
