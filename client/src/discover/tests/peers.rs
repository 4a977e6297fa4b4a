//! Which TLS peer is the one: where it is looked for, and by what it is known.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use ring::digest;
use rustls_pki_types::CertificateDer;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::publish::publish;
use zzdot_zonegen::zone::Publication;

use super::lab::*;
use crate::discover::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn behind_a_legacy_forwarder_the_resolver_is_met_at_its_own_address() {
    let identity = identity();
    let zones = published(&identity);
    let mut walker = Walker::to(&identity, &zones);
    walker.server = at("192.0.2.254:53");
    walker.peers = Box::new(|address| {
        if address == at("192.0.2.9:853") {
            Ok(peer(&identity))
        } else {
            unreachable()
        }
    });
    let trip = walker.walk();
    assert_eq!(trip.discovered().endpoint, at("192.0.2.9:853"));
    assert_eq!(trip.discovered().server, at("192.0.2.254:53"));
    assert_eq!(
        trip.connected,
        [
            at("192.0.2.254:853"),
            at("192.0.2.1:853"),
            at("192.0.2.9:853")
        ]
    );
    assert_eq!(trip.flights, 2);
}

#[test]
fn a_configured_address_that_swallows_packets_is_waited_for_only_so_long() {
    let identity = identity();
    let zones = published(&identity);
    let mut walker = Walker::to(&identity, &zones);
    walker.server = at("192.0.2.254:53");
    let mut round = 0;
    walker.shuffle = Box::new(move |reports| {
        round += 1;
        if round == 2 {
            reports.retain(|report| !matches!(report, Report::Tls(..)));
        }
    });
    let trip = walker.walk();
    assert_eq!(trip.discovered().endpoint, at("192.0.2.1:853"));
}

#[test]
fn a_zone_that_points_at_this_computer_is_not_followed() {
    let identity = identity();
    let publication = Publication {
        addresses: ["127.0.0.1", "::1", "127.8.8.8"]
            .map(|a| a.parse().unwrap())
            .into(),
        ..publication()
    };
    let zones = publish(&identity, &publication, &stamp(None, CLOCK)).unwrap();
    let mut walker = Walker::to(&identity, &zones);
    walker.peers = Box::new(|_| unreachable());
    let trip = walker.walk();
    assert_eq!(
        *trip.refusal(),
        Refusal::NoAnswerOnDotPort {
            tried: vec![at("192.0.2.1:853")]
        }
    );
    assert_eq!(trip.connected, [at("192.0.2.1:853")]);

    // Unless the configured server is on this computer itself.
    let mut walker = Walker::to(&identity, &zones);
    walker.server = at("127.0.0.53:53");
    walker.peers = Box::new(|address| {
        if address == at("127.0.0.1:853") {
            Ok(peer(&identity))
        } else {
            unreachable()
        }
    });
    assert_eq!(walker.walk().discovered().endpoint, at("127.0.0.1:853"));
}

#[test]
fn the_number_of_addresses_tried_is_bounded() {
    let identity = identity();
    let publication = Publication {
        addresses: (2..18).map(|n| [203, 0, 113, n].into()).collect(),
        ..publication()
    };
    let zones = publish(&identity, &publication, &stamp(None, CLOCK)).unwrap();
    let mut walker = Walker::to(&identity, &zones);
    walker.peers = Box::new(|_| unreachable());
    let trip = walker.walk();
    assert_eq!(trip.connected.len(), 1 + MAX_FALLBACKS);
    assert_eq!(trip.refusal().name(), "no-answer-on-dot-port");
}

