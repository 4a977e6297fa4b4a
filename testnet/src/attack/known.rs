//! Attacks on those who know their resolver: they must end in a private answer or in none.

use hickory_proto::rr::{Name, RecordType};

use super::{ALONE, Attack, Branch, Expected, Outcome, PRIVATE, Stage, ground::INSIDE, refused};
use crate::{
    ask::Question,
    attacker::{Dns, Dot, Impostor, Manner, answers},
    story::{Failure, Told},
};

const NO_CLEARTEXT: &str = "no cleartext with a resolver that is known";
const NOBODY_ELSE: &str = "nobody else is taken for it";
const CLOCK: &str = "the clock cannot be used against it";
const AVAILABLE: &str = "what only slows down does not stop";

const UNREACHABLE: &[&str] = &["no-answer-on-dot-port", "handshake-failed"];

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        test: "dropping_the_port_of_tls_wins_no_question",
        promise: NO_CLEARTEXT,
        words: "853 dropped, 53 answered with lies",
        stage: Stage::Known,
        play: |branch| blocked(branch, Dot::Drop),
        product: refused(UNREACHABLE),
        peers: [Some(Outcome::Refused), Some(Outcome::Refused)],
        ..ALONE
    },
    Attack {
        test: "an_unreachable_port_of_tls_wins_no_question",
        promise: NO_CLEARTEXT,
        words: "853 rejected by ICMP, 53 answered with lies",
        stage: Stage::Known,
        play: |branch| blocked(branch, Dot::Unreachable),
        product: refused(UNREACHABLE),
        peers: [Some(Outcome::Refused), Some(Outcome::Refused)],
        ..ALONE
    },
    Attack {
        test: "resetting_the_port_of_tls_wins_no_question",
        promise: NO_CLEARTEXT,
        words: "853 reset, 53 answered with lies",
        stage: Stage::Known,
        play: |branch| blocked(branch, Dot::Reset),
        product: refused(UNREACHABLE),
        peers: [Some(Outcome::Refused), Some(Outcome::Refused)],
        ..ALONE
    },
    Attack {
        test: "silence_on_the_port_of_tls_wins_no_question",
        promise: NO_CLEARTEXT,
        words: "853 accepted and never answered, 53 answered with lies",
        stage: Stage::Known,
        play: |branch| blocked(branch, Dot::Silent),
        product: refused(UNREACHABLE),
        peers: [Some(Outcome::Refused), Some(Outcome::Refused)],
        ..ALONE
    },
    Attack {
        test: "cleartext_on_the_port_of_tls_wins_no_question",
        promise: NO_CLEARTEXT,
        words: "a cleartext server on 853",
        stage: Stage::Known,
        play: |branch| blocked(branch, Dot::Cleartext(answers::lie())),
        product: refused(UNREACHABLE),
        peers: [Some(Outcome::Refused), Some(Outcome::Refused)],
        ..ALONE
    },
    Attack {
        test: "another_key_under_the_same_name_wins_no_question",
        promise: NOBODY_ELSE,
        words: "TLS with another key and a certificate of the same name; the zones withheld",
        stage: Stage::Known,
        play: |branch| {
            let impostor = Impostor::calling_itself(branch.identity.name().as_name())?;
            blocked(branch, Dot::Impostor(impostor, answers::lie()))
        },
        product: refused(&["downgraded"]),
        peers: [Some(Outcome::Refused), Some(Outcome::Refused)],
        ..ALONE
    },
    Attack {
        test: "failures_in_clear_do_not_talk_a_client_out_of_tls",
        promise: NO_CLEARTEXT,
        words: "SERVFAIL to everything in cleartext, another key on 853",
        stage: Stage::Known,
        play: |branch| talked_down(branch, answers::refuse(2)),
        product: refused(&["certificate-mismatch"]),
        ..ALONE
    },
    Attack {
        test: "refusals_in_clear_do_not_talk_a_client_out_of_tls",
        promise: NO_CLEARTEXT,
        words: "REFUSED to everything in cleartext, another key on 853",
        stage: Stage::Known,
        play: |branch| talked_down(branch, answers::refuse(5)),
        product: refused(&["downgraded"]),
        ..ALONE
    },
    Attack {
        test: "endless_truncation_does_not_talk_a_client_out_of_tls",
        promise: NO_CLEARTEXT,
        words: "TC to everything, over TCP too, another key on 853",
        stage: Stage::Known,
        play: |branch| talked_down(branch, answers::truncate()),
        product: refused(&["certificate-mismatch"]),
        ..ALONE
    },
    Attack {
        test: "stripped_signatures_do_not_talk_a_client_out_of_tls",
        promise: NO_CLEARTEXT,
        words: "the genuine zones without signatures, another key on 853",
        stage: Stage::Known,
        play: |branch| talked_down(branch, answers::stripped().for_the_walk(answers::lie())),
        product: refused(&["downgraded"]),
        ..ALONE
    },
    Attack {
        test: "tls_that_is_cut_again_and_again_changes_no_answer",
        promise: AVAILABLE,
        words: "the genuine TLS cut after 4000 octets, 53 answered with lies",
        stage: Stage::Known,
        play: |branch| {
            branch.attacker.turn(Manner {
                dns: Dns::Answer(answers::lie()),
                dot: Dot::Cut(4000),
            })?;
            // One at a time: a connection is worth an answer or two.
            (0..6).for_each(|_| branch.ask(1));
            Ok(())
        },
        product: PRIVATE,
        ..ALONE
    },
    Attack {
        test: "tls_with_turned_bits_wins_no_question_and_changes_no_answer",
        promise: NOBODY_ELSE,
        words: "a bit turned in every 700 octets of the genuine TLS, 53 answered with lies",
        stage: Stage::Known,
        play: |branch| blocked(branch, Dot::Corrupt(700)),
        product: refused(&["handshake-failed"]),
        ..ALONE
    },
    Attack {
        test: "at_1970_a_known_resolver_serves",
        promise: CLOCK,
        words: "the laptop's clock shows 1970, and nobody else attacks: a pinned key has no dates",
        play: |branch| wrong_clock(branch, "@1970-01-02 00:00:00"),
        product: PRIVATE,
        ..ALONE
    },
    Attack {
        test: "at_2100_a_known_resolver_is_not_used_until_the_clock_is_right",
        promise: CLOCK,
        words: "the laptop's clock shows 2100, and nobody else attacks: what vouched for the key has expired by then",
        play: |branch| wrong_clock(branch, "@2100-01-02 00:00:00"),
        product: refused(&["signature-expired"]),
        ..ALONE
    },
    Attack {
        test: "a_clock_that_was_ahead_and_is_set_back_locks_nobody_out",
        promise: CLOCK,
        words: "the laptop's clock is four days ahead, and then right again",
        play: |branch| wrong_clock(branch, "+4d"),
        product: PRIVATE,
        ..ALONE
    },
    Attack {
        test: "at_1970_another_key_wins_no_question",
        promise: CLOCK,
        words: "the laptop's clock shows 1970; the genuine zones relayed, another key on 853",
        play: |branch| wrong_clock_and_key(branch, "@1970-01-02 00:00:00"),
        product: refused(&["clock-below-floor"]),
        ..ALONE
    },
    Attack {
        test: "a_clock_moved_on_until_signatures_expire_wins_no_question",
        promise: CLOCK,
        words: "the laptop's clock is twenty days ahead; the genuine zones relayed, another key on 853",
        play: |branch| wrong_clock_and_key(branch, "+20d"),
        product: refused(&["signature-expired"]),
        ..ALONE
    },
    Attack {
        test: "names_of_the_outside_that_lead_inside_are_passed_on",
        promise: "none: addresses are the resolver's matter",
        words: "rebinding: names of the attacker's own, which lead to a private address and to 127.0.0.1, by way of the genuine resolver",
        stage: Stage::Known,
        play: |branch| {
            let inside = INSIDE.map(|(name, _)| Name::from_ascii(name));
            let questions = inside.into_iter().map(|name| {
                let mut name = name?;
                name.set_fqdn(true);
                Ok(Question::new(&name, RecordType::A))
            });
            let questions: Vec<_> = questions.collect::<Result<_, Failure>>()?;
            branch.ask_for(questions);
            // Each of them, or the row would say too much.
            match branch
                .answered
                .iter()
                .find(|(_, told)| told.outcome != Outcome::Believed)
            {
                None => Ok(()),
                Some((kind, told)) => Err(Failure::new(format!("{kind:?}: {}", told.words))),
            }
        },
        product: Expected {
            outcome: Outcome::Believed,
            reasons: &[],
        },
        peers: [Some(Outcome::Believed), Some(Outcome::Believed)],
        ..ALONE
    },
];

