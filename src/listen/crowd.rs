//! The connections that are open, and which of them has to go when there are too many.
//!
//! A newcomer is always let in; it is an old connection that makes room. Refusing newcomers would
//! be simpler, and would let whoever came first with enough silent connections shut everybody
//! else out. Who has to go:
//!
//! - over the limit of one address, one of its own connections;
//! - over the limit of all, one of the network that holds most (an IPv4 address, an IPv6 /64: a
//!   host can pick any number of addresses in its own); where even that one holds few, which says
//!   nothing about anybody, one of all;
//! - in there, the one with the lowest [standing](Standing): connections that asked nothing go
//!   before those that asked a little, those before the ones that have long been useful, and
//!   among equals the one that has been quiet for longest. A flood so evicts itself, and a good
//!   client keeps a connection that it uses.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// Connections that a well-meaning host has at the same time: the old one, the new one that is to
/// follow it, a second program's. Holding no more is no reason to go before others.
const FEW: usize = 8;
/// The part of all places, as a divisor, above which a number is not few however small it is.
const FEW_OF_ALL: usize = 64;

/// Every connection that is open.
#[derive(Debug)]
pub(super) struct Crowd {
    all: usize,
    per_address: usize,
    start: Instant,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    all: usize,
    by_network: HashMap<IpAddr, Vec<Arc<Member>>>,
    /// Who holds no more than this is like everybody else.
    few: usize,
}

#[derive(Debug)]
struct Member {
    address: IpAddr,
    answered: AtomicU32,
    /// Milliseconds since the crowd's start.
    active_ms: AtomicU64,
    /// Where among those of its network it stands; written with the members locked.
    at: AtomicUsize,
    evicted: AtomicBool,
    /// Wakes the connection, on whichever thread it is.
    waker: AtomicWaker,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    member: Arc<Member>,
}

/// Which limit made an old connection go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowded {
    All,
    Address,
}

/// How much a connection is worth keeping; the lowest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// The number of binary digits of the answers taken, so that it takes real use to rise.
    usefulness: u32,
    active_ms: u64,
}

impl Crowd {
    pub(super) fn new(all: usize, per_address: usize, start: Instant) -> Arc<Self> {
        Arc::new(Self {
            all: all.max(1),
            per_address: per_address.max(1),
            start,
            members: Mutex::new(Members {
                few: FEW.min(all / FEW_OF_ALL),
                ..Members::default()
            }),
        })
    }

