//! Many random schedules of faults on a strict network: links that flap, servers and clients that crash, and an attacker
//! that changes its ways. Whatever the order, not one question of an application may leave in cleartext, or be read.
//!
//! The schedules are drawn from one seed. They are played on several branches at the same time, one after the other on
//! each, so that a client meets the next one in the state in which the last one left it.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, rdata::A},
};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::{clock::UnixTime, identity::Identity};

use super::{
    ALONE, Attack, Branch, Ground, ground::TRUTH, networks::ip, together::all_at_once,
    victim::listen, zones::own_zones,
};
use crate::{
    attacker::{
        Answerer, Dns, Dot, Impostor, Manner,
        answers::{self, LIE},
    },
    hostile::random::Random,
    process::Process,
    story::{Failure, Teller, Told},
};

/// Branches in the lab: as many clients are tormented at the same time.
const BRANCHES: usize = 8;
/// Events of a schedule: at least so many, and fewer than so many more.
const EVENTS: (usize, usize) = (3, 4);
/// The longest that passes between an event and the next.
const LULL_MS: usize = 25;

/// What came of all schedules.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Tally {
    /// What all of it was drawn from.
    pub seed: u64,
    /// Schedules played.
    pub schedules: usize,
    /// Events, by kind.
    pub events: BTreeMap<String, usize>,
    /// Questions that applications asked.
    pub asked: usize,
    /// Of these, how many the genuine resolver answered.
    pub answered: usize,
    /// How many were refused.
    pub refused: usize,
    /// How many were answered with the attacker's address.
    pub believed: usize,
    /// Questions of applications that a capture could read, or the attacker.
    pub read: usize,
    /// Messages to port 53 that are not part of looking for the resolver.
    pub cleartext: usize,
    /// Messages to port 53 by which a client looked for its resolver, having met another key on 853.
    pub walk: usize,
}

/// Stands in for an attack where a branch is made.
const STRICT: Attack = Attack {
    test: "random_schedules",
    promise: "no cleartext with a resolver that is known",
    words: "random schedules of faults",
    ..ALONE
};

/// One tormented client, with a resolver of its own.
struct Torment {
    branch: Branch,
    resolver: Resolver,
    identity: Identity,
    zones: Answerer,
    tally: Tally,
}

/// How the resolver of a branch is started again.
struct Resolver {
    start: Box<dyn Fn() -> Result<Process, Failure> + Send>,
    process: Option<Process>,
}

/// Plays so many schedules. Call inside the box.
///
/// # Errors
/// The lab failed; or a client did not find its resolver again when all was over.
pub fn play_schedules(seed: u64, schedules: usize, folder: &Path) -> Result<Tally, Failure> {
    let teller = Teller::new();
    let mut ground = Ground::build(folder)?;
    let mut torments = (0..BRANCHES)
        .map(|_| Torment::new(&mut ground))
        .collect::<Result<Vec<_>, Failure>>()?;
    teller.tell(format!("{BRANCHES} branches are up, seed {seed}"));
    let random = Random::new(seed);
    let played = all_at_once(torments.iter_mut().enumerate(), |(number, torment)| {
        torment.play(&random, (number..schedules).step_by(BRANCHES))
    });
    played.into_iter().collect::<Told>()?;
    teller.tell("all schedules are played, and every client has found its resolver again");
    let mut tally = Tally {
        seed,
        schedules,
        ..Tally::default()
    };
    for torment in torments {
        tally.add(&torment.tally);
        tally.add(&read_along(&mut ground, &torment.branch)?);
    }
    Ok(tally)
}

impl Tally {
    fn add(&mut self, other: &Self) {
        for (event, count) in &other.events {
            *self.events.entry(event.clone()).or_default() += count;
        }
        self.asked += other.asked;
        self.answered += other.answered;
        self.refused += other.refused;
        self.believed += other.believed;
        self.read += other.read;
        self.cleartext += other.cleartext;
        self.walk += other.walk;
    }
}

