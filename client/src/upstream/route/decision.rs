//! Whom a question is asked of where others stand behind the resolver. Without IO: what surveys found, failures and times
//! in, decisions out.
//!
//! | `route` | before a survey | while what it found holds | when that is over |
//! |---|---|---|---|
//! | `nearest` | the nearest | the nearest | the nearest |
//! | `end` | the nearest | the end that it met, if it met one, as far as that serves us (`ends.rs`) | the nearest |
//! | `encrypted-to-end` | waits | the nearest, or refused | waits, or refused |
//!
//! What a survey found holds for the time-to-live of what it read, since the survey began, by two clocks: the one stands
//! still while the computer sleeps, the other can be set.
//!
//! | what happens | `nearest` | `end` | `encrypted-to-end` |
//! |---|---|---|---|
//! | the configuration turns to this | - | a survey at once; the nearest until it ended | a survey at once; what was found goes on to hold where nothing speaks against it, else questions wait |
//! | half of its time is over | - | a survey | a survey |
//! | a survey found nothing good, or could not begin | - | the nearest; the next one after 5, 10, 20… 60 seconds | refused, and the same |
//! | a person revoked somebody on the way | - | he is nobody's end | refused, and a survey at once |
//! | another nearest; the computer slept | - | the nearest until a survey ended | waits for one |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::upstream::ServerKind;

use crate::chain::{Behind, Chain, Label, MAX_TTL, MIN_TTL, Reached, SURVEY_TIMEOUT, Who};
use crate::config::RoutePolicy;
use crate::discover::{Refusal, Tlsa};
use crate::session::Failure;

/// After a survey of which nothing good came, the next one follows so soon, and later each time.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A survey that did not end by then never will: its task is gone.
const LOST: Duration = SURVEY_TIMEOUT.saturating_mul(3);
/// For so long after a question chains are looked at again without another: the next one is to find its way.
const AWAKE: Duration = Duration::from_secs(600);
/// What a survey found that ended so short ago is told without another.
const FRESH: Duration = Duration::from_secs(5);
/// How soon a survey may follow another, whatever for.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The connection with the nearest: which pool, and how many connections it made. Neither number comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Link {
    pub(in crate::upstream) pool: u32,
    pub(in crate::upstream) connection: u64,
}

/// A resolver at the end of the chain, as a survey met it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::upstream) struct End {
    pub(in crate::upstream) name: ResolverName,
    pub(in crate::upstream) address: SocketAddr,
    pub(in crate::upstream) tlsa: Vec<Tlsa>,
    /// Its node in the chain.
    pub(in crate::upstream) node: usize,
}

/// Where a question goes.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::upstream) enum Way {
    /// To the resolver that the session is with.
    Nearest,
    /// To the end of the chain; to the nearest, where that fails.
    End,
    /// Nowhere yet: a survey is under way. If it takes too long, this is why.
    AfterSurvey(Failure),
    /// Nowhere.
    Fail(Failure),
}

/// What a survey found.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Found {
    pub(in crate::upstream) chain: Arc<Chain>,
    /// When the survey began.
    pub(in crate::upstream) begun: Instant,
    ended: Instant,
    pub(in crate::upstream) clock: UnixTime,
    holds: Duration,
    link: Link,
    /// Why nothing may be asked where all has to be encrypted.
    pub(in crate::upstream) fault: Option<Refusal>,
    end: Option<End>,
}

/// A survey that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Ticket {
    number: u64,
    begun: Instant,
    clock: UnixTime,
}

/// What is known about the chain behind one server.
#[derive(Debug)]
pub(in crate::upstream) struct Routing {
    policy: RoutePolicy,
    found: Option<Found>,
    /// Why the last survey brought no chain at all.
    failed: Option<String>,
    /// The one under way. Another that ends does not count: it began before everything was started over, or was given
    /// up for lost.
    under_way: Option<Ticket>,
    surveys: u64,
    last_begun: Option<Instant>,
    /// Behind which connection it looked.
    looked_behind: Option<Link>,
    /// When the last question came.
    asked: Option<Instant>,
    /// When the next one is due by itself.
    due: Option<Instant>,
    /// Until then none is made that nobody waits for: one that took long is not followed by another at once, or those who
    /// answer slowly would have us look all the time.
    rests_until: Option<Instant>,
    in_vain: u32,
}

