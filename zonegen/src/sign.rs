//! Signs a zone: the NSEC chain, and an RRSIG over each RRset.

use std::iter;
use std::time::Duration;

use hickory_proto::dnssec::TBS;
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use ring::digest::{Context, SHA256};
use thiserror::Error;

use crate::clock::UnixTime;
use crate::identity::ZoneKeys;
use crate::keys::{ALGORITHM, KeyError, ZoneKey};
use crate::signed_zone::{RrSet, SignedZone, ZoneError};

/// How long signatures are good for. All of it is passed in: the same input gives the same times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// When every signature starts.
    pub inception: UnixTime,
    /// How long the ZSK's signatures last at the most.
    pub lifetime: Duration,
    /// How long the KSK's signature over the DNSKEY RRset lasts at the most.
    pub dnskey_lifetime: Duration,
    /// Each RRset's lifetime is cut by up to this much, so that a publisher that stopped fades
    /// record by record instead of vanishing from every cache at once.
    pub jitter: Duration,
    /// What the cuts are derived from.
    pub jitter_seed: u64,
}

/// Why a zone cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// The records are not a zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The zone has signatures or an NSEC chain already.
    #[error("{owner} {rtype}: the zone to be signed has signatures already")]
    AlreadySigned {
        /// The owner of the record that should not be there.
        owner: Box<Name>,
        /// Its type.
        rtype: RecordType,
    },
    /// The key did not sign.
    #[error("{owner} {rtype}: {source}")]
    Key {
        /// The RRset's owner.
        owner: Box<Name>,
        /// Its type.
        rtype: RecordType,
        /// The reason.
        source: KeyError,
    },
    /// The RRset cannot be put into its canonical form.
    #[error("{owner} {rtype}: {what}")]
    Encoding {
        /// The RRset's owner.
        owner: Box<Name>,
        /// Its type.
        rtype: RecordType,
        /// The reason.
        what: String,
    },
}

/// The keys of a zone.
#[derive(Clone, Copy, Debug)]
pub struct Signers<'a> {
    /// The keys in use.
    pub keys: &'a ZoneKeys,
    /// Keys that sign the DNSKEY RRset along with the KSK: the next KSK, and those that are revoked.
    pub along: &'a [ZoneKey],
    /// Keys that are shown and sign nothing.
    pub shown: &'a [DNSKEY],
}

/// Signs `records`, which hold no DNSKEY yet: those of `keys` and `standby` are added with `dnskey_ttl`.
pub fn sign(
    records: impl IntoIterator<Item = Record>,
    keys: &ZoneKeys,
    standby: &[DNSKEY],
    dnskey_ttl: u32,
    validity: &Validity,
) -> Result<SignedZone, SignError> {
    let signers = Signers {
        keys,
        along: &[],
        shown: standby,
    };
    sign_with(records, &signers, dnskey_ttl, validity)
}

/// Signs `records`, which hold no DNSKEY yet: all those of `signers` are added with `dnskey_ttl`.
pub fn sign_with(
    records: impl IntoIterator<Item = Record>,
    signers: &Signers<'_>,
    dnskey_ttl: u32,
    validity: &Validity,
) -> Result<SignedZone, SignError> {
    let mut zone = SignedZone::from_records(records)?;
    for (owner, rtype, rrset) in zone.rrsets() {
        if rtype == RecordType::NSEC || !rrset.signatures.is_empty() {
            return Err(SignError::AlreadySigned {
                owner: Box::new(owner.clone()),
                rtype,
            });
        }
    }
    let Signers { keys, along, shown } = signers;
    let dnskeys = [keys.ksk.dnskey(), keys.zsk.dnskey()].into_iter();
    let along_dnskeys = along.iter().map(ZoneKey::dnskey);
    for dnskey in dnskeys.chain(*shown).chain(along_dnskeys) {
        let data = RData::DNSSEC(DNSSECRData::DNSKEY(dnskey.clone()));
        zone.insert(Record::from_rdata(zone.origin().clone(), dnskey_ttl, data))?;
    }
    for record in nsec_chain(&zone) {
        zone.insert(record)?;
    }
    let origin = zone.origin().clone();
    for (owner, rtype, rrset) in zone.rrsets_mut() {
        let (own, lifetime) = match rtype {
            RecordType::DNSKEY => (&keys.ksk, validity.dnskey_lifetime),
            _ => (&keys.zsk, validity.lifetime),
        };
        let along = match rtype {
            RecordType::DNSKEY => *along,
            _ => &[],
        };
        let cut = jitter(validity, &origin, owner, rtype);
        let inception = validity.inception;
        let expiration = inception.plus(lifetime.saturating_sub(cut));
        for key in iter::once(own).chain(along) {
            let signature = sign_rrset(&origin, owner, rtype, rrset, key, inception, expiration)?;
            rrset.signatures.push(signature);
        }
    }
    Ok(zone)
}

