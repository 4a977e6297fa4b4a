//! First flight: is the server upgraded, and who does it say that it is?

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::owners::anchor_zone;

use super::refusal::Refusal;
use super::tlsa::Tlsa;
use super::verdict::LegacyReason;
use crate::trust::{KeySet, KnownIdentity};
use crate::validate::bogus::shown;
use crate::validate::key::read_keys;
use crate::validate::{
    Answered, Bogus, BogusReason, Reply, Rrset, Secure, TrustedKeys, ZoneKey, signers_of,
    validate_answer, validate_keys,
};
use crate::wire::NameView;

/// Response codes (RFC 1035 §4.1.1).
pub(super) mod rcode {
    pub(in super::super) const NO_ERROR: u16 = 0;
    pub(in super::super) const FORMAT_ERROR: u16 = 1;
    pub(in super::super) const SERVER_FAILURE: u16 = 2;
    pub(in super::super) const NAME_ERROR: u16 = 3;
    pub(in super::super) const NOT_IMPLEMENTED: u16 = 4;
    pub(in super::super) const REFUSED: u16 = 5;
}

/// What the first flight established.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) name: ResolverName,
    /// The keys of `resolver-name.arpa`.
    pub(super) keys: TrustedKeys,
    /// Those that are believed.
    pub(super) anchor: Vec<DNSKEY>,
    /// The key-signing keys shown, and which of them signed.
    pub(super) shown: KeySet,
    pub(super) dnskey: Secure,
    pub(super) ns: Secure,
    /// Time-to-live with which the NS records came, in seconds.
    pub(super) ns_ttl: u32,
    /// Where the keys are believed by the word of an earlier one.
    pub(super) succession: Option<Succession>,
}

/// What is demanded beyond the word of an earlier key. A thief of that key could give it, too, and
/// would be trusted at once, where RFC 5011 makes him wait for a month; so the TLS key must be one
/// that was proven before.
#[derive(Debug)]
pub(super) struct Succession {
    /// The TLSA records that are remembered.
    pub(super) tlsa: Vec<Tlsa>,
    /// What to end with where the peer is named by none of them.
    pub(super) otherwise: Refusal,
}

/// How an answer about `resolver-name.arpa` shows that the server knows nothing of it, if it does.
pub(super) fn legacy_reason(reply: &Reply, rtype: RecordType) -> Option<LegacyReason> {
    let rrset = reply.answer(&anchor_zone(), rtype);
    let signed = reply.has_signatures();
    Some(match (reply.rcode, rrset) {
        (rcode::NO_ERROR, Some(rrset)) => {
            if !rrset.signatures.is_empty() || rrset.broken_signatures > 0 {
                return None;
            }
            LegacyReason::NoSignatures
        }
        (rcode::NO_ERROR | rcode::NAME_ERROR, _) if signed => LegacyReason::SignedDenial,
        (rcode::NO_ERROR, None) => LegacyReason::NoData,
        (rcode::NAME_ERROR, _) => LegacyReason::NoSuchZone,
        (rcode::REFUSED, _) => LegacyReason::Refused,
        (rcode::NOT_IMPLEMENTED, _) => LegacyReason::NotImplemented,
        (rcode::FORMAT_ERROR, _) => LegacyReason::FormatError,
        (rcode::SERVER_FAILURE, _) => LegacyReason::ServerFailure,
        _ => LegacyReason::OtherCode,
    })
}

/// Judges both answers, neither of which is legacy. None where the keys are not signed by a key that
/// is trusted: it takes the word of such a key to go on (see [`super::succession`]).
pub(super) fn meet(
    dnskey: &Reply,
    ns: &Reply,
    known: Option<&KnownIdentity>,
    clock: UnixTime,
) -> Result<Option<Met>, Box<Refusal>> {
    let flight = Flight::read(dnskey, ns, known, clock)?;
    let anchors = match known {
        Some(known) => known.anchor.trusted(),
        // First use: the keys that would be anchors stand in for those that nobody remembers.
        None => flight.shown.keys.clone(),
    };
    match flight.anchored_in(anchors, clock) {
        Ok(anchored) => flight.meet(anchored, clock).map(Some),
        Err(bogus) if known.is_some() && bogus.reason == BogusReason::NotSignedByAnchor => Ok(None),
        Err(bogus) => Err(bogus.into()),
    }
}

