//! What a walk's verdict means for a session, and what of it is to be written down.

use std::time::{Duration, Instant};

use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::key_tag;
use zzdot_zonegen::name::ResolverName;

use super::failure::failure_of;
use super::{Failure, NO_ANSWER_FOR, REFRESH, REFRESH_RETRY, REFUSED_FOR, Session, State};
use crate::config::FirstUse;
use crate::discover::{Discovered, Refusal, Verdict};
use crate::dot::DotError;
use crate::trust::{AnchorEvent, Enrolled, KnownIdentity, TrustState};

/// How long a resolver waits for a person before it is looked at again; a decision ends it at once.
const UNDECIDED_FOR: Duration = Duration::from_secs(300);

/// What memory says about the name that a walk found.
#[derive(Clone, Debug, Default)]
pub struct Acquaintance {
    /// The resolver, wherever it was met.
    pub known: Option<KnownIdentity>,
    /// What somebody vouched for before it was met.
    pub enrolled: Option<Enrolled>,
}

impl Acquaintance {
    /// Whether it was met, or vouched for, before.
    fn is_acquainted(&self) -> bool {
        self.known.is_some() || self.enrolled.is_some()
    }
}

/// What is to be written down after a walk.
#[derive(Clone, Debug, PartialEq)]
pub enum Lesson {
    /// Nothing.
    Nothing,
    /// The resolver, and that it is expected here. Until [`Session::learn`] says that it is, nothing changes. What
    /// happened to the keys of its anchor goes with it, for people to read.
    Remember(Box<KnownIdentity>, Vec<AnchorEvent>),
    /// That a person has to decide about it.
    Ask(Box<KnownIdentity>),
    /// That it revoked itself: it is never used again.
    Revoke(ResolverName),
}

impl Session {
    /// A walk ends before it begins: it would have to go in cleartext, and may not.
    pub fn abandon_walk(&mut self, now: Instant, error: &DotError) {
        self.walking = false;
        if std::mem::take(&mut self.outdated_walk) {
            return;
        }
        self.judged = Some(now);
        self.walk_ended = Some(now);
        self.refresh_at = now + REFRESH_RETRY;
        if let Failure::Refused(refusal) = failure_of(error) {
            self.note_failure(now);
            self.refuse(refusal, now + REFUSED_FOR);
        }
    }

    /// Takes the verdict of a walk, and what memory says about the name that it found.
    pub fn end_walk(
        &mut self,
        now: Instant,
        verdict: Verdict,
        acquaintance: Acquaintance,
    ) -> Lesson {
        self.walking = false;
        if std::mem::take(&mut self.outdated_walk) {
            return Lesson::Nothing;
        }
        self.judged = Some(now);
        self.walk_ended = Some(now);
        self.refresh_at = now + REFRESH_RETRY;
        match verdict {
            Verdict::Upgraded(discovered) => match self.judge(&discovered, acquaintance) {
                Ok(Lesson::Ask(identity)) => {
                    let refusal = self.waits_for_a_person(&identity);
                    self.refuse(refusal, now + UNDECIDED_FOR);
                    return Lesson::Ask(identity);
                }
                Ok(lesson) => {
                    // Until it is learned.
                    self.walking = true;
                    return lesson;
                }
                Err(refusal) => return self.take_refusal(now, *refusal),
            },
            Verdict::Refused { refusal } => return self.take_refusal(now, refusal),
            Verdict::Legacy {
                reason,
                name: Some(name),
            } if acquaintance.is_acquainted() => {
                // Somewhere else, or by a code, it is known to be upgraded.
                let refusal = match acquaintance.known.map(|known| known.state) {
                    Some(TrustState::Revoked) => Refusal::IdentityRevoked { name },
                    _ => Refusal::Downgraded { name, reason },
                };
                return self.take_refusal(now, refusal);
            }
            Verdict::Legacy { reason, .. } => match &self.state {
                State::Strict { identity, .. } => {
                    let name = identity.name.clone();
                    let refusal = Refusal::Downgraded { name, reason };
                    self.refuse(refusal, now + REFUSED_FOR);
                }
                _ => {
                    let until = now + reason.remembered_for();
                    self.state = State::Legacy { reason, until };
                }
            },
            Verdict::NoAnswer => {
                if let State::Strict { fault, .. } = &mut self.state {
                    *fault = None;
                } else {
                    let until = now + NO_ANSWER_FOR;
                    self.state = State::NoAnswer { until };
                }
            }
        }
        Lesson::Nothing
    }

