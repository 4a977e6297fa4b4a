//! A resolver that lives for years, and thieves of its keys.

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::rr::rdata::TLSA;
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::{RData, Record, RecordType};
use ring::rand::SystemRandom;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::{Identity, ZoneKeys};
use zzdot_zonegen::keys::{KSK_FLAGS, ZSK_FLAGS, ZoneKey, key_of_dnskey};
use zzdot_zonegen::owners::succession_owner;
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::{DNSKEY_LIFETIME, LIFETIME, Published, publish};
use zzdot_zonegen::rollover::{Intervals, Rotation, Step, What};
use zzdot_zonegen::sign::{Signers, Validity, sign_with};
use zzdot_zonegen::signed_zone::SignedZone;
use zzdot_zonegen::succession::Statement;
use zzdot_zonegen::zone::TTL_SECS;

use super::lab::*;
use crate::trust::KnownIdentity;

pub(super) const DAY: u64 = 86_400;

/// The time on a day of the story.
pub(super) fn day(number: u64) -> UnixTime {
    UnixTime(CLOCK.0 + number * DAY)
}

/// A resolver, and the keys that it ever had as its anchor.
pub(super) struct Home {
    pub(super) identity: Identity,
    pub(super) today: u64,
    stamp: Option<Stamp>,
}

impl Home {
    pub(super) fn new() -> Self {
        Self {
            identity: identity().served(CLOCK),
            today: 0,
            stamp: None,
        }
    }

    /// Runs until `last`, looking at its plans every day.
    pub(super) fn live_until(&mut self, last: u64) {
        while self.today < last {
            self.live_a_day(false);
        }
    }

    /// The steps of the next day. Where it is interrupted, it stops between a step and the serving of
    /// it, or before the step is saved.
    pub(super) fn live_a_day(&mut self, interrupted: bool) -> Vec<Step> {
        self.today += 1;
        let (now, rng) = (day(self.today), SystemRandom::new());
        let intervals = Intervals::default();
        let mut steps = Vec::new();
        self.identity = self.identity.aired(now);
        while let Some((next, step)) = self.identity.stepped(now, &intervals, &rng).unwrap() {
            if interrupted && self.today.is_multiple_of(2) {
                return steps;
            }
            self.identity = next;
            steps.push(step);
            if interrupted {
                return steps;
            }
        }
        self.identity = self.identity.served(now);
        steps
    }

    /// Off until `last`: it does nothing, and is late afterwards.
    pub(super) fn sleep_until(&mut self, last: u64) {
        self.today = self.today.max(last);
    }

    pub(super) fn rotate(&mut self, what: What, compromised: bool) -> bool {
        let rotation = Rotation {
            what,
            compromised,
            standby_key: None,
        };
        let rotated = self
            .identity
            .rotated(&rotation, day(self.today), &SystemRandom::new());
        let begun = rotated.is_ok();
        if let Ok(next) = rotated {
            self.identity = next;
        }
        begun
    }

    pub(super) fn zones(&mut self) -> Published {
        let stamp = stamp(self.stamp.as_ref(), day(self.today));
        let zones = publish(&self.identity, &publication(), &stamp).unwrap();
        self.stamp = Some(stamp);
        zones
    }

    /// The active anchor.
    pub(super) fn active(&self) -> DNSKEY {
        self.identity.anchor_keys().ksk.dnskey().clone()
    }

    /// Somebody who knows it, or does not, walks to it.
    pub(super) fn met_by(&mut self, known: Option<&KnownIdentity>) -> Trip {
        let zones = self.zones();
        self.met_with(known, &zones)
    }

    /// As [`Home::met_by`], while these zones are shown.
    pub(super) fn met_with(&self, known: Option<&KnownIdentity>, zones: &Published) -> Trip {
        let mut walker = Walker::to(&self.identity, zones);
        walker.known = known.cloned();
        walker.clock = day(self.today);
        walker.walk()
    }
}

