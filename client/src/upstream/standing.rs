//! How things stand with a server, and one question to it: for whoever is a client of several and decides for itself what
//! to make of a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use zzdot_zonegen::clock::UnixTime;

use super::discovery::{Allowed, Discovery, Inner};
use super::route::Begun;
use super::{Kind, Upstream, now};
use crate::discover::{Discovered, Refusal};
use crate::exchange::{ExchangeLimits, Tally};
use crate::ladder::Rung;
use crate::session::{Failure, Route, State};
use crate::trust::{KnownIdentity, TrustState};

/// How things stand with a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Somebody configured who it is.
    Configured,
    /// Nobody knows: it was never met, or it does not answer.
    Unknown,
    /// It named itself and is asked over TLS, or not at all.
    Upgraded {
        /// Who it is.
        identity: Box<KnownIdentity>,
        /// What the last walk of this process validated; none before the first.
        found: Option<Box<Discovered>>,
        /// Why the last walk did not renew it.
        fault: Option<Refusal>,
        /// Whether questions go to it: its signatures live, and it is not revoked.
        asked: bool,
    },
    /// It is not upgraded.
    Legacy {
        /// On which rung questions go to it; none while that is being found out, and where no rung that is allowed is
        /// within reach.
        rung: Option<Rung>,
        /// The resolver that it designates, where that is asked.
        designated: Option<String>,
    },
    /// It cannot be trusted, or a person has to decide about it; nothing goes to it.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

impl Standing {
    /// On which rung a question would go to it; none while nobody knows, and where nothing goes to it.
    #[must_use]
    pub fn rung(&self) -> Option<Rung> {
        match self {
            Self::Configured => Some(Rung::Verified),
            Self::Upgraded {
                identity,
                asked: true,
                ..
            } => Some(match identity.state {
                TrustState::Verified | TrustState::Managed => Rung::Verified,
                TrustState::Provisional | TrustState::Revoked => Rung::Known,
            }),
            Self::Legacy { rung, .. } => *rung,
            Self::Unknown | Self::Upgraded { .. } | Self::Refused { .. } => None,
        }
    }
}

/// What came of a question.
#[derive(Debug)]
pub struct Asked {
    /// The answer, under the id of the question; or why there is none.
    pub answer: Result<Vec<u8>, Failure>,
    /// Packets sent in cleartext for it, as [`Tally::packets`] counts them.
    pub packets: u32,
}

/// What one question may cost in cleartext, and what it did.
#[derive(Default)]
pub(super) struct Cost {
    pub(super) limits: ExchangeLimits,
    packets: AtomicU32,
    /// Whether whoever asks bounds how many questions are under way. Everybody else waits for a turn.
    pub(super) is_bounded: bool,
}

impl Cost {
    pub(super) fn spend(&self, tally: Tally) {
        self.packets.fetch_add(tally.packets, Ordering::Relaxed);
    }
}

impl Upstream {
    /// Asks `query`, a whole message, wherever the session with the server lets it go; where that is in cleartext,
    /// within `limits`. Nothing is kept, and no page that wants people to log in is looked for. How many questions are
    /// under way is for the caller to bound: those whose answers never come must not hold the others.
    /// Call within a tokio runtime.
    pub async fn ask(
        self: &Arc<Self>,
        query: &[u8],
        limits: ExchangeLimits,
        deadline: Instant,
    ) -> Asked {
        let cost = Cost {
            limits,
            packets: AtomicU32::new(0),
            is_bounded: true,
        };
        let answer = tokio::select! {
            biased;
            () = self.retired() => Err(Failure::NoAnswer("the server is asked no longer".to_owned())),
            answer = self.resolve(query, deadline, Begun::No, &cost) => answer,
        };
        Asked {
            answer,
            packets: cost.packets.into_inner(),
        }
    }

    /// How things stand, now and whenever that changes; a change that no walk and no climb brings is told within seconds.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Standing> {
        match &self.kind {
            Kind::Fixed { .. } => watch::Sender::new(Standing::Configured).subscribe(),
            Kind::Discovered(discovery) => discovery.standing.subscribe(),
        }
    }

    /// How things stand now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.kind {
            Kind::Fixed { .. } => Standing::Configured,
            Kind::Discovered(discovery) => discovery.standing.borrow().clone(),
        }
    }

    /// On which rung a question would go; see [`Standing::rung`].
    #[must_use]
    pub fn rung(&self) -> Option<Rung> {
        match &self.kind {
            Kind::Fixed { .. } => Some(Rung::Verified),
            Kind::Discovered(discovery) => discovery.standing.borrow().rung(),
        }
    }

    /// Looks who the server is now, whatever was found lately. Whoever is known stays known, and is looked at over TLS
    /// alone. Call within a tokio runtime.
    pub fn look_again(self: &Arc<Self>) {
        let Kind::Discovered(discovery) = &self.kind else {
            return;
        };
        discovery.lock().session.expect_news(now());
        discovery.legacy.start_over();
        discovery.tell_standing();
        self.begin_walk(Allowed::Encrypted);
    }

    /// Finds out on which rung a question would go to a server that says nothing about itself, where nobody knows that yet
    /// and no question came that has to know. Call within a tokio runtime.
    pub fn look_ahead(self: &Arc<Self>) {
        let Kind::Discovered(discovery) = &self.kind else {
            return;
        };
        if matches!(self.standing(), Standing::Legacy { rung: None, .. }) {
            self.climb_if_due(discovery);
        }
    }

    pub(super) fn tell_standing(&self) {
        if let Kind::Discovered(discovery) = &self.kind {
            discovery.tell_standing();
        }
    }
}

impl Discovery {
    /// Tells whoever watches, if there is news.
    pub(super) fn tell_standing(&self) {
        self.standing.send_if_modified(|told| {
            // Within, so that of two who tell at the same time the later one has the newer news.
            let standing = self.standing_now();
            let news = *told != standing;
            if news {
                *told = standing;
            }
            news
        });
    }

    fn standing_now(&self) -> Standing {
        let inner = self.lock();
        match inner.session.state() {
            State::Unknown | State::NoAnswer { .. } => Standing::Unknown,
            State::Strict { identity, fault } => Standing::Upgraded {
                identity: identity.clone(),
                found: inner.found.clone(),
                fault: fault.clone(),
                asked: inner.session.route(now(), UnixTime::now()) == Route::Encrypted,
            },
            State::Legacy { .. } => {
                let (rung, designated) = self.legacy.standing();
                Standing::Legacy { rung, designated }
            }
            State::Refused { refusal, .. } => Standing::Refused {
                refusal: refusal.clone(),
            },
        }
    }
}

impl Inner {
    /// What a walk found, if it is about whom the session knows now.
    pub(super) fn keep_found(&mut self, found: Option<Box<Discovered>>) {
        let name = self.session.identity().map(|identity| &identity.name);
        self.found = found.filter(|found| Some(&found.name) == name);
    }
}
