#![allow(clippy::unwrap_used)]
//! A signed zone answers, the short way judges, and a message that was touched goes the long one.

use std::str::FromStr;

use hickory_resolver::proto::{
    dnssec::rdata::DNSSECRData,
    op::{Message, Query, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{A, NS},
    },
};
use ring::rand::SystemRandom;
use zzdot_client::{
    validate::{TrustedKeys, ZoneKey},
    wire::{QuestionFlags, question},
};
use zzdot_zonegen::{
    identity::Identity,
    publication::Stamp,
    publish::publish,
    signed_zone::SignedZone,
    zone::{Publication, ServerType},
};

use super::*;
use crate::resolve::recursive::shape;

const NOW: UnixTime = UnixTime(1_800_000_000);

struct Scene {
    zone: SignedZone,
    trust: Trust,
}

impl Scene {
    fn new() -> Self {
        let suffix = Name::from_ascii("zz.").unwrap();
        let identity = Identity::invent(&suffix, &SystemRandom::new()).unwrap();
        let publication = Publication {
            server_type: ServerType::Resolver,
            addresses: vec!["192.168.1.1".parse().unwrap()],
            dot_port: 853,
            upstreams: Vec::new(),
        };
        let stamp = Stamp {
            serial: 1,
            inception: NOW,
            made: NOW,
            jitter_seed: 1,
        };
        let zone = publish(&identity, &publication, &stamp).unwrap().name_zone;
        let keys = zone.lookup(zone.origin(), RecordType::DNSKEY).unwrap();
        let keys = keys.answers.iter().filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(ZoneKey::from(key)),
            _ => None,
        });
        let keys = TrustedKeys::proved(zone.origin().clone(), keys.collect()).unwrap();
        Self {
            zone,
            trust: Trust::Keys(keys),
        }
    }

    fn name(&self, label: &str) -> Name {
        match label {
            "" => self.zone.origin().clone(),
            label => Name::from_str(label)
                .unwrap()
                .append_domain(self.zone.origin())
                .unwrap(),
        }
    }

    /// What an authority says, with the extras that some add.
    fn response(&self, name: &Name, rtype: RecordType) -> Message {
        let answer = self.zone.lookup(name, rtype).unwrap();
        let mut message = Message::query();
        message.add_query(Query::query(name.clone(), rtype));
        message.answers = answer.answers;
        message.authorities = answer.authorities;
        message.metadata.response_code = answer.rcode;
        message.metadata.authoritative = true;
        if !message.answers.is_empty() {
            let ns = NS(self.name("ns"));
            message.add_authority(Record::from_rdata(self.name(""), 60, RData::NS(ns)));
            message.add_additional(address(&self.name("ns")));
        }
        message.into_response()
    }

    fn judge(&self, query: &[u8], response: &Message, trust: &Trust) -> Option<Message> {
        let wanted = Wanted::read(query).unwrap();
        let zone = crate::resolve::recursive::errand::folded(self.zone.origin());
        let response = shape::trim(response.to_vec().unwrap());
        let answer = wanted.answer(&zone, trust, &response, NOW)?;
        Some(Message::from_vec(&answer).unwrap())
    }
}

fn address(owner: &Name) -> Record {
    Record::from_rdata(owner.clone(), 60, RData::A(A::new(192, 0, 2, 1)))
}

fn query(name: &Name, rtype: RecordType, dnssec_ok: bool) -> Vec<u8> {
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    let edns = dnssec_ok.then(|| Edns::plain(true));
    question(7, name, rtype, flags, edns.as_ref())
}

