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
//! failures; nothing leads from Strict to cleartext.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use zzdot_zonegen::clock::UnixTime;

use crate::config::LegacyPolicy;
use crate::discover::{LegacyReason, Refusal, TlsaMismatch, Verdict};
use crate::dot::{ConnectError, ConnectStage, DotError};
use crate::trust::KnownIdentity;

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

/// What may be done with a question now.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// Ask over TLS.
    Encrypted,
    /// Pass it on in cleartext: the server is not upgraded, and the configuration allows that.
    Cleartext,
    /// Wait for the verdict of a walk, and look again.
    AfterWalk,
    /// Answer SERVFAIL.
    Fail(Failure),
}

/// Why a question gets no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// For a reason of trust, or of its absence.
    Refused(Refusal),
    /// The server does not answer, be it plain or over TLS.
    NoAnswer(String),
}

impl Failure {
    /// Info-code and text of the extended error (RFC 8914).
    #[must_use]
    pub fn ede(&self) -> (u16, String) {
        const NO_REACHABLE_AUTHORITY: u16 = 22;
        match self {
            Self::Refused(refusal) => refusal.ede(),
            Self::NoAnswer(detail) => (NO_REACHABLE_AUTHORITY, format!("no-answer: {detail}")),
        }
    }
}

/// What to do after TLS failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Advice {
    /// Walk, since the resolver may have moved or changed its key; then look again.
    Walk,
    /// Answer SERVFAIL.
    Fail(Failure),
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
    legacy: LegacyPolicy,
    state: State,
    walking: bool,
    /// When a walk ended that TLS failed before, or that did not end well.
    walk_ended: Option<Instant>,
    /// TLS failed the last time.
    failing: bool,
    refresh_at: Instant,
    /// Why the store did not take what was learned last.
    unremembered: Option<String>,
}

impl Session {
    /// A session with `server`, behind which `expected` was met before.
    #[must_use]
    pub fn new(
        server: SocketAddr,
        legacy: LegacyPolicy,
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
            legacy,
            state,
            walking: false,
            walk_ended: None,
            failing: false,
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

    /// What is done with a server that is not upgraded.
    #[must_use]
    pub fn legacy_policy(&self) -> LegacyPolicy {
        self.legacy
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
            State::Strict { identity, fault } => {
                // Without a living signature the key may be one that was given up long ago.
                if clock <= identity.signatures_expire {
                    Route::Encrypted
                } else if self.walking || !self.walked_lately(now) {
                    Route::AfterWalk
                } else {
                    Route::Fail(match fault {
                        Some(fault) => Failure::Refused(fault.clone()),
                        None => Failure::NoAnswer(format!(
                            "what was validated about {} expired, and it does not answer",
                            identity.name
                        )),
                    })
                }
            }
            State::Legacy { reason, until } if now < *until => match self.legacy {
                LegacyPolicy::Plain => Route::Cleartext,
                LegacyPolicy::Refuse => {
                    Route::Fail(Failure::Refused(Refusal::Legacy { reason: *reason }))
                }
            },
            State::Refused { refusal, until } if now < *until => {
                Route::Fail(Failure::Refused(refusal.clone()))
            }
            State::NoAnswer { until } if now < *until => Route::Fail(Failure::NoAnswer(format!(
                "{} does not answer",
                self.server
            ))),
            State::Legacy { .. } | State::Refused { .. } | State::NoAnswer { .. } => {
                Route::AfterWalk
            }
        }
    }

    /// Whether a walk is due, without any question asking for it.
    #[must_use]
    pub fn wants_refresh(&self, now: Instant) -> bool {
        let strict = matches!(self.state, State::Strict { .. });
        strict && !self.walking && now >= self.refresh_at
    }

    /// Starts a walk, unless one is under way: whom it shall expect.
    pub fn begin_walk(&mut self) -> Option<Option<KnownIdentity>> {
        if self.walking {
            return None;
        }
        self.walking = true;
        Some(self.identity().cloned())
    }

