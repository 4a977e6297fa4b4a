//! Drives a walk over real sockets, or over a connection that is there already.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use zzdot_zonegen::clock::UnixTime;

use crate::discover::{
    Action, AskId, ConnectId, PeerCertificates, Step, TlsFailure, Verdict, Walk, WalkInput,
    WalkPolicy,
};
use crate::dot::{ConnectError, ConnectStage, DotPool, Observed, observe};
use crate::exchange::{ExchangeLimits, udp_then_tcp};
use crate::trust::KnownIdentity;

/// How long a handshake of the walk may take, so that another address is tried in time.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Questions end so long before the walk, which is to hear how they ended.
const LAST_WORD: Duration = Duration::from_millis(200);

/// What carries the questions of a walk.
#[derive(Clone, Debug)]
pub enum Carrier {
    /// Plain DNS, to the configured server: nobody is known there yet, or not any more.
    Cleartext,
    /// The TLS connection with the resolver that is known.
    Encrypted(Arc<DotPool>),
}

impl Carrier {
    /// What comes back by the deadline.
    async fn ask(&self, server: SocketAddr, message: &[u8], deadline: Instant) -> Heard {
        match self {
            Self::Cleartext => {
                let limits = ExchangeLimits::default();
                match udp_then_tcp(server, message, &limits, deadline).await {
                    Ok(reply) => Heard::Answer(reply.message),
                    Err(error) if error.tally().unreadable > 0 => Heard::Unreadable,
                    Err(_) => Heard::Nothing,
                }
            }
            Self::Encrypted(pool) => match pool.ask(message, deadline).await {
                Ok(answer) => Heard::Answer(answer),
                Err(_) => Heard::Nothing,
            },
        }
    }
}

enum Heard {
    Answer(Vec<u8>),
    Unreadable,
    Nothing,
}

enum Report {
    Answer(AskId, Heard),
    Tls(ConnectId, Result<Observed, TlsFailure>),
}

/// How a walk over sockets ended.
#[derive(Debug)]
pub struct Walked {
    /// What was found out.
    pub verdict: Verdict,
    /// The connection on which the TLS peer of an upgraded server was met: it need not be made again.
    pub met: Option<Observed>,
}

/// Finds out who the configured server is, by plain DNS; tells each step as it is taken. Never
/// takes longer than the policy's time-out.
pub async fn walk(
    server: SocketAddr,
    known: Option<KnownIdentity>,
    policy: WalkPolicy,
    told: impl FnMut(&Step),
) -> Verdict {
    walk_over(&Carrier::Cleartext, server, known, policy, told)
        .await
        .verdict
}

/// The same, by any carrier.
pub async fn walk_over(
    carrier: &Carrier,
    server: SocketAddr,
    known: Option<KnownIdentity>,
    policy: WalkPolicy,
    told: impl FnMut(&Step),
) -> Walked {
    drive(carrier, server, known, policy, Reach::Zone, told).await
}

/// The same, of somebody who is connected to already: whatever its zones say, no other address is connected to, and no
/// other port.
pub async fn walk_at(
    carrier: &Carrier,
    peer: SocketAddr,
    known: Option<KnownIdentity>,
    policy: WalkPolicy,
    told: impl FnMut(&Step),
) -> Walked {
    drive(carrier, peer, known, policy, Reach::Here, told).await
}

/// Where a walk may look for the TLS peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// At the server's address, and at those in its zone.
    Zone,
    /// Where the walk is told that it is.
    Here,
}

