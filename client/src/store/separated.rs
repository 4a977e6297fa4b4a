//! What a person says about a network that looks like a known one and differs: it is another one, or it is the same.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;

use super::pending::WhyPending;
use super::{Store, StoreError};
use crate::network::{SignalKind, Signals};
use crate::place::{NetworkId, Place, Surroundings};
use crate::trust::KnownIdentity;

/// Networks that were told apart and are remembered as that; beyond that the oldest is dropped, and is suspect again.
pub const SEPARATED_MAX: usize = 256;

/// A network of which a person said that it is not the known one that it looks like. Nobody has to be expected in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SeparatedNetwork {
    /// Its number; whoever is met in it is expected under this.
    pub id: NetworkId,
    /// The one that it looks like.
    pub from: NetworkId,
    /// What it showed.
    pub signals: Signals,
    /// When the person said so.
    pub at: UnixTime,
}

impl Store {
    /// All networks that were told apart, sorted by number.
    #[must_use]
    pub fn separated(&self) -> Vec<SeparatedNetwork> {
        self.lock().content.separated.values().cloned().collect()
    }

    /// What shows `doubtful` is not the known network that it was taken for: it is `new` from now on. What is known of
    /// the other one, and what that is recognised by, stays as it is; whoever was met here in its place does not wait for
    /// a decision any more, since the decision would be about the wrong network. False when there is no doubt about it,
    /// or the other one is not known.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn separate(
        &self,
        new: NetworkId,
        doubtful: &Surroundings,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let (Place::Network(from), Some(_)) = (doubtful.place, &doubtful.doubt) else {
            return Ok(false);
        };
        self.change(|content| {
            if !content.networks.contains_key(&from) {
                return false;
            }
            content.pending.retain(|_, pending| {
                let there = &pending.surroundings;
                there.place != doubtful.place || there.doubt.is_none()
            });
            let separated = SeparatedNetwork {
                id: new,
                from,
                signals: doubtful.signals.clone(),
                at: now,
            };
            content.separated.insert(new, separated);
            while content.separated.len() > SEPARATED_MAX {
                let others = content.separated.values().filter(|other| other.id != new);
                let Some(oldest) = others.min_by_key(|other| other.at).map(|other| other.id) else {
                    break;
                };
                content.separated.remove(&oldest);
            }
            true
        })
    }

    /// What shows `doubtful` is the known network: it is recognised by that, too, from now on. Whoever calls this has seen
    /// `identity` prove itself there, behind `server`. Gives back of which kinds something was learned; none when there
    /// is no doubt about it, or another one is expected there.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn accept(
        &self,
        doubtful: &Surroundings,
        server: SocketAddr,
        identity: &KnownIdentity,
        now: UnixTime,
    ) -> Result<Option<Vec<SignalKind>>, StoreError> {
        let (Place::Network(id), Some(_)) = (doubtful.place, &doubtful.doubt) else {
            return Ok(None);
        };
        let mut learned = None;
        self.change(|content| {
            let network = content.networks.get_mut(&id);
            let Some(network) = network.filter(|network| network.expects == identity.name) else {
                return false;
            };
            let kinds = SignalKind::ALL.into_iter().filter(|kind| {
                let known: Vec<_> = network.signals.of(*kind).collect();
                doubtful
                    .signals
                    .of(*kind)
                    .any(|seen| !known.contains(&seen))
            });
            learned = Some(kinds.collect());
            network.adopt(&doubtful.signals);
            (network.server, network.endpoint) = (server, identity.endpoint);
            network.confirmed = network.confirmed.max(now);
            content.pending.retain(|name, pending| {
                *name != identity.name
                    || pending.surroundings.place != doubtful.place
                    || !matches!(pending.why, WhyPending::Changed { .. })
            });
            true
        })?;
        Ok(learned)
    }
}
