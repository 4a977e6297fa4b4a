//! Zones of which more than one name was asked: who serves them, until when, and what proves them.
//!
//! Sans-IO. What is known of a zone was taken from the recursor, which followed the delegation and
//! validated the keys; it ends with the delegation, so that a zone that was taken away from its
//! servers is asked for again above (the "ghost domain" of 2012), and with the keys.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hickory_resolver::proto::dnssec::PublicKey;
use zzdot_client::validate::TrustedKeys;

use super::shape::suffixes;

/// Delegations that are remembered; a few hundred octets each, and as many again for keys.
const MAX_ZONES: usize = 2_048;

/// The longest that a delegation is believed, whatever its TTL.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Keys larger than this in all are not kept. Four RSA keys of 4,096 bits are some 2,100.
const MAX_KEY_BYTES: usize = 4_096;

/// The bounds of the wait for an answer before the recursor is asked instead.
const WAIT_AT_LEAST: Duration = Duration::from_millis(150);
const WAIT_AT_MOST: Duration = Duration::from_millis(600);

/// How the records of a zone are proved.
#[derive(Debug)]
pub(super) enum Trust {
    /// By these keys, which are proved themselves.
    Keys(TrustedKeys),
    /// Not at all; that is proved.
    Insecure,
}

/// A zone that can be asked directly.
#[derive(Debug)]
pub(super) struct KnownZone {
    /// In wire form, in lower case.
    pub(super) name: Vec<u8>,
    pub(super) server: SocketAddr,
    pub(super) trust: Trust,
    latency: Mutex<Option<Duration>>,
}

impl KnownZone {
    /// How long an answer may take.
    pub(super) fn patience(&self) -> Duration {
        lock(&self.latency).map_or(WAIT_AT_MOST, |latency| {
            (latency * 4).clamp(WAIT_AT_LEAST, WAIT_AT_MOST)
        })
    }

    /// Remembers how long one took.
    pub(super) fn on_answer(&self, took: Duration) {
        let mut latency = lock(&self.latency);
        *latency = Some(latency.map_or(took, |before| (before * 7 + took) / 8));
    }
}

#[derive(Debug)]
struct Delegation {
    until: Instant,
    /// Names answered by its servers.
    answered: u32,
    known: Option<(Arc<KnownZone>, Instant)>,
}

/// The zones.
#[derive(Debug, Default)]
pub(super) struct KnownZones {
    delegations: Mutex<HashMap<Vec<u8>, Delegation>>,
}

impl KnownZones {
    /// The zone that `name` (in wire form, in lower case) is in, as far as is known.
    pub(super) fn find(&self, name: &[u8], now: Instant) -> Option<Arc<KnownZone>> {
        let delegations = lock(&self.delegations);
        let closest = suffixes(name).find_map(|zone| delegations.get(zone))?;
        if closest.until <= now {
            return None;
        }
        let (zone, until) = closest.known.as_ref()?;
        (*until > now).then(|| zone.clone())
    }

    /// A server of the zone above referred to others for `zone`.
    pub(super) fn on_referral(&self, zone: Vec<u8>, ttl: u32, now: Instant) {
        let until = now + Duration::from_secs(ttl.into()).min(LONGEST);
        let mut delegations = lock(&self.delegations);
        if let Some(delegation) = delegations.get_mut(&zone) {
            delegation.until = until;
            return;
        }
        if delegations.len() >= MAX_ZONES {
            make_room(&mut delegations, now);
        }
        let delegation = Delegation {
            until,
            answered: 0,
            known: None,
        };
        delegations.insert(zone, delegation);
    }

    /// A name was answered by the servers of the zone that it is in. Gives the zone when it is time
    /// to get to know it: at the second name, and then ever more seldom.
    pub(super) fn on_answer(&self, name: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut delegations = lock(&self.delegations);
        let zone = suffixes(name).find(|zone| delegations.contains_key(*zone))?;
        let delegation = delegations.get_mut(zone)?;
        if delegation.until <= now {
            return None;
        }
        delegation.answered = delegation.answered.saturating_add(1);
        let due = delegation.answered > 1 && delegation.answered.is_power_of_two();
        due.then(|| zone.to_vec())
    }

    /// From now on the zone can be asked directly, for so many seconds.
    pub(super) fn learn(
        &self,
        name: Vec<u8>,
        server: SocketAddr,
        trust: Trust,
        ttl: u32,
        now: Instant,
    ) {
        if let Trust::Keys(keys) = &trust {
            let octets: usize = keys
                .keys()
                .iter()
                .map(|key| key.to_dnskey().public_key().public_bytes().len())
                .sum();
            if octets > MAX_KEY_BYTES {
                return;
            }
        }
        if let Some(delegation) = lock(&self.delegations).get_mut(&name) {
            let zone = KnownZone {
                name,
                server,
                trust,
                latency: Mutex::default(),
            };
            let until = now + Duration::from_secs(ttl.into()).min(LONGEST);
            delegation.known = Some((Arc::new(zone), until));
        }
    }

