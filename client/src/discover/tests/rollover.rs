//! Resolvers whose keys change, by their owner or by a thief.

use std::collections::BTreeSet;

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::rr::RecordType;
use zzdot_zonegen::keys::{ZoneKey, key_tag};
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::owners::succession_owner;
use zzdot_zonegen::publish::Published;
use zzdot_zonegen::rollover::What;
use zzdot_zonegen::succession::Statement;

use super::home::*;
use super::lab::*;
use crate::discover::*;
use crate::trust::{KeyState, KnownIdentity, TrustState};

fn first_met(home: &mut Home) -> KnownIdentity {
    KnownIdentity::first_met(home.met_by(None).discovered())
}

fn met_again(known: &KnownIdentity, trip: &Trip) -> KnownIdentity {
    known.met_again(trip.discovered()).unwrap()
}

/// Two roll-overs of the anchor, and the keys that were active in turn; somebody met it before.
fn away_for_a_year(compromised: bool) -> (Home, KnownIdentity, [DNSKEY; 3]) {
    let mut home = Home::new();
    let known = first_met(&mut home);
    let first = home.active();
    home.live_until(40);
    assert!(home.rotate(What::Anchor, compromised));
    home.live_until(41);
    let second = home.active();
    home.live_until(160);
    assert!(home.rotate(What::Anchor, compromised));
    home.live_until(365);
    let third = home.active();
    let keys = [first, second, third];
    assert_eq!(BTreeSet::from_iter(keys.iter().map(key_tag)).len(), 3);
    (home, known, keys)
}

/// Whoever is on the way changes the statements of succession.
fn with_statements(
    home: &Home,
    known: &KnownIdentity,
    zones: &Published,
    mut change: impl FnMut(&mut Vec<u8>) -> bool,
) -> Trip {
    let mut walker = Walker::to(&home.identity, zones);
    walker.known = Some(known.clone());
    walker.clock = day(home.today);
    walker.answers = Box::new(move |ask| {
        let mut message = answer(zones, ask).to_vec().unwrap();
        let passed =
            ask.qtype != RecordType::TXT || ask.name != succession_owner() || change(&mut message);
        passed.then_some(message)
    });
    walker.walk()
}

#[test]
fn a_roll_over_of_the_anchor_is_followed_from_day_to_day() {
    let mut home = Home::new();
    let mut known = first_met(&mut home);
    let (first, second) = (home.active(), home.identity.standby().clone());
    assert!(home.rotate(What::Anchor, false));
    for today in 1..=110 {
        home.live_until(today);
        let trip = home.met_by(Some(&known));
        assert!(
            !trip.asked.contains(&(succession_owner(), RecordType::TXT)),
            "day {today}"
        );
        known = met_again(&known, &trip);
        assert_eq!(known.anchor.active(), Some(&home.active()), "day {today}");
        assert_eq!(known.state, TrustState::Provisional);
    }
    assert_eq!(home.active(), second);
    assert_eq!(known.anchor.standing(&first), Some(KeyState::Removed));
    let third = home.identity.standby().clone();
    assert_eq!(known.anchor.trusted(), [second, third]);
}

#[test]
fn a_client_away_for_a_year_and_two_roll_overs_comes_back_without_a_prompt() {
    let (mut home, known, [_, second, third]) = away_for_a_year(false);
    let trip = home.met_by(Some(&known));
    let told = |step: &&Step| matches!(step, Step::Succeeded { .. });
    assert_eq!(trip.steps.iter().filter(told).count(), 1);
    let back = met_again(&known, &trip);
    assert_eq!(back.anchor.active(), Some(&third));
    assert!(back.anchor.trusted().contains(home.identity.standby()));
    assert!(back.anchor.standing(&second).unwrap().is_gone());
    assert_eq!(
        (back.state, back.first_seen),
        (known.state, known.first_seen)
    );
    // From here on as if nothing had been.
    home.live_until(366);
    let trip = home.met_by(Some(&back));
    assert!(!trip.steps.iter().any(|step| told(&step)));
    met_again(&back, &trip);
}

#[test]
fn nothing_is_over_for_good_where_nobody_looked_for_successors() {
    let (mut home, known, _) = away_for_a_year(false);
    // Met where nobody was expected; that it is known from elsewhere shows afterwards.
    let trip = home.met_by(None);
    let refusal = known.met_again(trip.discovered()).unwrap_err();
    assert_eq!(refusal.name(), "anchor-changed");
    assert_eq!(known.after(&refusal), None);
}