/// What the capture and the attacker could read.
fn read_along(ground: &mut Ground, branch: &Branch) -> Result<Tally, Failure> {
    let capture = ground.lab.end_capture(&branch.link)?;
    let laptop = branch.victims[0].host.name();
    let (walk, mut other): (Vec<_>, Vec<_>) = capture
        .cleartext_queries_from(laptop, SystemTime::UNIX_EPOCH)
        .into_iter()
        .partition(|query| {
            query
                .question
                .as_ref()
                .is_some_and(|(name, _)| answers::is_of_the_walk(name))
        });
    let leak = branch.leak()?;
    let before = other.len();
    other.retain(|query| !query.asks_for(leak));
    if before == other.len() {
        return Err(Failure::new("the capture does not see what leaks"));
    }
    let spelled = capture.names_spelled(&branch.asked, laptop, SystemTime::UNIX_EPOCH);
    let heard = branch
        .attacker
        .heard()
        .into_iter()
        .filter(|heard| {
            heard
                .name
                .as_ref()
                .is_none_or(|name| !answers::is_of_the_walk(name))
        })
        .count();
    Ok(Tally {
        read: spelled.len() + heard,
        cleartext: other.len(),
        walk: walk.len(),
        ..Tally::default()
    })
}

impl Torment {
    /// A branch whose client knows its resolver.
    fn new(ground: &mut Ground) -> Result<Self, Failure> {
        let (address, start) = ground.another_resolver()?;
        let process = start()?;
        let mut branch = ground.branch_to(&STRICT, address)?;
        branch.record()?;
        branch.start_victims()?;
        branch.all_is_well()?;
        let identity = Identity::invent(&Name::from_ascii("zz.")?, &SystemRandom::new())?;
        let zones = own_zones(&identity, UnixTime::now())?;
        Ok(Self {
            branch,
            resolver: Resolver {
                start,
                process: Some(process),
            },
            identity,
            zones,
            tally: Tally::default(),
        })
    }

    fn play(&mut self, random: &Random, numbers: impl Iterator<Item = usize>) -> Told {
        let application = Application::start(&self.branch.victims[0].host)?;
        for number in numbers {
            let mut random = random.derive(&format!("schedule {number}"));
            let events = EVENTS.0 + random.below(EVENTS.1);
            for _ in 0..events {
                let event = self.event(&mut random)?;
                *self.tally.events.entry(event.to_owned()).or_default() += 1;
                for _ in 0..=random.below(3) {
                    self.branch.asked.push(application.ask(&self.branch)?);
                    self.tally.asked += 1;
                }
                thread::sleep(Duration::from_millis(random.below(LULL_MS) as u64));
            }
        }
        self.branch.attacker.turn(Manner::honest())?;
        self.branch.comes_back()?;
        self.branch.show_a_leak()?;
        let (answered, refused, believed) = application.end();
        self.tally.answered = answered;
        self.tally.refused = refused;
        self.tally.believed = believed;
        Ok(())
    }

