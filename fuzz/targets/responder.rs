//! Any bytes as a query, any bytes as the answer to it: what goes out fits the asker.
#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
    time::{Duration, UNIX_EPOCH},
};

use libfuzzer_sys::fuzz_target;
use tokio::time::Instant;
use zzdot::{
    answer::{Asker, LocalZones, Outcome, Responder, Transport, cookie::Secret},
    counters::Counters,
    resolve::{Resolution, ResolveError, Source},
};
use zzdot_client::wire::View;
use zzdot_zonegen::{
    clock::UnixTime,
    identity::Identity,
    publication::Stamp,
    publish::publish,
    zone::{Publication, ServerType},
};

struct Nowhere;

impl Source for Nowhere {
    fn resolve(&self, _: Arc<[u8]>, _: Instant) -> Resolution<'_> {
        Box::pin(async { Err(ResolveError::NoUpstream) })
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

static RESPONDER: LazyLock<Responder> = LazyLock::new(|| {
    let suffix = "zz.".parse().expect("a name");
    let identity =
        Identity::invent(&suffix, &ring::rand::SystemRandom::new()).expect("an identity");
    let publication = Publication {
        server_type: ServerType::Forwarder,
        addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))],
        dot_port: 853,
    };
    let stamp = Stamp::next(None, UnixTime::now()).expect("a clock that is right");
    let zones = publish(&identity, &publication, &stamp).expect("zones");
    let responder =
        Responder::new(Arc::new(Nowhere), Secret([7; 16]), Duration::from_secs(10), Arc::new(Counters::default()));
    responder.replace_zones(LocalZones::new(vec![zones.name_zone, zones.anchor_zone]));
    responder
});

fuzz_target!(|input: (u8, bool, &[u8], &[u8])| {
    let (transport, pressed, query, response) = input;
    let transport = [Transport::Udp, Transport::Tcp, Transport::Tls][usize::from(transport % 3)];
    let asker = Asker {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        transport,
        time: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        pressed,
    };
    match RESPONDER.answer(&asker, query) {
        Outcome::Drop(_) => {}
        Outcome::Reply(reply) => fits(query, &reply, transport),
        Outcome::Ask(pending) => {
            let asked = pending.query();
            View::parse(&asked).expect("well-formed").check().expect("and whole");
            // An honest-looking answer gets further than random bytes would.
            let mut answer = asked.to_vec();
            if let Some(flags) = answer.get_mut(2) {
                *flags |= 0x80;
            }
            answer.extend_from_slice(response);
            if let (Some(count), Some(lie)) = (answer.get_mut(7), response.first()) {
                *count = *lie;
            }
            fits(query, &RESPONDER.finish(pending.clone(), Ok(answer)), transport);
            fits(query, &RESPONDER.finish(pending.clone(), Ok(response.to_vec())), transport);
            fits(query, &RESPONDER.finish(pending, Err(ResolveError::TimedOut)), transport);
        }
    }
});

fn fits(query: &[u8], reply: &[u8], transport: Transport) {
    assert!(reply.len() >= 12 && reply[..2] == query[..2], "the id is the asker's");
    let reply = View::parse(reply).expect("a reply is a message");
    assert!(reply.is_response());
    if transport == Transport::Udp {
        assert!(reply.bytes().len() <= 1232);
    }
    if let Some(asked) = View::parse(query).ok().and_then(|view| view.question()) {
        if let Some(echoed) = reply.question() {
            assert!(echoed.eq_exact(&asked), "the question is the asker's, to the letter");
        }
    }
}
