//! Our own zones.

use super::*;

fn publish_zones(responder: &Responder) -> Name {
    let suffix = Name::from_ascii("zz.").unwrap();
    let identity = Identity::invent(&suffix, &SystemRandom::new()).unwrap();
    let publication = Publication {
        server_type: ServerType::Resolver,
        addresses: vec!["192.168.1.1".parse::<IpAddr>().unwrap()],
        dot_port: 853,
        upstreams: Vec::new(),
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
            let reply = reply(responder.say(&asker(Transport::Tcp), &query));
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
fn a_server_that_publishes_nothing_asks_for_everybodys_zones() {
    let responder = responder();
    let discovery = ["resolver-name.arpa.", "another.zz.", "_dns.resolver.arpa."];
    let special = |name: &str| !matches!(responder.say(&udp(), &plain(name)), Said::Ask(_));
    assert_eq!(discovery.map(special), [false, true, true]);
    responder.leave_discovery_to_source();
    assert_eq!(discovery.map(special), [false; 3]);
    assert!(special("www.onion."));
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
        let reply = reply(responder.say(&udp(), &query));
        assert!(!View::parse(&reply).unwrap().truncated(), "{owner} {qtype}");
    }
}

#[test]
fn while_our_zones_are_not_there_nobody_else_is_asked_about_them() {
    let responder = responder();
    let name = publish_zones(&responder);
    let anchor_zone = Name::from_ascii("resolver-name.arpa.").unwrap();
    responder.replace_zones(LocalZones::default());
    responder.reserve(vec![name.clone(), anchor_zone]);
    let name = name.to_ascii();
    for owner in [
        name.clone(),
        format!("_853._tcp.{name}"),
        "RESOLVER-name.arpa.".into(),
        format!("{name}resolver-name.arpa."),
    ] {
        let query = question(&owner, RecordType::A, Some(&Edns::plain(true)));
        let reply = reply(responder.say(&udp(), &query));
        assert_eq!(rcode(&reply), 2, "{owner}");
        let not_ready = 14u16.to_be_bytes();
        let told = option(&reply, 15).unwrap();
        assert!(told.starts_with(&not_ready), "{owner}: {told:?}");
    }
    assert_eq!(responder.counters().value(Event::NotReady), 4);
    // Every other name is answered as ever.
    let query = question("www.example.", RecordType::A, None);
    assert!(matches!(responder.say(&udp(), &query), Said::Ask(_)));
}