    /// What was known does not hold any more.
    pub(super) fn forget(&self, zone: &KnownZone) {
        if let Some(delegation) = lock(&self.delegations).get_mut(&zone.name) {
            delegation.known = None;
            delegation.answered = 0;
        }
    }
}

/// Takes out what has ended; when that is not enough, whatever was asked least.
fn make_room(delegations: &mut HashMap<Vec<u8>, Delegation>, now: Instant) {
    delegations.retain(|_, delegation| delegation.until > now);
    let mut least = 1;
    while delegations.len() >= MAX_ZONES {
        let mut surplus = delegations.len() - MAX_ZONES * 3 / 4;
        delegations.retain(|_, delegation| {
            let goes = surplus > 0 && delegation.answered < least;
            surplus -= usize::from(goes);
            !goes
        });
        least *= 4;
    }
    for delegation in delegations.values_mut() {
        delegation.answered /= 2;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ZONE: &[u8] = b"\x04zone\x04test\x00";
    const NAME: &[u8] = b"\x03www\x04zone\x04test\x00";

    fn server() -> SocketAddr {
        "192.0.2.1:53".parse().unwrap()
    }

    #[test]
    fn a_zone_is_learnt_at_its_second_name_and_forgotten_with_its_delegation() {
        let zones = KnownZones::default();
        let now = Instant::now();
        assert_eq!(zones.on_answer(NAME, now), None, "no delegation was seen");
        zones.on_referral(ZONE.to_vec(), 60, now);
        assert_eq!(zones.on_answer(NAME, now), None);
        assert_eq!(zones.on_answer(NAME, now).as_deref(), Some(ZONE));
        assert!(zones.find(NAME, now).is_none());
        zones.learn(ZONE.to_vec(), server(), Trust::Insecure, 3_600, now);
        assert_eq!(zones.find(NAME, now).unwrap().name, ZONE);
        assert!(zones.find(b"\x04test\x00", now).is_none(), "a name above");
        let end = now + Duration::from_secs(60);
        assert!(zones.find(NAME, end).is_none(), "the delegation has ended");
        zones.on_referral(ZONE.to_vec(), 60, end);
        assert!(zones.find(NAME, end).is_some(), "it was renewed above");
    }

    #[test]
    fn a_zone_below_that_is_not_known_hides_the_one_above() {
        let zones = KnownZones::default();
        let now = Instant::now();
        zones.on_referral(ZONE.to_vec(), 60, now);
        zones.learn(ZONE.to_vec(), server(), Trust::Insecure, 60, now);
        zones.on_referral(NAME.to_vec(), 60, now);
        assert!(zones.find(NAME, now).is_none());
        assert!(
            zones
                .find(b"\x01a\x03www\x04zone\x04test\x00", now)
                .is_none()
        );
        assert!(zones.find(b"\x04mail\x04zone\x04test\x00", now).is_some());
    }

    #[test]
    fn what_failed_is_forgotten_and_has_to_be_learnt_again() {
        let zones = KnownZones::default();
        let now = Instant::now();
        zones.on_referral(ZONE.to_vec(), 60, now);
        zones.learn(ZONE.to_vec(), server(), Trust::Insecure, 60, now);
        let zone = zones.find(NAME, now).unwrap();
        zones.forget(&zone);
        assert!(zones.find(NAME, now).is_none());
        assert_eq!(zones.on_answer(NAME, now), None);
        assert!(zones.on_answer(NAME, now).is_some());
    }

    #[test]
    fn delegations_are_bounded_and_the_least_asked_make_room() {
        let zones = KnownZones::default();
        let now = Instant::now();
        zones.on_referral(ZONE.to_vec(), 60, now);
        for number in 0..3 * MAX_ZONES as u32 {
            if number % 128 == 0 {
                zones.on_answer(NAME, now);
            }
            let mut name = vec![4];
            name.extend(number.to_be_bytes());
            name.push(0);
            zones.on_referral(name, 60, now);
        }
        let delegations = lock(&zones.delegations);
        assert!(delegations.len() <= MAX_ZONES);
        assert!(delegations.contains_key(ZONE));
    }

    #[test]
    fn patience_follows_latency_within_bounds() {
        let zone = KnownZone {
            name: ZONE.to_vec(),
            server: server(),
            trust: Trust::Insecure,
            latency: Mutex::default(),
        };
        assert_eq!(zone.patience(), WAIT_AT_MOST);
        zone.on_answer(Duration::from_millis(1));
        assert_eq!(zone.patience(), WAIT_AT_LEAST);
        for _ in 0..50 {
            zone.on_answer(Duration::from_secs(2));
        }
        assert_eq!(zone.patience(), WAIT_AT_MOST);
    }
}
