//! The first answer of a client: at a first meeting, and at the next visit.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    Failure, Goal, Group, OURS, Plan, Row, Sample, Unit,
    arrival::arrive,
    distance::Distance,
    load::ZONE,
    peers::{self, Material, Peer, Place, Role, fresh_folder, null_server},
    usage::resident_octets,
};
use crate::{
    process::{POLL, Process},
    products::{self, Appliance},
    servers,
};

/// The rows of visits.
pub(super) const GROUP: Group = Group {
    name: "visit",
    rows: ROWS,
    measure,
};

const ROWS: &[Row] = &[
    FIRST_0,
    FIRST_5,
    FIRST_50,
    FIRST_TRIPS,
    NEXT_0,
    NEXT_5,
    NEXT_50,
    NEXT_TRIPS,
    MEMORY,
];

const FIRST_0: Row = Row {
    name: "visit-first-0ms",
    title: "First answer at a first meeting, no path delay",
    unit: Unit::Milliseconds,
    goal: Goal::None,
    method: "From the start of the client to its first right answer. zzdot finds out who the server is; the others, and \
             zzdot-configured, have been told, and connect by TLS. On a line that holds every packet back by half of the round trip.",
};
const FIRST_5: Row = Row {
    name: "visit-first-5ms",
    title: "First answer at a first meeting, round trip of 5 ms",
    ..FIRST_0
};
const FIRST_50: Row = Row {
    name: "visit-first-50ms",
    title: "First answer at a first meeting, round trip of 50 ms",
    ..FIRST_0
};
const FIRST_TRIPS: Row = Row {
    name: "visit-first-trips",
    title: "Round trips to the first answer at a first meeting",
    unit: Unit::Count,
    goal: Goal::AtMost(4.5),
    method: "How much later the first answer comes for each millisecond that the round trip takes longer, between 5 and 50. A whole one more would show.",
};
const NEXT_0: Row = Row {
    name: "visit-next-0ms",
    title: "First answer at the next visit, no path delay",
    method: "The same when zzdot starts again, and remembers whom it met.",
    ..FIRST_0
};
const NEXT_5: Row = Row {
    name: "visit-next-5ms",
    title: "First answer at the next visit, round trip of 5 ms",
    ..NEXT_0
};
const NEXT_50: Row = Row {
    name: "visit-next-50ms",
    title: "First answer at the next visit, round trip of 50 ms",
    ..NEXT_0
};
const NEXT_TRIPS: Row = Row {
    name: "visit-next-trips",
    title: "Round trips to the first answer at the next visit",
    goal: Goal::AtMost(3.5),
    ..FIRST_TRIPS
};
const MEMORY: Row = Row {
    name: "visit-memory",
    title: "Memory of a client after its first answer",
    unit: Unit::Octets,
    goal: Goal::AtMost(8e6),
    method: "Resident memory. zzdot has met the server, and holds its store of identities open.",
};

/// Round trips of the line, and the rows for them: at a first meeting, at the next visit.
const LINES: [(u32, [&Row; 2]); 3] = [
    (0, [&FIRST_0, &NEXT_0]),
    (5, [&FIRST_5, &NEXT_5]),
    (50, [&FIRST_50, &NEXT_50]),
];
/// More would tell the same: what the machine adds is far below a round trip of the longer lines.
const ROUNDS: u32 = 5;
/// Ours, told whom to expect as its peers are.
const CONFIGURED: &str = "zzdot-configured";
/// Where every client listens, one at a time.
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);
/// The name server behind the appliance, beside it.
const UPSTREAM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5301);
const FLOOR_DNS: u16 = 5302;
const FLOOR_DOT: u16 = 5853;
const READY: Duration = Duration::from_secs(20);

/// Everything that stands while the clients come and go.
struct Stage<'a> {
    plan: &'a Plan,
    material: Material,
    distance: Distance,
    /// For those who have been told: the floor, over TLS.
    floor: SocketAddr,
    _servers: [Process; 3],
}

/// Who visits.
enum Client {
    /// Ours, which finds out who the server is, and remembers.
    Discovering,
    /// Whoever has been told.
    Told(Peer),
}

/// How soon a program was there, and what it held then.
#[derive(Clone, Copy)]
struct Visit {
    milliseconds: f64,
    failures: u32,
    octets: u64,
}

fn measure(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    let stage = Stage::set(plan)?;
    let clients: Vec<Client> = std::iter::once(Client::Discovering)
        .chain(
            peers::stubs(plan)
                .into_iter()
                .filter(|peer| peer.name != peers::NULL_AGAIN)
                .map(Client::Told),
        )
        .collect();
    for round in 0..plan.rounds.min(ROUNDS) {
        plan.tell(&format!("visits, round {}", round + 1));
        for client in plan.in_turn(round, &clients) {
            let visits: Result<Vec<_>, _> = LINES
                .iter()
                .map(|(round_trip_ms, _)| {
                    let round_trip = Duration::from_millis((*round_trip_ms).into());
                    stage.distance.set_round_trip(round_trip);
                    stage.visits(client)
                })
                .collect();
            match visits {
                Ok(visits) => samples(client.name(), round, &visits)
                    .filter(|sample| plan.wants_row(&sample.row))
                    .for_each(&mut *record),
                Err(failure) if plan.smoke || client.is_ours() => {
                    return Err(Failure::new(format!("{}: {failure}", client.name())));
                }
                Err(failure) => eprintln!("{} is left out: {failure}", client.name()),
            }
        }
    }
    Ok(())
}

