//! The cold path: names that nobody asked before, forwarded and recursed.
//!
//! Everything is on the loopback of the box: a small internet on NSD (a root, a signed and an unsigned registry, zones with one
//! address a name), the resolvers, and whoever asks. The path has no delay, so latency is work and queueing alone.
//!
//! When forwarding nobody validates. When recursing all do, from the same trust anchor; all signatures are ECDSA P-256. All have their
//! defaults for the rest, minimised names and aggressive use of NSEC included where they have it, and one thread.

mod asking;
mod peers;
mod zones;

use std::{
    thread,
    time::{Duration, Instant},
};

use self::{
    asking::{Tally, ask_all},
    peers::{Mode, Running},
    zones::Internet,
};
use super::{Failure, Goal, Group, Plan, Row, Sample, Unit, usage};

/// The rows of the cold path.
pub(super) const GROUP: Group = Group {
    name: "cold",
    rows: ROWS,
    measure,
};

const ROWS: &[Row] = &[
    FORWARD,
    KNOWN,
    FRESH,
    UNSIGNED,
    ABSENT,
    FORWARD_P50,
    KNOWN_P50,
    FRESH_P50,
    FRESH_SENT,
];

const FORWARD: Row = Row {
    name: "cold-forward",
    title: "Forwarding, CPU time a name never asked before",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.0, "unbound"),
    method: "UDP in, UDP out to NSD on the loopback, 16 names outstanding, nobody validates.",
};
const KNOWN: Row = Row {
    name: "cold-recursion-name",
    title: "Recursion, CPU time a new name in a signed zone that is known",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.0, "unbound"),
    method: "One address a name, 16 names outstanding, DO set; all validate, and an answer without AD is a fault.",
};
const FRESH: Row = Row {
    name: "cold-recursion-zone",
    title: "Recursion, CPU time the first name of a signed zone",
    ..KNOWN
};
const UNSIGNED: Row = Row {
    name: "cold-recursion-unsigned",
    title: "Recursion, CPU time a new name in an unsigned zone that is known",
    method: "One address a name, 16 names outstanding, DO set; all validate, and find nothing to.",
    ..KNOWN
};
const ABSENT: Row = Row {
    name: "cold-recursion-absent",
    title: "Recursion, CPU time a name that does not exist, in a signed zone that is known",
    goal: Goal::None,
    method: "As above. Who uses NSEC records aggressively (RFC 8198) need not ask for any but the first; ours asks.",
    ..KNOWN
};
const FORWARD_P50: Row = Row {
    name: "cold-forward-p50",
    title: "Forwarding, middle latency of a name never asked before",
    method: "One name after the other: nothing queues.",
    ..FORWARD
};
const KNOWN_P50: Row = Row {
    name: "cold-recursion-name-p50",
    title: "Recursion, middle latency of a new name in a signed zone that is known",
    method: "One name after the other: nothing queues.",
    ..KNOWN
};
const FRESH_P50: Row = Row {
    name: "cold-recursion-zone-p50",
    title: "Recursion, middle latency of the first name of a signed zone",
    method: "One name after the other: nothing queues.",
    ..KNOWN
};
const FRESH_SENT: Row = Row {
    name: "cold-recursion-zone-sent",
    title: "Recursion, datagrams sent upstream for the first name of a signed zone",
    unit: Unit::Count,
    goal: Goal::AtMostTimes(1.0, "unbound"),
    method: "Counted by the kernel. One to the registry, one for the zone's keys and one for the name are the least.",
};

/// Names outstanding where CPU time is measured.
const OUTSTANDING: usize = 16;

/// After the last answer: what is done behind it is part of the price.
const SETTLING: Duration = Duration::from_millis(50);

/// What a row shows of a slice.
type Value = fn(&Measured) -> f64;

/// What is asked in a slice.
struct Slice {
    mode: Mode,
    /// Names, counted among all rows of a kind so that none comes twice.
    names: fn(&Counts, std::ops::Range<u32>) -> Vec<String>,
    kind: Kind,
    outstanding: usize,
    /// Answers say that they were validated.
    authentic: bool,
    rcode: u8,
    /// The row of each value that it gives.
    rows: &'static [(Row, Value)],
}

/// Names of one kind share their numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Many,
    Zones,
}

/// How many names there are.
pub(super) struct Counts {
    /// In each large zone, and a slice.
    pub(super) names: u32,
    pub(super) slice: u32,
    /// Small zones, and a slice.
    pub(super) zones: u32,
    pub(super) zones_slice: u32,
}

/// What a slice brought.
struct Measured {
    tally: Tally,
    cpu: Duration,
    sent: f64,
    took: Duration,
}

impl Measured {
    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answered()
    }

    fn p50_us(&self) -> f64 {
        self.tally.quantile_us(0.5)
    }

    fn answered(&self) -> f64 {
        self.tally.answered().max(1) as f64
    }
}

