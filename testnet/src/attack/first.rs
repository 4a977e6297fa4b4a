//! Attacks at a first meeting, when there is nothing yet to compare with.

use std::time::Duration;

use hickory_proto::rr::Name;
use ring::rand::SystemRandom;
use zzdot_zonegen::{clock::UnixTime, identity::Identity};

use super::{Attack, Branch, Expected, Outcome, Stage, refused, zones::own_zones};
use crate::{
    attacker::{Answerer, Dns, Dot, Impostor, Manner, answers},
    story::Told,
};

const CLOCK: &str = "the clock cannot be used against it";
const NOBODY_ELSE: &str = "nobody else is taken for it";
const VALIDATED: &str = "every record is validated";
const FIRST: &str = "none: a first meeting proves nothing";

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        test: "an_attacker_at_the_first_meeting_is_believed_and_found_out_when_it_is_gone",
        promise: FIRST,
        words: "an identity of the attacker's own at the first meeting; then the attacker goes",
        stage: Stage::First,
        play: |branch| {
            let (zones, own) = own_identity(UnixTime::now())?;
            meet(branch, zones, &own)?;
            branch.attacker.turn(Manner::honest())?;
            branch.ask(2);
            Ok(())
        },
        product: Expected {
            outcome: Outcome::Believed,
            reasons: &["name-changed", "anchor-changed"],
        },
        peers: [Some(Outcome::Refused), Some(Outcome::Refused)],
    },
    Attack {
        test: "zones_that_expired_are_not_met",
        promise: VALIDATED,
        words: "zones whose signatures expired a day ago",
        stage: Stage::First,
        play: |branch| {
            let (zones, own) = own_identity(UnixTime::now().minus(16 * DAY))?;
            meet(branch, zones, &own)
        },
        product: refused(&["signature-expired"]),
        peers: [None, None],
    },
    Attack {
        test: "zones_of_the_future_are_not_met",
        promise: VALIDATED,
        words: "zones whose signatures begin in ten days",
        stage: Stage::First,
        play: |branch| {
            let (zones, own) = own_identity(UnixTime::now().plus(10 * DAY))?;
            meet(branch, zones, &own)
        },
        product: refused(&["signature-not-yet-valid"]),
        peers: [None, None],
    },
    Attack {
        test: "relayed_zones_at_a_first_meeting_win_no_question",
        promise: NOBODY_ELSE,
        words: "the genuine zones relayed, another key on 853",
        stage: Stage::First,
        play: |branch| {
            let (_, own) = own_identity(UnixTime::now())?;
            meet(branch, answers::relay(), &own)
        },
        product: refused(&["certificate-mismatch"]),
        peers: [None, None],
    },
    Attack {
        test: "at_1970_nothing_is_met",
        promise: CLOCK,
        words: "the laptop's clock shows 1970; an identity of the attacker's own",
        stage: Stage::First,
        play: |branch| at(branch, "@1970-01-02 00:00:00"),
        product: refused(&["clock-below-floor"]),
        peers: [None, None],
    },
    Attack {
        test: "at_2100_nothing_is_met",
        promise: CLOCK,
        words: "the laptop's clock shows 2100; an identity of the attacker's own",
        stage: Stage::First,
        play: |branch| at(branch, "@2100-01-02 00:00:00"),
        // 74 years are more than half of what the times of signatures count (RFC 4034 3.1.5): they are then in the future.
        product: refused(&["signature-expired", "signature-not-yet-valid"]),
        peers: [None, None],
    },
];

fn own_identity(now: UnixTime) -> Result<(Answerer, Identity), crate::story::Failure> {
    let own = Identity::invent(&Name::from_ascii("zz.")?, &SystemRandom::new())?;
    Ok((own_zones(&own, now)?, own))
}

fn at(branch: &mut Branch, clock: &str) -> Told {
    branch.product().clock = Some(clock.to_owned());
    let (zones, own) = own_identity(UnixTime::now())?;
    meet(branch, zones, &own)
}

/// The client is started while the attacker is there.
fn meet(branch: &mut Branch, zones: Answerer, own: &Identity) -> Told {
    branch.attacker.turn(Manner {
        dns: Dns::Answer(zones.for_the_walk(answers::lie())),
        dot: Dot::Impostor(Impostor::with_key_of(own)?, answers::lie()),
    })?;
    branch.start_victims()?;
    branch.ask(2);
    Ok(())
}
