//! The form of version 1, as it was: read, and never written again.
//!
//! There were no networks then, only configured servers. Everything comes along as it was; the secret is drawn when the
//! store is written anew.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hickory_proto::dnssec::rdata::DNSKEY;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::zone::ServerType;

use super::content::{self, sha256};
use crate::discover::Tlsa;
use crate::trust::{AnchorSet, KnownIdentity, TrustState, ZoneVersions, dnskey_texts};

/// Everything that was remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    pub(super) generation: u64,
    pub(super) identities: BTreeMap<ResolverName, Identity>,
    pub(super) bindings: BTreeMap<SocketAddr, Binding>,
}

/// A resolver.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Identity {
    name: ResolverName,
    state: TrustState,
    #[serde(with = "dnskey_texts")]
    anchor: Vec<DNSKEY>,
    tlsa: Vec<Tlsa>,
    endpoint: SocketAddr,
    server_type: ServerType,
    first_seen: UnixTime,
    last_seen: UnixTime,
    signatures_expire: UnixTime,
    versions: ZoneVersions,
}

/// Who was expected behind a configured server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Binding {
    name: ResolverName,
    since: UnixTime,
}

impl Content {
    /// The digest that stands beside it.
    pub(super) fn digest(&self) -> Result<[u8; 32], serde_json::Error> {
        Ok(sha256(&[&serde_json::to_vec(self)?]))
    }

    /// The same in the form of today; none where a binding leads nowhere.
    pub(super) fn into_content(self) -> Option<content::Content> {
        let mut identities = BTreeMap::new();
        for (name, identity) in self.identities {
            if name != identity.name {
                return None;
            }
            identities.insert(name, identity.into_known());
        }
        let mut bindings = BTreeMap::new();
        for (server, Binding { name, since }) in self.bindings {
            let endpoint = identities.get(&name)?.endpoint;
            let binding = content::Binding {
                name,
                since,
                endpoint,
            };
            bindings.insert(server, binding);
        }
        Some(content::Content {
            generation: self.generation,
            identities,
            bindings,
            ..content::Content::default()
        })
    }
}

impl Identity {
    fn into_known(self) -> KnownIdentity {
        KnownIdentity {
            name: self.name,
            state: self.state,
            verification: None,
            // Which of them signs is learned at the next meeting.
            anchor: AnchorSet::first_use(&self.anchor, None, self.last_seen),
            tlsa: self.tlsa,
            endpoint: self.endpoint,
            server_type: self.server_type,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            signatures_expire: self.signatures_expire,
            versions: self.versions,
        }
    }
}
