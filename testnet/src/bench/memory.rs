//! What the servers keep in memory.

use std::time::Duration;

use super::{
    Failure, Goal, Group, OURS, Plan, Row, Sample, Unit,
    load::{Held, KeyExchange, Questions, Transport},
    peers::{self, Material, Peer, Role, Running},
    server::fill,
    usage::resident_octets,
};

/// The rows of memory.
pub(super) const GROUP: Group = Group {
    name: "memory",
    rows: ROWS,
    measure,
};

const ROWS: &[Row] = &[IDLE_1000, IDLE_10000, START, NAMES];

const IDLE_1000: Row = Row {
    name: "memory-1000-idle",
    title: "Memory a connection, 1,000 idle DoT connections",
    unit: Unit::Octets,
    goal: Goal::None,
    method: "Resident memory with the connections less that without any, shared out. Each has asked one question.",
};
const IDLE_10000: Row = Row {
    name: "memory-10000-idle",
    title: "Memory a connection, 10,000 idle DoT connections",
    goal: Goal::AtMost(7.0 * 1024.0),
    ..IDLE_1000
};
const START: Row = Row {
    name: "memory-start",
    title: "Memory after the start",
    unit: Unit::Octets,
    goal: Goal::AtMost(10e6),
    method: "Resident memory of a server that has answered one question.",
};
const NAMES: Row = Row {
    name: "memory-names",
    title: "Memory with 10,000 names cached",
    goal: Goal::AtMost(16e6),
    method: "Resident memory of the same server after every name was asked once.",
    ..START
};

/// A time in which memory that is given back is given back.
const SETTLED: Duration = Duration::from_secs(2);
/// What is measured by time elsewhere is measured by state here: more rounds would tell the same.
const ROUNDS: u32 = 2;

fn measure(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    let material = Material::make(&plan.folder)?;
    let authority = peers::authority(plan, &material)?;
    let peers: Vec<Peer> = peers::servers(plan)
        .into_iter()
        .filter(|peer| peer.name != peers::NULL_AGAIN)
        .collect();
    let questions = Questions::known();
    for round in 0..plan.rounds.min(ROUNDS) {
        for peer in plan.in_turn(round, &peers) {
            let wants = |rows: &[Row]| rows.iter().any(|row| plan.wants_row(row.name));
            let start = |role| peer.start(plan, &material, authority.udp, role);
            let mut outcome = Ok(());
            if wants(&[START, NAMES]) {
                plan.tell(&format!("memory of {}", peer.name));
                outcome = start(Role::Server)
                    .and_then(|server| names(plan, round, &server, &questions, record));
            }
            if outcome.is_ok() && wants(&[IDLE_1000, IDLE_10000]) {
                plan.tell(&format!("memory of {} with idle connections", peer.name));
                outcome = start(Role::CrowdedServer)
                    .and_then(|server| idle(plan, round, &server, &questions, record));
            }
            match outcome {
                Err(failure) if plan.smoke || peer.name == OURS => return Err(failure),
                Err(failure) => eprintln!("{} is left out: {failure}", peer.name),
                Ok(()) => {}
            }
        }
    }
    Ok(())
}

fn names(
    plan: &Plan,
    round: u32,
    server: &Running,
    questions: &Questions,
    record: &mut dyn FnMut(Sample),
) -> Result<(), Failure> {
    let start = resident_octets(server.process.id());
    fill(server, questions)?;
    let full = resident_octets(server.process.id());
    for (row, octets) in [(&START, start), (&NAMES, full)] {
        if plan.wants_row(row.name) {
            record(Sample::new(row, &server.name, round, octets as f64));
        }
    }
    Ok(())
}

fn idle(
    plan: &Plan,
    round: u32,
    server: &Running,
    questions: &Questions,
    record: &mut dyn FnMut(Sample),
) -> Result<(), Failure> {
    let target = server.target(Transport::Tls, questions, KeyExchange::X25519, false)?;
    let before = resident_octets(server.process.id());
    let mut held = Held::new(&target)?;
    for (row, connections) in [(&IDLE_1000, 1000), (&IDLE_10000, 10_000)] {
        if !plan.wants_row(row.name) {
            continue;
        }
        // Whether it works shows with fewer.
        let connections = if plan.smoke {
            connections / 50
        } else {
            connections
        };
        held.grow_to(connections)?;
        held.hold(if plan.smoke { Duration::ZERO } else { SETTLED })?;
        let octets = resident_octets(server.process.id());
        let alive = held.alive();
        let each = octets.saturating_sub(before) as f64 / alive.max(1) as f64;
        let mut sample = Sample::new(row, &server.name, round, each)
            .with("resident_octets", octets as f64)
            .with("open_connections", alive as f64);
        sample.faults = held.faults();
        if alive < connections {
            sample = sample.faulty(format!(
                "{} connections that did not stay open",
                connections - alive
            ));
        }
        record(sample);
    }
    Ok(())
}
