//! What is known about the configured server, and so what may be done with a question. Without
//! IO: times, verdicts and failures in, decisions out.
//!
//! ```text
//!                    ┌────────────── after a while ─────────────┐
//!                    ▼                                          │
//!   Unknown ──walk──►├─ Upgraded ──► Strict ◄─┐                 │
//!      ▲             ├─ Legacy ────► Legacy ──┼── an hour ──────┤
//!      │             ├─ Refused ───► Refused ─┼── ten seconds ──┤
//!      │             └─ NoAnswer ──► NoAnswer ┘── two seconds ──┘
//!      │
//!   remembered ──► Strict: TLS at once, no walk before the first question
//! ```
//!
//! Strict is a latch. What a later walk finds may renew the identity, or be told as the reason of
//! failures; nothing leads from Strict to cleartext. The walk of a strict session goes over the TLS
//! connection itself; what lets it out in cleartext is [`Session::may_walk_in_clear`].
//!
//! Whoever was told a reason lately is told it again at once, while somebody looks behind it.

mod failure;
mod lesson;
mod policy;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use crate::config::LegacyPolicy;
use crate::discover::{LegacyReason, Refusal};
use crate::dot::DotError;
use crate::trust::{KnownIdentity, TrustState};

pub use failure::{Failure, failure_of};
pub use lesson::{Acquaintance, Lesson};
pub use policy::Policy;

use failure::is_about_connection;

/// How often an identity is validated anew.
const REFRESH: Duration = Duration::from_secs(3600);
/// How soon after a walk that brought nothing new.
const REFRESH_RETRY: Duration = Duration::from_secs(60);
/// How long a refusal stands before the server is given another chance.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// The same for silence.
const NO_ANSWER_FOR: Duration = Duration::from_secs(2);
/// Failures of TLS lead to a walk, but not more often than this.
const REWALK_PAUSE: Duration = Duration::from_secs(5);
/// For how long a verdict is told while the next walk is under way. After that, questions wait.
const TOLD_FOR: Duration = Duration::from_secs(30);
/// How long nobody answered on the port of TLS, when the resolver may have moved to another one.
const MOVED_AFTER: Duration = Duration::from_secs(60);
/// Failures with more time in between say nothing about the time in between.
const FAILING_GAP: Duration = Duration::from_secs(150);
/// How often it is looked then where it is.
const MOVED_PAUSE: Duration = Duration::from_secs(60);

/// What may be done with a question now.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// Ask over TLS.
    Encrypted,
    /// The server is not upgraded. The configuration says how far down the ladder a question may go then, at the most
    /// as far as cleartext.
    Legacy,
    /// Wait for the verdict of a walk, and look again.
    AfterWalk,
    /// Answer SERVFAIL.
    Fail(Failure),
    /// Answer SERVFAIL at once, and walk behind it.
    FailAndWalk(Failure),
}

/// What to do after TLS failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Advice {
    /// Walk, since the resolver may have changed its key; then look again.
    Walk,
    /// Answer SERVFAIL.
    Fail(Failure),
    /// Answer SERVFAIL at once, and walk behind it.
    FailAndWalk(Failure),
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Never met.
    Unknown,
    /// Met and validated: TLS or nothing.
    Strict {
        /// Whom to expect.
        identity: Box<KnownIdentity>,
        /// Why the last walk did not renew it.
        fault: Option<Refusal>,
    },
    /// Not upgraded.
    Legacy {
        /// How it showed.
        reason: LegacyReason,
        /// When to look again.
        until: Instant,
    },
    /// Not to be trusted.
    Refused {
        /// Why.
        refusal: Refusal,
        /// When to look again.
        until: Instant,
    },
    /// Does not answer.
    NoAnswer {
        /// When to look again.
        until: Instant,
    },
}

/// The relationship with one configured server.
#[derive(Clone, Debug)]
pub struct Session {
    server: SocketAddr,
    policy: Policy,
    state: State,
    walking: bool,
    /// When a walk ended that TLS failed before, or that did not end well.
    walk_ended: Option<Instant>,
    /// When a walk ended last, or could not begin.
    judged: Option<Instant>,
    /// Since when TLS fails, and when it was seen to fail last.
    failing_since: Option<Instant>,
    failed_at: Option<Instant>,
    /// It was forgotten, and what the walk finds that was under way is no longer asked for.
    outdated_walk: bool,
    refresh_at: Instant,
    /// Why the store did not take what was learned last.
    unremembered: Option<String>,
}

impl Session {
    /// A session with `server`, behind which `expected` was met before.
    #[must_use]
    pub fn new(
        server: SocketAddr,
        policy: Policy,
        expected: Option<KnownIdentity>,
        now: Instant,
    ) -> Self {
        let state = match expected {
            None => State::Unknown,
            Some(identity) => State::Strict {
                identity: Box::new(identity),
                fault: None,
            },
        };
        Self {
            server,
            policy,
            state,
            walking: false,
            walk_ended: None,
            judged: None,
            failing_since: None,
            failed_at: None,
            outdated_walk: false,
            // The first refresh follows soon, but not before the first questions.
            refresh_at: now + REFRESH_RETRY,
            unremembered: None,
        }
    }

