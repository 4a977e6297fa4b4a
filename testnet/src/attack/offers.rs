//! What an attacker's own zones may make a client do: connect where it should not, or tell whom it knows.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::NS};
use ring::rand::SystemRandom;
use zzdot_client::discover::MAX_FALLBACKS;
use zzdot_zonegen::{
    clock::UnixTime,
    identity::Identity,
    publication::Stamp,
    publish::{LIFETIME, Published, publish},
    sign::{Validity, sign},
    signed_zone::SignedZone,
    zone::{Publication, ServerType, TTL_SECS},
};

use super::{ALONE, Attack, Branch, Stage, ground::RESOLVER, refused};
use crate::{
    Host,
    attacker::{Dns, Dot, Impostor, Manner, answers},
    capture::Capture,
    story::{Failure, Told},
};

const WHERE: &str = "it does not connect where it should not";
const WHOM: &str = "strangers are not told whom it knows";
const NOBODY_ELSE: &str = "nobody else is taken for it";

/// Another network's, which the attacker would like to have connected to.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
/// Not a port of DNS.
const MAIL: u16 = 25;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        test: "a_zone_of_hostile_addresses_reaches_nothing_on_this_computer_and_little_elsewhere",
        promise: WHERE,
        words: "at a first meeting: zones that name loopback, multicast, broadcast and fourteen addresses of another network; 853 reset",
        stage: Stage::First,
        play: hostile_addresses,
        product: refused(&["no-answer-on-dot-port"]),
        inspect: |branch, capture| {
            let tried: BTreeSet<_> = destinations(branch, capture)
                .into_iter()
                .filter(|to| to.ip() != IpAddr::V4(RESOLVER))
                .collect();
            let allowed = |to: &SocketAddr| to.port() == 853 && !to.ip().is_multicast();
            ensure(
                tried.len() <= MAX_FALLBACKS && tried.iter().all(allowed),
                || format!("connections to {tried:?}"),
            )
        },
        ..ALONE
    },
    Attack {
        test: "a_zone_that_names_the_port_of_another_service_brings_it_a_tls_handshake_and_nothing_else",
        promise: WHERE,
        words: "at a first meeting: zones that name port 25, where something else listens",
        stage: Stage::First,
        play: hostile_port,
        product: refused(&["handshake-failed"]),
        inspect: |branch, capture| {
            let product = branch.victims[0].host.name();
            let mut begun = BTreeSet::new();
            let strange: Vec<_> = capture
                .packets()
                .iter()
                .filter(|packet| packet.host.as_deref() == Some(product))
                .filter(|packet| packet.destination.port() == MAIL && !packet.payload.is_empty())
                // A hello is longer than a segment: what begins each stream tells.
                .filter(|packet| begun.insert(packet.source))
                .filter(|packet| packet.payload.first() != Some(&TLS_HANDSHAKE))
                .collect();
            ensure(strange.is_empty(), || format!("not of TLS: {strange:?}"))
        },
        ..ALONE
    },
    Attack {
        test: "a_server_that_offers_two_resolvers_wins_no_question",
        promise: NOBODY_ELSE,
        words: "at a first meeting: signed zones that name two resolvers, the genuine one and the attacker's",
        stage: Stage::First,
        play: |branch| {
            let own = own()?;
            let genuine = branch.identity.name().as_name().clone();
            let mut published = published(&own, &[RESOLVER.into()], 853)?;
            let owner = published.anchor_zone.origin().clone();
            let other = Record::from_rdata(owner, TTL_SECS, RData::NS(NS(genuine)));
            published.anchor_zone = signed_again(&published.anchor_zone, &own, vec![other])?;
            meet(
                branch,
                published,
                Dot::Impostor(Impostor::with_key_of(&own)?, answers::lie()),
            )
        },
        product: refused(&["no-resolver-name"]),
        ..ALONE
    },
    Attack {
        test: "a_stranger_does_not_learn_the_name_of_the_resolver_that_is_known",
        promise: WHOM,
        words: "a stranger in the resolver's place, with an identity of its own",
        play: |branch| {
            let own = own()?;
            let published = published(&own, &[RESOLVER.into()], 853)?;
            branch.mark();
            branch.attacker.turn(Manner {
                dns: Dns::Answer(answers::zones(published).for_the_walk(answers::lie())),
                dot: Dot::Impostor(Impostor::with_key_of(&own)?, answers::lie()),
            })?;
            branch.ask(2);
            branch.restart_product()?;
            branch.ask(1);
            branch.mark();
            Ok(())
        },
        product: refused(&["name-changed"]),
        inspect: |branch, capture| {
            let [from, to] = branch.marks[..] else {
                return Err(Failure::new("the attack was not marked"));
            };
            let label = branch.identity.name().to_string();
            let label = label.split('.').next().unwrap_or_default().as_bytes();
            let product = branch.victims[0].host.name();
            let said = capture.packets().iter().any(|packet| {
                packet.host.as_deref() == Some(product)
                    && (from..to).contains(&packet.at)
                    && packet
                        .payload
                        .windows(label.len())
                        .any(|octets| octets == label)
            });
            ensure(!said, || {
                "packets of the laptop hold the name of its resolver".into()
            })
        },
        ..ALONE
    },
];

