//! What a source gives, made fit for the asker.

use super::*;

#[test]
fn what_is_asked_onward_is_the_question_and_nothing_of_this_hop() {
    let responder = responder();
    let client_subnet = (8, &[0, 1, 24, 0, 192, 0, 2][..]);
    let full = Edns {
        dnssec_ok: true,
        ..edns(
            4096,
            &[(10, b"clientco"), (11, &[]), (12, &[0; 40]), client_subnet],
        )
    };
    let query = with(
        question("wWw.ExAmPlE.", RecordType::MX, Some(&full)),
        3,
        &[0x30],
    );
    let onward = pending(responder.say(&asker(Transport::Tls), &query)).query();
    let view = View::parse(&onward).unwrap();
    view.check().unwrap();
    assert_eq!(view.id(), 0);
    let flags = Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED | Flags::AUTHENTIC_DATA;
    assert_eq!(view.flags(), Flags(flags));
    assert!(
        view.question()
            .unwrap()
            .eq_exact(&View::parse(&query).unwrap().question().unwrap())
    );
    assert_eq!(view.edns().unwrap().unwrap().to_edns(), Edns::plain(true));

    let onward = pending(responder.say(&udp(), &plain("www.example."))).query();
    assert!(View::parse(&onward).unwrap().edns().unwrap().is_none());
}

#[test]
fn a_response_gets_back_the_askers_id_and_letters() {
    let responder = responder();
    let query = plain("wWw.ExAmPlE.");
    let pending = pending(responder.say(&udp(), &query));
    let source = with(response(&plain("www.example."), 2, None), 0, &[1, 2]);
    let reply = responder.close(pending, Ok(source));
    let (asked, told) = (View::parse(&query).unwrap(), View::parse(&reply).unwrap());
    assert!(wire::answers_exactly(&asked, &told));
    assert_eq!(told.counts().answers, 2);
    assert!(told.flags().has(Flags::RECURSION_AVAILABLE));
}

#[test]
fn ad_is_for_those_who_know_it_and_cd_comes_back() {
    for (asked_flags, dnssec_ok, ad, cd) in [
        (0x00, false, false, false),
        (0x20, false, true, false),
        (0x00, true, true, false),
        (0x10, false, false, true),
        (0x30, true, true, true),
    ] {
        let responder = responder();
        let opt = dnssec_ok.then(|| Edns::plain(true));
        let query = with(
            question("www.example.", RecordType::TXT, opt.as_ref()),
            3,
            &[asked_flags],
        );
        let pending = pending(responder.say(&udp(), &query));
        // AD, and the reserved bit, as a source may set them.
        let source = with(response(&plain("www.example."), 0, None), 3, &[0x60]);
        let source = with(source, 12, &query[12..query.len().min(29)]);
        let reply = responder.close(pending, Ok(source));
        let view = View::parse(&reply).unwrap();
        assert_eq!(view.authentic_data(), ad, "{asked_flags:#x} {dnssec_ok}");
        assert_eq!(view.checking_disabled(), cd, "{asked_flags:#x} {dnssec_ok}");
        assert!(!view.flags().has(0x40), "the reserved bit is zero");
        assert_eq!(
            view.edns().unwrap().map(|edns| edns.dnssec_ok),
            opt.map(|_| true)
        );
    }
}

#[test]
fn what_is_no_answer_to_the_question_is_servfail() {
    let query = || question("www.example.", RecordType::TXT, Some(&Edns::plain(false)));
    let good = || response(&query(), 1, None);
    let badvers = Edns {
        extended_rcode: 1,
        ..Edns::plain(false)
    };
    for (case, source) in [
        ("nothing", vec![]),
        ("garbage", vec![0xFF; 40]),
        ("the query itself", query()),
        (
            "another name",
            response(&question("wwx.example.", RecordType::TXT, None), 1, None),
        ),
        (
            "another type",
            response(&question("www.example.", RecordType::A, None), 1, None),
        ),
        ("another class", with_class(good()[..29].to_vec(), 3)),
        ("another opcode", with(good(), 2, &[0xA8])),
        ("cut short", good()[..good().len() - 1].to_vec()),
        ("octets behind the end", [good(), vec![0]].concat()),
        (
            "an extended code of another hop",
            response(&query(), 1, Some(&badvers)),
        ),
        ("signed by TSIG", and(good(), ARCOUNT, TSIG_RECORD)),
        (
            "two OPT records",
            and(and(good(), ARCOUNT, OPT), ARCOUNT, OPT),
        ),
    ] {
        let responder = responder();
        let pending = pending(responder.say(&udp(), &query()));
        let reply = responder.close(pending, Ok(source));
        assert_eq!(rcode(&reply), 2, "{case}");
        assert_eq!(option(&reply, 15).unwrap()[..2], [0, 24], "{case}");
        assert_eq!(
            responder.counters().value(Event::SourceMismatch),
            1,
            "{case}"
        );
    }
}

