//! A responder with answers in its cache, without sockets.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::rr::{Name, RecordType};
use zzdot::{
    answer::{Asker, Outcome, Responder, Transport, cookie::Secret},
    counters::Counters,
    resolve::{Resolution, ResolveError, Source},
};
use zzdot_client::{
    cache::{Cache, Limits},
    wire::{self, Edns, QuestionFlags},
};

/// A source that nobody asks: the answers are given.
pub(crate) struct Nobody;

impl Source for Nobody {
    fn resolve(&self, _query: Arc<[u8]>, _deadline: tokio::time::Instant) -> Resolution<'_> {
        Box::pin(async { Err(ResolveError::NoUpstream) })
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// A responder with a cache of the usual size, empty at `start`.
pub(crate) fn responder(start: Instant) -> Responder {
    let responder = Responder::new(
        Arc::new(Nobody),
        Secret([9; 16]),
        Arc::new(Counters::default()),
    );
    responder.replace_cache(Some(Cache::new(Limits::default(), [5; 16], start)));
    responder
}

/// Somebody on the local network.
pub(crate) fn asker(transport: Transport, instant: Instant) -> Asker {
    Asker {
        address: [192, 168, 1, 20].into(),
        transport,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        instant,
        pressed: false,
        idle: transport.is_stream().then_some(Duration::from_secs(30)),
    }
}

/// A query with RD set.
pub(crate) fn query(name: &str, qtype: RecordType, edns: Option<&Edns>) -> Vec<u8> {
    let name = Name::from_ascii(name).expect("a name");
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    wire::question(7, &name, qtype, flags, edns)
}

/// A response to `query`, which has no OPT record, with a header of these flags and counts, and
/// these records.
pub(crate) fn response(query: &[u8], flags: u16, counts: [u16; 2], records: &[u8]) -> Vec<u8> {
    let [answers, authorities] = counts;
    let mut response = query.to_vec();
    for (offset, word) in [(2, flags), (6, answers), (8, authorities), (10, 0)] {
        response[offset..offset + 2].copy_from_slice(&u16::to_be_bytes(word));
    }
    response.extend_from_slice(records);
    response
}

/// Asks for the first time, and gives `response` as the source's.
pub(crate) fn learn(responder: &Responder, asker: &Asker, query: &[u8], response: Vec<u8>) {
    match responder.answer(asker, query, &mut Vec::new()) {
        Outcome::Ask(pending) => {
            responder.finish(*pending, Ok(response), asker.instant);
        }
        other => panic!("known already: {other:?}"),
    }
}
