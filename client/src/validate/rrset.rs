//! One RRset against the keys of its zone (RFC 4035 §5.3).

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::clock::UnixTime;

use super::bogus::{Bogus, BogusReason, shown};
use super::denial::{Denied, prove_expansion, validate_denial};
use super::key::{TrustedKeys, ZoneKey, is_supported};
use super::reply::{Reply, Rrset, Signature};
use super::{MAX_KEYS_PER_SIGNATURE, MAX_SIGNATURES};

const CLASS_IN: u16 = 1;
const DNAME: u16 = 39;

/// An RRset is what its zone signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// For how many seconds it may be used (RFC 4035 §5.3.3).
    pub ttl: u32,
    /// The time-to-live in the zone: the record has been in caches for the difference.
    pub original_ttl: u32,
    /// Begin of the signature's window.
    pub inception: UnixTime,
    /// End of the signature's window.
    pub expires: UnixTime,
    /// The key that signed it.
    pub key_tag: u16,
    /// The zone that signed it.
    pub zone: Name,
    /// Labels of the wildcard's parent, where a wildcard was expanded. The proof that the name
    /// itself does not exist is then still to come.
    pub expanded_from: Option<u8>,
}

/// The answer to a question, as its zone signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered<'r> {
    /// There are such records.
    Records(&'r Rrset, Secure),
    /// There are none.
    Denied(Denied),
}

/// The records that `reply` holds for `name` and `rtype`, or the proof that there are none.
///
/// # Errors
/// What is missing or does not validate.
pub fn validate_answer<'r>(
    reply: &'r Reply,
    name: &Name,
    rtype: RecordType,
    keys: &TrustedKeys,
    clock: UnixTime,
) -> Result<Answered<'r>, Box<Bogus>> {
    if let Some(rrset) = reply.answer(name, rtype) {
        let mut secure = validate_rrset(rrset, keys, clock)?;
        if let Some(labels) = secure.expanded_from {
            let proof = prove_expansion(reply, rrset, labels, keys, clock)?;
            secure.ttl = secure.ttl.min(proof.ttl);
            secure.expires = secure.expires.min(proof.expires);
        }
        return Ok(Answered::Records(rrset, secure));
    }
    let aliased =
        |rrset: &Rrset| matches!(u16::from(rrset.rtype), 5 | DNAME) && rrset.owner.zone_of(name);
    if reply.answers().any(aliased) {
        return Err(Box::new(Bogus::new(BogusReason::Alias, name, rtype)));
    }
    validate_denial(reply, name, rtype, keys, clock).map(Answered::Denied)
}

/// Whether one of the RRset's signatures was made by one of `keys` and holds now.
///
/// # Errors
/// The reason of the signature that got furthest.
pub fn validate_rrset(
    rrset: &Rrset,
    keys: &TrustedKeys,
    clock: UnixTime,
) -> Result<Secure, Box<Bogus>> {
    let bogus = |reason| Box::new(Bogus::new(reason, &rrset.owner, rrset.rtype));
    if !keys.zone.zone_of(&rrset.owner) {
        return Err(bogus(BogusReason::OutsideZone));
    }
    if rrset.signatures.len() > MAX_SIGNATURES {
        return Err(bogus(BogusReason::TooManySignatures));
    }
    let mut furthest = bogus(if rrset.broken_signatures > 0 {
        BogusReason::MalformedRecord
    } else {
        BogusReason::SignatureMissing
    });
    for signature in &rrset.signatures {
        match judge(rrset, signature, keys, clock) {
            Ok(secure) => return Ok(secure),
            Err(reason) if reason >= furthest.reason => {
                furthest.reason = reason;
                furthest.signer = Some(shown(&signature.signer));
                furthest.key_tag = Some(signature.key_tag);
                furthest.inception = Some(clock.near(signature.inception));
                furthest.expiration = Some(clock.near(signature.expiration));
            }
            Err(_) => {}
        }
    }
    Err(furthest)
}

