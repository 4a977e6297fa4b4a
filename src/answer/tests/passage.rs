//! Questions that go through us to an upstream: chains of responders, one behind the other.

use futures_util::FutureExt;
use hickory_proto::{op::MessageType, rr::rdata::CNAME};
use zzdot_zonegen::{
    name::ResolverName,
    owners::{self, passage_name},
    upstream::{Proof, PublishedUpstream, ServerKind, Transport as Way, UnnamedLabel, UpstreamId},
};

use super::*;
use crate::resolve::{Passage, Through};

/// A source with these upstreams, the first of which is preferred.
struct Behind(Vec<(UpstreamId, Arc<Responder>)>);

impl Source for Behind {
    fn resolve(&self, _query: Arc<[u8]>, _deadline: Instant) -> Resolution<'_> {
        Box::pin(async { panic!("an ordinary question was asked") })
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn passage(&self) -> Option<&dyn Passage> {
        Some(self)
    }
}

impl Passage for Behind {
    fn pass(&self, through: &Through, query: Arc<[u8]>, _deadline: Instant) -> Resolution<'_> {
        let mut upstreams = self.0.iter();
        let found = match through {
            Through::Preferred => upstreams.next(),
            Through::Upstream(id) => upstreams.find(|(own, _)| own == id),
        };
        let answer = found
            .ok_or(ResolveError::NoUpstream)
            .map(|(_, responder)| ask(responder, Transport::Tls, &query));
        Box::pin(async { answer })
    }
}

/// One server of a chain.
struct Server {
    name: ResolverName,
    responder: Arc<Responder>,
}

impl Server {
    /// One that asks these.
    fn before(upstreams: &[(UpstreamId, &Arc<Responder>)]) -> Self {
        let suffix = Name::from_ascii("zz.").unwrap();
        let identity = Identity::invent(&suffix, &SystemRandom::new()).unwrap();
        let described = |(id, _): &(UpstreamId, &Arc<Responder>)| PublishedUpstream {
            id: id.clone(),
            kind: ServerKind::Unknown,
            transport: Way::Plain,
            proof: Proof::None,
            addresses: vec!["192.0.2.1".parse().unwrap()],
            ksks: Vec::new(),
            tls: None,
        };
        let publication = Publication {
            server_type: ServerType::Forwarder,
            addresses: vec!["192.168.1.1".parse().unwrap()],
            dot_port: 853,
            upstreams: upstreams.iter().map(described).collect(),
        };
        let stamp = Stamp::next_above(UnixTime(0), None, UnixTime(1_800_000_000)).unwrap();
        let published = publish(&identity, &publication, &stamp).unwrap();
        let linked = upstreams.iter();
        let linked = linked.map(|(id, upstream)| (id.clone(), Arc::clone(upstream)));
        let responder = responder();
        responder.replace_source(Arc::new(Behind(linked.collect())));
        let zones = vec![published.name_zone, published.anchor_zone];
        responder.replace_zones(LocalZones::new(zones));
        Self {
            name: identity.name().clone(),
            responder: Arc::new(responder),
        }
    }

    fn id(&self) -> UpstreamId {
        UpstreamId::Named(self.name.clone())
    }

    fn up(&self) -> (UpstreamId, &Arc<Responder>) {
        (self.id(), &self.responder)
    }

    fn through(&self, asked: &str, upstream: Option<&UpstreamId>) -> Name {
        let asked = Name::from_ascii(asked).unwrap();
        passage_name(&asked, &self.name, upstream).unwrap()
    }
}

/// Asks, and goes on asking through the source until there is a response.
fn ask(responder: &Responder, transport: Transport, query: &[u8]) -> Vec<u8> {
    match responder.say(&asker(transport), query) {
        Said::Reply(reply) => reply,
        Said::Ask(pending) => {
            let through = pending.through().expect("it is to go through an upstream");
            let source = responder.source();
            let passing = source.passage().unwrap();
            let passing = passing.pass(through, pending.query(), Instant::now());
            let response = passing.now_or_never().unwrap();
            responder.close(pending, response)
        }
        Said::Drop(dropped) => panic!("{dropped:?}"),
    }
}

fn signed(name: &Name, qtype: RecordType) -> Vec<u8> {
    wire::question(ID, name, qtype, rd(), Some(&Edns::plain(true)))
}

