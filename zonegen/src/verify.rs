//! Checks a signed zone as a suspicious reader would: every signature, the chain of denial, the
//! times. Stricter than a resolver: here nothing may be superfluous or out of place either.

use std::fmt;

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_proto::dnssec::{PublicKey, Verifier};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use serde::Serialize;
use thiserror::Error;

use crate::clock::UnixTime;
use crate::keys::{ALGORITHM, key_tag};
use crate::publish::{DNSKEY_LIFETIME, LIFETIME};
use crate::signed_zone::{RrSet, SignedZone, rrsig_of};

/// What a zone that verifies promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many RRsets were checked.
    pub rrsets: usize,
    /// When the first signature expires.
    pub expires: UnixTime,
}

/// Why a zone is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BogusReason {
    /// The zone has no DNSKEY.
    #[error("the zone has no DNSKEY")]
    NoDnskey,
    /// A DNSKEY is not of the algorithm, flags or form that these zones use.
    #[error("a DNSKEY is not one that this protocol uses")]
    UnusableDnskey,
    /// No DNSKEY of the zone is a trust anchor that signs the DNSKEYs.
    #[error("the DNSKEYs are not signed by a trust anchor")]
    NotAnchored,
    /// A key with the REVOKE bit does not sign the DNSKEYs.
    #[error("a key is shown as revoked and did not say so itself")]
    NotRevoked,
    /// The RRset has no signature.
    #[error("the RRset is not signed")]
    Unsigned,
    /// There is a signature and nothing that it covers.
    #[error("the signature covers no RRset")]
    Orphan,
    /// The signature's algorithm is not the key's.
    #[error("the signature is of another algorithm")]
    Algorithm,
    /// The signature names another signer than the zone.
    #[error("the signer is not the zone")]
    Signer,
    /// The signature's number of labels is not the owner's: a wildcard's, or a forgery.
    #[error("the number of labels is not the owner's")]
    Labels,
    /// The signature is for another time-to-live.
    #[error("the time-to-live is not the signed one")]
    Ttl,
    /// No key of the zone has the signature's tag.
    #[error("no key of the zone has the signature's key tag")]
    UnknownKey,
    /// The key may not sign this RRset: the KSK signs the DNSKEYs and nothing else.
    #[error("the key is not for this RRset")]
    WrongKey,
    /// The signature is not valid yet.
    #[error("the signature is not yet valid")]
    NotYetValid,
    /// The signature has expired.
    #[error("the signature has expired")]
    Expired,
    /// The signature is valid for longer than the protocol allows.
    #[error("the signature is valid for too long")]
    TooLong,
    /// The signature is not one of these records by this key.
    #[error("the signature is wrong")]
    Signature,
    /// The owner has no NSEC, or several.
    #[error("the owner does not have one NSEC")]
    NsecMissing,
    /// The NSEC does not name the next owner of the zone.
    #[error("the NSEC does not name the next owner")]
    NsecNext,
    /// The NSEC does not name exactly the types that the owner has.
    #[error("the NSEC does not name the owner's types")]
    NsecTypes,
}

/// The record that does not validate, with the key and the times that matter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Bogus {
    /// Why.
    pub reason: BogusReason,
    /// The owner of the RRset.
    pub owner: Name,
    /// The type of the RRset.
    pub rtype: RecordType,
    /// The signature's key tag, where there is a signature.
    pub key_tag: Option<u16>,
    /// The signature's inception and expiration, where there is a signature.
    pub validity: Option<(UnixTime, UnixTime)>,
    /// The clock against which it was judged.
    pub now: UnixTime,
}

impl fmt::Display for Bogus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.owner, self.rtype, self.reason)?;
        if let Some(tag) = self.key_tag {
            write!(f, ", key {tag}")?;
        }
        if let Some((inception, expiration)) = self.validity {
            write!(f, ", valid from {inception} to {expiration}")?;
        }
        write!(f, ", now {}", self.now)
    }
}

