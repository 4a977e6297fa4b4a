//! Upstreams of every kind, for zones that tell of them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use hickory_proto::rr::rdata::TLSA;
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use ring::rand::SystemRandom;
use zzdot_zonegen::keys::{KSK_FLAGS, ZoneKey};
use zzdot_zonegen::upstream::{
    Proof, PublishedTls, PublishedUpstream, ServerKind, Transport, UnnamedLabel, UpstreamId,
};

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
        addresses: vec![address.parse::<std::net::SocketAddr>().unwrap().ip()],
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
