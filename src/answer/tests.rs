//! The responder's rules as tables, and what holds for any bytes.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    net::IpAddr,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::TXT},
};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use tokio::time::Instant;
use zzdot_client::wire::{self, Edns, Flags, QuestionFlags, View};
use zzdot_zonegen::{
    clock::UnixTime,
    identity::Identity,
    publication::Stamp,
    publish::publish,
    zone::{Publication, ServerType},
};

use super::{Asker, Dropped, LocalZones, Outcome, Pending, Responder, Transport, cookie::Secret};
use crate::{
    counters::{Counters, Event},
    resolve::{Resolution, ResolveError, Source},
};

const IDLE: Duration = Duration::from_secs(30);
const ID: u16 = 0x5A31;

/// A source that nobody asks: the tests give the responses themselves.
struct Nobody;

impl Source for Nobody {
    fn resolve(&self, _query: Arc<[u8]>, _deadline: Instant) -> Resolution<'_> {
        Box::pin(async { Err(ResolveError::NoUpstream) })
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

fn responder() -> Responder {
    let counters = Arc::new(Counters::default());
    Responder::new(Arc::new(Nobody), Secret([9; 16]), IDLE, counters)
}

fn asker(transport: Transport) -> Asker {
    Asker {
        address: "192.168.1.20".parse().unwrap(),
        transport,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        pressed: false,
    }
}

fn udp() -> Asker {
    asker(Transport::Udp)
}

fn rd() -> QuestionFlags {
    QuestionFlags {
        rd: true,
        cd: false,
        ad: false,
    }
}

fn question(name: &str, qtype: RecordType, edns: Option<&Edns>) -> Vec<u8> {
    wire::question(ID, &Name::from_ascii(name).unwrap(), qtype, rd(), edns)
}

fn plain(name: &str) -> Vec<u8> {
    question(name, RecordType::A, None)
}

fn edns(payload_size: u16, options: &[(u16, &[u8])]) -> Edns {
    Edns {
        payload_size,
        options: options
            .iter()
            .map(|(code, content)| (*code, content.to_vec()))
            .collect(),
        ..Edns::plain(false)
    }
}

/// The message with `octets` in place of those at `offset`.
fn with(mut message: Vec<u8>, offset: usize, octets: &[u8]) -> Vec<u8> {
    message[offset..offset + octets.len()].copy_from_slice(octets);
    message
}

/// The message with another class of the question, where nothing follows the question.
fn with_class(message: Vec<u8>, class: u16) -> Vec<u8> {
    let offset = message.len() - 2;
    with(message, offset, &class.to_be_bytes())
}

/// The message with `records` behind it, and the header counting them.
fn and(mut message: Vec<u8>, count_offset: usize, record: &[u8]) -> Vec<u8> {
    message.extend_from_slice(record);
    message[count_offset + 1] += 1;
    message
}

fn reply(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Reply(reply) => reply,
        other => panic!("not a reply: {other:?}"),
    }
}

fn pending(outcome: Outcome) -> Pending {
    match outcome {
        Outcome::Ask(pending) => pending,
        other => panic!("not asked: {other:?}"),
    }
}

/// Response code with its extension, as the asker computes it.
fn rcode(reply: &[u8]) -> u16 {
    let view = View::parse(reply).unwrap();
    let upper = view.edns().unwrap().map_or(0, |edns| edns.extended_rcode);
    u16::from(upper) << 4 | view.rcode()
}

fn option(reply: &[u8], code: u16) -> Option<Vec<u8>> {
    let view = View::parse(reply).unwrap();
    view.edns().unwrap()?.option(code).map(<[u8]>::to_vec)
}

/// A response to `query` as a source would give it.
fn response(query: &[u8], answers: usize, edns: Option<&Edns>) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap().into_response();
    message.edns = None;
    let name = message.queries[0].name().clone();
    for number in 0..answers {
        let text = TXT::new(vec![format!("{number:0100}")]);
        message.add_answer(Record::from_rdata(name.clone(), 60, RData::TXT(text)));
    }
    wire::with_edns(&message.to_vec().unwrap(), edns).unwrap()
}

