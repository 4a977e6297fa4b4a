//! The state table of RFC 5011 §4.2, row by row, with its timers.

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, PublicKeyBuf};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::key_tag;

use crate::trust::*;

const DAY: u64 = 86_400;

fn key(number: u8) -> DNSKEY {
    with_flags(number, 257)
}

fn revoked(number: u8) -> DNSKEY {
    with_flags(number, 257 | 128)
}

fn with_flags(number: u8, flags: u16) -> DNSKEY {
    let public = PublicKeyBuf::new(vec![number; 64], Algorithm::ECDSAP256SHA256);
    DNSKEY::with_flags(flags, public)
}

fn tag(number: u8) -> u16 {
    key_tag(&key(number))
}

fn shown(keys: &[DNSKEY], signers: &[DNSKEY]) -> KeySet {
    KeySet {
        keys: keys.to_vec(),
        signers: signers.to_vec(),
        succeeding: Vec::new(),
        original_ttl: 60,
    }
}

/// A resolver with the active key 1 and the stand-by 2, met on day 0.
struct Watched {
    set: AnchorSet,
    day: u64,
}

impl Watched {
    fn new() -> Self {
        Self {
            set: AnchorSet::first_seen(&shown(&[key(1), key(2)], &[key(1)]), UnixTime(0)),
            day: 0,
        }
    }

    fn on_day(&mut self, day: u64, shown: &KeySet) -> Result<Vec<AnchorEvent>, NotTrusted> {
        self.day = day;
        self.set.observe(shown, UnixTime(day * DAY))
    }

    /// As [`Watched::on_day`] for each day up to `last`; what happened on the last one.
    fn daily_until(&mut self, last: u64, shown: &KeySet) -> Vec<AnchorEvent> {
        let mut events = Vec::new();
        for day in self.day + 1..=last {
            assert_eq!(events, [], "before day {day}");
            events = self.on_day(day, shown).unwrap();
        }
        events
    }

    fn standing(&self, number: u8) -> Option<KeyState> {
        self.set.standing(&key(number))
    }
}

fn pending(watched: u64) -> Option<KeyState> {
    let needed = ADD_HOLD_DOWN.as_secs();
    Some(KeyState::AddPend {
        watched: watched * DAY,
        needed,
    })
}

#[test]
fn a_first_meeting_trusts_the_active_key_and_the_stand_by() {
    let set = Watched::new().set;
    assert_eq!(set.trusted(), [key(1), key(2)]);
    assert_eq!(set.active(), Some(&key(1)));
    // What is revoked is never trusted, in whatever form it is shown.
    let set = AnchorSet::first_seen(
        &shown(
            &[key(1), revoked(1), key(2), revoked(3)],
            &[key(1), revoked(1), key(2)],
        ),
        UnixTime(0),
    );
    assert_eq!(set.trusted(), [key(2)]);
    assert_eq!(set.active(), Some(&key(2)));
}

#[test]
fn a_new_key_is_trusted_after_thirty_days_of_being_seen_and_not_a_day_sooner() {
    let mut watched = Watched::new();
    let all = shown(&[key(1), key(2), key(3)], &[key(1)]);
    let began = watched.on_day(1, &all).unwrap();
    assert_eq!(began, [AnchorEvent::Pending(tag(3))]);
    assert_eq!(watched.daily_until(30, &all), []);
    assert_eq!(watched.standing(3), pending(29));
    assert_eq!(watched.set.trusted(), [key(1), key(2)]);
    assert_eq!(
        watched.on_day(31, &all).unwrap(),
        [AnchorEvent::Added(tag(3))]
    );
    assert_eq!(watched.standing(3), Some(KeyState::Valid));
}

#[test]
fn the_hold_down_is_as_long_as_the_set_lives_in_caches_where_that_is_longer() {
    let mut watched = Watched::new();
    let mut all = shown(&[key(1), key(3)], &[key(1)]);
    all.original_ttl = 40 * DAY as u32;
    watched.on_day(1, &all).unwrap();
    // Whatever a later set says.
    all.original_ttl = 60;
    assert_eq!(watched.daily_until(40, &all), []);
    let events = watched.on_day(41, &all).unwrap();
    assert_eq!(events, [AnchorEvent::Added(tag(3))]);
}

#[test]
fn a_key_that_goes_away_before_its_time_begins_anew() {
    let mut watched = Watched::new();
    let all = shown(&[key(1), key(2), key(3)], &[key(1)]);
    let without = shown(&[key(1), key(2)], &[key(1)]);
    watched.on_day(1, &all).unwrap();
    watched.daily_until(29, &all);
    assert_eq!(
        watched.on_day(30, &without).unwrap(),
        [AnchorEvent::PendingGone(tag(3))]
    );
    assert_eq!(watched.standing(3), None);
    watched.on_day(31, &all).unwrap();
    assert_eq!(watched.daily_until(60, &all), []);
    assert_eq!(watched.standing(3), pending(29));
}

