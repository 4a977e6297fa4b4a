//! What an observation of the DNSKEY RRset does to the table (RFC 5011 §4.1).

use std::fmt;

use hickory_proto::dnssec::rdata::DNSKEY;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::key_tag;

use super::set::{AnchorSet, KeyState, TrackedKey, is_anchor, is_same};
use super::{ADD_HOLD_DOWN, MAX_GAP, MAX_TRACKED_KEYS, REMOVE_HOLD_DOWN};

/// The key-signing keys of a validated DNSKEY RRset, and which of them signed it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeySet {
    /// All key-signing keys shown, those with the REVOKE bit, too.
    pub keys: Vec<DNSKEY>,
    /// Those whose signature over the set holds, those with the REVOKE bit, too.
    pub signers: Vec<DNSKEY>,
    /// Those that a succession statement of a key trusted so far names.
    pub succeeding: Vec<DNSKEY>,
    /// The set's time-to-live in the zone, in seconds.
    pub original_ttl: u32,
}

impl KeySet {
    /// The keys that the set revokes: with the REVOKE bit, and signed by themselves (RFC 5011
    /// §2.1).
    pub fn revoked(&self) -> impl Iterator<Item = &DNSKEY> {
        self.signers.iter().filter(|signer| signer.revoke())
    }

    /// Whether the set revokes `key`.
    #[must_use]
    pub fn revokes(&self, key: &DNSKEY) -> bool {
        self.revoked().any(|revoked| is_same(revoked, key))
    }

    /// The keys that signed the set and are not revoked in it.
    pub fn valid_signers(&self) -> impl Iterator<Item = &DNSKEY> {
        let valid = |signer: &&DNSKEY| is_anchor(signer) && !self.revokes(signer);
        self.signers.iter().filter(valid)
    }

    fn sight_of(&self, key: &DNSKEY) -> Sight {
        if self.revokes(key) {
            Sight::Revoked
        } else if self.keys.contains(key) {
            Sight::Present
        } else {
            Sight::Absent
        }
    }
}

/// What happened to a key. The numbers are key tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnchorEvent {
    /// A new key is watched from now on.
    Pending(u16),
    /// A key that was watched is gone before its time was up.
    PendingGone(u16),
    /// A key was watched for long enough, and is trusted.
    Added(u16),
    /// A trusted key named this one as its successor; it is trusted.
    Succeeded(u16),
    /// A trusted key is not shown any more. It stays trusted.
    WentMissing(u16),
    /// And is shown again.
    CameBack(u16),
    /// A key revoked itself.
    Revoked(u16),
    /// A key was revoked long ago.
    Removed(u16),
    /// A key that was revoked is shown as if it was not. It stays revoked.
    RevokedShown(u16),
    /// There is no room to watch this key.
    NoRoom(u16),
    /// Another of the trusted keys signs now.
    Activated(u16),
}

impl AnchorEvent {
    /// Whether a person may want to know why, where nobody said that keys would change.
    #[must_use]
    pub fn is_remarkable(self) -> bool {
        match self {
            Self::PendingGone(_)
            | Self::Succeeded(_)
            | Self::WentMissing(_)
            | Self::Revoked(_)
            | Self::RevokedShown(_)
            | Self::NoRoom(_) => true,
            Self::Pending(_)
            | Self::Added(_)
            | Self::CameBack(_)
            | Self::Removed(_)
            | Self::Activated(_) => false,
        }
    }
}

impl fmt::Display for AnchorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending(tag) => write!(f, "key {tag} is new, and watched before it is trusted"),
            Self::PendingGone(tag) => write!(f, "new key {tag} is gone before it was trusted"),
            Self::Added(tag) => write!(f, "key {tag} was watched for long enough, and is trusted"),
            Self::Succeeded(tag) => write!(f, "an earlier key named key {tag}, which is trusted"),
            Self::WentMissing(tag) => write!(f, "key {tag} is not shown; it stays trusted"),
            Self::CameBack(tag) => write!(f, "key {tag} is shown again"),
            Self::Revoked(tag) => write!(f, "key {tag} revoked itself"),
            Self::Removed(tag) => write!(f, "key {tag} was revoked long ago, and is removed"),
            Self::RevokedShown(tag) => {
                write!(f, "key {tag} was revoked and is shown as if it was not")
            }
            Self::NoRoom(tag) => write!(f, "key {tag} is new, and there is no room to watch it"),
            Self::Activated(tag) => write!(f, "key {tag} signs from now on"),
        }
    }
}

/// Why a set of keys is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTrusted {
    /// None of the trusted keys signed it.
    #[error("none of the trusted keys signed the keys shown")]
    NotSigned,
    /// The set revokes all of the trusted keys that signed it, and none is left.
    #[error("all trusted keys are revoked")]
    AllRevoked,
}

