//! Resolvers in memory that ask each other, and somebody who surveys them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::rdata::{TLSA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ring::rand::SystemRandom;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::owners::{Claim, claim_owner, passage_owner};
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::{Published, publish};
use zzdot_zonegen::upstream::{
    Proof, PublishedTls, PublishedUpstream, ServerKind, Transport, UnnamedLabel, UpstreamId,
};
use zzdot_zonegen::zone::{Publication, ServerType};

use crate::chain::*;
use crate::discover::{PeerCertificates, TlsFailure};

pub(super) const CLOCK: UnixTime = UnixTime(1_800_000_000);

/// Some resolvers, with numbers; the client asks number 0.
pub(super) struct World {
    pub(super) resolvers: Vec<Resolver>,
    /// Who answers where, as seen from the client.
    pub(super) reach: BTreeMap<SocketAddr, usize>,
    /// Where the client is itself.
    pub(super) own_addresses: OwnAddresses,
    /// Where a handshake comes out no sooner than in this round.
    pub(super) late: BTreeMap<SocketAddr, usize>,
    pub(super) clock: UnixTime,
    /// So many records come with each answer that nobody asked for.
    pub(super) fat: u16,
    /// The time-to-live that all records come with, whatever their zone says.
    pub(super) ttl: Option<u32>,
    /// Whether all names come in upper case.
    pub(super) shouted: bool,
    /// So many questions are asked instead of those that may be.
    pub(super) most_questions: Option<usize>,
    /// Whoever is asked names so many others that nobody has named before.
    pub(super) brood: usize,
}

pub(super) struct Resolver {
    pub(super) identity: Identity,
    pub(super) address: IpAddr,
    pub(super) server_type: ServerType,
    pub(super) dot_port: u16,
    pub(super) upstreams: Vec<Upstream>,
    /// Whether it passes questions on.
    pub(super) passes: bool,
    /// Whether it answers at all.
    pub(super) answers: bool,
    /// Zones of before, out of which this type is still answered.
    pub(super) overtaken: Option<(RecordType, Published)>,
    /// Zones of before, out of which whoever passes questions on takes how it asks its upstreams.
    pub(super) replayed: Option<Published>,
    stamp: Option<Stamp>,
    pub(super) zones: Option<Published>,
}

/// An upstream: what is said about it, and who is really asked.
pub(super) struct Upstream {
    pub(super) published: PublishedUpstream,
    pub(super) real: Option<usize>,
}

/// How a survey went.
#[derive(Debug)]
pub(super) struct Trip {
    pub(super) chain: Chain,
    pub(super) steps: Vec<Step>,
    /// Rounds in which questions went out.
    pub(super) flights: usize,
    pub(super) asked: Vec<(Via, Name, RecordType)>,
    pub(super) connected: Vec<SocketAddr>,
    pub(super) most_in_flight: usize,
    /// The most octets of memory that the survey had at a time.
    pub(super) most_octets: i64,
    /// Each hop as "FROM>TO LABEL REASON", the client as "-", resolvers by number.
    pub(super) hops: Vec<String>,
}

