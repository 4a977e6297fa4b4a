//! The walk: from the address of the configured server to a verdict.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use zzdot_zonegen::clock::{UnixTime, build_date};
use zzdot_zonegen::keys::key_tag;
use zzdot_zonegen::owners::{anchor_zone, succession_owner};

use super::action::{Action, AskId, ConnectId, Step, TlsFailure};
use super::evidence::End;
use super::examination::Examination;
use super::ledger::Ledger;
use super::meeting::{Met, legacy_reason, meet};
use super::refusal::Refusal;
use super::succession::meet_successors;
use super::tlsa::PeerCertificates;
use super::verdict::{Discovered, LegacyReason, Verdict};
use crate::trust::{KnownIdentity, TrustState};
use crate::validate::bogus::shown;

/// For how long a walk waits in all.
pub const WALK_TIMEOUT: Duration = Duration::from_secs(12);

/// For how long a walk waits for TLS with the configured address before it tries those in the zone
/// beside it: a firewall that swallows packets would otherwise use up all of the time.
pub const FALLBACK_AFTER: Duration = Duration::from_secs(2);

/// How far a clock may be set back after a meeting: as far as signatures are back-dated.
pub const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// The most questions that a walk asks: two to meet, one for statements of succession, nine to
/// examine, one for another port, two where SOA records are taken out on the way.
pub const MAX_ASKS: usize = 15;

/// What a walk starts from.
#[derive(Clone, Debug)]
pub struct WalkInput {
    /// The configured server, on its port of plain DNS.
    pub server: SocketAddr,
    /// Who is expected there, where that is remembered.
    pub known: Option<KnownIdentity>,
    /// What applies to all walks.
    pub policy: WalkPolicy,
    /// When the walk starts.
    pub now: Instant,
    /// What the clock shows then.
    pub clock: UnixTime,
}

/// What applies to all walks.
#[derive(Clone, Debug)]
pub struct WalkPolicy {
    /// A time that is certainly past: nothing is validated while the clock shows less.
    pub clock_floor: UnixTime,
    /// After how long to give up.
    pub timeout: Duration,
}

impl Default for WalkPolicy {
    fn default() -> Self {
        Self {
            clock_floor: build_date(),
            timeout: WALK_TIMEOUT,
        }
    }
}

/// One discovery, as a state machine without IO.
///
/// ```text
///            new ── clock below floor, identity revoked ───────────────────────────► Refused
///             │
///             ▼   ask DNSKEY, NS of resolver-name.arpa
///         ┌─────────┐ NXDOMAIN, no data, REFUSED, unsigned … ► Legacy (Refused when known)
///         │ Meeting │ silence ─────────────────────────────────────────────────► NoAnswer
///         └────┬────┘ other name, bogus … ─────────────────────────────────────► Refused
///              │    signed by no key that is remembered: ask for statements
///              │    ┌────────────┐ no key shown descends from those ──────────► Refused
///              │───►│ Succession │ silence ─────────────────────────────────────► NoAnswer
///              │◄───└────────────┘
///              ▼   ask KEY, SOA below resolver-name.arpa; DNSKEY, SOA, A, AAAA, TXT, SVCB,
///              │   TLSA of NAME; at the same time connect to the configured address by TLS
///       ┌───────────┐ SVCB names another port: ask its TLSA, connect to it ─┐
///       │ Examining │◄──────────────────────────────────────────────────────┤
///       └──────┬────┘ the peer is not there: connect to the zone's addresses┘
///              │ silence on a question that matters ───────────────────────────► NoAnswer
///              │ a box on the way denies NAME by itself ────► Legacy (Refused when known)
///              │ bogus, missing, rolled back, no peer that TLSA names ─────────► Refused
///              ▼
///          Upgraded
/// ```
///
/// Answers may come in any order, twice or late. The caller sends each [`Action::Ask`] (with
/// retries, and over TCP after truncation), starts each [`Action::Connect`], reports how they came
/// out, and takes [`Walk::next_action`] until it gives none.
pub struct Walk {
    server: SocketAddr,
    known: Option<KnownIdentity>,
    floor: UnixTime,
    fallback_at: Instant,
    deadline: Instant,
    clock: UnixTime,
    ledger: Ledger,
    phase: Phase,
    /// The first answer of a server met for the first time that cannot be read.
    unreadable: Option<Refusal>,
}

