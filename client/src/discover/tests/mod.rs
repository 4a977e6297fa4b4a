#![allow(clippy::unwrap_used)]

mod lab;

use hickory_proto::rr::RecordType;
use zzdot_zonegen::zone::ServerType;

use self::lab::*;
use super::*;

#[test]
fn a_first_meeting_takes_two_flights_and_ends_upgraded() {
    let identity = identity();
    let zones = published(&identity);
    let trip = Walker::to(&identity, &zones).walk();
    let discovered = trip.discovered();
    assert_eq!(trip.flights, 2);
    assert_eq!(trip.asked.len(), 11);
    assert_eq!(trip.connected, ["192.0.2.1:853".parse().unwrap()]);
    assert_eq!(&discovered.name, identity.name());
    assert_eq!(discovered.server_type, ServerType::Resolver);
    assert_eq!(discovered.anchor.len(), 2);
    for key in identity.trust_anchor() {
        assert!(discovered.anchor.contains(&key));
    }
    assert_eq!(discovered.endpoint, "192.0.2.1:853".parse().unwrap());
    assert_eq!(discovered.addresses.len(), 2);
    assert_eq!(discovered.ttl, 60);
    assert_eq!(discovered.tlsa.len(), 1);
    assert_eq!(discovered.tlsa[0].data, identity.spki_sha256());
    assert!(discovered.signatures_expire > CLOCK);
    let validated = trip.steps.iter().filter_map(|step| match step {
        Step::Validated { rtype, .. } => Some(rtype.as_str()),
        _ => None,
    });
    let mut validated: Vec<_> = validated.collect();
    validated.sort_unstable();
    assert_eq!(
        validated,
        [
            "A", "DNSKEY", "DNSKEY", "KEY", "NS", "SOA", "SOA", "SVCB", "TLSA", "TXT"
        ]
    );
    let denied = trip.steps.iter().any(
        |step| matches!(step, Step::Denied { rtype, .. } if *rtype == RecordType::AAAA.to_string()),
    );
    assert!(denied);
}
