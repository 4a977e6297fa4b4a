//! Which keys signed their own set, the revoked ones among them (RFC 5011 §2.1).

use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::owners::anchor_zone;
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::publish;
use zzdot_zonegen::rollover::{Rotation, What};
use zzdot_zonegen::zone::{Publication, ServerType};

use super::*;

const NOW: UnixTime = UnixTime(1_800_000_000);

/// The DNSKEY RRset of a resolver that revoked its anchor, in a reply.
fn rolled() -> (Identity, Reply) {
    let random = SystemRandom::new();
    let identity = Identity::invent(&name("zz."), &random).unwrap();
    let rotation = Rotation {
        what: What::Anchor,
        compromised: true,
        standby_key: None,
    };
    let identity = identity.rotated(&rotation, NOW, &random).unwrap();
    let publication = Publication {
        server_type: ServerType::Resolver,
        addresses: vec!["192.0.2.1".parse().unwrap()],
        dot_port: 853,
        upstreams: Vec::new(),
    };
    let stamp = Stamp::next_above(UnixTime(0), None, NOW).unwrap();
    let zones = publish(&identity, &publication, &stamp).unwrap();
    let found = zones.anchor_zone.lookup(&anchor_zone(), RecordType::DNSKEY);
    let mut message = Message::response(1, hickory_proto::op::OpCode::Query);
    message.answers = found.unwrap().answers;
    (identity, read(&message))
}

fn rrset(reply: &Reply) -> &Rrset {
    reply.answer(&anchor_zone(), RecordType::DNSKEY).unwrap()
}

fn signers(rrset: &Rrset, clock: UnixTime) -> Vec<ZoneKey> {
    let keys = key::read_keys(rrset).unwrap();
    signers_of(rrset, &anchor_zone(), &keys, clock)
}

#[test]
fn a_key_revokes_itself_by_its_own_signature_and_by_nothing_else() {
    let (identity, reply) = rolled();
    let active = ZoneKey::from(identity.anchor_keys().ksk.dnskey());
    let set = rrset(&reply);
    let both = signers(set, NOW);
    assert_eq!(both.len(), 2);
    assert!(both.contains(&active));
    let revoked = both.iter().find(|key| key.is_revoked_anchor()).unwrap();
    // That it signed makes it no key that anything may rest on.
    assert!(!revoked.is_anchor_material());
    let bogus = validate_keys(set, &anchor_zone(), std::slice::from_ref(revoked), NOW);
    assert_eq!(bogus.unwrap_err().reason, BogusReason::KeyRevoked);

    let mut alone = set.clone();
    alone.signatures.retain(|made| made.key_tag == active.tag());
    assert_eq!(signers(&alone, NOW), [active]);
    // Under the tag of the revoked key, and made by the other one.
    let mut relabelled = alone.clone();
    relabelled.signatures[0].key_tag = revoked.tag();
    assert_eq!(signers(&relabelled, NOW), []);
}

#[test]
fn a_signature_counts_in_its_time_in_its_zone_and_within_bounds() {
    let (_, reply) = rolled();
    let set = rrset(&reply);
    assert_eq!(signers(set, UnixTime(NOW.0 - 7200)), []);
    assert_eq!(signers(set, UnixTime(NOW.0 + 15 * 86_400)), []);
    let keys = key::read_keys(set).unwrap();
    assert_eq!(signers_of(set, &name("elsewhere."), &keys, NOW), []);

    let mut flood = set.clone();
    let one = flood.signatures[0].clone();
    flood.signatures.resize(MAX_SIGNATURES + 1, one);
    assert_eq!(signers(&flood, NOW), []);
    // Keys that share a tag are not tried beyond the bound.
    let twins = vec![keys[0].clone(); MAX_KEYS_PER_SIGNATURE + 1];
    assert_eq!(signers_of(set, &anchor_zone(), &twins, NOW), []);
}