#[test]
fn statements_taken_out_on_the_way_cost_an_answer_and_no_trust() {
    let (mut home, known, _) = away_for_a_year(false);
    let zones = home.zones();
    let silent = with_statements(&home, &known, &zones, |_| false);
    assert_eq!(silent.verdict, Verdict::NoAnswer);
    // Header and question, and nothing in it.
    let emptied = with_statements(&home, &known, &zones, |message| {
        let question = 12 + succession_owner().len() + 5;
        message.truncate(question);
        message[6..12].fill(0);
        true
    });
    assert_eq!(emptied.refusal().name(), "denial-missing");
    assert_eq!(known.after(emptied.refusal()), None);
    // One bit of what the old key said.
    let changed = with_statements(&home, &known, &zones, |message| {
        let at = message.windows(4).position(|four| four == b"old=").unwrap();
        message[at + 4] ^= 1;
        true
    });
    assert_eq!(changed.refusal().name(), "signature-wrong");
}

#[test]
fn keys_that_were_stolen_leave_no_successors_and_the_identity_is_gone_for_good() {
    let (mut home, known, [first, second, _]) = away_for_a_year(true);
    let trip = home.met_by(Some(&known));
    assert_eq!(trip.refusal().name(), "identity-revoked");
    assert!(trip.asked.contains(&(succession_owner(), RecordType::TXT)));
    let revoked = known.after(trip.refusal()).unwrap();
    assert_eq!(revoked.state, TrustState::Revoked);
    assert_eq!(revoked.after(trip.refusal()), None, "once is enough");
    assert_eq!(
        home.met_by(Some(&revoked)).refusal().name(),
        "identity-revoked"
    );
    let trusted = known.anchor.trusted();
    assert!(trusted.contains(&first) && trusted.contains(&second));
}

#[test]
fn after_the_thirteen_months_nobody_follows_in_silence() {
    let (mut home, known, _) = away_for_a_year(false);
    home.live_until(40 + 396 + 130);
    let trip = home.met_by(Some(&known));
    assert_eq!(trip.refusal().name(), "anchor-changed");
    assert_eq!(known.after(trip.refusal()), None);
}

#[test]
fn a_revoked_key_in_the_hands_of_a_thief_is_of_no_use() {
    let mut home = Home::new();
    let known = first_met(&mut home);
    let stolen = home.identity.anchor_keys().ksk.clone();
    home.live_until(1);
    assert!(home.rotate(What::Anchor, true));
    home.live_until(2);
    let trip = home.met_by(Some(&known));
    let warned = met_again(&known, &trip);
    home.live_until(3);
    let zones = home.zones();
    let thief = Thief::new();
    let forged = thief.forge(&zones, stolen.clone(), &[], day(3));
    let trip = thief.met_by(&warned, &forged, day(3));
    let Refusal::RevokedKeyReturned { key_tags, .. } = trip.refusal() else {
        panic!("{:?}", trip.verdict);
    };
    assert_eq!(*key_tags, [stolen.tag()]);
    assert_eq!(trip.connected, [], "and no TLS with him");
    // Even if he shows the key revoked beside it, or another of his own.
    for along in [vec![stolen.revoked()], vec![new_ksk()]] {
        let forged = thief.forge(&zones, stolen.clone(), &along, day(3));
        let trip = thief.met_by(&warned, &forged, day(3));
        assert!(matches!(trip.verdict, Verdict::Refused { .. }), "{along:?}");
    }
}

