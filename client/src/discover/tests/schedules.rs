//! Random lives of a resolver and of somebody who knows it, over virtual years: keys of all kinds are
//! rolled, planned or in haste; the resolver sleeps, is interrupted and late; the client is away for
//! days or for a year; thieves show old zones, keys that were revoked, and keys and statements of
//! their own. What must come of it is computed from what really happened, not from what was told.

use std::collections::HashSet;

use hickory_proto::dnssec::PublicKey;
use hickory_proto::dnssec::rdata::DNSKEY;
use zzdot_zonegen::keys::ZoneKey;
use zzdot_zonegen::publish::Published;
use zzdot_zonegen::rollover::{SUCCESSION, Step, What};
use zzdot_zonegen::succession::Statement;

use super::home::*;
use crate::discover::*;
use crate::trust::{ADD_HOLD_DOWN, KnownIdentity, TrustState};

const YEARS: u64 = 3;

/// Numbers out of a seed (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.roll(100) < chance
    }
}

type Public = Vec<u8>;

fn public(key: &DNSKEY) -> Public {
    key.public_key().public_bytes().to_vec()
}

/// One change of the anchor, as it really happened.
struct Change {
    on: u64,
    old: ZoneKey,
    new: [Public; 2],
    stolen: bool,
}

/// What is true, whatever anybody was told.
struct Truth {
    changes: Vec<Change>,
    /// Every anchor that the resolver ever had, and the day from which it was to be seen.
    genuine: Vec<(Public, u64)>,
}

impl Truth {
    /// Whether statements lead from one of `trusted` to `active`.
    fn leads(&self, trusted: &[Public], active: &Public, today: u64) -> bool {
        let mut family: HashSet<Public> = trusted.iter().cloned().collect();
        let lasts = SUCCESSION.as_secs() / DAY;
        for change in &self.changes {
            let holds = !change.stolen && today <= change.on + lasts;
            if holds && family.contains(&public(change.old.dnskey())) {
                family.extend(change.new.iter().cloned());
            }
        }
        family.contains(active)
    }
}

#[derive(Default, Debug)]
struct Tally {
    meetings: usize,
    changes: usize,
    attacks: usize,
    followed: usize,
    asked: usize,
}

