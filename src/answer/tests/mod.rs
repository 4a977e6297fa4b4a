//! The responder's rules as tables, and what holds for any bytes.

#![allow(clippy::unwrap_used)]

mod kept;
mod options;
mod passage;
mod properties;
mod refusals;
mod responses;
mod zones;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    str::FromStr,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::TXT},
};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use tokio::time::Instant;
use zzdot_client::{
    cache::{self, Cache},
    wire::{self, Edns, Flags, QuestionFlags, View},
};
use zzdot_zonegen::{
    clock::UnixTime,
    identity::Identity,
    publication::Stamp,
    publish::publish,
    zone::{Publication, ServerType},
};

use super::{Asker, Dropped, LocalZones, Outcome, Pending, Responder, Transport, cookie::Secret};
use crate::{
    counters::{Counters, Event},
    resolve::{Resolution, ResolveError, Source},
};

const IDLE: Duration = Duration::from_secs(30);
const ID: u16 = 0x5A31;
/// When all tests start.
static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// A source that nobody asks: the tests give the responses themselves.
struct Nobody;

impl Source for Nobody {
    fn resolve(&self, _query: Arc<[u8]>, _deadline: Instant) -> Resolution<'_> {
        Box::pin(async { Err(ResolveError::NoUpstream) })
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

fn responder() -> Responder {
    let counters = Arc::new(Counters::default());
    let responder = Responder::new(Arc::new(Nobody), Secret([9; 16]), counters);
    let cache = Cache::new(cache::Limits::default(), [5; 16], *START);
    responder.replace_cache(Some(cache));
    responder
}

fn asker(transport: Transport) -> Asker {
    Asker {
        address: "192.168.1.20".parse().unwrap(),
        transport,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        instant: *START,
        pressed: false,
        idle: transport.is_stream().then_some(IDLE),
    }
}

fn udp() -> Asker {
    asker(Transport::Udp)
}

fn rd() -> QuestionFlags {
    QuestionFlags {
        rd: true,
        cd: false,
        ad: false,
    }
}

fn question(name: &str, qtype: RecordType, edns: Option<&Edns>) -> Vec<u8> {
    wire::question(ID, &Name::from_ascii(name).unwrap(), qtype, rd(), edns)
}

fn plain(name: &str) -> Vec<u8> {
    question(name, RecordType::A, None)
}

fn edns(payload_size: u16, options: &[(u16, &[u8])]) -> Edns {
    Edns {
        payload_size,
        options: options
            .iter()
            .map(|(code, content)| (*code, content.to_vec()))
            .collect(),
        ..Edns::plain(false)
    }
}

/// The message with `octets` in place of those at `offset`.
fn with(mut message: Vec<u8>, offset: usize, octets: &[u8]) -> Vec<u8> {
    message[offset..offset + octets.len()].copy_from_slice(octets);
    message
}

/// The message with another class of the question, where nothing follows the question.
fn with_class(message: Vec<u8>, class: u16) -> Vec<u8> {
    let offset = message.len() - 2;
    with(message, offset, &class.to_be_bytes())
}

/// The message with `records` behind it, and the header counting them.
fn and(mut message: Vec<u8>, count_offset: usize, record: &[u8]) -> Vec<u8> {
    message.extend_from_slice(record);
    message[count_offset + 1] += 1;
    message
}

/// An outcome with the response that was appended.
#[derive(Debug)]
enum Said {
    Reply(Vec<u8>),
    Drop(Dropped),
    Ask(Pending),
}

impl Responder {
    /// [`Responder::answer`], with an output of its own.
    fn say(&self, asker: &Asker, query: &[u8]) -> Said {
        said(|out| self.answer(asker, query, out))
    }

    /// [`Responder::answer_overlong`], with an output of its own.
    fn say_overlong(&self, asker: &Asker, head: &[u8]) -> Said {
        said(|out| self.answer_overlong(asker, head, out))
    }

    /// [`Responder::finish`], at once.
    fn close(&self, pending: Pending, response: Result<Vec<u8>, ResolveError>) -> Vec<u8> {
        self.finish(pending, response, *START)
    }
}

fn said(answer: impl FnOnce(&mut Vec<u8>) -> Outcome) -> Said {
    let mut out = b"before".to_vec();
    let outcome = answer(&mut out);
    let reply = out.strip_prefix(b"before").unwrap();
    match outcome {
        Outcome::Replied(_) => Said::Reply(reply.to_vec()),
        Outcome::Drop(dropped) => {
            assert!(reply.is_empty());
            Said::Drop(dropped)
        }
        Outcome::Ask(pending) => {
            assert!(reply.is_empty());
            Said::Ask(*pending)
        }
    }
}

fn reply(outcome: Said) -> Vec<u8> {
    match outcome {
        Said::Reply(reply) => reply,
        other => panic!("not a reply: {other:?}"),
    }
}

fn pending(outcome: Said) -> Pending {
    match outcome {
        Said::Ask(pending) => pending,
        other => panic!("not asked: {other:?}"),
    }
}

/// Response code with its extension, as the asker computes it.
fn rcode(reply: &[u8]) -> u16 {
    let view = View::parse(reply).unwrap();
    let upper = view.edns().unwrap().map_or(0, |edns| edns.extended_rcode);
    u16::from(upper) << 4 | view.rcode()
}

fn option(reply: &[u8], code: u16) -> Option<Vec<u8>> {
    let view = View::parse(reply).unwrap();
    view.edns().unwrap()?.option(code).map(<[u8]>::to_vec)
}

/// A response to `query` as a source would give it.
fn response(query: &[u8], answers: usize, edns: Option<&Edns>) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap().into_response();
    message.edns = None;
    let name = message.queries[0].name().clone();
    for number in 0..answers {
        let text = TXT::new(vec![format!("{number:0100}")]);
        message.add_answer(Record::from_rdata(name.clone(), 60, RData::TXT(text)));
    }
    wire::with_edns(&message.to_vec().unwrap(), edns).unwrap()
}

const OPT: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
const OPT_VERSION_1: &[u8] = &[0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0];
const OPT_NOT_AT_ROOT: &[u8] = &[1, b'a', 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
const OPT_OPTION_CUT: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 9];
const OPT_BAD_COOKIE: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 7, 0, 10, 0, 3, 1, 2, 3];
const A_RECORD: &[u8] = &[0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
const TSIG_RECORD: &[u8] = &[0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0];
const ARCOUNT: usize = 10;
