//! One climb: what a server that is not upgraded offers, tried from the top. The rungs and their order are `ladder/`'s.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls_pki_types::ServerName;

use super::now;
use crate::config::native_roots;
use crate::dot::{ConnectError, DOT_PORT, DotError, DotLimits, DotPool, Endpoint, PeerProof};
use crate::exchange::{ExchangeLimits, udp_then_tcp};
use crate::ladder::{self, Climbed, Designation, Missed, Rung, designations, is_local};
use crate::wire::View;

/// How long the server may take to say whom it designates.
const DESIGNATION: Duration = Duration::from_millis(1000);
/// How long one resolver may take to prove itself and to answer a question.
const PROOF: Duration = Duration::from_millis(1200);
/// How long a climb takes at the most. Questions wait for it, and have 4.5 seconds in all.
const CLIMB: Duration = Duration::from_millis(3000);

/// A rung and the way to it.
pub(super) struct Reached {
    pub(super) pool: Arc<DotPool>,
    /// The server's name as the designation has it.
    pub(super) target: Option<String>,
}

struct Climb {
    server: SocketAddr,
    deadline: Instant,
    missed: Vec<Missed>,
}

/// Tries what `server` may offer, down to `floor`; never takes longer than [`CLIMB`].
pub(super) async fn climb(server: SocketAddr, floor: Rung) -> (Climbed, Option<Reached>) {
    let mut climb = Climb {
        server,
        deadline: now() + CLIMB,
        missed: Vec::new(),
    };
    let designated = climb.ask_for_designations().await;
    if let Some((reached, holds_for)) = climb.try_designated(&designated).await {
        return climb.end(Some((Rung::Designated, reached)), Some(holds_for));
    }
    if floor <= Rung::Opportunistic
        && let Some(reached) = climb.try_anyone(&designated).await
    {
        return climb.end(Some((Rung::Opportunistic, reached)), None);
    }
    climb.end(None, None)
}

impl Climb {
    fn end(
        self,
        reached: Option<(Rung, Reached)>,
        holds_for: Option<Duration>,
    ) -> (Climbed, Option<Reached>) {
        let (rung, reached) = reached.unzip();
        let climbed = Climbed {
            reached: rung,
            holds_for,
            missed: self.missed,
        };
        (climbed, reached)
    }

    fn miss(&mut self, rung: Rung, why: String, may_pass: bool) {
        let server = self.server;
        tracing::debug!(%server, rung = rung.name(), "out of reach: {why}");
        self.missed.push(Missed {
            rung,
            why,
            may_pass,
        });
    }

    async fn ask_for_designations(&mut self) -> Vec<Designation> {
        let limits = ExchangeLimits {
            udp_tries: 2,
            first_wait: DESIGNATION / 3,
            ..ExchangeLimits::default()
        };
        let query = ladder::question(0);
        let deadline = self.deadline.min(now() + DESIGNATION);
        match udp_then_tcp(self.server, &query, &limits, deadline).await {
            Err(error) => {
                self.miss(Rung::Designated, error.to_string(), true);
                Vec::new()
            }
            Ok(reply) => match designations(&reply.message, self.server.ip()) {
                Ok(designated) => designated,
                Err(why) => {
                    self.miss(Rung::Designated, why.to_string(), false);
                    Vec::new()
                }
            },
        }
    }

    /// The first designated resolver whose certificate is for the server's own address (RFC 9462 §4.2).
    async fn try_designated(&mut self, designated: &[Designation]) -> Option<(Reached, Duration)> {
        if designated.is_empty() {
            return None;
        }
        if is_local(self.server.ip()) {
            let why = "no authority certifies private addresses, so the resolver that the server designates cannot \
                       prove itself";
            self.miss(Rung::Designated, why.to_owned(), false);
            return None;
        }
        let roots = match tokio::task::spawn_blocking(native_roots).await {
            Ok(Ok(roots)) => Arc::new(roots),
            Ok(Err(why)) => {
                self.miss(Rung::Designated, why, true);
                return None;
            }
            Err(gone) => {
                self.miss(Rung::Designated, gone.to_string(), true);
                return None;
            }
        };
        for designation in designated {
            for endpoint in &designation.endpoints {
                let endpoint = self.certified(designation, *endpoint, &roots);
                if let Some(pool) = self.try_endpoint(Rung::Designated, &endpoint).await {
                    let reached = Reached {
                        pool,
                        target: Some(name_of(designation)),
                    };
                    return Some((reached, Duration::from_secs(designation.ttl.into())));
                }
            }
        }
        None
    }

