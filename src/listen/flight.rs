//! Queries in flight: so many in all, so many for one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::crowd::network;

/// The part of the free places, as a divisor, that one address may hold when places are scarce.
const PART_OF_THE_REST: usize = 8;
/// Places that an address may hold however scarce they are: a stub asks for A and AAAA at the same
/// time, for two programs.
const FEW: usize = 4;

/// Room for queries that wait for the source of answers. A [`Permit`] is a place in it.
#[derive(Debug)]
pub(super) struct Flight {
    all: usize,
    per_address: usize,
    taken: Mutex<Taken>,
    /// As `taken.all`, for those who only look.
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Holds addresses with at least one place taken, so it is no larger than `all`.
    by_address: HashMap<IpAddr, usize>,
}

/// Which limit leaves no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Address,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    flight: Arc<Flight>,
    address: IpAddr,
}

impl Flight {
    pub(super) fn new(all: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            per_address,
            taken: Mutex::default(),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Takes a place for a query from `address`. Once more than half of all are taken, nobody takes
    /// more than a part of those that are left: however many greedy ones there are, some are left
    /// for who asks little.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Full> {
        let mut taken = self.taken();
        if taken.all >= self.all {
            return Err(Full::All);
        }
        let own = taken
            .by_address
            .get(&network(address))
            .copied()
            .unwrap_or(0);
        let share = match taken.all > self.all / 2 {
            true => ((self.all - taken.all) / PART_OF_THE_REST).max(FEW),
            false => self.per_address,
        };
        if own >= share.min(self.per_address) {
            return Err(Full::Address);
        }
        Ok(self.take(&mut taken, address))
    }

    /// Takes a place beyond every limit: for the only query of a connection, of which there are
    /// no more than connections.
    pub(super) fn enter_alone(self: &Arc<Self>, address: IpAddr) -> Permit {
        self.take(&mut self.taken(), address)
    }

    /// Whether more than half of all places are taken.
    pub(super) fn pressed(&self) -> bool {
        self.len() > self.all / 2
    }

    /// Places taken, in all.
    pub(super) fn len(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn take(self: &Arc<Self>, taken: &mut Taken, address: IpAddr) -> Permit {
        let address = network(address);
        taken.all += 1;
        self.in_flight.store(taken.all, Ordering::Relaxed);
        *taken.by_address.entry(address).or_default() += 1;
        Permit {
            flight: Arc::clone(self),
            address,
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The numbers are consistent whenever the lock is free.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.flight.taken();
        taken.all -= 1;
        self.flight.in_flight.store(taken.all, Ordering::Relaxed);
        if let Some(own) = taken.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let flight = Flight::new(3, 2);
        let [one, two]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let first = flight.enter(one).unwrap();
        let _second = flight.enter(one).unwrap();
        assert_eq!(flight.enter(one).unwrap_err(), Full::Address);
        let _third = flight.enter(two).unwrap();
        assert_eq!(flight.enter(two).unwrap_err(), Full::All);
        drop(first);
        let _again = flight.enter(one).unwrap();
        assert_eq!(flight.len(), 3);
    }

    #[test]
    fn hosts_that_take_all_they_can_leave_places_for_one_that_asks_little() {
        let flight = Flight::new(1000, 500);
        let mut taken = Vec::new();
        for host in 0..20 {
            let greedy = [192, 0, 2, host].into();
            taken.extend(std::iter::from_fn(|| flight.enter(greedy).ok()));
        }
        let modest = [198, 51, 100, 1].into();
        for _ in 0..FEW {
            taken.push(flight.enter(modest).unwrap());
        }
    }

    #[test]
    fn a_host_with_many_ipv6_addresses_has_the_room_of_one() {
        let flight = Flight::new(10, 2);
        let of_host = |host: u16| ["2001:db8::1", "2001:db8::2", "2001:db8::3"][usize::from(host)];
        let permits: Vec<_> = (0..3)
            .map(|host| flight.enter(of_host(host).parse().unwrap()))
            .collect();
        assert_eq!(*permits[2].as_ref().unwrap_err(), Full::Address);
        assert!(flight.enter("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_an_address_without_queries() {
        let flight = Flight::new(10, 10);
        for last in 0..=255 {
            let permit = flight.enter([192, 0, 2, last].into()).unwrap();
            drop(permit);
        }
        assert!(flight.taken().by_address.is_empty());
        assert_eq!(flight.len(), 0);
    }

    #[test]
    fn pressed_means_more_than_half() {
        let flight = Flight::new(4, 4);
        let address = "192.0.2.1".parse().unwrap();
        let mut permits = vec![
            flight.enter(address).unwrap(),
            flight.enter(address).unwrap(),
        ];
        assert!(!flight.pressed());
        permits.push(flight.enter(address).unwrap());
        assert!(flight.pressed());
    }
}
