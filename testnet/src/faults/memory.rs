//! A life of the client's store, step by step, and what it must remember after each: what a driver does, and what
//! a test expects of it.

use std::net::SocketAddr;

use hickory_proto::dnssec::{Algorithm, PublicKeyBuf, rdata::DNSKEY};
use serde::{Deserialize, Serialize};
use zzdot_client::{
    discover::Tlsa,
    place::Surroundings,
    store::{Store, StoreError},
    trust::{AnchorSet, KnownIdentity, TrustState, ZoneVersion, ZoneVersions},
};
use zzdot_zonegen::{clock::UnixTime, name::ResolverName, zone::ServerType};

/// One change of what is remembered.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// This identity is expected behind this server.
    Remember(SocketAddr, Box<KnownIdentity>),
    /// This identity is unknown from now on.
    Forget(ResolverName),
}

/// What is remembered: the identities, and who is expected behind each of the servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    identities: Vec<KnownIdentity>,
    expected: Vec<(SocketAddr, ResolverName)>,
}

/// Meetings, meetings again, a move, a revocation; and things forgotten.
pub fn life() -> Vec<Step> {
    let remember = |number, identity| Step::Remember(server(number), Box::new(identity));
    vec![
        remember(1, identity(1, 100)),
        remember(2, identity(2, 100)),
        remember(1, identity(1, 200)),
        remember(3, identity(1, 300)),
        Step::Forget(identity(2, 0).name),
        remember(2, identity(3, 100)),
        remember(2, identity(3, 200).revoked()),
        Step::Forget(identity(1, 0).name),
    ]
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    /// The store could not be changed.
    pub fn apply(&self, store: &Store) -> Result<(), StoreError> {
        match self {
            Self::Remember(server, identity) => {
                let surroundings = Surroundings::of_server(*server);
                store.remember(&surroundings, *server, (**identity).clone())
            }
            Self::Forget(name) => store.forget(name).map(drop),
        }
    }
}

impl Memory {
    /// After these steps.
    pub fn after(steps: &[Step]) -> Self {
        let mut memory = Self::default();
        for step in steps {
            match step {
                Step::Remember(server, identity) => {
                    memory
                        .identities
                        .retain(|known| known.name != identity.name);
                    memory.identities.push((**identity).clone());
                    memory.expected.retain(|(known, _)| known != server);
                    memory.expected.push((*server, identity.name.clone()));
                }
                Step::Forget(name) => {
                    memory.identities.retain(|known| known.name != *name);
                    memory.expected.retain(|(_, known)| known != name);
                }
            }
        }
        memory.sorted()
    }

    /// What `store` says.
    pub fn of(store: &Store) -> Self {
        let identities = store.identities();
        let expected = identities
            .iter()
            .flat_map(|known| {
                let servers = store.servers_of(&known.name);
                servers
                    .into_iter()
                    .map(|server| (server, known.name.clone()))
            })
            .collect();
        Self {
            identities,
            expected,
        }
        .sorted()
    }

    fn sorted(mut self) -> Self {
        self.identities.sort_by_key(|known| known.name.to_string());
        self.expected.sort_by_key(|(server, _)| *server);
        self
    }
}

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 53))
}

fn identity(number: u8, serial: u32) -> KnownIdentity {
    let moment = UnixTime(1_800_000_000 + u64::from(serial));
    let version = ZoneVersion {
        serial,
        inception: moment,
        accepted: moment,
    };
    let key = DNSKEY::with_flags(
        257,
        PublicKeyBuf::new(vec![number; 64], Algorithm::ECDSAP256SHA256),
    );
    KnownIdentity {
        name: format!("{number:0>20}.zz")
            .parse()
            .expect("twenty digits are a name"),
        state: TrustState::Provisional,
        verification: None,
        anchor: AnchorSet::first_use(
            std::slice::from_ref(&key),
            Some(&key),
            UnixTime(1_800_000_000),
        ),
        tlsa: vec![Tlsa {
            usage: 3,
            selector: 1,
            matching: 1,
            data: vec![number; 32],
        }],
        endpoint: SocketAddr::from(([192, 0, 2, number], 853)),
        server_type: ServerType::Resolver,
        first_seen: UnixTime(1_800_000_000),
        last_seen: moment,
        signatures_expire: UnixTime(1_900_000_000),
        versions: ZoneVersions {
            anchor_zone: version,
            name_zone: version,
        },
    }
}
