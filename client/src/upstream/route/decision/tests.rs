#![allow(clippy::unwrap_used)]

use super::*;
use crate::chain::NodeId;
use crate::chain::draw::samples::{diamond_chain, line_chain};
use crate::chain::tests::life::Life;

const CLOCK: UnixTime = UnixTime(1_800_000_000);
const LINK: Link = Link {
    pool: 3,
    connection: 1,
};
const TTL: u64 = 60;

struct Lab {
    routing: Routing,
    begun: Instant,
    /// Seconds since then.
    at: u64,
    asleep: u64,
}

impl Lab {
    fn new(policy: RoutePolicy) -> Self {
        Self {
            routing: Routing::new(policy),
            begun: Instant::now(),
            at: 0,
            asleep: 0,
        }
    }

    fn now(&self) -> Instant {
        self.begun + Duration::from_secs(self.at)
    }

    fn clock(&self) -> UnixTime {
        UnixTime(CLOCK.0 + self.at + self.asleep)
    }

    fn way(&self) -> Way {
        self.routing.way(LINK, self.now(), self.clock())
    }

    fn wants(&self) -> bool {
        self.routing.wants_survey(LINK, self.now(), self.clock())
    }

    fn begin(&mut self) -> Ticket {
        assert!(self.wants());
        self.routing.begin(LINK, self.now(), self.clock())
    }

    /// Whether it counts.
    fn end(&mut self, ticket: Ticket, outcome: Result<Chain, &str>) -> bool {
        let outcome = outcome.map(|chain| (LINK, chain)).map_err(str::to_owned);
        self.routing
            .end_survey(ticket, self.now(), outcome, |_| true)
    }

    fn survey(&mut self, outcome: Result<Chain, &str>) {
        let ticket = self.begin();
        self.end(ticket, outcome);
    }

    fn refused(&self) -> String {
        match self.way() {
            Way::Fail(failure) => {
                assert_eq!(failure.name(), "chain-not-encrypted");
                failure.ede().1
            }
            other => panic!("{other:?}"),
        }
    }
}

fn strict() -> Lab {
    Lab::new(RoutePolicy::EncryptedToEnd)
}

#[test]
fn nothing_is_asked_before_a_survey_showed_that_all_is_encrypted() {
    let mut lab = strict();
    assert!(lab.wants());
    lab.refused();
    let ticket = lab.begin();
    assert!(matches!(lab.way(), Way::AfterSurvey(_)));
    assert!(!lab.wants(), "one at a time");
    lab.end(ticket, Ok(line_chain()));
    assert_eq!(lab.way(), Way::Nearest);
}

#[test]
fn a_survey_that_never_ends_keeps_nobody_from_looking_for_good() {
    let mut lab = strict();
    lab.begin();
    lab.at = 59;
    assert!(!lab.wants());
    lab.at = 60;
    lab.survey(Ok(line_chain()));
    assert_eq!(lab.way(), Way::Nearest);
}

#[test]
fn what_a_survey_found_holds_for_its_time_to_live_since_it_began_and_no_longer() {
    let mut lab = strict();
    let ticket = lab.begin();
    lab.at = 20;
    lab.end(ticket, Ok(line_chain()));
    lab.at = TTL - 1;
    assert_eq!(lab.way(), Way::Nearest);
    lab.at = TTL;
    lab.refused();
    assert!(lab.wants());
}

#[test]
fn it_is_looked_at_again_while_it_still_holds_and_nobody_waits_for_that() {
    let mut lab = strict();
    lab.survey(Ok(line_chain()));
    lab.at = TTL / 2 - 1;
    assert!(!lab.wants());
    lab.at = TTL / 2;
    let ticket = lab.begin();
    assert_eq!(lab.way(), Way::Nearest);
    lab.end(ticket, Ok(diamond_chain()));
    lab.refused();
}