#[test]
fn another_key_and_a_failed_handshake_are_told_apart() {
    let identity = identity();
    let zones = published(&identity);
    let stranger = super::lab::identity();
    let mut walker = Walker::to(&identity, &zones);
    walker.peers = Box::new(|_| Ok(peer(&stranger)));
    let trip = walker.walk();
    assert_eq!(
        *trip.refusal(),
        Refusal::CertificateMismatch {
            endpoint: at("192.0.2.1:853"),
            mismatch: TlsaMismatch::OtherKey
        }
    );

    let mut walker = Walker::to(&identity, &zones);
    walker.peers = Box::new(|_| {
        Err(TlsFailure::Handshake {
            detail: "unexpected message".to_owned(),
        })
    });
    assert_eq!(walker.walk().refusal().name(), "handshake-failed");

    // The configured address is somebody else's, the zone's is not.
    let mut walker = Walker::to(&identity, &zones);
    walker.peers = Box::new(|address| {
        Ok(peer(if address == at("192.0.2.9:853") {
            &identity
        } else {
            &stranger
        }))
    });
    assert_eq!(walker.walk().discovered().endpoint, at("192.0.2.9:853"));
}

// -- TLSA ------------------------------------------------------------------------------------------

fn resolver() -> ResolverName {
    "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap()
}

fn tlsa(usage: u8, selector: u8, matching: u8, selected: &[u8]) -> Tlsa {
    let data = match matching {
        1 => digest::digest(&digest::SHA256, selected).as_ref().to_vec(),
        2 => digest::digest(&digest::SHA512, selected).as_ref().to_vec(),
        _ => selected.to_vec(),
    };
    Tlsa {
        usage,
        selector,
        matching,
        data,
    }
}

struct Made {
    certificate: CertificateDer<'static>,
    spki: Vec<u8>,
}

/// An authority, and a certificate that it issued for `name`, good from 2020 until `until`.
fn chain(name: &str, until: i32) -> (Made, Made) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.not_before = date_time_ymd(2020, 1, 1);
    ca.not_after = date_time_ymd(2090, 1, 1);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(vec![name.to_owned()]).unwrap();
    own.not_before = date_time_ymd(2020, 1, 1);
    own.not_after = date_time_ymd(until, 1, 1);
    let issuer = Issuer::from_params(&ca, &ca_key);
    let certificate = own.signed_by(&key, &issuer).unwrap();
    let made = |der: &CertificateDer<'_>, key: &KeyPair| Made {
        certificate: der.clone().into_owned(),
        spki: rcgen::PublicKeyData::subject_public_key_info(key),
    };
    (
        made(certificate.der(), &key),
        made(ca_certificate.der(), &ca_key),
    )
}

#[test]
fn usage_3_knows_the_peer_in_each_form_and_ignores_names_and_dates() {
    let (own, ca) = chain("somebody.else", 2021);
    let peer = PeerCertificates(vec![own.certificate.clone()]);
    for matching in 0..=2 {
        for (selector, right, wrong) in [
            (0, own.certificate.as_ref(), ca.certificate.as_ref()),
            (1, own.spki.as_slice(), ca.spki.as_slice()),
        ] {
            let good = tlsa(3, selector, matching, right);
            let bad = tlsa(3, selector, matching, wrong);
            let both = [bad.clone(), good.clone()];
            assert_eq!(peer_named_by(&both, &peer, &resolver(), CLOCK), Ok(&good));
            assert_eq!(
                peer_named_by(&[bad], &peer, &resolver(), CLOCK),
                Err(TlsaMismatch::OtherKey)
            );
        }
    }
}