const OPT: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
const OPT_VERSION_1: &[u8] = &[0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0];
const OPT_NOT_AT_ROOT: &[u8] = &[1, b'a', 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
const OPT_OPTION_CUT: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 9];
const OPT_BAD_COOKIE: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 7, 0, 10, 0, 3, 1, 2, 3];
const A_RECORD: &[u8] = &[0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
const TSIG_RECORD: &[u8] = &[0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0];
const ARCOUNT: usize = 10;

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
            let reply = reply(responder.answer(&asker(transport), &query));
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
        match responder.answer(&asker, &query) {
            Outcome::Drop(dropped) => assert_eq!(dropped, reason, "{case}"),
            other => panic!("{case}: {other:?}"),
        }
        assert_eq!(responder.counters().value(reason.event()), 1, "{case}");
    }
}

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
    let onward = pending(responder.answer(&asker(Transport::Tls), &query)).query();
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

    let onward = pending(responder.answer(&udp(), &plain("www.example."))).query();
    assert!(View::parse(&onward).unwrap().edns().unwrap().is_none());
}

#[test]
fn a_response_gets_back_the_askers_id_and_letters() {
    let responder = responder();
    let query = plain("wWw.ExAmPlE.");
    let pending = pending(responder.answer(&udp(), &query));
    let source = with(response(&plain("www.example."), 2, None), 0, &[1, 2]);
    let reply = responder.finish(pending, Ok(source));
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
        let pending = pending(responder.answer(&udp(), &query));
        // AD, and the reserved bit, as a source may set them.
        let source = with(response(&plain("www.example."), 0, None), 3, &[0x60]);
        let source = with(source, 12, &query[12..query.len().min(29)]);
        let reply = responder.finish(pending, Ok(source));
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
        let pending = pending(responder.answer(&udp(), &query()));
        let reply = responder.finish(pending, Ok(source));
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
        let pending = pending(responder.answer(&udp(), &query));
        let reply = responder.finish(pending, Err(ResolveError::TimedOut));
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
    let pending = pending(responder.answer(&udp(), &query));
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
    let reply = responder.finish(pending, Ok(response(&query, 1, Some(&theirs))));
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
        let pending = pending(responder.answer(&asker(transport), &query));
        let whole = response(&query, answers, None);
        let reply = responder.finish(pending, Ok(whole));
        let view = View::parse(&reply).unwrap();
        view.check().unwrap();
        assert!(reply.len() <= longest, "{case}: {}", reply.len());
        assert_eq!(view.truncated(), truncated, "{case}");
        assert_eq!(view.edns().unwrap().is_some(), opt.is_some(), "{case}");
        let counted = responder.counters().value(Event::Truncated);
        assert_eq!(counted, u64::from(truncated), "{case}");
    }
}

#[test]
fn padding_is_for_padded_queries_on_tls_and_keepalive_for_connections() {
    let asks = edns(1232, &[(11, &[]), (12, &[0; 60])]);
    let silent = edns(1232, &[]);
    for (transport, opt, padded, keepalive) in [
        (Transport::Tls, &asks, true, true),
        (Transport::Tls, &silent, false, false),
        (Transport::Tcp, &asks, false, true),
        (Transport::Udp, &asks, false, false),
    ] {
        let responder = responder();
        let query = question("www.example.", RecordType::TXT, Some(opt));
        let outcome = pending(responder.answer(&asker(transport), &query));
        let answered = responder.finish(outcome.clone(), Ok(response(&query, 3, None)));
        let failed = responder.finish(outcome, Err(ResolveError::NoUpstream));
        let here = question("x.zz.", RecordType::A, Some(opt));
        let here = reply(responder.answer(&asker(transport), &here));
        let refused = with(question("www.example.", RecordType::A, Some(opt)), 2, &[0]);
        let refused = reply(responder.answer(&asker(transport), &refused));
        for reply in [answered, failed, here, refused] {
            assert_eq!(option(&reply, 12).is_some(), padded, "{transport:?}");
            assert!(!padded || reply.len() % 468 == 0, "{}", reply.len());
            let told =
                option(&reply, 11).map(|units| u16::from_be_bytes(units.try_into().unwrap()));
            assert_eq!(told, keepalive.then_some(300), "{transport:?}");
        }
    }
}

