//! Resolvers that were met and are not trusted, until a person decides.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::{Store, StoreError};
use crate::network::SignalKind;
use crate::place::Surroundings;
use crate::trust::KnownIdentity;

/// Resolvers that wait for a decision; beyond that the oldest is dropped. Whoever shows many names at once fills it, and
/// no more than that: nothing that is trusted is ever dropped for it.
pub const PENDING_MAX: usize = 32;

/// A resolver about which a person has to decide. It validated, and its TLS key is the one that it publishes: it is what
/// it says that it is, and whether that is the one that the person means, only the person can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pending {
    /// As it would be remembered.
    pub identity: KnownIdentity,
    /// Where it was met.
    pub surroundings: Surroundings,
    /// The server that was asked there.
    pub server: SocketAddr,
    /// When it was first met there.
    pub since: UnixTime,
    /// Why it waits.
    pub why: WhyPending,
}

/// Why a person has to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum WhyPending {
    /// Nobody is expected here, and the policy is to ask.
    FirstUse,
    /// Another one is expected here. It takes a comparison to accept this one instead.
    Mismatch {
        /// Who is expected.
        expected: ResolverName,
    },
    /// It is the one expected, and proved that; but the network has changed.
    Changed {
        /// What differs.
        differs: Vec<SignalKind>,
    },
}

impl WhyPending {
    /// A stable name in kebab-case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::FirstUse => "first-use",
            Self::Mismatch { .. } => "mismatch",
            Self::Changed { .. } => "changed",
        }
    }
}

impl Store {
    /// All that wait for a decision, the oldest first.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let mut all: Vec<_> = self.lock().content.pending.values().cloned().collect();
        all.sort_by_key(|pending| pending.since);
        all
    }

    /// The one of this name.
    #[must_use]
    pub fn pending_of(&self, name: &ResolverName) -> Option<Pending> {
        self.lock().content.pending.get(name).cloned()
    }

    /// Puts one before a person; false when it waits already, for the same reason in the same place.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn set_pending(&self, pending: Pending) -> Result<bool, StoreError> {
        self.change(|content| {
            let name = pending.identity.name.clone();
            if let Some(waits) = content.pending.get(&name)
                && waits.why == pending.why
                && waits.surroundings == pending.surroundings
                && waits.identity.anchor.trusted() == pending.identity.anchor.trusted()
                && waits.identity.tlsa == pending.identity.tlsa
            {
                return false;
            }
            content.pending.insert(name.clone(), pending);
            while content.pending.len() > PENDING_MAX {
                let others = content.pending.iter().filter(|(other, _)| **other != name);
                let Some((oldest, _)) = others.min_by_key(|(_, pending)| pending.since) else {
                    break;
                };
                let oldest = oldest.clone();
                content.pending.remove(&oldest);
            }
            true
        })
    }

    /// Takes one away undecided; false when there is none of this name.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn dismiss(&self, name: &ResolverName) -> Result<bool, StoreError> {
        self.change(|content| content.pending.remove(name).is_some())
    }
}
