//! Forwarding to upstreams that are honest, and to upstreams that lie.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            A, CNAME, NS, SOA, TXT,
            opt::{EdnsCode, EdnsOption},
        },
    },
};
use support::upstream::{Act, Upstream, Via};
use tokio::task::JoinSet;
use zzdot::resolve::{Forward, Local, ResolveError, Source};
use zzdot_zonegen::zone::ServerType;

const TRUTH: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FORGED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const NAME: &str = "www.example.com.";

/// What one question may take in these tests; the real budget is seven seconds.
const WITHIN: Duration = Duration::from_millis(1_500);

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn query() -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(NAME), RecordType::A));
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    message.edns = Some(edns);
    message
}

fn a(owner: &str, address: Ipv4Addr) -> Record {
    Record::from_rdata(name(owner), 60, RData::A(A(address)))
}

/// A response to `asked`, changed by `change`.
fn reply(asked: &[u8], change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::from_vec(asked).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    change(&mut message);
    message.to_vec().unwrap()
}

fn truth(asked: &[u8]) -> Vec<u8> {
    reply(asked, |message| message.answers = vec![a(NAME, TRUTH)])
}

fn forged(asked: &[u8]) -> Vec<u8> {
    reply(asked, |message| message.answers = vec![a(NAME, FORGED)])
}

async fn honest() -> Upstream {
    Upstream::start(|asked, _| vec![Act::Say(truth(asked))]).await
}

async fn ask(source: &dyn Source) -> Result<Message, ResolveError> {
    let bytes: Arc<[u8]> = query().to_vec().unwrap().into();
    let deadline = tokio::time::Instant::now() + WITHIN;
    let answer = source.resolve(bytes, deadline).await?;
    Ok(Message::from_vec(&answer).unwrap())
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    message
        .all_sections()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .collect()
}

type Script = fn(&[u8], Via) -> Vec<Act>;

/// Every way to lie, and what it does with a query.
fn liars() -> Vec<(&'static str, Script)> {
    vec![
        ("wrong id", |asked, _| {
            (1..40)
                .map(|step| {
                    Act::Say(reply(asked, |message| {
                        message.metadata.id = message.metadata.id.wrapping_add(step);
                        message.answers = vec![a(NAME, FORGED)];
                    }))
                })
                .collect()
        }),
        ("wrong name in the question", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.queries = vec![Query::query(name("www.example.net."), RecordType::A)];
                message.answers = vec![a("www.example.net.", FORGED)];
            }))]
        }),
        ("wrong type in the question", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.queries = vec![Query::query(name(NAME), RecordType::ANY)];
                message.answers = vec![a(NAME, FORGED)];
            }))]
        }),
        ("no question", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.queries.clear();
                message.answers = vec![a(NAME, FORGED)];
            }))]
        }),
        ("a query instead of a response", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.metadata.message_type = MessageType::Query;
                message.answers = vec![a(NAME, FORGED)];
            }))]
        }),
        ("wrong port", |asked, _| {
            vec![Act::SayFromOtherPort(forged(asked))]
        }),
        ("wrong source", |asked, _| {
            vec![Act::SayFromOtherAddress(forged(asked))]
        }),
        ("truncated, and no TCP", |asked, via| match via {
            Via::Udp => vec![Act::Say(reply(asked, |message| {
                message.metadata.truncation = true;
                message.answers = vec![a(NAME, FORGED)];
            }))],
            Via::Tcp => vec![Act::Close],
        }),
        ("truncated over TCP too", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.metadata.truncation = true;
                message.answers = vec![a(NAME, FORGED)];
            }))]
        }),
        ("garbage", |asked, _| {
            let mut bytes = forged(asked);
            for (at, byte) in bytes.iter_mut().enumerate().skip(2) {
                *byte = byte.wrapping_mul(31).wrapping_add(at as u8);
            }
            vec![Act::Say(bytes)]
        }),
        ("three bytes", |asked, _| {
            vec![Act::Say(asked[..3].to_vec())]
        }),
        ("cut off in the middle of a record", |asked, _| {
            let bytes = forged(asked);
            vec![Act::Say(bytes[..bytes.len() - 3].to_vec())]
        }),
        ("counts that lie", |asked, _| {
            let mut bytes = forged(asked);
            bytes[6..8].copy_from_slice(&[0xff, 0xff]);
            vec![Act::Say(bytes)]
        }),
        ("a record of another name in the answer", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.answers = vec![a(NAME, TRUTH), a("bank.example.", FORGED)];
            }))]
        }),
        ("another zone in the authority section", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.answers = vec![a(NAME, TRUTH)];
                message.authorities = vec![Record::from_rdata(
                    name("bank.example."),
                    60,
                    RData::NS(NS(name("ns.bank.example."))),
                )];
                message.additionals = vec![a("ns.bank.example.", FORGED)];
            }))]
        }),
        ("a denial of another zone", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.metadata.response_code = ResponseCode::NXDomain;
                let soa = SOA::new(name("ns."), name("root."), 1, 2, 3, 4, 5);
                message.authorities = vec![
                    Record::from_rdata(name("example.net."), 60, RData::SOA(soa)),
                    a("example.net.", FORGED),
                ];
            }))]
        }),
        ("larger than anybody asked for", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                message.answers = vec![a(NAME, FORGED); 400];
            }))]
        }),
        ("endless aliases", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                let mut owner = NAME.to_owned();
                for step in 0..60 {
                    let target = format!("a{step}.example.com.");
                    message.answers.push(Record::from_rdata(
                        name(&owner),
                        60,
                        RData::CNAME(CNAME(name(&target))),
                    ));
                    owner = target;
                }
                message.answers.push(a(&owner, FORGED));
            }))]
        }),
        ("aliases in a circle", |asked, _| {
            vec![Act::Say(reply(asked, |message| {
                let alias = |from: &str, to: &str| {
                    Record::from_rdata(name(from), 60, RData::CNAME(CNAME(name(to))))
                };
                message.answers = vec![
                    alias(NAME, "b.example.com."),
                    alias("b.example.com.", NAME),
                    a(NAME, FORGED),
                ];
            }))]
        }),
        ("silence", |_, _| Vec::new()),
        ("truncated, and silence over TCP", |asked, via| match via {
            Via::Udp => vec![Act::Say(reply(asked, |message| {
                message.metadata.truncation = true;
            }))],
            Via::Tcp => Vec::new(),
        }),
    ]
}

