//! What attackers try, and what comes of it: against the product, and, where they can play, against stubby (with the
//! resolver's key pinned) and unbound (with the resolver's certificate as its only authority).
//!
//! Each [`Attack`] is one function and one test. A lab serves a whole [`Group`] of them at the same time: there is one
//! genuine resolver, and for each attack a branch of its own, with its laptops, its attacker and its capture
//! ([`ground`]). What came of an attack is judged by what the attacker and the capture could read, and by what the
//! applications were told ([`Outcome`]). The table of `docs/threat-model.md` is compared with it.

mod first;
mod ground;
mod known;
mod networks;
mod offers;
mod outcome;
mod play;
mod portals;
mod schedule;
mod stolen;
mod together;
mod victim;
mod wireless;
mod zones;

pub use ground::{Branch, Ground};
pub use outcome::Outcome;
pub use play::{Report, play, table};
pub use schedule::{Tally, play_schedules};
pub use victim::Kind;

use crate::{capture::Capture, story::Told};

/// An attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// The name of its test.
    pub test: &'static str,
    /// What is promised, as the threat model says it.
    pub promise: &'static str,
    /// What the attacker does.
    pub words: &'static str,
    /// Whether the victims know the resolver when it begins.
    pub stage: Stage,
    /// Does it, and lets the victims ask.
    pub play: fn(&mut Branch) -> Told,
    /// What must come of it for the product: the outcome, and the names of refusals of which one must be told.
    pub product: Expected,
    /// For the peers that play: stubby, unbound.
    pub peers: [Option<Outcome>; 2],
    /// What must hold of everything that was on the branch's link.
    pub inspect: fn(&Branch, &Capture) -> Told,
}

/// An attack on the product alone, as far as it is the same for all of those.
const ALONE: Attack = Attack {
    test: "",
    promise: "",
    words: "",
    stage: Stage::Known,
    play: |_| Ok(()),
    product: PRIVATE,
    peers: [None, None],
    inspect: |_, _| Ok(()),
};

/// What must come of an attack for the product.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The worst that happens to a question.
    pub outcome: Outcome,
    /// The reasons that may be told; empty for any.
    pub reasons: &'static [&'static str],
}

/// When an attack begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The victims have met the resolver. When the attack is over they must find it again.
    Known,
    /// The victims are started by the attack.
    First,
}

/// Attacks that share a lab.
#[derive(Clone, Copy)]
pub struct Group {
    /// As the command line takes it.
    pub name: &'static str,
    /// Its attacks.
    pub attacks: &'static [Attack],
    /// What they share.
    pub scene: Scene,
}

/// What the attacks of a group share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scene {
    /// A resolver.
    OneResolver,
    /// A resolver that has published anew since the attackers recorded what it published.
    SignedAnew,
    /// Nothing: each has a resolver of its own, whose publications it has recorded.
    ResolverEach,
}

/// All of them.
pub const GROUPS: &[Group] = &[
    Group {
        name: "known",
        attacks: known::ATTACKS,
        scene: Scene::OneResolver,
    },
    Group {
        name: "zones",
        attacks: zones::ATTACKS,
        scene: Scene::SignedAnew,
    },
    Group {
        name: "offers",
        attacks: offers::ATTACKS,
        scene: Scene::OneResolver,
    },
    Group {
        name: "networks",
        attacks: networks::ATTACKS,
        scene: Scene::OneResolver,
    },
    Group {
        name: "stolen",
        attacks: stolen::ATTACKS,
        scene: Scene::ResolverEach,
    },
    Group {
        name: "first",
        attacks: first::ATTACKS,
        scene: Scene::OneResolver,
    },
];

/// The group with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

/// Refused, for one of these reasons.
const fn refused(reasons: &'static [&'static str]) -> Expected {
    Expected {
        outcome: Outcome::Refused,
        reasons,
    }
}

/// Answered by the genuine resolver, unseen.
const PRIVATE: Expected = Expected {
    outcome: Outcome::Private,
    reasons: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_attack_has_its_own_test_and_is_told_in_one_line() {
        let attacks: Vec<_> = GROUPS.iter().flat_map(|group| group.attacks).collect();
        let tests: BTreeSet<_> = attacks.iter().map(|attack| attack.test).collect();
        assert_eq!(tests.len(), attacks.len());
        for attack in attacks {
            assert!(!attack.words.contains(['|', '\n']), "{}", attack.test);
            assert!(!attack.promise.contains(['|', '\n']), "{}", attack.test);
        }
    }
}