/// Whether `key` made `signature` over the keys of its own zone, and it holds now. The REVOKE bit
/// does not matter here.
pub(super) fn is_self_signed(
    rrset: &Rrset,
    signature: &Signature,
    zone: &Name,
    key: &ZoneKey,
    clock: UnixTime,
) -> bool {
    let usable = matches!(key.flaw(), None | Some(BogusReason::KeyRevoked));
    usable
        && signature.signer == *zone
        && signature.labels == zone.num_labels()
        && check_window(signature, clock).is_ok()
        && key.verifies(&signed_data(rrset, signature), &signature.value)
}

fn judge(
    rrset: &Rrset,
    signature: &Signature,
    keys: &TrustedKeys,
    clock: UnixTime,
) -> Result<Secure, BogusReason> {
    // RFC 4035 §5.3.1: owner, class and type covered were matched when the RRset was put together.
    if signature.signer != keys.zone {
        return Err(BogusReason::WrongSigner);
    }
    // `num_labels` does not count a leading asterisk, as the labels field does not.
    let owner_labels = rrset.owner.num_labels();
    if signature.labels > owner_labels || signature.labels < keys.zone.num_labels() {
        return Err(BogusReason::WrongLabels);
    }
    if !is_supported(signature.algorithm) {
        return Err(BogusReason::UnsupportedAlgorithm);
    }
    let candidates = || keys.keys.iter().filter(|key| key.may_have_made(signature));
    let flaw = candidates()
        .map(ZoneKey::flaw)
        .min()
        .ok_or(BogusReason::UnknownKey)?;
    if let Some(flaw) = flaw {
        return Err(flaw);
    }
    check_window(signature, clock)?;
    let sound = || candidates().filter(|key| key.flaw().is_none());
    if sound().count() > MAX_KEYS_PER_SIGNATURE {
        return Err(BogusReason::TooManyTries);
    }
    let message = signed_data(rrset, signature);
    let denial = rrset.in_authority;
    if !sound().any(|key| keys.verify(key, denial, &message, &signature.value)) {
        return Err(BogusReason::SignatureWrong);
    }
    let expires = clock.near(signature.expiration);
    let left = u32::try_from(expires.0.saturating_sub(clock.0)).unwrap_or(u32::MAX);
    Ok(Secure {
        // RFC 4035 §5.3.3
        ttl: rrset.ttl.min(signature.original_ttl).min(left),
        original_ttl: signature.original_ttl,
        inception: clock.near(signature.inception),
        expires,
        key_tag: signature.key_tag,
        zone: keys.zone.clone(),
        expanded_from: (signature.labels < owner_labels).then_some(signature.labels),
    })
}

/// The clock within the window (RFC 4034 §3.1.5): 32 bits turn over in 2106.
fn check_window(signature: &Signature, clock: UnixTime) -> Result<(), BogusReason> {
    if clock < clock.near(signature.inception) {
        Err(BogusReason::SignatureNotYetValid)
    } else if clock.near(signature.expiration) < clock {
        Err(BogusReason::SignatureExpired)
    } else {
        Ok(())
    }
}

/// What the signature was made over (RFC 4035 §5.3.2).
fn signed_data(rrset: &Rrset, signature: &Signature) -> Vec<u8> {
    let owner = signed_owner(&rrset.owner, signature.labels);
    let mut message = signature.head.clone();
    for data in &rrset.data {
        message.extend_from_slice(&owner);
        message.extend_from_slice(&u16::from(rrset.rtype).to_be_bytes());
        message.extend_from_slice(&CLASS_IN.to_be_bytes());
        message.extend_from_slice(&signature.original_ttl.to_be_bytes());
        // Data comes out of a message, where its length has 16 bits; a name that was decompressed
        // adds less than what a message can hold in all.
        message.extend_from_slice(&(data.len() as u16).to_be_bytes());
        message.extend_from_slice(data);
    }
    message
}

/// The owner in wire form, with an asterisk in place of the labels that a wildcard stood in for.
fn signed_owner(owner: &Name, labels: u8) -> Vec<u8> {
    let mut wire = Vec::with_capacity(64);
    let expanded = owner.num_labels().saturating_sub(labels);
    if expanded > 0 {
        wire.extend_from_slice(b"\x01*");
    }
    // A leading asterisk is not among the labels counted.
    let asterisk = usize::from(expanded > 0 && owner.is_wildcard());
    for label in owner.iter().skip(usize::from(expanded) + asterisk) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}
