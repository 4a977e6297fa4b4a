//! The appliance as a server: everything asked for is in its cache.

use super::{
    Failure, Goal, Group, NULL, OURS, Plan, Row, Sample, Unit,
    cells::{Cell, Reading, Shape},
    load::{self, KeyExchange, Questions, Transport},
    peers::{self, Material, Role},
};

/// The rows of the server.
pub(super) const GROUP: Group = Group {
    name: "server",
    rows: ROWS,
    measure,
};

const ROWS: &[Row] = &[
    DOT_10X10,
    DOT_1X100,
    DOT_100X10,
    PACED_CPU,
    PACED_P50,
    UDP,
    TCP,
    FULL,
    RESUMED,
    SHARE,
    FULL_HYBRID,
    RESUMED_HYBRID,
    ALONE,
];

const DOT_10X10: Row = Row {
    name: "dot-10x10",
    title: "DoT, CPU time a query, 10 connections with 10 queries outstanding each",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(2.5, NULL),
    method: "Each answer makes room for the next query; one query a TLS record; every name is in the cache.",
};
const DOT_1X100: Row = Row {
    name: "dot-1x100",
    title: "DoT, CPU time a query, 1 connection with 100 queries outstanding",
    ..DOT_10X10
};
const DOT_100X10: Row = Row {
    name: "dot-100x10",
    title: "DoT, CPU time a query, 100 connections with 10 queries outstanding each",
    ..DOT_10X10
};
const PACED_CPU: Row = Row {
    name: "dot-10k-cpu",
    title: "DoT, CPU time a query at 10,000 queries a second",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.15, NULL),
    method: "Over 10 connections, at fixed times: about one query a wake-up.",
};
const PACED_P50: Row = Row {
    name: "dot-10k-p50",
    title: "DoT, middle latency at 10,000 queries a second",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.1, NULL),
    method: "From the time when a query was due to its answer; the same slices.",
};
const UDP: Row = Row {
    name: "udp",
    title: "UDP, CPU time a query",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.2, NULL),
    method: "8 sockets with 16 queries outstanding each.",
};
const TCP: Row = Row {
    name: "tcp-10x10",
    title: "TCP, CPU time a query, 10 connections with 10 queries outstanding each",
    unit: Unit::Microseconds,
    goal: Goal::None,
    method: "Without TLS; the floor does not serve it.",
};
const FULL: Row = Row {
    name: "handshake-full",
    title: "Full TLS handshake and one query, CPU time",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.2, NULL),
    method: "128 connections at a time, each asks one question and closes. TLS 1.3, X25519, ECDSA P-256, AES-256-GCM.",
};
const RESUMED: Row = Row {
    name: "handshake-resumed",
    title: "Resumed TLS handshake and one query, CPU time",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.15, NULL),
    method: "The same with session tickets, each used once.",
};
const SHARE: Row = Row {
    name: "handshake-resumed-share",
    title: "Share of the sessions that could be resumed",
    unit: Unit::Percent,
    goal: Goal::AtLeast(100.0),
    method: "The same slices: of the connections that came with a ticket, or could have, had the last one brought any.",
};
const FULL_HYBRID: Row = Row {
    name: "handshake-full-pq",
    title: "Full handshake with X25519MLKEM768 and one query, CPU time",
    goal: Goal::None,
    method: "As with X25519, by a client that offers the hybrid alone; the peers' releases here do not know it.",
    ..FULL
};
const RESUMED_HYBRID: Row = Row {
    name: "handshake-resumed-pq",
    title: "Resumed handshake with X25519MLKEM768 and one query, CPU time",
    goal: Goal::None,
    method: "The same with session tickets.",
    ..FULL
};
const ALONE: Row = Row {
    name: "first-answer",
    title: "Connect to first answer, alone",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.2, NULL),
    method: "Middle time from the connect to the answer, one connection after the other, full handshakes, nothing else to do.",
};

const fn dot(connections: usize, window: usize, rows: &'static [(&'static Row, Reading)]) -> Cell {
    Cell {
        transport: Transport::Tls,
        shape: Shape::Closed(connections, window),
        rows,
    }
}

const fn handshakes(
    parallel: usize,
    resume: bool,
    key_exchange: KeyExchange,
    rows: &'static [(&'static Row, Reading)],
) -> Cell {
    Cell {
        transport: Transport::Tls,
        shape: Shape::Handshakes {
            parallel,
            resume,
            key_exchange,
        },
        rows,
    }
}

const CELLS: &[Cell] = &[
    dot(10, 10, &[(&DOT_10X10, Reading::Cpu)]),
    dot(1, 100, &[(&DOT_1X100, Reading::Cpu)]),
    dot(100, 10, &[(&DOT_100X10, Reading::Cpu)]),
    Cell {
        transport: Transport::Tls,
        shape: Shape::Paced(10, 10_000),
        rows: &[(&PACED_CPU, Reading::Cpu), (&PACED_P50, Reading::Middle)],
    },
    Cell {
        transport: Transport::Udp,
        shape: Shape::Closed(8, 16),
        rows: &[(&UDP, Reading::Cpu)],
    },
    Cell {
        transport: Transport::Tcp,
        shape: Shape::Closed(10, 10),
        rows: &[(&TCP, Reading::Cpu)],
    },
    handshakes(128, false, KeyExchange::X25519, &[(&FULL, Reading::Cpu)]),
    handshakes(
        128,
        true,
        KeyExchange::X25519,
        &[(&RESUMED, Reading::Cpu), (&SHARE, Reading::Resumed)],
    ),
    handshakes(
        128,
        false,
        KeyExchange::Hybrid,
        &[(&FULL_HYBRID, Reading::Cpu)],
    ),
    handshakes(
        128,
        true,
        KeyExchange::Hybrid,
        &[(&RESUMED_HYBRID, Reading::Cpu)],
    ),
    handshakes(1, false, KeyExchange::X25519, &[(&ALONE, Reading::Middle)]),
];

fn measure(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    let material = Material::make(&plan.folder)?;
    let authority = peers::authority(plan, &material)?;
    let running = peers::start_all(
        plan,
        &peers::servers(plan),
        &material,
        authority.udp,
        Role::Server,
    )?;
    let questions = Questions::known();
    for program in &running {
        fill(program, &questions)?;
    }
    for round in 0..plan.rounds {
        plan.tell(&format!("server, round {} of {}", round + 1, plan.rounds));
        for program in plan.in_turn(round, &running) {
            for cell in CELLS {
                if serves(program, cell) {
                    cell.sample(plan, round, program, &questions, record);
                }
            }
        }
    }
    Ok(())
}

/// Is there anything to measure?
fn serves(program: &peers::Running, cell: &Cell) -> bool {
    let hybrid = matches!(
        cell.shape,
        Shape::Handshakes {
            key_exchange: KeyExchange::Hybrid,
            ..
        }
    );
    let floor = peers::is_floor(&program.name);
    match cell.transport {
        Transport::Tcp => !floor,
        _ => !hybrid || floor || program.name.starts_with(OURS),
    }
}

/// Asks for every name once.
pub(super) fn fill(program: &peers::Running, questions: &Questions) -> Result<(), Failure> {
    let target = program.target(Transport::Udp, questions, KeyExchange::X25519, false)?;
    let tally = load::once(&target, 16)?;
    let faults = tally.faults();
    if !faults.is_empty() {
        eprintln!("{}, filling its cache: {}", program.name, faults.join(", "));
    }
    Ok(())
}