#[test]
fn a_source_that_fails_is_servfail_and_says_why() {
    let responder = responder();
    for opt in [None, Some(Edns::plain(false))] {
        let query = question("www.example.", RecordType::A, opt.as_ref());
        let pending = pending(responder.say(&udp(), &query));
        let reply = responder.close(pending, Err(ResolveError::TimedOut));
        assert_eq!(rcode(&reply), 2);
        // Without an OPT record in the query there is none in the response (RFC 6891 §7).
        assert_eq!(
            option(&reply, 15).map(|ede| ede[..2].to_vec()),
            opt.map(|_| vec![0, 22])
        );
        assert!(wire::answers_exactly(
            &View::parse(&query).unwrap(),
            &View::parse(&reply).unwrap()
        ));
    }
}

#[test]
fn the_sources_own_hop_stays_behind_and_its_errors_are_passed_on() {
    let responder = responder();
    let query = question(
        "www.example.",
        RecordType::TXT,
        Some(&edns(1400, &[(10, b"clientco")])),
    );
    let pending = pending(responder.say(&udp(), &query));
    let theirs = edns(
        4096,
        &[
            (10, &[1; 24]),
            (11, &[0, 9]),
            (12, &[0; 99]),
            (15, b"\0\x12blocked"),
            (15, b"\0\x0f"),
        ],
    );
    let reply = responder.close(pending, Ok(response(&query, 1, Some(&theirs))));
    let edns = View::parse(&reply)
        .unwrap()
        .edns()
        .unwrap()
        .unwrap()
        .to_edns();
    assert_eq!(edns.payload_size, 1232);
    let codes: Vec<_> = edns.options.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [10, 15, 15]);
    assert_eq!(edns.options[0].1[..8], *b"clientco");
    assert_eq!(edns.options[1].1, b"\0\x12blocked");
}

#[test]
fn datagrams_are_no_longer_than_the_asker_and_every_path_can_take() {
    for (opt, answers, transport, longest, truncated) in [
        (None, 3, Transport::Udp, 512, false),
        (None, 5, Transport::Udp, 512, true),
        (Some(0), 5, Transport::Udp, 512, true),
        (Some(700), 5, Transport::Udp, 700, false),
        (Some(700), 8, Transport::Udp, 700, true),
        (Some(1232), 9, Transport::Udp, 1232, false),
        (Some(4096), 12, Transport::Udp, 1232, true),
        (Some(512), 12, Transport::Tcp, 65_535, false),
        (None, 500, Transport::Tls, 65_535, false),
    ] {
        let case = format!("{opt:?} {answers} {transport:?}");
        let responder = responder();
        let opt = opt.map(|size| edns(size, &[]));
        let query = question("www.example.", RecordType::TXT, opt.as_ref());
        let pending = pending(responder.say(&asker(transport), &query));
        let whole = response(&query, answers, None);
        let reply = responder.close(pending, Ok(whole));
        let view = View::parse(&reply).unwrap();
        view.check().unwrap();
        assert!(reply.len() <= longest, "{case}: {}", reply.len());
        assert_eq!(view.truncated(), truncated, "{case}");
        assert_eq!(view.edns().unwrap().is_some(), opt.is_some(), "{case}");
        let counted = responder.counters().value(Event::Truncated);
        assert_eq!(counted, u64::from(truncated), "{case}");
    }
}
