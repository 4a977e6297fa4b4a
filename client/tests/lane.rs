//! Questions in datagrams, from the program that asks to the resolver and back: what goes the short way, and what
//! becomes of it when something happens on the way.
#![allow(clippy::unwrap_used)]

#[path = "support/resolver.rs"]
mod resolver;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use zzdot_client::stub::{Stub, StubLimits};
use zzdot_client::upstream::Upstream;
use zzdot_client::wire::View;

use resolver::{Seen, program, query, resolver, stub};

struct Lab {
    runtime: tokio::runtime::Runtime,
    stub: Option<Stub>,
    upstream: Arc<Upstream>,
    seen: Arc<Seen>,
    program: UdpSocket,
}

impl Lab {
    fn new(limits: StubLimits) -> Self {
        Self::with_cache(limits, 0)
    }

    fn with_cache(limits: StubLimits, bytes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (endpoint, seen) = resolver();
        let entered = runtime.enter();
        let (stub, upstream, address) = stub(&endpoint, limits, bytes);
        drop(entered);
        let lab = Self {
            runtime,
            stub: Some(stub),
            upstream,
            seen,
            program: program(address),
        };
        // Makes the connection: whoever comes next finds it.
        lab.ask(1, "first.example.");
        assert_eq!(lab.answer().unwrap().rcode(), 0);
        lab
    }

    fn ask(&self, id: u16, name: &str) {
        self.program.send(&query(id, name)).unwrap();
    }

    fn answer(&self) -> Option<Answer> {
        let mut bytes = vec![0; 65_535];
        let length = self.program.recv(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(Answer(bytes))
    }

    fn tls(&self, counter: &str) -> u64 {
        self.upstream.status()["tls"][counter].as_u64().unwrap()
    }
}

#[derive(Debug)]
struct Answer(Vec<u8>);

impl Answer {
    fn id(&self) -> u16 {
        View::parse(&self.0).unwrap().id()
    }

