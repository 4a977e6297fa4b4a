//! The ways to reach one server. Each takes the octets of a query and gives back those of the answer, as they came.

use std::{net::SocketAddr, sync::Arc};

use tokio::{sync::watch, time::Instant};
use zzdot_client::{
    discover::Refusal,
    dot::{DotError, DotPool},
    exchange::{self, ExchangeError, ExchangeLimits, TCP_PACKETS},
    ladder::Rung,
    session::Failure,
    upstream::{self, Standing},
};
use zzdot_zonegen::name::ResolverName;

use super::{super::ResolveError, follow::Look, roster::Kept, streamed::Streamed};
use crate::config::Require;

/// What a question over TLS counts for: the pool sends it at most on two connections, and a
/// connection serves many questions.
const TLS_PACKETS: u32 = 2;

/// A way to reach one server.
pub(crate) enum Reach {
    /// UDP, and TCP where that does not do.
    Plain,
    /// DNS over TLS, whose certificate is checked by what stands in the configuration.
    Tls {
        pool: Box<DotPool>,
        /// How the server is known, for those who are told.
        proof: Proof,
    },
    /// DNS over HTTPS or QUIC, with the same checks.
    Streamed {
        server: Box<Streamed>,
        /// How the server is known, for those who are told.
        proof: Proof,
    },
    /// Whatever the server offers, as the client's discovery finds out.
    Discovered(Discovered),
}

/// How a server is known that is configured with a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Its certificate is for this name.
    Pkix(String),
    /// It holds a key that was pinned.
    Pin,
}

/// A server of which we are a client.
pub(crate) struct Discovered {
    upstream: Arc<upstream::Upstream>,
    standing: watch::Receiver<Standing>,
    looks: watch::Receiver<Option<Look>>,
    /// Our own name: a server that calls itself so leads back to us.
    own: Option<ResolverName>,
    /// How well a question has to be kept from others.
    require: Require,
}

/// What came of a question to one server.
pub(super) struct Reached {
    /// The message, as it came.
    pub(super) message: Result<Vec<u8>, ResolveError>,
    /// What it counts for, in packets.
    pub(super) spent: u32,
}

/// How well a question is kept from others on its way, best first: what decides who is asked before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Authenticated,
    /// Encrypted to nobody knows whom; or it is not known yet what the server offers.
    Encrypted,
    Cleartext,
}

impl Reach {
    /// Asks `query`, a whole message, of the server at `address`: with `given` packets at the most, until `deadline`.
    pub(super) async fn ask(
        &self,
        address: SocketAddr,
        query: &[u8],
        given: u32,
        deadline: Instant,
    ) -> Reached {
        match self {
            Self::Plain => ask_plain(address, query, given, deadline).await,
            Self::Tls { pool, .. } => {
                let answer = pool.ask(query, deadline.into_std()).await;
                Reached {
                    message: answer.map_err(of_tls),
                    spent: TLS_PACKETS.min(given),
                }
            }
            Self::Streamed { server, .. } => Reached {
                message: server.ask(query, deadline).await,
                spent: TLS_PACKETS.min(given),
            },
            Self::Discovered(discovered) => discovered.ask(address, query, given, deadline).await,
        }
    }

    pub(super) fn tier(&self) -> Tier {
        match self {
            Self::Plain => Tier::Cleartext,
            Self::Tls { .. } | Self::Streamed { .. } => Tier::Authenticated,
            Self::Discovered(discovered) => match discovered.rung() {
                Some(Rung::Cleartext) => Tier::Cleartext,
                Some(rung) if rung.is_authenticated() => Tier::Authenticated,
                _ => Tier::Encrypted,
            },
        }
    }

    /// How questions go there now, for people; none while nobody knows.
    pub(super) fn transport(&self) -> Option<&'static str> {
        match self {
            Self::Plain => Some("plain"),
            Self::Tls { .. } => Some("dot"),
            Self::Streamed { server, .. } => Some(server.transport().as_str()),
            Self::Discovered(discovered) => match discovered.rung()? {
                Rung::Cleartext => Some("plain"),
                Rung::Opportunistic => Some("opportunistic"),
                _ => Some("dot"),
            },
        }
    }
}

impl Discovered {
    pub(crate) fn new(kept: Kept, own: Option<ResolverName>, require: Require) -> Self {
        Self {
            standing: kept.upstream.watch(),
            upstream: kept.upstream,
            looks: kept.looks,
            own,
            require,
        }
    }