#[test]
fn records_and_denials_that_are_proved_go_the_short_way() {
    let scene = Scene::new();
    for (label, rtype, rcode, answers) in [
        ("", RecordType::A, ResponseCode::NoError, 1),
        ("", RecordType::SOA, ResponseCode::NoError, 1),
        ("", RecordType::MX, ResponseCode::NoError, 0),
        ("nothing", RecordType::A, ResponseCode::NXDomain, 0),
        ("_853._tcp", RecordType::TLSA, ResponseCode::NoError, 1),
        ("_tcp", RecordType::TLSA, ResponseCode::NoError, 0),
    ] {
        let name = scene.name(label);
        let response = scene.response(&name, rtype);
        let told = scene
            .judge(&query(&name, rtype, true), &response, &scene.trust)
            .unwrap_or_else(|| panic!("{name} {rtype} went the long way"));
        assert_eq!(told.metadata.response_code, rcode, "{name} {rtype}");
        assert!(told.metadata.authentic_data && !told.metadata.authoritative);
        assert_eq!(told.id, 7);
        assert_eq!(told.answers, response.answers, "{name} {rtype}");
        assert!(told.additionals.is_empty());
        // Without DO: no proofs, and no word that there were any.
        let told = scene
            .judge(&query(&name, rtype, false), &response, &scene.trust)
            .unwrap();
        assert!(!told.metadata.authentic_data && told.edns.is_none());
        assert_eq!(told.answers.len(), answers, "{name} {rtype}");
        assert_eq!(told.authorities.len(), usize::from(answers == 0));
    }
}

#[test]
fn what_is_not_proved_or_not_plain_goes_the_long_way() {
    let scene = Scene::new();
    let name = scene.name("");
    let asked = query(&name, RecordType::A, true);
    let good = scene.response(&name, RecordType::A);
    let change = |change: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        scene.judge(&asked, &message, &scene.trust).is_none()
    };
    assert!(!change(&|_| {}), "the good one");
    assert!(change(&|m| m
        .answers
        .retain(|r| r.record_type() != RecordType::RRSIG)));
    assert!(
        change(&|m| m.answers.push(address(&name))),
        "one more address"
    );
    assert!(
        change(&|m| m.answers.push(address(&scene.name("other")))),
        "another name"
    );
    assert!(change(&|m| m.metadata.authoritative = false));
    assert!(change(&|m| m.metadata.truncation = true));
    assert!(change(
        &|m| m.metadata.response_code = ResponseCode::NXDomain
    ));
    assert!(change(
        &|m| m.metadata.response_code = ResponseCode::ServFail
    ));
    assert!(change(&|m| m.answers.clear()), "a referral");

    let nothing = scene.name("nothing");
    let asked = query(&nothing, RecordType::A, true);
    let denial = scene.response(&nothing, RecordType::A);
    for rtype in [RecordType::NSEC, RecordType::SOA, RecordType::RRSIG] {
        let mut message = denial.clone();
        message
            .authorities
            .retain(|record| record.record_type() != rtype);
        assert!(
            scene.judge(&asked, &message, &scene.trust).is_none(),
            "{rtype}"
        );
    }
    let mut message = denial;
    message.metadata.response_code = ResponseCode::NoError;
    assert!(scene.judge(&asked, &message, &scene.trust).is_none());
}

#[test]
fn in_an_insecure_zone_answers_need_no_proof_and_get_no_word_of_one() {
    let scene = Scene::new();
    let name = scene.name("");
    let mut response = scene.response(&name, RecordType::A);
    response.answers = vec![address(&name)];
    let told = scene
        .judge(
            &query(&name, RecordType::A, true),
            &response,
            &Trust::Insecure,
        )
        .unwrap();
    assert_eq!(told.answers, response.answers);
    assert!(!told.metadata.authentic_data);
}

#[test]
fn questions_about_cuts_and_of_those_who_check_for_themselves_go_the_long_way() {
    let name = Name::from_ascii("a.test.").unwrap();
    for rtype in [
        RecordType::NS,
        RecordType::DS,
        RecordType::ANY,
        RecordType::RRSIG,
    ] {
        assert!(
            Wanted::read(&query(&name, rtype, false)).is_none(),
            "{rtype}"
        );
    }
    let mut checking = query(&name, RecordType::A, false);
    assert!(Wanted::read(&checking).is_some());
    checking[3] |= 0x10;
    assert!(Wanted::read(&checking).is_none());
}