/// Verifies `zone` against `anchors`, the KSKs that are trusted, at the time `now`.
pub fn verify(
    zone: &SignedZone,
    anchors: &[DNSKEY],
    now: UnixTime,
) -> Result<Verified, Box<Bogus>> {
    let dnskeys = dnskeys(zone, now)?;
    let mut verified = Verified {
        rrsets: 0,
        expires: UnixTime(u64::MAX),
    };
    for (owner, rtype, rrset) in zone.rrsets() {
        let subject = Subject {
            zone: zone.origin(),
            owner,
            rtype,
            rrset,
            now,
        };
        let expires = subject.verify(&dnskeys, anchors)?;
        verified.rrsets += 1;
        verified.expires = verified.expires.min(expires);
    }
    check_nsec_chain(zone, now)?;
    Ok(verified)
}

/// The zone's keys; each must be one of ours before any of them is tried.
fn dnskeys(zone: &SignedZone, now: UnixTime) -> Result<Vec<DNSKEY>, Box<Bogus>> {
    let bogus = |reason| {
        Box::new(Bogus {
            reason,
            owner: zone.origin().clone(),
            rtype: RecordType::DNSKEY,
            key_tag: None,
            validity: None,
            now,
        })
    };
    let rrset = zone
        .rrset(zone.origin(), RecordType::DNSKEY)
        .filter(|rrset| !rrset.records.is_empty())
        .ok_or_else(|| bogus(BogusReason::NoDnskey))?;
    rrset
        .records
        .iter()
        .map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) if is_usable(key) => Ok(key.clone()),
            _ => Err(bogus(BogusReason::UnusableDnskey)),
        })
        .collect()
}

fn is_usable(key: &DNSKEY) -> bool {
    const P256_OCTETS: usize = 64;
    // Only a former anchor is shown with the REVOKE bit.
    key.zone_key()
        && (!key.revoke() || key.secure_entry_point())
        && key.public_key().algorithm() == ALGORITHM
        && key.public_key().public_bytes().len() == P256_OCTETS
}

struct Subject<'a> {
    zone: &'a Name,
    owner: &'a Name,
    rtype: RecordType,
    rrset: &'a RrSet,
    now: UnixTime,
}