    fn rcode(&self) -> u16 {
        View::parse(&self.0).unwrap().rcode()
    }
}

#[test]
fn ten_thousand_questions_are_answered_each_to_its_asker_and_over_one_connection() {
    const WINDOW: u16 = 64;
    let lab = Lab::new(StubLimits::default());
    let mut asked = 0;
    let mut open = std::collections::HashSet::new();
    while asked < 10_000 || !open.is_empty() {
        while asked < 10_000 && open.len() < usize::from(WINDOW) {
            lab.ask(asked, &format!("n{asked}.example."));
            open.insert(asked);
            asked += 1;
        }
        let answer = lab.answer().expect("an answer to each question");
        assert!(open.remove(&answer.id()));
        let mut expected = query(answer.id(), &format!("n{}.example.", answer.id()));
        expected[2] |= 0x80;
        assert_eq!(answer.0, expected);
    }
    assert_eq!(lab.tls("connects"), 1);
    assert_eq!(lab.tls("received"), 10_001);
    assert_eq!(
        lab.tls("hedged") + lab.tls("resent") + lab.tls("expired"),
        0
    );
    assert_eq!(lab.upstream.status()["queries"]["encrypted"], 10_001);
}

#[test]
fn no_question_is_lost_with_a_connection_and_the_next_one_resumes_the_session() {
    let lab = Lab::new(StubLimits::default());
    for id in 0..20 {
        lab.ask(id, &format!("n{id}.example."));
    }
    lab.ask(20, "hangup.example.");
    for id in 21..40 {
        lab.ask(id, &format!("n{id}.example."));
    }
    let mut answered: Vec<_> = (0..40).map(|_| lab.answer().unwrap()).collect();
    answered.sort_by_key(Answer::id);
    assert!(answered.iter().all(|answer| answer.rcode() == 0));
    assert!(answered.iter().map(Answer::id).eq(0..40));
    assert!(lab.tls("resent") >= 1);
    assert_eq!(
        *lab.seen.handshakes.lock().unwrap(),
        [HandshakeKind::Full, HandshakeKind::Resumed]
    );
}

#[test]
fn a_connection_that_fell_silent_is_overtaken_by_another() {
    let lab = Lab::new(StubLimits::default());
    let asked_at = Instant::now();
    lab.ask(7, "mute.example.");
    let answer = lab.answer().unwrap();
    assert_eq!((answer.id(), answer.rcode()), (7, 0));
    assert!(
        asked_at.elapsed() < Duration::from_secs(4),
        "before the asker asks again"
    );
    assert_eq!((lab.tls("hedged"), lab.tls("connects")), (1, 2));
    lab.ask(8, "next.example.");
    assert_eq!(lab.answer().unwrap().id(), 8);
    assert_eq!(lab.tls("connects"), 2, "the living one is kept");
}

#[test]
fn a_question_without_an_answer_fails_in_time_and_says_why() {
    let limits = StubLimits {
        query_budget_ms: 1000,
        ..StubLimits::default()
    };
    let lab = Lab::new(limits);
    lab.ask(9, "never.example.");
    let answer = lab.answer().unwrap();
    assert_eq!((answer.id(), answer.rcode()), (9, 2));
    let edns = View::parse(&answer.0).unwrap().edns().unwrap().unwrap();
    assert!(edns.option(15).is_some(), "an extended error");
    assert_eq!(lab.tls("expired"), 1);
    assert_eq!(lab.upstream.status()["queries"]["failed"], 1);
}

#[test]
fn an_answer_that_cannot_be_passed_on_is_a_failure() {
    let lab = Lab::new(StubLimits::default());
    lab.ask(3, "broken.example.");
    let answer = lab.answer().unwrap();
    assert_eq!((answer.id(), answer.rcode()), (3, 2));
    assert_eq!(lab.upstream.status()["queries"]["failed"], 1);
}

#[test]
fn an_answer_that_is_too_long_is_cut() {
    let lab = Lab::new(StubLimits::default());
    let mut small = query(5, "large.example.");
    // Without EDNS: 512 bytes.
    small.truncate(small.len() - 11);
    small[11] = 0;
    lab.program.send(&small).unwrap();
    let answer = lab.answer().unwrap();
    assert!(View::parse(&answer.0).unwrap().truncated());
    assert!(answer.0.len() <= 512);
    lab.ask(6, "large.example.");
    assert!(lab.answer().unwrap().0.len() > 1000);
}

#[test]
fn who_stops_waits_for_the_answers_under_way() {
    let mut lab = Lab::new(StubLimits {
        query_budget_ms: 1000,
        ..StubLimits::default()
    });
    lab.ask(1, "never.example.");
    while lab.tls("in-flight") == 0 {
        std::thread::yield_now();
    }
    let Lab { runtime, stub, .. } = &mut lab;
    runtime.block_on(stub.take().unwrap().drain(Duration::from_secs(20)));
    assert_eq!(lab.answer().unwrap().rcode(), 2);
}

/// The TTL of the answer's address: behind the header, the question and six bytes.
const TTL: std::ops::Range<usize> = 36..40;

#[test]
fn a_kept_answer_is_the_one_that_came_and_only_for_the_same_question() {
    let lab = Lab::with_cache(StubLimits::default(), 1 << 20);
    let kept = || lab.upstream.status()["queries"]["kept"].as_u64().unwrap();
    let ask = |query: &[u8]| {
        lab.program.send(query).unwrap();
        lab.answer().unwrap().0
    };
    let plain = query(1, "kept.example.");
    let came = ask(&plain);
    assert_eq!((kept(), lab.tls("sent")), (0, 2));
    let mut again = ask(&plain);
    assert_eq!((kept(), lab.tls("sent")), (1, 2));
    again[TTL].copy_from_slice(&came[TTL]);
    assert_eq!(again, came);

    // Another id and other letters are the same question.
    let mut shouted = query(2, "kept.example.");
    shouted[13..17].make_ascii_uppercase();
    let shouted = ask(&shouted);
    assert_eq!(shouted[..2], [0, 2]);
    assert_eq!(&shouted[13..17], b"KEPT");
    assert_eq!(kept(), 2);

    // What makes a difference to the answer does.
    let mut differing = vec![plain.clone(); 5];
    differing[0][2] &= !1; // RD
    differing[1][3] |= 0x10; // CD
    differing[2][3] |= 0x20; // AD
    let opt_flags = plain.len() - 4;
    differing[3][opt_flags] |= 0x80; // DO
    differing[4].truncate(plain.len() - 11);
    differing[4][11] = 0; // no EDNS
    for query in &differing {
        ask(query);
    }
    assert_eq!((kept(), lab.tls("sent")), (2, 7));
    for query in &differing[1..] {
        ask(query);
    }
    assert_eq!((kept(), lab.tls("sent")), (6, 7));
    ask(&differing[0]);
    assert_eq!(
        (kept(), lab.tls("sent")),
        (6, 8),
        "who does not ask for recursion asks anew"
    );
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let lab = Lab::new(StubLimits::default());
    for id in 1..=3 {
        lab.ask(id, "kept.example.");
        lab.answer().unwrap();
    }
    assert_eq!(lab.tls("sent"), 4);
    assert_eq!(lab.upstream.status()["queries"]["kept"], 0);
}