fn types(records: &[Record]) -> Vec<RecordType> {
    records.iter().map(Record::record_type).collect()
}

const ALIAS: [RecordType; 3] = [RecordType::DNAME, RecordType::RRSIG, RecordType::CNAME];

#[test]
fn a_question_goes_to_the_upstream_that_its_name_tells() {
    let far = Server::before(&[]);
    let other = Server::before(&[]);
    let near = Server::before(&[other.up(), far.up()]);
    for (upstream, expected) in [
        (Some(far.id()), &far),
        (Some(other.id()), &other),
        (None, &other),
    ] {
        let name = near.through("resolver-NAME.arpa.", upstream.as_ref());
        let query = signed(&name, RecordType::NS);
        let reply = ask(&near.responder, Transport::Tls, &query);
        let (asked, told) = (View::parse(&query).unwrap(), View::parse(&reply).unwrap());
        assert!(wire::answers_exactly(&asked, &told));
        wire::answer_chain_ok(&asked, &told).unwrap();
        assert!(told.flags().has(Flags::AUTHORITATIVE) && !told.authentic_data());
        let message = Message::from_vec(&reply).unwrap();
        assert_eq!(message.metadata.response_code, ResponseCode::NoError);
        let expected_types = [&ALIAS[..], &[RecordType::NS, RecordType::RRSIG]].concat();
        assert_eq!(types(&message.answers), expected_types);
        assert_eq!(message.answers[2].ttl, message.answers[0].ttl);
        let RData::NS(ns) = &message.answers[3].data else {
            panic!("{message}");
        };
        assert_eq!(ns.0, *expected.name.as_name());
    }
    let passed = |server: &Server| server.responder.counters().value(Event::Passed);
    assert_eq!((passed(&near), passed(&far)), (3, 0));
}

#[test]
fn a_question_goes_through_several_and_each_adds_its_alias() {
    let last = Server::before(&[]);
    let middle = Server::before(&[last.up()]);
    let near = Server::before(&[middle.up()]);
    let inner = middle.through("resolver-name.arpa.", Some(&last.id()));
    let name = near.through(&inner.to_ascii(), Some(&middle.id()));
    let reply = ask(
        &near.responder,
        Transport::Tls,
        &signed(&name, RecordType::DNSKEY),
    );
    let message = Message::from_vec(&reply).unwrap();
    let keys = types(&message.answers[6..]);
    assert_eq!(types(&message.answers[..6]), [ALIAS, ALIAS].concat());
    assert_eq!(
        keys.iter()
            .filter(|rtype| **rtype == RecordType::DNSKEY)
            .count(),
        3
    );
    // What is not there at the end is denied by the end, with its proof.
    let inner = middle.through("no.resolver-name.arpa.", Some(&last.id()));
    let name = near.through(&inner.to_ascii(), Some(&middle.id()));
    let reply = ask(
        &near.responder,
        Transport::Tls,
        &signed(&name, RecordType::KEY),
    );
    let message = Message::from_vec(&reply).unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(types(&message.answers), [ALIAS, ALIAS].concat());
    let proof = types(&message.authorities);
    assert!(proof.contains(&RecordType::SOA) && proof.contains(&RecordType::NSEC));
}

#[test]
fn a_circle_of_forwarders_ends_with_the_name() {
    let end = Server::before(&[]);
    let near = Server::before(&[end.up()]);
    // It asks itself.
    let own = vec![(near.id(), Arc::clone(&near.responder))];
    near.responder.replace_source(Arc::new(Behind(own)));
    let mut name = Name::from_ascii("resolver-name.arpa.").unwrap();
    for steps in 1..=9 {
        name = near.through(&name.to_ascii(), None);
        let reply = ask(
            &near.responder,
            Transport::Tls,
            &signed(&name, RecordType::NS),
        );
        let expected = if steps <= 8 { 0 } else { 5 };
        assert_eq!(rcode(&reply), expected, "{steps}");
        let passed = near.responder.counters().value(Event::Passed);
        assert_eq!(passed, (1..=steps.min(8)).sum::<u64>());
    }
}

