//! Any history of verdicts, failures, reloads and clocks: once a resolver was learned, nothing leads back to
//! cleartext but the user's own word.
#![no_main]

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::LazyLock,
    time::{Duration, Instant},
};

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use zzdot_client::{
    config::LegacyPolicy,
    discover::{Discovered, LegacyReason, Refusal, Verdict},
    dot::{ConnectError, ConnectStage, DotError},
    session::{Acquaintance, Lesson, Policy, Route, Session},
};
use zzdot_fuzz::{ADDRESS, Appliance, honest_walk, now};

/// Two resolvers: the one, and one in its place.
static FOUND: LazyLock<[Discovered; 2]> =
    LazyLock::new(|| [Appliance::new(), Appliance::new()].map(|appliance| honest_walk(&appliance)));

#[derive(Arbitrary, Debug)]
enum Event {
    Question,
    Wait(u32),
    Clock(i32),
    BeginWalk,
    Upgraded { other: bool, stored: bool },
    Legacy(bool),
    Refused,
    NoAnswer,
    AbandonWalk(Failure),
    TlsFailed(Failure),
    TlsConnected,
    TlsAnswered,
    Policy(bool),
    Forget,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Failure {
    Deadline,
    Busy,
    Refused,
    Silent,
    NotTls,
    OtherKey,
}

fn error(failure: Failure) -> DotError {
    let address = SocketAddr::new(ADDRESS, 853);
    match failure {
        Failure::Deadline => DotError::Deadline { address, connect: None },
        Failure::Busy => DotError::Busy { address, limit: 1 },
        Failure::Refused => DotError::NoConnection(ConnectError::Tcp {
            address,
            kind: ErrorKind::ConnectionRefused,
            reason: "refused".to_owned(),
        }),
        Failure::Silent => {
            DotError::NoConnection(ConnectError::TimedOut { address, stage: ConnectStage::Tcp })
        }
        Failure::NotTls => DotError::NoConnection(ConnectError::Handshake {
            address,
            reason: "cleartext".to_owned(),
        }),
        Failure::OtherKey => DotError::NoConnection(ConnectError::Untrusted {
            address,
            reason: "another key".to_owned(),
        }),
    }
}

fuzz_target!(|history: Vec<Event>| {
    let mut time = Instant::now();
    let mut clock = now();
    let server = SocketAddr::new(ADDRESS, 53);
    let mut session = Session::new(server, Policy::default(), None, time);
    let mut learned = false;
    let mut plain = true;
    for event in history {
        match event {
            Event::Question => {}
            Event::Wait(ms) => time += Duration::from_millis(ms.into()),
            Event::Clock(by) => clock.0 = clock.0.saturating_add_signed(by.into()),
            Event::BeginWalk => drop(session.begin_walk()),
            Event::Upgraded { other, stored } => {
                let verdict = Verdict::Upgraded(Box::new(FOUND[usize::from(other)].clone()));
                let lesson = session.end_walk(time, verdict, Acquaintance::default());
                if let Lesson::Remember(identity, _) = lesson {
                    let outcome = if stored { Ok(()) } else { Err("disk full".to_owned()) };
                    session.learn(time, clock, *identity, outcome);
                    learned = true;
                }
            }
            Event::Legacy(lasting) => {
                let reason =
                    if lasting { LegacyReason::NoSuchZone } else { LegacyReason::ServerFailure };
                let verdict = Verdict::Legacy { reason, name: None };
                let _ = session.end_walk(time, verdict, Acquaintance::default());
            }
            Event::Refused => {
                let refusal = Refusal::ClockBelowFloor { clock, floor: now() };
                let verdict = Verdict::Refused { refusal };
                let _ = session.end_walk(time, verdict, Acquaintance::default());
            }
            Event::NoAnswer => {
                let _ = session.end_walk(time, Verdict::NoAnswer, Acquaintance::default());
            }
            Event::AbandonWalk(failure) => session.abandon_walk(time, &error(failure)),
            Event::TlsFailed(failure) => drop(session.on_tls_failure(time, &error(failure))),
            Event::TlsConnected => session.on_tls_connected(),
            Event::TlsAnswered => session.on_tls_answer(),
            Event::Policy(allowed) => {
                plain = allowed;
                let policy = if plain { LegacyPolicy::Plain } else { LegacyPolicy::Refuse };
                session.set_policy(policy.into());
            }
            Event::Forget => {
                session.forget();
                learned = false;
            }
        }
        let route = session.route(time, clock);
        if learned {
            assert_ne!(route, Route::Legacy, "a known resolver is asked over TLS or not at all");
            assert!(session.identity().is_some());
        }
        if !plain {
            assert_ne!(route, Route::Legacy, "cleartext is not allowed at all");
        }
    }
});