/// The first flight, as far as it can be read without trust.
pub(super) struct Flight<'r> {
    pub(super) name: ResolverName,
    pub(super) shown: KeySet,
    rrset: &'r Rrset,
    ns: &'r Reply,
}

/// The keys of `resolver-name.arpa`, and what they rest on.
pub(super) struct Anchored {
    pub(super) keys: TrustedKeys,
    anchor: Vec<DNSKEY>,
    dnskey: Secure,
}

impl<'r> Flight<'r> {
    pub(super) fn read(
        dnskey: &'r Reply,
        ns: &'r Reply,
        known: Option<&KnownIdentity>,
        clock: UnixTime,
    ) -> Result<Self, Box<Refusal>> {
        let name = told_name(ns)?;
        if let Some(known) = known.filter(|known| known.name != name) {
            return Err(Box::new(Refusal::NameChanged {
                remembered: known.name.clone(),
                told: name,
            }));
        }
        let zone = anchor_zone();
        let rrset = dnskey.answer(&zone, RecordType::DNSKEY).ok_or_else(|| {
            let reason = BogusReason::DenialMissing;
            Box::new(Bogus::new(reason, &zone, RecordType::DNSKEY))
        })?;
        Ok(Self {
            name,
            shown: key_set(rrset, clock)?,
            rrset,
            ns,
        })
    }

    /// The keys shown, if one of `anchors` signed them. A key that the set revokes is none.
    pub(super) fn anchored_in(
        &self,
        mut anchors: Vec<DNSKEY>,
        clock: UnixTime,
    ) -> Result<Anchored, Box<Bogus>> {
        let usable = |key: &DNSKEY| ZoneKey::from(key).is_anchor_material();
        anchors.retain(|key| usable(key) && !self.shown.revokes(key));
        let trusted: Vec<ZoneKey> = anchors.iter().map(ZoneKey::from).collect();
        let (keys, dnskey) = validate_keys(self.rrset, &anchor_zone(), &trusted, clock)?;
        Ok(Anchored {
            keys,
            anchor: anchors,
            dnskey,
        })
    }

    pub(super) fn meet(self, anchored: Anchored, clock: UnixTime) -> Result<Met, Box<Refusal>> {
        let Anchored {
            keys,
            anchor,
            dnskey,
        } = anchored;
        let zone = anchor_zone();
        let (records, ns) = match validate_answer(self.ns, &zone, RecordType::NS, &keys, clock)? {
            Answered::Records(records, secure) => (records, secure),
            Answered::Denied(_) => {
                let told = Vec::new();
                return Err(Box::new(Refusal::NoResolverName { told }));
            }
        };
        Ok(Met {
            name: self.name,
            keys,
            anchor,
            shown: self.shown,
            dnskey,
            ns,
            ns_ttl: records.ttl,
            succession: None,
        })
    }
}

/// The key-signing keys of the RRset and who signed it.
fn key_set(rrset: &Rrset, clock: UnixTime) -> Result<KeySet, Box<Bogus>> {
    let mut keys = read_keys(rrset)?;
    keys.retain(|key| key.is_anchor_material() || key.is_revoked_anchor());
    let signers = signers_of(rrset, &anchor_zone(), &keys, clock);
    let signatures = rrset.signatures.iter();
    Ok(KeySet {
        keys: keys.iter().map(ZoneKey::to_dnskey).collect(),
        signers: signers.iter().map(ZoneKey::to_dnskey).collect(),
        succeeding: Vec::new(),
        original_ttl: signatures.map(|made| made.original_ttl).max().unwrap_or(0),
    })
}

/// The one resolver's name among the NS records, which are not validated here.
fn told_name(ns: &Reply) -> Result<ResolverName, Box<Refusal>> {
    let rrset = ns.answer(&anchor_zone(), RecordType::NS);
    let names: Vec<Name> = rrset
        .iter()
        .flat_map(|rrset| &rrset.data)
        .filter_map(|data| Some(NameView::read_alone(data)?.0.to_name()))
        .collect();
    match names.as_slice() {
        [one] => ResolverName::try_from(one).ok(),
        _ => None,
    }
    .ok_or_else(|| {
        let told = names.iter().take(4).map(shown).collect();
        Box::new(Refusal::NoResolverName { told })
    })
}
