#![allow(clippy::unwrap_used)]

use super::*;

const NOW: UnixTime = UnixTime(1_800_000_000);
const US: [u8; 32] = [1; 32];
const SESSION: &[u8] = b"a session";

fn later(seconds: u64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

#[test]
fn a_ticket_is_opened_until_its_lifetime_ends_and_no_key_outlives_it() {
    let tickets = Tickets::in_memory(NOW).unwrap();
    // Sealed in the last moment of its key.
    let ticket = tickets.encrypt(SESSION).unwrap();
    let mut turns = 0;
    for minute in 0..=AGE_MAX / 60 {
        turns += usize::from(tickets.turn(later(minute * 60)).unwrap());
        assert!(tickets.keys.load().0.len() <= KEYS_MAX);
        let opened = tickets.decrypt(&ticket);
        if minute * 60 < AGE_MAX {
            assert_eq!(opened.as_deref(), Some(SESSION), "after {minute} minutes");
        } else {
            assert_eq!(opened, None);
        }
    }
    assert_eq!(turns, 5);
}

#[test]
fn tickets_that_were_changed_cut_or_made_by_others_are_refused() {
    let tickets = Tickets::in_memory(NOW).unwrap();
    let ticket = tickets.encrypt(SESSION).unwrap();
    for at in 0..ticket.len() {
        assert_eq!(tickets.decrypt(&ticket[..at]), None);
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        assert_eq!(tickets.decrypt(&changed), None, "octet {at}");
    }
    assert_eq!(tickets.decrypt(&[0; 5000]), None);
    let others = Tickets::in_memory(NOW).unwrap();
    assert_eq!(others.decrypt(&ticket), None);
}

#[test]
fn two_tickets_of_one_session_have_nothing_in_common_but_the_name_of_the_key() {
    let tickets = Tickets::in_memory(NOW).unwrap();
    let (one, other) = (tickets.encrypt(SESSION), tickets.encrypt(SESSION));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one[..NAME_LEN], other[..NAME_LEN]);
    assert_ne!(one[NAME_LEN..][..NONCE_LEN], other[NAME_LEN..][..NONCE_LEN]);
    assert_ne!(one[NAME_LEN + NONCE_LEN..], other[NAME_LEN + NONCE_LEN..]);
}

#[test]
fn tickets_survive_a_restart_of_the_same_identity_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tickets.keys");
    let ticket = Tickets::open(&path, US, NOW).unwrap().encrypt(SESSION);
    let ticket = ticket.unwrap();
    let again = Tickets::open(&path, US, later(3600)).unwrap();
    assert_eq!(again.decrypt(&ticket).as_deref(), Some(SESSION));
    assert!(!again.turn(later(3601)).unwrap());

    let other = Tickets::open(&path, [2; 32], later(3600)).unwrap();
    assert_eq!(other.decrypt(&ticket), None);
    // Theirs are in the file now.
    let back = Tickets::open(&path, US, later(3600)).unwrap();
    assert_eq!(back.decrypt(&ticket), None);
}

#[test]
fn keys_that_are_too_old_are_not_taken_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tickets.keys");
    let before = Tickets::open(&path, US, NOW).unwrap();
    let ticket = before.encrypt(SESSION).unwrap();
    let again = Tickets::open(&path, US, later(AGE_MAX)).unwrap();
    assert_eq!(again.decrypt(&ticket), None);
    let kept = ticket_file::load(&path, &US).unwrap();
    assert_eq!(kept.len(), 1, "the old one is gone from the file too");
}

#[test]
fn damage_costs_full_handshakes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tickets.keys");
    std::fs::write(&path, "nonsense").unwrap();
    let tickets = Tickets::open(&path, US, NOW).unwrap();
    let ticket = tickets.encrypt(SESSION).unwrap();
    let again = Tickets::open(&path, US, NOW).unwrap();
    assert_eq!(again.decrypt(&ticket).as_deref(), Some(SESSION));

    let nowhere = folder.path().join("no such folder/tickets.keys");
    let tickets = Tickets::open(&nowhere, US, NOW).unwrap();
    let ticket = tickets.encrypt(SESSION).unwrap();
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(SESSION));
}

#[test]
fn a_clock_that_is_wrong_for_a_while_neither_loses_keys_nor_keeps_one_for_years() {
    let tickets = Tickets::in_memory(NOW).unwrap();
    let ticket = tickets.encrypt(SESSION).unwrap();
    // A restart before the time is known: the key of a moment ago seems to come from the future.
    assert!(tickets.turn(UnixTime(1_000_000_000)).unwrap());
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(SESSION));
    assert!(tickets.turn(later(60)).unwrap());
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(SESSION));

    // A clock that ran years ahead: its key is not used again, and is pushed out.
    assert!(tickets.turn(later(1_000_000_000)).unwrap());
    let ahead = tickets.encrypt(SESSION).unwrap();
    for turn in 1..=KEYS_MAX as u64 {
        assert!(tickets.turn(later(turn * TURN)).unwrap());
        assert_ne!(
            tickets.encrypt(SESSION).unwrap()[..NAME_LEN],
            ahead[..NAME_LEN]
        );
    }
    assert_eq!(tickets.decrypt(&ahead), None);
}

#[test]
fn keys_are_not_printed() {
    let tickets = Tickets::in_memory(NOW).unwrap();
    assert_eq!(format!("{tickets:?}"), "Tickets(1 keys)");
}
