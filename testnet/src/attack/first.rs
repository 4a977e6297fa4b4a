//! Attacks at a first meeting, when there is nothing yet to compare with.

use std::time::Duration;

use hickory_proto::rr::Name;
use ring::rand::SystemRandom;
use zzdot_zonegen::{clock::UnixTime, identity::Identity};

use super::{ALONE, Attack, Branch, Expected, Outcome, Stage, refused, zones::own_zones};
use crate::{
    attacker::{Answerer, Dns, Dot, Impostor, Manner, answers},
    story::Told,
};

const CLOCK: &str = "the clock cannot be used against it";
const NOBODY_ELSE: &str = "nobody else is taken for it";
const VALIDATED: &str = "every record is validated";
const POLICY: &str = "the configuration decides who may be asked";
const FIRST: &str = "none: a first meeting proves nothing";

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        test: "an_attacker_at_the_first_meeting_is_believed_and_found_out_when_it_is_gone",
        promise: FIRST,
        words: "at a first meeting: an identity of the attacker's own at the first meeting; then the attacker goes",
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
        ..ALONE
    },
    Attack {
        test: "who_withholds_the_zones_at_a_first_meeting_reads_along_where_legacy_servers_may_be_used",
        promise: FIRST,
        words: "at a first meeting: no such zone, lies in cleartext; `legacy = \"plain\"`, the default",
        stage: Stage::First,
        play: |branch| withheld(branch, Dot::Reset, "plain"),
        product: Expected {
            outcome: Outcome::Believed,
            reasons: &[],
        },
        peers: [Some(Outcome::Refused), Some(Outcome::Refused)],
        ..ALONE
    },
    Attack {
        test: "who_withholds_the_zones_wins_no_question_where_legacy_servers_are_refused",
        promise: POLICY,
        words: "at a first meeting: no such zone, lies in cleartext; `legacy = \"refuse\"`",
        stage: Stage::First,
        play: |branch| withheld(branch, Dot::Reset, "refuse"),
        product: refused(&["legacy"]),
        ..ALONE
    },
    Attack {
        test: "without_tls_nothing_is_asked_where_encryption_is_wanted",
        promise: POLICY,
        words: "at a first meeting: no such zone, 853 reset; `legacy = \"encrypted\"`",
        stage: Stage::First,
        play: |branch| withheld(branch, Dot::Reset, "encrypted"),
        product: refused(&["not-encrypted"]),
        ..ALONE
    },
    Attack {
        test: "tls_with_anybody_is_believed_where_only_encryption_is_wanted",
        promise: FIRST,
        words: "at a first meeting: no such zone, TLS with a key of the attacker's own; `legacy = \"encrypted\"`",
        stage: Stage::First,
        play: |branch| {
            let impostor = Impostor::calling_itself(branch.identity.name().as_name())?;
            withheld(branch, Dot::Impostor(impostor, answers::lie()), "encrypted")
        },
        product: Expected {
            outcome: Outcome::Believed,
            reasons: &[],
        },
        ..ALONE
    },
    Attack {
        test: "tls_with_anybody_is_not_enough_where_proof_is_wanted",
        promise: POLICY,
        words: "at a first meeting: no such zone, TLS with a key of the attacker's own; `legacy = \"verified\"`",
        stage: Stage::First,
        play: |branch| {
            let impostor = Impostor::calling_itself(branch.identity.name().as_name())?;
            withheld(branch, Dot::Impostor(impostor, answers::lie()), "verified")
        },
        product: refused(&["not-encrypted"]),
        ..ALONE
    },
    Attack {
        test: "a_stranger_is_not_used_before_somebody_approves",
        promise: POLICY,
        words: "at a first meeting: an identity of the attacker's own; `first-use = \"ask\"`",
        stage: Stage::First,
        play: |branch| {
            branch.product().settings = "first-use = \"ask\"".to_owned();
            let (zones, own) = own_identity(UnixTime::now())?;
            meet(branch, zones, &own)
        },
        product: refused(&["not-approved"]),
        ..ALONE
    },
    Attack {
        test: "a_stranger_is_not_used_where_all_are_enrolled",
        promise: POLICY,
        words: "at a first meeting: an identity of the attacker's own; `first-use = \"enrolled-only\"`",
        stage: Stage::First,
        play: |branch| {
            branch.product().settings = "first-use = \"enrolled-only\"".to_owned();
            let (zones, own) = own_identity(UnixTime::now())?;
            meet(branch, zones, &own)
        },
        product: refused(&["not-enrolled"]),
        ..ALONE
    },
    Attack {
        test: "zones_that_expired_are_not_met",
        promise: VALIDATED,
        words: "at a first meeting: zones whose signatures expired a day ago",
        stage: Stage::First,
        play: |branch| {
            let (zones, own) = own_identity(UnixTime::now().minus(16 * DAY))?;
            meet(branch, zones, &own)
        },
        product: refused(&["signature-expired"]),
        ..ALONE
    },
    Attack {
        test: "zones_of_the_future_are_not_met",
        promise: VALIDATED,
        words: "at a first meeting: zones whose signatures begin in ten days",
        stage: Stage::First,
        play: |branch| {
            let (zones, own) = own_identity(UnixTime::now().plus(10 * DAY))?;
            meet(branch, zones, &own)
        },
        product: refused(&["signature-not-yet-valid"]),
        ..ALONE
    },
    Attack {
        test: "relayed_zones_at_a_first_meeting_win_no_question",
        promise: NOBODY_ELSE,
        words: "at a first meeting: the genuine zones relayed, another key on 853",
        stage: Stage::First,
        play: |branch| {
            let (_, own) = own_identity(UnixTime::now())?;
            meet(branch, answers::relay(), &own)
        },
        product: refused(&["certificate-mismatch"]),
        ..ALONE
    },
    Attack {
        test: "at_1970_nothing_is_met",
        promise: CLOCK,
        words: "at a first meeting: the laptop's clock shows 1970; an identity of the attacker's own",
        stage: Stage::First,
        play: |branch| at(branch, "@1970-01-02 00:00:00"),
        product: refused(&["clock-below-floor"]),
        ..ALONE
    },
    Attack {
        test: "at_2100_nothing_is_met",
        promise: CLOCK,
        words: "at a first meeting: the laptop's clock shows 2100; an identity of the attacker's own",
        stage: Stage::First,
        play: |branch| at(branch, "@2100-01-02 00:00:00"),
        // 74 years are more than half of what the times of signatures count (RFC 4034 3.1.5): not in the next century.
        product: refused(&["signature-expired"]),
        ..ALONE
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

/// The resolver looks like one of today.
fn withheld(branch: &mut Branch, dot: Dot, legacy: &str) -> Told {
    branch.product().settings = format!("legacy = \"{legacy}\"");
    branch.attacker.turn(Manner {
        dns: Dns::Answer(answers::lie()),
        dot,
    })?;
    branch.start_victims()?;
    branch.ask(2);
    Ok(())
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