impl Routing {
    pub(in crate::upstream) fn new(policy: RoutePolicy) -> Self {
        Self {
            policy,
            found: None,
            failed: None,
            under_way: None,
            surveys: 0,
            last_begun: None,
            looked_behind: None,
            asked: None,
            due: None,
            rests_until: None,
            in_vain: 0,
        }
    }

    pub(in crate::upstream) fn policy(&self) -> RoutePolicy {
        self.policy
    }

    /// Takes over a policy. What was seen under another one was not seen for this one, and so a survey is due; what
    /// speaks against asking anybody is seen once more before anybody is told so.
    pub(in crate::upstream) fn set_policy(&mut self, policy: RoutePolicy) {
        if self.policy == policy {
            return;
        }
        self.policy = policy;
        self.look_soon();
        if policy == RoutePolicy::EncryptedToEnd && self.fault().is_some() {
            self.found = None;
        }
    }

    /// A survey is due, whatever the last one brought and however short ago that was: a person wants something else.
    pub(in crate::upstream) fn look_soon(&mut self) {
        (self.due, self.rests_until, self.last_begun) = (None, None, None);
        self.in_vain = 0;
    }

    /// The computer slept, somebody was forgotten, or a person decided: what was found counts no more, nor what a
    /// survey finds that is under way.
    pub(in crate::upstream) fn start_over(&mut self) {
        self.found = None;
        self.failed = None;
        self.look_soon();
        self.looked_behind = None;
        // Nobody waits for one that will not count.
        self.under_way = None;
    }

    /// What the last survey found behind `link`, if that still holds.
    pub(in crate::upstream) fn holding(
        &self,
        link: Link,
        now: Instant,
        clock: UnixTime,
    ) -> Option<&Found> {
        let behind = |found: &&Found| found.is_behind(link);
        let holds = |found: &&Found| found.holds(now, clock);
        self.found.as_ref().filter(behind).filter(holds)
    }