#[test]
fn cookies_come_back_fresh_and_are_required_only_under_load() {
    let responder = responder();
    let ask = |asker: &Asker, cookie: Option<&[u8]>| {
        let options: Vec<(u16, &[u8])> = cookie.map(|cookie| (10, cookie)).into_iter().collect();
        let opt = edns(1232, &options);
        responder.answer(asker, &question("www.example.", RecordType::A, Some(&opt)))
    };
    let pressed = Asker {
        pressed: true,
        ..udp()
    };
    pending(ask(&udp(), Some(b"clientco")));
    let reply = reply(ask(&pressed, Some(b"clientco")));
    assert_eq!(rcode(&reply), 23);
    let cookie = option(&reply, 10).unwrap();
    assert_eq!((cookie.len(), &cookie[..8]), (24, &b"clientco"[..]));

    // With the cookie of the refusal the next try goes through, and who has none cannot be asked.
    pending(ask(&pressed, Some(&cookie)));
    assert_eq!(responder.counters().value(Event::CookieValid), 1);
    pending(ask(&pressed, None));
    let elsewhere = Asker {
        address: "192.168.1.21".parse().unwrap(),
        ..pressed
    };
    assert!(matches!(ask(&elsewhere, Some(&cookie)), Outcome::Reply(_)));
    assert_eq!(responder.counters().value(Event::CookieStale), 1);
    let connected = Asker {
        transport: Transport::Tcp,
        ..elsewhere
    };
    pending(ask(&connected, Some(&cookie)));

    responder.roll_secret(Secret([1; 16]));
    pending(ask(&pressed, Some(&cookie)));
    responder.roll_secret(Secret([2; 16]));
    assert!(matches!(ask(&pressed, Some(&cookie)), Outcome::Reply(_)));
}

#[test]
fn a_cookie_without_a_question_is_a_question_for_a_cookie() {
    let responder = responder();
    let header = [&ID.to_be_bytes()[..], &[0; 10]].concat();
    let query = wire::with_edns(&header, Some(&edns(1232, &[(10, b"clientco")]))).unwrap();
    let reply = reply(responder.answer(&udp(), &query));
    assert_eq!(rcode(&reply), 0);
    assert_eq!(option(&reply, 10).unwrap().len(), 24);
}

fn publish_zones(responder: &Responder) -> Name {
    let suffix = Name::from_ascii("zz.").unwrap();
    let identity = Identity::invent(&suffix, &SystemRandom::new()).unwrap();
    let publication = Publication {
        server_type: ServerType::Resolver,
        addresses: vec!["192.168.1.1".parse::<IpAddr>().unwrap()],
        dot_port: 853,
    };
    let stamp = Stamp {
        serial: 1,
        inception: UnixTime(1_800_000_000),
        made: UnixTime(1_800_000_000),
        jitter_seed: 1,
    };
    let published = publish(&identity, &publication, &stamp).unwrap();
    let zones = vec![published.name_zone, published.anchor_zone];
    responder.replace_zones(LocalZones::new(zones));
    Name::from_str(&format!("{}.", identity.name())).unwrap()
}

