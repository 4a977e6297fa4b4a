//! What is remembered, as a whole, and the digest by which a damaged copy is noticed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::networks::KnownNetwork;
use super::pending::Pending;
use super::separated::SeparatedNetwork;
use crate::place::{NetworkId, Place, Surroundings};
use crate::trust::{Enrolled, KnownIdentity, TrustState};

/// The form of what is written. An earlier one is read and written anew; a later one is left alone.
pub(super) const VERSION: u32 = 2;

/// Everything that is remembered. Small: a person meets a handful of resolvers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    /// Rises by one with each change: of two sound copies the higher is the newer.
    pub(super) generation: u64,
    /// Missing only in a copy of version 1, until the store is written anew.
    pub(super) secret: Option<Secret>,
    pub(super) identities: BTreeMap<ResolverName, KnownIdentity>,
    pub(super) bindings: BTreeMap<SocketAddr, Binding>,
    pub(super) networks: BTreeMap<NetworkId, KnownNetwork>,
    pub(super) pending: BTreeMap<ResolverName, Pending>,
    pub(super) enrolled: BTreeMap<ResolverName, Enrolled>,
    /// Left out where there are none, so that copies without them have the digest that they were written with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) separated: BTreeMap<NetworkId, SeparatedNetwork>,
}

/// A configured server, and the identity that is expected behind it ever since it was met there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Who is expected.
    pub name: ResolverName,
    /// Since when.
    pub since: UnixTime,
    /// Where it was last reached from here.
    pub endpoint: SocketAddr,
}

/// What the signals of networks are hidden under: random, one for each install, never told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Secret(pub(super) [u8; 32]);

impl Secret {
    /// One that nobody has seen.
    pub(super) fn draw() -> Result<Self, ring::error::Unspecified> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        HEXLOWER.encode(&secret.0)
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("the secret is not of 32 bytes")
    }
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

    /// Every binding and every network leads to an identity, and everything stands under its own name.
    pub(super) fn is_consistent(&self) -> bool {
        let known = |name: &ResolverName| self.identities.contains_key(name);
        self.secret.is_some()
            && self.identities.iter().all(|(name, it)| *name == it.name)
            && self.bindings.values().all(|it| known(&it.name))
            && self
                .networks
                .iter()
                .all(|(id, it)| *id == it.id && known(&it.expects))
            && self
                .pending
                .iter()
                .all(|(name, it)| *name == it.identity.name)
            && self.enrolled.iter().all(|(name, it)| *name == it.name)
            && self.separated.iter().all(|(id, it)| *id == it.id)
    }

    /// `identity` is expected from now on where it was met.
    pub(super) fn bind(
        &mut self,
        surroundings: &Surroundings,
        server: SocketAddr,
        identity: &KnownIdentity,
    ) {
        let at = match surroundings.place {
            Place::Server(at) => place_of(at),
            Place::Network(id) => return self.bind_network(id, surroundings, server, identity),
        };
        let (name, endpoint) = (identity.name.clone(), identity.endpoint);
        let same = self.bindings.get(&at).filter(|bound| bound.name == name);
        let since = same.map_or(identity.last_seen, |bound| bound.since);
        let binding = Binding {
            name,
            since,
            endpoint,
        };
        self.bindings.insert(at, binding);
    }

    /// Remembers `identity` as it is now. What a person decided about it meanwhile stands, and so does a revocation.
    pub(super) fn take_in(&mut self, mut identity: KnownIdentity) {
        if let Some(held) = self.identities.get(&identity.name)
            && (held.state == TrustState::Revoked
                || (held.verification.is_some() && identity.verification.is_none()))
            && identity.state != TrustState::Revoked
        {
            identity.state = held.state;
            identity.verification = held.verification;
        }
        if identity.verification.is_some() {
            // It was met.
            self.enrolled.remove(&identity.name);
        }
        self.identities.insert(identity.name.clone(), identity);
    }

    /// Nobody is expected anywhere under `name` any more.
    pub(super) fn unbind(&mut self, name: &ResolverName) {
        self.bindings.retain(|_, binding| binding.name != *name);
        self.networks.retain(|_, network| network.expects != *name);
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
