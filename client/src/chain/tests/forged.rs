//! Zones that no zone generator would make, and answers that somebody dressed up.

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::owners::{Claim, claim_owner, server_type_owner};
use zzdot_zonegen::publish::{DNSKEY_LIFETIME, LIFETIME};
use zzdot_zonegen::sign::{Signers, Validity, sign_with};
use zzdot_zonegen::upstream::{Proof, Transport, UpstreamId};
use zzdot_zonegen::zone::TTL_SECS;

use super::world::*;
use crate::chain::*;

/// The zone of resolver `number` after an edit, signed with the keys of resolver `keys_of`.
pub(super) fn sign_as(
    world: &World,
    number: usize,
    keys_of: usize,
    edit: impl FnOnce(&mut Vec<Record>),
) -> zzdot_zonegen::signed_zone::SignedZone {
    let zone = &world.resolvers[number].zones.as_ref().unwrap().name_zone;
    let kept = |rtype| !matches!(rtype, RecordType::DNSKEY | RecordType::NSEC);
    let rrsets = zone.rrsets().filter(|(_, rtype, _)| kept(*rtype));
    let mut records: Vec<_> = rrsets
        .flat_map(|(_, _, rrset)| rrset.records.clone())
        .collect();
    edit(&mut records);
    let signers = Signers {
        keys: world.resolvers[keys_of].identity.name_keys(),
        along: &[],
        shown: &[],
    };
    let validity = Validity {
        inception: UnixTime(CLOCK.0 - 60),
        lifetime: LIFETIME,
        dnskey_lifetime: DNSKEY_LIFETIME,
        jitter: std::time::Duration::ZERO,
        jitter_seed: 0,
    };
    sign_with(records, &signers, TTL_SECS, &validity).unwrap()
}

fn line() -> World {
    let mut world = World::of(3);
    world.hop(0, 1);
    world.hop(1, 2);
    world
}

fn text(owner: Name, text: &str) -> Record {
    Record::from_rdata(owner, TTL_SECS, RData::TXT(TXT::new(vec![text.to_owned()])))
}

/// Signed by itself, and nothing in it says which of the two is meant.
#[test]
fn who_says_two_things_says_nothing() {
    let claim = |world: &World, claim| {
        let [near, far] = [1, 2].map(|number| world.resolvers[number].identity.name().clone());
        claim_owner(&near, &UpstreamId::Named(far), claim)
    };
    let two = |owner: &dyn Fn(&World) -> Name, word: &str| {
        let mut world = line();
        world.survey_while(|world, round| {
            if round == 0 {
                let record = text(owner(world), word);
                let zone = sign_as(world, 1, 1, |records| records.push(record));
                world.resolvers[1].zones.as_mut().unwrap().name_zone = zone;
            }
        })
    };
    let transport = two(&|world| claim(world, Claim::Transport), "plain");
    assert_eq!(transport.hops[2], "1>2 opaque claim-unreadable");
    let proof = two(&|world| claim(world, Claim::Proof), "none");
    assert_eq!(proof.hops[2], "1>2 opaque claim-unreadable");
    let own = two(
        &|world| server_type_owner(world.resolvers[1].identity.name()),
        "resolver",
    );
    assert_eq!(own.hops[1], "0>1 opaque zone-unreadable");
    // What nobody understands says nothing at all.
    let later = two(&|world| claim(world, Claim::Transport), "dns-over-pigeon");
    assert_eq!(later.hops[2], "1>2 proven met");
}

/// It fell back to cleartext. Who stands before it passes on what it said before, which is signed, and of no newer
/// version than the rest.
#[test]
fn what_is_passed_on_about_upstreams_is_asked_of_who_says_it_once_it_is_met() {
    let mut world = line();
    world.late.insert("192.0.2.11:853".parse().unwrap(), 6);
    world.publish_all();
    world.resolvers[1].replayed = world.resolvers[1].zones.take();
    let claim = &mut world.resolvers[1].upstreams[0].published;
    (claim.transport, claim.proof) = (Transport::Plain, Proof::None);
    world.clock.0 += 1;
    let trip = world.survey();
    assert_eq!(trip.hops[1], "0>1 proven met", "{:#?}", trip.steps);
    assert_eq!(trip.hops[2], "1>2 cleartext says-plain");
    assert!(trip.chain.complete);
}

#[test]
fn letters_in_upper_case_change_nothing() {
    let mut world = line();
    world.shouted = true;
    let trip = world.survey();
    assert_eq!(
        trip.hops,
        ["->0 proven met", "0>1 proven met", "1>2 proven met"]
    );
    assert_eq!(trip.chain.nodes.len(), 4);
}

/// Whoever passes answers on may say any time-to-live; what is signed is the longest.
#[test]
fn a_chain_holds_neither_for_no_time_nor_for_ever() {
    let held = |ttl| {
        let mut world = line();
        world.ttl = Some(ttl);
        world.survey().chain.ttl
    };
    assert_eq!(held(0), MIN_TTL);
    assert_eq!(held(40), 40);
    assert_eq!([held(1 << 31), held(u32::MAX)], [60, 60]);
}

/// It names itself, and other keys as its own. When it is read again it is signed by those.
#[test]
fn nobody_vouches_for_himself() {
    let mut world = line();
    world.late.insert("192.0.2.11:853".parse().unwrap(), 5);
    let ksk = world.resolvers[2].identity.name_keys().ksk.dnskey().clone();
    world.hop(1, 1).ksks = vec![ksk];
    let trip = world.survey_while(|world, round| match round {
        6 => {
            world.clock.0 += 1;
            world.publish(1);
        }
        7 => {
            let zone = sign_as(world, 1, 2, |_| {});
            world.resolvers[1].zones.as_mut().unwrap().name_zone = zone;
        }
        _ => {}
    });
    assert!(
        trip.steps
            .iter()
            .any(|step| matches!(step, Step::Changed { .. })),
        "{:#?}",
        trip.steps
    );
    assert_eq!(trip.hops, ["->0 proven met", "0>1 opaque other-key"]);
    assert!(trip.node(&world, 1).is_unread());
}

/// Keys and records of any length fit into messages; what is kept does not grow with them.
#[test]
fn sets_longer_than_anybody_needs_are_not_kept() {
    use hickory_proto::rr::rdata::TLSA;
    use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
    let long = |octets: usize| {
        let mut world = line();
        world.survey_while(|world, round| {
            if round == 0 {
                let owner =
                    zzdot_zonegen::owners::tlsa_owner(world.resolvers[1].identity.name(), 853);
                let data = vec![7; octets - 3 - 35];
                let tlsa = TLSA::new(CertUsage::DaneEe, Selector::Full, Matching::Raw, data);
                let record = Record::from_rdata(owner, TTL_SECS, RData::TLSA(tlsa));
                let zone = sign_as(world, 1, 1, |records| records.push(record));
                world.resolvers[1].zones.as_mut().unwrap().name_zone = zone;
            }
        })
    };
    let trip = long(MAX_SET_OCTETS);
    assert_eq!(trip.hops[1], "0>1 proven met", "{:?}", trip.steps);
    let trip = long(MAX_SET_OCTETS + 1);
    assert_eq!(trip.hops[1], "0>1 opaque zone-unreadable");
}
