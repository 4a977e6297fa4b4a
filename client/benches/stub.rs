//! A question from a program through the stub to a resolver, and the answer back: `cargo bench -p zzdot-client`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/resolver.rs"]
mod resolver;

use divan::Bencher;
use divan::counter::ItemsCount;
use zzdot_client::stub::StubLimits;

use resolver::{program, query, resolver, stub};

fn main() {
    divan::main();
}

/// So many at a time.
#[divan::bench(args = [1, 8, 64])]
fn there_and_back(bencher: Bencher<'_, '_>, together: u16) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (endpoint, _) = resolver();
    let entered = runtime.enter();
    let (_stub, _upstream, address) = stub(&endpoint, StubLimits::default(), 0);
    drop(entered);
    let program = program(address);
    let queries: Vec<_> = (0..together)
        .map(|id| query(id, &format!("n{id}.example.")))
        .collect();
    let mut answer = [0; 512];
    bencher.counter(ItemsCount::new(together)).bench_local(|| {
        for query in &queries {
            program.send(query).unwrap();
        }
        for _ in &queries {
            program.recv(&mut answer).unwrap();
        }
    });
}
