//! The steps themselves: from one state of an identity to the next, in memory.

use std::collections::BTreeSet;

use ring::rand::SecureRandom;
use thiserror::Error;

use super::plan::{Intervals, MAX_REVOKED, Planned, SUCCESSION, Step, Wait, plan};
use super::state::{Key, Order, Part, Phase, State, What};
use crate::clock::UnixTime;
use crate::identity::{Identity, IdentityError, invent};
use crate::keyring::{Held, Shelf};
use crate::keys::{KeyError, ZoneKey, key_tag};
use crate::publication::BACK_DATED;
use crate::succession::{MAX_STATEMENTS, Statement};

/// How often a key is made again because its tag is taken; one try in some thousand fails.
const TRIES: usize = 64;

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// What is to be replaced.
    pub what: What,
    /// Its secret is known to others: no wait, no succession, the old one counts for nothing from now on.
    pub compromised: bool,
    /// The private key of the stand-by, where it is kept elsewhere.
    pub standby_key: Option<ZoneKey>,
}

/// Why a roll-over is not begun.
#[derive(Debug, Error)]
pub enum RotateError {
    /// One thing at a time.
    #[error("a roll-over of {0} is under way")]
    UnderWay(What),
    /// The key given is another.
    #[error("the key given has the tag {given}; the stand-by key has the tag {standby}")]
    OtherKey {
        /// The tag of the key that was given.
        given: u16,
        /// The tag of the stand-by.
        standby: u16,
    },
    /// Only the anchor has a stand-by.
    #[error("a stand-by key has no meaning with {0}")]
    NoStandby(What),
    /// The stand-by's private key is needed and not here.
    #[error("the private key of the stand-by, key {0}, is not on this machine")]
    StandbyElsewhere(u16),
    /// A key cannot be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl RotateError {
    /// What can be done about it.
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::UnderWay(_) => Some(
                "\"zzdot status\" says what happens next; with --compromised nothing is waited for"
                    .to_owned(),
            ),
            Self::OtherKey { .. } => {
                Some("\"zzdot identity\" says which key is the stand-by".to_owned())
            }
            Self::NoStandby(_) => Some("leave out --standby-key".to_owned()),
            Self::StandbyElsewhere(_) => Some("name its file with --standby-key".to_owned()),
            Self::Identity(_) => None,
        }
    }
}

/// A state that is being made.
struct Next<'a> {
    identity: &'a Identity,
    state: State,
    shelf: Shelf,
    rng: &'a dyn SecureRandom,
}

impl Identity {
    /// The next step of each roll-over.
    pub fn plan(&self, now: UnixTime, intervals: &Intervals) -> Vec<Planned> {
        plan(&self.state, self.standby_key().is_some(), now, intervals)
    }

    /// The identity after the first step that waits for nothing, and that step; `None` when all wait.
    ///
    /// # Errors
    /// Where a key cannot be made.
    pub fn stepped(
        &self,
        now: UnixTime,
        intervals: &Intervals,
        rng: &dyn SecureRandom,
    ) -> Result<Option<(Self, Step)>, IdentityError> {
        let planned = self.plan(now, intervals).into_iter();
        let mut due = planned.filter(|planned| planned.wait == Wait::Nothing);
        let Some(Planned { step, .. }) = due.next() else {
            return Ok(None);
        };
        let mut next = self.next(rng);
        match &step {
            Step::Announce(what) => next.announce(*what)?,
            Step::Switch(what) => next.switch(*what),
            Step::Withdraw(what) => next.withdraw(*what),
            Step::RollAnchor => next.roll_anchor(now, false)?,
            Step::Forget { stem } => next.remove(|key| key.stem == *stem),
            Step::DropStatements => next.state.statements.retain(|said| said.until() >= now),
        }
        Ok(Some((next.done(), step)))
    }

