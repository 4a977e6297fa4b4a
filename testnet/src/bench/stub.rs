//! The client as a stub: every name is new, and the floor answers it at the other end of the TLS connection.

use super::{
    Failure, Goal, Group, NULL, Plan, Row, Sample, Unit,
    cells::{Cell, Reading, Shape},
    load::{Questions, Transport},
    peers::{self, Material, Peer, Role, null_server},
    usage::resident_octets,
};

/// The rows of the stub.
pub(super) const GROUP: Group = Group {
    name: "stub",
    rows: ROWS,
    measure,
};

const ROWS: &[Row] = &[SATURATED, CPU_10K, CPU_1K, P50_1K, FAILED_10K, MEMORY];

const SATURATED: Row = Row {
    name: "stub-saturated",
    title: "Stub, CPU time a query, saturated",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.5, NULL),
    method: "8 sockets with 8 queries outstanding each, every name new.",
};
const CPU_10K: Row = Row {
    name: "stub-10k-cpu",
    title: "Stub, CPU time a query at 10,000 queries a second",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.2, NULL),
    method: "From one socket, at fixed times.",
};
const CPU_1K: Row = Row {
    name: "stub-1k-cpu",
    title: "Stub, CPU time a query at 1,000 queries a second",
    ..CPU_10K
};
const P50_1K: Row = Row {
    name: "stub-1k-p50",
    title: "Stub, middle latency at 1,000 queries a second",
    unit: Unit::Microseconds,
    goal: Goal::AtMostTimes(1.0, NULL),
    method: "From the time when a query was due to its answer; the same slices.",
};
const FAILED_10K: Row = Row {
    name: "stub-10k-failed",
    title: "Stub, queries lost or answered with a failure at 10,000 queries a second",
    unit: Unit::Count,
    goal: Goal::AtMost(0.0),
    method: "In a slice; lost is what has no answer after two seconds. The same slices.",
};
const MEMORY: Row = Row {
    name: "stub-memory",
    title: "Stub, memory after the load",
    unit: Unit::Octets,
    goal: Goal::AtMost(8e6),
    method: "Resident memory after all slices.",
};

const CELLS: &[Cell] = &[
    Cell {
        transport: Transport::Udp,
        shape: Shape::Closed(8, 8),
        rows: &[(&SATURATED, Reading::Cpu)],
    },
    Cell {
        transport: Transport::Udp,
        shape: Shape::Paced(1, 1000),
        rows: &[(&CPU_1K, Reading::Cpu), (&P50_1K, Reading::Middle)],
    },
    Cell {
        transport: Transport::Udp,
        shape: Shape::Paced(1, 10_000),
        rows: &[(&CPU_10K, Reading::Cpu), (&FAILED_10K, Reading::Failed)],
    },
];

fn measure(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    let material = Material::make(&plan.folder)?;
    let unused = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let upstream = Peer::known("null-upstream", null_server).start_here(
        plan,
        &material,
        unused,
        Role::Server,
    )?;
    let running = peers::start_all(
        plan,
        &peers::stubs(plan),
        &material,
        upstream.dot,
        Role::Stub,
    )?;
    let started: Vec<u64> = running
        .iter()
        .map(|program| resident_octets(program.process.id()))
        .collect();
    // Every slice has names of its own.
    let mut tag = 0;
    for round in 0..plan.rounds {
        plan.tell(&format!("stub, round {} of {}", round + 1, plan.rounds));
        for program in plan.in_turn(round, &running) {
            for cell in CELLS {
                tag += 1;
                let questions = Questions::fresh(tag);
                cell.sample(plan, round, program, &questions, record);
                if plan.wants_row(MEMORY.name) && !cell.is_wanted(plan) {
                    // The load is wanted all the same.
                    let all = Plan {
                        rows: Vec::new(),
                        ..plan.clone()
                    };
                    cell.sample(&all, round, program, &questions, &mut drop);
                }
            }
        }
    }
    if plan.wants_row(MEMORY.name) {
        for (program, start) in running.iter().zip(started) {
            let octets = resident_octets(program.process.id());
            record(
                Sample::new(&MEMORY, &program.name, 0, octets as f64)
                    .with("start_octets", start as f64),
            );
        }
    }
    Ok(())
}