    /// What the last survey found, whether it holds or not.
    pub(in crate::upstream) fn last(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// What the last survey found wrong.
    pub(in crate::upstream) fn fault(&self) -> Option<&Refusal> {
        self.found.as_ref()?.fault.as_ref()
    }

    /// Why the last survey brought no chain; none where it brought one.
    pub(in crate::upstream) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    pub(in crate::upstream) fn is_surveying(&self) -> bool {
        self.under_way.is_some()
    }

    /// A person decided about somebody, who may be on the way.
    pub(in crate::upstream) fn on_decision(
        &mut self,
        may_be_asked: impl Fn(&ResolverName) -> bool,
    ) {
        let Some(found) = &mut self.found else {
            return;
        };
        let is_end = |end: &End| may_be_asked(&end.name);
        found.end = found.end.take().filter(is_end);
        if found.fault.is_none() {
            found.fault = revoked(&found.chain, may_be_asked);
            if found.fault.is_some() {
                self.look_soon();
            }
        }
    }

    /// The end that questions may go to now.
    pub(in crate::upstream) fn end(
        &self,
        link: Link,
        now: Instant,
        clock: UnixTime,
    ) -> Option<&End> {
        self.holding(link, now, clock)?.end.as_ref()
    }

    /// Where a question goes. Ask [`Routing::wants_survey`] before.
    pub(in crate::upstream) fn way(&self, link: Link, now: Instant, clock: UnixTime) -> Way {
        let holding = self.holding(link, now, clock);
        match (self.policy, holding) {
            (RoutePolicy::Nearest, _) => Way::Nearest,
            (RoutePolicy::End, Some(Found { end: Some(_), .. })) => Way::End,
            (RoutePolicy::End, _) => Way::Nearest,
            (RoutePolicy::EncryptedToEnd, Some(found)) => match &found.fault {
                None => Way::Nearest,
                Some(fault) => Way::Fail(Failure::Refused(fault.clone())),
            },
            (RoutePolicy::EncryptedToEnd, None) if self.is_surveying() => {
                Way::AfterSurvey(self.why_unknown())
            }
            (RoutePolicy::EncryptedToEnd, None) => Way::Fail(self.why_unknown()),
        }
    }

    /// Whether a survey is due.
    pub(in crate::upstream) fn wants_survey(
        &self,
        link: Link,
        now: Instant,
        clock: UnixTime,
    ) -> bool {
        if self.policy == RoutePolicy::Nearest {
            return false;
        }
        // Who hangs up again and again does not decide how often: behind a new connection with the same one, what was
        // found holds.
        let rested = |begun: Instant| now.saturating_duration_since(begun) >= RETRY;
        let rests = self.rests_until.is_some_and(|until| now < until);
        let another = self.looked_behind.is_none_or(|seen| seen.pool != link.pool);
        let changed = self.looked_behind != Some(link) && self.last_begun.is_none_or(rested);
        let stale = self.holding(link, now, clock).is_none();
        let due = self.due.is_none_or(|due| now >= due);
        // Where the last one failed, what is stale waits for its turn.
        let wanted = changed || due || (stale && self.in_vain == 0);
        (another || (wanted && !rests)) && self.may_begin(now)
    }

    /// A question came.
    pub(in crate::upstream) fn on_question(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Whether surveys are made that no question asks for: the first one for a policy, and while questions are to be expected.
    pub(in crate::upstream) fn looks_ahead(&self, now: Instant) -> bool {
        let lately = |asked: Instant| now.saturating_duration_since(asked) < AWAKE;
        self.policy != RoutePolicy::Nearest
            && (self.found.is_none() || self.due.is_none() || self.asked.is_some_and(lately))
    }

    /// Whether one may begin at all.
    pub(in crate::upstream) fn may_begin(&self, now: Instant) -> bool {
        let paused = |begun: Instant| now.saturating_duration_since(begun) >= PAUSE;
        let lost = |ticket: Ticket| now.saturating_duration_since(ticket.begun) >= LOST;
        self.under_way.is_none_or(lost) && self.last_begun.is_none_or(paused)
    }

    pub(in crate::upstream) fn begin(
        &mut self,
        link: Link,
        now: Instant,
        clock: UnixTime,
    ) -> Ticket {
        let ticket = Ticket {
            number: self.surveys,
            begun: now,
            clock,
        };
        self.surveys += 1;
        self.last_begun = Some(now);
        self.looked_behind = Some(link);
        self.under_way = Some(ticket);
        ticket
    }

    /// A survey ended: behind `link` it found this, or could not look at all. What `may_be_asked` says no to is never
    /// the end that is asked, and where all has to be encrypted nobody on the way either. False where it does not count
    /// any more.
    pub(in crate::upstream) fn end_survey(
        &mut self,
        ticket: Ticket,
        now: Instant,
        outcome: Result<(Link, Chain), String>,
        may_be_asked: impl Fn(&ResolverName) -> bool,
    ) -> bool {
        if self.under_way != Some(ticket) {
            return false;
        }
        self.under_way = None;
        let Ticket { begun, clock, .. } = ticket;
        let took = now.saturating_duration_since(begun);
        let mut rests_until = now + took;
        match outcome {
            Ok((link, chain)) => {
                self.failed = None;
                // The connection may have been made for the survey.
                self.looked_behind = Some(link);
                let holds = Duration::from_secs(chain.ttl.clamp(MIN_TTL, MAX_TTL).into());
                let fault = chain.fault().or_else(|| revoked(&chain, &may_be_asked));
                let end = end_of(&chain, may_be_asked);
                let good = match self.policy {
                    RoutePolicy::EncryptedToEnd => fault.is_none(),
                    RoutePolicy::Nearest | RoutePolicy::End => true,
                };
                if self.policy == RoutePolicy::EncryptedToEnd {
                    // Then questions wait for the next one.
                    rests_until = rests_until.min(begun + holds);
                }
                if good {
                    self.in_vain = 0;
                    self.due = Some(begun + holds / 2);
                } else {
                    self.back_off(now);
                }
                self.found = Some(Found {
                    chain: Arc::new(chain),
                    begun,
                    ended: now,
                    clock,
                    holds,
                    link,
                    fault,
                    end,
                });
            }
            Err(why) => {
                self.failed = Some(why);
                self.back_off(now);
            }
        }
        self.rests_until = Some(rests_until);
        true
    }

    fn back_off(&mut self, now: Instant) {
        let pause = RETRY
            .saturating_mul(1 << self.in_vain.min(8))
            .min(RETRY_MAX);
        self.in_vain = self.in_vain.saturating_add(1);
        self.due = Some(now + pause);
    }

    /// Why it is not known whether all is encrypted.
    fn why_unknown(&self) -> Failure {
        let fault = self.found.as_ref().and_then(|found| found.fault.clone());
        let why = |why: String| Refusal::ChainNotEncrypted { hop: None, why };
        Failure::Refused(match (&self.failed, fault) {
            (Some(failed), _) => why(format!("nobody could look at it: {failed}")),
            (None, Some(fault)) => fault,
            (None, None) if self.is_surveying() => why("it is being looked at".to_owned()),
            (None, None) => why("what was seen of it holds no more".to_owned()),
        })
    }
}

impl Found {
    fn holds(&self, now: Instant, clock: UnixTime) -> bool {
        let awake = now.saturating_duration_since(self.begun) < self.holds;
        // Seconds are whole ones: one that is not over yet counts as over.
        let by_clock = (self.clock.0..self.clock.0 + self.holds.as_secs()).contains(&clock.0);
        awake && by_clock
    }

    /// Whether it was found behind the nearest that `link` leads to.
    pub(in crate::upstream) fn is_behind(&self, link: Link) -> bool {
        self.link.pool == link.pool
    }

    /// Whether who asks for it now is told this, however long the survey took.
    pub(in crate::upstream) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.ended) < FRESH
    }

