//! Drives a survey over TLS connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep_until;
use zzdot_zonegen::clock::UnixTime;

use super::{
    Action, AskId, Chain, ConnectId, Nearest, NodeId, Reached, Step, Survey, SurveyInput, Trust,
    Via, Who,
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
        now: started,
        timeout,
        clock: UnixTime::now(),
    });
    let mut under_way = JoinSet::new();
    let mut observed: HashMap<ConnectId, Observed> = HashMap::new();
    let mut trusted: HashMap<ConnectId, (Trust, Arc<DotPool>)> = HashMap::new();
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
                            .map(|(_, carrier)| Arc::clone(carrier)),
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
                    if let Some(peer) = observed.remove(&trust.attempt)
                        && let Some(carrier) = carrier_of(&trust, peer)
                    {
                        trusted.insert(trust.attempt, (trust, carrier));
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

/// Questions to somebody whom these records name, over the connection on which it was met.
fn carrier_of(trust: &Trust, peer: Observed) -> Option<Arc<DotPool>> {
    let endpoint = Endpoint {
        address: peer.address(),
        server_name: None,
        proof: PeerProof::Dane {
            tlsa: trust.tlsa.clone(),
            name: trust.name.clone(),
        },
    };
    // Fails for proofs by chain alone, which this is not.
    let pool = DotPool::new(&endpoint, DotLimits::default()).ok()?;
    pool.continue_on(peer);
    Some(Arc::new(pool))
}

fn met(
    chain: &Chain,
    trusted: &HashMap<ConnectId, (Trust, Arc<DotPool>)>,
) -> Vec<(NodeId, Arc<DotPool>)> {
    let mut met = Vec::new();
    for (place, node) in chain.nodes.iter().enumerate() {
        let (Who::Named { name }, Some(Reached::Direct { .. })) = (&node.who, node.reached) else {
            continue;
        };
        // By what its own zone says; a connection may have been made by what others said first.
        let same = |(trust, _): &&(Trust, Arc<DotPool>)| {
            trust.name == *name && trust.tlsa.iter().all(|tlsa| node.tlsa.contains(tlsa))
        };
        if let Some((_, pool)) = trusted.values().find(same) {
            met.push((NodeId(place), Arc::clone(pool)));
        }
    }
    met
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
