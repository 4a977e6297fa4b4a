//! Queries in flight: so many in all, so many for one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Room for queries that wait for the source of answers. A [`Permit`] is a place in it.
#[derive(Debug)]
pub(super) struct Flight {
    all: usize,
    per_address: usize,
    taken: Mutex<Taken>,
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
        })
    }

    /// Takes a place for a query from `address`.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Full> {
        let mut taken = self.taken();
        if taken.all >= self.all {
            return Err(Full::All);
        }
        let own = taken.by_address.get(&address).copied().unwrap_or(0);
        if own >= self.per_address {
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
        self.taken().all > self.all / 2
    }

    /// Places taken, in all.
    pub(super) fn len(&self) -> usize {
        self.taken().all
    }

    fn take(self: &Arc<Self>, taken: &mut Taken, address: IpAddr) -> Permit {
        taken.all += 1;
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
