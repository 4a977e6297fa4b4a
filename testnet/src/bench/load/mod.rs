//! The load generator: one thread, waiting for many sockets.
//!
//! Every answer is checked: it must belong to a query that is waited for, repeat its question, and say what the zone says.

mod crowd;
mod held;
mod line;
mod question;
mod tally;
mod tickets;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        epoll::{EpollEvent, EpollFlags},
        resource::{UsageWho, getrusage},
        time::{TimeSpec, TimeValLike},
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::{ClockId as Clock, clock_gettime},
};
use rustls::{ClientConfig, HandshakeKind, pki_types::ServerName};

use super::{Failure, usage::cpu_time};
use crowd::{Crowd, TIMER};

pub(crate) use held::Held;
pub(crate) use line::{BATCH, unframe};
pub(crate) use question::{CONSTANT, NAMES, Questions, Truth, ZONE, address};
pub(crate) use tally::{Report, Tally};
pub(crate) use tickets::{KeyExchange, client_config};

/// An answer that took longer is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// A load generator that is later than this has lost its time.
const HELD_UP_NS: u64 = 10_000_000;
/// For all connections of a slice to be ready.
const CONNECTED: Duration = Duration::from_secs(30);
/// How often the clock is looked at when nothing comes.
const TICK: Duration = Duration::from_millis(20);
/// Connections that may break in one slice before it is given up.
const BROKEN: u64 = 10_000;

/// How questions travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// Who is asked, and what.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) questions: Questions,
    pub(crate) truth: Truth,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    /// The process whose CPU time is measured.
    pub(crate) process: u32,
}

/// How long a slice is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    pub(crate) slice: Duration,
}

/// Many questions are kept unanswered: each answer makes room for the next.
pub(crate) fn closed(
    target: &Target,
    connections: usize,
    window: usize,
    span: Span,
) -> Result<Report, Failure> {
    let mut crowd = connected(target, connections, window)?;
    for index in 0..crowd.len() {
        for _ in 0..window {
            let now = crowd.now_ns();
            crowd.ask(index, now);
        }
        crowd.flush(index)?;
    }
    let mut meter = Meter::start(target, span);
    let mut looked = Instant::now();
    while meter.goes_on(&mut crowd) {
        let events = crowd.wait(TICK)?;
        let now = crowd.now_ns();
        for index in events {
            let index = index as usize;
            let received = crowd.receive(index, now)?;
            if received.open {
                refill(&mut crowd, index, received.answers)?;
            } else {
                broken(&mut crowd, index)?;
                refill(&mut crowd, index, window)?;
            }
        }
        if looked.elapsed() > PATIENCE / 4 {
            looked = Instant::now();
            for (index, count) in crowd.give_up(PATIENCE) {
                refill(&mut crowd, index, count)?;
            }
        }
    }
    Ok(meter.read(crowd))
}

/// Every known name is asked once; the answers fill caches.
pub(crate) fn once(target: &Target, window: usize) -> Result<Tally, Failure> {
    let mut crowd = connected(target, 1, window)?;
    let mut left = NAMES as usize;
    let mut fill = window.min(left);
    while left > 0 || crowd.waiting() > 0 {
        refill(&mut crowd, 0, fill.min(left))?;
        left -= fill.min(left);
        fill = 0;
        for _ in crowd.wait(TICK)? {
            let now = crowd.now_ns();
            fill += crowd.receive(0, now)?.answers;
        }
        for (_, count) in crowd.give_up(PATIENCE) {
            fill += count;
        }
    }
    Ok(crowd.tally)
}

/// Questions come at their times, whatever becomes of those before: a slow answer delays none, and none hides another's delay.
pub(crate) fn paced(
    target: &Target,
    connections: usize,
    per_second: u32,
    span: Span,
) -> Result<Report, Failure> {
    let mut crowd = connected(target, connections, usize::from(u16::MAX))?;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
    crowd
        .epoll
        .add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
    let step = Duration::from_secs(1) / per_second;
    let step_ns = u64::try_from(step.as_nanos())?;
    let mut due_ns = crowd.now_ns() + step_ns;
    // What the timer is set by.
    let clock_ns = |crowd: &Crowd<'_>| -> Result<i64, Failure> {
        let now = clock_gettime(Clock::CLOCK_MONOTONIC)?;
        Ok(now.num_nanoseconds() - i64::try_from(crowd.now_ns())?)
    };
    let offset_ns = clock_ns(&crowd)?;
    let arm = |due_ns: u64| -> Result<(), Failure> {
        let at = TimeSpec::nanoseconds(offset_ns + i64::try_from(due_ns)?);
        Ok(timer.set(
            Expiration::OneShot(at),
            TimerSetTimeFlags::TFD_TIMER_ABSTIME,
        )?)
    };
    arm(due_ns)?;
    let mut turn = 0;
    let mut meter = Meter::start(target, span);
    let mut looked = Instant::now();
    while meter.goes_on(&mut crowd) {
        let events = crowd.wait(TICK)?;
        let now = crowd.now_ns();
        for index in events {
            if index == TIMER {
                continue;
            }
            let index = index as usize;
            if crowd.receive(index, now)?.open {
                crowd.flush(index)?;
            } else {
                broken(&mut crowd, index)?;
            }
        }
        let now = crowd.now_ns();
        if now.saturating_sub(due_ns) > HELD_UP_NS {
            // This process had no processor. To make up for it would be a flood that nobody promised.
            crowd.tally.held_up += 1;
            due_ns = now;
        }
        let mut touched = BTreeSet::new();
        while due_ns <= now {
            crowd.ask(turn, due_ns);
            touched.insert(turn);
            turn = (turn + 1) % connections;
            due_ns += step_ns;
        }
        if !touched.is_empty() {
            for index in touched {
                crowd.flush(index)?;
            }
            arm(due_ns)?;
        }
        if looked.elapsed() > PATIENCE / 4 {
            looked = Instant::now();
            crowd.give_up(PATIENCE);
        }
    }
    // Whoever was asked last gets the time to answer.
    let mut report = meter.read_keeping(&crowd);
    let late = Instant::now();
    while crowd.waiting() > 0 && late.elapsed() < PATIENCE {
        for index in crowd.wait(TICK)? {
            if index != TIMER {
                let now = crowd.now_ns();
                crowd.receive(index as usize, now)?;
            }
        }
    }
    report.tally.lost += crowd.waiting() as u64;
    Ok(report)
}

