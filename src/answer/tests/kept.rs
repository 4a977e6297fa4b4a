//! What comes out of the cache: the same as by the slow way, and what has become of its time.

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

/// The response as it was made before there was a cache: by copies, one change after the other.
fn by_the_slow_way(query: &[u8], transport: Transport, source: &[u8]) -> Vec<u8> {
    let asked = View::parse(query).unwrap();
    let theirs = View::parse(source).unwrap();
    let mut message = source.to_vec();
    wire::set_id(&mut message, asked.id());
    let understands = asked.edns().unwrap().is_some_and(|edns| edns.dnssec_ok);
    let mut flags = theirs.flags().0 & (Flags::AUTHORITATIVE | Flags::TRUNCATED | Flags::RCODE);
    flags |= Flags::RESPONSE | Flags::RECURSION_AVAILABLE;
    flags |= asked.flags().0 & (Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED);
    if understands || asked.authentic_data() {
        flags |= theirs.flags().0 & Flags::AUTHENTIC_DATA;
    }
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    assert!(wire::restore_case(&mut message, &asked.question().unwrap()));
    let edns = asked.edns().unwrap().map(|asks| {
        let mut options = Vec::new();
        if transport.is_stream() && asks.option(11).is_some() {
            options.push((11, 300u16.to_be_bytes().to_vec()));
        }
        let errors = theirs.edns().unwrap().map(|edns| edns.to_edns().options);
        let errors = errors.unwrap_or_default().into_iter();
        options.extend(errors.filter(|(code, _)| *code == 15));
        Edns {
            options,
            ..Edns::plain(asks.dnssec_ok)
        }
    });
    let mut message = wire::with_edns(&message, edns.as_ref()).unwrap();
    let padded = asked
        .edns()
        .unwrap()
        .is_some_and(|edns| edns.option(12).is_some());
    if transport == Transport::Tls && padded {
        let _ = wire::pad(&mut message, 468);
    }
    let limit = match (transport, asked.edns().unwrap()) {
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => usize::from(edns.payload_size).clamp(512, 1232),
        _ => 65_535,
    };
    wire::truncate(&message, limit)
}

/// The message with TTLs made equal, which is all that may differ.
fn timeless(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let view = View::parse(&message).unwrap();
    let offsets: Vec<_> = view
        .records()
        .map(Result::unwrap)
        .filter(|record| record.rtype != 41)
        .map(|record| record.ttl_offset)
        .collect();
    for offset in offsets {
        message[offset..offset + 4].fill(0);
    }
    message
}

/// How somebody asks.
#[derive(Debug, Clone)]
struct Manner {
    id: u16,
    upper_case: Vec<bool>,
    flags: u8,
    edns: Option<Edns>,
    transport: Transport,
}

