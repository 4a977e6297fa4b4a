//! Chains as they are found one after the other, for those who decide by them.

use zzdot_zonegen::clock::UnixTime;

use super::world::World;
use crate::chain::Chain;

/// Laptop, forwarder, forwarder, resolver.
pub(crate) struct Life(World);

impl Life {
    pub(crate) fn line() -> Self {
        let mut world = World::of(3);
        world.hop(0, 1);
        world.hop(1, 2);
        Self(world)
    }

    /// The chain as a survey at this time finds it.
    pub(crate) fn survey(&mut self, clock: UnixTime) -> Chain {
        self.0.clock = clock;
        self.0.survey().chain
    }

    /// Nobody hears of this one any more, himself or through others.
    pub(crate) fn lose(&mut self, number: usize) {
        self.0.resolvers[number].answers = false;
        self.0.reach.retain(|_, who| *who != number);
    }

    /// It is back where it was.
    pub(crate) fn find_again(&mut self, number: usize) {
        let resolver = &mut self.0.resolvers[number];
        resolver.answers = true;
        let at = (resolver.address, resolver.dot_port).into();
        self.0.reach.insert(at, number);
    }

    pub(crate) fn name(&self, number: usize) -> String {
        self.0.resolvers[number].identity.name().to_string()
    }
}