/// Connections one after the other, `parallel` at the same time, each with one question.
pub(crate) fn handshakes(target: &Target, parallel: usize, span: Span) -> Result<Report, Failure> {
    let mut crowd = Crowd::new(target, 1)?;
    for _ in 0..parallel {
        let index = crowd.join()?;
        crowd.ask(index, crowd.begun_ns);
    }
    let mut meter = Meter::start(target, span);
    while meter.goes_on(&mut crowd) {
        for index in crowd.wait(TICK)? {
            let index = index as usize;
            let now = crowd.now_ns();
            let received = crowd.receive(index, now)?;
            crowd.flush(index)?;
            if received.answers == 0 && received.open {
                continue;
            }
            if received.answers == 0 {
                broken(&mut crowd, index)?;
            } else {
                match crowd.handshake(index) {
                    Some(HandshakeKind::Resumed) => crowd.tally.resumed += 1,
                    _ => crowd.tally.full += 1,
                }
                crowd.rejoin(index)?;
            }
            crowd.ask(index, crowd.begun_ns);
        }
    }
    Ok(meter.read(crowd))
}

fn connected(target: &Target, connections: usize, window: usize) -> Result<Crowd<'_>, Failure> {
    let mut crowd = Crowd::new(target, window)?;
    for _ in 0..connections {
        crowd.join()?;
    }
    let started = Instant::now();
    while !crowd.is_ready() {
        if started.elapsed() > CONNECTED {
            return Err(Failure::new(format!(
                "not all of {connections} connections to {} came up within {CONNECTED:?}",
                target.address
            )));
        }
        for index in crowd.wait(TICK)? {
            let index = index as usize;
            let now = crowd.now_ns();
            if !crowd.receive(index, now)?.open {
                broken(&mut crowd, index)?;
            }
            crowd.flush(index)?;
        }
    }
    Ok(crowd)
}

fn refill(crowd: &mut Crowd<'_>, index: usize, questions: usize) -> Result<(), Failure> {
    let now = crowd.now_ns();
    for _ in 0..questions {
        crowd.ask(index, now);
    }
    Ok(crowd.flush(index)?)
}

fn broken(crowd: &mut Crowd<'_>, index: usize) -> Result<(), Failure> {
    crowd.tally.broken += 1;
    if crowd.tally.broken > BROKEN {
        return Err(Failure::new("connections break as soon as they are made"));
    }
    crowd.rejoin(index)?;
    Ok(())
}

/// Reads the clocks at both ends of a slice.
struct Meter {
    process: u32,
    begins: Instant,
    ends: Instant,
    started: Option<Reading>,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    tested: Duration,
    own: Duration,
}

impl Reading {
    fn take(process: u32) -> Self {
        Self {
            at: Instant::now(),
            tested: cpu_time(process),
            own: own_cpu_time(),
        }
    }
}

impl Meter {
    fn start(target: &Target, span: Span) -> Self {
        let begins = Instant::now() + span.warm_up;
        Self {
            process: target.process,
            begins,
            ends: begins + span.slice,
            started: None,
        }
    }

    /// Forgets what happened before the slice began; says whether it goes on.
    fn goes_on(&mut self, crowd: &mut Crowd<'_>) -> bool {
        let now = Instant::now();
        if self.started.is_none() && now >= self.begins {
            crowd.tally.clear();
            self.started = Some(Reading::take(self.process));
            // A long wake-up before the slice does not shorten it.
            self.ends += now - self.begins;
        }
        // A slice without any answer says nothing; a machine that is busy with others may need longer.
        now < self.ends || crowd.tally.answers == 0 && now < self.ends + PATIENCE
    }

    fn read(&self, crowd: Crowd<'_>) -> Report {
        self.read_keeping(&crowd)
    }

    fn read_keeping(&self, crowd: &Crowd<'_>) -> Report {
        let ended = Reading::take(self.process);
        let started = self.started.unwrap_or(ended);
        Report {
            tally: crowd.tally.clone(),
            elapsed: ended.at - started.at,
            tested_cpu: ended.tested.saturating_sub(started.tested),
            own_cpu: ended.own.saturating_sub(started.own),
        }
    }
}

fn own_cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else {
        return Duration::ZERO;
    };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
