use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    task::JoinHandle,
    time::{Instant, advance},
};

use super::{
    super::Forward,
    played::{Clock, Played, about, in_cleartext, over_tls, until},
};
use crate::resolve::{ANSWER_WITHIN, Passage, ResolveError, Source, Through};

/// When the asker of an upstream that keeps questions from others is answered by one that does not.
const OVERTAKEN: Duration = Duration::from_millis(2_500);
/// When a probe has failed.
const PROBE: Duration = Duration::from_millis(1_500);
const FIRST_REST: Duration = Duration::from_secs(2);

/// A forwarder before one upstream over TLS and one in cleartext.
struct Lab {
    forward: Arc<Forward>,
    encrypted: Arc<Played>,
    cleartext: Arc<Played>,
    _clock: Clock,
}

type Asking = JoinHandle<Result<Vec<u8>, ResolveError>>;

impl Lab {
    async fn new() -> Self {
        let clock = Clock::stopped();
        let (first, encrypted) = over_tls().await;
        let (second, cleartext) = in_cleartext().await;
        Self {
            forward: Arc::new(Forward::new(vec![second, first])),
            encrypted,
            cleartext,
            _clock: clock,
        }
    }

    /// Asks, and waits until the one over TLS was asked.
    async fn ask_in_vain(&self, name: &'static str, within: Duration) -> Asking {
        let forward = Arc::clone(&self.forward);
        let deadline = Instant::now() + within;
        let asking = tokio::spawn(async move { forward.resolve(about(name), deadline).await });
        until(name, || self.encrypted.was_asked(name)).await;
        asking
    }

    /// Insists on an answer that takes no time at all.
    async fn ask(&self, name: &str) {
        let asked = Instant::now();
        let answer = self.forward.resolve(about(name), asked + ANSWER_WITHIN);
        assert!(answer.await.is_ok(), "{name}");
        assert_eq!(Instant::now(), asked, "{name} waited");
    }

    /// What is told of the one over TLS.
    fn told(&self, key: &str) -> Value {
        self.forward.describe()["upstreams"][1][key].clone()
    }

