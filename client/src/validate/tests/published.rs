//! The zones that resolvers publish, judged by this validator and by `domain`.

use std::sync::Arc;

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::publish;
use zzdot_zonegen::signed_zone::SignedZone;
use zzdot_zonegen::zone::{Publication, ServerType};

use super::oracle::anchored_finds_secure;
use super::zone::name;
use super::{judge_with, read};
use crate::validate::{DeniedWhat, TrustedKeys, ZoneKey, validate_keys};

/// Labels that fall before the first, after the last, between and onto those of the zones.
const LABELS: [&str; 12] = [
    "!",
    "*",
    "_853",
    "_852",
    "_tcp",
    "_dns",
    "server-type",
    "zz",
    "arpa",
    "0",
    "m",
    "~",
];

struct Published {
    zone: Arc<SignedZone>,
    anchor: DNSKEY,
}

impl Published {
    fn answer(&self, qname: &Name, qtype: RecordType) -> Message {
        answer(&self.zone, qname, qtype)
    }

    fn keys(&self, clock: UnixTime) -> TrustedKeys {
        let origin = self.zone.origin();
        let reply = read(&self.answer(origin, RecordType::DNSKEY));
        let rrset = reply.answer(origin, RecordType::DNSKEY).unwrap();
        let anchors = [ZoneKey::from(&self.anchor)];
        validate_keys(rrset, origin, &anchors, clock).unwrap().0
    }
}

fn answer(zone: &SignedZone, qname: &Name, qtype: RecordType) -> Message {
    let mut message = Message::response(1, OpCode::Query);
    message.queries = vec![Query::query(qname.clone(), qtype)];
    match zone.lookup(qname, qtype) {
        Some(found) => {
            message.metadata.response_code = found.rcode;
            message.answers = found.answers;
            message.authorities = found.authorities;
        }
        None => message.metadata.response_code = ResponseCode::Refused,
    }
    message
}

/// Both zones of a new identity.
fn zones(now: UnixTime) -> [Published; 2] {
    let identity = Identity::invent(&name("zz."), &SystemRandom::new()).unwrap();
    let publication = Publication {
        server_type: ServerType::Resolver,
        addresses: vec!["192.0.2.1".parse().unwrap()],
        dot_port: 853,
        upstreams: Vec::new(),
    };
    let stamp = Stamp::next_above(UnixTime(0), None, now).unwrap();
    let published = publish(&identity, &publication, &stamp).unwrap();
    [
        Published {
            zone: Arc::new(published.anchor_zone),
            anchor: identity.trust_anchor()[0].clone(),
        },
        Published {
            zone: Arc::new(published.name_zone),
            anchor: identity.name_keys().ksk.dnskey().clone(),
        },
    ]
}

#[test]
fn every_record_of_the_published_zones_is_secure_to_both() {
    let now = UnixTime::now();
    for published in zones(now) {
        let keys = published.keys(now);
        for (owner, rtype, _) in published.zone.rrsets() {
            let message = published.answer(owner, rtype);
            assert_eq!(judge_with(&keys, &message, owner, rtype, now), Ok(None));
            let zone = Arc::clone(&published.zone);
            assert!(anchored_finds_secure(
                published.zone.origin(),
                &published.anchor,
                Arc::new(move |name, rtype| answer(&zone, name, rtype)),
                &message
            ));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hundreds_of_names_are_denied_by_the_published_zones_to_both(
        asked in proptest::collection::vec(
            (proptest::collection::vec(prop::sample::select(&LABELS[..]), 0..4), prop::sample::select(
                &[RecordType::A, RecordType::TXT, RecordType::TLSA, RecordType::DS][..]
            )),
            100,
        ),
    ) {
        let now = UnixTime::now();
        for published in zones(now) {
            let keys = published.keys(now);
            for (labels, qtype) in &asked {
                let mut qname = published.zone.origin().clone();
                for label in labels {
                    qname = qname.prepend_label(label.as_bytes()).unwrap();
                }
                let message = published.answer(&qname, *qtype);
                let expected = match message.metadata.response_code {
                    ResponseCode::NXDomain => Some(DeniedWhat::Name),
                    _ if message.answers.is_empty() => Some(DeniedWhat::Type),
                    _ => None,
                };
                let ours = judge_with(&keys, &message, &qname, *qtype, now);
                // An apex speaks of all types but DS, of which the parent alone speaks.
                if *qtype == RecordType::DS && qname == *published.zone.origin() {
                    prop_assert!(ours.is_err());
                    continue;
                }
                prop_assert_eq!(ours, Ok(expected), "{} {}", qname, qtype);
                let zone = Arc::clone(&published.zone);
                prop_assert!(anchored_finds_secure(
                    published.zone.origin(),
                    &published.anchor,
                    Arc::new(move |name, rtype| answer(&zone, name, rtype)),
                    &message
                ), "{qname} {qtype}");
            }
        }
    }
}
