//! The programs under test, ours and others', each with the configuration that makes it do the same work.
//!
//! A server takes DNS over UDP, TCP and TLS, one thread, forwards to NSD over UDP, and has a cache that holds all names. A stub takes
//! DNS over UDP, one thread, and asks the floor over TLS, with its certificate checked and no cache. None validates.

mod material;
mod servers;
mod stubs;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    Failure, NULL, OURS, Plan,
    load::{KeyExchange, Questions, Target, Transport, Truth, client_config},
};
use crate::{
    process::{POLL, Process},
    programs,
};

pub(crate) use material::Material;
pub(crate) use servers::{null_server, servers};
pub(crate) use stubs::stubs;

/// How long a program may take until it answers, on a busy machine.
const READY: Duration = Duration::from_secs(20);
/// How long one probe waits.
const PROBE: Duration = Duration::from_millis(250);
/// Below the ports that the kernel gives to whoever asks for none.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// A second copy of the floor; what it costs more or less is noise.
pub(crate) const NULL_AGAIN: &str = "null-again";

/// How a program is started.
#[derive(Clone)]
pub(crate) struct Peer {
    /// As `--programs` and the table have it.
    pub(crate) name: String,
    /// How to write its configuration, and what to run.
    pub(crate) command: Recipe,
}

/// Writes the configuration, and says what is to be run.
type Configure = fn(&Place<'_>) -> Result<Command, Failure>;

/// A command for a program that is to serve at a place.
#[derive(Clone)]
pub(crate) enum Recipe {
    /// One that we know.
    Known(Configure),
    /// One of ours, from another folder.
    Build(fn(&Place<'_>, &Path) -> Result<Command, Failure>, PathBuf),
    /// One that the user knows, with `{udp}`, `{dot}`, `{upstream}`, `{certificate}`, `{key}`, `{authority}` and `{folder}` to be
    /// filled in.
    Told(String),
}

/// Where a program is to serve, and with what.
pub(crate) struct Place<'a> {
    /// Its own.
    pub(crate) folder: PathBuf,
    pub(crate) udp: SocketAddr,
    pub(crate) dot: SocketAddr,
    pub(crate) upstream: SocketAddr,
    pub(crate) material: &'a Material,
    pub(crate) role: Role,
}

/// What a program is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A server as usual.
    Server,
    /// A server to which ten thousand connections will come, and no datagram.
    CrowdedServer,
    /// A stub: it has no port for DNS over TLS.
    Stub,
}

/// A program that answers.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) process: Process,
    pub(crate) udp: SocketAddr,
    pub(crate) dot: SocketAddr,
    truth: Truth,
}

impl Peer {
    pub(super) fn known(name: &str, command: Configure) -> Self {
        Self {
            name: name.to_owned(),
            command: Recipe::Known(command),
        }
    }

    /// Another build of ours, from its folder.
    pub(super) fn build(
        name: String,
        folder: &Path,
        command: fn(&Place<'_>, &Path) -> Result<Command, Failure>,
    ) -> Self {
        Self {
            name,
            command: Recipe::Build(command, folder.to_owned()),
        }
    }

    /// Those that are `known` by name and program and are wanted and installed, then those that the user `told`.
    pub(super) fn others<'a>(
        plan: &'a Plan,
        known: &'a [(&str, &str, Configure)],
        told: &'a [(String, String)],
    ) -> impl Iterator<Item = Self> + 'a {
        let known = known.iter().filter(|(name, program, _)| {
            plan.wants_program(name) && programs::find(program).is_ok()
        });
        known
            .map(|(name, _, command)| Self::known(name, *command))
            .chain(told.iter().map(|(name, command)| Self {
                name: name.clone(),
                command: Recipe::Told(command.clone()),
            }))
    }

    /// Writes its configuration for a place; started, this serves there.
    pub(crate) fn command(&self, place: &Place<'_>) -> Result<Command, Failure> {
        match &self.command {
            Recipe::Known(command) => command(place),
            Recipe::Build(command, folder) => command(place, folder),
            Recipe::Told(text) => told(text, place),
        }
    }

    /// Starts it on the processor of the programs under test, and waits for right answers.
    pub(crate) fn start(
        &self,
        plan: &Plan,
        material: &Material,
        upstream: SocketAddr,
        role: Role,
    ) -> Result<Running, Failure> {
        plan.cpus
            .on_tested(|| self.start_here(plan, material, upstream, role))?
    }

    /// Starts it where this thread is.
    pub(crate) fn start_here(
        &self,
        plan: &Plan,
        material: &Material,
        upstream: SocketAddr,
        role: Role,
    ) -> Result<Running, Failure> {
        let folder = fresh_folder(&plan.folder, &self.name)?;
        let place = Place {
            udp: free_address()?,
            dot: free_address()?,
            folder,
            upstream,
            material,
            role,
        };
        let process = Process::start(&self.name, self.command(&place)?, place.folder.join("log"))?;
        let mut running = Running {
            name: self.name.clone(),
            process,
            udp: place.udp,
            dot: place.dot,
            truth: if is_floor(&self.name) {
                Truth::Constant
            } else {
                Truth::Zone
            },
        };
        running.wait_until_ready(role)?;
        Ok(running)
    }
}

impl Running {
    /// It is asked over this, in the usual way.
    pub(crate) fn target(
        &self,
        transport: Transport,
        questions: &Questions,
        key_exchange: KeyExchange,
        resume: bool,
    ) -> Result<Target, Failure> {
        Ok(Target {
            address: if transport == Transport::Tls {
                self.dot
            } else {
                self.udp
            },
            transport,
            questions: questions.clone(),
            truth: self.truth,
            tls: client_config(key_exchange, resume)?,
            server_name: material::server_name(),
            process: self.process.id(),
        })
    }