#[test]
fn it_is_looked_at_again_without_a_question_for_a_while_after_one() {
    let mut lab = strict();
    assert!(lab.routing.looks_ahead(lab.now()), "the first time");
    lab.survey(Ok(line_chain()));
    assert!(!lab.routing.looks_ahead(lab.now()), "nobody asked yet");
    lab.routing.on_question(lab.now());
    lab.at = 599;
    assert!(lab.routing.looks_ahead(lab.now()));
    lab.at = 600;
    assert!(!lab.routing.looks_ahead(lab.now()));
    assert!(
        !Lab::new(RoutePolicy::Nearest)
            .routing
            .looks_ahead(lab.now())
    );
}

#[test]
fn a_computer_that_slept_relies_on_nothing_of_before() {
    let mut lab = strict();
    lab.survey(Ok(line_chain()));
    lab.at = 1;
    lab.asleep = TTL;
    lab.refused();
    assert!(lab.wants(), "its monotonic clock stood still");
    lab.asleep = 0;
    assert_eq!(lab.way(), Way::Nearest);
    lab.routing.start_over();
    lab.refused();
}

#[test]
fn a_clock_that_is_set_back_ends_what_was_found() {
    let mut lab = strict();
    lab.survey(Ok(line_chain()));
    let earlier = UnixTime(CLOCK.0 - 1);
    assert!(matches!(
        lab.routing.way(LINK, lab.now(), earlier),
        Way::Fail(_)
    ));
}

#[test]
fn a_survey_from_before_everything_was_started_over_counts_for_nothing() {
    let mut lab = strict();
    let ticket = lab.begin();
    lab.routing.start_over();
    assert!(!lab.end(ticket, Ok(line_chain())));
    lab.refused();
    assert!(lab.wants());
}

#[test]
fn a_survey_that_was_given_up_for_lost_does_not_overrule_the_one_after_it() {
    let mut lab = strict();
    let lost = lab.begin();
    lab.at = 60;
    let next = lab.begin();
    assert!(!lab.end(lost, Ok(line_chain())));
    assert!(lab.routing.is_surveying());
    assert!(lab.end(next, Ok(diamond_chain())));
    lab.refused();
    assert!(!lab.end(lost, Ok(line_chain())));
    lab.refused();
}

#[test]
fn a_change_of_the_route_is_surveyed_for_at_once_whenever_the_next_look_was_due() {
    use RoutePolicy::{EncryptedToEnd, End, Nearest};
    for before in [Nearest, End, EncryptedToEnd] {
        for after in [Nearest, End, EncryptedToEnd] {
            let mut lab = Lab::new(before);
            let ticket = lab.routing.begin(LINK, lab.now(), lab.clock());
            lab.end(ticket, Ok(line_chain()));
            lab.at = 2;
            assert!(!lab.wants(), "{before:?}");
            lab.routing.set_policy(after);
            let changed = before != after && after != Nearest;
            assert_eq!(lab.wants(), changed, "{before:?} to {after:?}");
            assert_eq!(lab.routing.looks_ahead(lab.now()), changed);
            // What was found holds as it did: it says what it says, whatever it was looked at for.
            let way = if after == End { Way::End } else { Way::Nearest };
            assert_eq!(lab.way(), way, "{before:?} to {after:?}");
        }
    }
}

#[test]
fn what_was_found_for_another_route_is_seen_once_more_before_anything_is_refused() {
    let mut lab = Lab::new(RoutePolicy::End);
    lab.survey(Ok(diamond_chain()));
    lab.at = 20;
    assert!(!lab.wants());
    lab.routing.set_policy(RoutePolicy::EncryptedToEnd);
    let ticket = lab.begin();
    assert!(matches!(lab.way(), Way::AfterSurvey(_)));
    lab.end(ticket, Ok(line_chain()));
    assert_eq!(lab.way(), Way::Nearest);
    // Back and forth: nothing is asked by what another route let pass.
    lab.routing.set_policy(RoutePolicy::End);
    lab.at = 21;
    lab.survey(Ok(diamond_chain()));
    lab.routing.set_policy(RoutePolicy::EncryptedToEnd);
    lab.refused();
}