impl Manner {
    fn ask(&self, name: &str, qtype: RecordType, like: Option<&Self>) -> Vec<u8> {
        let like = like.unwrap_or(self);
        let letters = self.upper_case.iter().cycle();
        let name: String = name
            .chars()
            .zip(letters)
            .map(|(letter, upper)| {
                if *upper {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            })
            .collect();
        // What the key is made of has to be as with the one before.
        let edns = like.edns.as_ref().map(|before| Edns {
            dnssec_ok: before.dnssec_ok,
            ..self.edns.clone().unwrap_or_else(|| edns(1232, &[]))
        });
        let checking = like.flags & 0x10;
        let query = question(&name, qtype, edns.as_ref());
        let query = with(query, 3, &[self.flags & 0x20 | checking]);
        with(query, 0, &self.id.to_be_bytes())
    }
}

fn manners() -> impl Strategy<Value = Manner> {
    let options = prop::sample::subsequence(
        vec![
            (11u16, Vec::new()),
            (12, vec![0; 31]),
            (8, vec![0, 1, 0, 0]),
            (65_001, vec![7; 9]),
        ],
        0..=4,
    );
    let opt = (
        prop_oneof![0u16..600, 1000u16..4096],
        any::<bool>(),
        options,
    )
        .prop_map(|(payload_size, dnssec_ok, options)| Edns {
            payload_size,
            dnssec_ok,
            extended_rcode: 0,
            options,
        });
    (
        any::<u16>(),
        prop::collection::vec(any::<bool>(), 1..8),
        any::<u8>(),
        prop::option::weighted(0.7, opt),
        prop_oneof![
            Just(Transport::Udp),
            Just(Transport::Tcp),
            Just(Transport::Tls)
        ],
    )
        .prop_map(|(id, upper_case, flags, edns, transport)| Manner {
            id,
            upper_case,
            flags,
            edns,
            transport,
        })
}

/// What a source says: records at the name asked for, compressed or not, an alias, a denial, a
/// failure; flags; extended errors; a cookie of its own.
fn sources() -> impl Strategy<Value = (u8, Vec<Record>, Vec<Record>, u16, Option<Edns>)> {
    let name = || {
        prop_oneof![
            Just("www.Example."),
            Just("alias.example."),
            Just("."),
            Just("x.test.")
        ]
        .prop_map(|name| Name::from_ascii(name).unwrap())
    };
    let record = move || {
        (name(), name(), 1u32..100_000, 0u8..4, 1usize..150).prop_map(
            |(owner, target, ttl, kind, len)| {
                let data = match kind {
                    0 => RData::A("192.0.2.1".parse().unwrap()),
                    1 => RData::CNAME(hickory_proto::rr::rdata::CNAME(target)),
                    2 => RData::SOA(hickory_proto::rr::rdata::SOA::new(
                        target.clone(),
                        target,
                        1,
                        2,
                        3,
                        4,
                        ttl,
                    )),
                    _ => RData::TXT(TXT::new(vec!["x".repeat(len)])),
                };
                Record::from_rdata(owner, ttl, data)
            },
        )
    };
    let errors = prop::collection::vec((0u16..30, "[a-z ]{0,20}"), 0..3).prop_map(|errors| {
        let errors = errors
            .into_iter()
            .map(|(code, text)| (15, [&code.to_be_bytes()[..], text.as_bytes()].concat()));
        Edns {
            options: errors
                .chain([(10, vec![1; 24]), (12, vec![0; 7])])
                .collect(),
            ..Edns::plain(true)
        }
    });
    (
        prop_oneof![8 => Just(0u8), 2 => Just(3), 1 => Just(2), 1 => Just(5)],
        prop::collection::vec(record(), 0..12),
        prop::collection::vec(record(), 0..3),
        prop_oneof![
            Just(0u16),
            Just(0x0400),
            Just(0x0020),
            Just(0x0010),
            Just(0x0200)
        ],
        prop::option::of(errors),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Two ask the same, each in their own manner: the first waits for the source, the second is
    /// answered out of the cache where that may be. Both get what they got before there was one.
    #[test]
    fn a_kept_answer_is_the_slow_ways_but_for_id_ttl_and_case(
        first in manners(),
        second in manners(),
        (code, answers, authorities, flags, opt) in sources(),
        qtype in prop_oneof![Just(RecordType::A), Just(RecordType::TXT), Just(RecordType::ANY)],
        secs in 0u64..400,
    ) {
        let responder = responder();
        let query = first.ask("www.example.", qtype, None);
        let mut message = Message::from_vec(&query).unwrap().into_response();
        message.edns = None;
        message.insert_answers(answers);
        message.insert_authorities(authorities);
        let mut source = message.to_vec().unwrap();
        let word = 0x8180 | flags | u16::from(code);
        source[2..4].copy_from_slice(&word.to_be_bytes());
        let source = wire::with_edns(&source, opt.as_ref()).unwrap();

        let asked = pending(responder.say(&later(first.transport, 0), &query));
        let told = responder.finish(asked, Ok(source.clone()), at(0));
        let slow = by_the_slow_way(&query, first.transport, &source);
        prop_assert_eq!(timeless(&told), timeless(&slow));

        let again = second.ask("www.example.", qtype, Some(&first));
        let asker = later(second.transport, secs);
        match responder.say(&asker, &again) {
            Said::Reply(told) => {
                let slow = by_the_slow_way(&again, second.transport, &source);
                prop_assert_eq!(timeless(&told), timeless(&slow));
                prop_assert_eq!(responder.counters().value(Event::CacheHit), 1);
                // Each TTL has lost the time that passed, at the least.
                let gone = u32::try_from(secs).unwrap();
                for (told, before) in ttls(&told).into_iter().zip(ttls(&slow)) {
                    prop_assert!(told <= before.saturating_sub(gone), "{told} of {before}");
                }
                prop_assert!(code != 5 && flags != 0x0200 && qtype != RecordType::ANY);
            }
            Said::Ask(_) => {
                // Nothing was kept, or its time has passed.
                let shortest = ttls(&source).into_iter().min().unwrap_or(0);
                let denial = !View::parse(&source).unwrap().records().map(Result::unwrap).any(
                    |record| record.section == Section::Answer
                        && RecordType::from(record.rtype) == qtype,
                );
                prop_assert!(
                    code != 0 || denial || flags == 0x0200 || qtype == RecordType::ANY
                        || u64::from(shortest) <= secs
                );
            }
            Said::Drop(dropped) => panic!("{dropped:?}"),
        }
    }
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