/// Somebody with a TLS key and zone keys of his own, and whatever else he got hold of.
pub(super) struct Thief {
    pub(super) own: Identity,
    name_keys: ZoneKeys,
}

impl Thief {
    pub(super) fn new() -> Self {
        Self {
            own: identity(),
            name_keys: keys_with(new_ksk()),
        }
    }

    /// The zones of a resolver, with the thief's TLS key, signed by `ksk`; `along` are keys that sign
    /// the DNSKEY RRset, too.
    pub(super) fn forge(
        &self,
        genuine: &Published,
        ksk: ZoneKey,
        along: &[ZoneKey],
        now: UnixTime,
    ) -> Published {
        self.forge_saying(genuine, ksk, along, &[], now)
    }

    /// As [`Thief::forge`], with statements of succession besides those that the resolver has.
    pub(super) fn forge_saying(
        &self,
        genuine: &Published,
        ksk: ZoneKey,
        along: &[ZoneKey],
        said: &[Statement],
        now: UnixTime,
    ) -> Published {
        let validity = Validity {
            inception: UnixTime(now.0 - 60),
            lifetime: LIFETIME,
            dnskey_lifetime: DNSKEY_LIFETIME,
            jitter: std::time::Duration::ZERO,
            jitter_seed: 0,
        };
        let sign = |records: Vec<Record>, keys: &ZoneKeys, along| {
            let signers = Signers {
                keys,
                along,
                shown: &[],
            };
            sign_with(records, &signers, TTL_SECS, &validity).unwrap()
        };
        let name_ksk = key_of_dnskey(self.name_keys.ksk.dnskey());
        let anchor_records = unsigned(&genuine.anchor_zone).map(|mut record| {
            if record.record_type() == RecordType::KEY {
                record.data = RData::DNSSEC(DNSSECRData::KEY(name_ksk.clone()));
            }
            record
        });
        let said = said.iter().map(|said| {
            let said = RData::TXT(said.to_txt());
            Record::from_rdata(succession_owner(), TTL_SECS, said)
        });
        let anchor_records: Vec<Record> = anchor_records.chain(said).collect();
        let spki = self.own.spki_sha256().to_vec();
        let (usage, selector) = (CertUsage::DaneEe, Selector::Spki);
        let tlsa = TLSA::new(usage, selector, Matching::Sha256, spki);
        let name_records = unsigned(&genuine.name_zone).map(|mut record| {
            if record.record_type() == RecordType::TLSA {
                record.data = RData::TLSA(tlsa.clone());
            }
            record
        });
        Published {
            anchor_zone: sign(anchor_records, &keys_with(ksk), along),
            name_zone: sign(name_records.collect(), &self.name_keys, &[]),
        }
    }

    /// Somebody who knows the resolver meets the thief in its place.
    pub(super) fn met_by(&self, known: &KnownIdentity, zones: &Published, clock: UnixTime) -> Trip {
        let mut walker = Walker::to(&self.own, zones);
        walker.known = Some(known.clone());
        walker.clock = clock;
        walker.walk()
    }
}

pub(super) fn new_ksk() -> ZoneKey {
    ZoneKey::generate(KSK_FLAGS, &SystemRandom::new()).unwrap()
}

fn keys_with(ksk: ZoneKey) -> ZoneKeys {
    let zsk = ZoneKey::generate(ZSK_FLAGS, &SystemRandom::new()).unwrap();
    ZoneKeys { ksk, zsk }
}

fn unsigned(zone: &SignedZone) -> impl Iterator<Item = Record> {
    let kept = |rtype| !matches!(rtype, RecordType::DNSKEY | RecordType::NSEC);
    let rrsets = zone.rrsets().filter(move |(_, rtype, _)| kept(*rtype));
    rrsets.flat_map(|(_, _, rrset)| rrset.records.clone())
}
