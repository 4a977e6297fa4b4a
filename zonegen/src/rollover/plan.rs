//! What happens next, and when: decided from the state, the time and the configuration alone.

use std::time::Duration;

use super::state::{Key, Part, Phase, State, What};
use crate::clock::UnixTime;
use crate::zone::TTL_SECS;

const DAY_SECS: u64 = 24 * 3600;

/// How long something is published before it is relied upon, or kept after it was: two lives of a record in a cache
/// (protocol.md §8), one for the cache that took the old one just before, one for whoever is slow.
pub const CACHES: Duration = Duration::from_secs(2 * TTL_SECS as u64);

/// How long a stand-by is published before it becomes the anchor: RFC 5011 §2.4.1 has validators wait for thirty days
/// before they believe in it, and look again within the hour after that (§2.3); the rest is for those that are asleep.
pub const STANDBY_SEEN: Duration = Duration::from_secs(35 * DAY_SECS);

/// How long a revoked anchor is shown: thirteen months, so that who comes back after a year learns of it.
pub const REVOKED_SHOWN: Duration = Duration::from_secs(396 * DAY_SECS);

/// How long a succession statement holds.
pub const SUCCESSION: Duration = REVOKED_SHOWN;

/// The most revoked anchors that are shown; when there are more the oldest goes. They have to fit into an answer.
pub const MAX_REVOKED: usize = 3;

/// How often each is rolled without being asked to; None: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// The TLS certificate.
    pub certificate: Option<Duration>,
    /// The zone-signing keys.
    pub zsk: Option<Duration>,
    /// The key-signing key of `NAME`.
    pub ksk: Option<Duration>,
    /// The trust anchor.
    pub anchor: Option<Duration>,
}

impl Default for Intervals {
    /// The zone-signing keys every three months: nobody but caches knows them. The others are known to people, as pins,
    /// phrases and printed codes, and change when a person says so.
    fn default() -> Self {
        Self {
            certificate: None,
            zsk: Some(Duration::from_secs(90 * DAY_SECS)),
            ksk: None,
            anchor: None,
        }
    }
}

impl Intervals {
    /// How often this one is rolled.
    pub fn of(&self, what: What) -> Option<Duration> {
        match what {
            What::Certificate => self.certificate,
            What::Zsk => self.zsk,
            What::Ksk => self.ksk,
            What::Anchor => self.anchor,
        }
    }
}

/// One step of a roll-over. Each ends in a state of its own, in which one can stay for as long as one likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// New keys are published beside those in use.
    Announce(What),
    /// The new keys take over. The old ones leave, or stay for a while as [`Phase::Retired`].
    Switch(What),
    /// The retired keys leave.
    Withdraw(What),
    /// The stand-by becomes the anchor, the old anchor is revoked, there is a new stand-by, and the old anchor states its
    /// succession (RFC 5011 §6).
    RollAnchor,
    /// A revoked anchor is shown no longer.
    Forget {
        /// What its files are called.
        stem: String,
    },
    /// Statements that hold no longer are dropped.
    DropStatements,
}

impl Step {
    /// What is rolled.
    pub fn what(&self) -> What {
        match self {
            Self::Announce(what) | Self::Switch(what) | Self::Withdraw(what) => *what,
            Self::RollAnchor | Self::Forget { .. } | Self::DropStatements => What::Anchor,
        }
    }

    /// In words for whoever runs the server.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Announce(What::Certificate) => "announce the next certificate",
            Self::Announce(What::Zsk) => "announce the next zone-signing keys",
            Self::Announce(_) => "announce the next key-signing key of the name",
            Self::Switch(What::Certificate) => "serve the next certificate",
            Self::Switch(What::Zsk) => "sign with the next zone-signing keys",
            Self::Switch(_) => "leave the old key-signing key of the name",
            Self::Withdraw(_) => "withdraw the old zone-signing keys",
            Self::RollAnchor => "make the stand-by the trust anchor and revoke the old one",
            Self::Forget { .. } => "stop showing a revoked trust anchor",
            Self::DropStatements => "drop what a former trust anchor said about its successors",
        }
    }
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For nothing.
    Nothing,
    /// That the step before is served.
    Served,
    /// That it has been served for so much longer.
    Air(Duration),
    /// For a date.
    Date(UnixTime),
    /// For the stand-by's private key, which is kept elsewhere.
    StandbyKey,
}

