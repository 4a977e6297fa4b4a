//! What the programs take of a small machine: octets of code, and time until they serve.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use super::{
    Failure, Goal, Group, OURS, Plan, Row, Sample, Unit,
    arrival::arrive,
    peers::{self, Material, Peer, Place, Role, free_address, fresh_folder, null_server},
};
use crate::products;

/// The rows of size.
pub(super) const GROUP: Group = Group {
    name: "size",
    rows: ROWS,
    measure,
};

const ROWS: &[Row] = &[
    SERVER_CODE,
    CLIENT_CODE,
    BINARY,
    CLIENT_BINARY,
    ZONEGEN_BINARY,
    START_NEW,
    START,
];

const SERVER_CODE: Row = Row {
    name: "size-server",
    title: "Code of a running server",
    unit: Unit::Octets,
    goal: Goal::None,
    method: "The files that it has mapped to be executed, in full: the program, and its shared libraries with that of C.",
};
const CLIENT_CODE: Row = Row {
    name: "size-stub",
    title: "Code of a running stub",
    ..SERVER_CODE
};
const BINARY: Row = Row {
    name: "size-zzdot",
    title: "Size of zzdot",
    unit: Unit::Octets,
    goal: Goal::None,
    method: "The file that is installed, as this machine's release build makes it.",
};
const CLIENT_BINARY: Row = Row {
    name: "size-zzdot-client",
    title: "Size of zzdot-client",
    ..BINARY
};
const ZONEGEN_BINARY: Row = Row {
    name: "size-zzdot-zonegen",
    title: "Size of zzdot-zonegen",
    ..BINARY
};
const START_NEW: Row = Row {
    name: "start-new",
    title: "From nothing to the first answer",
    unit: Unit::Milliseconds,
    goal: Goal::None,
    method: "From the start of a server in an empty folder to its first right answer over UDP, which a name server beside it gives. \
             zzdot makes its identity and signs its zones meanwhile.",
};
const START: Row = Row {
    name: "start-again",
    title: "From a restart to the first answer",
    method: "The same in the folder that the first start left behind.",
    ..START_NEW
};

/// A start is short, and the machine is not quiet.
const ROUNDS: u32 = 9;

fn measure(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    for (row, product) in [
        (&BINARY, "zzdot"),
        (&CLIENT_BINARY, "zzdot-client"),
        (&ZONEGEN_BINARY, "zzdot-zonegen"),
    ] {
        if plan.wants_row(row.name) {
            let octets = fs::metadata(products::find(product)?)?.len();
            record(Sample::new(row, OURS, 0, octets as f64));
        }
    }
    let wanted = |rows: &[Row]| rows.iter().any(|row| plan.wants_row(row.name));
    let material = Material::make(&plan.folder)?;
    let mut record = |row: &Row, peer: &Peer, round, value| {
        if plan.wants_row(row.name) {
            record(Sample::new(row, &peer.name, round, value));
        }
    };
    if wanted(&[SERVER_CODE, START_NEW, START]) {
        let authority = peers::authority(plan, &material)?;
        let servers = but_the_floor(peers::servers(plan));
        for round in 0..plan.rounds.min(ROUNDS) {
            plan.tell(&format!("starts, round {}", round + 1));
            for peer in plan.in_turn(round, &servers) {
                let starts = start_twice(plan, peer, &material, authority.udp, Role::Server);
                if let Some([new, again]) = unless_left_out(plan, peer, starts)? {
                    record(&START_NEW, peer, round, new.milliseconds);
                    record(&START, peer, round, again.milliseconds);
                    if round == 0 {
                        record(&SERVER_CODE, peer, round, again.code_octets as f64);
                    }
                }
            }
        }
    }
    if wanted(&[CLIENT_CODE]) {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let floor = Peer::known("null-upstream", null_server).start_here(
            plan,
            &material,
            nobody,
            Role::Server,
        )?;
        for peer in &but_the_floor(peers::stubs(plan)) {
            let starts = start_twice(plan, peer, &material, floor.dot, Role::Stub);
            if let Some([_, again]) = unless_left_out(plan, peer, starts)? {
                record(&CLIENT_CODE, peer, 0, again.code_octets as f64);
            }
        }
    }
    Ok(())
}

