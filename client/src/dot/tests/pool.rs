//! The pool against servers that the tests play themselves, in memory and on paused time.

mod absent;

use std::collections::VecDeque;
use std::io;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::connect::{Connect, Connecting, Link, now};
use super::super::{ConnectError, ConnectStage, DotError, DotLimits, DotPool};
use crate::framing::{FrameReader, push_frame};
use crate::wire::{self, Edns, QuestionFlags, View, question};

/// What the next connect comes to; [`Fate::Accept`] when nothing else is planned.
enum Fate {
    Accept,
    Refuse,
    /// Time out, as before a host that is gone.
    Silence,
    Distrust,
    Hang,
}

struct FakeConnect {
    plan: Mutex<VecDeque<Fate>>,
    accepted: mpsc::UnboundedSender<DuplexStream>,
}

impl Connect for FakeConnect {
    fn connect(&self) -> Connecting {
        let fate = self
            .plan
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Fate::Accept);
        let address = address();
        let accepted = self.accepted.clone();
        Box::pin(async move {
            match fate {
                Fate::Accept => {
                    let (ours, theirs) = tokio::io::duplex(1 << 20);
                    let _ = accepted.send(theirs);
                    Ok(Link {
                        stream: Box::new(ours),
                        tls: None,
                        incoming: Vec::new(),
                    })
                }
                Fate::Refuse => Err(ConnectError::Tcp {
                    address,
                    kind: io::ErrorKind::ConnectionRefused,
                    reason: "refused".to_owned(),
                }),
                Fate::Silence => {
                    tokio::time::sleep(DotLimits::default().connect).await;
                    Err(ConnectError::TimedOut {
                        address,
                        stage: ConnectStage::Tcp,
                    })
                }
                Fate::Distrust => Err(ConnectError::Untrusted {
                    address,
                    reason: "another key".to_owned(),
                }),
                Fate::Hang => std::future::pending().await,
            }
        })
    }
}

fn address() -> std::net::SocketAddr {
    "192.0.2.1:853".parse().unwrap()
}

struct Lab {
    pool: std::sync::Arc<DotPool>,
    accepted: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Lab {
    fn new(plan: impl IntoIterator<Item = Fate>, limits: DotLimits) -> Self {
        let (sender, accepted) = mpsc::unbounded_channel();
        let connector = FakeConnect {
            plan: Mutex::new(plan.into_iter().collect()),
            accepted: sender,
        };
        let pool = DotPool::with_connector(address(), Box::new(connector), limits);
        Self {
            pool: std::sync::Arc::new(pool),
            accepted,
        }
    }

    async fn accept(&mut self) -> Server {
        Server {
            stream: self.accepted.recv().await.unwrap(),
            frames: FrameReader::new(),
        }
    }

    fn ask(&self, name: &str) -> JoinHandle<Result<Vec<u8>, DotError>> {
        let pool = std::sync::Arc::clone(&self.pool);
        let query = query(name);
        tokio::spawn(async move { pool.ask(&query, now() + BUDGET).await })
    }
}

struct Server {
    stream: DuplexStream,
    frames: FrameReader,
}

impl Server {
    async fn query(&mut self) -> Vec<u8> {
        self.next().await.expect("a question")
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        self.frames.next(&mut self.stream).await.unwrap()
    }

