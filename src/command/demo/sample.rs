//! A small zone for machines without a network: something to ask for.

use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{A, AAAA, CNAME, NS, SOA, TXT},
    },
};
use tokio::{net::UdpSocket, task::JoinHandle};
use zzdot_zonegen::{
    exit::{Exit, Failure},
    signed_zone::SignedZone,
};

/// A name of the zone that has an address.
pub(super) const HELLO: &str = "hello.example.";

const TTL_SECS: u32 = 60;
const QUERY_BYTES: usize = 4096;

/// Serves the zone `example` on loopback, until dropped.
pub(super) struct Sample {
    pub(super) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Sample {
    pub(super) async fn start() -> Result<Self, Failure> {
        let refuse = |error: std::io::Error| {
            Failure::new(
                Exit::CannotRun,
                format!("the built-in zone cannot be served: {error}"),
            )
        };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(refuse)?;
        let address = socket.local_addr().map_err(refuse)?;
        let serving = tokio::spawn(serve(socket, zone()));
        Ok(Self { address, serving })
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// UDP is enough: nothing in the zone is too long for it, and the appliance turns to TCP only then.
async fn serve(socket: UdpSocket, zone: SignedZone) {
    let mut query = [0; QUERY_BYTES];
    loop {
        // An error is that of an answer sent before, whose asker has gone.
        let Ok((length, asker)) = socket.recv_from(&mut query).await else {
            continue;
        };
        if let Some(answer) = answer(&query[..length], &zone) {
            let _ = socket.send_to(&answer, asker).await;
        }
    }
}

/// What the zone says; none to what is no query.
fn answer(query: &[u8], zone: &SignedZone) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query || query.metadata.op_code != OpCode::Query
    {
        return None;
    }
    let question = query.queries.first()?;
    let mut response = Message::response(query.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.add_query(question.clone());
    match zone.lookup(question.name(), question.query_type()) {
        Some(found) => {
            response.metadata.authoritative = true;
            response.metadata.response_code = found.rcode;
            response.add_answers(found.answers);
            response.add_authorities(found.authorities);
        }
        None => response.metadata.response_code = ResponseCode::Refused,
    }
    response.to_vec().ok()
}

fn zone() -> SignedZone {
    let soa = SOA::new(
        name("ns.example."),
        name("nobody.example."),
        1,
        3600,
        600,
        86_400,
        TTL_SECS,
    );
    let records = [
        ("example.", RData::SOA(soa)),
        ("example.", RData::NS(NS(name("ns.example.")))),
        ("ns.example.", RData::A(A::new(127, 0, 0, 1))),
        (HELLO, RData::A(A::new(192, 0, 2, 1))),
        (
            HELLO,
            RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ),
        (
            HELLO,
            RData::TXT(TXT::new(vec![
                "nobody on the way read this question".into(),
            ])),
        ),
        ("www.example.", RData::CNAME(CNAME(name(HELLO)))),
    ];
    SignedZone::from_records(
        records.map(|(owner, data)| Record::from_rdata(name(owner), TTL_SECS, data)),
    )
    .expect("a constant zone")
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a constant name")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::{op::Query, rr::RecordType};

    use super::*;

    fn ask(owner: &str, rtype: RecordType) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(name(owner), rtype));
        Message::from_vec(&answer(&query.to_vec().unwrap(), &zone()).unwrap()).unwrap()
    }

    #[test]
    fn names_have_addresses_and_aliases_lead_to_them() {
        assert_eq!(ask(HELLO, RecordType::A).answers.len(), 1);
        assert_eq!(ask("WWW.example.", RecordType::AAAA).answers.len(), 2);
    }

    #[test]
    fn what_is_not_there_is_denied_with_the_soa() {
        let response = ask("nothing.example.", RecordType::A);
        assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(response.authorities.len(), 1);
    }

    #[test]
    fn other_zones_are_refused_and_responses_met_with_silence() {
        let response = ask("elsewhere.test.", RecordType::A);
        assert_eq!(response.metadata.response_code, ResponseCode::Refused);
        assert_eq!(answer(&response.to_vec().unwrap(), &zone()), None);
    }
}