    /// Lets a connection from `address` in; says whether another was told to go for it.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        now: Instant,
    ) -> (Place, Option<Crowded>) {
        let address = address.to_canonical();
        let mut members = self.members();
        let crowded = if members.has_of_address(address, self.per_address) {
            members.evict(network(address), |member| member.address == address);
            Some(Crowded::Address)
        } else if members.all >= self.all {
            members.evict_from_the_largest();
            Some(Crowded::All)
        } else {
            None
        };
        let member = Arc::new(Member {
            address,
            answered: AtomicU32::new(0),
            active_ms: AtomicU64::new(self.millis(now)),
            at: AtomicUsize::new(0),
            evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        members.all += 1;
        let neighbours = members.by_network.entry(network(address)).or_default();
        member.at.store(neighbours.len(), Ordering::Relaxed);
        neighbours.push(Arc::clone(&member));
        let place = Place {
            crowd: Arc::clone(self),
            member,
        };
        (place, crowded)
    }

    /// Tells one connection to go, for want of descriptors.
    pub(super) fn make_room(&self) {
        self.members().evict_from_the_largest();
    }

    /// Lets every connection look at what has changed for all.
    pub(super) fn wake(&self) {
        for member in self.members().by_network.values().flatten() {
            member.waker.wake();
        }
    }

    /// How many connections have a place.
    pub(super) fn len(&self) -> usize {
        self.members().all
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // Consistent whenever the lock is free: nothing below panics half-way.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Whether `address` holds so many places.
    fn has_of_address(&self, address: IpAddr, places: usize) -> bool {
        let Some(members) = self.by_network.get(&network(address)) else {
            return false;
        };
        let own = |member: &&Arc<Member>| member.address == address;
        // Counted one by one only where it may be so.
        members.len() >= places && members.iter().filter(own).take(places).count() == places
    }

    fn evict_from_the_largest(&mut self) {
        let most = self.by_network.values().map(Vec::len).max().unwrap_or(0);
        let lowest = self
            .by_network
            .values()
            .filter(|members| members.len() == most || most <= self.few)
            .flatten()
            .min_by_key(|member| member.standing())
            .map(Arc::clone);
        self.tell_to_go(lowest);
    }

    fn evict(&mut self, network: IpAddr, eligible: impl Fn(&Member) -> bool) {
        let lowest = self
            .by_network
            .get(&network)
            .into_iter()
            .flatten()
            .filter(|member| eligible(member))
            .min_by_key(|member| member.standing())
            .map(Arc::clone);
        self.tell_to_go(lowest);
    }

    fn tell_to_go(&mut self, member: Option<Arc<Member>>) {
        if let Some(member) = member {
            member.evicted.store(true, Ordering::Release);
            member.waker.wake();
            // Its place is free at once: whoever comes next finds it gone.
            self.remove(&member);
        }
    }

    /// Removes `member` if it is still there.
    fn remove(&mut self, member: &Arc<Member>) {
        let network = network(member.address);
        let Some(members) = self.by_network.get_mut(&network) else {
            return;
        };
        let at = member.at.load(Ordering::Relaxed);
        if members
            .get(at)
            .is_some_and(|other| Arc::ptr_eq(other, member))
        {
            members.swap_remove(at);
            if let Some(moved) = members.get(at) {
                moved.at.store(at, Ordering::Relaxed);
            }
            self.all -= 1;
            if members.is_empty() {
                self.by_network.remove(&network);
            }
        }
    }
}

impl Member {
    fn standing(&self) -> Standing {
        Standing {
            usefulness: u32::BITS - self.answered.load(Ordering::Relaxed).leading_zeros(),
            active_ms: self.active_ms.load(Ordering::Relaxed),
        }
    }
}

impl Place {
    /// Notes that the peer has completed a TLS handshake: more than a silent connection has done.
    /// Otherwise who comes in the middle of a flood would be gone before it can ask.
    pub(super) fn shook_hands(&self, now: Instant) {
        self.member.answered.fetch_max(1, Ordering::Relaxed);
        self.member
            .active_ms
            .store(self.crowd.millis(now), Ordering::Relaxed);
    }

    /// Notes that the peer has taken so many answers.
    pub(super) fn answered(&self, answers: u32, now: Instant) {
        let member = &self.member;
        // Written by the connection alone.
        let before = member.answered.load(Ordering::Relaxed);
        member
            .answered
            .store(before.saturating_add(answers), Ordering::Relaxed);
        member
            .active_ms
            .store(self.crowd.millis(now), Ordering::Relaxed);
    }

    /// Whether this connection has to go; if not, `waker` is woken when it has to, and when
    /// something has changed for all.
    pub(super) fn must_go(&self, waker: &Waker) -> bool {
        self.member.waker.register(waker);
        self.member.evicted.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.members().remove(&self.member);
    }
}

/// The network that an address's owner can take others from: itself, or an IPv6 /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn told_to_go(place: &Place) -> bool {
        place.must_go(Waker::noop())
    }

    #[test]
    fn over_the_limit_of_an_address_its_own_quietest_connection_goes() {
        let start = Instant::now();
        let crowd = Crowd::new(10, 2, start);
        let (other, _) = crowd.admit(address("192.0.2.9"), start);
        let (first, _) = crowd.admit(address("192.0.2.1"), start);
        let later = start + Duration::from_secs(1);
        let (second, crowded) = crowd.admit(address("192.0.2.1"), later);
        assert_eq!(crowded, None);
        let (_third, crowded) = crowd.admit(address("192.0.2.1"), later);
        assert_eq!(crowded, Some(Crowded::Address));
        assert!(told_to_go(&first));
        assert!(!told_to_go(&second));
        assert!(!told_to_go(&other));
        assert_eq!(crowd.len(), 3);
    }

    #[test]
    fn over_the_limit_of_all_the_largest_holder_makes_room() {
        let start = Instant::now();
        let crowd = Crowd::new(4, 10, start);
        let (small, _) = crowd.admit(address("192.0.2.1"), start);
        let later = start + Duration::from_secs(1);
        let flood: Vec<_> = (1..=3)
            .map(|host| crowd.admit(address(&format!("2001:db8::{host}")), later).0)
            .collect();
        let (_new, crowded) = crowd.admit(address("192.0.2.2"), later);
        assert_eq!(crowded, Some(Crowded::All));
        assert!(!told_to_go(&small));
        assert!(told_to_go(&flood[0]));
    }

    #[test]
    fn a_host_with_two_connections_outlives_a_flood_of_hosts_with_one_each() {
        let start = Instant::now();
        let crowd = Crowd::new(512, 10, start);
        let (old, _) = crowd.admit(address("192.168.1.1"), start);
        old.answered(1, start);
        let mut flood = Vec::new();
        for host in 0..1000_u32 {
            let now = start + Duration::from_secs(1 + u64::from(host));
            let source = std::net::Ipv4Addr::from(0x0a00_0000 + host);
            flood.push(crowd.admit(source.into(), now).0);
            let (new, _) = crowd.admit(address("192.168.1.1"), now);
            flood.push(
                crowd
                    .admit(std::net::Ipv4Addr::from(0x0b00_0000 + host).into(), now)
                    .0,
            );
            assert!(!told_to_go(&new), "new connection, {host} hosts");
        }
        assert!(!told_to_go(&old));
        assert!(crowd.len() <= 512);
    }

    #[test]
    fn a_newcomer_that_shook_hands_outlives_silent_ones_that_came_later() {
        let start = Instant::now();
        let crowd = Crowd::new(100, 3, start);
        let (newcomer, _) = crowd.admit(address("192.0.2.1"), start);
        newcomer.shook_hands(start);
        let mut silent = Vec::new();
        for ms in 1..50 {
            let now = start + Duration::from_millis(ms);
            silent.push(crowd.admit(address("192.0.2.1"), now).0);
        }
        assert!(!told_to_go(&newcomer));
        assert!(told_to_go(&silent[0]));
    }

    #[test]
    fn a_useful_connection_outlives_a_flood_of_newer_ones() {
        let start = Instant::now();
        let crowd = Crowd::new(8, 4, start);
        let (useful, _) = crowd.admit(address("127.0.0.1"), start);
        (0..4).for_each(|_| useful.answered(1, start));
        let mut flood = Vec::new();
        for second in 1..1000 {
            let now = start + Duration::from_secs(second);
            let (place, _) = crowd.admit(address("127.0.0.1"), now);
            // Every second one asks something too, and then falls silent.
            if second % 2 == 0 {
                place.answered(1, now);
            }
            flood.push(place);
        }
        assert!(!told_to_go(&useful));
        assert_eq!(crowd.len(), 4);
    }

    #[test]
    fn an_evicted_connection_gives_its_place_back_once() {
        let start = Instant::now();
        let crowd = Crowd::new(1, 1, start);
        let (first, _) = crowd.admit(address("::1"), start);
        let (second, _) = crowd.admit(address("::1"), start);
        assert_eq!(crowd.len(), 1);
        drop(first);
        assert_eq!(crowd.len(), 1);
        drop(second);
        assert_eq!(crowd.len(), 0);
        assert!(crowd.members().by_network.is_empty());
    }

    #[test]
    fn every_connection_is_woken_when_something_changes_for_all() {
        use futures_util::task::{ArcWake, waker};
        #[derive(Default)]
        struct Woken(AtomicUsize);
        impl ArcWake for Woken {
            fn wake_by_ref(woken: &Arc<Self>) {
                woken.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let start = Instant::now();
        let crowd = Crowd::new(10, 10, start);
        let woken = Arc::new(Woken::default());
        let places: Vec<_> = (1..=3)
            .map(|host| crowd.admit([192, 0, 2, host].into(), start).0)
            .collect();
        for place in &places {
            assert!(!place.must_go(&waker(Arc::clone(&woken))));
        }
        crowd.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn places_are_given_back_in_any_order() {
        let start = Instant::now();
        let crowd = Crowd::new(10, 10, start);
        let mut places: Vec<_> = (0..6)
            .map(|_| crowd.admit(address("192.0.2.1"), start).0)
            .collect();
        for (at, left) in [(2, 5), (4, 4), (0, 3), (1, 2), (1, 1), (0, 0)] {
            places.remove(at);
            assert_eq!(crowd.len(), left);
        }
        assert!(crowd.members().by_network.is_empty());
    }
}