    /// For how long it still holds.
    pub(in crate::upstream) fn holds_for(&self, now: Instant, clock: UnixTime) -> Duration {
        if self.holds(now, clock) {
            (self.begun + self.holds).saturating_duration_since(now)
        } else {
            Duration::ZERO
        }
    }
}

/// Somebody on the way whose identity was revoked: whoever holds those keys now may be anybody.
fn revoked(chain: &Chain, may_be_asked: impl Fn(&ResolverName) -> bool) -> Option<Refusal> {
    chain.nodes.iter().find_map(|node| match &node.who {
        Who::Named { name } if !may_be_asked(name) => {
            let why = format!("{name} is on the way, and its identity was revoked");
            Some(Refusal::ChainNotEncrypted { hop: None, why })
        }
        _ => None,
    })
}

/// The end that can be asked in place of the nearest: a resolver that asks nobody else and was met by TLS, in whom
/// nothing is contradicted.
fn end_of(chain: &Chain, may_be_asked: impl Fn(&ResolverName) -> bool) -> Option<End> {
    chain.ends.iter().find_map(|id| {
        let node = chain.node(*id).filter(|_| *id != chain.nearest)?;
        let (Who::Named { name }, Some(Reached::Direct { address })) = (&node.who, &node.reached)
        else {
            return None;
        };
        let mut hops = chain.hops.iter().filter(|hop| hop.to == *id).peekable();
        let met = hops.peek().is_some()
            && hops.clone().any(|hop| hop.label == Label::Proven)
            && hops.all(|hop| hop.label != Label::Opaque);
        let resolves = node.server_type == ServerKind::Resolver && node.behind == Behind::Resolves;
        let usable = met && resolves && !node.tlsa.is_empty() && may_be_asked(name);
        usable.then(|| End {
            name: name.clone(),
            address: *address,
            tlsa: node.tlsa.clone(),
            node: id.0,
        })
    })
}

#[cfg(test)]
mod tests;