#[test]
fn a_thief_of_the_anchor_loses_it_again_within_the_hold_down() {
    let mut home = Home::new();
    let mut known = first_met(&mut home);
    let stolen = home.identity.anchor_keys().ksk.clone();
    let (thief, his) = (Thief::new(), new_ksk());
    // For twenty-nine days he stands in front of the client, with everything that the key can sign.
    for today in 1..=29 {
        home.live_until(today);
        let zones = home.zones();
        let along = [his.clone()];
        let forged = thief.forge(&zones, stolen.clone(), &along, day(today));
        let trip = thief.met_by(&known, &forged, day(today));
        known = met_again(&known, &trip);
        assert!(!known.anchor.trusted().contains(his.dnskey()));
    }
    assert!(matches!(
        known.anchor.standing(his.dnskey()),
        Some(KeyState::AddPend { .. })
    ));
    assert!(home.rotate(What::Anchor, true));
    home.live_until(30);
    known = met_again(&known, &home.met_by(Some(&known)));
    assert_eq!(known.anchor.standing(his.dnskey()), None);
    for today in 31..=70 {
        home.live_until(today);
        let zones = home.zones();
        for ksk in [&stolen, &his] {
            let along = [stolen.clone(), his.clone()];
            let forged = thief.forge(&zones, ksk.clone(), &along, day(today));
            let trip = thief.met_by(&known, &forged, day(today));
            assert!(matches!(trip.verdict, Verdict::Refused { .. }));
        }
    }
}

#[test]
fn the_word_of_a_stranger_about_successors_counts_for_nothing() {
    let mut home = Home::new();
    let known = first_met(&mut home);
    home.live_until(1);
    let zones = home.zones();
    let thief = Thief::new();
    let forged = thief.forge(&zones, new_ksk(), &[], day(1));
    let trip = thief.met_by(&known, &forged, day(1));
    assert_eq!(trip.refusal().name(), "anchor-changed");

    let (his, name) = (new_ksk(), known.name.clone());
    let anchor = home.identity.anchor_keys().ksk.clone();
    let say = |name, by: &ZoneKey, from, until| {
        let new = [his.dnskey()];
        Statement::sign(name, by, &new, day(from), day(until)).unwrap()
    };
    let other: ResolverName = "00000000000000000000.zz".parse().unwrap();
    for said in [
        // A key that nobody remembers.
        say(&name, &new_ksk(), 0, 400),
        // Of another resolver, which has the same key for whatever reason.
        say(&other, &anchor, 0, 400),
        // Of another time.
        say(&name, &anchor, 2, 400),
        say(&name, &anchor, 0, 0),
    ] {
        let forged = thief.forge_saying(
            &zones,
            his.clone(),
            &[],
            std::slice::from_ref(&said),
            day(1),
        );
        let trip = thief.met_by(&known, &forged, day(1));
        assert_eq!(trip.refusal().name(), "anchor-changed", "{said}");
    }
}

#[test]
fn a_thief_of_the_anchor_cannot_name_himself_its_successor() {
    let mut home = Home::new();
    let known = first_met(&mut home);
    home.live_until(1);
    let zones = home.zones();
    let (thief, his) = (Thief::new(), new_ksk());
    let stolen = &home.identity.anchor_keys().ksk;
    let (name, new) = (&known.name, [his.dnskey()]);
    let said = Statement::sign(name, stolen, &new, day(0), day(400)).unwrap();
    let forged = thief.forge_saying(&zones, his.clone(), &[], &[said], day(1));
    // His TLS key is in his zone; it is not the one that was proven before.
    let trip = thief.met_by(&known, &forged, day(1));
    assert!(
        trip.steps
            .iter()
            .any(|step| matches!(step, Step::Succeeded { .. }))
    );
    assert_eq!(trip.refusal().name(), "anchor-changed");
}

#[test]
fn a_new_certificate_beside_new_anchors_takes_a_person() {
    let (mut home, known, _) = away_for_a_year(false);
    assert!(home.rotate(What::Certificate, false));
    // While it is announced, the one that is remembered is still served.
    home.live_until(366);
    let trip = home.met_by(Some(&known));
    let back = met_again(&known, &trip);
    assert_eq!(back.tlsa.len(), 2);
    home.live_until(368);
    assert_eq!(home.met_by(Some(&known)).refusal().name(), "anchor-changed");
    // Whoever came back in between is not asked.
    met_again(&back, &home.met_by(Some(&back)));
}

#[test]
fn the_genuine_zones_in_front_of_a_thiefs_tls_teach_nothing() {
    let (mut home, known, _) = away_for_a_year(false);
    let zones = home.zones();
    let mut walker = Walker::to(&home.identity, &zones);
    walker.known = Some(known.clone());
    walker.clock = day(home.today);
    let his = peer(&Thief::new().own);
    walker.peers = Box::new(move |_| Ok(his.clone()));
    // The succession is genuine; the peer is not, and nothing is learned before it is.
    assert_eq!(walker.walk().refusal().name(), "certificate-mismatch");
}