    async fn until_told(&self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        until(key, || self.told(key) == value).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_costs_the_first_question_time_and_no_other() {
    let lab = Lab::new().await;
    lab.ask("before.").await;
    assert!(lab.encrypted.was_asked("before.") && !lab.cleartext.was_asked("before."));

    lab.encrypted.keep_silent(true);
    let asking = lab.ask_in_vain("first.", ANSWER_WITHIN).await;
    advance(OVERTAKEN).await;
    assert!(asking.await.unwrap().is_ok());
    assert!(lab.cleartext.was_asked("first."));
    assert_eq!(
        (lab.told("suspect"), lab.told("resting")),
        (true.into(), false.into())
    );
    until("a probe", || lab.encrypted.probes() > 0).await;
    advance(PROBE).await;
    lab.until_told("resting", true).await;
    for name in ["a.", "b.", "c.", "d."] {
        lab.ask(name).await;
        assert!(!lab.encrypted.was_asked(name));
    }

    // Who has an answer that another might better is not kept waiting for one that rests.
    lab.ask("e.broken.").await;
    assert!(!lab.encrypted.was_asked("e.broken."));

    // Nor does anybody pay after the rest: a probe does.
    advance(FIRST_REST).await;
    lab.until_told("probes", 2).await;
    lab.ask("e.").await;
    advance(PROBE).await;
    lab.until_told("probes-failed", 2).await;
    lab.ask("f.").await;
    assert_eq!(lab.told("resting"), true);
    advance(FIRST_REST).await;
    lab.ask("g.").await;
    assert_eq!(lab.told("probes"), 2, "the second rest is longer");

    // It comes back by a probe as well.
    lab.encrypted.keep_silent(false);
    advance(FIRST_REST).await;
    lab.until_told("resting", false).await;
    let (tier, latency) = (lab.told("transport"), lab.told("latency-ms"));
    lab.ask("after.").await;
    assert!(!lab.cleartext.was_asked("after."));
    assert_eq!(
        (tier, latency),
        ("dot".into(), 0.into()),
        "as it was before"
    );
    assert_eq!(
        (lab.told("probes"), lab.told("probes-failed")),
        (3.into(), 2.into())
    );
    assert_eq!(lab.cleartext.probes(), 0, "nobody had a reason");
}

#[tokio::test(start_paused = true)]
async fn names_that_a_stranger_makes_slow_push_nobody_else_into_cleartext() {
    let lab = Lab::new().await;
    for (slow, impatient, quick) in [
        ("a.slow.", "aa.slow.", "a."),
        ("b.slow.", "bb.slow.", "b."),
        ("c.slow.", "cc.slow.", "c."),
        ("d.slow.", "dd.slow.", "d."),
    ] {
        // Several at the same time, with patience and without.
        let probes = lab.encrypted.probes();
        let asking = lab.ask_in_vain(slow, ANSWER_WITHIN).await;
        let giving_up = lab.ask_in_vain(impatient, FIRST_REST).await;
        advance(FIRST_REST).await;
        assert_eq!(giving_up.await.unwrap(), Err(ResolveError::TimedOut));
        until("a probe", || lab.encrypted.probes() > probes).await;
        lab.until_told("suspect", false).await;
        lab.ask(quick).await;
        advance(OVERTAKEN - FIRST_REST).await;
        until(slow, || lab.cleartext.was_asked(slow)).await;
        advance(ANSWER_WITHIN - OVERTAKEN).await;
        assert_eq!(asking.await.unwrap(), Err(ResolveError::TimedOut));
        assert_eq!(lab.told("resting"), false);
        lab.ask(quick).await;
    }
    let of_others = |played: &Played| {
        let mut names = played.asked();
        names.retain(|name| !name.ends_with("slow.") && name != ".");
        names
    };
    assert_eq!(of_others(&lab.cleartext), [""; 0]);
    let quick = ["a.", "a.", "b.", "b.", "c.", "c.", "d.", "d."];
    assert_eq!(of_others(&lab.encrypted), quick);
    assert_eq!(lab.told("probes-failed"), 0);
    assert_eq!(Value::from(lab.encrypted.probes()), lab.told("probes"));
}

#[tokio::test(start_paused = true)]
async fn who_answers_nothing_without_rd_is_probed_in_the_other_form_and_does_not_rest() {
    let lab = Lab::new().await;
    lab.encrypted.want_rd();
    let giving_up = lab.ask_in_vain("a.slow.", FIRST_REST).await;
    advance(FIRST_REST).await;
    assert_eq!(giving_up.await.unwrap(), Err(ResolveError::TimedOut));
    until("a probe", || lab.encrypted.probes() > 0).await;
    assert_eq!(lab.told("suspect"), true);
    advance(PROBE / 3).await;
    lab.until_told("suspect", false).await;
    assert_eq!(lab.told("resting"), false);
    assert_eq!(lab.told("probes-failed"), 0);
    lab.ask("a.").await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_a_stranger_makes_unfit_push_nobody_else_into_cleartext() {
    let lab = Lab::new().await;
    for (odd, quick) in [("a.odd.", "a."), ("b.odd.", "b."), ("c.odd.", "c.")] {
        for _ in 0..5 {
            let deadline = Instant::now() + ANSWER_WITHIN;
            let refused = lab.forward.resolve(about(odd), deadline).await.unwrap_err();
            assert!(matches!(refused, ResolveError::InvalidAnswer { .. }));
        }
        lab.ask(quick).await;
        assert!(lab.encrypted.was_asked(quick) && !lab.cleartext.was_asked(quick));
        advance(PROBE * 2).await;
        lab.until_told("suspect", false).await;
        assert_eq!(lab.told("resting"), false);
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_passed_on_in_vain_makes_suspect_and_who_answers_others_is_not() {
    let lab = Lab::new().await;
    lab.ask("before.").await;
    let pass = |name: &'static str| {
        let (forward, soon) = (Arc::clone(&lab.forward), Instant::now() + FIRST_REST);
        tokio::spawn(async move { forward.pass(&Through::Preferred, about(name), soon).await })
    };
    let passing = pass("a.slow.");
    until("a.slow.", || lab.encrypted.was_asked("a.slow.")).await;
    advance(FIRST_REST / 2).await;
    lab.ask("meanwhile.").await;
    advance(FIRST_REST / 2).await;
    assert_eq!(passing.await.unwrap(), Err(ResolveError::TimedOut));
    assert_eq!(
        (lab.told("suspect"), lab.told("probes")),
        (false.into(), 0.into())
    );

    let passing = pass("b.slow.");
    until("b.slow.", || lab.encrypted.was_asked("b.slow.")).await;
    advance(FIRST_REST).await;
    assert_eq!(passing.await.unwrap(), Err(ResolveError::TimedOut));
    lab.until_told("probes", 1).await;
    lab.until_told("suspect", false).await;
    assert_eq!(
        (lab.told("resting"), lab.told("probes-failed")),
        (false.into(), 0.into())
    );
}

#[tokio::test(start_paused = true)]
async fn where_all_rest_all_are_asked_the_better_one_first() {
    let lab = Lab::new().await;
    lab.encrypted.keep_silent(true);
    lab.cleartext.keep_silent(true);
    let asking = lab.ask_in_vain("first.", ANSWER_WITHIN).await;
    for step in 0..2 {
        advance(OVERTAKEN).await;
        until("asked as well", || lab.cleartext.was_asked("first.")).await;
        assert!(!asking.is_finished(), "{step}");
    }
    advance(ANSWER_WITHIN - 2 * OVERTAKEN).await;
    assert_eq!(asking.await.unwrap(), Err(ResolveError::TimedOut));
    let resting = || {
        let told = lab.forward.describe();
        (0..2).all(|at| told["upstreams"][at]["resting"] == true)
    };
    until("probes", || {
        lab.encrypted.probes() > 0 && lab.cleartext.probes() > 0
    })
    .await;
    advance(PROBE).await;
    until("all rest", resting).await;
    // The better one first, as ever.
    lab.encrypted.keep_silent(false);
    lab.ask("second.").await;
    assert!(!lab.cleartext.was_asked("second."));
    assert_eq!(
        lab.told("resting"),
        false,
        "a question that is answered will do"
    );
}
