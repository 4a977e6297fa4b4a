//! Whether the end of the chain serves this computer. Without IO: what came of trials and of questions in, the state out.
//!
//! | the end is | a question is asked of | it becomes |
//! |---|---|---|
//! | *on trial* | the nearest | *in use* when it answers a question that says nothing about anybody. Where it does not, the next trial follows after 5, 10, 20… 60 seconds |
//! | *in use* | the end; what it does not answer in time, or refuses, of the nearest as well | *on trial* when it cannot be reached, or a trial after a question without an answer has none either; *set aside* when it does not serve us |
//! | *set aside* | the nearest | *on trial* with the next survey that finds it |
//! | *not vouched for*, where `first-use` wants somebody to: it shows that it is not who was enrolled, or nobody was | the nearest | *on trial* when somebody did |
//! | gone: a survey names another, or its keys are others; nobody may ask it any more; what was found holds no more; `route` is another | the nearest, or as `decision.rs` says | |
//!
//! Names that nobody answers say nothing about the end. That it does not serve us is not told by one answer. A name may be refused to everybody, and one that cannot be
//! validated fails everywhere: who has us ask for such names is not to choose whom we ask.
//!
//! | answer of the end | goes to whoever asked | set aside |
//! |---|---|---|
//! | anything but REFUSED and SERVFAIL | yes | no; what was counted is forgotten |
//! | REFUSED | the nearest is asked, too. Its answer, if it has one; else this | where the nearest has one, and the end refuses its trial, too, which is made unless one was within two seconds, or this is the third in a row |
//! | SERVFAIL, the first and the second in a row | yes: the nearest may not look at signatures | no |
//! | SERVFAIL, the third in a row | as REFUSED | where the nearest has an answer |
//!
//! An end that was set aside has to give one good answer before it is forgiven: until then the next REFUSED or SERVFAIL
//! is the third.

use std::time::{Duration, Instant};

/// So many answers in a row that are none, where the nearest has some, and it does not serve us.
const FRUITLESS_MAX: u8 = 3;

/// How soon a trial that a question gave reason for follows another: whoever has us ask is not to choose how often.
const APART: Duration = Duration::from_secs(2);

const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;

/// How things stand with the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was not tried yet, or did not answer.
    OnTrial(Option<Fault>),
    /// It is asked.
    InUse,
    /// It is not asked before the next survey.
    SetAside(Fault),
    /// Nobody vouched for it.
    NotVouched,
}

/// Why the end is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It cannot be reached, or does not answer in time.
    Silent,
    /// It refuses to answer this computer.
    Refuses,
    /// It has no answers.
    Fails,
}

/// What to do with an answer of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Whoever asked gets it.
    PassOn,
    /// The nearest is to be asked as well.
    Compare,
}

/// How the end serves this computer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    standing: Standing,
    /// Answers in a row that are none.
    fruitless: u8,
    /// Somebody vouched for it.
    vouched: bool,
    /// How often a person decided about somebody.
    decisions: u32,
    /// When the last trial was to begin that a question gave reason for.
    prompted: Option<Instant>,
}

impl Standing {
    /// A stable name in kebab-case.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InUse => "in-use",
            Self::OnTrial(None) => "on-trial",
            Self::OnTrial(Some(fault)) | Self::SetAside(fault) => match fault {
                Fault::Silent => "silent",
                Fault::Refuses => "refuses",
                Fault::Fails => "fails",
            },
            Self::NotVouched => "not-vouched-for",
        }
    }

    /// Why it is not asked, in a sentence without a full stop; none where it is, or was not tried yet.
    pub(super) fn why(self) -> Option<&'static str> {
        Some(match self {
            Self::InUse | Self::OnTrial(None) => return None,
            Self::OnTrial(Some(fault)) | Self::SetAside(fault) => match fault {
                Fault::Silent => "it does not answer",
                Fault::Refuses => "it refuses to answer this computer",
                Fault::Fails => "it fails to answer what the nearest answers",
            },
            Self::NotVouched => {
                "nobody vouched for it, and `first-use` is \"enrolled-only\": `zzdot-client verify` with its code does"
            }
        })
    }
}

impl Default for Service {
    fn default() -> Self {
        Self {
            standing: Standing::OnTrial(None),
            fruitless: 0,
            vouched: false,
            decisions: 0,
            prompted: None,
        }
    }
}

impl Service {
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// A survey found it again.
    pub(super) fn on_survey(&mut self) {
        if let Standing::SetAside(fault) = self.standing {
            self.standing = Standing::OnTrial(Some(fault));
        }
    }

    /// A trial ended with this response code, or without an answer. Whether it is another standing now.
    pub(super) fn on_trial(&mut self, code: Option<u8>) -> bool {
        if matches!(self.standing, Standing::SetAside(_)) {
            return false;
        }
        match trial_fault(code) {
            None => self.become_(Standing::InUse),
            Some(fault) => self.become_(Standing::OnTrial(Some(fault))),
        }
    }

