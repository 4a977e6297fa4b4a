//! Proofs that a name or type does not exist, by NSEC (RFC 4035 §5.4, RFC 6840 §4).

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::clock::UnixTime;

use super::MAX_DENIAL_RECORDS;
use super::bogus::{Bogus, BogusReason};
use super::key::TrustedKeys;
use super::reply::{Reply, Rrset};
use super::rrset::validate_rrset;
use crate::wire::NameView;

const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const DNAME: u16 = 39;
const DS: u16 = 43;

/// What does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedWhat {
    /// The name, and nothing below it.
    Name,
    /// The type; the name may exist.
    Type,
}

/// It is proven that there are no such records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What does not exist.
    pub what: DeniedWhat,
    /// For how many seconds that may be relied on.
    pub ttl: u32,
    /// When the first signature of the proof runs out.
    pub expires: UnixTime,
}

/// An NSEC record whose signature holds.
struct Span {
    owner: Name,
    next: Name,
    types: Vec<u8>,
    ttl: u32,
    expires: UnixTime,
}

/// Whether the authority section of `reply` proves that there are no records of `rtype` at `name`.
/// The response code, which nobody signs, has no say.
///
/// # Errors
/// What is missing from the proof, or the reason for which an NSEC record was not believed.
pub fn validate_denial(
    reply: &Reply,
    name: &Name,
    rtype: RecordType,
    keys: &TrustedKeys,
    clock: UnixTime,
) -> Result<Denied, Box<Bogus>> {
    let bogus = |reason| Box::new(Bogus::new(reason, name, rtype));
    if !keys.zone.zone_of(name) {
        return Err(bogus(BogusReason::OutsideZone));
    }
    let (spans, rejected) = spans_of(reply, keys, clock);
    let missing = spans.is_empty();
    prove_denial(&spans, name, rtype).map_err(|reason| match rejected {
        // A record that should have been part of the proof tells more than its absence.
        Some(rejected) => rejected,
        None if missing => bogus(BogusReason::DenialMissing),
        None => bogus(reason),
    })
}

/// Whether this NSEC RRset says, whoever may have signed it, that there is no such name: it falls between owner and next
/// name. The last of a zone leads back to the zone's origin.
pub(crate) fn covered_by(rrset: &Rrset, name: &Name) -> bool {
    let [data] = rrset.data.as_slice() else {
        return false;
    };
    read_nsec(data).is_some_and(|(next, _)| {
        rrset.owner < *name && (*name < next || next <= rrset.owner) && !name.zone_of(&next)
    })
}

/// The proof that goes with an RRset expanded from a wildcard whose parent has `labels` labels:
/// there is no closer match (RFC 4035 §5.3.4).
pub(super) fn prove_expansion(
    reply: &Reply,
    rrset: &Rrset,
    labels: u8,
    keys: &TrustedKeys,
    clock: UnixTime,
) -> Result<Denied, Box<Bogus>> {
    let (spans, rejected) = spans_of(reply, keys, clock);
    spans
        .iter()
        .find(|span| {
            span.covers(&rrset.owner)
                && !rrset.owner.zone_of(&span.next)
                && span.closest_encloser(&rrset.owner).num_labels() == labels
        })
        .map(|span| denied(DeniedWhat::Name, &[span]))
        .ok_or_else(|| {
            rejected.unwrap_or_else(|| {
                Box::new(Bogus::new(
                    BogusReason::WildcardNotProven,
                    &rrset.owner,
                    rrset.rtype,
                ))
            })
        })
}

/// The NSEC records that hold, and the reason for which the first other one does not.
fn spans_of(reply: &Reply, keys: &TrustedKeys, clock: UnixTime) -> (Vec<Span>, Option<Box<Bogus>>) {
    let mut spans = Vec::new();
    let mut rejected = None;
    let is_nsec = |rrset: &&Rrset| rrset.in_authority && rrset.rtype == RecordType::NSEC;
    for rrset in reply.rrsets.iter().filter(is_nsec).take(MAX_DENIAL_RECORDS) {
        match Span::read(rrset, keys, clock) {
            Ok(span) => spans.push(span),
            Err(bogus) => {
                rejected.get_or_insert(bogus);
            }
        }
    }
    (spans, rejected)
}

fn prove_denial(spans: &[Span], name: &Name, rtype: RecordType) -> Result<Denied, BogusReason> {
    if let Some(span) = spans.iter().find(|span| span.owner == *name) {
        return if span.lacks(rtype) {
            Ok(denied(DeniedWhat::Type, &[span]))
        } else {
            Err(BogusReason::TypeNotDenied)
        };
    }
    let cover = spans
        .iter()
        .find(|span| span.covers(name))
        .ok_or(BogusReason::NameNotDenied)?;
    if name.zone_of(&cover.next) {
        // The next name is below: this one exists, without records of its own.
        return Ok(denied(DeniedWhat::Type, &[cover]));
    }
    let wildcard = cover
        .closest_encloser(name)
        .prepend_label("*")
        .map_err(|_| BogusReason::WildcardNotDenied)?;
    if let Some(span) = spans.iter().find(|span| span.owner == wildcard) {
        // RFC 4035 §3.1.3.4: the wildcard applies and lacks the type.
        return if span.lacks(rtype) {
            Ok(denied(DeniedWhat::Type, &[cover, span]))
        } else {
            Err(BogusReason::WildcardNotDenied)
        };
    }
    let span = spans
        .iter()
        .find(|span| span.covers(&wildcard))
        .ok_or(BogusReason::WildcardNotDenied)?;
    let what = if wildcard.zone_of(&span.next) {
        // The wildcard exists without records of its own (RFC 4592 §2.2.2).
        DeniedWhat::Type
    } else {
        DeniedWhat::Name
    };
    Ok(denied(what, &[cover, span]))
}

