//! Numbers that are all the same for the same seed.

use std::env;

/// Holds the seed of a run, where another than the usual one is wanted.
pub const SEED_VARIABLE: &str = "ZZDOT_HOSTILE_SEED";
/// The seed where the environment names none: a run can be compared with the one before it.
const USUAL_SEED: u64 = 0x7a7a_646f_7400_0001;

/// SplitMix64 (Steele, Lea and Flood 2014): one word of state, good enough to be nasty with.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another sequence, for the worker called `name`: workers do not disturb each other.
    #[must_use]
    pub fn derive(&self, name: &str) -> Self {
        let salt = name.bytes().fold(self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut derived = Self(salt);
        derived.next();
        derived
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound` - 1; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The remainder is a little uneven, which no attacker minds.
        self.next().checked_rem(bound as u64).unwrap_or(0) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// 8 bits.
    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// 16 bits.
    pub fn word(&mut self) -> u16 {
        self.next() as u16
    }

    /// Any bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// There is nothing to choose from.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// The seed of this run, from the environment or the usual one; printed, so that a failure can be had again.
///
/// # Panics
/// The variable holds no number.
#[must_use]
pub fn seed() -> u64 {
    let seed = match env::var(SEED_VARIABLE) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text}: a decimal number is wanted")),
        Err(_) => USUAL_SEED,
    };
    println!("the same run again: {SEED_VARIABLE}={seed}");
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence_and_workers_have_their_own() {
        let mut one = Random::new(7).derive("udp");
        let mut same = Random::new(7).derive("udp");
        let mut other = Random::new(7).derive("tcp");
        let drawn = one.bytes(64);
        assert_eq!(drawn, same.bytes(64));
        assert_ne!(drawn, other.bytes(64));
    }
}