    /// Nobody vouches for it, and somebody has to.
    pub(super) fn on_no_voucher(&mut self) -> bool {
        self.become_(Standing::NotVouched)
    }

    /// Whether somebody vouched for it, and nobody decided about anybody since.
    pub(super) fn is_vouched_for(&self) -> bool {
        self.vouched
    }

    /// How often a person decided: what was read before another decision is no voucher.
    pub(super) fn decisions(&self) -> u32 {
        self.decisions
    }

    /// Somebody vouches for it, when a person had decided so often.
    pub(super) fn on_voucher(&mut self, decisions: u32) {
        self.vouched = self.decisions == decisions;
    }

    /// A person decided about somebody. Whether a trial may come out otherwise than the last one.
    pub(super) fn on_decision(&mut self) -> bool {
        self.vouched = false;
        self.decisions = self.decisions.wrapping_add(1);
        matches!(self.standing, Standing::OnTrial(_) | Standing::NotVouched)
    }

    /// After which pause a trial may begin that a question gives reason for.
    pub(super) fn until_prompted(&self, now: Instant) -> Duration {
        let due = self.prompted.map_or(now, |prompted| prompted + APART);
        due.saturating_duration_since(now)
    }

    /// Such a trial begins then.
    pub(super) fn on_prompted(&mut self, at: Instant) {
        self.prompted = Some(at);
    }

    /// A question was lost. Whether it was in use.
    pub(super) fn on_lost(&mut self) -> bool {
        self.standing == Standing::InUse && self.become_(Standing::OnTrial(Some(Fault::Silent)))
    }

    /// It answered a question with this response code.
    pub(super) fn on_answer(&mut self, code: u8) -> Judgement {
        match code {
            REFUSED => Judgement::Compare,
            SERVFAIL if self.fruitless + 1 >= FRUITLESS_MAX => Judgement::Compare,
            SERVFAIL => {
                self.fruitless += 1;
                Judgement::PassOn
            }
            _ => {
                self.fruitless = 0;
                Judgement::PassOn
            }
        }
    }

    /// The nearest answered with a code what the end had answered with one that was to be compared.
    pub(super) fn on_comparison(&mut self, end: u8, nearest: u8) -> Comparison {
        if !is_answer(nearest) {
            // It is the question's fault.
            return Comparison::AsGood;
        }
        self.fruitless = (self.fruitless + 1).min(FRUITLESS_MAX);
        if self.fruitless == FRUITLESS_MAX {
            // The next one is enough.
            self.fruitless -= 1;
            let fault = if end == REFUSED {
                Fault::Refuses
            } else {
                Fault::Fails
            };
            self.set_aside(fault);
            return Comparison::Better { doubt: false };
        }
        Comparison::Better { doubt: true }
    }

    /// The trial of an end in doubt ended with this response code, or without an answer.
    pub(super) fn on_trial_in_doubt(&mut self, code: Option<u8>) {
        if code == Some(REFUSED) {
            self.fruitless = FRUITLESS_MAX - 1;
            self.set_aside(Fault::Refuses);
        }
    }

    fn set_aside(&mut self, fault: Fault) {
        if self.standing == Standing::InUse {
            self.standing = Standing::SetAside(fault);
        }
    }

    fn become_(&mut self, standing: Standing) -> bool {
        let before = std::mem::replace(&mut self.standing, standing);
        before != standing
    }
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// The nearest has no answer either: that of the end stands.
    AsGood,
    /// The nearest has one.
    Better {
        /// The end is to be tried ([`Service::on_trial_in_doubt`]), unless it just was: it may refuse everything.
        doubt: bool,
    },
}

fn is_answer(code: u8) -> bool {
    matches!(code, NOERROR | NXDOMAIN)
}