    async fn send(&mut self, message: &[u8]) {
        let mut frame = Vec::new();
        assert!(push_frame(&mut frame, message));
        self.stream.write_all(&frame).await.unwrap();
    }
}

const BUDGET: Duration = Duration::from_secs(5);

fn query(name: &str) -> Vec<u8> {
    let name = Name::from_str(name).unwrap();
    let edns = Edns::plain(false);
    question(
        4321,
        &name,
        RecordType::A,
        QuestionFlags::default(),
        Some(&edns),
    )
}

fn answer(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= 0x80;
    answer
}

fn asked_name(message: &[u8]) -> Vec<u8> {
    View::parse(message)
        .unwrap()
        .question()
        .unwrap()
        .wire_name
        .to_vec()
}

fn always(fate: fn() -> Fate) -> impl Iterator<Item = Fate> {
    std::iter::repeat_with(fate).take(10_000)
}

#[tokio::test(start_paused = true)]
async fn answers_out_of_order_find_their_askers_under_their_own_ids() {
    let mut lab = Lab::new([], DotLimits::default());
    let (one, two) = (lab.ask("one.example."), lab.ask("two.example."));
    let mut server = lab.accept().await;
    let (first, second) = (server.query().await, server.query().await);
    assert_eq!((first.len() % 128, second.len() % 128), (0, 0));
    server.send(&answer(&second)).await;
    server.send(&answer(&first)).await;
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert_eq!(one, answer(&query("one.example.")));
    assert_eq!(two, answer(&query("two.example.")));
    assert_eq!(
        lab.pool.status().connects,
        1,
        "one connect for all who wait"
    );
}

#[tokio::test(start_paused = true)]
async fn answers_to_something_else_are_counted_and_change_nothing() {
    let mut lab = Lab::new([], DotLimits::default());
    let asked = lab.ask("one.example.");
    let mut server = lab.accept().await;
    let question = server.query().await;
    let mut wrong_id = answer(&question);
    wire::set_id(&mut wrong_id, 999);
    let mut wrong_question = answer(&query("two.example."));
    wire::set_id(&mut wrong_question, View::parse(&question).unwrap().id());
    server.send(&wrong_id).await;
    server.send(&wrong_question).await;
    server.send(b"rubbish").await;
    server.send(&answer(&question)).await;
    assert_eq!(
        asked.await.unwrap().unwrap(),
        answer(&query("one.example."))
    );
    let status = lab.pool.status();
    assert_eq!((status.late, status.mismatched, status.received), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_answers_something_else_is_left() {
    let mut lab = Lab::new([], DotLimits::default());
    let asked = lab.ask("one.example.");
    let mut server = lab.accept().await;
    let question = server.query().await;
    for _ in 0..16 {
        let mut wrong = answer(&query("two.example."));
        wire::set_id(&mut wrong, View::parse(&question).unwrap().id());
        server.send(&wrong).await;
    }
    assert_eq!(server.next().await, None, "hung up on");
    let mut other = lab.accept().await;
    let again = other.query().await;
    other.send(&answer(&again)).await;
    assert!(asked.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_close_half_way_is_no_failure() {
    let mut lab = Lab::new([], DotLimits::default());
    let (one, two) = (lab.ask("one.example."), lab.ask("two.example."));
    let mut server = lab.accept().await;
    let (first, _) = (server.query().await, server.query().await);
    server.send(&answer(&first)).await;
    drop(server);
    let mut server = lab.accept().await;
    let again = server.query().await;
    server.send(&answer(&again)).await;
    assert!(one.await.unwrap().is_ok());
    assert!(two.await.unwrap().is_ok());
    assert_eq!(lab.pool.status().resent, 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_sent_again_only_once() {
    let mut lab = Lab::new([], DotLimits::default());
    let asked = lab.ask("one.example.");
    for _ in 0..2 {
        let mut server = lab.accept().await;
        server.query().await;
    }
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, DotError::Lost { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_overtaken_by_a_second_one_within_a_second() {
    let mut lab = Lab::new([], DotLimits::default());
    let started = now();
    let asked = lab.ask("one.example.");
    let mut dead = lab.accept().await;
    dead.query().await;
    let mut alive = lab.accept().await;
    let question = alive.query().await;
    alive.send(&answer(&question)).await;
    assert!(asked.await.unwrap().is_ok());
    assert!(now() - started < Duration::from_secs(1));
    assert_eq!(lab.pool.status().hedged, 1);
    let next = lab.ask("two.example.");
    let question = alive.query().await;
    alive.send(&answer(&question)).await;
    assert!(next.await.unwrap().is_ok());
    assert_eq!(lab.pool.status().connects, 2, "the living one is kept");
}

#[tokio::test(start_paused = true)]
async fn the_slow_answer_of_the_first_connection_still_counts() {
    let mut lab = Lab::new([], DotLimits::default());
    let asked = lab.ask("one.example.");
    let mut slow = lab.accept().await;
    let question = slow.query().await;
    let mut second = lab.accept().await;
    second.query().await;
    slow.send(&answer(&question)).await;
    assert!(asked.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_slow_question_does_not_make_a_talking_server_suspect() {
    let mut lab = Lab::new([], DotLimits::default());
    let slow = lab.ask("slow.example.");
    let mut server = lab.accept().await;
    let slow_question = server.query().await;
    for _ in 0..20 {
        let quick = lab.ask("quick.example.");
        let question = server.query().await;
        server.send(&answer(&question)).await;
        quick.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.send(&answer(&slow_question)).await;
    assert!(slow.await.unwrap().is_ok());
    let status = lab.pool.status();
    assert_eq!((status.hedged, status.connects), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_whatever_hangs() {
    let plans: [Vec<Fate>; 2] = [vec![Fate::Hang], vec![]];
    for plan in plans {
        let lab = Lab::new(plan, DotLimits::default());
        let started = now();
        let error = lab.ask("one.example.").await.unwrap().unwrap_err();
        assert!(matches!(error, DotError::Deadline { .. }), "{error}");
        assert_eq!(now() - started, BUDGET);
        assert_eq!(lab.pool.status().expired, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_questions_are_answered_without_crossing_the_bound() {
    const BOUND: usize = 100;
    let limits = DotLimits {
        in_flight: BOUND,
        ..DotLimits::default()
    };
    let mut lab = Lab::new([], limits);
    let asking: Vec<_> = (0..10_000)
        .map(|number| lab.ask(&format!("n{number}.example.")))
        .collect();
    let mut server = lab.accept().await;
    let serving = tokio::spawn(async move {
        let mut held: Vec<Vec<u8>> = Vec::new();
        let mut most = 0;
        let mut left = 10_000;
        while left > 0 {
            held.push(server.query().await);
            most = most.max(held.len());
            // The last of a batch is answered first.
            if held.len() == BOUND.min(left) {
                while let Some(question) = held.pop() {
                    server.send(&answer(&question)).await;
                    left -= 1;
                }
            }
        }
        most
    });
    for (number, asked) in asking.into_iter().enumerate() {
        let answer = asked.await.unwrap().unwrap();
        assert_eq!(
            asked_name(&answer),
            asked_name(&query(&format!("n{number}.example.")))
        );
    }
    assert!(serving.await.unwrap() <= BOUND);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_get_a_turn_is_told_in_time() {
    let limits = DotLimits {
        in_flight: 1,
        ..DotLimits::default()
    };
    let mut lab = Lab::new([], limits);
    let _one = lab.ask("one.example.");
    let mut server = lab.accept().await;
    server.query().await;
    let asked_at = now();
    let error = lab
        .pool
        .ask(&query("two.example."), asked_at + BUDGET / 2)
        .await
        .unwrap_err();
    assert!(matches!(error, DotError::Busy { limit: 1, .. }), "{error}");
    assert_eq!(now() - asked_at, BUDGET / 2);
    assert_eq!(lab.pool.status().busy, 1);
}

async fn answered_with_keepalive(lab: &mut Lab, server: &mut Server, units: u16) {
    let asked = lab.ask("one.example.");
    let question = server.query().await;
    let mut edns = Edns::plain(false);
    edns.options.push((11, units.to_be_bytes().to_vec()));
    server
        .send(&wire::with_edns(&answer(&question), Some(&edns)).unwrap())
        .await;
    assert_eq!(
        asked.await.unwrap().unwrap(),
        answer(&query("one.example."))
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_as_long_as_the_server_keeps_it() {
    let mut lab = Lab::new([], DotLimits::default());
    lab.pool.connect(now() + BUDGET).await.unwrap();
    let mut server = lab.accept().await;
    answered_with_keepalive(&mut lab, &mut server, 1200).await;
    let idle_since = now();
    assert_eq!(server.next().await, None);
    assert_eq!((now() - idle_since).as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_is_left() {
    let mut lab = Lab::new([], DotLimits::default());
    lab.pool.connect(now() + BUDGET).await.unwrap();
    let mut server = lab.accept().await;
    answered_with_keepalive(&mut lab, &mut server, 0).await;
    assert_eq!(server.next().await, None);
    let asked = lab.ask("two.example.");
    let mut server = lab.accept().await;
    let question = server.query().await;
    server.send(&answer(&question)).await;
    assert!(asked.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stays_silent_is_closed() {
    let silence = DotLimits::default().silence;
    let plan = std::iter::once(Fate::Accept).chain(always(|| Fate::Refuse));
    let mut lab = Lab::new(plan, DotLimits::default());
    let asked = lab.ask("one.example.");
    let mut server = lab.accept().await;
    server.query().await;
    let asked_at = now();
    assert!(asked.await.unwrap().is_err());
    assert_eq!(server.next().await, None);
    assert_eq!(now() - asked_at, silence);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pool_says_goodbye() {
    let mut lab = Lab::new([], DotLimits::default());
    lab.pool.connect(now() + BUDGET).await.unwrap();
    let mut server = lab.accept().await;
    drop(lab);
    assert_eq!(server.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_asker_who_gave_up_frees_the_place() {
    let limits = DotLimits {
        in_flight: 1,
        ..DotLimits::default()
    };
    let mut lab = Lab::new([], limits);
    let one = lab.ask("one.example.");
    let mut server = lab.accept().await;
    let given_up = server.query().await;
    one.abort();
    let two = lab.ask("two.example.");
    let question = server.query().await;
    server.send(&answer(&given_up)).await;
    server.send(&answer(&question)).await;
    assert_eq!(two.await.unwrap().unwrap(), answer(&query("two.example.")));
    assert_eq!(lab.pool.status().late, 1);
}

/// Deadlines are real even when they are already over.
#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_is_an_error_at_once() {
    let lab = Lab::new([Fate::Hang], DotLimits::default());
    let past: Instant = now();
    let error = lab
        .pool
        .ask(&query("one.example."), past)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        DotError::Deadline { .. } | DotError::Busy { .. }
    ));
}
