//! The survey: from the nearest resolver to the ends.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::action::{Action, Ask, AskId, ConnectId, Step, Via};
use super::flight::{Flight, Lack};
use super::reading::own_questions;
use super::site::{Phase, Site};
use super::surroundings::OwnAddresses;
use super::why::{Limit, Why};
use super::{MAX_IN_FLIGHT, MAX_OCTETS, MAX_PEER_OCTETS, MAX_QUESTIONS};
use crate::discover::{Discovered, PeerCertificates, TlsFailure};
use crate::trust::KnownIdentity;
use crate::validate::bogus::shown;
use crate::validate::{Reply, ZoneKey};
use crate::wire::View;

/// For how long a survey waits in all.
pub const SURVEY_TIMEOUT: Duration = Duration::from_secs(20);

/// What a survey starts from.
#[derive(Clone, Debug)]
pub struct SurveyInput {
    /// The resolver that this computer asks.
    pub nearest: Nearest,
    /// Where this computer is itself, and nobody is looked for.
    pub own_addresses: OwnAddresses,
    /// When the survey starts.
    pub now: Instant,
    /// After how long it ends with what it has.
    pub timeout: Duration,
    /// What the clock shows when it starts.
    pub clock: UnixTime,
}

/// The resolver that this computer asks, met before, and connected to over TLS.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// Its name.
    pub name: ResolverName,
    /// The trust anchor of its `resolver-name.arpa`.
    pub anchor: Vec<DNSKEY>,
    /// Where it was met.
    pub endpoint: SocketAddr,
}

impl Nearest {
    /// A resolver that is remembered.
    #[must_use]
    pub fn known(identity: &KnownIdentity) -> Self {
        Self {
            name: identity.name.clone(),
            anchor: identity.anchor.trusted(),
            endpoint: identity.endpoint,
        }
    }
}

impl From<&Discovered> for Nearest {
    fn from(discovered: &Discovered) -> Self {
        Self {
            name: discovered.name.clone(),
            anchor: discovered.anchor.clone(),
            endpoint: discovered.endpoint,
        }
    }
}

/// One survey, as a state machine without IO.
///
/// Of each resolver it asks first what its own zone says, validated by the keys that whoever asks it vouches for; at
/// the same time it looks for that resolver itself, by TLS. Then it asks what the resolver says about each of its
/// upstreams, and goes on with those. A resolver that it meets is asked itself, all others through those before
/// them (`X.q.<UP>.NAME`). Nothing is asked in cleartext.
///
/// ```text
///    the nearest ──► own zone ──► claims about its upstreams ──► read
///                      ▲   │  └── another version: again, twice ──► unread
///                      │   └ TLS: meet it, ask whether it says the same itself
///                      └── each upstream that has a name and was not seen before
/// ```
///
/// The caller sends each [`Action::Ask`], starts each [`Action::Connect`], reports how they came out, and takes
/// [`Survey::next_action`] until it gives none.
pub struct Survey {
    pub(super) endpoint: SocketAddr,
    pub(super) own_addresses: OwnAddresses,
    pub(super) anchor: Vec<ZoneKey>,
    pub(super) clock: UnixTime,
    pub(super) sites: Vec<Site>,
    pub(super) by_name: BTreeMap<ResolverName, usize>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) ttl: u32,
    pub(super) most_questions: usize,
    deadline: Instant,
    asks: Vec<Asked>,
    /// Not sent yet.
    queue: VecDeque<AskId>,
    in_flight: usize,
    flights: u32,
    /// Flights that are back and wait to be judged: site and number.
    back: VecDeque<(usize, u32)>,
    actions: VecDeque<Action>,
    over: bool,
}

/// An attempt at TLS.
pub(super) struct Attempt {
    pub(super) site: usize,
    pub(super) address: SocketAddr,
    pub(super) outcome: Option<Result<PeerCertificates, String>>,
}

struct Asked {
    site: usize,
    flight: u32,
    place: usize,
    via: Via,
    /// With the way to whom it is for; empty once there is an outcome.
    name: Name,
    qtype: RecordType,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Sent,
    Over,
}

