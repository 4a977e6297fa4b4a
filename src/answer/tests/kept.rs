//! What comes out of the cache, and what has become of its time.

mod slow_way;

use zzdot_client::wire::{EdnsView, Section};

use super::*;

fn later(transport: Transport, secs: u64) -> Asker {
    Asker {
        instant: *START + Duration::from_secs(secs),
        ..asker(transport)
    }
}

fn at(secs: u64) -> std::time::Instant {
    *START + Duration::from_secs(secs)
}

fn ttls(reply: &[u8]) -> Vec<u32> {
    let view = View::parse(reply).unwrap();
    let records = view.records().map(Result::unwrap);
    records
        .filter(|record| record.rtype != 41)
        .map(|record| record.ttl)
        .collect()
}

fn errors(reply: &[u8]) -> Vec<u16> {
    let view = View::parse(reply).unwrap();
    let options = view.edns().unwrap().into_iter().flat_map(|edns| {
        let options: Vec<_> = EdnsView::options(&edns).collect();
        options
    });
    options
        .filter(|(code, _)| *code == 15)
        .map(|(_, content)| u16::from_be_bytes([content[0], content[1]]))
        .collect()
}

fn known(responder: &Responder, query: &[u8], response: Vec<u8>) -> Vec<u8> {
    let pending = pending(responder.say(&later(Transport::Tls, 0), query));
    responder.finish(pending, Ok(response), at(0))
}

fn soa(minimum: u32) -> Record {
    let zone = Name::from_ascii("example.").unwrap();
    let soa = hickory_proto::rr::rdata::SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, minimum);
    Record::from_rdata(zone, 3600, RData::SOA(soa))
}

fn denial(query: &[u8]) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap().into_response();
    message.edns = None;
    message.metadata.response_code = ResponseCode::NXDomain;
    message.insert_authorities(vec![soa(60)]);
    message.to_vec().unwrap()
}

#[test]
fn a_denial_is_kept_as_long_as_its_soa_says_with_its_extended_errors() {
    let responder = responder();
    let query = question("no.example.", RecordType::A, Some(&edns(1232, &[])));
    let filtered = edns(1232, &[(15, b"\0\x11no")]);
    let source = wire::with_edns(&denial(&query), Some(&filtered)).unwrap();
    let first = known(&responder, &query, source);
    assert_eq!(
        (rcode(&first), ttls(&first), errors(&first)),
        (3, vec![60], vec![17])
    );
    let kept = reply(responder.say(&later(Transport::Udp, 59), &query));
    assert_eq!(
        (rcode(&kept), ttls(&kept), errors(&kept)),
        (3, vec![1], vec![17])
    );
    pending(responder.say(&later(Transport::Udp, 60), &query));
}

#[test]
fn an_old_answer_serves_while_the_source_is_silent() {
    let responder = responder();
    let opt = Edns::plain(true);
    let query = question("www.example.", RecordType::TXT, Some(&opt));
    let source = with(response(&query, 1, None), 3, &[0xA0]);
    let first = known(&responder, &query, source);
    assert!(View::parse(&first).unwrap().authentic_data());

    let asked = pending(responder.say(&later(Transport::Tls, 61), &query));
    assert!(asked.has_stale());
    // Who has waited long enough is told at once, and so is who came when the source had failed.
    let waited = responder.stale(&asked, at(63)).unwrap();
    let failed = responder.finish(asked, Err(ResolveError::TimedOut), at(68));
    let next = reply(responder.say(&later(Transport::Tls, 90), &query));
    for told in [waited, failed, next] {
        assert_eq!(
            (rcode(&told), ttls(&told), errors(&told)),
            (0, vec![30], vec![3])
        );
        assert!(!View::parse(&told).unwrap().authentic_data());
    }
    assert_eq!(responder.counters().value(Event::CacheStale), 3);
    assert_eq!(responder.counters().value(Event::SourceFailed), 0);

    // After half a minute the source has another try, and its answer counts.
    let asked = pending(responder.say(&later(Transport::Tls, 98), &query));
    responder.finish(asked, Ok(response(&query, 2, None)), at(98));
    let fresh = reply(responder.say(&later(Transport::Tls, 99), &query));
    assert_eq!(ttls(&fresh), [59, 59]);
    assert!(errors(&fresh).is_empty());
}

#[test]
fn an_old_answer_serves_where_there_was_no_room_to_ask_and_the_next_one_asks() {
    let responder = responder();
    let query = question("www.example.", RecordType::TXT, None);
    known(&responder, &query, response(&query, 1, None));
    let asked = pending(responder.say(&later(Transport::Udp, 60), &query));
    let told = responder.finish(asked, Err(ResolveError::Overloaded), at(60));
    assert_eq!(ttls(&told), [30]);
    assert!(pending(responder.say(&later(Transport::Udp, 61), &query)).has_stale());
}

#[test]
fn an_old_denial_is_called_one() {
    let responder = responder();
    let query = question("no.example.", RecordType::A, Some(&edns(1232, &[])));
    known(&responder, &query, denial(&query));
    let asked = pending(responder.say(&later(Transport::Udp, 60), &query));
    let told = responder.finish(asked, Err(ResolveError::Unreachable), at(60));
    assert_eq!((rcode(&told), errors(&told)), (3, vec![19]));
}