fn trial_fault(code: Option<u8>) -> Option<Fault> {
    match code {
        None => Some(Fault::Silent),
        Some(code) if is_answer(code) => None,
        Some(REFUSED) => Some(Fault::Refuses),
        Some(_) => Some(Fault::Fails),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_use() -> Service {
        let mut service = Service::default();
        assert!(service.on_trial(Some(NOERROR)));
        service
    }

    /// What whoever asked gets where the end answers `end` and the nearest would `nearest`: the one's, or the other's.
    fn ask(service: &mut Service, end: u8, nearest: u8) -> &'static str {
        if service.standing() != Standing::InUse {
            return "nearest";
        }
        match service.on_answer(end) {
            Judgement::PassOn => "end",
            Judgement::Compare => match service.on_comparison(end, nearest) {
                Comparison::AsGood => "end",
                Comparison::Better { .. } => "nearest",
            },
        }
    }

    #[test]
    fn an_end_that_refuses_what_the_nearest_answers_is_set_aside_until_the_next_survey() {
        let mut service = in_use();
        assert_eq!(service.on_answer(REFUSED), Judgement::Compare);
        let doubt = service.on_comparison(REFUSED, NOERROR);
        assert_eq!(doubt, Comparison::Better { doubt: true });
        service.on_trial_in_doubt(Some(REFUSED));
        assert_eq!(service.standing(), Standing::SetAside(Fault::Refuses));
        // No trial that was under way takes it back, nor another answer.
        service.on_answer(NOERROR);
        assert!(!service.on_lost());
        assert_eq!(service.standing(), Standing::SetAside(Fault::Refuses));
        service.on_survey();
        assert_eq!(service.standing(), Standing::OnTrial(Some(Fault::Refuses)));
        assert!(!service.on_trial(Some(REFUSED)));
        assert!(service.on_trial(Some(NXDOMAIN)));
        assert_eq!(service.standing(), Standing::InUse);
    }

    #[test]
    fn a_name_that_is_refused_to_everybody_changes_nothing() {
        let mut service = in_use();
        for _ in 0..9 {
            assert_eq!(ask(&mut service, REFUSED, REFUSED), "end");
            assert_eq!(ask(&mut service, REFUSED, SERVFAIL), "end");
        }
        assert_eq!(service.standing(), Standing::InUse);
    }

    #[test]
    fn a_name_that_the_end_alone_refuses_changes_nothing_while_it_answers_others() {
        let mut service = in_use();
        for _ in 0..9 {
            assert_eq!(ask(&mut service, REFUSED, NOERROR), "nearest");
            service.on_trial_in_doubt(Some(NOERROR));
            assert_eq!(ask(&mut service, REFUSED, NXDOMAIN), "nearest");
            assert_eq!(ask(&mut service, NOERROR, NOERROR), "end");
        }
        assert_eq!(service.standing(), Standing::InUse);
        for _ in 0..3 {
            assert_eq!(ask(&mut service, REFUSED, NOERROR), "nearest");
        }
        assert_eq!(service.standing(), Standing::SetAside(Fault::Refuses));
    }

    #[test]
    fn what_fails_at_the_end_fails_but_where_nothing_else_comes_the_nearest_is_asked() {
        let mut service = in_use();
        for _ in 0..9 {
            assert_eq!(ask(&mut service, SERVFAIL, NOERROR), "end");
            assert_eq!(ask(&mut service, SERVFAIL, NOERROR), "end");
            assert_eq!(ask(&mut service, NXDOMAIN, NOERROR), "end");
        }
        for expected in ["end", "end", "end", "end"] {
            assert_eq!(ask(&mut service, SERVFAIL, SERVFAIL), expected);
        }
        assert_eq!(service.standing(), Standing::InUse, "it fails everywhere");
        assert_eq!(ask(&mut service, SERVFAIL, NOERROR), "nearest");
        assert_eq!(service.standing(), Standing::SetAside(Fault::Fails));
        // The next survey finds it as it was: one more is enough.
        service.on_survey();
        service.on_trial(Some(NOERROR));
        assert_eq!(ask(&mut service, SERVFAIL, NOERROR), "nearest");
        assert_eq!(service.standing(), Standing::SetAside(Fault::Fails));
        service.on_survey();
        service.on_trial(Some(NOERROR));
        assert_eq!(ask(&mut service, NOERROR, NOERROR), "end");
        assert_eq!(
            ask(&mut service, SERVFAIL, NOERROR),
            "end",
            "it is forgiven"
        );
    }

    #[test]
    fn what_vouches_for_it_counts_until_a_person_decides() {
        let mut service = in_use();
        let before = service.decisions();
        service.on_voucher(before);
        assert!(service.is_vouched_for());
        assert!(!service.on_decision(), "it is asked anyway");
        assert!(!service.is_vouched_for());
        // It was read before.
        service.on_voucher(before);
        assert!(!service.is_vouched_for());
        service.on_voucher(service.decisions());
        assert!(service.is_vouched_for());
        service.on_lost();
        assert!(service.on_decision());
        service.on_no_voucher();
        assert!(service.on_decision());
    }

    #[test]
    fn trials_that_questions_give_reason_for_are_apart() {
        let mut service = in_use();
        let now = Instant::now();
        assert_eq!(service.until_prompted(now), Duration::ZERO);
        service.on_prompted(now);
        assert_eq!(service.until_prompted(now), APART);
        assert_eq!(service.until_prompted(now + APART / 2), APART / 2);
        assert_eq!(service.until_prompted(now + APART), Duration::ZERO);
    }

    #[test]
    fn what_is_lost_puts_it_on_trial_once() {
        let mut service = in_use();
        assert!(service.on_lost());
        assert!(!service.on_lost());
        assert_eq!(service.standing(), Standing::OnTrial(Some(Fault::Silent)));
        assert!(!service.on_trial(None));
        assert!(service.on_trial(Some(SERVFAIL)));
        assert!(service.on_no_voucher());
        assert_eq!(service.standing(), Standing::NotVouched);
        assert!(!service.on_lost());
    }
}