impl Survey {
    /// Starts: the first questions are the next actions.
    #[must_use]
    pub fn new(input: SurveyInput) -> Self {
        let SurveyInput {
            nearest,
            own_addresses,
            now,
            timeout,
            clock,
        } = input;
        let mut survey = Self {
            endpoint: nearest.endpoint,
            own_addresses,
            anchor: nearest.anchor.iter().map(ZoneKey::from).collect(),
            clock,
            sites: Vec::new(),
            by_name: BTreeMap::from([(nearest.name.clone(), 0)]),
            attempts: Vec::new(),
            ttl: u32::MAX,
            most_questions: MAX_QUESTIONS,
            deadline: now + timeout,
            asks: Vec::new(),
            queue: VecDeque::new(),
            in_flight: 0,
            flights: 0,
            back: VecDeque::new(),
            actions: VecDeque::new(),
            over: false,
        };
        let why = Why::Limit { limit: Limit::Time };
        let mut site = Site::new(nearest.name, 1, Phase::Unread(why));
        site.direct.met = Some(nearest.endpoint);
        survey.sites.push(site);
        survey.read_own_zone(0);
        survey.go_on();
        survey
    }

    /// What to do next, if anything.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Survey::on_timeout`]; none once the survey is over.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        (!self.over).then_some(self.deadline)
    }

    /// An answer came.
    pub fn on_message(&mut self, clock: UnixTime, id: AskId, message: &[u8]) {
        self.clock = clock;
        let Some(asked) = self.asks.get(usize::from(id.0)) else {
            return;
        };
        if self.over || asked.state != State::Sent {
            return;
        }
        let held: usize = self.sites.iter().map(Site::octets).sum();
        let outcome = match View::parse(message) {
            Ok(view) if !is_answer(&view, asked) => Err(Lack::Silent("another question answered")),
            // There is no other way on which more would fit.
            Ok(view) if view.truncated() => Err(Lack::Silent("it does not fit into a message")),
            Ok(_) if held + message.len() > MAX_OCTETS => Err(Lack::Octets),
            Ok(_) => Reply::read(message).map_err(|_| Lack::Silent("it cannot be read")),
            Err(_) => Err(Lack::Silent("it cannot be read")),
        };
        self.file(id, outcome, message.len());
    }

    /// No answer came.
    pub fn on_no_answer(&mut self, clock: UnixTime, id: AskId) {
        self.clock = clock;
        let asked = self.asks.get(usize::from(id.0));
        if self.over || asked.is_none_or(|asked| asked.state != State::Sent) {
            return;
        }
        self.file(id, Err(Lack::Silent("no answer")), 0);
    }

    /// An attempt at TLS came out.
    pub fn on_tls(
        &mut self,
        clock: UnixTime,
        id: ConnectId,
        outcome: Result<PeerCertificates, TlsFailure>,
    ) {
        self.clock = clock;
        let Some(attempt) = self.attempts.get_mut(usize::from(id.0)) else {
            return;
        };
        if self.over || attempt.outcome.is_some() {
            return;
        }
        let (site, endpoint) = (attempt.site, attempt.address);
        let octets = |peer: &PeerCertificates| peer.0.iter().map(|it| it.len()).sum::<usize>();
        let outcome = match outcome {
            Ok(peer) if octets(&peer) > MAX_PEER_OCTETS => Err(TlsFailure::NoConnection {
                detail: "its certificates are too long".to_owned(),
            }),
            outcome => outcome,
        };
        attempt.outcome = Some(outcome.clone().map_err(|failure| failure.to_string()));
        if let (Err(failure), Some(found)) = (outcome, self.sites.get(site)) {
            let name = found.name.clone();
            self.tell(Step::NotConnected {
                name,
                endpoint,
                failure,
            });
        }
        self.on_attempt(site);
        self.go_on();
    }

    /// The time is up: what did not come by now is not waited for.
    pub fn on_timeout(&mut self, now: Instant) {
        if !self.over && now >= self.deadline {
            self.give_up();
            self.end();
        }
    }

    /// Files the outcome of a question.
    fn file(&mut self, id: AskId, outcome: Result<Reply, Lack>, octets: usize) {
        let Some(asked) = self.asks.get_mut(usize::from(id.0)) else {
            return;
        };
        asked.state = State::Over;
        asked.name = Name::root();
        self.in_flight = self.in_flight.saturating_sub(1);
        let (site, serial, place) = (asked.site, asked.flight, asked.place);
        if let Some(flight) = self.flight(site, serial) {
            match outcome {
                Ok(reply) => flight.on_reply(place, reply, octets),
                Err(lack) => flight.on_lack(place, lack),
            }
            if flight.is_back() {
                self.back.push_back((site, serial));
            }
        }
        self.go_on();
    }

    fn flight(&mut self, site: usize, serial: u32) -> Option<&mut Flight> {
        self.sites.get_mut(site)?.flight(serial)
    }

    fn go_on(&mut self) {
        while let Some((site, serial)) = self.back.pop_front() {
            self.on_flight(site, serial);
        }
        self.pump();
        let settled = (0..self.sites.len()).all(|site| self.is_settled(site));
        if settled && !self.over {
            self.end();
        }
    }

    fn end(&mut self) {
        self.over = true;
        let told = |action: &Action| matches!(action, Action::Event(_));
        self.actions.retain(told);
        let chain = self.conclude();
        self.actions.push_back(Action::Done(chain));
    }

    pub(super) fn tell(&mut self, step: Step) {
        self.actions.push_back(Action::Event(step));
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Takes note of a question. False where there were too many.
    pub(super) fn enqueue(
        &mut self,
        (site, flight, place): (usize, u32, usize),
        via: Via,
        (name, qtype): (Name, RecordType),
    ) -> bool {
        if self.asks.len() >= self.most_questions {
            return false;
        }
        // Fewer than 65536 questions are asked.
        let id = AskId(self.asks.len() as u16);
        self.asks.push(Asked {
            site,
            flight,
            place,
            via,
            name,
            qtype,
            state: State::Queued,
        });
        self.queue.push_back(id);
        true
    }

    /// Looks at a flight that is back before it could go out.
    pub(super) fn on_back(&mut self, site: usize, serial: u32) {
        self.back.push_back((site, serial));
    }

    /// A number for a flight.
    pub(super) fn next_flight(&mut self) -> u32 {
        self.flights += 1;
        self.flights
    }

    /// Sends what may be sent by now.
    fn pump(&mut self) {
        while self.in_flight < MAX_IN_FLIGHT
            && let Some(id) = self.queue.pop_front()
        {
            let Some(asked) = self.asks.get_mut(usize::from(id.0)) else {
                continue;
            };
            let flight = self.sites.get_mut(asked.site);
            if flight.and_then(|site| site.flight(asked.flight)).is_none() {
                asked.state = State::Over;
                continue;
            }
            asked.state = State::Sent;
            self.in_flight += 1;
            let ask = Ask {
                id,
                via: asked.via,
                name: asked.name.clone(),
                qtype: asked.qtype,
            };
            let step = Step::Asked {
                name: shown(&ask.name),
                rtype: ask.qtype.to_string(),
            };
            self.tell(step);
            self.act(Action::Ask(ask));
        }
    }

    /// Asks a site for its own zone, the way it can be asked now.
    pub(super) fn read_own_zone(&mut self, site: usize) {
        let Some(found) = self.sites.get(site) else {
            return;
        };
        let port = match found.voucher() {
            Some(voucher) => voucher.port,
            None => self.endpoint.port(),
        };
        let questions = own_questions(&found.name, port, site == 0);
        self.ask_own_zone(site, questions);
    }
}

fn is_answer(view: &View<'_>, asked: &Asked) -> bool {
    view.is_response()
        && view.question().is_some_and(|echoed| {
            echoed.qtype == u16::from(asked.qtype)
                && echoed.qclass == 1
                && echoed.name.to_name() == asked.name
        })
}