/// One start of a program.
struct Start {
    milliseconds: f64,
    code_octets: u64,
}

/// In an empty folder, and in what was left there.
fn start_twice(
    plan: &Plan,
    peer: &Peer,
    material: &Material,
    upstream: SocketAddr,
    role: Role,
) -> Result<[Start; 2], Failure> {
    let place = Place {
        folder: fresh_folder(&plan.folder, &peer.name)?,
        udp: free_address()?,
        dot: free_address()?,
        upstream,
        material,
        role,
    };
    Ok([start(plan, peer, &place)?, start(plan, peer, &place)?])
}

fn start(plan: &Plan, peer: &Peer, place: &Place<'_>) -> Result<Start, Failure> {
    let command = peer.command(place)?;
    let log = place.folder.join("log");
    let arrival = plan
        .cpus
        .on_tested(|| arrive(&peer.name, command, &log, place.udp))??;
    let code_octets = code_octets(arrival.process.id())?;
    // How it ends is not asked here; its ports must be free for the next one.
    let _ = arrival.process.end();
    Ok(Start {
        milliseconds: arrival.after.as_secs_f64() * 1e3,
        code_octets,
    })
}

/// The floor does nothing, and comes in the binary of the whole bench.
fn but_the_floor(mut peers: Vec<Peer>) -> Vec<Peer> {
    peers.retain(|peer| !peers::is_floor(&peer.name));
    peers
}

fn unless_left_out<T>(
    plan: &Plan,
    peer: &Peer,
    outcome: Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(failure) if plan.smoke || peer.name == OURS => {
            Err(Failure::new(format!("{}: {failure}", peer.name)))
        }
        Err(failure) => {
            eprintln!("{} is left out: {failure}", peer.name);
            Ok(None)
        }
    }
}

/// The sizes of all files that a process may execute code of.
fn code_octets(pid: u32) -> Result<u64, Failure> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    executable_files(&maps)
        .into_iter()
        .try_fold(0, |sum, file| {
            let octets =
                fs::metadata(file).map_err(|error| Failure::new(format!("{file}: {error}")))?;
            Ok(sum + octets.len())
        })
}

/// The files in `/proc/PID/maps` that are mapped to be executed, each once.
fn executable_files(maps: &str) -> BTreeSet<&str> {
    maps.lines()
        .filter_map(|line| {
            // Address, permissions, offset, device, inode, and perhaps a path.
            let (permissions, rest) = line.split_once(' ')?.1.split_once(' ')?;
            let path = rest.get(rest.find('/')?..)?;
            permissions.contains('x').then_some(path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_and_only_when_it_is_executed() {
        let maps = "\
            5559a1000-5559a2000 r--p 00000000 fe:00 77   /usr/sbin/unbound\n\
            5559a2000-5559b2000 r-xp 00001000 fe:00 77   /usr/sbin/unbound\n\
            5559c2000-5559d2000 r-xp 00011000 fe:00 77   /usr/sbin/unbound\n\
            7f1000000-7f1001000 r--p 00000000 fe:00 78   /usr/lib/locale/C.utf8/LC_CTYPE\n\
            7f2000000-7f2001000 r-xp 00000000 fe:00 79   /usr/lib/libc.so.6\n\
            7f3000000-7f3001000 rw-p 00000000 00:00 0\n\
            7ffc00000-7ffc01000 r-xp 00000000 00:00 0    [vdso]\n";
        let files: Vec<_> = executable_files(maps).into_iter().collect();
        assert_eq!(files, ["/usr/lib/libc.so.6", "/usr/sbin/unbound"]);
    }
}