/// The type of a TLS record that holds a handshake (RFC 8446 5.1). A connection that fails says no more than an alert.
const TLS_HANDSHAKE: u8 = 22;

fn hostile_addresses(branch: &mut Branch) -> Told {
    let own = own()?;
    let mut published = published(&own, &[RESOLVER.into()], 853)?;
    let [a, b, c, d] = ELSEWHERE.octets();
    let many = (0..14).map(|more| Ipv4Addr::new(a, b, c, d + more));
    let hostile = [
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(127, 9, 9, 9),
        Ipv4Addr::new(224, 0, 0, 251),
        Ipv4Addr::BROADCAST,
        Ipv4Addr::UNSPECIFIED,
    ];
    let owner = published.name_zone.origin().clone();
    let addresses = hostile
        .into_iter()
        .chain(many)
        .map(|address| {
            Record::from_rdata(owner.clone(), TTL_SECS, RData::from(IpAddr::V4(address)))
        })
        .collect();
    published.name_zone = signed_again(&published.name_zone, &own, addresses)?;
    let visits = trap(&branch.product().host, (Ipv4Addr::UNSPECIFIED, 853).into())?;
    meet(branch, published, Dot::Reset)?;
    let visits = visits.load(Ordering::Relaxed);
    ensure(visits == 0, || {
        format!("{visits} connections to this computer")
    })
}

fn hostile_port(branch: &mut Branch) -> Told {
    let own = own()?;
    let gateway = IpAddr::V4(branch.gateway);
    let published = published(&own, &[gateway], MAIL)?;
    let visits = trap(branch.attacker.host(), (branch.gateway, MAIL).into())?;
    meet(branch, published, Dot::Reset)?;
    let visits = visits.load(Ordering::Relaxed);
    ensure((1..=1 + MAX_FALLBACKS).contains(&visits), || {
        format!("{visits} connections to a port of another service")
    })
}

/// Takes connections, greets as services do that speak first, and counts.
fn trap(host: &Host, at: SocketAddr) -> Result<Arc<AtomicUsize>, Failure> {
    let listener = host.within(|| TcpListener::bind(at))?;
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    thread::spawn(move || {
        use std::io::Write;
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        }
    });
    Ok(visits)
}

fn own() -> Result<Identity, Failure> {
    Ok(Identity::invent(
        &Name::from_ascii("zz.")?,
        &SystemRandom::new(),
    )?)
}

fn published(own: &Identity, addresses: &[IpAddr], dot_port: u16) -> Result<Published, Failure> {
    let publication = Publication {
        server_type: ServerType::Resolver,
        addresses: addresses.to_vec(),
        dot_port,
        upstreams: Vec::new(),
    };
    let stamp = Stamp::next_above(UnixTime(0), None, UnixTime::now())?;
    Ok(publish(own, &publication, &stamp)?)
}

/// A zone with more records than its publisher would put there, signed with the same keys.
fn signed_again(
    zone: &SignedZone,
    own: &Identity,
    more: Vec<Record>,
) -> Result<SignedZone, Failure> {
    let made_by_signing = [RecordType::RRSIG, RecordType::NSEC, RecordType::DNSKEY];
    let records = zone
        .records()
        .filter(|record| !made_by_signing.contains(&record.record_type()))
        .cloned()
        .chain(more);
    let keys = if zone.origin() == own.name().as_name() {
        own.name_keys()
    } else {
        own.anchor_keys()
    };
    let validity = Validity {
        inception: UnixTime::now().minus(Duration::from_secs(3600)),
        lifetime: LIFETIME,
        dnskey_lifetime: LIFETIME,
        jitter: Duration::ZERO,
        jitter_seed: 0,
    };
    Ok(sign(records, keys, &[], TTL_SECS, &validity)?)
}

fn meet(branch: &mut Branch, published: Published, dot: Dot) -> Told {
    branch.attacker.turn(Manner {
        dns: Dns::Answer(answers::zones(published).for_the_walk(answers::lie())),
        dot,
    })?;
    branch.start_victims()?;
    branch.ask(2);
    Ok(())
}

/// Where the product's laptop opened connections to.
fn destinations(branch: &Branch, capture: &Capture) -> BTreeSet<SocketAddr> {
    let product = branch.victims[0].host.name();
    capture
        .packets()
        .iter()
        .filter(|packet| packet.host.as_deref() == Some(product) && packet.transport.is_tcp())
        .map(|packet| packet.destination)
        .collect()
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Told {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(otherwise()))
    }
}