#[test]
fn time_away_and_a_clock_that_jumps_count_for_fifteen_days_at_the_most() {
    let mut watched = Watched::new();
    let all = shown(&[key(1), key(2), key(3)], &[key(1)]);
    watched.on_day(1, &all).unwrap();
    assert_eq!(watched.on_day(301, &all).unwrap(), []);
    assert_eq!(watched.standing(3), pending(15));
    // Set back, nothing counts; and from there on it counts again.
    assert_eq!(watched.on_day(2, &all).unwrap(), []);
    assert_eq!(watched.standing(3), pending(15));
    assert_eq!(watched.on_day(16, &all).unwrap(), []);
    assert_eq!(watched.standing(3), pending(29));
    let events = watched.on_day(17, &all).unwrap();
    assert_eq!(events, [AnchorEvent::Added(tag(3))]);
}

#[test]
fn a_trusted_key_that_is_not_shown_stays_trusted_and_comes_back() {
    let mut watched = Watched::new();
    let alone = shown(&[key(1)], &[key(1)]);
    let events = watched.on_day(1, &alone).unwrap();
    assert_eq!(events, [AnchorEvent::WentMissing(tag(2))]);
    assert_eq!(watched.standing(2), Some(KeyState::Missing));
    assert_eq!(watched.daily_until(500, &alone), []);
    // It may sign alone even so.
    let both = shown(&[key(1), key(2)], &[key(2)]);
    let events = watched.on_day(501, &both).unwrap();
    let expected = [
        AnchorEvent::CameBack(tag(2)),
        AnchorEvent::Activated(tag(2)),
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_key_revokes_itself_at_once_and_for_good() {
    let mut watched = Watched::new();
    let rolled = shown(&[revoked(1), key(2)], &[revoked(1), key(2)]);
    let events = watched.on_day(1, &rolled).unwrap();
    let expected = [AnchorEvent::Revoked(tag(1)), AnchorEvent::Activated(tag(2))];
    assert_eq!(events, expected);
    assert_eq!(watched.set.trusted(), [key(2)]);
    assert_eq!(watched.daily_until(30, &rolled), []);
    let events = watched.on_day(31, &rolled).unwrap();
    assert_eq!(events, [AnchorEvent::Removed(tag(1))]);

    // It comes back as if nothing had been: alone it is not believed, and in company not trusted.
    let back = shown(&[key(1)], &[key(1)]);
    assert_eq!(watched.on_day(32, &back), Err(NotTrusted::NotSigned));
    let company = shown(&[key(1), key(2)], &[key(1), key(2)]);
    for day in 33..80 {
        let events = watched.on_day(day, &company).unwrap();
        assert_eq!(events, [AnchorEvent::RevokedShown(tag(1))]);
    }
    assert_eq!(watched.standing(1), Some(KeyState::Removed));
    // Not even by word of a key that is trusted.
    let mut named = shown(&[key(1)], &[key(1)]);
    named.succeeding = vec![key(1)];
    assert_eq!(watched.on_day(81, &named), Err(NotTrusted::NotSigned));
}

#[test]
fn the_revoke_bit_alone_revokes_nothing() {
    let mut watched = Watched::new();
    let unsigned = shown(&[revoked(1), key(2)], &[key(2)]);
    let events = watched.on_day(1, &unsigned).unwrap();
    let expected = [
        AnchorEvent::WentMissing(tag(1)),
        AnchorEvent::Activated(tag(2)),
    ];
    assert_eq!(events, expected);
    assert!(watched.set.trusted().contains(&key(1)));
}

#[test]
fn a_key_that_is_pending_or_missing_is_revoked_like_any_other() {
    let mut watched = Watched::new();
    watched
        .on_day(1, &shown(&[key(1), key(3)], &[key(1)]))
        .unwrap();
    let rolled = shown(
        &[key(1), revoked(2), revoked(3)],
        &[key(1), revoked(2), revoked(3)],
    );
    let events = watched.on_day(2, &rolled).unwrap();
    let expected = [AnchorEvent::Revoked(tag(2)), AnchorEvent::Revoked(tag(3))];
    assert_eq!(events, expected);
    assert_eq!(watched.set.trusted(), [key(1)]);
    let company = shown(&[key(1), key(3)], &[key(1)]);
    let events = watched.on_day(3, &company).unwrap();
    assert_eq!(events, [AnchorEvent::RevokedShown(tag(3))]);
}

#[test]
fn a_revoked_key_cannot_vouch_even_when_it_is_shown_in_both_forms() {
    let watched = Watched::new();
    let both = shown(&[key(1), revoked(1), key(9)], &[key(1), revoked(1), key(9)]);
    assert_eq!(watched.set.judge(&both), Err(NotTrusted::NotSigned));
}

#[test]
fn an_anchor_that_revoked_all_its_keys_is_gone() {
    let mut watched = Watched::new();
    let last = shown(&[revoked(1), revoked(2)], &[revoked(1), revoked(2)]);
    assert_eq!(watched.on_day(1, &last), Err(NotTrusted::AllRevoked));
    // A stranger that signs beside them changes nothing.
    let stranger = shown(
        &[revoked(1), revoked(2), key(3)],
        &[revoked(1), revoked(2), key(3)],
    );
    assert_eq!(watched.on_day(1, &stranger), Err(NotTrusted::AllRevoked));
    assert_eq!(watched.set, Watched::new().set, "nothing is learned");
}

#[test]
fn a_set_that_no_trusted_key_signed_teaches_nothing() {
    let mut watched = Watched::new();
    watched
        .on_day(1, &shown(&[key(1), key(2), key(3)], &[key(1)]))
        .unwrap();
    let before = watched.set.clone();
    for strange in [
        shown(&[key(9)], &[key(9)]),
        shown(&[key(1), key(2), key(9)], &[key(9)]),
        // What waits to be trusted cannot help itself.
        shown(&[key(3)], &[key(3)]),
        shown(&[key(1), key(2)], &[]),
    ] {
        assert_eq!(watched.on_day(40, &strange), Err(NotTrusted::NotSigned));
        assert_eq!(watched.set, before);
    }
}

#[test]
fn a_successor_named_by_a_trusted_key_is_trusted_at_once_with_its_stand_by() {
    let mut watched = Watched::new();
    // Watched for a day before: the word of a trusted key ends the wait.
    watched
        .on_day(1, &shown(&[key(1), key(3)], &[key(1)]))
        .unwrap();
    let mut later = shown(&[key(3), key(4), key(5)], &[key(3)]);
    later.succeeding = vec![key(3), key(4)];
    let events = watched.on_day(400, &later).unwrap();
    for expected in [
        AnchorEvent::WentMissing(tag(1)),
        AnchorEvent::Succeeded(tag(3)),
        AnchorEvent::Succeeded(tag(4)),
        AnchorEvent::Pending(tag(5)),
        AnchorEvent::Activated(tag(3)),
    ] {
        assert!(events.contains(&expected), "{expected:?}: {events:?}");
    }
    assert_eq!(watched.set.active(), Some(&key(3)));
    assert_eq!(watched.standing(5), pending(0));
    // Named, but it did not sign: that is no set of theirs.
    let mut unsigned = shown(&[key(6), key(7)], &[key(7)]);
    unsigned.succeeding = vec![key(6)];
    assert_eq!(watched.on_day(401, &unsigned), Err(NotTrusted::NotSigned));
}

#[test]
fn the_active_key_stays_active_while_its_successor_signs_beside_it() {
    let mut watched = Watched::new();
    let both = shown(&[key(1), key(2)], &[key(2), key(1)]);
    assert_eq!(watched.on_day(1, &both).unwrap(), []);
    assert_eq!(watched.set.active(), Some(&key(1)));
    let second = shown(&[key(1), key(2)], &[key(2)]);
    let events = watched.on_day(2, &second).unwrap();
    assert_eq!(events, [AnchorEvent::Activated(tag(2))]);
}

#[test]
fn a_flood_of_keys_fills_the_table_and_no_more_and_revoked_keys_stay_in_it() {
    let mut watched = Watched::new();
    let gone = shown(&[key(1), revoked(2)], &[key(1), revoked(2)]);
    watched.on_day(1, &gone).unwrap();
    let mut flood: Vec<DNSKEY> = (10..=200).map(key).collect();
    flood.push(key(1));
    let events = watched.on_day(2, &shown(&flood, &[key(1)])).unwrap();
    assert!(events.contains(&AnchorEvent::NoRoom(tag(200))));
    assert_eq!(watched.set.keys().len(), MAX_TRACKED_KEYS);
    assert_eq!(
        watched.standing(2),
        Some(KeyState::Revoked { watched: DAY })
    );
    watched.on_day(3, &shown(&[key(1)], &[key(1)])).unwrap();
    assert_eq!(watched.set.keys().len(), 2);
}