async fn drive(
    carrier: &Carrier,
    server: SocketAddr,
    known: Option<KnownIdentity>,
    policy: WalkPolicy,
    reach: Reach,
    mut told: impl FnMut(&Step),
) -> Walked {
    let deadline = now() + policy.timeout;
    let answers_by = deadline.checked_sub(LAST_WORD).unwrap_or(deadline);
    // Whoever is known is connected to without SNI later; so it can be done now. And nobody on the way reads the name in
    // questions that are encrypted: no handshake is to tell it.
    let discreet = known.is_some() || matches!(carrier, Carrier::Encrypted(_));
    let mut walk = Walk::new(WalkInput {
        server,
        known,
        policy,
        now: now(),
        clock: UnixTime::now(),
    });
    let mut under_way = JoinSet::new();
    let mut observed = HashMap::new();
    loop {
        while let Some(action) = walk.next_action() {
            match action {
                Action::Event(step) => told(&step),
                Action::Done(verdict) => {
                    let met = match &verdict {
                        Verdict::Upgraded(discovered) => observed.remove(&discovered.endpoint),
                        _ => None,
                    };
                    return Walked { verdict, met };
                }
                Action::Ask(ask) => {
                    let carrier = carrier.clone();
                    under_way.spawn(async move {
                        // The carrier draws an id of its own for each try.
                        let message = ask.message(0);
                        let answer = carrier.ask(ask.server, &message, answers_by).await;
                        Report::Answer(ask.id, answer)
                    });
                }
                Action::Connect(connect) if reach == Reach::Here && connect.address != server => {
                    let detail = "nothing is tried there".to_owned();
                    let outcome = Err(TlsFailure::NoConnection { detail });
                    walk.on_tls(now(), UnixTime::now(), connect.attempt, outcome);
                }
                Action::Connect(mut connect) => {
                    if discreet {
                        connect.server_name = None;
                    }
                    let until = deadline.min(now() + HANDSHAKE);
                    under_way.spawn(async move {
                        let name = connect.server_name.as_deref();
                        let shaken = shake_hands(connect.address, name, until).await;
                        Report::Tls(connect.attempt, shaken)
                    });
                }
            }
        }
        let Some(timeout) = walk.next_timeout() else {
            // Over without a verdict: cannot be, and would be no verdict to act on.
            return Walked {
                verdict: Verdict::NoAnswer,
                met: None,
            };
        };
        tokio::select! {
            Some(report) = under_way.join_next() => match report {
                Ok(Report::Answer(ask, Heard::Answer(message))) => {
                    walk.on_message(now(), UnixTime::now(), ask, &message);
                }
                Ok(Report::Answer(ask, Heard::Unreadable)) => walk.on_unreadable(now(), ask),
                Ok(Report::Answer(ask, Heard::Nothing)) => walk.on_no_answer(now(), ask),
                Ok(Report::Tls(attempt, outcome)) => {
                    let shown = outcome.map(|peer| {
                        let certificates = PeerCertificates(peer.certificates().to_vec());
                        // The walk connects to no address twice.
                        observed.insert(peer.address(), peer);
                        certificates
                    });
                    walk.on_tls(now(), UnixTime::now(), attempt, shown);
                }
                Err(error) => tracing::error!(%error, "a task of the walk ended early"),
            },
            () = sleep_until(timeout.into()) => walk.on_timeout(now()),
        }
    }
}

/// Shakes hands with whoever is there; the name is sent in clear, where there is one.
pub(crate) async fn shake_hands(
    address: SocketAddr,
    server_name: Option<&str>,
    until: Instant,
) -> Result<Observed, TlsFailure> {
    let name = match server_name {
        None => None,
        Some(name) => match ServerName::try_from(name.to_owned()) {
            Ok(name) => Some(name),
            Err(error) => {
                return Err(TlsFailure::Handshake {
                    detail: format!("{name}: {error}"),
                });
            }
        },
    };
    match observe(address, name, until).await {
        Ok(observed) => Ok(observed),
        Err(error) => {
            let (tcp, detail) = match error {
                ConnectError::Tcp { reason, .. } => (true, reason),
                ConnectError::TimedOut { stage, .. } => {
                    (stage == ConnectStage::Tcp, "it took too long".to_owned())
                }
                ConnectError::Handshake { reason, .. } | ConnectError::Untrusted { reason, .. } => {
                    (false, reason)
                }
            };
            Err(if tcp {
                TlsFailure::NoConnection { detail }
            } else {
                TlsFailure::Handshake { detail }
            })
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