#[test]
fn whoever_is_revoked_while_what_was_found_holds_is_asked_nothing_more() {
    for policy in [RoutePolicy::EncryptedToEnd, RoutePolicy::End] {
        let mut lab = Lab::new(policy);
        lab.survey(Ok(line_chain()));
        lab.at = 2;
        lab.routing.on_decision(|_| true);
        assert!(!lab.wants());
        assert_ne!(lab.routing.end(LINK, lab.now(), lab.clock()), None);
        let end = |name: &ResolverName| name.to_string().starts_with('a');
        lab.routing.on_decision(|name| !end(name));
        assert_eq!(lab.routing.end(LINK, lab.now(), lab.clock()), None);
        match policy {
            RoutePolicy::End => assert_eq!(lab.way(), Way::Nearest),
            _ => assert!(lab.refused().contains("its identity was revoked")),
        }
        assert!(lab.wants(), "it may be mended");
    }
}

#[test]
fn another_nearest_is_surveyed_before_it_is_asked_and_another_connection_soon() {
    let mut lab = strict();
    lab.survey(Ok(line_chain()));
    let renewed = Link {
        connection: 2,
        ..LINK
    };
    // Whoever hangs up again and again has it looked behind no more often.
    lab.at = 4;
    let (now, clock) = (lab.now(), lab.clock());
    assert!(!lab.routing.wants_survey(renewed, now, clock));
    assert_eq!(lab.routing.way(renewed, now, clock), Way::Nearest);
    lab.at = 5;
    let (now, clock) = (lab.now(), lab.clock());
    assert!(lab.routing.wants_survey(renewed, now, clock));
    assert_eq!(lab.routing.way(renewed, now, clock), Way::Nearest);
    let other = Link { pool: 4, ..LINK };
    assert!(lab.routing.wants_survey(other, now, clock));
    assert!(matches!(lab.routing.way(other, now, clock), Way::Fail(_)));
}

#[test]
fn nobody_waits_for_a_survey_that_began_before_everything_was_started_over() {
    let mut lab = strict();
    let before = lab.begin();
    lab.at = 1;
    lab.routing.start_over();
    assert!(lab.wants(), "the next one begins at once");
    let after = lab.begin();
    lab.end(before, Ok(line_chain()));
    assert!(lab.routing.is_surveying());
    assert!(matches!(lab.way(), Way::AfterSurvey(_)));
    lab.end(after, Ok(line_chain()));
    assert_eq!(lab.way(), Way::Nearest);
}

#[test]
fn the_first_hop_at_fault_is_named() {
    let mut lab = strict();
    lab.survey(Ok(diamond_chain()));
    let told = lab.refused();
    assert!(
        told.starts_with("chain-not-encrypted: the chain is not encrypted to the end: "),
        "{told}"
    );
    assert!(told.contains("8g2l0qv7c4m1t5b9r3se.zz asks"), "{told}");
}

#[test]
fn a_refusal_is_looked_behind_soon_and_then_less_and_less_often() {
    let mut lab = strict();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        lab.survey(Ok(diamond_chain()));
        let before = lab.at;
        while !lab.wants() {
            lab.at += 1;
            lab.refused();
        }
        pauses.push(lab.at - before);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    lab.survey(Ok(line_chain()));
    assert_eq!(lab.way(), Way::Nearest, "it is mended");
}

#[test]
fn where_nobody_can_look_what_was_found_holds_for_its_time_and_then_nothing_is_asked() {
    let mut lab = strict();
    lab.survey(Ok(line_chain()));
    lab.at = 30;
    lab.survey(Err("no TLS"));
    assert_eq!(lab.way(), Way::Nearest);
    assert!(!lab.wants());
    lab.at = TTL;
    let ticket = lab.begin();
    assert!(matches!(lab.way(), Way::AfterSurvey(_)));
    lab.end(ticket, Err("no TLS"));
    assert!(lab.refused().contains("nobody could look at it: no TLS"));
}

/// A survey each time that one is due, of the chain as it is then, until `done`; nobody asks anything.
fn live_until(lab: &mut Lab, life: &mut Life, done: impl Fn(&Way) -> bool) -> u64 {
    let before = lab.at;
    while !done(&lab.way()) {
        lab.at += 1;
        assert!(lab.at < before + 300, "it takes too long: {:?}", lab.way());
        if lab.wants() {
            let chain = life.survey(lab.clock());
            lab.survey(Ok(chain));
        }
    }
    lab.at - before
}