/// A larger answer than UDP takes comes over TCP, which is no lie; so it is told apart here.
fn is_size_only(lie: &str) -> bool {
    lie == "larger than anybody asked for"
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_liar_says_is_passed_on_and_it_costs_little() {
    let mut asking = JoinSet::new();
    for (lie, script) in liars() {
        asking.spawn(async move {
            let liar = Upstream::start(script).await;
            let forward = Forward::plain(&[liar.address]);
            let started = Instant::now();
            let outcome = ask(&forward).await;
            let took = started.elapsed();
            if let Ok(message) = &outcome
                && !is_size_only(lie)
            {
                panic!("{lie}: passed on: {message}");
            }
            assert!(took < WITHIN * 3, "{lie}: took {took:?}");
            assert!(forward.packets_sent() <= 30, "{lie}");
            let cost = liar.datagrams() + 6 * liar.connections();
            assert!(cost <= 30, "{lie}: {cost} packets");
        });
    }
    asking.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_upstream_makes_up_for_a_liar() {
    for (lie, script) in liars() {
        if is_size_only(lie) {
            continue;
        }
        let liar = Upstream::start(script).await;
        let honest = honest().await;
        let forward = Forward::plain(&[liar.address, honest.address]);
        let answer = ask(&forward)
            .await
            .unwrap_or_else(|error| panic!("{lie}: {error}"));
        assert_eq!(addresses(&answer), [TRUTH], "{lie}");
        assert!(forward.packets_sent() <= 30, "{lie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_points_at_is_cut_off_and_the_answer_stays() {
    let chatty = Upstream::start(|asked, _| {
        vec![Act::Say(reply(asked, |message| {
            message.answers = vec![a(NAME, TRUTH)];
            message.additionals = vec![a("bank.example.", FORGED)];
        }))]
    })
    .await;
    let answer = ask(&Forward::plain(&[chatty.address])).await.unwrap();
    assert_eq!(addresses(&answer), [TRUTH]);
    assert!(answer.edns.is_some(), "the OPT record stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_upstream_is_soon_known_and_packets_are_bounded() {
    let dead: SocketAddr = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let forward = Forward::plain(&[dead]);
    assert_eq!(ask(&forward).await, Err(ResolveError::Unreachable));
    assert!(forward.packets_sent() <= 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_silent_upstreams_together_stay_within_the_budget() {
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(Upstream::start(|_, _| Vec::new()).await);
    }
    let addresses: Vec<_> = silent.iter().map(|upstream| upstream.address).collect();
    let forward = Forward::plain(&addresses);
    assert_eq!(ask(&forward).await, Err(ResolveError::TimedOut));
    let datagrams: u32 = silent.iter().map(Upstream::datagrams).sum();
    assert!((1..=30).contains(&datagrams), "{datagrams}");
    assert!(silent.iter().filter(|one| one.datagrams() > 0).count() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upstream_is_overtaken_and_then_no_longer_first() {
    let silent = Upstream::start(|_, _| Vec::new()).await;
    let honest = honest().await;
    let forward = Forward::plain(&[silent.address, honest.address]);
    for _ in 0..6 {
        assert_eq!(addresses(&ask(&forward).await.unwrap()), [TRUTH]);
    }
    assert_eq!(honest.datagrams(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_upstream_is_told_as_such() {
    assert_eq!(
        ask(&Forward::plain(&[])).await,
        Err(ResolveError::NoUpstream)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upstream_is_asked_after_servfail_and_refusals_pass_when_all_agree() {
    let with_rcode = |rcode: ResponseCode| {
        move |asked: &[u8], _| {
            vec![Act::Say(reply(asked, |message| {
                message.metadata.response_code = rcode;
            }))]
        }
    };
    let failing = Upstream::start(with_rcode(ResponseCode::ServFail)).await;
    let honest = honest().await;
    let forward = Forward::plain(&[failing.address, honest.address]);
    assert_eq!(addresses(&ask(&forward).await.unwrap()), [TRUTH]);

    let refusing = Upstream::start(with_rcode(ResponseCode::Refused)).await;
    let also = Upstream::start(with_rcode(ResponseCode::Refused)).await;
    let forward = Forward::plain(&[refusing.address, also.address]);
    let answer = ask(&forward).await.unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validators_refusal_is_final() {
    let validator = Upstream::start(|asked, _| {
        vec![Act::Say(reply(asked, |message| {
            message.metadata.response_code = ResponseCode::ServFail;
            let edns = message.edns.as_mut().unwrap();
            // Extended error 6: DNSSEC bogus (RFC 8914 §4.7).
            edns.options_mut()
                .insert(EdnsOption::Unknown(15, vec![0, 6]));
        }))]
    })
    .await;
    let honest = Upstream::start(|asked, _| vec![Act::Say(forged(asked))]).await;
    let forward = Forward::plain(&[validator.address, honest.address]);
    let answer = ask(&forward).await.unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(honest.datagrams(), 0, "nobody else was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_at_the_same_time_is_asked_once() {
    let slow = Upstream::start(|asked, _| {
        std::thread::sleep(Duration::from_millis(100));
        vec![Act::Say(truth(asked))]
    })
    .await;
    let forward = Arc::new(Forward::plain(&[slow.address]));
    let askers: Vec<_> = (0..50)
        .map(|_| {
            let forward = forward.clone();
            tokio::spawn(async move { ask(&*forward).await })
        })
        .collect();
    for asker in askers {
        assert_eq!(addresses(&asker.await.unwrap().unwrap()), [TRUTH]);
    }
    assert_eq!(slow.datagrams(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_options_and_unknown_types_pass_and_hop_by_hop_options_do_not() {
    const UNKNOWN_TYPE: u16 = 65_280;
    const UNKNOWN_OPTION: u16 = 65_001;
    let upstream = Upstream::start(|asked, _| {
        let mut bytes = reply(asked, |message| {
            message.metadata.authentic_data = true;
            message.edns.as_mut().unwrap().options_mut().insert(
                // An option of one hop in the answer, too.
                EdnsOption::Unknown(11, vec![0, 100]),
            );
        });
        // One record of a type that nobody knows, in front of the OPT record: pointer to the
        // question's name, type, class, TTL, and data that looks like a pointer and is none.
        let question_end = 12 + NAME.len() + 1 + 4;
        let record = [
            0xc0, 0x0c, 0xff, 0x00, 0, 1, 0, 0, 0, 60, 0, 5, 0xc0, 0x0c, 0xff, 0, 7,
        ];
        bytes[7] = 1;
        bytes.splice(question_end..question_end, record);
        vec![Act::Say(bytes)]
    })
    .await;
    let mut message = query();
    message.queries = vec![Query::query(name(NAME), RecordType::Unknown(UNKNOWN_TYPE))];
    message.metadata.checking_disabled = true;
    let options = message.edns.as_mut().unwrap().options_mut();
    options.insert(EdnsOption::Unknown(UNKNOWN_OPTION, vec![1, 2, 3]));
    options.insert(EdnsOption::Unknown(10, vec![9; 8]));
    options.insert(EdnsOption::Unknown(12, vec![0; 20]));
    let forward = Forward::plain(&[upstream.address]);
    let answer = forward
        .resolve(
            message.to_vec().unwrap().into(),
            tokio::time::Instant::now() + WITHIN,
        )
        .await
        .unwrap();

    let sent = Message::from_vec(&upstream.queries()[0]).unwrap();
    assert!(sent.metadata.checking_disabled);
    let edns = sent.edns.as_ref().unwrap();
    assert!(edns.flags().dnssec_ok);
    assert_eq!(edns.max_payload(), 1232);
    let codes: Vec<u16> = edns
        .options()
        .as_ref()
        .iter()
        .map(|(code, _)| u16::from(*code))
        .collect();
    assert_eq!(codes, [UNKNOWN_OPTION]);

    let told = Message::from_vec(&answer).unwrap();
    assert!(told.metadata.authentic_data && told.metadata.checking_disabled);
    assert_eq!(told.answers.len(), 1);
    let RData::Unknown { rdata, .. } = &told.answers[0].data else {
        panic!("{:?}", told.answers[0]);
    };
    assert_eq!(rdata.anything, [0xc0, 0x0c, 0xff, 0, 7]);
    let edns = told.edns.as_ref().unwrap();
    assert!(edns.option(EdnsCode::from(11)).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_comes_over_tcp() {
    let upstream = Upstream::start(|asked, via| {
        vec![Act::Say(reply(asked, |message| match via {
            Via::Udp => message.metadata.truncation = true,
            Via::Tcp => {
                message.answers = (0..250)
                    .map(|last| a(NAME, Ipv4Addr::new(192, 0, 2, last)))
                    .collect();
            }
        }))]
    })
    .await;
    let answer = ask(&Forward::plain(&[upstream.address])).await.unwrap();
    assert_eq!(answer.answers.len(), 250);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_opt_record_gets_none() {
    let upstream = Upstream::start(|asked, _| {
        vec![Act::Say(reply(asked, |message| {
            message.answers = vec![a(NAME, TRUTH)];
            message.edns = Some(Edns::new());
        }))]
    })
    .await;
    let mut message = query();
    message.edns = None;
    let answer = Forward::plain(&[upstream.address])
        .resolve(
            message.to_vec().unwrap().into(),
            tokio::time::Instant::now() + WITHIN,
        )
        .await
        .unwrap();
    assert!(Message::from_vec(&answer).unwrap().edns.is_none());
    let sent = Message::from_vec(&upstream.queries()[0]).unwrap();
    assert!(sent.edns.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_leads_back_here_is_noticed() {
    // It asks us whatever it is asked, and fails when that has failed.
    let ours: Arc<OnceLock<Arc<Local>>> = Arc::default();
    let slot = ours.clone();
    let circle = Upstream::start(move |asked, _| {
        if let Some(local) = slot.get().cloned() {
            let asked: Arc<[u8]> = asked.into();
            tokio::spawn(async move {
                let deadline = tokio::time::Instant::now() + WITHIN;
                let _ = local.resolve(asked, deadline).await;
            });
        }
        // The task above comes first: this answer is slow.
        std::thread::sleep(Duration::from_millis(50));
        vec![Act::Say(reply(asked, |message| {
            message.metadata.response_code = ResponseCode::ServFail;
        }))]
    })
    .await;
    let local = Arc::new(Local::new(circle.address, ServerType::Forwarder));
    let _ = ours.set(local.clone());
    let upstream = circle.address;
    // The question that comes round may be the one that finds out, so the first asker may still
    // get the upstream's own failure.
    let mut outcome = ask(&*local).await;
    for _ in 0..50 {
        if outcome.is_err() {
            break;
        }
        outcome = ask(&*local).await;
    }
    assert_eq!(outcome, Err(ResolveError::Loop { upstream }));
    // Who asked before that shares the end of what was under way.
    let begun = Instant::now();
    while local.describe()["in-flight"] != 0 {
        assert!(begun.elapsed() < WITHIN, "something is under way for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = circle.datagrams();
    assert_eq!(ask(&*local).await, Err(ResolveError::Loop { upstream }));
    assert_eq!(circle.datagrams(), before, "it is not asked again at once");
    let names: Vec<Name> = circle
        .queries()
        .iter()
        .map(|query| Message::from_vec(query).unwrap().queries[0].name().clone())
        .collect();
    let says_nothing = |asked: &Name| *asked == name(NAME) || name("test.").zone_of(asked);
    assert!(names.iter().all(says_nothing), "{names:?}");

    // One that fails for its own reasons is believed.
    let failing = Upstream::start(|asked, _| {
        vec![Act::Say(reply(asked, |message| {
            message.metadata.response_code = ResponseCode::ServFail;
        }))]
    })
    .await;
    let local = Local::new(failing.address, ServerType::Forwarder);
    let answer = ask(&local).await.unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_answers_pass_through_refusals_and_all() {
    let text = "anything at all";
    let resolver = Upstream::start(move |asked, _| {
        vec![Act::Say(reply(asked, |message| {
            message.metadata.response_code = ResponseCode::Refused;
            message.metadata.authoritative = true;
            message.authorities = Vec::new();
            message.additionals = vec![Record::from_rdata(
                name(NAME),
                0,
                RData::TXT(TXT::new(vec![text.into()])),
            )];
        }))]
    })
    .await;
    let local = Local::new(resolver.address, ServerType::Forwarder);
    let answer = ask(&local).await.unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    assert!(answer.metadata.authoritative);
    assert_eq!(answer.additionals.len(), 1);
    assert_eq!(local.describe()["mode"], "local");
}
