//! What an answer out of the cache costs: `cargo bench --bench cache`.

#[path = "../tests/support/ready.rs"]
mod ready;

use std::time::Instant;

use divan::Bencher;
use hickory_proto::rr::RecordType;
use zzdot::answer::{Asker, Responder, Transport};
use zzdot_client::wire::Edns;

const NAMES: usize = 10_000;
const ADDRESS: &[u8] = &[0xC0, 12, 0, 1, 0, 1, 0, 1, 81, 128, 0, 4, 192, 0, 2, 1];

fn main() {
    divan::main();
}

/// A responder that knows [`NAMES`] names, and a query for each.
fn warm(asker: &Asker, edns: Option<&Edns>) -> (Responder, Vec<Vec<u8>>) {
    let responder = ready::responder(asker.instant);
    let queries: Vec<_> = (0..NAMES)
        .map(|number| {
            let name = format!("n{number}.bench.example.");
            let bare = ready::query(&name, RecordType::A, None);
            let query = ready::query(&name, RecordType::A, edns);
            let response = ready::response(&bare, 0x8180, [1, 0], ADDRESS);
            ready::learn(&responder, asker, &query, response);
            query
        })
        .collect();
    (responder, queries)
}

fn hits(bencher: Bencher<'_, '_>, transport: Transport, edns: Option<&Edns>) {
    let asker = ready::asker(transport, Instant::now());
    let (responder, queries) = warm(&asker, edns);
    let mut next = queries.iter().cycle();
    let mut out = Vec::with_capacity(65_536);
    bencher.bench_local(|| {
        out.clear();
        let query = next.next().expect("a cycle does not end");
        responder.answer(&asker, query, &mut out)
    });
}

#[divan::bench]
fn hit_plain(bencher: Bencher<'_, '_>) {
    hits(bencher, Transport::Udp, None);
}

#[divan::bench]
fn hit_with_edns(bencher: Bencher<'_, '_>) {
    hits(bencher, Transport::Udp, Some(&Edns::plain(true)));
}

#[divan::bench]
fn hit_with_cookie(bencher: Bencher<'_, '_>) {
    let edns = Edns {
        options: vec![(10, b"clientco".to_vec())],
        ..Edns::plain(false)
    };
    hits(bencher, Transport::Udp, Some(&edns));
}

#[divan::bench]
fn hit_padded(bencher: Bencher<'_, '_>) {
    let edns = Edns {
        options: vec![(12, vec![0; 40])],
        ..Edns::plain(false)
    };
    hits(bencher, Transport::Tls, Some(&edns));
}

#[divan::bench]
fn own_name(bencher: Bencher<'_, '_>) {
    let asker = ready::asker(Transport::Udp, Instant::now());
    let responder = ready::responder(asker.instant);
    let query = ready::query("localhost.", RecordType::A, None);
    let mut out = Vec::with_capacity(65_536);
    bencher.bench_local(|| {
        out.clear();
        responder.answer(&asker, &query, &mut out)
    });
}

/// The whole way of a name that is new: handed on, and kept.
#[divan::bench]
fn miss_and_keep(bencher: Bencher<'_, '_>) {
    let asker = ready::asker(Transport::Udp, Instant::now());
    let responder = ready::responder(asker.instant);
    let mut number = 0u64;
    bencher
        .with_inputs(|| {
            number += 1;
            let query = ready::query(&format!("n{number}.example."), RecordType::A, None);
            let response = ready::response(&query, 0x8180, [1, 0], ADDRESS);
            (query, response)
        })
        .bench_local_values(|(query, response)| {
            ready::learn(&responder, &asker, &query, response);
        });
}