#[test]
fn what_may_not_be_passed_on_is_refused_by_name_and_asked_of_nobody() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    let far_name = far.name.as_name().to_ascii();
    let nobody = UnnamedLabel::new("192.0.2.9:53".parse().unwrap());
    let nobody = near.through("resolver-name.arpa.", Some(&UpstreamId::Unnamed(nobody)));
    let arpa = |qtype| (near.through("resolver-name.arpa.", None), qtype);
    let a = RecordType::A;
    for ((name, qtype), code, text) in [
        (
            (near.through("www.example.com.", None), a),
            18,
            "only names",
        ),
        ((near.through("zz.", None), a), 18, "only names"),
        (
            (
                near.through(&format!("www.example.com.q.{far_name}"), None),
                a,
            ),
            18,
            "only names",
        ),
        (
            (
                near.through(&format!("{}resolver-name.arpa.", "q.".repeat(40)), None),
                a,
            ),
            18,
            "only names",
        ),
        (arpa(RecordType::ANY), 18, "questions of this type"),
        (arpa(RecordType::MX), 18, "questions of this type"),
    ] {
        let reply = reply(near.responder.say(&udp(), &signed(&name, qtype)));
        assert_eq!(rcode(&reply), 5, "{name} {qtype}");
        let told = option(&reply, 15).unwrap();
        assert_eq!(told[..2], u16::to_be_bytes(code), "{name} {qtype}");
        assert!(told[2..].starts_with(text.as_bytes()), "{name} {qtype}");
        assert!(View::parse(&reply).unwrap().counts().answers == 0);
    }
    assert_eq!(near.responder.counters().value(Event::PassageRefused), 6);
    // It is not among those that are published: there is no DNAME.
    let reply = reply(near.responder.say(&udp(), &signed(&nobody, a)));
    assert_eq!(rcode(&reply), 3);
    assert_eq!(near.responder.counters().value(Event::Passed), 0);
}

#[test]
fn a_source_without_passage_passes_nothing_on() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    near.responder.replace_source(Arc::new(Nobody));
    let name = near.through("resolver-name.arpa.", None);
    let reply = reply(near.responder.say(&udp(), &signed(&name, RecordType::NS)));
    assert_eq!(rcode(&reply), 5);
}

#[test]
fn without_recursion_there_is_the_alias_alone_and_it_is_not_kept_for_others() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    for name in ["resolver-name.arpa.", "www.example.com."] {
        let name = near.through(name, None);
        for _ in 0..2 {
            let query = with(signed(&name, RecordType::NS), 2, &[0]);
            let reply = reply(near.responder.say(&udp(), &query));
            let message = Message::from_vec(&reply).unwrap();
            assert_eq!(message.metadata.response_code, ResponseCode::NoError);
            assert_eq!(types(&message.answers), ALIAS);
        }
    }
    let name = near.through("resolver-name.arpa.", None);
    for asked in 1..=2 {
        ask(
            &near.responder,
            Transport::Tls,
            &signed(&name, RecordType::NS),
        );
        assert_eq!(near.responder.counters().value(Event::Passed), asked);
    }
}

#[test]
fn no_answer_and_one_to_another_question_are_told_as_failures() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    let name = near.through("resolver-name.arpa.", None);
    let query = signed(&name, RecordType::NS);
    let asked = || pending(near.responder.say(&udp(), &query));
    let own = asked().query();
    let other = signed(&Name::from_ascii("other.arpa.").unwrap(), RecordType::NS);
    let truncated = with(response(&own, 1, None), 2, &[0x82]);
    let badvers = Edns {
        extended_rcode: 1,
        ..Edns::plain(false)
    };
    for (response, code) in [
        (Err(ResolveError::TimedOut), 22),
        (Ok(response(&other, 1, None)), 24),
        (Ok(response(&query, 1, None)), 24),
        (Ok(truncated), 24),
        (Ok(response(&own, 1, Some(&badvers))), 24),
        (Ok(own.to_vec()), 24),
        (Ok(Vec::new()), 24),
    ] {
        let reply = near.responder.close(asked(), response);
        assert_eq!(rcode(&reply), 2);
        assert_eq!(option(&reply, 15).unwrap()[..2], u16::to_be_bytes(code));
    }
}

