//! Five thousand slow, silent or stuck connections in ten manners: the good client is served all the same, on UDP, on
//! TCP, on new connections over TLS, and on the one that it had before.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use zzdot_testnet::hostile::{
    good::Good,
    manner::{Swarm, raise_descriptor_limit},
    random::{Random, seed},
    stream::loopback,
    target::Target,
    usage::{Usage, judge_peaks},
};

/// The bad connections.
const SWARM: usize = 5_000;
/// What either side needs for them, with room for the rest.
const DESCRIPTORS: u64 = 12_000;
/// How long the whole swarm may take to be there.
const GATHERING: Duration = Duration::from_secs(60);
/// The good client asks for this long at least: each limit of time of a connection has to pass, more than once.
const SIEGE: Duration = Duration::from_secs(18);
/// And this often, however long that takes.
const ROUNDS: usize = 50;
/// How long the server may take to be rid of a swarm that left.
const SETTLE: Duration = Duration::from_secs(30);
/// Resident memory that a bad connection may cost in the mean, in KiB.
const KIB_A_CONNECTION: u64 = 64;

/// Five thousand connections at a time are enough for one machine.
static ONE_SWARM: Mutex<()> = Mutex::new(());

#[test]
fn five_thousand_bad_connections_from_one_address_leave_a_good_client_served() {
    let mut siege = Siege::new();
    siege.endure(|_| loopback(0));
}

#[test]
fn five_thousand_bad_connections_from_a_neighbourhood_leave_a_good_client_served_and_nothing_behind()
 {
    let mut siege = Siege::new();
    let idle = siege.usage;
    let first = siege.endure(|number| loopback(number % 200));
    let second = siege.endure(|number| loopback(number % 200));
    judge_peaks(idle, first, second).unwrap();
}

#[test]
fn five_thousand_bad_connections_each_from_its_own_address_leave_a_good_client_served() {
    let mut siege = Siege::new();
    siege.endure(loopback);
}

/// A server, the good client of it, and what the server held when nobody else was there.
struct Siege {
    target: Target,
    good: Good,
    random: Random,
    usage: Usage,
    _alone: MutexGuard<'static, ()>,
}

impl Siege {
    fn new() -> Self {
        let alone = ONE_SWARM.lock().unwrap_or_else(PoisonError::into_inner);
        raise_descriptor_limit(DESCRIPTORS).unwrap();
        let random = Random::new(seed());
        let target = Target::appliance().unwrap();
        let service = target.service().clone();
        let mut good =
            Good::new(service, Ipv4Addr::LOCALHOST.into(), random.derive("good")).unwrap();
        good.ask_every_way().unwrap();
        let usage = Usage::lowest(target.id(), Duration::from_secs(2)).unwrap();
        Self {
            target,
            good,
            random,
            usage,
            _alone: alone,
        }
    }

    /// Brings the swarm, asks while it gathers and when it is there, and waits until nothing of it is left. Returns the
    /// most that the server used meanwhile.
    fn endure(&mut self, source: fn(usize) -> IpAddr) -> Usage {
        let Self {
            target,
            good,
            random,
            usage: before,
            ..
        } = self;
        let long = target.long_query();
        let mut swarm = Swarm::start(target.service(), SWARM, source, &long, random).unwrap();
        let start = Instant::now();
        let mut rounds = 0;
        let mut most = *before;
        let mut complete = false;
        while !complete || rounds < ROUNDS || start.elapsed() < SIEGE {
            good.ask_every_way().unwrap_or_else(|error| {
                panic!("round {rounds}, {} connected: {error}", swarm.connected())
            });
            complete = complete || swarm.wait_for(SWARM, Duration::from_millis(100));
            assert!(
                complete || start.elapsed() < GATHERING,
                "only {} bad connections could be made",
                swarm.made()
            );
            let usage = target.usage().unwrap();
            most.descriptors = most.descriptors.max(usage.descriptors);
            most.resident_kib = most.resident_kib.max(usage.resident_kib);
            rounds += 1;
        }
        println!(
            "{rounds} rounds; {} bad connections made, {} open; longest wait and datagrams sent again {:?}",
            swarm.made(),
            swarm.connected(),
            good.patience_needed()
        );
        drop(swarm);
        let after = Usage::settled(target.id(), before.descriptors, SETTLE).unwrap();
        let said = target.output();
        assert!(!said.contains("panicked"), "{said}");
        println!("before {before:?}, most {most:?}, after {after:?}");
        good.ask_every_way().unwrap();
        let grown = most.resident_kib.saturating_sub(before.resident_kib);
        assert!(
            grown <= SWARM as u64 * KIB_A_CONNECTION,
            "{grown} KiB for {SWARM} bad connections"
        );
        self.usage = after;
        most
    }
}