#[test]
fn what_is_forged_or_forbidden_is_not_covered_by_an_old_answer() {
    let bogus = || ResolveError::Bogus {
        reason: crate::resolve::BogusReason::SignatureExpired,
        detail: String::new(),
    };
    let query = question("www.example.", RecordType::TXT, Some(&edns(1232, &[])));
    let blocked = || {
        let refused = with(response(&query, 0, None), 3, &[0x85]);
        wire::with_edns(&refused, Some(&edns(1232, &[(15, b"\0\x0F")]))).unwrap()
    };
    for (source, code, error) in [(Err(bogus()), 2, 7), (Ok(blocked()), 5, 15)] {
        let responder = responder();
        known(&responder, &query, response(&query, 1, None));
        let asked = pending(responder.say(&later(Transport::Udp, 60), &query));
        let told = responder.finish(asked, source, at(60));
        assert_eq!((rcode(&told), errors(&told)), (code, vec![error]));
    }
}

#[test]
fn a_failure_is_told_again_for_a_few_seconds_unless_it_is_our_own() {
    let query = question("www.example.", RecordType::A, Some(&edns(1232, &[])));
    for (error, kept) in [
        (ResolveError::TimedOut, true),
        (ResolveError::Unreachable, true),
        (ResolveError::Overloaded, false),
        (ResolveError::NoUpstream, false),
    ] {
        let responder = responder();
        let asked = pending(responder.say(&later(Transport::Udp, 0), &query));
        let first = responder.finish(asked, Err(error.clone()), at(0));
        match responder.say(&later(Transport::Udp, 4), &query) {
            Said::Reply(again) => assert_eq!(again, first, "{error:?}"),
            Said::Ask(_) => assert!(!kept, "{error:?}"),
            Said::Drop(_) => panic!("dropped"),
        }
        pending(responder.say(&later(Transport::Udp, 5), &query));
    }
}

#[test]
fn what_is_popular_is_asked_again_before_it_ends() {
    let responder = responder();
    let query = plain("www.example.");
    known(
        &responder,
        &query,
        response(&plain("www.example."), 1, None),
    );
    // A TXT record is no answer to A, and a referral is not kept.
    let query = question("www.example.", RecordType::TXT, None);
    known(&responder, &query, response(&query, 1, None));
    let ask = |secs| {
        let mut out = Vec::new();
        match responder.answer(&later(Transport::Udp, secs), &query, &mut out) {
            Outcome::Replied(refresh) => refresh,
            other => panic!("{other:?}"),
        }
    };
    for secs in [0, 1, 53] {
        assert!(ask(secs).is_none());
    }
    let refresh = ask(54).unwrap();
    assert!(ask(55).is_none(), "once is enough");
    let onward = refresh.query();
    assert!(
        View::parse(&onward)
            .unwrap()
            .question()
            .unwrap()
            .eq_exact(&View::parse(&query).unwrap().question().unwrap())
    );
    responder.refreshed(*refresh, Ok(response(&query, 2, None)), at(56));
    assert!(ask(60).is_none());
    let told = reply(responder.say(&later(Transport::Udp, 60), &query));
    assert_eq!(ttls(&told), [56, 56]);
}

#[test]
fn a_refresh_that_fails_takes_nothing_away() {
    let responder = responder();
    let query = question("www.example.", RecordType::TXT, None);
    known(&responder, &query, response(&query, 1, None));
    let asked = pending(responder.say(&later(Transport::Udp, 60), &query));
    let refresh = asked.into_refresh();
    responder.refreshed(refresh, Err(ResolveError::TimedOut), at(67));
    let told = reply(responder.say(&later(Transport::Udp, 68), &query));
    assert_eq!((rcode(&told), ttls(&told)), (0, vec![30]));
}

#[test]
fn another_source_makes_everything_forgotten_even_what_is_under_way() {
    let responder = responder();
    let query = question("www.example.", RecordType::TXT, None);
    known(&responder, &query, response(&query, 1, None));
    let other = question("other.example.", RecordType::TXT, None);
    let under_way = pending(responder.say(&udp(), &other));
    responder.replace_source(Arc::new(Nobody));
    responder.close(under_way, Ok(response(&other, 1, None)));
    for query in [query, other] {
        let asked = pending(responder.say(&udp(), &query));
        assert!(!asked.has_stale());
    }
}

#[test]
fn a_name_that_becomes_ours_is_never_told_out_of_the_cache() {
    let responder = responder();
    let query = question("later.example.", RecordType::TXT, None);
    known(&responder, &query, response(&query, 1, None));
    reply(responder.say(&udp(), &query));
    responder.reserve(vec![Name::from_ascii("example.").unwrap()]);
    assert_eq!(rcode(&reply(responder.say(&udp(), &query))), 2);
    assert_eq!(responder.counters().value(Event::NotReady), 1);

    let special = question("x.home.test.", RecordType::TXT, None);
    known(&responder, &special, response(&special, 1, None));
    responder.replace_private_suffixes(&[Name::from_ascii("home.test.").unwrap()]);
    assert_eq!(rcode(&reply(responder.say(&udp(), &special))), 3);
}

#[test]
fn what_others_asked_is_told_only_with_recursion_and_own_names_without() {
    let responder = responder();
    let query = question("www.example.", RecordType::TXT, None);
    known(&responder, &query, response(&query, 1, None));
    reply(responder.say(&udp(), &query));
    assert_eq!(
        rcode(&reply(responder.say(&udp(), &with(query, 2, &[0])))),
        5
    );
    let own = plain("localhost.");
    reply(responder.say(&udp(), &own));
    let kept = reply(responder.say(&udp(), &with(own, 2, &[0])));
    assert_eq!((rcode(&kept), kept[2] & 1), (0, 0));
}

#[test]
fn without_a_cache_everything_is_asked() {
    let responder = responder();
    responder.replace_cache(None);
    let query = question("www.example.", RecordType::TXT, None);
    known(&responder, &query, response(&query, 1, None));
    pending(responder.say(&udp(), &query));
    assert_eq!(responder.counters().value(Event::CacheMiss), 0);
    reply(responder.say(&udp(), &plain("localhost.")));
}
