//! The networks that are remembered: whom to expect in each, and what it is recognised by.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::content::Content;
use super::{Store, StoreError};
use crate::network::Signals;
use crate::place::{NetworkId, Place, Surroundings};
use crate::trust::KnownIdentity;

/// Networks that are remembered; beyond that the one that was confirmed longest ago is forgotten. A traveller meets far
/// fewer with a resolver of this kind.
pub const NETWORKS_MAX: usize = 1024;
/// Signals of one kind that are remembered of one network.
pub const SIGNALS_MAX: usize = 16;
/// A network that was confirmed more recently is not written down again for that alone, in seconds.
const CONFIRMED_LATELY: u64 = 3600;

/// A network in which somebody is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KnownNetwork {
    /// Its number.
    pub id: NetworkId,
    /// Who is expected.
    pub expects: ResolverName,
    /// The server that the network named when it was last confirmed.
    pub server: SocketAddr,
    /// Where the resolver was reached then.
    pub endpoint: SocketAddr,
    /// What it is recognised by.
    pub signals: Signals,
    /// When it was first met.
    pub first_seen: UnixTime,
    /// When the resolver last proved itself here.
    pub confirmed: UnixTime,
    /// What its owner calls it.
    pub label: Option<String>,
}

impl KnownNetwork {
    /// Where the resolver is, now that the network names `server`. It moves along with the server where it was the
    /// server itself; a resolver behind the server stays where it is.
    fn endpoint_behind(&self, server: SocketAddr) -> SocketAddr {
        if self.endpoint.ip().to_canonical() != self.server.ip().to_canonical() {
            return self.endpoint;
        }
        let mut moved = server;
        moved.set_port(self.endpoint.port());
        moved
    }

    /// Takes over what the network shows now; whether anything is new.
    pub(super) fn adopt(&mut self, signals: &Signals) -> bool {
        let mut changed = false;
        for (kind, seen) in &signals.0 {
            let known = self.signals.0.entry(*kind).or_default();
            if seen.is_subset(known) {
                continue;
            }
            changed = true;
            known.extend(seen);
            if known.len() > SIGNALS_MAX {
                *known = seen.iter().take(SIGNALS_MAX).copied().collect();
            }
        }
        changed
    }
}

impl Store {
    /// What the signals of networks are hidden under: one for each install.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        let inner = self.lock();
        // Every opening draws one where there is none.
        inner
            .content
            .secret
            .as_ref()
            .map_or([0; 32], |secret| secret.0)
    }

    /// All networks, sorted by number.
    #[must_use]
    pub fn networks(&self) -> Vec<KnownNetwork> {
        self.lock().content.networks.values().cloned().collect()
    }

    /// The network of this number.
    #[must_use]
    pub fn network(&self, id: NetworkId) -> Option<KnownNetwork> {
        self.lock().content.networks.get(&id).cloned()
    }

    /// The identity that is expected at a place where `server` is what the network names now: with the endpoint at which
    /// to look for it there.
    #[must_use]
    pub fn expected_behind(&self, place: Place, server: SocketAddr) -> Option<KnownIdentity> {
        let mut identity = self.expected_at(place)?;
        if let Place::Network(id) = place
            && let Some(network) = self.lock().content.networks.get(&id)
        {
            identity.endpoint = network.endpoint_behind(server);
        }
        Some(identity)
    }

    /// Whoever is expected at a place proved itself there just now, behind `server`: a network counts as confirmed, and
    /// signals that drifted are added; unless there is doubt, which only a person takes away. False where nothing had
    /// to be written.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn confirm(
        &self,
        surroundings: &Surroundings,
        server: SocketAddr,
        endpoint: SocketAddr,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let (Place::Network(id), None) = (surroundings.place, &surroundings.doubt) else {
            return Ok(false);
        };
        self.change(|content| {
            let Some(network) = content.networks.get_mut(&id) else {
                return false;
            };
            let at = (network.server, network.endpoint);
            let drifted = network.adopt(&surroundings.signals);
            let moved = at != (server, endpoint);
            (network.server, network.endpoint) = (server, endpoint);
            let before = network.confirmed;
            network.confirmed = before.max(now);
            drifted || moved || now.0.saturating_sub(before.0) >= CONFIRMED_LATELY
        })
    }

    /// Names a network, or takes its name away; false when it is not known.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn label_network(&self, id: NetworkId, label: Option<String>) -> Result<bool, StoreError> {
        self.change(|content| {
            let network = content.networks.get_mut(&id);
            network.map(|network| network.label = label).is_some()
        })
    }

    /// Forgets a network, and that it was told apart from another, and not who was expected there; false when it is not
    /// known.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn forget_network(&self, id: NetworkId) -> Result<bool, StoreError> {
        self.change(|content| {
            let known = content.networks.remove(&id).is_some();
            content.separated.remove(&id).is_some() || known
        })
    }
}

impl Content {
    /// `identity` is expected from now on in the network where it was met.
    pub(super) fn bind_network(
        &mut self,
        id: NetworkId,
        surroundings: &Surroundings,
        server: SocketAddr,
        identity: &KnownIdentity,
    ) {
        let (name, now) = (&identity.name, identity.last_seen);
        let held = self.networks.get(&id);
        let doubtful = surroundings.doubt.is_some() && held.is_some();
        if doubtful && held.is_some_and(|network| network.expects != *name) {
            return;
        }
        let network = self.networks.entry(id).or_insert_with(|| KnownNetwork {
            id,
            expects: name.clone(),
            server,
            endpoint: identity.endpoint,
            signals: Signals::default(),
            first_seen: now,
            confirmed: now,
            label: None,
        });
        network.expects = name.clone();
        network.server = server;
        network.endpoint = identity.endpoint;
        network.confirmed = network.confirmed.max(now);
        if !doubtful {
            network.adopt(&surroundings.signals);
        }
        while self.networks.len() > NETWORKS_MAX {
            let others = self.networks.values().filter(|network| network.id != id);
            let Some(oldest) = others.min_by_key(|network| network.confirmed) else {
                return;
            };
            let oldest = oldest.id;
            self.networks.remove(&oldest);
        }
    }
}