fn denied(what: DeniedWhat, spans: &[&Span]) -> Denied {
    let ttls = spans.iter().map(|span| span.ttl);
    let ends = spans.iter().map(|span| span.expires);
    Denied {
        what,
        ttl: ttls.min().unwrap_or(0),
        expires: ends.min().unwrap_or_default(),
    }
}

impl Span {
    fn read(rrset: &Rrset, keys: &TrustedKeys, clock: UnixTime) -> Result<Self, Box<Bogus>> {
        let bogus = |reason| Box::new(Bogus::new(reason, &rrset.owner, rrset.rtype));
        let secure = validate_rrset(rrset, keys, clock)?;
        // A wildcard's NSEC may be shown as it is, but not as that of another name.
        if secure.expanded_from.is_some() {
            return Err(bogus(BogusReason::WrongLabels));
        }
        let [data] = rrset.data.as_slice() else {
            return Err(bogus(BogusReason::MalformedRecord));
        };
        let (next, types) = read_nsec(data).ok_or_else(|| bogus(BogusReason::MalformedRecord))?;
        if !keys.zone.zone_of(&next) {
            return Err(bogus(BogusReason::OutsideZone));
        }
        // Only the last NSEC of a zone leads back, and it leads to the apex.
        if next <= rrset.owner && next != keys.zone {
            return Err(bogus(BogusReason::MalformedRecord));
        }
        Ok(Self {
            owner: rrset.owner.clone(),
            next,
            types,
            ttl: secure.ttl,
            expires: secure.expires,
        })
    }

    /// Whether `name` falls between owner and next name, and may be judged by this record.
    fn covers(&self, name: &Name) -> bool {
        let before_next = *name < self.next || self.next <= self.owner;
        // RFC 6840 §4.1: what is below a zone cut or a DNAME is not for this NSEC to deny.
        let foreign = (self.is_parent_side() || self.has(DNAME)) && self.owner.zone_of(name);
        self.owner < *name && before_next && !foreign
    }

    /// Whether the owner, which is the name asked for, has no records of this type, and no alias.
    fn lacks(&self, rtype: RecordType) -> bool {
        let rtype = u16::from(rtype);
        // RFC 6840 §4.4: at a zone cut the parent speaks of DS alone, the child of all but DS.
        let competent = if rtype == DS {
            !self.has(SOA)
        } else {
            !self.is_parent_side()
        };
        competent && !self.has(rtype) && !self.has(CNAME)
    }

    /// The NSEC of a delegation, from the zone above.
    fn is_parent_side(&self) -> bool {
        self.has(NS) && !self.has(SOA)
    }

    fn has(&self, rtype: u16) -> bool {
        has_type(&self.types, rtype)
    }

    /// The longest ancestor of the covered `name` that exists: owner and next name exist, and with
    /// them all of their ancestors.
    fn closest_encloser(&self, name: &Name) -> Name {
        let by_owner = common_labels(name, &self.owner);
        let by_next = common_labels(name, &self.next);
        name.trim_to(by_owner.max(by_next))
    }
}

/// How many labels two names have in common from the right.
fn common_labels(a: &Name, b: &Name) -> usize {
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
        .count()
}

/// Next name and type bit maps (RFC 4034 §4.1), all of it checked to be well-formed.
fn read_nsec(data: &[u8]) -> Option<(Name, Vec<u8>)> {
    // The name is never compressed: in the data alone a pointer has nowhere to lead.
    let (next, end) = NameView::read_alone(data)?;
    let types = data.get(end..)?;
    let mut rest = types;
    let mut last_window = None;
    while let [window, length @ 1..=32, after @ ..] = rest {
        if last_window.is_some_and(|last| last >= *window) {
            return None;
        }
        last_window = Some(*window);
        rest = after.get(usize::from(*length)..)?;
    }
    rest.is_empty().then(|| (next.to_name(), types.to_vec()))
}

/// Whether well-formed type bit maps hold this type.
fn has_type(types: &[u8], rtype: u16) -> bool {
    let [wanted, bit] = rtype.to_be_bytes();
    let mut rest = types;
    while let [window, length, after @ ..] = rest {
        let Some((bitmap, others)) = after.split_at_checked(usize::from(*length)) else {
            return false;
        };
        if *window == wanted {
            let byte = bitmap.get(usize::from(bit / 8)).copied().unwrap_or(0);
            return byte & (0x80 >> (bit % 8)) != 0;
        }
        rest = others;
    }
    false
}
