//! What is remembered, as a whole, and the digest by which a damaged copy is noticed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use crate::trust::KnownIdentity;

/// Everything that is remembered. Small: a person meets a handful of resolvers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    /// Rises by one with each change: of two sound copies the higher is the newer.
    pub(super) generation: u64,
    pub(super) identities: BTreeMap<ResolverName, KnownIdentity>,
    pub(super) bindings: BTreeMap<SocketAddr, Binding>,
}

/// A configured server, and the identity that is expected behind it ever since it was met there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Who is expected.
    pub name: ResolverName,
    /// Since when.
    pub since: UnixTime,
}

/// The key of a server's binding. The number of a link is left out: it may be another one after the
/// next start, and whoever is known must not become a stranger by that. Nor by IPv4 written as IPv6.
pub(super) fn place_of(server: SocketAddr) -> SocketAddr {
    SocketAddr::new(server.ip().to_canonical(), server.port())
}

impl Content {
    /// SHA-256 over the canonical form: the fields in order, the maps sorted.
    pub(super) fn digest(&self) -> Result<[u8; 32], serde_json::Error> {
        Ok(sha256(&[&serde_json::to_vec(self)?]))
    }

    /// Every binding leads to an identity, and every identity stands under its own name.
    pub(super) fn is_consistent(&self) -> bool {
        let named = |(name, identity): (&ResolverName, &KnownIdentity)| *name == identity.name;
        let bound = |binding: &Binding| self.identities.contains_key(&binding.name);
        self.identities.iter().all(named) && self.bindings.values().all(bound)
    }
}

/// SHA-256 over `parts`, each behind its length, so that nothing can move from one to the next.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let mut output = [0; 32];
    output.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    output
}