    fn take_refusal(&mut self, now: Instant, refusal: Refusal) -> Lesson {
        let lesson = match (&refusal, &mut self.state) {
            (Refusal::IdentityRevoked { name }, State::Strict { identity, .. })
                if identity.name == *name =>
            {
                let known = std::mem::replace(&mut identity.state, TrustState::Revoked);
                match known {
                    TrustState::Revoked => Lesson::Nothing,
                    _ => Lesson::Revoke(name.clone()),
                }
            }
            (Refusal::IdentityRevoked { name }, _) => Lesson::Revoke(name.clone()),
            _ => Lesson::Nothing,
        };
        self.refuse(refusal, now + REFUSED_FOR);
        lesson
    }

    /// Whether the resolver that a walk found is to be used here.
    fn judge(
        &self,
        discovered: &Discovered,
        Acquaintance { known, enrolled }: Acquaintance,
    ) -> Result<Lesson, Box<Refusal>> {
        let remember = |identity, events| Ok(Lesson::Remember(Box::new(identity), events));
        if let Some(expected) = self.identity() {
            // Met in another place meanwhile, it may be known better than here.
            let known = known.filter(|known| known.name == expected.name);
            let known = known.as_ref().unwrap_or(expected);
            let (met, events) = known.meet_again(discovered)?;
            return remember(met, events);
        }
        let is_stranger = known.is_none();
        let (met, events) = match known {
            Some(known) => known.meet_again(discovered)?,
            None => (KnownIdentity::first_met(discovered), Vec::new()),
        };
        if met.state != TrustState::Provisional {
            return remember(met, events);
        }
        if let Some(enrolled) = enrolled {
            return match met.anchor.active() {
                Some(key) if enrolled.names(key) => {
                    remember(met.verified(enrolled.verification()), events)
                }
                active => Err(Box::new(Refusal::AnchorChanged {
                    name: met.name.clone(),
                    remembered: enrolled.ds.iter().map(|ds| ds.tag).collect(),
                    shown: active.iter().map(|key| key_tag(key)).collect(),
                })),
            };
        }
        match self.policy.first_use {
            FirstUse::Auto => remember(met, events),
            FirstUse::Ask if !is_stranger => remember(met, events),
            FirstUse::Ask | FirstUse::EnrolledOnly => Ok(Lesson::Ask(Box::new(met))),
        }
    }

    /// What whoever asks is told about a resolver that waits for a person.
    pub(super) fn waits_for_a_person(&self, identity: &KnownIdentity) -> Refusal {
        let name = identity.name.clone();
        match self.policy.first_use {
            FirstUse::EnrolledOnly => Refusal::NotEnrolled { name },
            FirstUse::Auto | FirstUse::Ask => Refusal::NotApproved { name },
        }
    }

    /// `identity` is what the walk found, and the store has taken it or cannot. Where it cannot,
    /// the latch holds as long as the process does; that is told, and tried again soon.
    pub fn learn(
        &mut self,
        now: Instant,
        clock: UnixTime,
        identity: KnownIdentity,
        outcome: Result<(), String>,
    ) {
        self.walking = false;
        if self.failing_since.is_none() {
            // TLS was proven just now: if it fails next, things have changed.
            self.walk_ended = None;
        }
        let lasts = identity.signatures_expire.0.saturating_sub(clock.0);
        // Half-way to expiry, so that one failure more or less does not matter.
        let refresh = REFRESH.min(Duration::from_secs(lasts / 2));
        self.refresh_at = now + refresh.max(REFRESH_RETRY);
        self.state = State::Strict {
            identity: Box::new(identity),
            fault: None,
        };
        self.judged = None;
        self.unremembered = outcome.err();
        if self.unremembered.is_some() {
            self.refresh_at = self.refresh_at.min(now + REFRESH_RETRY);
        }
    }

    fn refuse(&mut self, refusal: Refusal, until: Instant) {
        match &mut self.state {
            State::Strict { fault, .. } => *fault = Some(refusal),
            state => *state = State::Refused { refusal, until },
        }
    }
}
