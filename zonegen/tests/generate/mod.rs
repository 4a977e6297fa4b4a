//! Zones of every shape, for properties.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::rr::rdata::{A, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::{Identity, ZoneKeys};
use zzdot_zonegen::keys::{KSK_FLAGS, ZSK_FLAGS, ZoneKey};
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::{DNSKEY_LIFETIME, JITTER, LIFETIME, publish};
use zzdot_zonegen::sign::{Validity, sign};
use zzdot_zonegen::signed_zone::SignedZone;
use zzdot_zonegen::upstream::PublishedUpstream;
use zzdot_zonegen::zone::{Publication, ServerType};

/// A signed zone, and what is needed to judge it.
#[derive(Debug)]
pub struct Sample {
    pub zone: SignedZone,
    pub anchors: Vec<DNSKEY>,
    /// A moment at which every signature is valid.
    pub now: UnixTime,
}

/// The two zones of identities, and zones of arbitrary names.
pub fn samples() -> impl Strategy<Value = Vec<Sample>> {
    prop_oneof![
        published(),
        arbitrary_zone().prop_map(|sample| vec![sample])
    ]
}

/// The zones of an identity, whatever is published.
pub fn published() -> impl Strategy<Value = Vec<Sample>> {
    let v4 = prop::collection::vec(any::<u32>().prop_map(Ipv4Addr::from), 0..4);
    let v6 = prop::collection::vec(any::<u128>().prop_map(Ipv6Addr::from), 0..4);
    let times = 1_700_000_000_u64..4_200_000_000;
    (v4, v6, 1_u16.., times, any::<bool>()).prop_filter_map(
        "an address of a service",
        |(v4, v6, dot_port, now, forwards)| {
            let suffix = Name::from_ascii("zz.").unwrap();
            let identity = Identity::invent(&suffix, &SystemRandom::new()).unwrap();
            let addresses = v4.into_iter().map(Into::into);
            let publication = Publication {
                server_type: match forwards {
                    true => ServerType::Forwarder,
                    false => ServerType::Resolver,
                },
                addresses: addresses.chain(v6.into_iter().map(Into::into)).collect(),
                dot_port,
                upstreams: Vec::new(),
            };
            zones_of(&identity, &publication, UnixTime(now))
        },
    )
}

/// The zone of a forwarder that says this of those whom it asks.
pub fn forwarder(upstreams: Vec<PublishedUpstream>) -> Sample {
    let suffix = Name::from_ascii("zz.").unwrap();
    let identity = Identity::invent(&suffix, &SystemRandom::new()).unwrap();
    let publication = Publication {
        server_type: ServerType::Forwarder,
        addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
        dot_port: 853,
        upstreams,
    };
    let zones = zones_of(&identity, &publication, UnixTime(1_800_000_000));
    zones.unwrap().swap_remove(0)
}

fn zones_of(identity: &Identity, publication: &Publication, now: UnixTime) -> Option<Vec<Sample>> {
    let stamp = Stamp::next_above(UnixTime(0), None, now).unwrap();
    let published = publish(identity, publication, &stamp).ok()?;
    Some(vec![
        Sample {
            zone: published.name_zone,
            anchors: vec![identity.name_keys().ksk.dnskey().clone()],
            now,
        },
        Sample {
            zone: published.anchor_zone,
            anchors: identity.trust_anchor(),
            now,
        },
    ])
}

/// A zone with names of any octets at any depth, so that empty non-terminals abound.
pub fn arbitrary_zone() -> impl Strategy<Value = Sample> {
    let octet = prop_oneof![any::<u8>(), Just(b'a'), Just(b'\0'), Just(b'A'), Just(0xff)];
    let label =
        prop::collection::vec(octet, 1..4).prop_filter("no wildcard", |label| label != b"*");
    let owner = prop::collection::vec(label, 0..4);
    let data = prop_oneof![
        any::<u32>().prop_map(|address| RData::A(A(Ipv4Addr::from(address)))),
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|text| RData::TXT(TXT::from_bytes(vec![&text]))),
    ];
    let records = prop::collection::vec((owner, data), 0..12);
    (records, 1_u32..100_000, any::<u64>()).prop_map(|(records, ttl, jitter_seed)| {
        let origin = Name::from_ascii("zone.example.").unwrap();
        let soa = SOA::new(origin.clone(), origin.clone(), 1, 2, 3, 4, 60);
        let apex = [RData::SOA(soa), RData::NS(NS(origin.clone()))];
        let apex = apex.map(|data| Record::from_rdata(origin.clone(), ttl, data));
        let records = records.into_iter().map(|(labels, data)| {
            let owner = labels.iter().fold(origin.clone(), |owner, label| {
                owner.prepend_label(&label[..]).unwrap()
            });
            Record::from_rdata(owner, ttl, data)
        });
        let rng = SystemRandom::new();
        let keys = ZoneKeys {
            ksk: ZoneKey::generate(KSK_FLAGS, &rng).unwrap(),
            zsk: ZoneKey::generate(ZSK_FLAGS, &rng).unwrap(),
        };
        let now = UnixTime(1_800_000_000);
        let validity = Validity {
            inception: now.minus(Duration::from_secs(3600)),
            lifetime: LIFETIME,
            dnskey_lifetime: DNSKEY_LIFETIME,
            jitter: JITTER,
            jitter_seed,
        };
        Sample {
            zone: sign(apex.into_iter().chain(records), &keys, &[], ttl, &validity).unwrap(),
            anchors: vec![keys.ksk.dnskey().clone()],
            now,
        }
    })
}