struct Story {
    dice: Dice,
    home: Home,
    truth: Truth,
    known: KnownIdentity,
    /// Zones of earlier days.
    old_zones: Vec<Published>,
    thief: Thief,
    his: ZoneKey,
    tally: Tally,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut home = Home::new();
        let zones = home.zones();
        let known = KnownIdentity::first_met(home.met_with(None, &zones).discovered());
        let genuine = home.identity.trust_anchor();
        Self {
            dice: Dice(seed),
            truth: Truth {
                changes: Vec::new(),
                genuine: genuine.iter().map(|key| (public(key), 0)).collect(),
            },
            known,
            old_zones: vec![zones],
            thief: Thief::new(),
            his: new_ksk(),
            home,
            tally: Tally::default(),
        }
    }

    /// Lives through `YEARS`, or until the identity is gone for good.
    fn tell(mut self) -> Tally {
        while self.home.today < YEARS * 365 && self.known.state != TrustState::Revoked {
            let awake = self.pass_time();
            if self.dice.percent(60) {
                self.attack();
            }
            if awake {
                self.meet();
            }
        }
        self.tally
    }

    /// Some days go by. False when the resolver slept through them.
    fn pass_time(&mut self) -> bool {
        let days = match self.dice.roll(100) {
            0..50 => 1 + self.dice.roll(3),
            50..85 => 4 + self.dice.roll(17),
            85..97 => 21 + self.dice.roll(120),
            _ => 200 + self.dice.roll(165),
        };
        let until = self.home.today + days;
        if self.dice.percent(12) {
            self.home.sleep_until(until);
            return false;
        }
        for (what, chance) in [(What::Anchor, 15), (What::Zsk, 10), (What::Ksk, 10)] {
            if self.dice.percent(chance) {
                self.home.rotate(what, false);
            }
        }
        if self.dice.percent(2) {
            let before = self.home.identity.anchor_keys().ksk.clone();
            self.home.rotate(What::Anchor, true);
            self.note_change(before, true);
        }
        while self.home.today < until {
            let interrupted = self.dice.percent(5);
            let before = self.home.identity.anchor_keys().ksk.clone();
            let steps = self.home.live_a_day(interrupted);
            if steps.contains(&Step::RollAnchor) {
                self.note_change(before, false);
            }
        }
        true
    }

    fn note_change(&mut self, old: ZoneKey, stolen: bool) {
        let [active, standby] = [self.home.active(), self.home.identity.standby().clone()];
        self.tally.changes += 1;
        self.truth.genuine.push((public(&standby), self.home.today));
        self.truth.changes.push(Change {
            on: self.home.today,
            old,
            new: [public(&active), public(&standby)],
            stolen,
        });
    }

    /// The client meets the resolver itself.
    fn meet(&mut self) {
        let today = self.home.today;
        let zones = self.home.zones();
        let trip = self.home.met_with(Some(&self.known), &zones);
        self.old_zones.push(zones);
        self.tally.meetings += 1;
        let active = public(&self.home.active());
        let trusted: Vec<Public> = self.known.anchor.trusted().iter().map(public).collect();
        let is_known = trusted.contains(&active);
        if is_known || self.truth.leads(&trusted, &active, today) {
            let next = self.known.met_again(trip.discovered()).unwrap();
            assert_eq!(next.anchor.active(), Some(&self.home.active()));
            self.check_learned(&next, !is_known);
            self.tally.followed += usize::from(!is_known);
            self.known = next;
            return;
        }
        // Nobody can follow: that is told, and a person decides.
        let refusal = trip.refusal();
        self.tally.asked += 1;
        match self.known.after(refusal) {
            Some(revoked) => self.known = revoked,
            None => {
                assert_eq!(refusal.name(), "anchor-changed");
                let zones = self.home.zones();
                let trip = self.home.met_with(None, &zones);
                self.known = KnownIdentity::first_met(trip.discovered());
            }
        }
    }

    /// Nothing is trusted in silence, and what is gone stays gone.
    fn check_learned(&self, next: &KnownIdentity, by_word: bool) {
        let today = self.home.today;
        let before = self.known.anchor.trusted();
        for key in next.anchor.trusted() {
            let key_of_ours = public(&key);
            let mut genuine = self.truth.genuine.iter();
            let (_, since) = genuine
                .find(|(genuine, _)| *genuine == key_of_ours)
                .expect("only the resolver's own keys are trusted");
            let watched = (today - since) * DAY >= ADD_HOLD_DOWN.as_secs();
            assert!(before.contains(&key) || watched || by_word, "day {today}");
        }
        for held in self.known.anchor.keys() {
            if held.standing.is_gone() {
                assert!(next.anchor.standing(&held.key).unwrap().is_gone());
            }
        }
        assert_eq!(next.state, self.known.state);
    }

    /// Somebody else stands where the resolver is expected. Nobody believes him, and nothing changes.
    fn attack(&mut self) {
        self.tally.attacks += 1;
        let (today, now) = (self.home.today, day(self.home.today));
        let genuine = self.old_zones.last().unwrap().clone();
        let old = self.dice.roll(self.old_zones.len() as u64) as usize;
        let revoked: Vec<ZoneKey> = self
            .truth
            .changes
            .iter()
            .map(|change| change.old.clone())
            .filter(|key| {
                let standing = self.known.anchor.standing(key.dnskey());
                standing.is_none_or(|standing| standing.is_gone())
            })
            .collect();
        let (thief, his) = (&self.thief, self.his.clone());
        let zones = match (self.dice.roll(4), revoked.as_slice()) {
            // What was shown on an earlier day.
            (0, _) => self.old_zones[old].clone(),
            // Keys of his own.
            (1, _) => thief.forge(&genuine, his, &[], now),
            // Keys that were revoked, or that this client never knew.
            (2, [.., key]) => thief.forge(&genuine, key.clone(), &[his], now),
            // A stolen key names his as its successor.
            _ => {
                let stolen = &self.home.identity.anchor_keys().ksk;
                let (from, until) = (day(today - 1), day(today + 300));
                let new = [his.dnskey()];
                let said = Statement::sign(&self.known.name, stolen, &new, from, until).unwrap();
                thief.forge_saying(&genuine, his.clone(), &[], &[said], now)
            }
        };
        let trip = thief.met_by(&self.known, &zones, now);
        let Verdict::Refused { refusal } = &trip.verdict else {
            panic!("day {today}: {:?}", trip.verdict);
        };
        if self.known.after(refusal).is_some() {
            // A replay may be how one learns that the owner gave all keys up.
            let gone = |key: &DNSKEY| {
                let old = |change: &Change| public(change.old.dnskey()) == public(key);
                self.truth.changes.iter().any(old)
            };
            assert!(self.known.anchor.trusted().iter().all(gone), "day {today}");
        }
    }
}

/// Ten lives. The seed tells the story; only the keys are other ones each time.
fn lives(seeds: std::ops::Range<u64>) {
    let mut total = Tally::default();
    for seed in seeds {
        eprintln!("seed {seed}");
        let tally = Story::new(seed).tell();
        eprintln!("{tally:?}");
        total.meetings += tally.meetings;
        total.changes += tally.changes;
        total.attacks += tally.attacks;
        total.followed += tally.followed;
        total.asked += tally.asked;
    }
    // Enough happened to mean anything.
    assert!(total.meetings > 200 && total.attacks > 150, "{total:?}");
    assert!(total.changes > 20 && total.followed > 5, "{total:?}");
}

#[test]
fn twenty_random_lives_fail_closed_and_trust_nothing_new_in_silence() {
    std::thread::scope(|scope| {
        scope.spawn(|| lives(0..10));
        lives(10..20);
    });
}
