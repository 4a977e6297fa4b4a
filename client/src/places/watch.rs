//! The loop that keeps the plan up to date: what the kernel and the host say, timers, and waking up.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Decision, Inputs, NetworkId, Places, Whereabouts, givens, lock};
use crate::host::{Places as Files, Watcher};
use crate::network::netlink::{Event, RouteSocket, Told, WirelessSocket};
use crate::network::{Observer, Sight};
use crate::store::Changes;

/// How often it is looked whether the machine was asleep, or this program was.
const TICK: Duration = Duration::from_secs(2);
/// A tick that comes so late came after a sleep.
const LATE: Duration = Duration::from_secs(10);
/// A clock that counts sleep has gone so much further than one that does not.
const SLEPT: Duration = Duration::from_secs(1);
/// Pause before the kernel is asked again that broke off.
const AGAIN: Duration = Duration::from_secs(5);
/// Pause before a neighbour is looked for again that did not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Where a neighbour is knocked at to learn its hardware address. Nothing is said there.
const KNOCK_AT: u16 = 853;

/// Keeps the upstreams of `places` in step with this machine, for ever. `own` is where this program listens.
pub async fn watch(places: Arc<Places>, own: Vec<SocketAddr>) {
    let mut sleep = Sleep::default();
    loop {
        if places.is_configured() {
            tokio::time::sleep(TICK).await;
            if sleep.was_asleep(now(), asleep_since_start()) {
                tracing::info!("awake again");
                places.wake();
            }
            continue;
        }
        let mut keeper = Keeper {
            places: Arc::clone(&places),
            observer: Observer::default(),
            knocked: BTreeMap::new(),
            cards: BTreeSet::new(),
        };
        if let Err(error) = keeper.run(own.clone()).await {
            tracing::error!(%error, "the kernel does not tell about networks");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

struct Keeper {
    places: Arc<Places>,
    observer: Observer,
    /// When a neighbour was last looked for.
    knocked: BTreeMap<(u32, IpAddr), Instant>,
    /// The links that are made of hardware and were seen.
    cards: BTreeSet<u32>,
}

impl Keeper {
    /// Returns when the configuration names the server.
    async fn run(&mut self, own: Vec<SocketAddr>) -> io::Result<()> {
        let mut kernel = RouteSocket::open()?;
        let mut wireless = WirelessSocket::open().await;
        let host = Watcher::start(own, Files::default()).await;
        let mut decisions = host.decisions();
        self.observer.told(now(), Told::Afresh);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let store = self.places.store.clone();
        let mut memory = store.as_ref().map(|store| store.changes());
        let mut sleep = Sleep::default();
        while !self.places.is_configured() {
            let timeout = self.timeout();
            tokio::select! {
                told = kernel.told() => {
                    let told = told?;
                    let (links, addresses) = concerns(&told);
                    let new_card = self.is_new_card(&told);
                    self.observer.told(now(), told);
                    if new_card && wireless.is_none() {
                        // It may have brought the kernel's part for wireless networks along.
                        wireless = WirelessSocket::open().await;
                    }
                    if links {
                        self.tune(&mut wireless).await;
                    }
                    if links || addresses {
                        host.look_again();
                    }
                }
                () = moved(wireless.as_mut()) => self.tune(&mut wireless).await,
                Ok(()) = decisions.changed() => {}
                // Somebody may have forgotten a network, or learned one.
                () = changed(memory.as_mut()) => {}
                () = tokio::time::sleep_until(timeout.into()) => {}
                _ = ticks.tick() => {
                    if sleep.was_asleep(now(), asleep_since_start()) {
                        tracing::info!("awake again");
                        kernel.refresh()?;
                        host.look_again();
                        self.places.wake();
                    }
                }
            }
            if self.observer.is_whole() {
                let decision = Arc::clone(&decisions.borrow_and_update());
                self.plan(&decision);
            }
        }
        Ok(())
    }

    fn is_new_card(&mut self, told: &Told) -> bool {
        match told {
            Told::Event(Event::Link(row)) if row.kind.is_none() => self.cards.insert(row.index),
            _ => false,
        }
    }

    async fn tune(&mut self, wireless: &mut Option<WirelessSocket>) {
        if let Some(wireless) = wireless
            && let Some(links) = wireless.links().await
        {
            self.observer.tune(now(), links);
        }
    }

    fn timeout(&self) -> Instant {
        let now = now();
        let knocks = self.knocked.values().map(|knocked| *knocked + LOOK_AGAIN);
        let timeouts = knocks
            .filter(|at| *at > now)
            .chain(self.observer.next_timeout(now));
        timeouts.min().unwrap_or(now + Duration::from_secs(3600))
    }

    fn plan(&mut self, decision: &Decision) {
        let mut found = BTreeMap::new();
        for resolvers in decision
            .links
            .iter()
            .filter(|resolvers| resolvers.link.is_none())
        {
            for server in &resolvers.servers {
                found.insert(*server, self.whereabouts(*server));
            }
        }
        let where_is = |server: SocketAddr| match found.get(&server) {
            Some(whereabouts) => *whereabouts,
            None if server.ip().is_loopback() => Whereabouts::Apart,
            None => Whereabouts::Nowhere,
        };
        self.observer.give(givens(decision, &where_is));
        let sights = self.observer.views(now());
        self.look_for_neighbours(&sights);

        let Some(store) = &self.places.store else {
            return;
        };
        let mut known = store.networks();
        known.sort_by_key(|network| (network.first_seen, network.id));
        let elsewhere = lock(&self.places.settings).elsewhere.clone();
        let inputs = Inputs {
            decision,
            elsewhere: &elsewhere,
            sights: &sights,
            where_is: &where_is,
            known: &known,
            separated: &store.separated(),
            secret: &store.secret(),
        };
        let plan = lock(&self.places.director).plan(&inputs, &mut || NetworkId::draw().ok());
        if let Err(error) = self.places.follow(plan) {
            tracing::error!(%error, "no server to ask");
        }
    }

    /// The kernel knows which way a packet would go. None is sent.
    fn whereabouts(&self, server: SocketAddr) -> Whereabouts {
        if server.ip().is_loopback() {
            return Whereabouts::Apart;
        }
        if let SocketAddr::V6(server) = server
            && server.ip().is_unicast_link_local()
            && self.observer.is_physical(server.scope_id())
        {
            return Whereabouts::Link(server.scope_id());
        }
        let from = |any: IpAddr| {
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.connect(server).ok()?;
            Some(socket.local_addr().ok()?.ip())
        };
        let any = match server {
            SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let Some(source) = from(any) else {
            return Whereabouts::Nowhere;
        };
        match self.observer.link_of_address(source) {
            Some(index) if self.observer.is_physical(index) => Whereabouts::Link(index),
            // The kernel has an address that it did not tell of yet: it will.
            None if !source.is_loopback() => Whereabouts::Nowhere,
            _ => Whereabouts::Apart,
        }
    }

    /// The kernel learns a neighbour's hardware address when something is sent to it: the first packet of a connection,
    /// to the port at which resolvers listen for TLS. Nothing follows, and it says nothing about who is asking.
    fn look_for_neighbours(&mut self, sights: &[Sight]) {
        let now = now();
        let mut wanted = BTreeSet::new();
        for sight in sights {
            for address in &sight.unknown {
                let key = (sight.view.index, *address);
                wanted.insert(key);
                let due = self
                    .knocked
                    .get(&key)
                    .is_none_or(|knocked| now.saturating_duration_since(*knocked) >= LOOK_AGAIN);
                if due {
                    self.knocked.insert(key, now);
                    let name = sight.view.name.clone();
                    let (index, address) = key;
                    tokio::spawn(async move {
                        if let Err(error) = knock(index, &name, address).await {
                            tracing::debug!(%error, %address, link = name, "looking for a neighbour");
                        }
                    });
                }
            }
        }
        self.knocked.retain(|key, _| wanted.contains(key));
    }
}

async fn moved(wireless: Option<&mut WirelessSocket>) {
    match wireless {
        Some(wireless) => wireless.moved().await,
        None => std::future::pending().await,
    }
}

async fn changed(memory: Option<&mut Changes>) {
    match memory {
        Some(memory) => memory.changed().await,
        None => std::future::pending().await,
    }
}

/// Whether it is about links, and about addresses.
fn concerns(told: &Told) -> (bool, bool) {
    match told {
        Told::Whole => (true, true),
        Told::Event(Event::Link(_) | Event::LinkGone(_)) => (true, false),
        Told::Event(Event::Address(_) | Event::AddressGone(_)) => (false, true),
        _ => (false, false),
    }
}

/// Connects, and hangs up: as soon as anybody answers, and after a while in any case.
async fn knock(index: u32, name: &str, address: IpAddr) -> io::Result<()> {
    let mut target = SocketAddr::new(address, KNOCK_AT);
    if let SocketAddr::V6(target) = &mut target
        && target.ip().is_unicast_link_local()
    {
        target.set_scope_id(index);
    }
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    // Where two links have a router of the same address. Without the right to do so the better route has it.
    let _ = socket.bind_device(Some(name.as_bytes()));
    let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
    let _ = tokio::time::timeout(LOOK_AGAIN, socket.connect(target)).await;
    Ok(())
}

/// Notices that time has passed in which nothing ran.
#[derive(Default)]
struct Sleep {
    last: Option<(Instant, Duration)>,
}

impl Sleep {
    /// Whether the machine, or this program, slept since the last call; called every [`TICK`]. `ahead` is how long the
    /// machine slept since it started.
    fn was_asleep(&mut self, now: Instant, ahead: Duration) -> bool {
        let slept = self.last.is_some_and(|(then, before)| {
            ahead.saturating_sub(before) >= SLEPT
                || now.saturating_duration_since(then) >= TICK + LATE
        });
        self.last = Some((now, ahead));
        slept
    }
}

/// How long the machine slept since it started: what the clock that counts sleep is ahead of the one that does not.
fn asleep_since_start() -> Duration {
    let read = |clock| clock_gettime(clock).map(Duration::from).ok();
    match (
        read(ClockId::CLOCK_BOOTTIME),
        read(ClockId::CLOCK_MONOTONIC),
    ) {
        (Some(with), Some(without)) => with.saturating_sub(without),
        _ => Duration::ZERO,
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_hours_of_sleep_are_noticed_and_an_evening_awake_is_none() {
        let (mut sleep, mut now, mut ahead) = (Sleep::default(), Instant::now(), Duration::ZERO);
        for _ in 0..7200 {
            assert!(!sleep.was_asleep(now, ahead));
            now += TICK;
        }
        // The machine slept: the clock that timers go by stood still.
        ahead += Duration::from_secs(8 * 3600);
        assert!(sleep.was_asleep(now, ahead));
        now += TICK;
        assert!(!sleep.was_asleep(now, ahead));
        // Only this program did: the clock went on.
        now += Duration::from_secs(60);
        assert!(sleep.was_asleep(now, ahead));
        now += TICK;
        assert!(!sleep.was_asleep(now, ahead));
    }
}