impl World {
    /// So many resolvers, none of which forwards, at addresses that the client reaches.
    pub(super) fn of(count: u8) -> Self {
        let mut world = Self {
            resolvers: Vec::new(),
            reach: BTreeMap::new(),
            own_addresses: OwnAddresses::Known(BTreeSet::new()),
            late: BTreeMap::new(),
            clock: CLOCK,
            fat: 0,
            ttl: None,
            shouted: false,
            most_questions: None,
            brood: 0,
        };
        for number in 0..count {
            world.settle(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10 + number)));
        }
        world
    }

    fn settle(&mut self, address: IpAddr) {
        let suffix = Name::from_ascii("zz.").unwrap();
        let place = SocketAddr::new(address, 853);
        self.reach.insert(place, self.resolvers.len());
        self.resolvers.push(Resolver {
            identity: Identity::invent(&suffix, &SystemRandom::new()).unwrap(),
            address,
            server_type: ServerType::Resolver,
            dot_port: 853,
            upstreams: Vec::new(),
            passes: true,
            answers: true,
            overtaken: None,
            replayed: None,
            stamp: None,
            zones: None,
        });
    }

    /// Makes whom `from` asks, and all that it says.
    fn breed(&mut self, from: usize) {
        if self.resolvers[from].zones.is_some() {
            return;
        }
        for _ in 0..self.brood {
            // Each forwards in turn, and whoever names it says so at once.
            let [_, high, middle, low] = (self.resolvers.len() as u32).to_be_bytes();
            self.settle(IpAddr::V4(Ipv4Addr::new(10, high, middle, low)));
            let born = self.resolvers.len() - 1;
            self.resolvers[born].server_type = ServerType::Forwarder;
            self.hop(from, born);
        }
        self.publish(from);
    }

    /// `from` asks `to`, and says so.
    pub(super) fn hop(&mut self, from: usize, to: usize) -> &mut PublishedUpstream {
        let far = &self.resolvers[to];
        let spki = far.identity.spki_sha256().to_vec();
        let tlsa = TLSA::new(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, spki);
        let published = PublishedUpstream {
            id: UpstreamId::Named(far.identity.name().clone()),
            kind: far.server_type.into(),
            transport: Transport::Dot,
            proof: Proof::Dane,
            addresses: vec![far.address],
            ksks: vec![far.identity.name_keys().ksk.dnskey().clone()],
            tls: Some(PublishedTls {
                port: far.dot_port,
                tlsa: vec![tlsa],
            }),
        };
        let real = Some(to);
        self.add(from, Upstream { published, real })
    }

    /// `from` asks somebody without a name.
    pub(super) fn unnamed(&mut self, from: usize, address: &str) -> &mut PublishedUpstream {
        let label = UnnamedLabel::new(address.parse().unwrap());
        let published = PublishedUpstream {
            id: UpstreamId::Unnamed(label),
            kind: ServerKind::Unknown,
            transport: Transport::Plain,
            proof: Proof::None,
            addresses: vec![label.address().ip()],
            ksks: Vec::new(),
            tls: None,
        };
        let real = None;
        self.add(from, Upstream { published, real })
    }

    fn add(&mut self, from: usize, upstream: Upstream) -> &mut PublishedUpstream {
        let near = &mut self.resolvers[from];
        near.server_type = ServerType::Forwarder;
        let id = UpstreamId::Named(near.identity.name().clone());
        near.upstreams.push(upstream);
        // Whoever spoke of it before says what it is now.
        for resolver in &mut self.resolvers {
            for upstream in &mut resolver.upstreams {
                if upstream.published.id == id {
                    upstream.published.kind = ServerKind::Forwarder;
                }
            }
        }
        &mut self.resolvers[from].upstreams.last_mut().unwrap().published
    }

    pub(super) fn number(&self, who: &Who) -> String {
        match who {
            Who::Client => "-".to_owned(),
            Who::Unnamed { address } => address.to_string(),
            Who::Named { name } => {
                let place = |resolver: &Resolver| resolver.identity.name() == name;
                let place = self.resolvers.iter().position(place);
                place.map_or_else(|| "?".to_owned(), |place| place.to_string())
            }
        }
    }

    /// Signs the zones of one resolver anew.
    pub(super) fn publish(&mut self, number: usize) {
        let clock = self.clock;
        let resolver = &mut self.resolvers[number];
        let stamp = Stamp::next_above(UnixTime(0), resolver.stamp.as_ref(), clock).unwrap();
        let upstreams = resolver.upstreams.iter();
        let publication = Publication {
            server_type: resolver.server_type,
            addresses: vec![resolver.address],
            dot_port: resolver.dot_port,
            upstreams: upstreams.map(|it| it.published.clone()).collect(),
        };
        resolver.zones = Some(publish(&resolver.identity, &publication, &stamp).unwrap());
        resolver.stamp = Some(stamp);
    }

    pub(super) fn publish_all(&mut self) {
        if self.brood == 0 {
            for number in 0..self.resolvers.len() {
                self.publish(number);
            }
        }
    }

    /// What resolver `number` says to a question.
    pub(super) fn answer(
        &mut self,
        number: usize,
        name: &Name,
        qtype: RecordType,
    ) -> Option<Message> {
        self.answer_to(number, name, qtype, false)
    }

    fn answer_to(
        &mut self,
        number: usize,
        name: &Name,
        qtype: RecordType,
        passed: bool,
    ) -> Option<Message> {
        self.breed(number);
        let resolver = &self.resolvers[number];
        if !resolver.answers {
            return None;
        }
        let zones = match &resolver.overtaken {
            Some((rtype, before)) if *rtype == qtype => before,
            _ => resolver.zones.as_ref().unwrap(),
        };
        let how = |label: &[u8]| label == b"transport" || label == b"proof";
        let zones = match &resolver.replayed {
            Some(before) if passed && name.iter().next().is_some_and(how) => before,
            _ => zones,
        };
        let mut response = Message::response(0, hickory_proto::op::OpCode::Query);
        let found = zones
            .anchor_zone
            .lookup(name, qtype)
            .or_else(|| zones.name_zone.lookup(name, qtype));
        let Some(found) = found else {
            response.metadata.response_code = ResponseCode::NXDomain;
            return Some(response);
        };
        response.metadata.response_code = found.rcode;
        response.answers = found.answers;
        response.authorities = found.authorities;
        if let Some(redirected) = found.redirected {
            let name = resolver.identity.name();
            let upstream = resolver.upstreams.iter().find(|upstream| {
                let owner = claim_owner(name, &upstream.published.id, Claim::Passage);
                owner == redirected.owner || passage_owner(name) == redirected.owner
            });
            let real = upstream.and_then(|upstream| upstream.real);
            let passed = real.filter(|_| resolver.passes);
            match passed.map(|real| self.answer_to(real, &redirected.target, qtype, true)) {
                Some(Some(further)) => {
                    response.metadata.response_code = further.metadata.response_code;
                    response.answers.extend(further.answers);
                    response.authorities.extend(further.authorities);
                }
                Some(None) => response.metadata.response_code = ResponseCode::ServFail,
                None => response.metadata.response_code = ResponseCode::Refused,
            }
        }
        Some(response)
    }

    /// Changes what signatures say nothing about.
    fn dress(&self, message: &mut Message) {
        let records = message.answers.iter_mut().chain(&mut message.authorities);
        for record in records {
            if let Some(ttl) = self.ttl {
                record.ttl = ttl;
            }
            if self.shouted {
                record.name = loud(&record.name);
                if let RData::PTR(target) = &mut record.data {
                    target.0 = loud(&target.0);
                }
            }
        }
    }

    pub(super) fn nearest(&self) -> Nearest {
        let nearest = &self.resolvers[0];
        Nearest {
            name: nearest.identity.name().clone(),
            anchor: nearest.identity.trust_anchor(),
            endpoint: SocketAddr::new(nearest.address, nearest.dot_port),
        }
    }

    pub(super) fn input(&self, now: Instant) -> SurveyInput {
        SurveyInput {
            nearest: self.nearest(),
            own_addresses: self.own_addresses.clone(),
            now,
            timeout: SURVEY_TIMEOUT,
            clock: self.clock,
        }
    }

    pub(super) fn survey(&mut self) -> Trip {
        self.survey_while(|_, _| {})
    }

    /// Puts a resolver elsewhere. What is said of it from then on says so.
    pub(super) fn locate(&mut self, number: usize, address: &str) {
        let resolver = &mut self.resolvers[number];
        self.reach
            .remove(&SocketAddr::new(resolver.address, resolver.dot_port));
        resolver.address = address.parse().unwrap();
        let place = SocketAddr::new(resolver.address, resolver.dot_port);
        self.reach.insert(place, number);
    }

    /// A survey during which `meanwhile` happens before the answers of each round are made.
    pub(super) fn survey_while(&mut self, mut meanwhile: impl FnMut(&mut Self, usize)) -> Trip {
        self.publish_all();
        let mut now = Instant::now();
        let mut survey = Survey::new(self.input(now));
        if let Some(most) = self.most_questions {
            survey.most_questions = most;
        }
        let (mut steps, mut asked, mut connected) = (Vec::new(), Vec::new(), Vec::new());
        let (mut flights, mut most_in_flight, mut done) = (0, 0, None);
        let (mut octets, mut most_octets) = (0, 0);
        let (mut peers, mut late) = (BTreeMap::new(), Vec::new());
        for round in 0..200 {
            let (mut asks, mut connects) = (Vec::new(), std::mem::take(&mut late));
            while let Some(action) = survey.next_action() {
                assert!(done.is_none(), "an action after the end: {action:?}");
                match action {
                    Action::Ask(ask) => asks.push(ask),
                    Action::Connect(connect) => connects.push(connect),
                    Action::Trust(trust) => {
                        let number: usize = peers[&trust.attempt];
                        let name = self.resolvers[number].identity.name();
                        assert_eq!(*name, trust.name, "somebody else is trusted");
                    }
                    Action::Event(step) => {
                        assert!(!step.to_string().is_empty());
                        steps.push(step);
                    }
                    Action::Done(chain) => done = Some(chain),
                }
            }
            flights += usize::from(!asks.is_empty());
            most_in_flight = most_in_flight.max(asks.len());
            meanwhile(self, round);
            let is_late = |it: &Connect| self.late.get(&it.address).is_some_and(|due| round < *due);
            (late, connects) = connects.into_iter().partition(is_late);
            if asks.is_empty() && connects.is_empty() && late.is_empty() {
                match survey.next_timeout() {
                    Some(due) => now = due,
                    None => break,
                }
                survey.on_timeout(now);
                continue;
            }
            now += Duration::from_millis(1);
            for connect in connects {
                connected.push(connect.address);
                let outcome = match self.reach.get(&connect.address) {
                    Some(number) => {
                        peers.insert(connect.attempt, *number);
                        let certificate = self.resolvers[*number].identity.certificate();
                        Ok(PeerCertificates(vec![certificate]))
                    }
                    None => Err(TlsFailure::NoConnection {
                        detail: "no route to host".to_owned(),
                    }),
                };
                survey.on_tls(self.clock, connect.attempt, outcome);
            }
            for ask in asks {
                asked.push((ask.via, ask.name.clone(), ask.qtype));
                let number = match ask.via {
                    Via::Nearest => 0,
                    Via::Direct(attempt) => peers[&attempt],
                };
                let query = Message::from_vec(&ask.message(7)).unwrap();
                match self.answer(number, &ask.name, ask.qtype) {
                    Some(mut message) => {
                        self.dress(&mut message);
                        message.queries = query.queries;
                        for number in 0..self.fat {
                            let owner = Name::from_ascii(format!("{number}.fat.example.")).unwrap();
                            let text = TXT::new(vec!["f".repeat(250)]);
                            let record = Record::from_rdata(owner, 60, RData::TXT(text));
                            message.answers.push(record);
                        }
                        let message = message.to_vec().unwrap();
                        let counted = allocation_counter::measure(|| {
                            survey.on_message(self.clock, ask.id, &message);
                        });
                        most_octets = most_octets.max(octets + counted.bytes_max as i64);
                        octets += counted.bytes_current;
                    }
                    None => survey.on_no_answer(self.clock, ask.id),
                }
            }
        }
        let chain = done.expect("every survey ends");
        let hop = |hop: &Hop| {
            let who = |id| self.number(&chain.node(id).unwrap().who);
            let (from, to) = (who(hop.from), who(hop.to));
            format!("{from}>{to} {} {}", hop.label, hop.why.name())
        };
        let hops = chain.hops.iter().map(hop).collect();
        Trip {
            chain,
            steps,
            flights,
            asked,
            connected,
            most_in_flight,
            most_octets,
            hops,
        }
    }
}

fn loud(name: &Name) -> Name {
    let labels = name.iter().map(<[u8]>::to_ascii_uppercase);
    let labels: Vec<_> = labels.collect();
    let mut loud = Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
    loud.set_fqdn(true);
    loud
}

impl Trip {
    /// The hops in an order that does not depend on names, which are invented anew each time.
    pub(super) fn sorted_hops(&self) -> Vec<String> {
        let mut hops = self.hops.clone();
        hops.sort_unstable();
        hops
    }

    pub(super) fn node<'t>(&'t self, world: &World, number: usize) -> &'t Node {
        let number = number.to_string();
        let mut nodes = self.chain.nodes.iter();
        let found = nodes.find(|node| world.number(&node.who) == number);
        found.unwrap_or_else(|| panic!("no node {number} in {:#?}", self.chain))
    }
}
