//! What people decide about resolvers, and what they carry from one computer to another.
//!
//! Everything here makes somebody trusted or untrusted by the word of a person. Who may say such a word is for the caller
//! to see to.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::content::{Content, sha256};
use super::pending::WhyPending;
use super::{Store, StoreError};
use crate::trust::{Enrolled, KnownIdentity, TrustState, Verification, VerifiedBy};

/// Largest export that is read.
pub const EXPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Resolvers that may be enrolled and not met yet.
pub const ENROLLED_MAX: usize = 256;

const FORMAT: &str = "zzdot-client-export";
const EXPORT_VERSION: u32 = 1;

/// Why a decision has no effect.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// Nobody of this name is remembered, or waits.
    #[error("{name} is not known here")]
    Unknown {
        /// The name.
        name: ResolverName,
    },
    /// Another resolver is expected where this one was met: it takes a comparison to accept it.
    #[error(
        "{expected} is expected where {name} was met: it takes its phrase or its code to accept {name} instead"
    )]
    NotVerified {
        /// The one that was met.
        name: ResolverName,
        /// The one that is expected.
        expected: Box<ResolverName>,
    },
    /// It is the one expected in a network that has changed: that is accepted by [`Store::accept`], after it proved itself
    /// there once more.
    #[error("{name} is expected in a network that has changed: it has to prove itself there first")]
    NotProven {
        /// The one that is expected.
        name: ResolverName,
    },
    /// It was revoked, which is for ever.
    #[error("{name} was revoked, and is never used again")]
    Revoked {
        /// The name.
        name: ResolverName,
    },
    /// What somebody vouched for is not what is known under that name.
    #[error("{name} is known with another key than the one vouched for")]
    OtherKey {
        /// The name.
        name: ResolverName,
    },
    /// Nobody may be enrolled any more before somebody was met or forgotten.
    #[error("{ENROLLED_MAX} resolvers are enrolled and were not met yet; forget one first")]
    Full,
    /// A text is not an export, or not all of one.
    #[error("this is no export that can be read: {0}")]
    NotAnExport(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a client can tell another one: whom it knows. Where it met them, and by what it recognises its networks, stays
/// with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exported {
    /// Resolvers that were met.
    pub identities: BTreeMap<ResolverName, KnownIdentity>,
    /// Those that somebody vouched for, and that were not met yet.
    pub enrolled: BTreeMap<ResolverName, Enrolled>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportFile {
    format: String,
    version: u32,
    sha256: String,
    content: Exported,
}

/// The one field that stays, whatever the version.
#[derive(Deserialize)]
struct Versioned {
    format: String,
    version: u32,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Imported {
    /// Were not known before.
    pub added: Vec<ResolverName>,
    /// Were known, and count as verified now.
    pub verified: Vec<ResolverName>,
    /// Count as revoked now.
    pub revoked: Vec<ResolverName>,
    /// Were known already as well as the export knows them.
    pub unchanged: Vec<ResolverName>,
}

impl Exported {
    /// Reads the text of an export. What is cut short or changed is noticed by its digest.
    ///
    /// # Errors
    /// [`DecisionError::NotAnExport`].
    pub fn read(text: &str) -> Result<Self, DecisionError> {
        let wrong = |reason: String| DecisionError::NotAnExport(reason);
        if text.len() > EXPORT_BYTES_MAX {
            return Err(wrong(format!("it is larger than {EXPORT_BYTES_MAX} bytes")));
        }
        let unreadable = |error: serde_json::Error| wrong(error.to_string());
        // The head alone, since a later version may have more fields.
        let head: Versioned = serde_json::from_str(text).map_err(unreadable)?;
        if head.format != FORMAT {
            return Err(wrong(format!("its format is not {FORMAT}")));
        }
        if head.version != EXPORT_VERSION {
            let version = head.version;
            return Err(wrong(format!("version {version} is not {EXPORT_VERSION}")));
        }
        let file: ExportFile = serde_json::from_str(text).map_err(unreadable)?;
        if file.sha256 != file.content.digest().map_err(unreadable)? {
            return Err(wrong("its checksum does not match".to_owned()));
        }
        let content = file.content;
        let named = content.identities.iter().all(|(name, it)| *name == it.name)
            && content.enrolled.iter().all(|(name, it)| *name == it.name);
        if !named {
            return Err(wrong("its parts do not belong together".to_owned()));
        }
        Ok(content)
    }

    /// The text that [`Exported::read`] reads.
    ///
    /// # Errors
    /// None that are known: names, numbers and texts become JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(&ExportFile {
            format: FORMAT.to_owned(),
            version: EXPORT_VERSION,
            sha256: self.digest()?,
            content: self.clone(),
        })?;
        text.push('\n');
        Ok(text)
    }

    fn digest(&self) -> Result<String, serde_json::Error> {
        Ok(HEXLOWER.encode(&sha256(&[&serde_json::to_vec(self)?])))
    }
}

