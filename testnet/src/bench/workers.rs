//! What a second worker is worth.

use super::{
    Failure, Goal, Group, OURS, Plan, Row, Sample, Unit,
    cells::span,
    load::{self, KeyExchange, Questions, Transport},
    peers::{self, Material, Peer, Role, Running},
    server::fill,
    usage::thread_times,
};

/// The row of the workers.
pub(super) const GROUP: Group = Group {
    name: "workers",
    rows: &[TWO],
    measure,
};

const TWO: Row = Row {
    name: "two-workers",
    title: "Two workers against one, DoT cached",
    unit: Unit::Times,
    goal: Goal::AtLeast(1.8),
    method: "Answers for each CPU second of the server with two workers on two processors, times two, over the same with one worker on one; \
             100 connections with 10 queries outstanding each. On a machine with two processors the load generator needs some of them \
             too, so that the answers a second of two workers cannot be seen directly; what contention between the workers costs can. \
             That they change places with the load generator counts against us, and that a batch grows while it waits for a processor counts for us.",
};

/// A worker with less of the work than this means that the load was not spread.
const LEAST_SHARE: f64 = 20.0;
const CONNECTIONS: usize = 100;
const WINDOW: usize = 10;

fn measure(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    if plan.cpus.tested == plan.cpus.rest {
        plan.tell("there is one processor only: no second worker");
        return Ok(());
    }
    let material = Material::make(&plan.folder)?;
    let authority = peers::authority(plan, &material)?;
    let questions = Questions::known();
    let ours: Vec<Peer> = peers::servers(plan)
        .into_iter()
        .filter(|peer| peer.name == OURS)
        .collect();
    for peer in ours {
        let one = peer.start(plan, &material, authority.udp, Role::Server)?;
        let two = plan
            .cpus
            .on_both(|| peer.start_here(plan, &material, authority.udp, Role::Server))??;
        for server in [&one, &two] {
            fill(server, &questions)?;
        }
        for round in 0..plan.rounds {
            plan.tell(&format!("workers, round {} of {}", round + 1, plan.rounds));
            let mut slices = [None, None];
            for place in plan.in_turn(round, &[0, 1]) {
                let server = [&one, &two][*place];
                slices[*place] = Some(slice(plan, server, *place == 1, &questions)?);
            }
            if let [Some(one), Some(two)] = slices {
                record(sample(round, &one, &two));
            }
        }
    }
    Ok(())
}

struct Slice {
    cpu_us: f64,
    per_second: f64,
    /// Of the CPU time of the two busiest threads, in percent.
    smaller_share: f64,
    faults: Vec<String>,
}

fn slice(
    plan: &Plan,
    server: &Running,
    spread: bool,
    questions: &Questions,
) -> Result<Slice, Failure> {
    let target = server.target(Transport::Tls, questions, KeyExchange::X25519, false)?;
    let before = thread_times(server.process.id());
    let load = || load::closed(&target, CONNECTIONS, WINDOW, span(plan));
    // Nobody is kept from the processor that happens to be free.
    let report = if spread {
        plan.cpus.on_both(load)??
    } else {
        load()?
    };
    let mut times: Vec<f64> = thread_times(server.process.id())
        .into_iter()
        .map(|(thread, time)| {
            let before = before.get(&thread).copied().unwrap_or_default();
            time.saturating_sub(before).as_secs_f64()
        })
        .collect();
    times.sort_by(|a, b| b.total_cmp(a));
    let second = times.get(1).copied().unwrap_or_default();
    let busiest = times.first().copied().unwrap_or_default();
    Ok(Slice {
        cpu_us: report.cpu_us_each(),
        per_second: report.per_second(),
        smaller_share: if busiest > 0.0 {
            100.0 * second / (second + busiest)
        } else {
            0.0
        },
        faults: report.tally.faults(),
    })
}

fn sample(round: u32, one: &Slice, two: &Slice) -> Sample {
    let mut sample = Sample::new(&TWO, OURS, round, 2.0 * one.cpu_us / two.cpu_us)
        .with("one_cpu_us", one.cpu_us)
        .with("two_cpu_us", two.cpu_us)
        .with("one_per_second", one.per_second)
        .with("two_per_second", two.per_second)
        .with("smaller_share_percent", two.smaller_share);
    sample.faults = [&one.faults[..], &two.faults[..]].concat();
    if two.smaller_share < LEAST_SHARE {
        sample = sample.faulty(format!(
            "one of two workers did {:.0} % of the work",
            two.smaller_share
        ));
    }
    sample
}
