//! A million hostile inputs, with a good client asking in between: no wrong answer, no leak of memory or descriptors.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use zzdot_testnet::hostile::{
    flood::{self, Aim, Report},
    garbage::garbage,
    good::{Good, Service},
    random::{Random, seed},
    stream::loopback,
    target::Target,
    usage::{Usage, dropped_datagrams, judge_memory},
};

/// How many inputs of each kind go into one round.
#[derive(Clone, Copy, Debug)]
struct Load {
    datagrams: usize,
    tcp_messages: usize,
    tls_messages: usize,
    tls_garbage: usize,
}

impl Load {
    /// Together with its like a million and more.
    const HALF: Self = Self {
        datagrams: 330_000,
        tcp_messages: 100_000,
        tls_messages: 72_000,
        tls_garbage: 3_000,
    };

    fn divided(self, by: usize) -> Self {
        Self {
            datagrams: self.datagrams / by,
            tcp_messages: self.tcp_messages / by,
            tls_messages: self.tls_messages / by,
            tls_garbage: self.tls_garbage / by,
        }
    }
}

/// How long connections that were ended may take to be gone: longer than each limit of time in either program.
const SETTLE: Duration = Duration::from_secs(30);

#[test]
fn a_million_hostile_inputs_bring_no_wrong_answer_and_no_leak() {
    let target = Target::appliance().unwrap();
    let inputs = attack(&target, Load::HALF);
    assert!(inputs >= 1_000_000, "{inputs}");
}

#[test]
fn the_stub_on_loopback_withstands_the_same() {
    let resolver = Target::appliance().unwrap();
    let stub = Target::client(&resolver).unwrap();
    let before = resolver.upstream().questions();
    attack(&stub, Load::HALF.divided(8));
    // It was this resolver that the answers came from.
    assert!(resolver.upstream().questions() > before);
}

/// What is asked of our own programs is not beyond a well-kept one: the same judge, the same questions.
#[test]
fn unbound_passes_the_same_judge() {
    attack(&Target::unbound().unwrap(), Load::HALF.divided(50));
}

/// Warms up, then sends `half` twice; gives back how many inputs arrived.
fn attack(target: &Target, half: Load) -> usize {
    let random = Random::new(seed());
    let service = target.service();
    let lost_before = dropped_datagrams(service.dns).unwrap();
    let over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let good = scope.spawn(|| ask_until(&over, service, random.derive("good client")));
        let rounds = thread::Builder::new()
            .name("rounds".into())
            .spawn_scoped(scope, || {
                let warm_up = round(target, half.divided(4), &random.derive("warm-up"));
                let beginning = settled(target, None);
                let mut report = round(target, half, &random.derive("first half"));
                let middle = settled(target, Some(beginning));
                report.add(&round(target, half, &random.derive("second half")));
                let end = settled(target, Some(beginning));
                println!("warm-up: {warm_up}\nboth halves: {report}");
                println!(
                    "at the beginning {beginning:?}, in the middle {middle:?}, at the end {end:?}"
                );
                judge_memory(beginning, middle, end).unwrap();
                report
            })
            .unwrap();
        let report = rounds.join();
        over.store(true, Ordering::Relaxed);
        let asked = good
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        println!("the good client asked {asked} times in every way");
        assert!(asked > 0);
        report.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let lost = dropped_datagrams(service.dns).unwrap() - lost_before;
    println!("datagrams lost in the kernel's queue: {lost}");
    let said = target.output();
    assert!(!said.contains("panicked"), "{said}");
    // unbound is silent to most of it.
    if !target.lenient() {
        judge_variety(&report);
    }
    let garbage = if service.dot.is_some() {
        2 * half.tls_garbage
    } else {
        0
    };
    report.sent + garbage - lost as usize
}

/// One round: all transports at the same time.
fn round(target: &Target, load: Load, random: &Random) -> Report {
    let service = target.service();
    let aim = |number, server, messages| Aim {
        source: source(service, number),
        server,
        own_names: target.own_names().to_vec(),
        messages,
        lenient: target.lenient(),
    };
    thread::scope(|scope| {
        let udp = scope.spawn(move || {
            let aim = aim(1, service.dns, load.datagrams);
            flood::udp(&aim, &random.derive("udp"))
        });
        // Without TLS its share goes over TCP.
        let tls = service.dot.as_ref();
        let tcp_messages = load.tcp_messages + tls.map_or(load.tls_messages, |_| 0);
        let tcp = scope.spawn(move || {
            let aim = aim(2, service.dns, tcp_messages);
            flood::stream(&aim, None, &random.derive("tcp"))
        });
        let mut report = Report::default();
        if let Some((dot, config)) = tls {
            let inside = scope.spawn(move || {
                let aim = aim(3, *dot, load.tls_messages);
                flood::stream(&aim, Some(config), &random.derive("tls"))
            });
            garbage(&aim(4, *dot, load.tls_garbage), config, random)
                .unwrap_or_else(|error| panic!("{error}"));
            report.add(
                &inside
                    .join()
                    .unwrap()
                    .unwrap_or_else(|error| panic!("{error}")),
            );
        }
        for worker in [udp, tcp] {
            report.add(
                &worker
                    .join()
                    .unwrap()
                    .unwrap_or_else(|error| panic!("{error}")),
            );
        }
        report
    })
}

/// A stub serves its own machine: there all are one address. Elsewhere askers are told apart.
fn source(service: &Service, number: usize) -> IpAddr {
    match service.dot {
        Some(_) => loopback(number),
        None => Ipv4Addr::LOCALHOST.into(),
    }
}

/// Asks in every way, over and over, until it is `over`; gives back how often.
fn ask_until(over: &AtomicBool, service: &Service, random: Random) -> usize {
    let mut good = Good::new(service.clone(), Ipv4Addr::LOCALHOST.into(), random).unwrap();
    let mut asked = 0;
    while !over.load(Ordering::Relaxed) {
        good.ask_every_way()
            .unwrap_or_else(|error| panic!("{error}"));
        asked += 1;
        // Now and then is enough: the processors are for the hostile.
        thread::sleep(Duration::from_millis(20));
    }
    println!(
        "its longest wait, and datagrams sent again: {:?}",
        good.patience_needed()
    );
    asked
}

/// The target's usage when nobody but the good client holds anything of it.
fn settled(target: &Target, beginning: Option<Usage>) -> Usage {
    // Four connections and questions under way of the good client come and go.
    let allowance = 8;
    match beginning {
        Some(usage) => Usage::settled(target.id(), usage.descriptors + allowance, SETTLE).unwrap(),
        None => Usage::lowest(target.id(), Duration::from_secs(3)).unwrap(),
    }
}

/// The storm was one: all families went out, and answers of several kinds came back.
fn judge_variety(report: &Report) {
    assert_eq!(report.kinds.len(), 13, "{:?}", report.kinds);
    let answered: usize = report.responses.values().sum();
    assert!(answered > report.sent / 3, "{report}");
    for rcode in [0, 1, 3, 4] {
        assert!(report.responses.contains_key(&rcode), "{rcode}: {report}");
    }
}
