//! How many questions are passed on, by whom and in all.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What one asker may have passed on in one go: a walk through a long chain.
const ASKER_BURST: u32 = 600;
/// What one asker may have passed on in the long run, a second.
const ASKER_RATE: u32 = 50;
/// The same of all askers together.
const ALL_BURST: u32 = 3000;
const ALL_RATE: u32 = 250;

/// Askers are told apart by as many buckets. Two that share one share what is in it.
const BUCKETS: usize = 1024;

/// An IPv6 network at whose end there is one asker, however many addresses it has.
const IPV6_PREFIX: u32 = 64;

/// Why a question is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Too many of this asker.
    Asker,
    /// Too many of all askers.
    All,
}

/// Lets so many questions through and no more.
///
/// Datagrams have a gate of their own: the addresses that they come from may be invented, and must not
/// take anything from those who are connected.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Nobody outside knows who shares a bucket.
    hasher: RandomState,
}

#[derive(Debug)]
struct State {
    all: Bucket,
    askers: Box<[Bucket]>,
}

/// A leaky bucket: when it will be empty again, if nothing more comes.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(Option<Instant>);

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                all: Bucket::default(),
                askers: vec![Bucket::default(); BUCKETS].into(),
            }),
            hasher: RandomState::new(),
        }
    }

    /// Counts one question of `asker`, where it may pass.
    pub(super) fn pass(&self, asker: IpAddr, now: Instant) -> Result<(), Full> {
        let place = self.hasher.hash_one(network(asker)) as usize % BUCKETS;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { all, askers } = &mut *state;
        let own = askers.get_mut(place).ok_or(Full::Asker)?;
        // An asker who is refused takes nothing from the others.
        let own_after = own.after(now, ASKER_RATE, ASKER_BURST).ok_or(Full::Asker)?;
        *all = all.after(now, ALL_RATE, ALL_BURST).ok_or(Full::All)?;
        *own = own_after;
        Ok(())
    }
}

impl Bucket {
    /// With one question more; none where it would run over.
    fn after(self, now: Instant, rate: u32, burst: u32) -> Option<Self> {
        let each = Duration::from_secs(1) / rate;
        let empty = self.0.map_or(now, |empty| empty.max(now)) + each;
        (empty - now <= each * burst).then_some(Self(Some(empty)))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & (u128::MAX << (128 - IPV6_PREFIX));
            Ipv6Addr::from_bits(network).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flood(gate: &Gate, asker: &str, now: Instant) -> u32 {
        let asker = asker.parse().unwrap();
        let passed = (0..2 * ALL_BURST).take_while(|_| gate.pass(asker, now).is_ok());
        passed.count() as u32
    }

    #[test]
    fn an_asker_has_a_burst_and_then_a_rate() {
        let (gate, start) = (Gate::new(), Instant::now());
        assert_eq!(flood(&gate, "192.0.2.1", start), ASKER_BURST);
        let later = start + Duration::from_secs(2);
        assert_eq!(flood(&gate, "192.0.2.1", later), 2 * ASKER_RATE);
        let rested = later + Duration::from_secs(3600);
        assert_eq!(flood(&gate, "192.0.2.1", rested), ASKER_BURST);
        assert_eq!(
            gate.pass("192.0.2.1".parse().unwrap(), rested),
            Err(Full::Asker)
        );
    }

    #[test]
    fn a_network_of_addresses_is_one_asker() {
        let (gate, now) = (Gate::new(), Instant::now());
        assert_eq!(flood(&gate, "2001:db8::1", now), ASKER_BURST);
        assert_eq!(flood(&gate, "2001:db8::2", now), 0);
        assert_eq!(flood(&gate, "192.0.2.1", now), ASKER_BURST);
        assert_eq!(flood(&gate, "::ffff:192.0.2.1", now), 0);
    }

    #[test]
    fn all_askers_together_have_a_limit_and_one_who_is_refused_takes_nothing_from_it() {
        let (gate, now) = (Gate::new(), Instant::now());
        flood(&gate, "192.0.2.1", now);
        for _ in 0..ALL_BURST {
            assert!(gate.pass("192.0.2.1".parse().unwrap(), now).is_err());
        }
        let mut passed = ASKER_BURST;
        for host in 0..=u16::MAX {
            let [high, low] = host.to_be_bytes();
            let asker = IpAddr::from([10, 0, high, low]);
            match gate.pass(asker, now) {
                Ok(()) => passed += 1,
                Err(Full::All) => break,
                // It shares a bucket with the first.
                Err(Full::Asker) => {}
            }
        }
        assert_eq!(passed, ALL_BURST);
    }
}