/// What the visits over each of [`LINES`] say, the first meeting and the next visit of each.
fn samples(name: &str, round: u32, visits: &[[Visit; 2]]) -> impl Iterator<Item = Sample> + use<> {
    let mut samples = Vec::new();
    for ((_, rows), visits) in LINES.iter().zip(visits) {
        for (row, visit) in rows.iter().zip(visits) {
            let mut sample = Sample::new(row, name, round, visit.milliseconds);
            if visit.failures > 0 {
                sample = sample.with("failures_before", visit.failures.into());
            }
            samples.push(sample);
        }
    }
    if let [nearest, short, long] = visits {
        let longer = f64::from(LINES[2].0 - LINES[1].0);
        for (kind, row) in [&FIRST_TRIPS, &NEXT_TRIPS].into_iter().enumerate() {
            let later = long[kind].milliseconds - short[kind].milliseconds;
            samples.push(Sample::new(row, name, round, later / longer));
        }
        samples.push(Sample::new(&MEMORY, name, round, nearest[0].octets as f64));
    }
    samples.into_iter()
}

impl Client {
    fn name(&self) -> &str {
        match self {
            Self::Discovering => OURS,
            Self::Told(peer) if peer.name == OURS => CONFIGURED,
            Self::Told(peer) => &peer.name,
        }
    }

    fn is_ours(&self) -> bool {
        [OURS, CONFIGURED].contains(&self.name())
    }
}

impl<'a> Stage<'a> {
    fn set(plan: &'a Plan) -> Result<Self, Failure> {
        let material = Material::make(&plan.folder)?;
        let distance = Distance::new(&plan.folder.join("visit"))?;
        let far = &distance.far;
        let zone = (ZONE.to_owned(), material.zone.clone());
        let listen = format!("{}@{}", UPSTREAM.ip(), UPSTREAM.port());
        let authority = servers::nsd(far, &[&listen], std::iter::once(zone))?;
        let appliance = Appliance {
            host: far,
            label: "zzdot",
            dns: &[SocketAddr::new(Distance::server(), 53)],
            dot: &[SocketAddr::new(Distance::server(), 853)],
            resolve: &format!("mode = \"forward\"\nupstreams = [\"{UPSTREAM}\"]"),
        }
        .start()?;
        let place = Place {
            folder: far.folder().to_owned(),
            udp: SocketAddr::new(Distance::server(), FLOOR_DNS),
            dot: SocketAddr::new(Distance::server(), FLOOR_DOT),
            upstream: UPSTREAM,
            material: &material,
            role: Role::Server,
        };
        let command = null_server(&place)?;
        let log = far.folder().join("floor.log");
        let mut floor = far.within(|| Process::start("the floor", command, log))?;
        wait_for(&distance, &mut floor, place.dot)?;
        Ok(Self {
            plan,
            floor: place.dot,
            _servers: [authority, appliance, floor],
            material,
            distance,
        })
    }

    /// At a first meeting, and the next time; for who has been told there is no difference.
    fn visits(&self, client: &Client) -> Result<[Visit; 2], Failure> {
        match client {
            Client::Discovering => {
                let config = format!(
                    "listen = [\"{CLIENT}\"]\nserver = \"{}\"\nstate-dir = \"state\"\n",
                    Distance::server()
                );
                let folder = fresh_folder(self.distance.near.folder(), OURS)?;
                let config = peers::write(&folder, "zzdot-client.toml", &config)?;
                let visit = || {
                    let mut command = Command::new(products::find("zzdot-client")?);
                    command.args(["run", "--config"]).arg(&config);
                    command.current_dir(&folder);
                    self.visit(OURS, command, &folder)
                };
                Ok([visit()?, visit()?])
            }
            Client::Told(peer) => {
                let place = Place {
                    folder: fresh_folder(self.distance.near.folder(), &peer.name)?,
                    udp: CLIENT,
                    dot: CLIENT,
                    upstream: self.floor,
                    material: &self.material,
                    role: Role::Stub,
                };
                let visit = self.visit(client.name(), peer.command(&place)?, &place.folder)?;
                Ok([visit; 2])
            }
        }
    }

    fn visit(&self, name: &str, command: Command, folder: &Path) -> Result<Visit, Failure> {
        let log = folder.join("log");
        let arrival = self.plan.cpus.on_tested(|| {
            let near = &self.distance.near;
            near.within(|| arrive(name, command, &log, CLIENT))
        })??;
        let visit = Visit {
            milliseconds: arrival.after.as_secs_f64() * 1e3,
            failures: arrival.failures,
            octets: resident_octets(arrival.process.id()),
        };
        // Whether it ends politely is not asked here; the port must be free for the next one.
        let _ = arrival.process.end();
        Ok(visit)
    }
}

fn wait_for(
    distance: &Distance,
    process: &mut Process,
    address: SocketAddr,
) -> Result<(), Failure> {
    let deadline = Instant::now() + READY;
    distance.near.within(|| {
        while let Err(error) = TcpStream::connect_timeout(&address, READY) {
            process.check_running("a connection")?;
            if Instant::now() > deadline {
                return Err(error.into());
            }
            thread::sleep(POLL);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_the_slope_and_not_the_height() {
        let visit = |milliseconds| Visit {
            milliseconds,
            failures: 0,
            octets: 0,
        };
        // 7 ms of its own; four round trips at first, three the next time.
        let visits = [0.0, 5.0, 50.0]
            .map(|round_trip| [visit(7.0 + 4.0 * round_trip), visit(7.0 + 3.0 * round_trip)]);
        let trips = |row: &Row| {
            samples("x", 0, &visits)
                .find(|sample| sample.row == row.name)
                .map(|sample| sample.value)
        };
        assert_eq!(trips(&FIRST_TRIPS), Some(4.0));
        assert_eq!(trips(&NEXT_TRIPS), Some(3.0));
    }
}
