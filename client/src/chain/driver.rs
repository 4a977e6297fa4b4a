//! Drives a survey over TLS connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use zzdot_zonegen::clock::UnixTime;

use super::{
    Action, AskId, Chain, ConnectId, Nearest, NodeId, OwnAddresses, Reached, Step, Survey,
    SurveyInput, Trust, Via, Who,
};
use crate::discover::{PeerCertificates, TlsFailure};
use crate::dot::{DotLimits, DotPool, Endpoint, Observed, PeerProof};
use crate::walker::shake_hands;

/// How long a handshake may take: what a firewall swallows holds nobody up for long.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// How long one question may take. Those on the way ask on for it.
const QUESTION: Duration = Duration::from_secs(6);
/// Questions end so long before the survey, which is to hear how they ended.
const LAST_WORD: Duration = Duration::from_millis(200);

/// How a survey over sockets ended.
#[derive(Debug)]
pub struct Surveyed {
    /// Who asks whom.
    pub chain: Chain,
    /// The connections with those that were met, but for the nearest: they need not be made again.
    pub met: Vec<(NodeId, Arc<DotPool>)>,
}

/// A connection whose peer is one of whom these records speak.
struct Trusted {
    trust: Trust,
    address: SocketAddr,
    carrier: Arc<DotPool>,
}

enum Report {
    Answer(AskId, Option<Vec<u8>>),
    Tls(ConnectId, Result<Observed, TlsFailure>),
}

/// Finds out whom the nearest resolver asks, over `pool`, which leads to it, and over TLS with those behind it that can
/// be met. Tells each step as it is taken. Never takes longer than `timeout`.
pub async fn survey(
    nearest: Nearest,
    pool: Arc<DotPool>,
    timeout: Duration,
    mut told: impl FnMut(&Step),
) -> Surveyed {
    let started = now();
    let deadline = started + timeout;
    let answers_by = deadline.checked_sub(LAST_WORD).unwrap_or(deadline);
    let mut survey = Survey::new(SurveyInput {
        nearest,
        own_addresses: own_addresses(),
        now: started,
        timeout,
        clock: UnixTime::now(),
    });
    let mut under_way = JoinSet::new();
    let mut observed: HashMap<ConnectId, Observed> = HashMap::new();
    let mut trusted: HashMap<ConnectId, Trusted> = HashMap::new();
    loop {
        while let Some(action) = survey.next_action() {
            match action {
                Action::Event(step) => told(&step),
                Action::Done(chain) => {
                    let met = met(&chain, &trusted);
                    return Surveyed { chain, met };
                }
                Action::Ask(ask) => {
                    let carrier = match ask.via {
                        Via::Nearest => Some(Arc::clone(&pool)),
                        Via::Direct(attempt) => trusted
                            .get(&attempt)
                            .map(|trusted| Arc::clone(&trusted.carrier)),
                    };
                    let until = answers_by.min(now() + QUESTION);
                    under_way.spawn(async move {
                        // The pool draws an id of its own.
                        let message = ask.message(0);
                        let answer = match carrier {
                            Some(carrier) => carrier.ask(&message, until).await.ok(),
                            None => None,
                        };
                        Report::Answer(ask.id, answer)
                    });
                }
                Action::Connect(connect) => {
                    let until = answers_by.min(now() + HANDSHAKE);
                    under_way.spawn(async move {
                        let shaken = shake_hands(connect.address, None, until).await;
                        Report::Tls(connect.attempt, shaken)
                    });
                }
                Action::Trust(trust) => {
                    let attempt = trust.attempt;
                    let peer = observed.remove(&attempt);
                    let before = trusted.remove(&attempt);
                    if let Some(now) = Trusted::of(trust, peer, before) {
                        trusted.insert(attempt, now);
                    }
                }
            }
        }
        let Some(due) = survey.next_timeout() else {
            unreachable!("a survey that is over has said so");
        };
        tokio::select! {
            Some(report) = under_way.join_next() => match report {
                Ok(Report::Answer(ask, Some(message))) => {
                    survey.on_message(UnixTime::now(), ask, &message);
                }
                Ok(Report::Answer(ask, None)) => survey.on_no_answer(UnixTime::now(), ask),
                Ok(Report::Tls(attempt, outcome)) => {
                    let shown = outcome.map(|peer| {
                        let certificates = PeerCertificates(peer.certificates().to_vec());
                        observed.insert(attempt, peer);
                        certificates
                    });
                    survey.on_tls(UnixTime::now(), attempt, shown);
                }
                Err(error) => tracing::error!(%error, "a task of the survey ended early"),
            },
            () = sleep_until(due.into()) => survey.on_timeout(now()),
        }
    }
}

impl Trusted {
    /// Questions to somebody whom these records name, over the connection on which it was met: `peer` where it is
    /// trusted for the first time, else that of `before`.
    fn of(trust: Trust, peer: Option<Observed>, before: Option<Self>) -> Option<Self> {
        let address = match (&peer, before) {
            // Another one may vouch for the same peer, and name other keys beside. A connection that is made again is
            // not to be with one of those.
            (None, Some(before)) if before.trust.tlsa == trust.tlsa => {
                return Some(Self { trust, ..before });
            }
            (None, before) => before?.address,
            (Some(peer), _) => peer.address(),
        };
        let endpoint = Endpoint {
            address,
            server_name: None,
            proof: PeerProof::Dane {
                tlsa: trust.tlsa.clone(),
                name: trust.name.clone(),
            },
        };
        // Fails for proofs by chain alone, which this is not.
        let pool = DotPool::new(&endpoint, DotLimits::default()).ok()?;
        if let Some(peer) = peer {
            pool.continue_on(peer);
        }
        Some(Self {
            trust,
            address,
            carrier: Arc::new(pool),
        })
    }
}

fn met(chain: &Chain, trusted: &HashMap<ConnectId, Trusted>) -> Vec<(NodeId, Arc<DotPool>)> {
    let mut met = Vec::new();
    for (place, node) in chain.nodes.iter().enumerate() {
        let (Who::Named { name }, Some(Reached::Direct { address })) = (&node.who, node.reached)
        else {
            continue;
        };
        // By what its own zone says; a connection may have been made by what others said first.
        let same = |it: &&Trusted| {
            let known = it.trust.tlsa.iter().all(|tlsa| node.tlsa.contains(tlsa));
            it.trust.name == *name && it.address == address && known
        };
        if let Some(found) = trusted.values().find(same) {
            met.push((NodeId(place), Arc::clone(&found.carrier)));
        }
    }
    met
}

/// What the kernel says about the addresses of this computer.
fn own_addresses() -> OwnAddresses {
    let interfaces = match getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::warn!(%error, "the addresses of this computer are not known: nobody is looked for by TLS");
            return OwnAddresses::Unknown;
        }
    };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
    });
    OwnAddresses::Known(addresses.collect())
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