impl Subject<'_> {
    /// Every signature must be right, and there must be one; returns when the first expires.
    fn verify(&self, dnskeys: &[DNSKEY], anchors: &[DNSKEY]) -> Result<UnixTime, Box<Bogus>> {
        let signatures: Vec<&RRSIG> = self.rrset.signatures.iter().filter_map(rrsig_of).collect();
        if self.rrset.records.is_empty() {
            return Err(self.bogus(BogusReason::Orphan, signatures.first().copied()));
        }
        let mut first: Option<UnixTime> = None;
        let mut anchored = false;
        let mut revoked = Vec::new();
        for (record, rrsig) in self.rrset.signatures.iter().zip(&signatures) {
            if record.ttl != rrsig.input().original_ttl {
                return Err(self.bogus(BogusReason::Ttl, Some(rrsig)));
            }
            let (key, expires) = self.verify_signature(rrsig, dnskeys)?;
            anchored |= anchors.contains(key) && !key.revoke();
            revoked.extend(key.revoke().then_some(key));
            first = Some(first.map_or(expires, |first| first.min(expires)));
        }
        let expires = first.ok_or_else(|| self.bogus(BogusReason::Unsigned, None))?;
        if self.rtype == RecordType::DNSKEY && !anchored {
            return Err(self.bogus(BogusReason::NotAnchored, signatures.first().copied()));
        }
        // A revocation that the key itself did not sign is none (RFC 5011 §2.1).
        let unsigned = |key: &&DNSKEY| key.revoke() && !revoked.contains(key);
        if self.rtype == RecordType::DNSKEY && dnskeys.iter().any(|key| unsigned(&key)) {
            return Err(self.bogus(BogusReason::NotRevoked, None));
        }
        Ok(expires)
    }

    /// RFC 4035 §5.3.1, and the rules of protocol.md §1 and §2.
    fn verify_signature<'k>(
        &self,
        rrsig: &RRSIG,
        dnskeys: &'k [DNSKEY],
    ) -> Result<(&'k DNSKEY, UnixTime), Box<Bogus>> {
        let input = rrsig.input();
        let refuse = |reason| Err(self.bogus(reason, Some(rrsig)));
        if input.algorithm != ALGORITHM {
            return refuse(BogusReason::Algorithm);
        }
        if input.signer_name != *self.zone {
            return refuse(BogusReason::Signer);
        }
        if input.num_labels != self.owner.num_labels() {
            return refuse(BogusReason::Labels);
        }
        if self
            .rrset
            .records
            .iter()
            .any(|record| record.ttl != input.original_ttl)
        {
            return refuse(BogusReason::Ttl);
        }
        let (inception, expiration) = self.validity(rrsig);
        if self.now < inception {
            return refuse(BogusReason::NotYetValid);
        }
        if self.now > expiration {
            return refuse(BogusReason::Expired);
        }
        let (for_dnskeys, longest) = match self.rtype {
            RecordType::DNSKEY => (true, DNSKEY_LIFETIME),
            _ => (false, LIFETIME),
        };
        if inception.plus(longest) < expiration {
            return refuse(BogusReason::TooLong);
        }
        let tagged: Vec<&DNSKEY> = dnskeys
            .iter()
            .filter(|key| key_tag(key) == input.key_tag)
            .collect();
        if tagged.is_empty() {
            return refuse(BogusReason::UnknownKey);
        }
        // Two keys may share a tag.
        let signer = tagged.iter().find(|key| {
            let records = self.rrset.records.iter();
            key.verify_rrsig(self.owner, DNSClass::IN, rrsig, records)
                .is_ok()
        });
        match signer {
            None => refuse(BogusReason::Signature),
            Some(key) if key.secure_entry_point() != for_dnskeys => refuse(BogusReason::WrongKey),
            Some(key) => Ok((*key, expiration)),
        }
    }

    fn validity(&self, rrsig: &RRSIG) -> (UnixTime, UnixTime) {
        let input = rrsig.input();
        (
            self.now.near(input.sig_inception.get()),
            self.now.near(input.sig_expiration.get()),
        )
    }

    fn bogus(&self, reason: BogusReason, rrsig: Option<&RRSIG>) -> Box<Bogus> {
        Box::new(Bogus {
            reason,
            owner: self.owner.clone(),
            rtype: self.rtype,
            key_tag: rrsig.map(|rrsig| rrsig.input().key_tag),
            validity: rrsig.map(|rrsig| self.validity(rrsig)),
            now: self.now,
        })
    }
}

/// Each owner has one NSEC, which names the next owner, the last one's the first (RFC 4034 §4.1).
fn check_nsec_chain(zone: &SignedZone, now: UnixTime) -> Result<(), Box<Bogus>> {
    let owners: Vec<&Name> = zone.nodes().keys().collect();
    for (index, (owner, node)) in zone.nodes().iter().enumerate() {
        let bogus = |reason| {
            Err(Box::new(Bogus {
                reason,
                owner: owner.clone(),
                rtype: RecordType::NSEC,
                key_tag: None,
                validity: None,
                now,
            }))
        };
        let Some(nsec) = node.get(&RecordType::NSEC).and_then(only_nsec) else {
            return bogus(BogusReason::NsecMissing);
        };
        if nsec.next_domain_name() != owners[(index + 1) % owners.len()] {
            return bogus(BogusReason::NsecNext);
        }
        let mut expected: Vec<RecordType> =
            node.keys().copied().chain([RecordType::RRSIG]).collect();
        expected.sort();
        let mut found: Vec<RecordType> = nsec.type_bit_maps().collect();
        found.sort();
        if found != expected {
            return bogus(BogusReason::NsecTypes);
        }
    }
    Ok(())
}

fn only_nsec(rrset: &RrSet) -> Option<&NSEC> {
    match rrset.records.as_slice() {
        [record] => match &record.data {
            RData::DNSSEC(DNSSECRData::NSEC(nsec)) => Some(nsec),
            _ => None,
        },
        _ => None,
    }
}
