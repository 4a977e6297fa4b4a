//! From an identity to its two signed zones, in one call.

use std::iter;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::dnssec::rdata::DNSKEY;
use thiserror::Error;

use crate::identity::Identity;
use crate::keys::ZoneKey;
use crate::publication::Stamp;
use crate::sign::{SignError, Signers, Validity, sign_with};
use crate::signed_zone::SignedZone;
use crate::upstream::{PublishedUpstream, UpstreamId, is_describable};
use crate::zone::{Publication, TTL_SECS, anchor_zone_of, is_usable, name_zone};

/// The longest that a signature lasts, from its inception on (protocol.md §2).
pub const LIFETIME: Duration = Duration::from_secs(7 * DAY_SECS);
/// The longest that the KSK's signature lasts: it is the one that may be made ahead of time.
pub const DNSKEY_LIFETIME: Duration = Duration::from_secs(14 * DAY_SECS);
/// How much of a lifetime is left to chance. Signatures are renewed daily, this is far from it.
pub const JITTER: Duration = Duration::from_secs(DAY_SECS / 2);

const DAY_SECS: u64 = 24 * 3600;

/// The most addresses that are published: they have to fit into answers over UDP. Clients connect to
/// the address that they know already, so that one that is left out is served all the same.
pub const MAX_ADDRESSES: usize = 16;

/// The most upstreams that are published.
pub const MAX_UPSTREAMS: usize = 16;

/// What a resolver publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The zone `NAME`.
    pub name_zone: SignedZone,
    /// The zone `resolver-name.arpa`.
    pub anchor_zone: SignedZone,
}

/// Why nothing can be published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// A server without an address cannot be found.
    #[error("there is no address to publish")]
    NoAddress,
    /// The address is nobody's or many's.
    #[error("{0} cannot be the address of a service")]
    Address(IpAddr),
    /// More addresses than answers have room for.
    #[error("{0} addresses to publish, {MAX_ADDRESSES} are allowed")]
    TooManyAddresses(usize),
    /// Port 0 is no port.
    #[error("the port of DNS over TLS is 0")]
    Port,
    /// More upstreams than clients look at.
    #[error("{0} upstreams to publish, {MAX_UPSTREAMS} are allowed")]
    TooManyUpstreams(usize),
    /// An upstream is to be published twice: one that is reached in several ways is one upstream.
    #[error("the upstream {0} is to be published twice")]
    SameUpstream(UpstreamId),
    /// The name of an upstream is one below which it cannot be described.
    #[error("the upstream {0} has a name with a label \"q\"; it can be published by its address")]
    UpstreamName(UpstreamId),
    /// The zone cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Makes and signs both zones. The same input gives the same records and times; only the octets of
/// signatures differ, as ECDSA draws a number for each.
pub fn publish(
    identity: &Identity,
    publication: &Publication,
    stamp: &Stamp,
) -> Result<Published, PublishError> {
    check(publication)?;
    let validity = Validity {
        inception: stamp.inception,
        lifetime: LIFETIME,
        dnskey_lifetime: DNSKEY_LIFETIME,
        jitter: JITTER,
        jitter_seed: stamp.jitter_seed,
    };
    let (name, beside) = (identity.name(), identity.beside());
    let spkis = [&[identity.spki_sha256()], beside.spkis.as_slice()].concat();
    let name_records = name_zone(name, publication, &spkis, stamp.serial);
    let active = &identity.name_keys().ksk;
    let ksks: Vec<&DNSKEY> = iter::once(active)
        .chain(&beside.name_ksks)
        .map(ZoneKey::dnskey)
        .collect();
    let anchor_records = anchor_zone_of(name, &ksks, &beside.statements, stamp.serial);
    let name_signers = Signers {
        keys: identity.name_keys(),
        along: &beside.name_ksks,
        shown: &beside.name_zsks,
    };
    let shown = [&[identity.standby().clone()], beside.anchor_zsks.as_slice()].concat();
    let anchor_signers = Signers {
        keys: identity.anchor_keys(),
        along: &beside.revoked,
        shown: &shown,
    };
    Ok(Published {
        name_zone: sign_with(name_records, &name_signers, TTL_SECS, &validity)?,
        anchor_zone: sign_with(anchor_records, &anchor_signers, TTL_SECS, &validity)?,
    })
}

fn check(publication: &Publication) -> Result<(), PublishError> {
    let addresses = &publication.addresses;
    if addresses.is_empty() {
        return Err(PublishError::NoAddress);
    }
    if addresses.len() > MAX_ADDRESSES {
        return Err(PublishError::TooManyAddresses(addresses.len()));
    }
    if let Some(address) = addresses.iter().find(|address| !is_usable(address)) {
        return Err(PublishError::Address(*address));
    }
    if publication.dot_port == 0 {
        return Err(PublishError::Port);
    }
    check_upstreams(&publication.upstreams)
}