    /// Waits for a right answer over UDP, unless nobody will ask there, and then for somebody at the port of DNS over TLS.
    fn wait_until_ready(&mut self, role: Role) -> Result<(), Failure> {
        let deadline = Instant::now() + READY;
        let late = |what: &str, output: &str| {
            Failure::new(format!(
                "no {what} within {READY:?}; it said:\n{}",
                crate::process::tail(output)
            ))
        };
        if role != Role::CrowdedServer {
            let mut questions = match role {
                // Of a list that nobody measures with.
                Role::Stub => Questions::fresh(u32::MAX),
                Role::Server | Role::CrowdedServer => Questions::known(),
            };
            while !self.probe(&mut questions)? {
                self.process.check_running("an answer")?;
                if Instant::now() > deadline {
                    return Err(late("right answer", &self.process.output()));
                }
            }
        }
        while role != Role::Stub && TcpStream::connect_timeout(&self.dot, PROBE).is_err() {
            self.process.check_running("a connection")?;
            if Instant::now() > deadline {
                return Err(late("connection", &self.process.output()));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Asks once over UDP: is the answer right?
    fn probe(&self, questions: &mut Questions) -> Result<bool, Failure> {
        let mut query = Vec::new();
        let number = questions.append(0x1234, &mut query);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.udp)?;
        socket.set_read_timeout(Some(PROBE))?;
        let mut answer = [0; 2048];
        let length = match socket.send(&query).and_then(|_| socket.recv(&mut answer)) {
            Ok(length) => length,
            Err(_) => {
                thread::sleep(POLL);
                return Ok(false);
            }
        };
        let right = questions.check(number, &answer[..length], self.truth);
        if right.is_err() {
            thread::sleep(POLL);
        }
        Ok(right.is_ok())
    }
}

/// Is this program the floor, or like it?
pub(crate) fn is_floor(name: &str) -> bool {
    name.starts_with(NULL)
}

/// Starts everybody; who does not start is told, and left out, unless it is ours or the floor.
pub(crate) fn start_all(
    plan: &Plan,
    peers: &[Peer],
    material: &Material,
    upstream: SocketAddr,
    role: Role,
) -> Result<Vec<Running>, Failure> {
    let mut running = Vec::new();
    for peer in peers {
        match peer.start(plan, material, upstream, role) {
            Ok(program) => running.push(program),
            Err(failure) if plan.smoke || [OURS, NULL].contains(&peer.name.as_str()) => {
                return Err(Failure::new(format!("{}: {failure}", peer.name)));
            }
            Err(failure) => eprintln!("{} is left out: {failure}", peer.name),
        }
    }
    Ok(running)
}

/// NSD with the zone of all questions, beside the load generator.
pub(crate) fn authority(plan: &Plan, material: &Material) -> Result<Running, Failure> {
    let folder = fresh_folder(&plan.folder, "nsd")?;
    let udp = free_address()?;
    let config = format!(
        "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: \"\"\n  zonelistfile: \"{folder}/zone.list\"\n  \
         xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  server-count: 1\n  rrl-ratelimit: 0\n  ip-address: {}@{}\n\
         remote-control:\n  control-enable: no\nzone:\n  name: \"{}\"\n  zonefile: \"{}\"\n",
        udp.ip(),
        udp.port(),
        super::load::ZONE,
        material.zone.display(),
        folder = folder.display(),
    );
    let file = write(&folder, "nsd.conf", &config)?;
    let mut command = Command::new(programs::find("nsd")?);
    command.args(["-d", "-c"]).arg(file);
    let process = Process::start("nsd", command, folder.join("log"))?;
    let mut running = Running {
        name: "nsd".into(),
        process,
        udp,
        dot: udp,
        truth: Truth::Zone,
    };
    running.wait_until_ready(Role::Server)?;
    Ok(running)
}

fn told(text: &str, place: &Place<'_>) -> Result<Command, Failure> {
    let mut words = text.split_whitespace().map(|word| {
        [
            ("{udp}", place.udp.to_string()),
            ("{dot}", place.dot.to_string()),
            ("{upstream}", place.upstream.to_string()),
            ("{certificate}", path(&place.material.certificate)),
            ("{key}", path(&place.material.key)),
            ("{authority}", path(&place.material.authority)),
            ("{folder}", path(&place.folder)),
        ]
        .iter()
        .fold(word.to_owned(), |word, (field, value)| {
            word.replace(field, value)
        })
    });
    let mut command = Command::new(words.next().ok_or_else(|| Failure::new("no command"))?);
    command.args(words).current_dir(&place.folder);
    Ok(command)
}

pub(super) fn path(path: &Path) -> String {
    path.display().to_string()
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let file = folder.join(name);
    fs::write(&file, text)?;
    Ok(file)
}

/// A folder that nobody used before.
pub(crate) fn fresh_folder(parent: &Path, name: &str) -> Result<PathBuf, Failure> {
    for number in 0.. {
        let folder = parent.join(format!("{name}-{number}"));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => {
                created?;
                return Ok(folder);
            }
        }
    }
    Err(Failure::new("no free folder"))
}

/// An address of the loopback at whose port nobody is, neither over UDP nor over TCP.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(PORTS.start);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if !PORTS.contains(&port) {
            return Err(Failure::new("no free port"));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}
