//! The servers of which this one is a client, over reloads: whom each turned out to be is remembered on disk, and its
//! connection stays.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::sync::watch;
use zzdot_client::{
    config::{FirstUse, LegacyPolicy, RoutePolicy},
    place::Surroundings,
    session::Policy,
    store::{Found, Store, StoreError},
    stub::StubLimits,
    upstream::{Standing, Upstream},
};
use zzdot_zonegen::name::ResolverName;

use super::follow::{Look, follow};
use crate::config::Require;

/// The folder within the state folder that remembers whom upstreams turned out to be.
const FOLDER: &str = "upstreams";

/// The servers that are discovered.
pub struct Roster {
    folder: PathBuf,
    /// Our own name, by which a circle is told; none for an appliance without one.
    own: Option<ResolverName>,
    /// Opened when the first server is to be discovered.
    store: Option<Arc<Store>>,
    servers: HashMap<SocketAddr, Kept>,
    changed: watch::Sender<()>,
}

/// A server over reloads.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(super) upstream: Arc<Upstream>,
    /// What came of looking at it now and then.
    pub(super) looks: watch::Receiver<Option<Look>>,
}

impl Roster {
    /// Nobody yet; what will be learned is kept below `state_dir`.
    pub fn new(state_dir: &std::path::Path, own: Option<ResolverName>) -> Self {
        Self {
            folder: state_dir.join(FOLDER),
            own,
            store: None,
            servers: HashMap::new(),
            changed: watch::Sender::new(()),
        }
    }

    /// Our own name.
    pub(crate) fn own(&self) -> Option<&ResolverName> {
        self.own.as_ref()
    }

    /// The server at `address`, met anew, or as it was: under the policy of before, until [`Roster::hold_to`] says
    /// otherwise. Call within a runtime that lasts.
    pub(crate) fn server(
        &mut self,
        address: SocketAddr,
        require: Require,
    ) -> Result<Kept, StoreError> {
        if let Some(known) = self.servers.get(&address) {
            return Ok(known.clone());
        }
        let policy = policy(require);
        let store = self.store()?;
        let surroundings = Surroundings::of_server(address);
        let limits = StubLimits::default();
        let upstream = Upstream::discovered(surroundings, address, policy, store, &limits, 0);
        // Whoever is known is connected to at once, and looked at, since it may have changed meanwhile.
        upstream.look_again();
        let (mut standing, changed) = (upstream.watch(), self.changed.clone());
        let watched = Arc::downgrade(&upstream);
        tokio::spawn(async move {
            while standing.changed().await.is_ok() {
                changed.send_replace(());
                // Whoever may be asked is published, also before the first question that the others leave to it.
                if let Some(upstream) = watched.upgrade() {
                    upstream.look_ahead();
                }
            }
        });
        let (told, looks) = watch::channel(None);
        tokio::spawn(follow(Arc::downgrade(&upstream), told));
        let kept = Kept { upstream, looks };
        self.servers.insert(address, kept.clone());
        Ok(kept)
    }

    /// Holds all servers to this from now on. Not before the configuration that says so is at work: one that turns out
    /// to be impossible must not have let a question out in the clear.
    pub(crate) fn hold_to(&self, require: Require) {
        for (address, kept) in &self.servers {
            let continues = kept.upstream.continues_with(*address, policy(require));
            debug_assert!(continues, "it is kept under its address");
        }
    }

    /// Says loudly of whom was known and is to be asked no more, where somebody is asked in his place of whom nobody knows
    /// who he is: whoever gives the host its name servers may choose so.
    pub(crate) fn tell_of_strangers(&self, addresses: &[SocketAddr]) {
        let strangers: Vec<_> = addresses
            .iter()
            .filter(|address| {
                let kept = self.servers.get(address);
                kept.is_some_and(|kept| known_as(&kept.upstream.standing()).is_none())
            })
            .map(SocketAddr::to_string)
            .collect();
        if strangers.is_empty() {
            return;
        }
        for (address, kept) in &self.servers {
            if let Some(name) = known_as(&kept.upstream.standing())
                && !addresses.contains(address)
            {
                tracing::warn!(
                    %name,
                    %address,
                    strangers = strangers.join(" "),
                    "a known upstream is asked no more, and strangers are"
                );
            }
        }
    }

    /// Lets go of all servers but these.
    pub(crate) fn keep_only(&mut self, addresses: &[SocketAddr]) {
        self.servers.retain(|address, kept| {
            let stays = addresses.contains(address);
            if !stays {
                kept.upstream.retire();
            }
            stays
        });
    }

    /// Looks anew who each server is: the host's network may be another.
    pub fn look_again(&self) {
        for kept in self.servers.values() {
            kept.upstream.look_again();
        }
    }

    /// Told whenever how things stand with a server changes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Forgets the resolver `name`, so that whoever is behind its address is met anew. False when it is not known.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(&self, name: &ResolverName) -> Result<bool, StoreError> {
        let mut known = false;
        for kept in self.servers.values() {
            known |= kept.upstream.forget(name).await?;
        }
        match &self.store {
            // Known from an address that is configured no more.
            Some(store) if !known => store.forget(name),
            _ => Ok(known),
        }
    }

    fn store(&mut self) -> Result<Arc<Store>, StoreError> {
        if let Some(store) = &self.store {
            return Ok(Arc::clone(store));
        }
        let (store, found) = Store::open(&self.folder)?;
        let folder = self.folder.display();
        match found {
            Found::Nothing | Found::Whole => {}
            Found::Migrated => tracing::info!(%folder, "the store was of an earlier version"),
            Found::Mended { what } => tracing::warn!(%folder, "the store was mended: {what}"),
        }
        let store = Arc::new(store);
        self.store = Some(Arc::clone(&store));
        Ok(store)
    }
}

/// Who it is that is asked over TLS alone.
fn known_as(standing: &Standing) -> Option<&ResolverName> {
    match standing {
        Standing::Upgraded { identity, .. } => Some(&identity.name),
        _ => None,
    }
}

fn policy(require: Require) -> Policy {
    Policy {
        legacy: match require {
            Require::Any => LegacyPolicy::Plain,
            Require::Encrypted => LegacyPolicy::Encrypted,
            Require::Authenticated => LegacyPolicy::Verified,
        },
        // Whoever configured the address means the server that answers there.
        first_use: FirstUse::Auto,
        route: RoutePolicy::Nearest,
    }
}
