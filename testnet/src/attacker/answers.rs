//! What an attacker says: functions from a query to an answer, which can be put together.

use std::{
    collections::HashMap,
    fmt,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use zzdot_zonegen::{owners::anchor_zone, publish::Published};

use crate::host::Host;

/// Where the attacker's answers lead: an address that nobody else in a lab ever gives.
pub const LIE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
/// How long the genuine resolver is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const LIE_TTL_SECS: u32 = 30;

/// What is said to a query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// A message.
    Message(Vec<u8>),
    /// Nothing, and the stream ends; a datagram is only not answered.
    End,
}

impl From<Option<Vec<u8>>> for Said {
    fn from(message: Option<Vec<u8>>) -> Self {
        message.map_or(Self::Nothing, Self::Message)
    }
}

type Function = dyn Fn(&[u8], &Genuine) -> Said + Send + Sync;

/// Decides what is said to a query.
#[derive(Clone)]
pub struct Answerer(Arc<Function>);

impl Answerer {
    /// Out of a function of the query's octets and the genuine resolver.
    pub fn new(answer: impl Fn(&[u8], &Genuine) -> Said + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// What is said to this query.
    #[must_use]
    pub fn say(&self, query: &[u8], genuine: &Genuine) -> Said {
        (self.0)(query, genuine)
    }

    /// This one for the names that publish a resolver, `otherwise` for all others.
    #[must_use]
    pub fn for_the_walk(self, otherwise: Self) -> Self {
        Self::new(move |query, genuine| {
            if asks_for_the_walk(query) {
                self.say(query, genuine)
            } else {
                otherwise.say(query, genuine)
            }
        })
    }

    /// What this one says, changed.
    #[must_use]
    pub fn changed(self, change: impl Fn(&mut Message) + Send + Sync + 'static) -> Self {
        Self::new(move |query, genuine| match self.say(query, genuine) {
            Said::Message(bytes) => {
                let Ok(mut message) = Message::from_vec(&bytes) else {
                    return Said::Nothing;
                };
                change(&mut message);
                message.to_vec().ok().into()
            }
            other => other,
        })
    }

    /// What this one says, to be kept and said again later.
    #[must_use]
    pub fn recorded(self) -> Recording {
        Recording {
            source: self,
            tape: Arc::default(),
        }
    }
}

impl fmt::Debug for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answerer")
    }
}

type Tape = HashMap<(Name, RecordType), Vec<u8>>;

/// Answers kept by question.
#[derive(Clone, Debug)]
pub struct Recording {
    source: Answerer,
    tape: Arc<Mutex<Tape>>,
}

impl Recording {
    /// Asks all that a walk to this resolver asks, and keeps the answers.
    pub fn record(&self, name: &Name, genuine: &Genuine) {
        for (owner, rtype) in walk_questions(name) {
            let query = query(&owner, rtype);
            if let Said::Message(answer) = self.source.say(&query, genuine) {
                self.tape
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert((owner.to_lowercase(), rtype), answer);
            }
        }
    }

    /// How many answers it holds.
    #[must_use]
    pub fn length(&self) -> usize {
        self.tape
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Plays it. What is not on it is not answered.
    #[must_use]
    pub fn replay(&self) -> Answerer {
        let tape = Arc::clone(&self.tape);
        Answerer::new(move |asked, _| {
            let Some((name, rtype)) = question(asked) else {
                return Said::Nothing;
            };
            let answer = tape
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&(name, rtype))
                .cloned();
            let Some(Ok(mut message)) = answer.map(|answer| Message::from_vec(&answer)) else {
                return Said::Nothing;
            };
            let Ok(asked) = Message::from_vec(asked) else {
                return Said::Nothing;
            };
            message.metadata.id = asked.metadata.id;
            message.queries = asked.queries;
            message.to_vec().ok().into()
        })
    }
}