/// An upstream that is asked for nothing else must not get a word in about what others are asked for.
#[test]
fn an_alias_that_leads_to_an_ordinary_name_is_no_answer() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let own = format!("{}.resolver-name.arpa.", far.name);
    for (target, code) in [
        ("www.bank.example.", 2),
        ("zz.", 2),
        ("resolver-name.arpa.example.", 2),
        (own.as_str(), 0),
        ("RESOLVER-name.arpa.", 0),
    ] {
        let through = near.through("resolver-name.arpa.", None);
        let asked = pending(near.responder.say(&udp(), &signed(&through, RecordType::A)));
        let mut told = Message::from_vec(&asked.query()).unwrap();
        told.metadata.message_type = MessageType::Response;
        // What is said of the checks is not our word: nothing was checked here.
        told.metadata.authentic_data = true;
        let address = RData::A("192.0.2.66".parse().unwrap());
        told.answers = vec![
            Record::from_rdata(
                name("resolver-name.arpa."),
                60,
                RData::CNAME(CNAME(name(target))),
            ),
            Record::from_rdata(name(target), 60, address),
        ];
        let reply = near.responder.close(asked, Ok(told.to_vec().unwrap()));
        assert_eq!(rcode(&reply), code, "{target}");
        let message = Message::from_vec(&reply).unwrap();
        let foreign = message
            .answers
            .iter()
            .any(|it| it.name == name("www.bank.example."));
        assert!(!foreign && !message.metadata.authentic_data, "{message}");
    }
}

#[test]
fn who_speaks_no_edns_gets_what_fits_and_no_signatures() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    for (qtype, transport, truncated) in [
        (RecordType::NS, Transport::Udp, false),
        (RecordType::DNSKEY, Transport::Udp, false),
        (RecordType::DNSKEY, Transport::Tcp, false),
    ] {
        let name = near.through("Resolver-Name.arpa.", None);
        let query = wire::question(ID, &name, qtype, rd(), None);
        let reply = ask(&near.responder, transport, &query);
        let view = View::parse(&reply).unwrap();
        wire::answer_chain_ok(&View::parse(&query).unwrap(), &view).unwrap();
        assert!(wire::answers_exactly(&View::parse(&query).unwrap(), &view));
        assert!(view.edns().unwrap().is_none());
        assert_eq!(view.truncated(), truncated, "{qtype} {transport:?}");
        assert!(transport != Transport::Udp || reply.len() <= 512);
        let found = types(&Message::from_vec(&reply).unwrap().answers);
        assert!(!found.contains(&RecordType::RRSIG), "{found:?}");
        assert!(found.contains(&qtype), "{found:?}");
    }
    // With signatures it does not fit into what one who speaks none is sent.
    let asked = |size| {
        let edns = Edns {
            payload_size: size,
            ..Edns::plain(true)
        };
        let name = near.through("resolver-name.arpa.", None);
        let query = wire::question(ID, &name, RecordType::DNSKEY, rd(), Some(&edns));
        let reply = ask(&near.responder, Transport::Udp, &query);
        (View::parse(&reply).unwrap().truncated(), reply.len())
    };
    for size in [0, 100, 512] {
        let (truncated, len) = asked(size);
        assert!(truncated && len <= 512, "{size}: {len}");
    }
    for size in [1232, 4096, 65_535] {
        let (truncated, len) = asked(size);
        assert!(!truncated && len <= 1232, "{size}: {len}");
    }
}

/// The most that comes back is what fits into a message, beside our own part of it.
#[test]
fn an_answer_that_leaves_no_room_for_our_own_part_is_a_failure_with_a_reason() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    let name = near.through("resolver-name.arpa.", None);
    let query = signed(&name, RecordType::TXT);
    let texts = |last: usize| {
        let asked = pending(near.responder.say(&asker(Transport::Tls), &query));
        let mut told = Message::from_vec(&asked.query()).unwrap();
        told.metadata.message_type = MessageType::Response;
        let owner = told.queries[0].name().clone();
        let text = |octets: usize| RData::TXT(TXT::from_bytes(vec![&vec![b'x'; octets]; 4]));
        told.answers = vec![Record::from_rdata(owner.clone(), 60, text(250)); 64];
        told.answers.push(Record::from_rdata(owner, 60, text(last)));
        let told = told.to_vec().unwrap();
        assert!(told.len() <= usize::from(u16::MAX));
        near.responder.close(asked, Ok(told))
    };
    let reply = texts(1);
    assert!(
        rcode(&reply) == 0 && reply.len() > 65_000,
        "{}",
        reply.len()
    );
    let reply = texts(100);
    assert_eq!(rcode(&reply), 2);
    assert_eq!(option(&reply, 15).unwrap()[..2], u16::to_be_bytes(24));
    assert!(reply.len() < 600, "{}", reply.len());
}