    /// The identity after somebody asked for a roll-over. What was compromised is replaced at once; everything else is put
    /// into the plan.
    ///
    /// # Errors
    /// Why it is not begun.
    pub fn rotated(
        &self,
        rotation: &Rotation,
        now: UnixTime,
        rng: &dyn SecureRandom,
    ) -> Result<Self, RotateError> {
        let what = rotation.what;
        let mut next = self.next(rng);
        if let Some(key) = &rotation.standby_key {
            next.take_standby(what, key)?;
        } else if what == What::Anchor && self.standby_key().is_none() {
            return Err(RotateError::StandbyElsewhere(key_tag(self.standby())));
        }
        if rotation.compromised {
            next.replace_at_once(what, now)?;
            return Ok(next.done());
        }
        let moves = |key: &Key| {
            what.parts().contains(&key.part)
                && matches!(key.phase, Phase::Announced | Phase::Retired)
        };
        if self.state.orders.iter().any(|order| order.what == what)
            || self.state.keys.iter().any(moves)
        {
            return Err(RotateError::UnderWay(what));
        }
        next.state.orders.push(Order { what, at: now });
        Ok(next.done())
    }

    /// The identity after its zones and its certificate have been served as they are now.
    #[must_use]
    pub fn served(&self, now: UnixTime) -> Self {
        let mut state = self.aired(now).state;
        let secs = state.air.secs;
        for key in &mut state.keys {
            key.served.get_or_insert(secs);
        }
        self.with(state)
    }

    /// The identity after the time since the last look was counted.
    #[must_use]
    pub fn aired(&self, now: UnixTime) -> Self {
        let mut state = self.state.clone();
        state.air = state.air.at(now);
        self.with(state)
    }

    fn with(&self, state: State) -> Self {
        let shelf = self.shelf.clone();
        Self::assemble(self.name.clone(), state, shelf).expect("the same keys are there")
    }

    fn next<'a>(&'a self, rng: &'a dyn SecureRandom) -> Next<'a> {
        Next {
            identity: self,
            state: self.state.clone(),
            shelf: self.shelf.clone(),
            rng,
        }
    }
}