/// The genuine resolver, asked from the attacker's host.
#[derive(Clone, Debug)]
pub struct Genuine {
    host: Host,
    address: SocketAddr,
}

impl Genuine {
    pub(super) fn new(host: &Host, address: SocketAddr) -> Self {
        Self {
            host: host.clone(),
            address,
        }
    }

    /// Its answer to a query; none where it says nothing. UDP first, TCP where that is cut.
    #[must_use]
    pub fn ask(&self, query: &[u8]) -> Option<Vec<u8>> {
        self.host.within(|| {
            let answer = ask_by_datagram(self.address, query)?;
            let cut = answer.get(2).is_some_and(|flags| flags & 0x02 != 0);
            if cut {
                ask_by_stream(self.address, query)
            } else {
                Some(answer)
            }
        })
    }

    /// Where it listens for DNS over TLS.
    #[must_use]
    pub fn dot(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), 853)
    }
}

fn ask_by_datagram(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(server).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.send(query).ok()?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

fn ask_by_stream(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = u16::try_from(query.len()).ok()?;
    stream
        .write_all(&[&length.to_be_bytes(), query].concat())
        .ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

/// Every address is the attacker's; no resolver publishes itself here.
#[must_use]
pub fn lie() -> Answerer {
    Answerer::new(|query, _| {
        reply(query, |message, name, rtype| {
            if is_of_the_walk(name) {
                message.metadata.response_code = ResponseCode::NXDomain;
            } else if rtype == RecordType::A {
                let data = RData::A(A(LIE));
                message.add_answer(Record::from_rdata(name.clone(), LIE_TTL_SECS, data));
            }
        })
    })
}

/// The genuine resolver's answers, every one.
#[must_use]
pub fn relay() -> Answerer {
    Answerer::new(|query, genuine| genuine.ask(query).into())
}

/// Silence.
#[must_use]
pub fn silence() -> Answerer {
    Answerer::new(|_, _| Said::Nothing)
}

/// This response code and nothing else.
#[must_use]
pub fn refuse(rcode: u8) -> Answerer {
    Answerer::new(move |query, _| {
        reply(query, |message, _, _| {
            message.metadata.response_code = ResponseCode::from(0, rcode);
        })
    })
}

/// "Too long, come by TCP" to everything, and over TCP the same.
#[must_use]
pub fn truncate() -> Answerer {
    Answerer::new(|query, _| reply(query, |message, _, _| message.metadata.truncation = true))
}

/// The genuine answers without a signature or a proof.
#[must_use]
pub fn stripped() -> Answerer {
    relay().changed(|message| {
        let signed = [RecordType::RRSIG, RecordType::NSEC, RecordType::NSEC3];
        for section in [&mut message.answers, &mut message.authorities] {
            section.retain(|record| !signed.contains(&record.record_type()));
        }
    })
}

/// Zones of the attacker's own making, out of which the names of a walk are answered.
#[must_use]
pub fn zones(published: Published) -> Answerer {
    Answerer::new(move |query, _| {
        reply(query, |message, name, rtype| {
            let zones = [&published.name_zone, &published.anchor_zone];
            let answer = zones.iter().find_map(|zone| zone.lookup(name, rtype));
            match answer {
                Some(answer) => {
                    message.metadata.response_code = answer.rcode;
                    message.metadata.authoritative = true;
                    message.answers = answer.answers;
                    message.authorities = answer.authorities;
                }
                None => message.metadata.response_code = ResponseCode::NXDomain,
            }
        })
    })
}

/// What a walk asks a resolver of this name (protocol, "Discovery").
#[must_use]
pub fn walk_questions(name: &Name) -> Vec<(Name, RecordType)> {
    let below = |labels: &[&str]| {
        labels.iter().rev().fold(name.clone(), |name, label| {
            name.prepend_label(*label)
                .expect("a resolver's name leaves room for labels")
        })
    };
    let anchor = anchor_zone();
    let key = name
        .clone()
        .append_domain(&anchor)
        .expect("a resolver's name leaves room for a suffix");
    vec![
        (anchor.clone(), RecordType::DNSKEY),
        (anchor.clone(), RecordType::NS),
        (anchor.clone(), RecordType::SOA),
        (key, RecordType::KEY),
        (name.clone(), RecordType::DNSKEY),
        (name.clone(), RecordType::SOA),
        (name.clone(), RecordType::A),
        (name.clone(), RecordType::AAAA),
        (below(&["server-type"]), RecordType::TXT),
        (below(&["_dns"]), RecordType::SVCB),
        (below(&["_853", "_tcp"]), RecordType::TLSA),
    ]
}

/// A query with DO and CD, as a walk puts it.
#[must_use]
pub fn query(name: &Name, rtype: RecordType) -> Vec<u8> {
    use hickory_proto::op::{Edns, OpCode, Query};
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.checking_disabled = true;
    message.add_query(Query::query(name.clone(), rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_dnssec_ok(true);
    message.set_edns(edns);
    message.to_vec().expect("a question can be encoded")
}

/// Does it ask for a name by which resolvers publish themselves?
#[must_use]
pub fn asks_for_the_walk(query: &[u8]) -> bool {
    question(query).is_some_and(|(name, _)| is_of_the_walk(&name))
}

/// Is it a name by which resolvers publish themselves?
#[must_use]
pub fn is_of_the_walk(name: &Name) -> bool {
    let suffix = Name::from_ascii("zz.").expect("a constant is a name");
    suffix.zone_of(name) || anchor_zone().zone_of(name)
}

/// What is asked, in lower case.
#[must_use]
pub fn question(query: &[u8]) -> Option<(Name, RecordType)> {
    let message = Message::from_vec(query).ok()?;
    let asked = message.queries.first()?;
    Some((asked.name().to_lowercase(), asked.query_type()))
}

/// A response to a query, filled in.
pub(super) fn reply(query: &[u8], fill: impl FnOnce(&mut Message, &Name, RecordType)) -> Said {
    let Ok(asked) = Message::from_vec(query) else {
        return Said::Nothing;
    };
    let Some(question) = asked.queries.first() else {
        return Said::Nothing;
    };
    let mut message = Message::new(
        asked.metadata.id,
        MessageType::Response,
        asked.metadata.op_code,
    );
    message.metadata.recursion_desired = asked.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.checking_disabled = asked.metadata.checking_disabled;
    message.queries = asked.queries.clone();
    if let Some(edns) = asked.edns {
        let mut own = hickory_proto::op::Edns::new();
        own.set_max_payload(1232)
            .set_dnssec_ok(edns.flags().dnssec_ok);
        message.set_edns(own);
    }
    fill(&mut message, question.name(), question.query_type());
    message.to_vec().ok().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_walk_are_told_from_those_of_people() {
        for walk in ["resolver-name.arpa.", "x.zz.", "_853._tcp.X.ZZ."] {
            assert!(is_of_the_walk(&Name::from_ascii(walk).unwrap()), "{walk}");
        }
        for other in ["arpa.", "zzz.", "www.example."] {
            assert!(
                !is_of_the_walk(&Name::from_ascii(other).unwrap()),
                "{other}"
            );
        }
    }

    #[test]
    fn every_question_of_a_walk_is_recorded_under_the_name_that_it_asks_for() {
        let name = Name::from_ascii("8g2l0qv7c4m1t5b9r3se.zz.").unwrap();
        let questions = walk_questions(&name);
        assert!(questions.iter().all(|(name, _)| is_of_the_walk(name)));
        let tlsa = questions
            .iter()
            .find(|(_, rtype)| *rtype == RecordType::TLSA);
        assert_eq!(
            tlsa.unwrap().0.to_ascii(),
            "_853._tcp.8g2l0qv7c4m1t5b9r3se.zz."
        );
    }
}
