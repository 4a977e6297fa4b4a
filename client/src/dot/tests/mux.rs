//! The mux on paper: no socket, and a clock that is a number.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::super::hop::Outbound;
use super::super::mux::{Mux, Received};
use super::super::{DotLimits, Ended};
use crate::wire::{self, Edns, QuestionFlags, View, question};

const ID: u16 = 4711;

fn mux(now: Instant) -> Mux<u32> {
    Mux::new(now, &DotLimits::default())
}

fn query(name: &str, edns: Option<&Edns>) -> Vec<u8> {
    let name = Name::from_str(name).unwrap();
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    question(ID, &name, RecordType::A, flags, edns)
}

/// What `question`, as the server sees it, is answered; padded as by a server.
fn answered(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer
}

/// Takes what is to be written apart.
fn frames(mux: &mut Mux<u32>) -> Vec<Vec<u8>> {
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    mux.take_outgoing(&mut bytes);
    let mut rest = &bytes[..];
    while let Some((length, after)) = rest.split_first_chunk() {
        let (message, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        frames.push(message.to_vec());
        rest = after;
    }
    frames
}

#[test]
fn a_question_goes_out_as_a_task_would_send_it_and_its_answer_comes_back_as_to_a_task() {
    let now = Instant::now();
    for edns in [None, Some(Edns::plain(true))] {
        let mut mux = mux(now);
        let mut asked = query("www.example.", edns.as_ref());
        asked[14] = b'W';
        mux.ask_express(now, &asked, 1).unwrap();
        let sent = frames(&mut mux).remove(0);
        let outbound = Outbound::new(&asked, 128).unwrap();
        assert_eq!(sent[2..], outbound.message()[2..]);
        let mut answer = answered(&sent);
        answer[12..25].make_ascii_lowercase();
        let restored = outbound.restore(answer.clone()).unwrap();
        match mux.receive(now, &mut answer, |_, _| true) {
            Received::Express(1, length) => {
                let mut expected = restored.message;
                let view = View::parse(&asked).unwrap();
                assert!(wire::restore_case(&mut expected, &view.question().unwrap()));
                assert_eq!(answer[..length], expected);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(mux.in_flight(), 0);
    }
}

#[test]
fn questions_and_answers_cost_no_allocation_once_there_were_as_many() {
    const BATCH: u32 = 64;
    let now = Instant::now();
    let queries: Vec<_> = (0..BATCH)
        .map(|number| {
            let edns = Edns::plain(true);
            query(
                &format!("n{number}.example."),
                Some(&edns).filter(|_| number % 2 == 0),
            )
        })
        .collect();
    let (mut mux, mut bytes) = (mux(now), Vec::new());
    let mut round = || {
        for (number, query) in (0..).zip(&queries) {
            mux.ask_express(now, query, number).unwrap();
        }
        bytes.clear();
        mux.take_outgoing(&mut bytes);
        let mut rest = &mut bytes[..];
        let mut answers = 0;
        while let Some((length, after)) = std::mem::take(&mut rest).split_first_chunk_mut() {
            let (message, after) = after.split_at_mut(usize::from(u16::from_be_bytes(*length)));
            message[2] |= 0x80;
            assert!(matches!(
                mux.receive(now, message, |_, _| true),
                Received::Express(..)
            ));
            (rest, answers) = (after, answers + 1);
        }
        assert_eq!(answers, BATCH);
    };
    // Two buffers take turns.
    (0..2).for_each(|_| round());
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| round()));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_question_that_waits_for_too_long_becomes_that_of_a_task_and_can_still_be_answered() {
    let (start, limits) = (Instant::now(), DotLimits::default());
    let mut mux = mux(start);
    mux.ask_express(start, &query("slow.example.", None), 1)
        .unwrap();
    let later = start + limits.hedge_after / 2;
    mux.ask_express(later, &query("late.example.", None), 2)
        .unwrap();
    assert_eq!(mux.next_timeout(), start + limits.hedge_after);
    assert!(mux.overdue(later).is_empty());
    let mut overdue = mux.overdue(start + limits.hedge_after);
    assert_eq!(overdue.len(), 1);
    let mut slow = overdue.remove(0);
    assert_eq!((slow.express, slow.asked_at), (1, start));
    assert_eq!(slow.query, query("slow.example.", None));
    assert_eq!(mux.next_timeout(), later + limits.hedge_after);
    let sent = frames(&mut mux);
    let mut answer = answered(&sent[0]);
    assert!(matches!(
        mux.receive(later, &mut answer, |_, _| true),
        Received::Task
    ));
    assert_eq!(slow.answer.try_recv().unwrap(), answer);
    // Who has his answer has given up nothing.
    mux.give_up(slow.id.unwrap());
    assert_eq!(mux.in_flight(), 1);
}

#[test]
fn an_end_leaves_no_question_behind() {
    let start = Instant::now();
    let mut mux = mux(start);
    let (waiter, mut task) = oneshot::channel();
    mux.ask(start, &query("task.example.", None), waiter)
        .unwrap();
    mux.ask_express(start, &query("express.example.", None), 5)
        .unwrap();
    let mut stranded = mux.end(Ended::ByServer);
    assert_eq!(stranded.len(), 1);
    assert_eq!((stranded[0].express, stranded[0].id), (5, None));
    assert!(stranded[0].answer.try_recv().is_err());
    assert!(task.try_recv().is_err());
    assert_eq!((mux.in_flight(), mux.ended()), (0, Some(Ended::ByServer)));
    assert!(!mux.is_open());
}

#[test]
fn an_answer_that_cannot_be_passed_on_is_left_to_a_task() {
    let now = Instant::now();
    let mut mux = mux(now);
    mux.ask_express(now, &query("www.example.", None), 1)
        .unwrap();
    let mut answer = answered(&frames(&mut mux)[0]);
    // One more record than there is.
    answer[7] = 1;
    match mux.receive(now, &mut answer, |_, _| true) {
        Received::Stranded(mut stranded) => {
            assert_eq!(stranded.express, 1);
            assert_eq!(stranded.answer.try_recv().unwrap()[2..], answer[2..]);
        }
        other => panic!("{other:?}"),
    }
    assert!(!mux.take_answered());
}

#[test]
fn an_answer_that_the_caller_is_not_content_with_is_left_to_a_task() {
    let now = Instant::now();
    let mut mux = mux(now);
    mux.ask_express(now, &query("www.example.", None), 1)
        .unwrap();
    let mut answer = answered(&frames(&mut mux)[0]);
    answer[3] = 0x85;
    let mut shown = None;
    let content = |asker: &u32, code| {
        shown = Some((*asker, code));
        false
    };
    match mux.receive(now, &mut answer.clone(), content) {
        Received::Stranded(mut stranded) => {
            assert_eq!((stranded.express, stranded.id), (1, None));
            assert_eq!(stranded.answer.try_recv().unwrap(), answer);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(shown, Some((1, 5)));
    assert_eq!(mux.in_flight(), 0);
    assert!(!mux.take_answered());
}

#[test]
fn what_a_task_would_refuse_to_ask_is_given_back() {
    let now = Instant::now();
    let mut mux = mux(now);
    assert_eq!(mux.ask_express(now, b"rubbish", 1), Err(1));
    assert_eq!(
        mux.ask_express(now, &answered(&query("a.", None)), 2),
        Err(2)
    );
    assert!(!mux.has_outgoing());
    assert_eq!(mux.in_flight(), 0);
}

#[test]
fn a_server_that_does_not_read_gets_no_more() {
    let now = Instant::now();
    let mut mux = mux(now);
    let mut asked = 0_u32;
    while mux.has_room() {
        mux.ask_express(now, &query("www.example.", None), asked)
            .unwrap();
        asked += 1;
    }
    let mut bytes = Vec::new();
    mux.take_outgoing(&mut bytes);
    assert_eq!(bytes.len(), 130 * asked as usize);
    assert!(bytes.len() < 1 << 19);
    assert!(mux.has_room());
}

#[test]
fn the_server_says_how_long_it_keeps_an_idle_connection() {
    let start = Instant::now();
    let mut mux = mux(start);
    assert_eq!(mux.next_timeout(), start + DotLimits::default().idle);
    mux.ask_express(start, &query("a.", None), 1).unwrap();
    let mut edns = Edns::plain(false);
    edns.options.push((11, 900_u16.to_be_bytes().to_vec()));
    let answer = answered(&frames(&mut mux)[0]);
    let mut answer = wire::with_edns(&answer, Some(&edns)).unwrap();
    assert!(matches!(
        mux.receive(start, &mut answer, |_, _| true),
        Received::Express(1, _)
    ));
    let idle = Duration::from_secs(90);
    assert_eq!(mux.next_timeout(), start + idle);
    assert_eq!(mux.on_timeout(start + idle), Some(Ended::Idle));
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8),
    /// The answer to one of those on their way.
    Answer(prop::sample::Index),
    /// The same answer once more, or one to something else.
    Again,
    Stray(Vec<u8>),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => any::<u8>().prop_map(Step::Ask),
        4 => any::<prop::sample::Index>().prop_map(Step::Answer),
        1 => Just(Step::Again),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Stray),
        1 => (0..900_u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    /// Whatever comes in whatever order: each question ends in exactly one way, and an answer is its own.
    #[test]
    fn every_question_is_answered_once_or_left_to_a_task(steps in steps()) {
        let mut now = Instant::now();
        let mut mux = mux(now);
        let mut asked = HashMap::new();
        let (mut on_their_way, mut last) = (Vec::new(), Vec::new());
        for (number, step) in (0_u32..).zip(steps) {
            match step {
                Step::Ask(name) => {
                    let query = query(&format!("n{name}.example."), None);
                    mux.ask_express(now, &query, number).unwrap();
                    asked.insert(number, query);
                    on_their_way.extend(frames(&mut mux));
                }
                Step::Answer(which) if !on_their_way.is_empty() => {
                    last = answered(&on_their_way.remove(which.index(on_their_way.len())));
                    let mut answer = last.clone();
                    match mux.receive(now, &mut answer, |_, _| true) {
                        Received::Express(number, length) => {
                            let query = asked.remove(&number).expect("asked, and not answered yet");
                            prop_assert_eq!(&answer[..length], &answered(&query)[..]);
                        }
                        Received::Task => {}
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Step::Again if !last.is_empty() => {
                    prop_assert!(matches!(mux.receive(now, &mut last.clone(), |_, _| true), Received::Late));
                }
                Step::Stray(mut bytes) => {
                    let stray = mux.receive(now, &mut bytes, |_, _| true);
                    prop_assert!(matches!(stray, Received::Late | Received::Mismatched));
                }
                Step::Wait(millis) => {
                    now += Duration::from_millis(millis.into());
                    for stranded in mux.overdue(now) {
                        prop_assert!(now - stranded.asked_at >= DotLimits::default().hedge_after);
                        prop_assert_eq!(asked.remove(&stranded.express), Some(stranded.query));
                    }
                }
                Step::Answer(_) | Step::Again => {}
            }
        }
        for stranded in mux.end(Ended::Silent) {
            prop_assert_eq!(asked.remove(&stranded.express), Some(stranded.query));
        }
        prop_assert!(asked.is_empty());
    }
}