impl Store {
    /// What somebody vouched for under this name, if it was not met since.
    #[must_use]
    pub fn enrolled(&self, name: &ResolverName) -> Option<Enrolled> {
        self.lock().content.enrolled.get(name).cloned()
    }

    /// All that somebody vouched for and that were not met since, sorted by name.
    #[must_use]
    pub fn all_enrolled(&self) -> Vec<Enrolled> {
        self.lock().content.enrolled.values().cloned().collect()
    }

    /// Somebody vouches for a resolver: where it is known, it is verified; elsewhere the first meeting verifies it. Gives
    /// back whether it is known.
    ///
    /// # Errors
    /// [`DecisionError::OtherKey`], [`DecisionError::Revoked`], [`DecisionError::Full`], or the store's. Nothing changed.
    pub fn enrol(&self, enrolled: Enrolled) -> Result<bool, DecisionError> {
        self.decide(|content| content.enrol(enrolled))
    }

    /// A person compared: a resolver that is known is verified from now on.
    ///
    /// # Errors
    /// [`DecisionError::Unknown`], [`DecisionError::Revoked`], or the store's. Nothing changed.
    pub fn verify(
        &self,
        name: &ResolverName,
        verification: Verification,
    ) -> Result<KnownIdentity, DecisionError> {
        self.verify_if(name, verification, |_| true)
    }

    /// The same if it is still whoever `is_meant`.
    ///
    /// # Errors
    /// Those, and [`DecisionError::OtherKey`]. Nothing changed.
    pub fn verify_if(
        &self,
        name: &ResolverName,
        verification: Verification,
        is_meant: impl FnOnce(&KnownIdentity) -> bool,
    ) -> Result<KnownIdentity, DecisionError> {
        self.decide(|content| {
            let known = content.identities.get_mut(name);
            let known = known.ok_or_else(|| DecisionError::Unknown { name: name.clone() })?;
            if known.state == TrustState::Revoked {
                return Err(DecisionError::Revoked { name: name.clone() });
            }
            if !is_meant(known) {
                return Err(DecisionError::OtherKey { name: name.clone() });
            }
            *known = known.clone().verified(verification);
            Ok(known.clone())
        })
    }

    /// A person decides for a resolver that waits: from now on it is expected where it was met. Where another one is
    /// expected there, that takes a verification; there is no way around it. Where it is expected already and the network
    /// has changed, neither will do: see [`Store::accept`].
    ///
    /// # Errors
    /// [`DecisionError::Unknown`] when it does not wait, [`DecisionError::NotVerified`], [`DecisionError::NotProven`],
    /// [`DecisionError::Revoked`], or the store's. Nothing changed.
    pub fn approve(
        &self,
        name: &ResolverName,
        verification: Option<Verification>,
    ) -> Result<KnownIdentity, DecisionError> {
        self.approve_if(name, verification, |_| true)
    }

    /// The same for whoever `is_meant`: somebody else may have taken the place of the one that a person compared since then.
    ///
    /// # Errors
    /// Those, and [`DecisionError::OtherKey`]. Nothing changed.
    pub fn approve_if(
        &self,
        name: &ResolverName,
        verification: Option<Verification>,
        is_meant: impl FnOnce(&KnownIdentity) -> bool,
    ) -> Result<KnownIdentity, DecisionError> {
        self.decide(|content| {
            let name = name.clone();
            let Some(mut pending) = content.pending.get(&name).cloned() else {
                return Err(DecisionError::Unknown { name });
            };
            let held = content.identities.get(&name);
            if held.is_some_and(|held| held.state == TrustState::Revoked) {
                return Err(DecisionError::Revoked { name });
            }
            match (&pending.why, verification) {
                (WhyPending::Mismatch { expected }, None) => {
                    let expected = Box::new(expected.clone());
                    return Err(DecisionError::NotVerified { name, expected });
                }
                (WhyPending::Changed { .. }, _) => return Err(DecisionError::NotProven { name }),
                _ => {}
            }
            // What is remembered may be newer than what waits.
            let mut identity = match held {
                Some(held) => KnownIdentity {
                    endpoint: pending.identity.endpoint,
                    ..held.clone()
                },
                None => pending.identity,
            };
            if !is_meant(&identity) {
                return Err(DecisionError::OtherKey { name });
            }
            if let Some(verification) = verification {
                identity = identity.verified(verification);
            }
            pending.surroundings.doubt = None;
            content.bind(&pending.surroundings, pending.server, &identity);
            content.take_in(identity.clone());
            content.pending.remove(&name);
            Ok(identity)
        })
    }