    /// The configured server.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// What the configuration says about strangers.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// From now on strangers are treated so.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The store knows who is expected here: another session met it. A strict session knows as
    /// much itself.
    pub fn bind(&mut self, identity: KnownIdentity) {
        if self.identity().is_none() {
            self.state = State::Strict {
                identity: Box::new(identity),
                fault: None,
            };
        }
    }

    /// A person decided, or another session learned: this is what the store expects here from now on. What it could not
    /// take is not forgotten for that.
    pub fn rebind(&mut self, expected: Option<KnownIdentity>) {
        match (expected, &mut self.state) {
            (Some(expected), State::Strict { identity, .. }) if identity.name == expected.name => {
                if self.unremembered.is_none() {
                    **identity = expected;
                } else {
                    // What was learned since is here alone; what a person said is not.
                    identity.state = expected.state;
                    identity.verification = expected.verification;
                }
            }
            (Some(expected), _) => {
                self.forget();
                self.bind(expected);
            }
            (None, State::Strict { .. }) if self.unremembered.is_some() => {}
            (None, State::Strict { .. }) => self.forget(),
            (None, _) => {}
        }
    }

    /// The stranger here that waits for a person, if one does.
    #[must_use]
    pub fn undecided(&self) -> Option<&ResolverName> {
        match &self.state {
            State::Refused {
                refusal: Refusal::NotApproved { name } | Refusal::NotEnrolled { name },
                ..
            } => Some(name),
            _ => None,
        }
    }