#[test]
fn our_own_zones_are_answered_with_authority_and_signatures_only_on_request() {
    let responder = responder();
    let name = publish_zones(&responder).to_ascii();
    for (owner, qtype, code, answers) in [
        (name.clone(), RecordType::A, ResponseCode::NoError, 1),
        (name.to_uppercase(), RecordType::A, ResponseCode::NoError, 1),
        (name.clone(), RecordType::DNSKEY, ResponseCode::NoError, 2),
        (name.clone(), RecordType::MX, ResponseCode::NoError, 0),
        (name.clone(), RecordType::ANY, ResponseCode::NoError, 1),
        (
            format!("_853._tcp.{name}"),
            RecordType::TLSA,
            ResponseCode::NoError,
            1,
        ),
        (
            format!("_tcp.{name}"),
            RecordType::TLSA,
            ResponseCode::NoError,
            0,
        ),
        (
            format!("nothing.{name}"),
            RecordType::A,
            ResponseCode::NXDomain,
            0,
        ),
        (
            format!("{name}resolver-name.arpa."),
            RecordType::KEY,
            ResponseCode::NoError,
            1,
        ),
        (
            "no.resolver-name.arpa.".into(),
            RecordType::KEY,
            ResponseCode::NXDomain,
            0,
        ),
        (
            "another.zz.".into(),
            RecordType::A,
            ResponseCode::NXDomain,
            0,
        ),
    ] {
        for dnssec_ok in [false, true] {
            let case = format!("{owner} {qtype} {dnssec_ok}");
            let query = question(&owner, qtype, Some(&Edns::plain(dnssec_ok)));
            // Our own zones are answered with RD clear too.
            let query = with(query, 2, &[u8::from(dnssec_ok)]);
            let reply = reply(responder.answer(&asker(Transport::Tcp), &query));
            let (asked, told) = (View::parse(&query).unwrap(), View::parse(&reply).unwrap());
            assert!(wire::answers_exactly(&asked, &told), "{case}");
            assert!(told.flags().has(Flags::AUTHORITATIVE), "{case}");
            assert_eq!(told.recursion_desired(), dnssec_ok, "{case}");
            let message = Message::from_vec(&reply).unwrap();
            assert_eq!(message.metadata.response_code, code, "{case}");
            let types: BTreeSet<_> = message.all_sections().map(Record::record_type).collect();
            let signed = dnssec_ok && owner != "another.zz.";
            assert_eq!(types.contains(&RecordType::RRSIG), signed, "{case}");
            assert_eq!(
                types.contains(&RecordType::NSEC),
                signed && answers == 0,
                "{case}"
            );
            let data = |record: &&Record| record.record_type() != RecordType::RRSIG;
            assert_eq!(
                message.answers.iter().filter(data).count(),
                answers,
                "{case}"
            );
            assert_eq!(types.contains(&RecordType::SOA), answers == 0, "{case}");
        }
    }
    assert_eq!(responder.counters().value(Event::Asked), 0);
}

#[test]
fn our_own_zones_fit_into_datagrams() {
    let responder = responder();
    let name = publish_zones(&responder).to_ascii();
    for (owner, qtype) in [
        (name.clone(), RecordType::DNSKEY),
        ("resolver-name.arpa.".into(), RecordType::DNSKEY),
        (format!("nothing.{name}"), RecordType::A),
        (name, RecordType::ANY),
    ] {
        let query = question(&owner, qtype, Some(&Edns::plain(true)));
        let reply = reply(responder.answer(&udp(), &query));
        assert!(!View::parse(&reply).unwrap().truncated(), "{owner} {qtype}");
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
    let told = reply(responder.answer_overlong(&asker(Transport::Tls), &query[..512]));
    assert_eq!(rcode(&told), 1);
    assert_eq!(told[..2], ID.to_be_bytes());
    assert!(matches!(
        responder.answer_overlong(&asker(Transport::Tls), &with(query, 2, &[0x80])),
        Outcome::Drop(Dropped::NotAQuery)
    ));
}

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
        match responder.answer(&asker, &query) {
            Outcome::Reply(reply) => assert_sound(&query, &reply, limit),
            Outcome::Drop(dropped) => {
                prop_assert!(query.len() < 12 || query[2] & 0x80 != 0, "{dropped:?}");
            }
            Outcome::Ask(pending) => {
                let onward = pending.query();
                let view = View::parse(&onward).unwrap();
                view.check().unwrap();
                let asked = View::parse(&query).unwrap();
                prop_assert!(view.question().unwrap().eq_exact(&asked.question().unwrap()));
                prop_assert_eq!(view.edns().unwrap().is_some(), asked.edns().unwrap().is_some());
                assert_sound(&query, &responder.finish(pending, Ok(response)), limit);
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
        let pending = pending(responder.answer(&asker(transport), &query));
        let theirs = edns(1232, &[(15, b"\0\x12blocked"), (12, &[0; 40])]);
        let mut source = response(&query, answers, opt.then_some(&theirs));
        for (place, octet) in changes {
            let place = place.index(source.len());
            source[place] = octet;
        }
        let limit = if transport == Transport::Udp { 1232 } else { 65_535 };
        assert_sound(&query, &responder.finish(pending, Ok(source)), limit);
    }
}
