//! What holds for any bytes.

use super::*;

/// Whatever was asked, an answer must be one: it parses, is a response, has the id and opcode,
/// and the question where the query had one that could be read.
fn assert_sound(query: &[u8], reply: &[u8], limit: usize) {
    assert!(reply.len() <= limit);
    assert_eq!(reply[..2], query[..2]);
    let told = View::parse(reply).unwrap();
    told.check().unwrap();
    assert!(told.is_response());
    assert_eq!(told.opcode(), query[2] >> 3 & 15);
    if let Ok(asked) = View::parse(query)
        && let Some(asked) = asked.question()
    {
        assert!(asked.eq_exact(&told.question().unwrap()));
    }
}

fn transports() -> impl Strategy<Value = Transport> {
    prop_oneof![
        Just(Transport::Udp),
        Just(Transport::Tcp),
        Just(Transport::Tls)
    ]
}

/// Queries that are nearly right.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let names = prop_oneof![
        Just("www.example."),
        Just("."),
        Just("a.zz."),
        Just("localhost."),
        Just("_dns.resolver.arpa."),
    ];
    let option = (0u16..20, prop::collection::vec(any::<u8>(), 0..40));
    let opt = prop::option::of((any::<u16>(), prop::collection::vec(option, 0..4)));
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (
        names,
        any::<u16>(),
        opt,
        changes,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(name, qtype, opt, changes, cut, whole)| {
            let opt = opt.map(|(payload_size, options)| Edns {
                payload_size,
                options,
                ..Edns::plain(true)
            });
            let mut query = question(name, RecordType::from(qtype), opt.as_ref());
            for (place, octet) in changes {
                let place = place.index(query.len());
                query[place] = octet;
            }
            if !whole {
                query.truncate(cut.index(query.len()));
            }
            query
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_end_in_a_sound_reply_silence_or_a_question(
        query in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), mutated()],
        response in prop::collection::vec(any::<u8>(), 0..200),
        transport in transports(),
        pressed in any::<bool>(),
    ) {
        let responder = responder();
        let asker = Asker { pressed, ..asker(transport) };
        let limit = if transport == Transport::Udp { 1232 } else { 65_535 };
        match responder.say(&asker, &query) {
            Said::Reply(reply) => assert_sound(&query, &reply, limit),
            Said::Drop(dropped) => {
                prop_assert!(query.len() < 12 || query[2] & 0x80 != 0, "{dropped:?}");
            }
            Said::Ask(pending) => {
                let onward = pending.query();
                let view = View::parse(&onward).unwrap();
                view.check().unwrap();
                let asked = View::parse(&query).unwrap();
                prop_assert!(view.question().unwrap().eq_exact(&asked.question().unwrap()));
                prop_assert_eq!(view.edns().unwrap().is_some(), asked.edns().unwrap().is_some());
                assert_sound(&query, &responder.close(pending, Ok(response)), limit);
            }
        }
    }

    #[test]
    fn any_response_ends_in_a_sound_reply(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        answers in 0usize..20,
        opt in any::<bool>(),
        transport in transports(),
    ) {
        let responder = responder();
        let query = question("www.example.", RecordType::TXT, Some(&edns(1232, &[(12, &[0; 9])])));
        let pending = pending(responder.say(&asker(transport), &query));
        let theirs = edns(1232, &[(15, b"\0\x12blocked"), (12, &[0; 40])]);
        let mut source = response(&query, answers, opt.then_some(&theirs));
        for (place, octet) in changes {
            let place = place.index(source.len());
            source[place] = octet;
        }
        let limit = if transport == Transport::Udp { 1232 } else { 65_535 };
        assert_sound(&query, &responder.close(pending, Ok(source)), limit);
    }
}