    fn certified(
        &self,
        designation: &Designation,
        address: SocketAddr,
        roots: &Arc<RootCertStore>,
    ) -> Endpoint {
        Endpoint {
            address,
            server_name: ServerName::try_from(name_of(designation)).ok(),
            proof: PeerProof::Pkix {
                name: ServerName::IpAddress(self.server.ip().to_canonical().into()),
                roots: Arc::clone(roots),
            },
        }
    }

    /// Whoever speaks TLS at the server's own address. Where that is private, at the port that it designates (RFC 9462
    /// §4.3), else at the usual one (RFC 7858 §4.1).
    async fn try_anyone(&mut self, designated: &[Designation]) -> Option<Reached> {
        let own = self.server.ip().to_canonical();
        let mut addresses = Vec::new();
        if is_local(own) {
            let all = designated.iter().flat_map(|one| &one.endpoints);
            addresses.extend(all.filter(|endpoint| endpoint.ip() == own).copied());
        }
        addresses.push(SocketAddr::new(own, DOT_PORT));
        addresses.dedup();
        for mut address in addresses {
            if let (SocketAddr::V6(server), SocketAddr::V6(address)) = (self.server, &mut address) {
                // A link-local address is on the link of the server.
                address.set_scope_id(server.scope_id());
            }
            let endpoint = Endpoint {
                address,
                server_name: None,
                proof: PeerProof::Anyone,
            };
            if let Some(pool) = self.try_endpoint(Rung::Opportunistic, &endpoint).await {
                return Some(Reached { pool, target: None });
            }
        }
        None
    }

    /// A connection over which a question was answered. TLS alone says little: the port may be another program's, or
    /// one that does not want to answer us.
    async fn try_endpoint(&mut self, rung: Rung, endpoint: &Endpoint) -> Option<Arc<DotPool>> {
        let deadline = self.deadline.min(now() + PROOF);
        let limits = DotLimits {
            connect: deadline.saturating_duration_since(now()),
            ..DotLimits::default()
        };
        let outcome = match DotPool::new(endpoint, limits) {
            Ok(pool) => {
                let pool = Arc::new(pool);
                match pool.try_once().await {
                    Ok(()) => pool
                        .ask(&ladder::question(0), deadline)
                        .await
                        .map(|answer| (pool, answer)),
                    Err(error) => Err(DotError::NoConnection(error)),
                }
            }
            Err(error) => Err(DotError::NoConnection(error)),
        };
        match outcome {
            Ok((pool, answer)) if serves(&answer) => Some(pool),
            Ok(_) => {
                let why = format!("{}: it refuses questions over TLS", endpoint.address);
                self.miss(rung, why, false);
                None
            }
            Err(error) => {
                self.miss(rung, error.to_string(), may_pass(&error));
                None
            }
        }
    }
}

/// Whether a server that answers so answers us: there may be no such name, and no way to find out.
fn serves(answer: &[u8]) -> bool {
    const NOERROR: u16 = 0;
    const SERVFAIL: u16 = 2;
    const NXDOMAIN: u16 = 3;
    View::parse(answer).is_ok_and(|answer| matches!(answer.rcode(), NOERROR | SERVFAIL | NXDOMAIN))
}

/// A closed port and a wrong certificate stay what they are for a while.
fn may_pass(error: &DotError) -> bool {
    match error {
        DotError::NoConnection(ConnectError::Tcp { kind, .. }) => {
            *kind != std::io::ErrorKind::ConnectionRefused
        }
        DotError::NoConnection(ConnectError::Untrusted { .. }) => false,
        _ => true,
    }
}

fn name_of(designation: &Designation) -> String {
    let mut name = designation.target.to_ascii();
    if name.ends_with('.') {
        name.pop();
    }
    name
}