    /// Takes the verdict of a walk. `remembered` is the identity of the name that it found, when
    /// that is known from another server's address. Gives back what is to be remembered.
    pub fn end_walk(
        &mut self,
        now: Instant,
        clock: UnixTime,
        verdict: Verdict,
        remembered: Option<KnownIdentity>,
    ) -> Option<KnownIdentity> {
        self.walking = false;
        self.walk_ended = Some(now);
        self.refresh_at = now + REFRESH_RETRY;
        match verdict {
            Verdict::Upgraded(discovered) => {
                let before = self.identity().cloned().or(remembered);
                let renewed = match before {
                    None => Ok(KnownIdentity::first_met(&discovered)),
                    Some(before) => before.met_again(&discovered),
                };
                match renewed {
                    Ok(identity) => {
                        if !self.failing {
                            // TLS was proven just now: if it fails next, things have changed.
                            self.walk_ended = None;
                        }
                        let lasts = identity.signatures_expire.0.saturating_sub(clock.0);
                        // Half-way to expiry, so that one failure more or less does not matter.
                        let refresh = REFRESH.min(Duration::from_secs(lasts / 2));
                        self.refresh_at = now + refresh.max(REFRESH_RETRY);
                        self.state = State::Strict {
                            identity: Box::new(identity.clone()),
                            fault: None,
                        };
                        Some(identity)
                    }
                    Err(refusal) => self.refuse(now, *refusal),
                }
            }
            Verdict::Refused { refusal } => self.refuse(now, refusal),
            Verdict::Legacy { reason } => match &self.state {
                State::Strict { identity, .. } => {
                    let name = identity.name.clone();
                    self.refuse(now, Refusal::Downgraded { name, reason })
                }
                _ => {
                    let until = now + reason.remembered_for();
                    self.state = State::Legacy { reason, until };
                    None
                }
            },
            Verdict::NoAnswer => {
                if let State::Strict { fault, .. } = &mut self.state {
                    *fault = None;
                } else {
                    let until = now + NO_ANSWER_FOR;
                    self.state = State::NoAnswer { until };
                }
                None
            }
        }
    }

    /// Whether the store took what was learned. Where it did not, the latch holds as long as the
    /// process does; that is told, and tried again soon.
    pub fn on_remembered(&mut self, now: Instant, outcome: Result<(), String>) {
        self.unremembered = outcome.err();
        if self.unremembered.is_some() {
            self.refresh_at = self.refresh_at.min(now + REFRESH_RETRY);
        }
    }

    /// Why a restart would not know what is known now.
    #[must_use]
    pub fn unremembered(&self) -> Option<&str> {
        self.unremembered.as_deref()
    }

    fn refuse(&mut self, now: Instant, refusal: Refusal) -> Option<KnownIdentity> {
        match &mut self.state {
            State::Strict { fault, .. } => *fault = Some(refusal),
            state => {
                *state = State::Refused {
                    refusal,
                    until: now + REFUSED_FOR,
                };
            }
        }
        None
    }

    /// TLS with the resolver failed.
    #[must_use]
    pub fn on_tls_failure(&mut self, now: Instant, error: &DotError) -> Advice {
        self.failing = true;
        let failure = failure_of(error);
        let about_connection = match &failure {
            Failure::Refused(_) => true,
            Failure::NoAnswer(_) => false,
        };
        if about_connection && (self.walking || !self.walked_lately(now)) {
            return Advice::Walk;
        }
        // What the last walk found says more than that TLS fails.
        if let (
            true,
            State::Strict {
                fault: Some(fault), ..
            },
        ) = (about_connection, &self.state)
        {
            return Advice::Fail(Failure::Refused(fault.clone()));
        }
        Advice::Fail(failure)
    }

    /// The resolver answered over TLS: whatever stood between us and it is gone.
    pub fn on_tls_answer(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.walk_ended = None;
            if let State::Strict { fault, .. } = &mut self.state {
                *fault = None;
            }
        }
    }

    /// Forget that anything was known: the person said so.
    pub fn forget(&mut self) {
        self.state = State::Unknown;
    }

    fn walked_lately(&self, now: Instant) -> bool {
        self.walk_ended
            .is_some_and(|ended| now.saturating_duration_since(ended) < REWALK_PAUSE)
    }
}

/// A failure of TLS under the name that people are told.
#[must_use]
pub fn failure_of(error: &DotError) -> Failure {
    let connect = match error {
        DotError::NoConnection(connect) => Some(connect),
        DotError::Deadline { connect, .. } => connect.as_ref(),
        _ => None,
    };
    match connect {
        None => Failure::NoAnswer(error.to_string()),
        Some(ConnectError::Untrusted { address, .. }) => {
            Failure::Refused(Refusal::CertificateMismatch {
                endpoint: *address,
                mismatch: TlsaMismatch::OtherKey,
            })
        }
        Some(
            ConnectError::Tcp { address, .. }
            | ConnectError::TimedOut {
                address,
                stage: ConnectStage::Tcp,
            },
        ) => Failure::Refused(Refusal::NoAnswerOnDotPort {
            tried: vec![*address],
        }),
        Some(ConnectError::Handshake { address, reason }) => {
            Failure::Refused(Refusal::HandshakeFailed {
                endpoint: *address,
                detail: reason.clone(),
            })
        }
        Some(ConnectError::TimedOut { address, .. }) => {
            Failure::Refused(Refusal::HandshakeFailed {
                endpoint: *address,
                detail: "it took too long".to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests;
