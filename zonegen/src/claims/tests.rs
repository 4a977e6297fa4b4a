#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::TLSA;
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use ring::rand::SystemRandom;

use super::*;
use crate::clock::UnixTime;
use crate::identity::Identity;
use crate::keys::{KSK_FLAGS, ZoneKey};
use crate::master_file::{rdata_text, read, write_zone};
use crate::publication::Stamp;
use crate::publish::{MAX_UPSTREAMS, PublishError, Published, publish};
use crate::signed_zone::SignedZone;
use crate::upstream::{Proof, PublishedTls, ServerKind, Transport, UnnamedLabel};
use crate::verify::verify;
use crate::zone::{Publication, ServerType};

const NOW: UnixTime = UnixTime(1_800_000_000);
const UP: &str = "aaaaaaaaaaaaaaaaaaaa.zz";
const FAR: &str = "bbbbbbbbbbbbbbbbbbbb.dns.example";

fn identity() -> Identity {
    Identity::invent(&Name::from_ascii("zz.").unwrap(), &SystemRandom::new()).unwrap()
}

fn ksk() -> ZoneKey {
    ZoneKey::generate(KSK_FLAGS, &SystemRandom::new()).unwrap()
}

fn named(name: &str) -> PublishedUpstream {
    let tlsa = TLSA::new(
        CertUsage::DaneEe,
        Selector::Spki,
        Matching::Sha256,
        vec![7; 32],
    );
    PublishedUpstream {
        id: UpstreamId::Named(name.parse().unwrap()),
        kind: ServerKind::Resolver,
        transport: Transport::Dot,
        proof: Proof::Dane,
        addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        ksks: vec![ksk().dnskey().clone()],
        tls: Some(PublishedTls {
            port: 8853,
            tlsa: vec![tlsa],
        }),
    }
}

fn unnamed(address: &str) -> PublishedUpstream {
    let address: SocketAddr = address.parse().unwrap();
    PublishedUpstream {
        id: UpstreamId::Unnamed(UnnamedLabel::new(address)),
        kind: ServerKind::Unknown,
        transport: Transport::Plain,
        proof: Proof::None,
        addresses: vec![address.ip()],
        ksks: Vec::new(),
        tls: None,
    }
}

fn publication(upstreams: Vec<PublishedUpstream>) -> Publication {
    Publication {
        server_type: ServerType::Forwarder,
        addresses: vec!["192.168.1.1".parse().unwrap()],
        dot_port: 853,
        upstreams,
    }
}

fn published(
    identity: &Identity,
    upstreams: Vec<PublishedUpstream>,
) -> Result<Published, PublishError> {
    let stamp = Stamp::next_above(UnixTime(0), None, NOW).unwrap();
    publish(identity, &publication(upstreams), &stamp)
}

