//! Upstreams of every kind, for zones that tell of them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, PublicKey, PublicKeyBuf};
use hickory_proto::rr::rdata::TLSA;
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use ring::rand::SystemRandom;
use zzdot_zonegen::keys::{KSK_FLAGS, ZoneKey};
use zzdot_zonegen::upstream::{
    Proof, PublishedTls, PublishedUpstream, ServerKind, Transport, UnnamedLabel, UpstreamId,
};

/// Sixteen: four with names and with all the records that there may be of each, and twelve without, in every way to be
/// asked and in every form of address. One is on the machine itself.
pub fn as_many_as_there_may_be() -> Vec<PublishedUpstream> {
    let mut all = Vec::new();
    for (at, suffix) in ["zz", "dns.example", "a.b.c.d.e.example", "EXAMPLE"]
        .into_iter()
        .enumerate()
    {
        let [mut one, ..] = <[_; 4]>::try_from(upstreams()).unwrap();
        let letter = ["a", "b", "c", "d"][at];
        one.id = UpstreamId::Named(format!("{}.{suffix}", letter.repeat(20)).parse().unwrap());
        let v4 = (1..=8).map(|host| IpAddr::from([192, 0, 2, host]));
        let v6 = (1..=8).map(|host| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]));
        one.addresses = v4.chain(v6).collect();
        let key = one.ksks.remove(0);
        one.ksks = (0..8_u8)
            .map(|last| {
                let mut octets = key.public_key().public_bytes().to_vec();
                octets[63] = last;
                DNSKEY::new(
                    true,
                    true,
                    false,
                    PublicKeyBuf::new(octets, Algorithm::ECDSAP256SHA256),
                )
            })
            .collect();
        let (usage, selector) = (CertUsage::DaneEe, Selector::Spki);
        let tlsa = (0..8).map(|last| TLSA::new(usage, selector, Matching::Sha256, vec![last; 32]));
        one.tls = Some(PublishedTls {
            port: [853, 8853, 65_535, 1][at],
            tlsa: tlsa.collect(),
        });
        all.push(one);
    }
    let long = format!(
        "{}.example",
        "abcdefghijklmno.".repeat(15).trim_end_matches('.')
    );
    let ways = [
        (Transport::Plain, Proof::None),
        (Transport::Opportunistic, Proof::None),
        (Transport::Dot, Proof::Dane),
        (Transport::Dot, Proof::Pin),
        (Transport::Doh, Proof::Pkix(long)),
        (Transport::Doq, Proof::Pkix("192.0.2.53".to_owned())),
    ];
    let places = [
        "127.0.0.1:5335",
        "[::1]:5335",
        "[2001:db8::]:53",
        "[2001:db8:1:2:3:4:5:6]:65535",
        "[fe80::1%3]:53",
        "[fe80::1%4294967295]:5300",
        "[::ffff:192.0.2.9]:53",
        "192.0.2.10:853",
        "192.0.2.10:443",
        "192.0.2.10:53",
        "255.255.255.254:1",
        "[1::]:853",
    ];
    for (place, (transport, proof)) in places.into_iter().zip(ways.iter().cycle()) {
        let [_, _, mut one, _] = <[_; 4]>::try_from(upstreams()).unwrap();
        let place: SocketAddr = place.parse().unwrap();
        one.id = UpstreamId::Unnamed(UnnamedLabel::new(place));
        one.addresses = vec![place.ip().to_canonical()];
        (one.transport, one.proof) = (*transport, proof.clone());
        all.push(one);
    }
    assert_eq!(all.len(), 16);
    all
}

/// Two with a name, one of them below another suffix and with two keys, and two without.
pub fn upstreams() -> Vec<PublishedUpstream> {
    let key = || {
        let key = ZoneKey::generate(KSK_FLAGS, &SystemRandom::new()).unwrap();
        key.dnskey().clone()
    };
    let tls = |port| {
        let digest = vec![0x5a; 32];
        let (usage, selector) = (CertUsage::DaneEe, Selector::Spki);
        PublishedTls {
            port,
            tlsa: vec![TLSA::new(usage, selector, Matching::Sha256, digest)],
        }
    };
    let named = |name: &str, kind, ksks, tls| PublishedUpstream {
        id: UpstreamId::Named(name.parse().unwrap()),
        kind,
        transport: Transport::Dot,
        proof: Proof::Dane,
        addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        ksks,
        tls: Some(tls),
    };
    let unnamed = |address: &str, transport, proof| PublishedUpstream {
        id: UpstreamId::Unnamed(UnnamedLabel::new(address.parse().unwrap())),
        kind: ServerKind::Unknown,
        transport,
        proof,
        addresses: vec![address.parse::<SocketAddr>().unwrap().ip()],
        ksks: Vec::new(),
        tls: None,
    };
    vec![
        named(
            "aaaaaaaaaaaaaaaaaaaa.zz",
            ServerKind::Resolver,
            vec![key()],
            tls(853),
        ),
        named(
            "bbbbbbbbbbbbbbbbbbbb.dns.example",
            ServerKind::Forwarder,
            vec![key(), key()],
            tls(8853),
        ),
        unnamed("192.0.2.53:53", Transport::Plain, Proof::None),
        unnamed(
            "[2001:db8::53]:5353",
            Transport::Dot,
            Proof::Pkix("dns.example.net".to_owned()),
        ),
    ]
}