const SLICES: &[Slice] = &[
    Slice {
        mode: Mode::Forward,
        names: |_, range| range.map(|n| format!("n{n}.forward")).collect(),
        kind: Kind::Many,
        outstanding: OUTSTANDING,
        authentic: false,
        rcode: 0,
        rows: &[(FORWARD, Measured::cpu_us)],
    },
    Slice {
        mode: Mode::Recurse,
        names: |_, range| range.map(|n| format!("h{n}.large.signed")).collect(),
        kind: Kind::Many,
        outstanding: OUTSTANDING,
        authentic: true,
        rcode: 0,
        rows: &[(KNOWN, Measured::cpu_us)],
    },
    Slice {
        mode: Mode::Recurse,
        names: |_, range| range.map(|n| format!("www.z{n}.signed")).collect(),
        kind: Kind::Zones,
        outstanding: OUTSTANDING,
        authentic: true,
        rcode: 0,
        rows: &[
            (FRESH, Measured::cpu_us),
            (FRESH_SENT, |measured| measured.sent),
        ],
    },
    Slice {
        mode: Mode::Recurse,
        names: |_, range| range.map(|n| format!("h{n}.large.plain")).collect(),
        kind: Kind::Many,
        outstanding: OUTSTANDING,
        authentic: false,
        rcode: 0,
        rows: &[(UNSIGNED, Measured::cpu_us)],
    },
    Slice {
        mode: Mode::Recurse,
        names: |_, range| range.map(|n| format!("no{n}.large.signed")).collect(),
        kind: Kind::Many,
        outstanding: OUTSTANDING,
        authentic: true,
        rcode: 3,
        rows: &[(ABSENT, Measured::cpu_us)],
    },
    Slice {
        mode: Mode::Forward,
        names: |_, range| range.map(|n| format!("m{n}.forward")).collect(),
        kind: Kind::Many,
        outstanding: 1,
        authentic: false,
        rcode: 0,
        rows: &[(FORWARD_P50, Measured::p50_us)],
    },
    Slice {
        mode: Mode::Recurse,
        names: |counts, range| {
            range
                .map(|n| format!("h{}.large.signed", counts.names + n))
                .collect()
        },
        kind: Kind::Many,
        outstanding: 1,
        authentic: true,
        rcode: 0,
        rows: &[(KNOWN_P50, Measured::p50_us)],
    },
    Slice {
        mode: Mode::Recurse,
        names: |counts, range| {
            range
                .map(|n| format!("www.z{}.signed", counts.zones + n))
                .collect()
        },
        kind: Kind::Zones,
        outstanding: 1,
        authentic: true,
        rcode: 0,
        rows: &[(FRESH_P50, Measured::p50_us)],
    },
];

fn measure(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    let (slice, zones_slice) = if plan.smoke { (50, 5) } else { (800, 60) };
    // The first numbers of each kind are for warming up.
    let rounds = plan.rounds + 1;
    let counts = Counts {
        names: rounds * slice,
        slice,
        zones: rounds * zones_slice,
        zones_slice,
    };
    let internet = Internet::start(&plan.folder.join("cold"), &counts)?;
    let mut running: Vec<(Mode, Vec<Running>)> = Vec::new();
    for mode in [Mode::Forward, Mode::Recurse] {
        let wanted = SLICES
            .iter()
            .any(|slice| slice.mode == mode && is_wanted(plan, slice));
        if wanted {
            running.push((mode, peers::start(plan, mode, &internet)?));
        }
    }
    for slice in SLICES.iter().filter(|slice| is_wanted(plan, slice)) {
        let Some((_, programs)) = running.iter_mut().find(|(mode, _)| *mode == slice.mode) else {
            continue;
        };
        for program in programs.iter_mut() {
            run(slice, &counts, program, 0)?;
        }
    }
    for round in 0..plan.rounds {
        for slice in SLICES.iter().filter(|slice| is_wanted(plan, slice)) {
            let Some((_, programs)) = running.iter().find(|(mode, _)| *mode == slice.mode) else {
                continue;
            };
            plan.tell(&format!("cold path, {}", slice.rows[0].0.name));
            for program in plan.in_turn(round, programs) {
                let measured = run(slice, &counts, program, round + 1)?;
                for (row, value) in slice.rows {
                    if plan.wants_row(row.name) {
                        record(sample(row, value(&measured), program, round, &measured));
                    }
                }
            }
        }
    }
    Ok(())
}

fn is_wanted(plan: &Plan, slice: &Slice) -> bool {
    slice.rows.iter().any(|(row, _)| plan.wants_row(row.name))
}

fn run(slice: &Slice, counts: &Counts, program: &Running, turn: u32) -> Result<Measured, Failure> {
    let length = match slice.kind {
        Kind::Many => counts.slice,
        Kind::Zones => counts.zones_slice,
    };
    let names = (slice.names)(counts, turn * length..(turn + 1) * length);
    let cpu = usage::cpu_time(program.id());
    let sent = asking::datagrams_sent()?;
    let started = Instant::now();
    let tally = ask_all(
        program.address,
        &names,
        slice.outstanding,
        slice.rcode,
        slice.authentic,
    )?;
    let took = started.elapsed();
    thread::sleep(SETTLING);
    let cpu = usage::cpu_time(program.id()).saturating_sub(cpu);
    // Ours and the resolver's on this side of it, and an answer for each that it sent on the other.
    let all = asking::datagrams_sent()?.saturating_sub(sent) as f64;
    let front = (tally.asked() + tally.answered()) as f64;
    Ok(Measured {
        sent: (all - front) / 2.0 / tally.answered().max(1) as f64,
        tally,
        cpu,
        took,
    })
}

fn sample(row: &Row, value: f64, program: &Running, round: u32, measured: &Measured) -> Sample {
    let mut sample = Sample::new(row, &program.name, round, value)
        .with("sent_upstream", measured.sent)
        .with("p50_us", measured.p50_us())
        .with("p99_us", measured.tally.quantile_us(0.99))
        .with("qps", measured.answered() / measured.took.as_secs_f64());
    for fault in measured.tally.faults() {
        sample = sample.faulty(fault);
    }
    sample
}
