//! What is ready is given away without a single allocation, exactly.
#![allow(clippy::unwrap_used)]

#[path = "support/ready.rs"]
mod ready;

use std::time::Instant;

use hickory_proto::rr::RecordType;
use zzdot::{
    answer::{Asker, Dropped, Outcome, Responder, Transport},
    counters::Event,
};
use zzdot_client::wire::{Edns, Flags, View};

/// An address at the name of the question.
const ADDRESS: &[u8] = &[0xC0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 1];
/// An SOA record of the root.
const SOA: &[u8] = &[
    0, 0, 6, 0, 1, 0, 0, 14, 16, 0, 22, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0,
    14, 16,
];
/// A response with recursion, and one that there is no such name.
const FOUND: u16 = 0x8180;
const NO_NAME: u16 = 0x8183;

struct Lab {
    responder: Responder,
    start: Instant,
}

impl Lab {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            responder: ready::responder(start),
            start,
        }
    }

    fn asker(&self, transport: Transport) -> Asker {
        ready::asker(transport, self.start)
    }

    /// Asks twice, so that everything that is made once is made; then counts, and gives back the
    /// answer.
    fn count(&self, asker: &Asker, query: &[u8], expected: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        for _ in 0..2 {
            out.clear();
            let _ = self.responder.answer(asker, query, &mut out);
        }
        out.clear();
        let mut outcome = None;
        let info = allocation_counter::measure(|| {
            outcome = Some(self.responder.answer(asker, query, &mut out));
        });
        assert_eq!(info.count_total, expected, "{outcome:?}");
        assert_eq!(
            out.is_empty(),
            !matches!(outcome, Some(Outcome::Replied(None)))
        );
        out
    }

    fn learn(&self, query: &[u8], response: Vec<u8>) {
        ready::learn(
            &self.responder,
            &self.asker(Transport::Tls),
            query,
            response,
        );
    }
}

fn options() -> Edns {
    Edns {
        options: vec![
            (10, b"clientco".to_vec()),
            (11, Vec::new()),
            (12, vec![0; 20]),
        ],
        ..Edns::plain(true)
    }
}

#[test]
fn a_plain_hit_allocates_nothing() {
    let lab = Lab::new();
    let query = ready::query("www.example.", RecordType::A, None);
    lab.learn(&query, ready::response(&query, FOUND, [1, 0], ADDRESS));
    let reply = lab.count(&lab.asker(Transport::Udp), &query, 0);
    assert_eq!(View::parse(&reply).unwrap().counts().answers, 1);
    assert_eq!(lab.responder.counters().value(Event::CacheHit), 3);
}

#[test]
fn a_hit_with_cookie_keepalive_and_padding_allocates_nothing() {
    let lab = Lab::new();
    let bare = ready::query("www.example.", RecordType::A, None);
    let query = ready::query("wWw.eXample.", RecordType::A, Some(&options()));
    lab.learn(&query, ready::response(&bare, FOUND, [1, 0], ADDRESS));
    let reply = lab.count(&lab.asker(Transport::Tls), &query, 0);
    assert_eq!(reply.len(), 468);
    let edns = View::parse(&reply).unwrap().edns().unwrap().unwrap();
    let codes: Vec<_> = edns.options().map(|(code, _)| code).collect();
    assert_eq!(codes, [10, 11, 12]);
}

#[test]
fn a_denial_out_of_the_cache_allocates_nothing() {
    let lab = Lab::new();
    let query = ready::query("no.example.", RecordType::A, None);
    lab.learn(&query, ready::response(&query, NO_NAME, [0, 1], SOA));
    let reply = lab.count(&lab.asker(Transport::Tcp), &query, 0);
    assert_eq!(View::parse(&reply).unwrap().rcode(), 3);
}

#[test]
fn a_hit_that_is_cut_to_fit_allocates_nothing() {
    let lab = Lab::new();
    let query = ready::query("many.example.", RecordType::A, None);
    let records = ADDRESS.repeat(60);
    lab.learn(&query, ready::response(&query, FOUND, [60, 0], &records));
    let reply = lab.count(&lab.asker(Transport::Udp), &query, 0);
    assert!(View::parse(&reply).unwrap().flags().has(Flags::TRUNCATED));
    assert_eq!(lab.responder.counters().value(Event::Truncated), 3);
}

#[test]
fn names_that_end_here_are_answered_without_allocating() {
    let lab = Lab::new();
    for name in ["localhost.", "abcdefghij.zz.", "_dns.resolver.arpa."] {
        let query = ready::query(name, RecordType::A, Some(&options()));
        lab.count(&lab.asker(Transport::Tls), &query, 0);
    }
    assert_eq!(lab.responder.counters().value(Event::AnsweredSpecial), 9);
}

#[test]
fn strangers_and_refusals_allocate_nothing() {
    let lab = Lab::new();
    let query = ready::query("www.example.", RecordType::A, Some(&options()));
    let stranger = Asker {
        address: [198, 51, 100, 1].into(),
        ..lab.asker(Transport::Udp)
    };
    lab.count(&stranger, &query, 0);
    assert!(matches!(
        lab.responder.answer(&stranger, &query, &mut Vec::new()),
        Outcome::Drop(Dropped::Stranger)
    ));
    let transfer = ready::query("www.example.", RecordType::AXFR, Some(&options()));
    let reply = lab.count(&lab.asker(Transport::Tls), &transfer, 0);
    assert_eq!(View::parse(&reply).unwrap().rcode(), 5);
}

/// The counter counts: what is handed on is made of a few pieces, and no more.
#[test]
fn a_miss_allocates_what_it_hands_on() {
    let lab = Lab::new();
    let query = ready::query("www.example.", RecordType::A, None);
    let mut out = Vec::new();
    let asker = lab.asker(Transport::Udp);
    let _ = lab.responder.answer(&asker, &query, &mut out);
    let info = allocation_counter::measure(|| {
        assert!(matches!(
            lab.responder.answer(&asker, &query, &mut out),
            Outcome::Ask(_)
        ));
    });
    assert!((1..=8).contains(&info.count_total), "{}", info.count_total);
}