/// The nearest is there, and what is behind it cannot be read any more.
#[test]
fn a_chain_that_cannot_be_read_any_more_is_refused_by_the_hop_within_its_time_and_is_asked_again_when_it_can()
 {
    let lost_and_told = [(1, [0, 1]), (2, [1, 2])];
    for (lost, hop) in lost_and_told {
        let (mut lab, mut life) = (strict(), Life::line());
        lab.survey(Ok(life.survey(CLOCK)));
        assert_eq!(lab.way(), Way::Nearest);
        life.lose(lost);
        let refused = |way: &Way| matches!(way, Way::Fail(_));
        let waited = live_until(&mut lab, &mut life, refused);
        assert!(waited <= TTL, "{lost}: {waited}");
        let told = lab.refused();
        // Who asks is named, or of whom it is not known whom he asks.
        assert!(
            hop.iter().any(|number| told.contains(&life.name(*number))),
            "{told}"
        );
        assert!(told.contains(&life.name(lost)), "{told}");
        // It stays so for as long as that lasts.
        for _ in 0..200 {
            lab.at += 1;
            if lab.wants() {
                let chain = life.survey(lab.clock());
                lab.survey(Ok(chain));
            }
            lab.refused();
        }
        life.find_again(lost);
        let waited = live_until(&mut lab, &mut life, |way| *way == Way::Nearest);
        assert!(waited <= RETRY_MAX.as_secs(), "{lost}: {waited}");
    }
}

/// Nobody looked while the time of what was found ran out: the computer was idle, and then somebody asks.
#[test]
fn what_is_over_is_not_relied_on_for_one_question_more_though_nobody_looked_meanwhile() {
    let (mut lab, mut life) = (strict(), Life::line());
    lab.survey(Ok(life.survey(CLOCK)));
    life.lose(1);
    lab.at = TTL;
    let ticket = lab.begin();
    assert!(matches!(lab.way(), Way::AfterSurvey(_)));
    let chain = life.survey(lab.clock());
    lab.end(ticket, Ok(chain));
    assert!(lab.refused().contains(&life.name(1)));
    // An end that is asked is none by what is over, either.
    let (mut lab, mut life) = (Lab::new(RoutePolicy::End), Life::line());
    lab.survey(Ok(life.survey(CLOCK)));
    assert_eq!(lab.way(), Way::End);
    life.lose(2);
    lab.at = TTL / 2;
    lab.survey(Ok(life.survey(lab.clock())));
    assert_eq!(lab.way(), Way::Nearest, "nobody met it");
}

#[test]
fn a_time_to_live_of_nothing_does_not_have_everybody_survey_all_the_time() {
    let mut lab = strict();
    let mut chain = line_chain();
    chain.ttl = 0;
    lab.survey(Ok(chain));
    assert_eq!(lab.way(), Way::Nearest);
    lab.at = 1;
    assert!(!lab.wants());
    lab.at = u64::from(MIN_TTL);
    lab.refused();
}

#[test]
fn who_answers_slowly_and_lets_nothing_be_kept_does_not_have_us_look_all_the_time() {
    let slow = u64::from(MIN_TTL) / 2 + 5;
    for (takes, next) in [(1, u64::from(MIN_TTL) / 2), (slow, 2 * slow)] {
        let mut lab = Lab::new(RoutePolicy::End);
        let mut chain = line_chain();
        chain.ttl = 0;
        let ticket = lab.begin();
        lab.at = takes;
        lab.end(ticket, Ok(chain));
        lab.at = next - 1;
        assert!(!lab.wants(), "after {takes} seconds");
        let again = Link {
            connection: 2,
            ..LINK
        };
        let wants = |lab: &Lab| lab.routing.wants_survey(again, lab.now(), lab.clock());
        lab.at = takes * 2 - 1;
        assert!(!wants(&lab), "nor by hanging up");
        lab.at = next;
        assert!(lab.wants(), "after {takes} seconds");
        lab.at = takes;
        lab.routing.look_soon();
        assert!(lab.wants(), "a person need not wait for that");
    }
}