/// One NSEC for each owner name (RFC 4034 §4); all names here have authoritative data.
fn nsec_chain(zone: &SignedZone) -> Vec<Record> {
    let owners: Vec<&Name> = zone.nodes().keys().collect();
    // RFC 9077 §3: an NSEC lives as long as the negative answers that it proves.
    let soa_ttl = zone
        .rrset(zone.origin(), RecordType::SOA)
        .and_then(|rrset| rrset.records.first())
        .map_or(0, |soa| soa.ttl);
    let ttl = zone.soa().minimum.min(soa_ttl);
    zone.nodes()
        .iter()
        .enumerate()
        .map(|(index, (owner, node))| {
            let next = owners[(index + 1) % owners.len()];
            let types = node
                .keys()
                .copied()
                .chain([RecordType::NSEC, RecordType::RRSIG]);
            let nsec = NSEC::new(next.clone(), types);
            Record::from_rdata(owner.clone(), ttl, RData::DNSSEC(DNSSECRData::NSEC(nsec)))
        })
        .collect()
}

fn sign_rrset(
    origin: &Name,
    owner: &Name,
    rtype: RecordType,
    rrset: &RrSet,
    key: &ZoneKey,
    inception: UnixTime,
    expiration: UnixTime,
) -> Result<Record, SignError> {
    let ttl = rrset.records.first().map_or(0, |record| record.ttl);
    let input = SigInput {
        type_covered: rtype,
        algorithm: ALGORITHM,
        num_labels: owner.num_labels(),
        original_ttl: ttl,
        sig_expiration: SerialNumber::new(expiration.wire()),
        sig_inception: SerialNumber::new(inception.wire()),
        key_tag: key.tag(),
        signer_name: origin.clone(),
    };
    // `TBS` sorts by time-to-live before data; the records of one RRset share theirs.
    let message =
        TBS::from_input(owner, DNSClass::IN, &input, rrset.records.iter()).map_err(|error| {
            SignError::Encoding {
                owner: Box::new(owner.clone()),
                rtype,
                what: error.to_string(),
            }
        })?;
    let signature = key
        .sign(message.as_ref())
        .map_err(|source| SignError::Key {
            owner: Box::new(owner.clone()),
            rtype,
            source,
        })?;
    let data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature)));
    Ok(Record::from_rdata(owner.clone(), ttl, data))
}

/// How much this RRset's lifetime is cut: from nothing to `validity.jitter`.
fn jitter(validity: &Validity, origin: &Name, owner: &Name, rtype: RecordType) -> Duration {
    let mut hash = Context::new(&SHA256);
    hash.update(&validity.jitter_seed.to_be_bytes());
    hash.update(origin.to_ascii().as_bytes());
    hash.update(owner.to_ascii().as_bytes());
    hash.update(&u16::from(rtype).to_be_bytes());
    let sum = hash.finish();
    let mut octets = [0; 8];
    octets.copy_from_slice(&sum.as_ref()[..8]);
    let span = validity.jitter.as_secs().saturating_add(1);
    Duration::from_secs(u64::from_be_bytes(octets) % span)
}