/// `owner type data` of what stands below the zone's name and is no DNSSEC, the name as `NAME`.
fn said(identity: &Identity, zone: &SignedZone) -> Vec<String> {
    let own = identity.name().as_name().to_ascii();
    let short = |text: String| text.replace(&own, "NAME.");
    zone.rrsets()
        .filter(|(owner, ..)| *owner != zone.origin())
        .filter(|(_, rtype, _)| !matches!(*rtype, RecordType::NSEC | RecordType::KEY))
        .flat_map(|(owner, rtype, rrset)| {
            let line = move |record: &Record| {
                let data = rdata_text(&record.data);
                short(format!("{} {rtype} {data}", owner.to_ascii()))
            };
            rrset.records.iter().map(line).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_forwarder_says_whom_it_asks_and_how() {
    let identity = identity();
    let upstreams = vec![named(UP), named(FAR), unnamed("192.0.2.53:53")];
    let zone = published(&identity, upstreams).unwrap().name_zone;
    let said = said(&identity, &zone);
    for line in [
        "q.NAME. DNAME .",
        "upstreams.NAME. PTR aaaaaaaaaaaaaaaaaaaa.zz.",
        "upstreams.NAME. PTR bbbbbbbbbbbbbbbbbbbb.dns.example.",
        "upstreams.NAME. PTR 192-0-2-53.unnamed.NAME.",
        "aaaaaaaaaaaaaaaaaaaa.zz.NAME. A 192.0.2.7",
        "aaaaaaaaaaaaaaaaaaaa.zz.NAME. AAAA 2001:db8::7",
        "server-type.aaaaaaaaaaaaaaaaaaaa.zz.NAME. TXT \"resolver\"",
        "transport.aaaaaaaaaaaaaaaaaaaa.zz.NAME. TXT \"dot\"",
        "proof.aaaaaaaaaaaaaaaaaaaa.zz.NAME. TXT \"dane\"",
        "q.aaaaaaaaaaaaaaaaaaaa.zz.NAME. DNAME .",
        "_dns.aaaaaaaaaaaaaaaaaaaa.zz.NAME. SVCB 1 aaaaaaaaaaaaaaaaaaaa.zz. alpn=dot port=8853 \
         ipv4hint=192.0.2.7 ipv6hint=2001:db8::7",
        "zz.NAME. TXT \"upstreams\"",
        "dns.example.NAME. TXT \"upstreams\"",
        "example.NAME. TXT \"upstreams\"",
        "unnamed.NAME. TXT \"upstreams\"",
        "192-0-2-53.unnamed.NAME. A 192.0.2.53",
        "server-type.192-0-2-53.unnamed.NAME. TXT \"unknown\"",
        "transport.192-0-2-53.unnamed.NAME. TXT \"plain\"",
        "proof.192-0-2-53.unnamed.NAME. TXT \"none\"",
        "q.192-0-2-53.unnamed.NAME. DNAME .",
    ] {
        assert!(said.iter().any(|other| other == line), "{line}\n{said:#?}");
    }
    let tlsa = format!("_8853._tcp.{UP}.NAME. TLSA 3 1 1 ");
    assert!(said.iter().any(|line| line.starts_with(&tlsa)), "{said:#?}");
}

#[test]
fn the_zone_validates_has_no_empty_names_and_survives_being_written() {
    let identity = identity();
    let upstreams = vec![named(UP), named(FAR), unnamed("[2001:db8::53]:5353")];
    let zone = published(&identity, upstreams).unwrap().name_zone;
    let anchors = [identity.name_keys().ksk.dnskey().clone()];
    verify(&zone, &anchors, NOW).unwrap();
    for (owner, ..) in zone.rrsets() {
        let mut above = owner.clone();
        while above != *zone.origin() {
            assert!(zone.nodes().contains_key(&above), "{above}");
            above = above.base_name();
        }
    }
    let text = write_zone(&zone);
    assert!(text.contains("DNAME"), "{text}");
    let again = SignedZone::from_records(read(&text, None).unwrap()).unwrap();
    assert_eq!(again, zone);
}

#[test]
fn a_key_that_is_revoked_and_an_address_that_is_nobodys_are_left_out() {
    let identity = identity();
    let mut upstream = named(UP);
    let good = upstream.ksks[0].clone();
    upstream.ksks.push(ksk().revoked().dnskey().clone());
    let nobody = ["0.0.0.0", "::", "224.0.0.1", "ff02::1"];
    upstream
        .addresses
        .extend(nobody.map(|a| a.parse::<std::net::IpAddr>().unwrap()));
    let id = upstream.id.clone();
    let zone = published(&identity, vec![upstream]).unwrap().name_zone;
    let owner = claim_owner(identity.name(), &id, Claim::Itself);
    let count = |rtype| zone.rrset(&owner, rtype).unwrap().records.len();
    assert_eq!(count(RecordType::A), 1);
    assert_eq!(count(RecordType::AAAA), 1);
    let keys = &zone.rrset(&owner, RecordType::KEY).unwrap().records;
    let expected = RData::DNSSEC(DNSSECRData::KEY(key_of_dnskey(&good)));
    assert_eq!(
        keys.iter().map(|key| &key.data).collect::<Vec<_>>(),
        [&expected]
    );
}

#[test]
fn a_resolver_that_asks_nobody_says_nothing_about_upstreams() {
    let identity = identity();
    let zone = published(&identity, Vec::new()).unwrap().name_zone;
    let said = said(&identity, &zone);
    assert_eq!(said.len(), 4, "{said:#?}");
    let asked = passage_owner(identity.name()).prepend_label("x").unwrap();
    let answer = zone.lookup(&asked, RecordType::A).unwrap();
    assert_eq!(answer.rcode, ResponseCode::NXDomain);
}

#[test]
fn what_stands_below_q_is_redirected_and_q_itself_is_not() {
    let identity = identity();
    let upstream = named(UP);
    let owner = claim_owner(identity.name(), &upstream.id, Claim::Passage);
    let zone = published(&identity, vec![upstream]).unwrap().name_zone;
    let asked = Name::from_ascii("a.b")
        .unwrap()
        .append_domain(&owner)
        .unwrap();
    let answer = zone.lookup(&asked, RecordType::DNAME).unwrap();
    assert_eq!(answer.rcode, ResponseCode::NoError);
    let types: Vec<_> = answer.answers.iter().map(Record::record_type).collect();
    let expected = [RecordType::DNAME, RecordType::RRSIG, RecordType::CNAME];
    assert_eq!(types, expected);
    assert_eq!(answer.answers[2].ttl, answer.answers[0].ttl);
    let redirected = answer.redirected.unwrap();
    assert_eq!(redirected.owner, owner);
    assert_eq!(redirected.target, Name::from_ascii("a.b.").unwrap());
    let itself = zone.lookup(&owner, RecordType::DNAME).unwrap();
    assert_eq!(itself.redirected, None);
    assert_eq!(itself.answers.len(), 2);
    let nothing = zone.lookup(&owner, RecordType::A).unwrap();
    assert_eq!(nothing.rcode, ResponseCode::NoError);
    assert!(nothing.answers.is_empty() && !nothing.authorities.is_empty());
}

#[test]
fn what_cannot_be_said_is_refused_by_its_name() {
    let identity = identity();
    let refused = |upstreams| published(&identity, upstreams).unwrap_err();
    let same = vec![named(UP), named(UP)];
    assert!(matches!(refused(same), PublishError::SameUpstream(_)));
    let many = (0..=MAX_UPSTREAMS).map(|n| unnamed(&format!("192.0.2.{n}:53")));
    let many = many.collect::<Vec<_>>();
    assert_eq!(refused(many), PublishError::TooManyUpstreams(17));
    let name = "aaaaaaaaaaaaaaaaaaaa.example.q";
    assert!(matches!(
        refused(vec![named(name)]),
        PublishError::UpstreamName(_)
    ));
}

/// It stands below the name that leads to somebody else, and would keep us from publishing.
#[test]
fn an_upstream_that_names_itself_after_what_leads_through_another_has_no_name() {
    let address = "192.0.2.1:53".parse().unwrap();
    for suffix in [UP, "192-0-2-7.unnamed", "Q.example.net"] {
        let sly = format!("bbbbbbbbbbbbbbbbbbbb.q.{suffix}");
        let id = UpstreamId::of(&sly.parse().unwrap(), address);
        let claimed = UpstreamId::Unnamed(UnnamedLabel::new(address));
        let sly_one = PublishedUpstream {
            id: id.clone(),
            ..unnamed("192.0.2.1:53")
        };
        let all = vec![named(UP), unnamed("192.0.2.7:53"), sly_one];
        let zones = published(&identity(), all);
        assert!(zones.is_ok(), "{sly}: {:?}", zones.err());
        assert_eq!(id, claimed, "{sly}");
    }
}

/// What an upstream says of itself must not keep us from publishing, nor fill our answers.
#[test]
fn an_upstream_that_says_too_much_is_published_in_part() {
    let identity = identity();
    let mut upstream = named(UP);
    let id = upstream.id.clone();
    upstream.addresses = (0..100).map(|n| [192, 0, 2, n].into()).collect();
    upstream.ksks = (0..12).map(|_| ksk().dnskey().clone()).collect();
    upstream.proof = Proof::Pkix("n".repeat(253));
    let tlsa = &mut upstream.tls.as_mut().unwrap().tlsa;
    let longest = |n| {
        let data = vec![n; 4000];
        TLSA::new(CertUsage::DaneEe, Selector::Spki, Matching::Raw, data)
    };
    tlsa.extend((0..8).map(longest));
    let zone = published(&identity, vec![upstream]).unwrap().name_zone;
    let count = |claim, rtype| {
        let owner = claim_owner(identity.name(), &id, claim);
        zone.rrset(&owner, rtype).unwrap().records.len()
    };
    assert_eq!(count(Claim::Itself, RecordType::A), 16);
    assert_eq!(count(Claim::Itself, RecordType::KEY), 8);
    assert_eq!(count(Claim::Tlsa(8853), RecordType::TLSA), 2);
    let proof = claim_owner(identity.name(), &id, Claim::Proof);
    let proof = zone.rrset(&proof, RecordType::TXT).unwrap();
    let RData::TXT(txt) = &proof.records[0].data else {
        panic!("{proof:?}");
    };
    assert_eq!(
        txt.txt_data.concat(),
        format!("pkix {}", "n".repeat(253)).into_bytes()
    );
}