    /// Whether our clock is so wrong that nothing can be validated, and cleartext is good enough: a machine whose clock
    /// stops with it asks for its time servers by name. Never so for a server that was met before.
    pub(super) fn goes_by_a_wrong_clock(&self) -> bool {
        self.require == Require::Any
            && matches!(
                &*self.standing.borrow(),
                Standing::Refused {
                    refusal: Refusal::ClockBelowFloor { .. }
                }
            )
    }

    /// On which rung a question goes now; none while nobody knows.
    fn rung(&self) -> Option<Rung> {
        if self.goes_by_a_wrong_clock() {
            return Some(Rung::Cleartext);
        }
        self.standing.borrow().rung()
    }

    pub(super) fn upstream(&self) -> &upstream::Upstream {
        &self.upstream
    }

    /// What comes of looking at it now and then.
    pub(super) fn looks(&self) -> watch::Receiver<Option<Look>> {
        self.looks.clone()
    }

    /// How things stand, for as long as it takes to look: whoever tells of changes waits meanwhile.
    pub(super) fn borrow_standing(&self) -> watch::Ref<'_, Standing> {
        self.standing.borrow()
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Whether it turned out that whoever answers there is ourselves.
    pub(super) fn is_us(&self) -> bool {
        is_named(&self.standing.borrow(), self.own.as_ref())
    }

    async fn ask(
        &self,
        address: SocketAddr,
        query: &[u8],
        given: u32,
        deadline: Instant,
    ) -> Reached {
        let asked = if self.standing.borrow().rung().is_some() {
            match self.is_us() {
                true => None,
                false => Some(self.converse(query, given, deadline).await),
            }
        } else {
            // Who it is turns out meanwhile.
            let mut standing = self.standing.clone();
            let own = self.own.as_ref();
            tokio::select! {
                biased;
                Ok(_) = standing.wait_for(|standing| is_named(standing, own)) => None,
                asked = self.converse(query, given, deadline) => Some(asked),
            }
        };
        let Some(asked) = asked else {
            return Reached {
                message: Err(ResolveError::Loop { upstream: address }),
                spent: 0,
            };
        };
        if asked.answer.is_err() && self.goes_by_a_wrong_clock() {
            return ask_plain(address, query, given, deadline).await;
        }
        Reached {
            message: asked.answer.map_err(|failure| of_failure(address, failure)),
            spent: match asked.packets {
                0 => TLS_PACKETS.min(given),
                packets => packets,
            },
        }
    }

    async fn converse(&self, query: &[u8], given: u32, deadline: Instant) -> upstream::Asked {
        let limits = exchange_limits(given);
        let deadline = deadline.into_std();
        self.upstream.ask(query, limits, deadline).await
    }
}

fn is_named(standing: &Standing, own: Option<&ResolverName>) -> bool {
    match standing {
        Standing::Upgraded { identity, .. } => Some(&identity.name) == own,
        _ => false,
    }
}

async fn ask_plain(server: SocketAddr, query: &[u8], given: u32, deadline: Instant) -> Reached {
    let limits = exchange_limits(given);
    match exchange::udp_then_tcp(server, query, &limits, deadline.into_std()).await {
        Ok(reply) => Reached {
            message: Ok(reply.message),
            spent: reply.tally.packets,
        },
        Err(error) => Reached {
            spent: error.tally().packets,
            message: Err(match error {
                ExchangeError::NoAnswer { .. } => ResolveError::TimedOut,
                ExchangeError::Unreachable { .. }
                | ExchangeError::TcpFailed { .. }
                | ExchangeError::Local(_) => ResolveError::Unreachable,
                ExchangeError::NotAQuery(_) | ExchangeError::NoQuestion => {
                    ResolveError::Unsupported("the query cannot be forwarded")
                }
            }),
        },
    }
}

fn exchange_limits(given: u32) -> ExchangeLimits {
    ExchangeLimits {
        packets: given,
        // TCP has to remain possible when an answer does not fit.
        udp_tries: given.saturating_sub(TCP_PACKETS).clamp(1, 3),
        ..ExchangeLimits::default()
    }
}

fn of_tls(error: DotError) -> ResolveError {
    match error {
        DotError::Deadline { .. } => ResolveError::TimedOut,
        DotError::Busy { .. } => ResolveError::Overloaded,
        _ => ResolveError::Unreachable,
    }
}

fn of_failure(upstream: SocketAddr, failure: Failure) -> ResolveError {
    match failure {
        Failure::NoAnswer(_) => ResolveError::TimedOut,
        Failure::Refused(refusal) => {
            let (code, text) = refusal.ede();
            ResolveError::Refused {
                upstream,
                reason: refusal.name(),
                code,
                text,
            }
        }
    }
}
