//! What a question costs in allocations on its way through, counted: on one thread that does everything but resolve.
#![allow(clippy::unwrap_used)]

#[path = "support/resolver.rs"]
mod resolver;

use tokio::net::UdpSocket;
use zzdot_client::stub::StubLimits;

use resolver::{program, query, resolver, stub};

/// rustls' own: the record that is sealed, and the plaintext of the one that came.
const RECORDS: u64 = 2;

#[test]
fn a_question_and_its_answer_cost_what_rustls_allocates_for_two_records_and_nothing_more() {
    const QUESTIONS: u64 = 500;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (endpoint, _) = resolver();
    let _entered = runtime.enter();
    let (_stub, _upstream, address) = stub(&endpoint, StubLimits::default(), 0);
    let program = program(address);
    program.set_nonblocking(true).unwrap();
    let program = UdpSocket::from_std(program).unwrap();
    let (query, mut answer) = (query(1, "www.example."), [0; 512]);
    let mut ask = |questions| {
        runtime.block_on(async {
            for _ in 0..questions {
                program.send(&query).await.unwrap();
                assert_eq!(program.recv(&mut answer).await.unwrap(), query.len());
            }
        });
    };
    ask(QUESTIONS);
    let counted = allocation_counter::measure(|| ask(QUESTIONS));
    assert_eq!(counted.count_total, RECORDS * QUESTIONS);
    assert_eq!(counted.count_current, 0);
}
