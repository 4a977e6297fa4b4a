//! A resolver in memory, and somebody who walks to it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use ring::rand::SystemRandom;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::{Published, publish};
use zzdot_zonegen::zone::{Publication, ServerType};

use crate::discover::*;
use crate::trust::KnownIdentity;

pub(super) const CLOCK: UnixTime = UnixTime(1_800_000_000);

pub(super) fn server() -> SocketAddr {
    "192.0.2.1:53".parse().unwrap()
}

pub(super) fn identity() -> Identity {
    Identity::invent(&Name::from_ascii("zz.").unwrap(), &SystemRandom::new()).unwrap()
}

pub(super) fn stamp(previous: Option<&Stamp>, now: UnixTime) -> Stamp {
    Stamp::next_above(UnixTime(0), previous, now).unwrap()
}

pub(super) fn publication() -> Publication {
    Publication {
        server_type: ServerType::Resolver,
        addresses: vec!["192.0.2.1".parse().unwrap(), "192.0.2.9".parse().unwrap()],
        dot_port: 853,
        upstreams: Vec::new(),
    }
}

pub(super) fn published(identity: &Identity) -> Published {
    publish(identity, &publication(), &stamp(None, CLOCK)).unwrap()
}

/// What the zones say to a question, as a message.
pub(super) fn answer(zones: &Published, ask: &Ask) -> Message {
    let query = Message::from_vec(&ask.message(7)).unwrap();
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.queries = query.queries.clone();
    let found = zones
        .anchor_zone
        .lookup(&ask.name, ask.qtype)
        .or_else(|| zones.name_zone.lookup(&ask.name, ask.qtype));
    match found {
        Some(answer) => {
            response.metadata.response_code = answer.rcode;
            response.answers = answer.answers;
            response.authorities = answer.authorities;
        }
        None => response.metadata.response_code = ResponseCode::NXDomain,
    }
    response
}

pub(super) fn peer(identity: &Identity) -> PeerCertificates {
    PeerCertificates(vec![identity.certificate()])
}

pub(super) fn unreachable() -> Result<PeerCertificates, TlsFailure> {
    Err(TlsFailure::NoConnection {
        detail: "connection refused".to_owned(),
    })
}

pub(super) type Answerer<'a> = Box<dyn FnMut(&Ask) -> Option<Vec<u8>> + 'a>;
pub(super) type Shuffle<'a> = Box<dyn FnMut(&mut Vec<Report>) + 'a>;
pub(super) type Peers<'a> = Box<dyn FnMut(SocketAddr) -> Result<PeerCertificates, TlsFailure> + 'a>;

/// How a walk went.
#[derive(Debug)]
pub(super) struct Trip {
    pub(super) verdict: Verdict,
    pub(super) steps: Vec<Step>,
    /// Rounds in which questions went out.
    pub(super) flights: usize,
    pub(super) asked: Vec<(Name, RecordType)>,
    pub(super) connected: Vec<SocketAddr>,
}

impl Trip {
    pub(super) fn refusal(&self) -> &Refusal {
        match &self.verdict {
            Verdict::Refused { refusal } => refusal,
            other => panic!("not refused but {other:?}; steps: {:#?}", self.steps),
        }
    }

    pub(super) fn discovered(&self) -> &Discovered {
        match &self.verdict {
            Verdict::Upgraded(discovered) => discovered,
            other => panic!("not upgraded but {other:?}"),
        }
    }
}

/// One walk's surroundings.
pub(super) struct Walker<'a> {
    pub(super) server: SocketAddr,
    pub(super) known: Option<KnownIdentity>,
    pub(super) clock: UnixTime,
    pub(super) answers: Answerer<'a>,
    pub(super) peers: Peers<'a>,
    /// Puts the reports of one round into another order, or repeats some.
    pub(super) shuffle: Shuffle<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum Report {
    Message(AskId, Vec<u8>),
    Silence(AskId),
    Tls(ConnectId, Result<PeerCertificates, TlsFailure>),
}

impl<'a> Walker<'a> {
    pub(super) fn to(identity: &'a Identity, zones: &'a Published) -> Self {
        Self {
            server: server(),
            known: None,
            clock: CLOCK,
            answers: Box::new(|ask| Some(answer(zones, ask).to_vec().unwrap())),
            peers: Box::new(|_| Ok(peer(identity))),
            shuffle: Box::new(|_| {}),
        }
    }

    /// As [`Walker::to`], with messages changed on the way.
    pub(super) fn spoilt(
        identity: &'a Identity,
        zones: &'a Published,
        mut spoil: impl FnMut(&Ask, &mut Message) + 'a,
    ) -> Self {
        let mut walker = Self::to(identity, zones);
        walker.answers = Box::new(move |ask| {
            let mut message = answer(zones, ask);
            spoil(ask, &mut message);
            Some(message.to_vec().unwrap())
        });
        walker
    }

    pub(super) fn walk(mut self) -> Trip {
        let mut now = Instant::now();
        let mut walk = Walk::new(WalkInput {
            server: self.server,
            known: self.known.clone(),
            policy: WalkPolicy {
                clock_floor: UnixTime(1_700_000_000),
                timeout: WALK_TIMEOUT,
            },
            now,
            clock: self.clock,
        });
        let mut trip = Trip {
            verdict: Verdict::NoAnswer,
            steps: Vec::new(),
            flights: 0,
            asked: Vec::new(),
            connected: Vec::new(),
        };
        let mut verdict = None;
        let mut late: VecDeque<Report> = VecDeque::new();
        for _ in 0..20 {
            let mut reports = Vec::new();
            let mut asked = false;
            while let Some(action) = walk.next_action() {
                assert_eq!(verdict, None, "an action after the end: {action:?}");
                match action {
                    Action::Ask(ask) => {
                        asked = true;
                        trip.asked.push((ask.name.clone(), ask.qtype));
                        reports.push(match (self.answers)(&ask) {
                            Some(message) => Report::Message(ask.id, message),
                            None => Report::Silence(ask.id),
                        });
                    }
                    Action::Connect(connect) => {
                        trip.connected.push(connect.address);
                        let outcome = (self.peers)(connect.address);
                        reports.push(Report::Tls(connect.attempt, outcome));
                    }
                    Action::Event(step) => {
                        assert!(!step.to_string().is_empty());
                        trip.steps.push(step);
                    }
                    Action::Done(end) => verdict = Some(end),
                }
            }
            trip.flights += usize::from(asked);
            (self.shuffle)(&mut reports);
            late.extend(reports.iter().cloned());
            if reports.is_empty() {
                let Some(due) = walk.next_timeout() else {
                    break;
                };
                now = due;
                walk.on_timeout(now);
            }
            for report in reports {
                now += Duration::from_millis(1);
                deliver(&mut walk, now, self.clock, report);
            }
        }
        // Whatever comes after the end changes nothing.
        for report in late {
            deliver(&mut walk, now, self.clock, report);
        }
        assert_eq!(walk.next_action(), None);
        assert_eq!(walk.next_timeout(), None);
        trip.verdict = verdict.expect("every walk ends");
        assert!(trip.asked.len() <= MAX_ASKS);
        trip
    }
}

fn deliver(walk: &mut Walk, now: Instant, clock: UnixTime, report: Report) {
    match report {
        Report::Message(ask, message) => walk.on_message(now, clock, ask, &message),
        Report::Silence(ask) => walk.on_no_answer(now, ask),
        Report::Tls(attempt, outcome) => walk.on_tls(now, clock, attempt, outcome),
    }
}