fn wrong_clock(branch: &mut Branch, clock: &str) -> Told {
    branch.product().clock = Some(clock.to_owned());
    branch.restart_product()?;
    branch.ask(2);
    right_clock(branch)
}

fn wrong_clock_and_key(branch: &mut Branch, clock: &str) -> Told {
    branch.product().clock = Some(clock.to_owned());
    let impostor = Impostor::calling_itself(branch.identity.name().as_name())?;
    branch.attacker.turn(Manner {
        dns: Dns::Answer(answers::relay().for_the_walk(answers::lie())),
        dot: Dot::Impostor(impostor, answers::lie()),
    })?;
    branch.restart_product()?;
    branch.ask(2);
    right_clock(branch)
}

fn right_clock(branch: &mut Branch) -> Told {
    branch.product().clock = None;
    branch.restart_product()
}

/// TLS is out of reach while cleartext would be answered; then the client is started anew, which must know no less.
fn blocked(branch: &mut Branch, dot: Dot) -> Told {
    branch.attacker.turn(Manner {
        dns: Dns::Answer(answers::lie()),
        dot,
    })?;
    branch.ask(2);
    branch.restart_product()?;
    branch.ask(1);
    Ok(())
}

/// A key that is not the resolver's makes a client look for a new TLSA record, which it does in cleartext: whatever is
/// said there, nobody gets a question.
fn talked_down(branch: &mut Branch, said: answers::Answerer) -> Told {
    let impostor = Impostor::calling_itself(branch.identity.name().as_name())?;
    branch.attacker.turn(Manner {
        dns: Dns::Answer(said),
        dot: Dot::Impostor(impostor, answers::lie()),
    })?;
    branch.ask(2);
    branch.restart_product()?;
    branch.ask(1);
    Ok(())
}