fn check_upstreams(upstreams: &[PublishedUpstream]) -> Result<(), PublishError> {
    if upstreams.len() > MAX_UPSTREAMS {
        return Err(PublishError::TooManyUpstreams(upstreams.len()));
    }
    for (place, PublishedUpstream { id, .. }) in upstreams.iter().enumerate() {
        if upstreams.iter().take(place).any(|before| before.id == *id) {
            return Err(PublishError::SameUpstream(id.clone()));
        }
        if matches!(id, UpstreamId::Named(name) if !is_describable(name)) {
            return Err(PublishError::UpstreamName(id.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::rr::{Name, RecordType};
    use ring::rand::SystemRandom;

    use super::*;
    use crate::clock::UnixTime;
    use crate::signed_zone::rrsig_of;
    use crate::zone::ServerType;

    fn publication() -> Publication {
        Publication {
            server_type: ServerType::Forwarder,
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            dot_port: 853,
            upstreams: Vec::new(),
        }
    }

    fn identity() -> Identity {
        Identity::invent(&Name::from_ascii("zz.").unwrap(), &SystemRandom::new()).unwrap()
    }

    fn stamp() -> Stamp {
        Stamp::next_above(UnixTime(0), None, UnixTime(1_800_000_000)).unwrap()
    }

    #[test]
    fn the_ksk_signs_the_dnskeys_alone_and_the_zsk_everything_else() {
        let identity = identity();
        let published = publish(&identity, &publication(), &stamp()).unwrap();
        for (zone, keys) in [
            (&published.name_zone, identity.name_keys()),
            (&published.anchor_zone, identity.anchor_keys()),
        ] {
            for (owner, rtype, rrset) in zone.rrsets() {
                let tags: Vec<u16> = rrset
                    .signatures
                    .iter()
                    .map(|record| rrsig_of(record).unwrap().input().key_tag)
                    .collect();
                let expected = match rtype {
                    RecordType::DNSKEY => keys.ksk.tag(),
                    _ => keys.zsk.tag(),
                };
                assert_eq!(tags, [expected], "{owner} {rtype}");
            }
        }
        let dnskeys = |zone: &SignedZone| {
            let rrset = zone.rrset(zone.origin(), RecordType::DNSKEY).unwrap();
            rrset.records.len()
        };
        assert_eq!(dnskeys(&published.name_zone), 2);
        assert_eq!(dnskeys(&published.anchor_zone), 3);
    }

    #[test]
    fn lifetimes_are_those_promised_and_differ() {
        let published = publish(&identity(), &publication(), &stamp()).unwrap();
        let mut lifetimes = Vec::new();
        for (_, rtype, rrset) in published.name_zone.rrsets() {
            let input = rrsig_of(&rrset.signatures[0]).unwrap().input().clone();
            let inception = input.sig_inception.get();
            assert_eq!(
                UnixTime(u64::from(inception)),
                UnixTime(1_800_000_000 - 3600)
            );
            let lifetime = Duration::from_secs(u64::from(input.sig_expiration.get() - inception));
            let most = match rtype {
                RecordType::DNSKEY => DNSKEY_LIFETIME,
                _ => LIFETIME,
            };
            assert!(lifetime <= most && lifetime >= most - JITTER);
            lifetimes.push(lifetime);
        }
        lifetimes.sort();
        lifetimes.dedup();
        assert!(lifetimes.len() > 3, "{lifetimes:?}");
    }

    #[test]
    fn what_cannot_be_a_service_is_not_published() {
        let refuse = |change: fn(&mut Publication)| {
            let mut publication = publication();
            change(&mut publication);
            publish(&identity(), &publication, &stamp()).unwrap_err()
        };
        assert_eq!(refuse(|p| p.addresses.clear()), PublishError::NoAddress);
        assert_eq!(refuse(|p| p.dot_port = 0), PublishError::Port);
        assert!(matches!(
            refuse(|p| p.addresses.push("0.0.0.0".parse().unwrap())),
            PublishError::Address(_)
        ));
        assert!(matches!(
            refuse(|p| p.addresses.push("ff02::1".parse().unwrap())),
            PublishError::Address(_)
        ));
        assert_eq!(
            refuse(|p| p.addresses = vec!["192.0.2.1".parse().unwrap(); 17]),
            PublishError::TooManyAddresses(17)
        );
    }
}