enum Phase {
    Meeting {
        dnskey: AskId,
        ns: AskId,
    },
    Succession {
        dnskey: AskId,
        ns: AskId,
        statements: AskId,
    },
    Examining(Box<Examination>),
    Over,
}

impl Walk {
    /// Starts: the first questions are the next actions.
    #[must_use]
    pub fn new(input: WalkInput) -> Self {
        let WalkInput {
            server,
            known,
            policy,
            now,
            clock,
        } = input;
        // What was seen before is certainly past, too, but for a clock that was ahead and was set.
        let last_seen = known.as_ref().map_or(UnixTime(0), |known| known.last_seen);
        let last_seen = last_seen.minus(CLOCK_SLACK);
        let mut walk = Self {
            server,
            floor: policy.clock_floor.max(last_seen),
            fallback_at: now + FALLBACK_AFTER,
            deadline: now + policy.timeout,
            clock,
            ledger: Ledger::new(server),
            phase: Phase::Over,
            unreadable: None,
            known,
        };
        let revoked = |known: &&KnownIdentity| known.state == TrustState::Revoked;
        if let Some(known) = walk.known.as_ref().filter(revoked) {
            let name = known.name.clone();
            walk.end(Verdict::Refused {
                refusal: Refusal::IdentityRevoked { name },
            });
        } else if walk.clock_is_sound(clock) {
            walk.phase = Phase::Meeting {
                dnskey: walk.ledger.ask(anchor_zone(), RecordType::DNSKEY),
                ns: walk.ledger.ask(anchor_zone(), RecordType::NS),
            };
        }
        walk
    }

    /// What to do next; none until something is reported.
    pub fn next_action(&mut self) -> Option<Action> {
        self.ledger.next_action()
    }

    /// An answer came. `clock` is what the system clock shows.
    pub fn on_message(&mut self, now: Instant, clock: UnixTime, ask: AskId, message: &[u8]) {
        if !self.goes_on(now) || !self.clock_is_sound(clock) {
            return;
        }
        match self.ledger.on_message(ask, message) {
            Ok(true) => self.advance(),
            Ok(false) => {}
            Err(unreadable) => {
                let refusal = Refusal::MalformedAnswer {
                    asked: unreadable.asked,
                    error: unreadable.error.to_string(),
                };
                if self.is_first_meeting() {
                    self.set_aside(ask, refusal);
                } else {
                    self.end(Verdict::Refused { refusal });
                }
            }
        }
    }

    /// Answers came, and not one that can be read; the caller stopped trying.
    pub fn on_unreadable(&mut self, now: Instant, ask: AskId) {
        if !self.is_first_meeting() {
            return self.on_no_answer(now, ask);
        }
        if self.goes_on(now) && self.ledger.is_waiting(ask) {
            let (name, rtype) = self.ledger.asked(ask);
            let refusal = Refusal::MalformedAnswer {
                asked: format!("{name} {rtype}"),
                error: "no message of DNS".to_owned(),
            };
            self.set_aside(ask, refusal);
        }
    }

    fn is_first_meeting(&self) -> bool {
        self.known.is_none() && matches!(self.phase, Phase::Meeting { .. })
    }

    /// What an unreadable answer means depends on the other one.
    fn set_aside(&mut self, ask: AskId, refusal: Refusal) {
        self.ledger.ignore(&refusal.cause());
        self.unreadable.get_or_insert(refusal);
        if self.ledger.on_no_answer(ask) {
            self.advance();
        }
    }

    /// No answer came, and the caller stopped trying.
    pub fn on_no_answer(&mut self, now: Instant, ask: AskId) {
        if self.goes_on(now) && self.ledger.on_no_answer(ask) {
            self.advance();
        }
    }

