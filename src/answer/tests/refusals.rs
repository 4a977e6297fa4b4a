//! What is refused, and what is met with silence.

use super::*;

#[test]
fn what_cannot_be_answered_is_refused_as_the_rfcs_say() {
    let a = || plain("www.example.");
    let typed = |qtype: u16| question("www.example.", RecordType::from(qtype), None);
    let opcode = |opcode: u8| with(a(), 2, &[opcode << 3]);
    for (case, query, code, event) in [
        ("NOTIFY", opcode(4), 4, Event::OtherOpcode),
        ("UPDATE", opcode(5), 4, Event::OtherOpcode),
        ("an unassigned opcode", opcode(15), 4, Event::OtherOpcode),
        ("a header alone", a()[..12].to_vec(), 1, Event::Malformed),
        (
            "no question",
            with(a()[..12].to_vec(), 4, &[0, 0]),
            1,
            Event::Malformed,
        ),
        ("two questions", with(a(), 4, &[0, 2]), 1, Event::Malformed),
        (
            "a name that is cut",
            a()[..15].to_vec(),
            1,
            Event::Malformed,
        ),
        (
            "a question that is cut",
            a()[..a().len() - 1].to_vec(),
            1,
            Event::Malformed,
        ),
        (
            "a pointer to itself",
            with(a(), 12, &[0xC0, 12]),
            1,
            Event::Malformed,
        ),
        (
            "a reserved label kind",
            with(a(), 12, &[0x80]),
            1,
            Event::Malformed,
        ),
        (
            "octets behind the end",
            [a(), vec![0]].concat(),
            1,
            Event::Malformed,
        ),
        (
            "a record that is not there",
            with(a(), ARCOUNT, &[0, 1]),
            1,
            Event::Malformed,
        ),
        ("an answer", and(a(), 6, A_RECORD), 1, Event::Malformed),
        ("an authority", and(a(), 8, A_RECORD), 1, Event::Malformed),
        (
            "two OPT records",
            and(and(a(), ARCOUNT, OPT), ARCOUNT, OPT),
            1,
            Event::BadEdns,
        ),
        (
            "OPT not at the root",
            and(a(), ARCOUNT, OPT_NOT_AT_ROOT),
            1,
            Event::BadEdns,
        ),
        (
            "a lying option",
            and(a(), ARCOUNT, OPT_OPTION_CUT),
            1,
            Event::BadEdns,
        ),
        (
            "a short cookie",
            and(a(), ARCOUNT, OPT_BAD_COOKIE),
            1,
            Event::BadCookieLength,
        ),
        (
            "EDNS version 1",
            and(a(), ARCOUNT, OPT_VERSION_1),
            16,
            Event::BadVersion,
        ),
        (
            "TSIG",
            and(a(), ARCOUNT, TSIG_RECORD),
            9,
            Event::UnknownTsig,
        ),
        (
            "class CHAOS",
            with_class(typed(16), 3),
            5,
            Event::OtherClass,
        ),
        ("class HESIOD", with_class(a(), 4), 5, Event::OtherClass),
        ("class ANY", with_class(a(), 255), 4, Event::OtherClass),
        ("class NONE", with_class(a(), 254), 4, Event::OtherClass),
        ("AXFR", typed(252), 5, Event::Transfer),
        ("IXFR", typed(251), 5, Event::Transfer),
        (
            "IXFR with its SOA",
            and(typed(251), 8, A_RECORD),
            5,
            Event::Transfer,
        ),
        ("type 0", typed(0), 1, Event::OtherType),
        ("type OPT", typed(41), 1, Event::OtherType),
        ("type TSIG", typed(250), 1, Event::OtherType),
        ("type TKEY", typed(249), 4, Event::OtherType),
        ("type MAILB", typed(253), 4, Event::OtherType),
        ("type MAILA", typed(254), 4, Event::OtherType),
        ("RD clear", with(a(), 2, &[0]), 5, Event::NotRecursive),
    ] {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            let responder = responder();
            let reply = reply(responder.say(&asker(transport), &query));
            assert_eq!(rcode(&reply), code, "{case}");
            assert_eq!(responder.counters().value(event), 1, "{case}");
            assert_eq!(reply[..2], ID.to_be_bytes(), "{case}");
            let view = View::parse(&reply).unwrap();
            assert!(view.is_response() && view.counts().answers == 0, "{case}");
            assert_eq!(view.opcode(), query[2] >> 3, "{case}");
        }
    }
}

#[test]
fn what_must_not_be_answered_is_met_with_silence() {
    let stranger = Asker {
        address: "203.0.113.9".parse().unwrap(),
        ..udp()
    };
    let response = with(plain("www.example."), 2, &[0x81]);
    for (case, asker, query, reason) in [
        ("nothing", udp(), vec![], Dropped::TooShort),
        ("half a header", udp(), vec![0; 11], Dropped::TooShort),
        ("a response", udp(), response.clone(), Dropped::NotAQuery),
        (
            "a broken response",
            udp(),
            response[..14].to_vec(),
            Dropped::NotAQuery,
        ),
        (
            "a stranger",
            stranger,
            plain("www.example."),
            Dropped::Stranger,
        ),
        (
            "a stranger's garbage",
            stranger,
            vec![7; 3],
            Dropped::Stranger,
        ),
    ] {
        let responder = responder();
        match responder.say(&asker, &query) {
            Said::Drop(dropped) => assert_eq!(dropped, reason, "{case}"),
            other => panic!("{case}: {other:?}"),
        }
        assert_eq!(responder.counters().value(reason.event()), 1, "{case}");
    }
}

#[test]
fn an_overlong_query_is_told_so_from_its_beginning() {
    let responder = responder();
    let query = question(
        "www.example.",
        RecordType::A,
        Some(&edns(1232, &[(12, &[0; 5000])])),
    );
    let told = reply(responder.say_overlong(&asker(Transport::Tls), &query[..512]));
    assert_eq!(rcode(&told), 1);
    assert_eq!(told[..2], ID.to_be_bytes());
    assert!(matches!(
        responder.say_overlong(&asker(Transport::Tls), &with(query, 2, &[0x80])),
        Said::Drop(Dropped::NotAQuery)
    ));
}