impl AnchorSet {
    /// Whether the set is believed: a trusted key that it does not revoke signed it, or one that
    /// succeeds such a key.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(&self, shown: &KeySet) -> Result<(), NotTrusted> {
        let left = || self.trusted_keys().filter(|key| !shown.revokes(key));
        let succeeds = |signer: &DNSKEY| {
            let gone = self.standing(signer).is_some_and(KeyState::is_gone);
            !gone && shown.succeeding.contains(signer)
        };
        let mut signers = shown.valid_signers();
        if signers.any(|signer| left().any(|key| key == signer) || succeeds(signer)) {
            return Ok(());
        }
        let known = self.keys.iter().any(|held| held.standing.is_trusted());
        Err(match left().next() {
            None if known || self.is_revoked() => NotTrusted::AllRevoked,
            _ => NotTrusted::NotSigned,
        })
    }

    /// A set of keys was seen, over TLS with the key that it leads to. Gives what changed.
    ///
    /// # Errors
    /// Why the set is not believed. Nothing changed then.
    pub fn observe(
        &mut self,
        shown: &KeySet,
        now: UnixTime,
    ) -> Result<Vec<AnchorEvent>, NotTrusted> {
        self.judge(shown)?;
        let passed = now.0.saturating_sub(self.observed.0);
        let passed = passed.min(MAX_GAP.as_secs());
        let mut events = Vec::new();
        self.keys.retain_mut(|held| {
            let (next, event) = next_state(held.standing, shown.sight_of(&held.key), passed);
            events.extend(event.map(|event| event(key_tag(&held.key))));
            if let Some(next) = next {
                held.enter(next, now);
            }
            next.is_some()
        });
        for key in shown.keys.iter().filter(|key| is_anchor(key)) {
            let succeeds = shown.succeeding.contains(key);
            if self.standing(key).is_none() && !shown.revokes(key) {
                events.push(self.begin(key, succeeds, shown.original_ttl, now));
            } else if succeeds {
                events.extend(self.promote(key, now));
            }
        }
        events.extend(self.choose_active(shown));
        self.observed = now;
        Ok(events)
    }

    /// Takes a key that is in no table.
    fn begin(
        &mut self,
        key: &DNSKEY,
        succeeds: bool,
        original_ttl: u32,
        now: UnixTime,
    ) -> AnchorEvent {
        let tag = key_tag(key);
        if self.keys.len() >= MAX_TRACKED_KEYS {
            return AnchorEvent::NoRoom(tag);
        }
        let (standing, event) = if succeeds {
            (KeyState::Valid, AnchorEvent::Succeeded(tag))
        } else {
            let needed = ADD_HOLD_DOWN.as_secs().max(u64::from(original_ttl));
            let standing = KeyState::AddPend { watched: 0, needed };
            (standing, AnchorEvent::Pending(tag))
        };
        self.keys.push(TrackedKey {
            key: key.clone(),
            standing,
            since: now,
            active: false,
        });
        event
    }

    /// A key that is watched is named as a successor.
    fn promote(&mut self, key: &DNSKEY, now: UnixTime) -> Option<AnchorEvent> {
        let pending = |held: &&mut TrackedKey| {
            held.key == *key && matches!(held.standing, KeyState::AddPend { .. })
        };
        let held = self.keys.iter_mut().find(pending)?;
        held.enter(KeyState::Valid, now);
        Some(AnchorEvent::Succeeded(key_tag(key)))
    }

    /// Where several trusted keys sign, as while one takes over from another, the one that was
    /// active stays so.
    fn choose_active(&mut self, shown: &KeySet) -> Option<AnchorEvent> {
        let signs = |held: &TrackedKey| {
            held.standing.is_trusted() && shown.valid_signers().any(|signer| *signer == held.key)
        };
        let before = self.keys.iter().position(|held| held.active);
        let stays = before.filter(|at| self.keys.get(*at).is_some_and(signs));
        let active = stays.or_else(|| self.keys.iter().position(signs));
        let mut event = None;
        for (at, held) in self.keys.iter_mut().enumerate() {
            let now_active = active == Some(at);
            if now_active && !held.active {
                event = Some(AnchorEvent::Activated(key_tag(&held.key)));
            }
            held.active = now_active;
        }
        event
    }
}

impl TrackedKey {
    fn enter(&mut self, next: KeyState, now: UnixTime) {
        if std::mem::discriminant(&next) != std::mem::discriminant(&self.standing) {
            self.since = now;
        }
        self.standing = next;
        self.active &= next.is_trusted();
    }
}

/// How a set of keys shows one of them.
#[derive(Clone, Copy)]
enum Sight {
    Absent,
    Present,
    Revoked,
}

type Event = fn(u16) -> AnchorEvent;

/// The state table (RFC 5011 §4.2), for a key that is in it. No state: back to *Start*.
fn next_state(from: KeyState, sight: Sight, passed: u64) -> (Option<KeyState>, Option<Event>) {
    use KeyState::{AddPend, Missing, Removed, Revoked, Valid};
    let (next, event): (KeyState, Option<Event>) = match (from, sight) {
        (AddPend { .. } | Valid | Missing, Sight::Revoked) => {
            (Revoked { watched: 0 }, Some(AnchorEvent::Revoked))
        }
        (AddPend { .. }, Sight::Absent) => return (None, Some(AnchorEvent::PendingGone)),
        (AddPend { watched, needed }, Sight::Present) => {
            let watched = watched.saturating_add(passed);
            if watched >= needed {
                (Valid, Some(AnchorEvent::Added))
            } else {
                (AddPend { watched, needed }, None)
            }
        }
        (Valid, Sight::Present) => (Valid, None),
        (Valid, Sight::Absent) => (Missing, Some(AnchorEvent::WentMissing)),
        (Missing, Sight::Present) => (Valid, Some(AnchorEvent::CameBack)),
        (Missing, Sight::Absent) => (Missing, None),
        (Revoked { .. } | Removed, Sight::Present) => (from, Some(AnchorEvent::RevokedShown)),
        (Revoked { watched }, Sight::Absent | Sight::Revoked) => {
            let watched = watched.saturating_add(passed);
            if watched >= REMOVE_HOLD_DOWN.as_secs() {
                (Removed, Some(AnchorEvent::Removed))
            } else {
                (Revoked { watched }, None)
            }
        }
        (Removed, Sight::Absent | Sight::Revoked) => (Removed, None),
    };
    (Some(next), event)
}