    /// Something happens.
    fn event(&mut self, random: &mut Random) -> Result<&'static str, Failure> {
        Ok(match random.below(13) {
            0 => {
                self.flap(random)?;
                "link-flapped"
            }
            1 => {
                // Killed, and started again.
                self.resolver.process = None;
                thread::sleep(Duration::from_millis(random.below(LULL_MS) as u64));
                self.resolver.process = Some((self.resolver.start)()?);
                "server-restarted"
            }
            2 => {
                self.branch.crash_product()?;
                "client-restarted"
            }
            3 | 4 => {
                self.branch.attacker.turn(Manner::honest())?;
                "attacker-paused"
            }
            _ => {
                let manner = self.manner(random)?;
                self.branch.attacker.turn(manner)?;
                "attacker-moved"
            }
        })
    }

    fn flap(&self, random: &mut Random) -> Told {
        let link = self.branch.link.as_str();
        let gateway = self.branch.gateway.to_string();
        let laptop = &self.branch.victims[0].host;
        ip(laptop, &["link", "set", link, "down"])?;
        thread::sleep(Duration::from_millis(random.below(LULL_MS) as u64));
        ip(laptop, &["link", "set", link, "up"])?;
        // It went with the link.
        ip(laptop, &["route", "replace", "default", "via", &gateway])
    }

    fn manner(&self, random: &mut Random) -> Result<Manner, Failure> {
        let dns = match random.below(10) {
            0 => Dns::Pass,
            1 => Dns::Drop,
            2 => Dns::Reject,
            _ => Dns::Answer(self.answerer(random)),
        };
        let dot = match random.below(10) {
            0 => Dot::Pass,
            1 => Dot::Drop,
            2 => Dot::Unreachable,
            3 => Dot::Reset,
            4 => Dot::Silent,
            5 => Dot::Cleartext(answers::lie()),
            6 => Dot::Impostor(Impostor::with_key_of(&self.identity)?, answers::lie()),
            7 => {
                let name = self.branch.identity.name().as_name();
                Dot::Impostor(Impostor::calling_itself(name)?, answers::lie())
            }
            8 => Dot::Cut(1 + random.below(8000)),
            _ => Dot::Corrupt(1 + random.below(4000)),
        };
        Ok(Manner { dns, dot })
    }

    /// Lies to applications, and something to those who look for a resolver.
    fn answerer(&self, random: &mut Random) -> Answerer {
        let walk = match random.below(9) {
            0 => answers::relay(),
            1 => answers::stripped(),
            2 => answers::refuse(2),
            3 => answers::refuse(3),
            4 => answers::refuse(5),
            5 => answers::truncate(),
            6 => answers::silence(),
            7 => self.branch.old_zones.replay(),
            _ => self.zones.clone(),
        };
        walk.for_the_walk(answers::lie())
    }
}

/// Asks without waiting for answers, and counts what comes.
struct Application {
    socket: Arc<UdpSocket>,
    over: Arc<AtomicBool>,
    reader: thread::JoinHandle<(usize, usize, usize)>,
}

impl Application {
    fn start(laptop: &crate::Host) -> io::Result<Self> {
        let socket = laptop.within(|| UdpSocket::bind(("127.0.0.1", 0)))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let socket = Arc::new(socket);
        let over = Arc::new(AtomicBool::new(false));
        let (reading, ended) = (Arc::clone(&socket), Arc::clone(&over));
        let reader = thread::spawn(move || count(&reading, &ended));
        Ok(Self {
            socket,
            over,
            reader,
        })
    }

    /// For a new name, which is given back.
    fn ask(&self, branch: &Branch) -> Result<Name, Failure> {
        let question = branch.question();
        let mut message = Message::new(rand_id(&question.name), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(question.name.clone(), question.rtype));
        let to: SocketAddr = listen();
        // Nobody may listen at this moment: a client that crashed says so by ICMP, to this or to the next one.
        let _ = self.socket.send_to(&message.to_vec()?, to);
        Ok(question.name)
    }

    fn end(self) -> (usize, usize, usize) {
        self.over.store(true, Ordering::Relaxed);
        self.reader.join().unwrap_or_default()
    }
}

/// Ids need to differ a little; which they are is no secret on a loopback of a lab.
fn rand_id(name: &Name) -> u16 {
    name.to_ascii().bytes().fold(7, |id, byte| {
        id.wrapping_mul(31).wrapping_add(u16::from(byte))
    })
}

/// Answered, refused, believed.
fn count(socket: &UdpSocket, over: &AtomicBool) -> (usize, usize, usize) {
    let (mut answered, mut refused, mut believed) = (0, 0, 0);
    let mut buffer = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let Ok(message) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let says = |address| {
            message
                .answers
                .iter()
                .any(|record| record.data == RData::A(A(address)))
        };
        if says(LIE) {
            believed += 1;
        } else if says(TRUTH) {
            answered += 1;
        } else if message.metadata.response_code == ResponseCode::ServFail {
            refused += 1;
        }
    }
    (answered, refused, believed)
}