    /// TLS came up, with these certificates, or did not.
    pub fn on_tls(
        &mut self,
        now: Instant,
        clock: UnixTime,
        attempt: ConnectId,
        outcome: Result<PeerCertificates, TlsFailure>,
    ) {
        if !self.goes_on(now) || !self.clock_is_sound(clock) {
            return;
        }
        if self.ledger.on_tls(attempt, outcome) {
            self.advance();
        }
    }

    /// When to call [`Walk::on_timeout`]; none once the walk is over.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Over => None,
            Phase::Examining(examination) if examination.is_patient() => {
                Some(self.fallback_at.min(self.deadline))
            }
            Phase::Meeting { .. } | Phase::Succession { .. } | Phase::Examining(_) => {
                Some(self.deadline)
            }
        }
    }

    /// Time passed.
    pub fn on_timeout(&mut self, now: Instant) {
        let over = now >= self.deadline;
        if let Phase::Examining(examination) = &mut self.phase {
            if over {
                // Where only TLS is missing, that is what to tell.
                examination.give_up_waiting(&mut self.ledger);
                self.advance();
            } else if now >= self.fallback_at && examination.is_patient() {
                examination.lose_patience();
                self.advance();
            }
        }
        if over && !matches!(self.phase, Phase::Over) {
            self.end(Verdict::NoAnswer);
        }
    }

    fn goes_on(&mut self, now: Instant) -> bool {
        self.on_timeout(now);
        !matches!(self.phase, Phase::Over)
    }

    fn clock_is_sound(&mut self, clock: UnixTime) -> bool {
        self.clock = clock;
        let floor = self.floor;
        if clock < floor {
            let refusal = Refusal::ClockBelowFloor { clock, floor };
            self.end(Verdict::Refused { refusal });
        }
        clock >= floor
    }

    fn advance(&mut self) {
        let outcome = match &mut self.phase {
            Phase::Over => return,
            Phase::Meeting { dnskey, ns } => {
                let (dnskey, ns) = (*dnskey, *ns);
                return self.advance_meeting(dnskey, ns);
            }
            Phase::Succession {
                dnskey,
                ns,
                statements,
            } => {
                let (dnskey, ns, statements) = (*dnskey, *ns, *statements);
                return self.advance_succession(dnskey, ns, statements);
            }
            Phase::Examining(examination) => examination.advance(&mut self.ledger, self.clock),
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(discovered)) => self.upgraded(discovered),
            Err(end) => self.end_by(end),
        }
    }

    fn advance_meeting(&mut self, dnskey: AskId, ns: AskId) {
        // One legacy answer tells: some servers are silent about the types that they do not know.
        for (ask, rtype) in [(dnskey, RecordType::DNSKEY), (ns, RecordType::NS)] {
            let reason = self
                .ledger
                .peek(ask)
                .and_then(|reply| legacy_reason(reply, rtype));
            if let Some(reason) = reason {
                return self.legacy(reason);
            }
        }
        let met = match (self.ledger.peek(dnskey), self.ledger.peek(ns)) {
            (Some(dnskey), Some(ns)) => meet(dnskey, ns, self.known.as_ref(), self.clock),
            // The other may still tell that the server is legacy.
            _ if self.ledger.is_waiting(dnskey) || self.ledger.is_waiting(ns) => return,
            (told, other) => {
                // Where one answer is signed, something spoils the other. Where nothing of worth
                // was said, it is a broken box as those that know no such zone; whoever is able to
                // make it look like one can also deny the zone.
                let signed = told.is_some() || other.is_some();
                return match self.unreadable.take() {
                    None => self.end(Verdict::NoAnswer),
                    Some(refusal) if signed => self.end(Verdict::Refused { refusal }),
                    Some(_) => self.legacy(LegacyReason::Unreadable),
                };
            }
        };
        match met {
            Ok(Some(met)) => self.examine(met, dnskey, ns),
            Ok(None) => {
                self.phase = Phase::Succession {
                    dnskey,
                    ns,
                    statements: self.ledger.ask(succession_owner(), RecordType::TXT),
                };
            }
            Err(refusal) => self.end_by(End::Refused(refusal)),
        }
    }

    /// Nothing is remembered that signed the keys shown; do they follow from it?
    fn advance_succession(&mut self, dnskey: AskId, ns: AskId, statements: AskId) {
        if self.ledger.is_waiting(statements) {
            return;
        }
        let (Some(shown), Some(told), Some(known)) = (
            self.ledger.peek(dnskey),
            self.ledger.peek(ns),
            self.known.as_ref(),
        ) else {
            return self.end(Verdict::NoAnswer);
        };
        let statements = self.ledger.peek(statements);
        match meet_successors(shown, told, statements, known, self.clock) {
            Ok(met) => {
                self.ledger.tell(Step::Succeeded {
                    remembered: known.anchor.trusted().iter().map(key_tag).collect(),
                    key_tags: met.shown.succeeding.iter().map(key_tag).collect(),
                });
                self.examine(met, dnskey, ns);
            }
            Err(end) => self.end_by(end),
        }
    }

    fn examine(&mut self, met: Met, dnskey: AskId, ns: AskId) {
        let known = self.known.as_ref();
        self.ledger.tell(Step::Anchored {
            key_tags: met.anchor.iter().map(key_tag).collect(),
            first_use: known.is_none(),
        });
        for (ask, secure) in [(dnskey, &met.dnskey), (ns, &met.ns)] {
            let (name, rtype) = self.ledger.asked(ask);
            self.ledger.tell(Step::Validated {
                name,
                rtype,
                key_tag: secure.key_tag,
                zone: shown(&secure.zone),
                until: secure.expires,
            });
        }
        self.ledger.tell(Step::Named {
            name: met.name.clone(),
            known: known.is_some(),
        });
        match Examination::start(met, self.server, known, &mut self.ledger, self.clock) {
            Ok(examination) => self.phase = Phase::Examining(Box::new(examination)),
            Err(end) => self.end_by(end),
        }
    }

    fn legacy(&mut self, reason: LegacyReason) {
        let name = match &self.phase {
            Phase::Examining(examination) => Some(examination.name().clone()),
            _ => None,
        };
        match &self.known {
            None => self.end(Verdict::Legacy { reason, name }),
            // A failure is no evidence of a server that was replaced.
            Some(_) if reason == LegacyReason::ServerFailure => self.end(Verdict::NoAnswer),
            Some(known) => {
                let name = known.name.clone();
                let refusal = Refusal::Downgraded { name, reason };
                self.end(Verdict::Refused { refusal });
            }
        }
    }

    fn upgraded(&mut self, discovered: Box<Discovered>) {
        self.end(Verdict::Upgraded(discovered));
    }

    fn end_by(&mut self, end: End) {
        match end {
            End::NoAnswer => self.end(Verdict::NoAnswer),
            End::Refused(refusal) => self.end(Verdict::Refused { refusal: *refusal }),
            // A box that forgets by itself must not cut a new laptop off; and whoever is able to make it look like one
            // can also deny `resolver-name.arpa`.
            End::DeniedOnTheWay => self.legacy(LegacyReason::DeniedOnTheWay),
        }
    }

    fn end(&mut self, verdict: Verdict) {
        self.phase = Phase::Over;
        self.ledger.drop_requests();
        self.ledger.tell(match &verdict {
            Verdict::Upgraded(discovered) => Step::Upgraded {
                name: discovered.name.clone(),
                endpoint: discovered.endpoint,
            },
            Verdict::Legacy { reason, .. } => Step::Legacy { reason: *reason },
            Verdict::Refused { refusal } => Step::Refused {
                refusal: refusal.clone(),
            },
            Verdict::NoAnswer => Step::GaveUp,
        });
        self.ledger.act(Action::Done(verdict));
    }
}