#[test]
fn usage_2_knows_the_authority_and_checks_chain_names_and_dates() {
    let name = resolver();
    let judge = |name_in_certificate: &str, until, clock, change: &dyn Fn(&Made, &Made) -> Tlsa| {
        let (own, ca) = chain(name_in_certificate, until);
        let record = change(&own, &ca);
        let chain = PeerCertificates(vec![own.certificate, ca.certificate]);
        peer_named_by(&[record], &chain, &name, clock).map(|_| ())
    };
    let text = name.to_string();
    let by_key = |_: &Made, ca: &Made| tlsa(2, 1, 1, &ca.spki);
    assert_eq!(judge(&text, 2090, CLOCK, &by_key), Ok(()));
    assert_eq!(
        judge(&text, 2090, CLOCK, &|_, ca| tlsa(2, 0, 1, &ca.certificate)),
        Ok(())
    );
    let chain_fails = |outcome| matches!(outcome, Err(TlsaMismatch::Chain(_)));
    assert!(chain_fails(judge("other.zz", 2090, CLOCK, &by_key)));
    assert!(chain_fails(judge(&text, 2021, CLOCK, &by_key)));
    assert!(chain_fails(judge(
        &text,
        2090,
        UnixTime(1_000_000_000),
        &by_key
    )));
    // The peer's own certificate is no authority, and another authority's key names nobody.
    assert_eq!(
        judge(&text, 2090, CLOCK, &|own, _| tlsa(2, 1, 1, &own.spki)),
        Err(TlsaMismatch::OtherKey)
    );
    assert_eq!(
        judge(&text, 2090, CLOCK, &|_, _| tlsa(2, 1, 1, b"another key")),
        Err(TlsaMismatch::OtherKey)
    );
}

#[test]
fn an_authority_given_in_full_need_not_be_sent_and_a_strangers_chain_does_not_follow() {
    let name = resolver();
    let (own, ca) = chain(&name.to_string(), 2090);
    let alone = PeerCertificates(vec![own.certificate.clone()]);
    let full = tlsa(2, 0, 0, &ca.certificate);
    assert!(peer_named_by(&[full], &alone, &name, CLOCK).is_ok());
    let by_key = [tlsa(2, 1, 1, &ca.spki)];
    assert_eq!(
        peer_named_by(&by_key, &alone, &name, CLOCK),
        Err(TlsaMismatch::OtherKey)
    );
    // The authority is shown, but did not issue the certificate.
    let (stranger, _) = chain(&name.to_string(), 2090);
    let borrowed = PeerCertificates(vec![stranger.certificate, ca.certificate.clone()]);
    assert!(matches!(
        peer_named_by(&by_key, &borrowed, &name, CLOCK),
        Err(TlsaMismatch::Chain(_))
    ));
}

#[test]
fn records_that_cannot_be_used_are_skipped() {
    let (own, _) = chain("x.zz", 2090);
    let peer = PeerCertificates(vec![own.certificate.clone()]);
    let good = tlsa(3, 1, 1, &own.spki);
    let unusable = [
        tlsa(0, 1, 1, &own.spki),
        tlsa(1, 1, 1, &own.spki),
        tlsa(4, 1, 1, &own.spki),
        tlsa(3, 2, 1, &own.spki),
        tlsa(3, 1, 3, &own.spki),
        Tlsa {
            data: good.data[..31].to_vec(),
            ..good.clone()
        },
        tlsa(3, 1, 0, &[]),
    ];
    for record in &unusable {
        let alone = std::slice::from_ref(record);
        assert_eq!(
            peer_named_by(alone, &peer, &resolver(), CLOCK),
            Err(TlsaMismatch::NoneUsable),
            "{record}"
        );
    }
    let with_good: Vec<_> = unusable.into_iter().chain([good.clone()]).collect();
    assert_eq!(
        peer_named_by(&with_good, &peer, &resolver(), CLOCK),
        Ok(&good)
    );
    for nothing in [vec![], vec![CertificateDer::from(vec![0x30, 0])]] {
        assert_eq!(
            peer_named_by(
                std::slice::from_ref(&good),
                &PeerCertificates(nothing),
                &resolver(),
                CLOCK
            ),
            Err(TlsaMismatch::CertificateUnreadable)
        );
    }
}

#[test]
fn a_tlsa_record_survives_its_text() {
    let record = tlsa(3, 1, 1, b"key");
    let text = record.to_string();
    assert!(text.starts_with("3 1 1 "));
    assert_eq!(text.parse(), Ok(record.clone()));
    assert_eq!(text.to_uppercase().parse(), Ok(record));
    for wrong in ["", "3 1 1", "3 1 1 zz", "300 1 1 00", "3 1 1 00 11"] {
        assert!(
            wrong.parse::<Tlsa>().is_err() || wrong == "3 1 1",
            "{wrong}"
        );
    }
}
