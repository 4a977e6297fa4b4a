//! The table: which keys are trusted, and which never again.

use hickory_proto::dnssec::PublicKey;
use hickory_proto::dnssec::rdata::DNSKEY;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::key_tag;

use super::MAX_TRACKED_KEYS;
use super::observe::KeySet;
use crate::trust::dnskey_texts;
use crate::validate::ZoneKey;

/// Where a key stands (RFC 5011 §4.2). A key in state *Start* is in no table.
///
/// ```text
///   Start ──new──► AddPend ──time──► Valid ◄──seen──┐
///     ▲               │                │            │
///     └────gone───────┤                └──gone──► Missing
///                     └──revoked──┐    │            │
///                                 ▼    ▼ revoked    │
///                  Removed ◄─time── Revoked ◄───────┘
/// ```
///
/// RFC 5011 says nothing of a revoked key that was still pending; here it is revoked like any other,
/// so that it cannot begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "state",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum KeyState {
    /// Seen, not trusted yet.
    AddPend {
        /// For how many seconds it was watched.
        watched: u64,
        /// For how many it must be.
        needed: u64,
    },
    /// Trusted, and in the set seen last.
    Valid,
    /// Trusted, and not in the set seen last.
    Missing,
    /// Revoked by its own signature; never trusted again.
    Revoked {
        /// For how many seconds that was watched.
        watched: u64,
    },
    /// Revoked long ago; kept so that it is never trusted again.
    Removed,
}

impl KeyState {
    /// Whether signatures of such a key are believed.
    #[must_use]
    pub fn is_trusted(self) -> bool {
        matches!(self, Self::Valid | Self::Missing)
    }

    /// Whether no way leads back from here.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Revoked { .. } | Self::Removed)
    }
}

/// One key and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrackedKey {
    /// The key, without the REVOKE bit.
    #[serde(with = "dnskey_texts::one")]
    pub key: DNSKEY,
    /// Where it stands.
    pub standing: KeyState,
    /// Since when.
    pub since: UnixTime,
    /// Whether it signed the set seen last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub active: bool,
}

/// All keys that ever mattered, and which of them signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct AnchorSet {
    pub(super) keys: Vec<TrackedKey>,
    /// When a set was seen last.
    pub(super) observed: UnixTime,
}

/// The form that is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    keys: Vec<TrackedKey>,
    observed: UnixTime,
}

/// Why a table that was read is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorSetError {
    /// More keys than are kept.
    #[error("an anchor of more than {MAX_TRACKED_KEYS} keys")]
    TooManyKeys,
    /// A key that no trust is anchored in.
    #[error("key {0} of an anchor is no key-signing key")]
    NotAnAnchor(u16),
    /// One key twice.
    #[error("key {0} is in an anchor twice")]
    Twice(u16),
    /// The key that is said to sign is not trusted, or not the only one.
    #[error("the active key of an anchor is not one of its trusted keys")]
    NotActive,
}

impl AnchorSet {
    /// The table after a first meeting: all of `keys` that can be anchors are trusted, since there
    /// is nothing to compare them with. `active` is the one that signed, where that is known.
    #[must_use]
    pub fn first_use(keys: &[DNSKEY], active: Option<&DNSKEY>, now: UnixTime) -> Self {
        let mut tracked: Vec<TrackedKey> = Vec::new();
        for key in keys.iter().filter(|key| is_anchor(key)) {
            if tracked.len() < MAX_TRACKED_KEYS && !tracked.iter().any(|held| held.key == *key) {
                tracked.push(TrackedKey {
                    key: key.clone(),
                    standing: KeyState::Valid,
                    since: now,
                    active: active == Some(key),
                });
            }
        }
        Self {
            keys: tracked,
            observed: now,
        }
    }

    /// The table after a first meeting with this set of keys.
    #[must_use]
    pub fn first_seen(shown: &KeySet, now: UnixTime) -> Self {
        let kept = shown.keys.iter().filter(|key| !shown.revokes(key));
        let keys: Vec<DNSKEY> = kept.cloned().collect();
        Self::first_use(&keys, shown.valid_signers().next(), now)
    }

    /// The keys whose signatures are believed.
    #[must_use]
    pub fn trusted(&self) -> Vec<DNSKEY> {
        self.trusted_keys().cloned().collect()
    }

    pub(super) fn trusted_keys(&self) -> impl Iterator<Item = &DNSKEY> {
        let trusted = self.keys.iter().filter(|held| held.standing.is_trusted());
        trusted.map(|held| &held.key)
    }

    /// The trusted key that signed the set seen last: what a phrase and a code are made of. None
    /// where that is not known yet.
    #[must_use]
    pub fn active(&self) -> Option<&DNSKEY> {
        let active = self.keys.iter().find(|held| held.active)?;
        Some(&active.key)
    }

    /// The whole table.
    #[must_use]
    pub fn keys(&self) -> &[TrackedKey] {
        &self.keys
    }

    /// When a set of keys was seen last.
    #[must_use]
    pub fn observed(&self) -> UnixTime {
        self.observed
    }

    /// Where `key` stands, with or without its REVOKE bit; none where it is in no table.
    #[must_use]
    pub fn standing(&self, key: &DNSKEY) -> Option<KeyState> {
        let held = self.keys.iter().find(|held| is_same(&held.key, key))?;
        Some(held.standing)
    }

    /// Whether there were keys and none of them is left: the resolver revoked itself.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.keys.iter().any(|held| held.standing.is_gone())
            && !self.keys.iter().any(|held| held.standing.is_trusted())
    }
}

/// Whether trust may be anchored in this key: it signs keys, and is not revoked.
pub(super) fn is_anchor(key: &DNSKEY) -> bool {
    ZoneKey::from(key).is_anchor_material()
}

/// Whether both are one key, whatever the flags say.
pub(super) fn is_same(one: &DNSKEY, other: &DNSKEY) -> bool {
    let (one, other) = (one.public_key(), other.public_key());
    one.algorithm() == other.algorithm() && one.public_bytes() == other.public_bytes()
}

impl From<AnchorSet> for Table {
    fn from(set: AnchorSet) -> Self {
        Self {
            keys: set.keys,
            observed: set.observed,
        }
    }
}

impl TryFrom<Table> for AnchorSet {
    type Error = AnchorSetError;

    fn try_from(table: Table) -> Result<Self, Self::Error> {
        let Table { keys, observed } = table;
        if keys.len() > MAX_TRACKED_KEYS {
            return Err(AnchorSetError::TooManyKeys);
        }
        for (at, held) in keys.iter().enumerate() {
            if !is_anchor(&held.key) {
                return Err(AnchorSetError::NotAnAnchor(key_tag(&held.key)));
            }
            let others = keys.iter().skip(at + 1);
            if others
                .into_iter()
                .any(|other| is_same(&other.key, &held.key))
            {
                return Err(AnchorSetError::Twice(key_tag(&held.key)));
            }
        }
        let active = || keys.iter().filter(|held| held.active);
        if active().count() > 1 || active().any(|held| !held.standing.is_trusted()) {
            return Err(AnchorSetError::NotActive);
        }
        Ok(Self { keys, observed })
    }
}