impl Wait {
    /// When that is, if the server stays up.
    pub fn ends(self, now: UnixTime) -> Option<UnixTime> {
        match self {
            Self::Nothing => Some(now),
            Self::Air(left) => Some(now.plus(left)),
            Self::Date(date) => Some(date),
            Self::Served | Self::StandbyKey => None,
        }
    }
}

/// A step and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The step.
    pub step: Step,
    /// What it waits for.
    pub wait: Wait,
    /// Somebody asked for it, or it is under way; otherwise its turn comes with time.
    pub wanted: bool,
}

/// The next step of each roll-over; those that wait for nothing come first, then by date.
pub fn plan(
    state: &State,
    standby_key: bool,
    now: UnixTime,
    intervals: &Intervals,
) -> Vec<Planned> {
    let mut planned: Vec<Planned> = [What::Certificate, What::Zsk, What::Ksk]
        .into_iter()
        .filter_map(|what| next_of(state, what, intervals))
        .collect();
    planned.extend(next_anchor(state, standby_key, intervals));
    for key in state.keys(Part::AnchorKsk, Phase::Revoked) {
        let stem = key.stem.clone();
        let wait = wait(state, key, REVOKED_SHOWN);
        planned.push(under_way(Step::Forget { stem }, wait));
    }
    if let Some(until) = state.statements.iter().map(|said| said.until()).min() {
        let wait = match until < now {
            true => Wait::Nothing,
            false => Wait::Date(until),
        };
        planned.push(under_way(Step::DropStatements, wait));
    }
    // A stable sort: what waits for nobody knows when comes last.
    planned.sort_by_key(|planned| planned.wait.ends(now).map_or(u64::MAX, |date| date.0));
    planned
}

fn under_way(step: Step, wait: Wait) -> Planned {
    Planned {
        step,
        wait,
        wanted: true,
    }
}

/// Certificate, ZSKs and the KSK of `NAME`: announce, switch, and (ZSKs) withdraw.
fn next_of(state: &State, what: What, intervals: &Intervals) -> Option<Planned> {
    let parts = what.parts();
    let longest = |phase| {
        let keys = parts.iter().flat_map(|part| state.keys(*part, phase));
        keys.map(|key| wait(state, key, CACHES)).max_by_key(order)
    };
    if let Some(wait) = longest(Phase::Retired) {
        return Some(under_way(Step::Withdraw(what), wait));
    }
    if let Some(wait) = longest(Phase::Announced) {
        return Some(under_way(Step::Switch(what), wait));
    }
    begin(state, what, intervals, Step::Announce(what))
}

fn next_anchor(state: &State, standby_key: bool, intervals: &Intervals) -> Option<Planned> {
    let mut planned = begin(state, What::Anchor, intervals, Step::RollAnchor)?;
    let standby = state.keys(Part::AnchorKsk, Phase::Standby).next()?;
    let seen = wait(state, standby, STANDBY_SEEN);
    planned.wait = [planned.wait, seen].into_iter().max_by_key(order)?;
    if planned.wait == Wait::Nothing && !standby_key {
        planned.wait = Wait::StandbyKey;
    }
    Some(planned)
}

/// The first step: when it was asked for, or when its turn has come.
fn begin(state: &State, what: What, intervals: &Intervals, step: Step) -> Option<Planned> {
    if state.orders.iter().any(|order| order.what == what) {
        return Some(under_way(step, Wait::Nothing));
    }
    let interval = intervals.of(what)?;
    let active = state.keys(what.parts()[0], Phase::Active).next()?;
    Some(Planned {
        step,
        wait: wait(state, active, interval),
        wanted: false,
    })
}

/// What is to be waited for until `key` has been served for `span` in the phase that it is in.
fn wait(state: &State, key: &Key, span: Duration) -> Wait {
    match key.served {
        None => Wait::Served,
        Some(mark) => match span.saturating_sub(state.air.since(mark)) {
            Duration::ZERO => Wait::Nothing,
            left => Wait::Air(left),
        },
    }
}

/// Which of two waits is the longer.
fn order(wait: &Wait) -> Duration {
    match wait {
        Wait::Nothing => Duration::ZERO,
        Wait::Air(left) => *left,
        Wait::Date(_) | Wait::Served | Wait::StandbyKey => Duration::MAX,
    }
}