#[test]
fn an_extended_error_of_the_upstream_reaches_the_asker_and_its_cookie_does_not() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    let name = near.through("resolver-name.arpa.", None);
    let asked = pending(near.responder.say(&udp(), &signed(&name, RecordType::NS)));
    let options = [(15, &[0, 14][..]), (10, &[1; 24][..])];
    let told = with(
        response(&asked.query(), 0, Some(&edns(1232, &options))),
        3,
        &[2],
    );
    let reply = near.responder.close(asked, Ok(told));
    assert_eq!(rcode(&reply), 2);
    assert_eq!(option(&reply, 15), Some(vec![0, 14]));
    assert_eq!(option(&reply, 10), None);
    assert_eq!(types(&Message::from_vec(&reply).unwrap().answers), ALIAS);
}

/// What somebody who invents an address can make us send there, and what he can make us ask.
#[test]
fn datagrams_are_worth_little_to_a_reflector() {
    let far = Server::before(&[]);
    let near = Server::before(&[far.up()]);
    let anchors = owners::anchor_zone().to_ascii();
    let query = signed(&near.through(&anchors, None), RecordType::DNSKEY);
    let (mut sent, mut asked) = (0, 0);
    for _ in 0..1000 {
        let reply = match near.responder.say(&udp(), &query) {
            Said::Reply(reply) => reply,
            Said::Ask(pending) => {
                asked += 1;
                let told = response(&pending.query(), 20, None);
                near.responder.close(pending, Ok(told))
            }
            Said::Drop(dropped) => panic!("{dropped:?}"),
        };
        // What does not fit into a datagram is not sent in part.
        assert!(reply.len() <= query.len() + 80, "{}", reply.len());
        sent += reply.len();
    }
    assert_eq!(asked, 600);
    assert!(sent < 2 * 1000 * query.len(), "{sent} for {}", query.len());
    let counters = near.responder.counters();
    assert_eq!(counters.value(Event::PassagesAddress), 400);
    // Who is connected from the same address is who he says, and does not suffer from it.
    let reply = ask(&near.responder, Transport::Tls, &query);
    assert_eq!(rcode(&reply), 0);
    // What fits is what our own zones give away, too.
    let small = Server::before(&[far.up()]);
    let query = signed(&small.through(&anchors, None), RecordType::DNSKEY);
    let reply = ask(&small.responder, Transport::Udp, &query);
    assert!(reply.len() <= 1232 && rcode(&reply) == 0);
}

/// One that asks another.
static PAIR: LazyLock<Server> = LazyLock::new(|| Server::before(&[Server::before(&[]).up()]));

proptest! {
    #[test]
    fn whatever_the_upstream_says_the_response_is_sound(
        told in prop::collection::vec(any::<u8>(), 0..200),
        own_question in any::<bool>(),
        counts in prop::array::uniform3(0_u8..3),
    ) {
        let query = signed(&PAIR.through("resolver-name.arpa.", None), RecordType::NS);
        let asked = pending(PAIR.responder.say(&udp(), &query));
        let mut response = vec![0, 0, 0x80, 0, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        let own = asked.query();
        if own_question {
            response.extend(&own[wire::HEADER_BYTES..View::parse(&own).unwrap().records_start()]);
        }
        response.extend(told);
        let reply = PAIR.responder.close(asked, Ok(response));
        let view = View::parse(&reply).unwrap();
        view.check().unwrap();
        prop_assert!(wire::answers_exactly(&View::parse(&query).unwrap(), &view));
        prop_assert!(reply.len() <= 1232);
    }
}

/// What section 3 of the protocol says about the length of names.
#[test]
fn four_hops_by_name_and_eight_by_preference_fit_into_a_name() {
    let servers: Vec<Server> = (0..8).map(|_| Server::before(&[])).collect();
    let longest = format!("_853._tcp.{}", servers[0].name.as_name().to_ascii());
    let nested = |hops: usize, upstream: Option<&UpstreamId>| {
        servers[..hops]
            .iter()
            .try_fold(Name::from_ascii(&longest).unwrap(), |asked, server| {
                passage_name(&asked, &server.name, upstream)
            })
    };
    let upstream = servers[0].id();
    assert!(nested(4, Some(&upstream)).is_some());
    assert!(nested(5, Some(&upstream)).is_none());
    assert!(nested(8, None).is_some());
}