#[test]
fn where_questions_wait_for_the_next_look_it_follows_when_what_was_seen_is_over() {
    let mut lab = strict();
    let mut chain = line_chain();
    chain.ttl = 0;
    let ticket = lab.begin();
    lab.at = SURVEY_TIMEOUT.as_secs();
    lab.end(ticket, Ok(chain));
    lab.at = u64::from(MIN_TTL) - 1;
    assert_eq!(lab.way(), Way::Nearest);
    assert!(!lab.wants(), "it took long");
    lab.at = u64::from(MIN_TTL);
    assert!(lab.refused().contains("holds no more"));
    assert!(lab.wants());
}

#[test]
fn a_survey_is_fresh_when_it_ends_however_long_it_took() {
    let mut lab = Lab::new(RoutePolicy::Nearest);
    let ticket = lab.routing.begin(LINK, lab.now(), lab.clock());
    lab.at = SURVEY_TIMEOUT.as_secs();
    lab.end(ticket, Ok(line_chain()));
    let fresh = |lab: &Lab| lab.routing.last().unwrap().is_fresh(lab.now());
    assert!(fresh(&lab));
    lab.at += FRESH.as_secs();
    assert!(!fresh(&lab));
}

#[test]
fn the_end_is_asked_where_it_was_met_and_otherwise_the_nearest() {
    let mut lab = Lab::new(RoutePolicy::End);
    assert_eq!(lab.way(), Way::Nearest, "nobody waits for a survey");
    lab.survey(Ok(line_chain()));
    assert_eq!(lab.way(), Way::End);
    let end = lab.routing.end(LINK, lab.now(), lab.clock()).unwrap();
    assert_eq!(end.name.to_string(), "aaaaaaaaaaaaaaaaaaaa.zz");
    assert_eq!(
        (end.address.to_string().as_str(), end.node),
        ("192.0.2.1:853", 2)
    );
    lab.at = TTL;
    assert_eq!(lab.way(), Way::Nearest, "what was found is over");
    lab.survey(Ok(diamond_chain()));
    assert_eq!(lab.way(), Way::Nearest, "that end was not met");
}

#[test]
fn whoever_was_revoked_is_nobody_to_be_encrypted_to() {
    let mut lab = strict();
    let ticket = lab.begin();
    lab.routing
        .end_survey(ticket, lab.now(), Ok((LINK, line_chain())), |_| false);
    let told = lab.refused();
    assert!(told.contains("its identity was revoked"), "{told}");
}

#[test]
fn nobody_is_the_end_in_whom_anything_is_contradicted_or_who_was_revoked() {
    type Spoil = fn(&mut Chain);
    let spoils: [(&str, Spoil); 6] = [
        ("only read through others", |chain| {
            chain.nodes[2].reached = Some(Reached::Through { node: NodeId(1) });
        }),
        ("the hop is claimed", |chain| {
            chain.hops[1].label = Label::Claimed;
        }),
        ("somebody else contradicts it", |chain| {
            let opaque = crate::chain::Hop {
                label: Label::Opaque,
                ..chain.hops[1].clone()
            };
            chain.hops.push(opaque);
        }),
        ("it forwards", |chain| {
            chain.nodes[2].server_type = ServerKind::Forwarder;
        }),
        ("nothing names its key", |chain| chain.nodes[2].tlsa.clear()),
        ("it is the nearest", |chain| chain.nearest = NodeId(2)),
    ];
    assert!(end_of(&line_chain(), |_| true).is_some());
    assert!(end_of(&line_chain(), |_| false).is_none(), "revoked");
    for (what, spoil) in spoils {
        let mut chain = line_chain();
        spoil(&mut chain);
        assert!(end_of(&chain, |_| true).is_none(), "{what}");
    }
}

#[test]
fn the_nearest_is_asked_without_any_survey_where_nothing_else_is_configured() {
    let mut lab = Lab::new(RoutePolicy::Nearest);
    assert!(!lab.wants());
    assert_eq!(lab.way(), Way::Nearest);
    // A person looked at it.
    let ticket = lab.routing.begin(LINK, lab.now(), lab.clock());
    lab.end(ticket, Ok(diamond_chain()));
    assert_eq!(lab.way(), Way::Nearest);
}