    /// A resolver revoked its identity: it is never used again. False when it is not known, or was revoked before.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn revoke(&self, name: &ResolverName) -> Result<bool, StoreError> {
        self.change(|content| {
            content.pending.remove(name);
            content.enrolled.remove(name);
            match content.identities.get_mut(name) {
                Some(known) if known.state != TrustState::Revoked => {
                    *known = known.clone().revoked();
                    true
                }
                _ => false,
            }
        })
    }

    /// All that can be told to another client.
    #[must_use]
    pub fn export(&self) -> Exported {
        self.lock().content.exported()
    }

    /// Takes over what another client knows: resolvers that are not known here; verifications and revocations of those
    /// that are. What is known here already is never replaced. All of it is taken over, or nothing is.
    ///
    /// # Errors
    /// [`DecisionError::OtherKey`] where both know one name with different keys, or the store's. Nothing changed.
    pub fn import(&self, exported: &Exported, now: UnixTime) -> Result<Imported, DecisionError> {
        self.decide(|content| {
            let mut imported = Imported::default();
            for told in exported.identities.values() {
                content.import(told, now, &mut imported)?;
            }
            for (name, told) in &exported.enrolled {
                if content.identities.contains_key(name) || content.enrolled.contains_key(name) {
                    continue;
                }
                if content.enrolled.len() >= ENROLLED_MAX {
                    return Err(DecisionError::Full);
                }
                content.enrolled.insert(name.clone(), told.clone());
                imported.added.push(name.clone());
            }
            Ok(imported)
        })
    }

    /// Changes what is remembered if the decision can be taken.
    fn decide<T>(
        &self,
        decide: impl FnOnce(&mut Content) -> Result<T, DecisionError>,
    ) -> Result<T, DecisionError> {
        let mut outcome = None;
        self.change(|content| {
            let before = content.clone();
            let decided = decide(content);
            let changed = decided.is_ok() && *content != before;
            outcome = Some(decided);
            changed
        })?;
        outcome.expect("a change is decided before it is written or left")
    }
}

impl Content {
    pub(super) fn exported(&self) -> Exported {
        Exported {
            identities: self.identities.clone(),
            enrolled: self.enrolled.clone(),
        }
    }

    pub(super) fn enrol(&mut self, enrolled: Enrolled) -> Result<bool, DecisionError> {
        let name = enrolled.name.clone();
        let Some(known) = self.identities.get_mut(&name) else {
            let others = self.enrolled.keys().filter(|other| **other != name);
            if others.count() >= ENROLLED_MAX {
                return Err(DecisionError::Full);
            }
            self.enrolled.insert(name, enrolled);
            return Ok(false);
        };
        if known.state == TrustState::Revoked {
            return Err(DecisionError::Revoked { name });
        }
        if !known.anchor.active().is_some_and(|key| enrolled.names(key)) {
            return Err(DecisionError::OtherKey { name });
        }
        *known = known.clone().verified(enrolled.verification());
        Ok(true)
    }

    fn import(
        &mut self,
        told: &KnownIdentity,
        now: UnixTime,
        imported: &mut Imported,
    ) -> Result<(), DecisionError> {
        let name = told.name.clone();
        let verification = Verification {
            by: VerifiedBy::Imported,
            at: now,
        };
        let vouched = matches!(told.state, TrustState::Verified | TrustState::Managed);
        let Some(held) = self.identities.get_mut(&name) else {
            let mut new = told.clone();
            // Nobody was met here yet, and the other computer's clock is not ours.
            new.first_seen = told.first_seen.min(now);
            new.last_seen = told.last_seen.min(now);
            for version in [&mut new.versions.anchor_zone, &mut new.versions.name_zone] {
                version.accepted = version.accepted.min(now);
            }
            if vouched {
                new = new.verified(verification);
            }
            self.enrolled.remove(&name);
            self.identities.insert(name.clone(), new);
            imported.added.push(name);
            return Ok(());
        };
        if held.state == TrustState::Revoked {
            imported.unchanged.push(name);
        } else if told.state == TrustState::Revoked {
            *held = held.clone().revoked();
            imported.revoked.push(name);
        } else if !shares_key(held, told) {
            return Err(DecisionError::OtherKey { name });
        } else if vouched && held.verification.is_none() {
            *held = held.clone().verified(verification);
            imported.verified.push(name);
        } else {
            imported.unchanged.push(name);
        }
        Ok(())
    }
}

/// Whether the key that one of them last signed with is trusted by the other.
fn shares_key(held: &KnownIdentity, told: &KnownIdentity) -> bool {
    let trusts = |one: &KnownIdentity, other: &KnownIdentity| {
        let trusted = one.anchor.trusted();
        match other.anchor.active() {
            Some(key) => trusted.contains(key),
            None => other
                .anchor
                .trusted()
                .iter()
                .any(|key| trusted.contains(key)),
        }
    };
    trusts(held, told) || trusts(told, held)
}