    /// The computer slept: what failed before says nothing any more, and what was found out may have changed.
    pub fn on_resume(&mut self, now: Instant) {
        self.failing_since = None;
        self.failed_at = None;
        self.walk_ended = None;
        self.judged = None;
        self.refresh_at = self.refresh_at.min(now + REFRESH_RETRY);
        if let State::Legacy { until, .. }
        | State::Refused { until, .. }
        | State::NoAnswer { until } = &mut self.state
        {
            *until = now;
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether a walk is under way.
    #[must_use]
    pub fn is_walking(&self) -> bool {
        self.walking
    }

    /// Whom to expect, if anybody.
    #[must_use]
    pub fn identity(&self) -> Option<&KnownIdentity> {
        match &self.state {
            State::Strict { identity, .. } => Some(identity),
            _ => None,
        }
    }

    /// What may be done with a question.
    #[must_use]
    pub fn route(&self, now: Instant, clock: UnixTime) -> Route {
        match &self.state {
            State::Unknown => Route::AfterWalk,
            State::Strict { identity, .. } if identity.state == TrustState::Revoked => {
                let name = identity.name.clone();
                Route::Fail(Failure::Refused(Refusal::IdentityRevoked { name }))
            }
            State::Strict { identity, .. } if self.policy.lacks_vouching(identity) => {
                Route::Fail(Failure::Refused(self.waits_for_a_person(identity)))
            }
            State::Strict { identity, fault } => {
                // Without a living signature the key may be one that was given up long ago.
                if clock <= identity.signatures_expire {
                    return Route::Encrypted;
                }
                let failure = match fault {
                    Some(fault) => Failure::Refused(fault.clone()),
                    None => Failure::NoAnswer(format!(
                        "what was validated about {} expired, and it does not answer",
                        identity.name
                    )),
                };
                if self.walked_lately(now, REWALK_PAUSE) {
                    Route::Fail(failure)
                } else {
                    self.look_again(now, failure)
                }
            }
            State::Legacy { reason, until } if now < *until && self.policy.forbids_cleartext() => {
                // Whatever TLS it may offer: it does not tell where it sends questions on to.
                Route::Fail(Failure::Refused(Refusal::ChainNotEncrypted {
                    hop: None,
                    why: format!("{} is not upgraded: {reason}", self.server),
                }))
            }
            State::Legacy { reason, until } if now < *until => match self.policy.legacy {
                LegacyPolicy::Plain | LegacyPolicy::Encrypted | LegacyPolicy::Verified => {
                    Route::Legacy
                }
                LegacyPolicy::Refuse => {
                    Route::Fail(Failure::Refused(Refusal::Legacy { reason: *reason }))
                }
            },
            State::Legacy { .. } => Route::AfterWalk,
            State::Refused { refusal, until } => {
                let failure = Failure::Refused(refusal.clone());
                if now < *until {
                    Route::Fail(failure)
                } else {
                    self.look_again(now, failure)
                }
            }
            State::NoAnswer { until } => {
                let failure = Failure::NoAnswer(format!("{} does not answer", self.server));
                if now < *until {
                    Route::Fail(failure)
                } else {
                    self.look_again(now, failure)
                }
            }
        }
    }

    /// A walk is due. Whoever asks meanwhile is told what the last one found, while that is news.
    fn look_again(&self, now: Instant, failure: Failure) -> Route {
        if self.judged_lately(now) {
            Route::FailAndWalk(failure)
        } else {
            Route::AfterWalk
        }
    }

    /// Whether a walk is due, without any question asking for it.
    #[must_use]
    pub fn wants_refresh(&self, now: Instant) -> bool {
        let identity = self.identity();
        let strict = identity.is_some_and(|identity| identity.state != TrustState::Revoked);
        strict && !self.walking && now >= self.refresh_at
    }

    /// Somebody wants to know how things stand now. Whoever is known stays known; what was found about a server that is
    /// not upgraded counts no longer.
    pub fn expect_news(&mut self, now: Instant) {
        match &self.state {
            State::Strict { .. } => self.refresh_at = now,
            _ => {
                self.state = State::Unknown;
                self.judged = None;
            }
        }
    }

    /// Starts a walk, unless one is under way: whom it shall expect.
    pub fn begin_walk(&mut self) -> Option<Option<KnownIdentity>> {
        if self.walking {
            return None;
        }
        self.walking = true;
        Some(self.identity().cloned())
    }

    /// TLS with the known resolver came to nothing: whether the walk may ask in cleartext (about
    /// `resolver-name.arpa` and the resolver's own name) instead of over TLS.
    ///
    /// It may where another key is shown, since a new TLSA record can be learned in no other way;
    /// and where nobody answered for a while, since the resolver may have moved to another port.
    #[must_use]
    pub fn may_walk_in_clear(&self, now: Instant, error: &DotError) -> bool {
        match failure_of(error) {
            Failure::Refused(Refusal::CertificateMismatch { .. }) => true,
            Failure::Refused(_) => self
                .failing_since
                .is_some_and(|since| now.saturating_duration_since(since) >= MOVED_AFTER),
            Failure::NoAnswer(_) => false,
        }
    }

    /// Why a restart would not know what is known now.
    #[must_use]
    pub fn unremembered(&self) -> Option<&str> {
        self.unremembered.as_deref()
    }

    /// TLS with the resolver failed.
    #[must_use]
    pub fn on_tls_failure(&mut self, now: Instant, error: &DotError) -> Advice {
        if matches!(failure_of(error), Failure::Refused(_)) {
            self.note_failure(now);
            // Whether it is back by then, if nobody asks.
            self.refresh_at = self.refresh_at.min(now + REFRESH_RETRY);
        }
        let failure = self.explain(error);
        if !self.may_walk_in_clear(now, error) {
            return Advice::Fail(failure);
        }
        let other_key = matches!(
            failure_of(error),
            Failure::Refused(Refusal::CertificateMismatch { .. })
        );
        let pause = if other_key { REWALK_PAUSE } else { MOVED_PAUSE };
        if self.walked_lately(now, pause) {
            Advice::Fail(failure)
        } else if !other_key || self.judged_lately(now) {
            Advice::FailAndWalk(failure)
        } else {
            Advice::Walk
        }
    }

    fn note_failure(&mut self, now: Instant) {
        let in_a_row = self
            .failed_at
            .is_some_and(|last| now.saturating_duration_since(last) < FAILING_GAP);
        if !in_a_row {
            self.failing_since = None;
        }
        self.failing_since.get_or_insert(now);
        self.failed_at = Some(now);
    }

    /// The known resolver was connected to, for a walk that tells the rest.
    pub fn on_tls_connected(&mut self) {
        self.failing_since = None;
        self.failed_at = None;
    }

    /// What people are told of a failure of TLS: what the last walk found, where that says more.
    #[must_use]
    pub fn explain(&self, error: &DotError) -> Failure {
        let failure = failure_of(error);
        match (&failure, &self.state) {
            (
                Failure::Refused(_),
                State::Strict {
                    fault: Some(fault), ..
                },
            ) if !is_about_connection(fault) => Failure::Refused(fault.clone()),
            _ => failure,
        }
    }

    /// The resolver answered over TLS: whatever stood between us and it is gone.
    pub fn on_tls_answer(&mut self) {
        if self.failing_since.take().is_some() {
            self.walk_ended = None;
            self.judged = None;
            if let State::Strict { fault, .. } = &mut self.state {
                *fault = None;
            }
        }
    }

    /// Forget that anything was known: the person said so. A walk that is under way started from
    /// what is forgotten, and counts for nothing.
    pub fn forget(&mut self) {
        self.state = State::Unknown;
        self.outdated_walk = self.walking;
        self.walk_ended = None;
        self.judged = None;
        self.failing_since = None;
        self.failed_at = None;
        self.unremembered = None;
    }

    fn walked_lately(&self, now: Instant, pause: Duration) -> bool {
        self.walk_ended
            .is_some_and(|ended| now.saturating_duration_since(ended) < pause)
    }

    fn judged_lately(&self, now: Instant) -> bool {
        self.judged
            .is_some_and(|judged| now.saturating_duration_since(judged) < TOLD_FOR)
    }
}

#[cfg(test)]
mod tests;