impl Next<'_> {
    fn done(mut self) -> Identity {
        let named: BTreeSet<&str> = self
            .state
            .keys
            .iter()
            .map(|key| key.stem.as_str())
            .collect();
        self.shelf.retain(|stem, _| named.contains(stem.as_str()));
        Identity::assemble(self.identity.name.clone(), self.state, self.shelf)
            .expect("a step puts each key that it names on the shelf")
    }

    fn announce(&mut self, what: What) -> Result<(), IdentityError> {
        for part in what.parts() {
            self.add(*part, Phase::Announced)?;
        }
        self.begun(what);
        Ok(())
    }

    fn switch(&mut self, what: What) {
        self.state.keys.retain_mut(|key| {
            if !what.parts().contains(&key.part) {
                return true;
            }
            match (key.phase, what) {
                (Phase::Announced, _) => key.phase = Phase::Active,
                (Phase::Active, What::Zsk) => key.phase = Phase::Retired,
                (Phase::Active, _) => return false,
                _ => return true,
            }
            key.served = None;
            true
        });
    }

    fn withdraw(&mut self, what: What) {
        self.remove(|key| what.parts().contains(&key.part) && key.phase == Phase::Retired);
    }

    fn replace_at_once(&mut self, what: What, now: UnixTime) -> Result<(), IdentityError> {
        if what == What::Anchor {
            return self.roll_anchor(now, true);
        }
        self.remove(|key| what.parts().contains(&key.part));
        for part in what.parts() {
            self.add(*part, Phase::Active)?;
        }
        self.begun(what);
        Ok(())
    }

    fn roll_anchor(&mut self, now: UnixTime, compromised: bool) -> Result<(), IdentityError> {
        let old = self.identity.anchor_keys().ksk.clone();
        let Some(Held::Zone {
            key: Some(active), ..
        }) = self.standby().cloned()
        else {
            unreachable!("it is asked for the stand-by's key before the step is taken");
        };
        self.remove(|key| {
            key.part == Part::AnchorKsk && matches!(key.phase, Phase::Active | Phase::Standby)
        });
        self.put(Part::AnchorKsk, Phase::Active, Held::of(active.clone()));
        self.put(Part::AnchorKsk, Phase::Revoked, Held::of(old.clone()));
        self.add(Part::AnchorKsk, Phase::Standby)?;
        if compromised {
            // Whoever has the key could have made any statement: none of its counts.
            let says = |said: &Statement| said.signer() == *old.dnskey();
            self.state.statements.retain(|said| !says(said));
        } else {
            let Some(Held::Zone {
                dnskey: standby, ..
            }) = self.standby()
            else {
                unreachable!("the stand-by was just made");
            };
            let new = [active.dnskey(), standby];
            // As signatures are: for clients whose clock is behind.
            let from = now.minus(BACK_DATED);
            let until = now.plus(SUCCESSION);
            let said = Statement::sign(&self.identity.name, &old, &new, from, until)
                .expect("the old anchor was active, and the new ones are other keys");
            self.state.statements.push(said);
        }
        let too_many = self.state.statements.len().saturating_sub(MAX_STATEMENTS);
        self.state.statements.drain(..too_many);
        let revoked = |key: &Key| key.phase == Phase::Revoked;
        while self.state.keys.iter().filter(|key| revoked(key)).count() > MAX_REVOKED {
            let oldest = self.state.keys.iter().position(revoked).expect("counted");
            self.state.keys.remove(oldest);
        }
        self.begun(What::Anchor);
        Ok(())
    }

    fn take_standby(&mut self, what: What, key: &ZoneKey) -> Result<(), RotateError> {
        if what != What::Anchor {
            return Err(RotateError::NoStandby(what));
        }
        let standby = &self.identity.standby();
        if key.dnskey() != *standby {
            return Err(RotateError::OtherKey {
                given: key.tag(),
                standby: key_tag(standby),
            });
        }
        for held in self.shelf.values_mut() {
            if matches!(held, Held::Zone { dnskey, .. } if dnskey == *standby) {
                *held = Held::of(key.clone());
            }
        }
        Ok(())
    }

    fn begun(&mut self, what: What) {
        self.state.orders.retain(|order| order.what != what);
    }

    fn remove(&mut self, which: impl Fn(&Key) -> bool) {
        self.state.keys.retain(|key| !which(key));
    }

    /// Makes a key.
    fn add(&mut self, part: Part, phase: Phase) -> Result<(), IdentityError> {
        for _ in 0..TRIES {
            let held = invent(&self.identity.name, part, self.rng)?;
            if !self.is_taken(&held) {
                self.put(part, phase, held);
                return Ok(());
            }
        }
        Err(KeyError::Random.into())
    }

    fn put(&mut self, part: Part, phase: Phase, held: Held) {
        let family = match (part, phase) {
            (Part::Certificate, _) => "certificate",
            (Part::NameKsk, _) => "name-ksk",
            (Part::NameZsk, _) => "name-zsk",
            (Part::AnchorKsk, Phase::Standby) => "anchor-standby",
            (Part::AnchorKsk, Phase::Revoked) => "anchor-revoked",
            (Part::AnchorKsk, _) => "anchor-ksk",
            (Part::AnchorZsk, _) => "anchor-zsk",
        };
        let sha256 = held.sha256();
        let number = match &held {
            Held::Tls { .. } => sha256[..8].to_owned(),
            Held::Zone { dnskey, .. } => key_tag(dnskey).to_string(),
        };
        let stem = format!("{family}-{number}");
        self.shelf.insert(stem.clone(), held);
        self.state.keys.push(Key {
            part,
            phase,
            stem,
            sha256,
            served: None,
        });
    }

    /// Whether a key of this tag is there already. RFC 4034 §5.3.1 lets tags be equal, and validators try both; files
    /// and people would take one for the other.
    fn is_taken(&self, held: &Held) -> bool {
        let tags = |held: &Held| match held {
            Held::Zone { key: Some(key), .. } => vec![key.tag(), key.revoked().tag()],
            Held::Zone { dnskey, key: None } => vec![key_tag(dnskey)],
            Held::Tls { certificate, .. } => {
                let [high, low, ..] = certificate.spki_sha256();
                vec![u16::from_be_bytes([high, low])]
            }
        };
        let kind = std::mem::discriminant::<Held>;
        let taken = self
            .shelf
            .values()
            .filter(|other| kind(other) == kind(held));
        let taken: BTreeSet<u16> = taken.flat_map(tags).collect();
        tags(held).iter().any(|tag| taken.contains(tag))
    }

    fn standby(&self) -> Option<&Held> {
        let key = self.state.keys(Part::AnchorKsk, Phase::Standby).next()?;
        self.shelf.get(&key.stem)
    }
}
