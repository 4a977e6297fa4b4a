//! What the client remembers: who was met where, and by which keys.
//!
//! Two copies are kept in the state folder. `snapshot.json` decides: it is replaced as a whole
//! before anything is acknowledged. `store/` is the database. Both carry a generation and
//! checksums; the newer sound copy mends the other, and the damaged one is put aside, not removed.
//! A third file, `acknowledged`, holds the generation that was acknowledged last: no older copy is
//! believed. A first use is a first use only where none of the three exists; where a trace is left
//! and no sound copy, opening fails: forgetting is a decision of people (`zzdot-client resolvers
//! forget`), never an accident.

mod content;
mod database;
mod decisions;
mod error;
mod folder;
mod lock;
mod marker;
mod networks;
mod pending;
mod separated;
mod snapshot;
mod version1;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::durable;
use zzdot_zonegen::name::ResolverName;

pub use content::Binding;
pub use decisions::{DecisionError, ENROLLED_MAX, EXPORT_BYTES_MAX, Exported, Imported};
pub use error::StoreError;
pub use networks::{KnownNetwork, NETWORKS_MAX, SIGNALS_MAX};
pub use pending::{PENDING_MAX, Pending, WhyPending};
pub use separated::{SEPARATED_MAX, SeparatedNetwork};
pub use snapshot::salvage;

use crate::discover::CLOCK_SLACK;
use crate::place::{Place, Surroundings};
use crate::trust::{KnownIdentity, TrustState};
use content::{Content, Secret};
use database::Database;
use folder::{check_folder, copy_folder, is_absent, put_aside, remove_folder};
use lock::Lock;
use snapshot::Damage;

/// The copy that decides.
pub const SNAPSHOT_FILE: &str = "snapshot.json";
/// The database's folder.
pub const DATABASE_FOLDER: &str = "store";
/// The generation acknowledged last.
pub const MARKER_FILE: &str = "acknowledged";

/// What the database is read in where it is the only copy.
const COPY_EXTENSION: &str = "copy";

/// How an opened store was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: this is the first use.
    Nothing,
    /// As it was left.
    Whole,
    /// As an earlier program left it: written anew in the form of today.
    Migrated,
    /// One copy was lost, damaged or older, and was made anew out of the other.
    Mended {
        /// What was wrong, for the log.
        what: String,
    },
}

/// What the client remembers. The folder is locked while this lives.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    inner: Mutex<Inner>,
    turn: tokio::sync::Mutex<()>,
    /// The generation.
    changed: watch::Sender<u64>,
    _lock: Lock,
}

/// Tells when what is remembered changed.
#[derive(Debug)]
pub struct Changes(watch::Receiver<u64>);

impl Changes {
    /// Waits for a change that was not told yet; for ever where the store is no more. Nothing is lost when this is
    /// dropped and called again.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[derive(Debug)]
struct Inner {
    content: Content,
    /// The highest that was ever written, be it in a change that failed: no two contents share one.
    generation: u64,
    /// None after the database failed: the next opening mends it.
    database: Option<Database>,
}

impl Store {
    /// Whether `folder` has any trace of a store.
    #[must_use]
    pub fn exists(folder: &Path) -> bool {
        [SNAPSHOT_FILE, DATABASE_FOLDER, MARKER_FILE]
            .iter()
            .any(|name| !is_absent(&folder.join(name)))
    }

    /// Opens the store in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// [`StoreError`]; in particular when there was a store and no copy of it is sound.
    pub fn open(folder: &Path) -> Result<(Self, Found), StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        durable::create_folders(folder).map_err(at(folder))?;
        check_folder(folder)?;
        let lock = Lock::take(folder)?;
        let snapshot_path = folder.join(SNAPSHOT_FILE);
        let database_path = folder.join(DATABASE_FOLDER);
        let marker_path = folder.join(MARKER_FILE);
        let used_before = Self::exists(folder);

        let from_snapshot = snapshot::read(&snapshot_path);
        let (mut database, from_database) = match &from_snapshot {
            _ if is_absent(&database_path) => (None, Ok(None)),
            Ok(Some(_)) => open_and_read(&database_path),
            _ => (None, read_in_copy(&database_path)),
        };
        let snapshot_damaged = from_snapshot.is_err();
        let database_damaged = from_database.is_err();
        let acknowledged = marker::read(&marker_path);
        if let Some(version) = written_later(&from_snapshot, &from_database) {
            return Err(StoreError::Later {
                folder: folder.to_owned(),
                version,
            });
        }
        let (mut content, mut found) = if used_before {
            let snapshot_is_sound = matches!(from_snapshot, Ok(Some(_)));
            let (content, found) = choose(folder, from_snapshot, from_database)?;
            check_age(folder, &content, &acknowledged, snapshot_is_sound)?;
            (content, found)
        } else {
            (Content::default(), Found::Nothing)
        };

        if content.secret.is_none() {
            content.secret = Some(Secret::draw().map_err(|_| StoreError::Random)?);
            if used_before {
                // No two contents share one.
                content.generation += 1;
            }
            if found == Found::Whole {
                found = Found::Migrated;
            }
        }

        if found != Found::Whole {
            if snapshot_damaged {
                put_aside(&snapshot_path).map_err(at(&snapshot_path))?;
            }
            // The database is written below; the snapshot first, as always.
            snapshot::write(&snapshot_path, &content).map_err(at(&snapshot_path))?;
        }
        if database.is_none() && !database_damaged && !is_absent(&database_path) {
            // It was read in a copy, and is no longer the only one.
            database = Database::open(&database_path).ok();
        }
        let database = match database {
            Some(database) => database,
            None => {
                if !is_absent(&database_path) {
                    put_aside(&database_path).map_err(at(&database_path))?;
                }
                Database::open(&database_path)
                    .map_err(|damage| damage_as_io(&database_path, damage))?
            }
        };
        if found != Found::Whole {
            database
                .write(&content)
                .map_err(|damage| damage_as_io(&database_path, damage))?;
            durable::sync_folder(folder).map_err(at(folder))?;
        }
        if !matches!(acknowledged, Ok(Some(generation)) if generation == content.generation) {
            marker::write(&marker_path, content.generation).map_err(at(&marker_path))?;
        }
        let store = Self {
            folder: folder.to_owned(),
            inner: Mutex::new(Inner {
                generation: content.generation,
                content,
                database: Some(database),
            }),
            turn: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(0),
            _lock: lock,
        };
        Ok((store, found))
    }

    /// Held by whoever decides by what is remembered what is to be remembered: sessions and the store change together,
    /// and one after the other.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Tells of changes from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.changed.subscribe())
    }

    /// The identity of this name.
    #[must_use]
    pub fn identity(&self, name: &ResolverName) -> Option<KnownIdentity> {
        self.lock().content.identities.get(name).cloned()
    }

    /// All identities, sorted by name.
    #[must_use]
    pub fn identities(&self) -> Vec<KnownIdentity> {
        self.lock().content.identities.values().cloned().collect()
    }

    /// The identity that is expected at a place.
    #[must_use]
    pub fn expected_at(&self, place: impl Into<Place>) -> Option<KnownIdentity> {
        let content = &self.lock().content;
        let (name, endpoint) = match place.into() {
            Place::Server(server) => {
                let server = content::place_of(server);
                let mut bindings = content.bindings.iter();
                let (_, binding) = bindings.find(|(at, _)| content::place_of(**at) == server)?;
                (&binding.name, binding.endpoint)
            }
            Place::Network(id) => {
                let network = content.networks.get(&id)?;
                (&network.expects, network.endpoint)
            }
        };
        let mut identity = content.identities.get(name)?.clone();
        // Where it is differs from place to place; who it is does not.
        identity.endpoint = endpoint;
        Some(identity)
    }

    /// The configured servers behind which `name` is expected.
    #[must_use]
    pub fn servers_of(&self, name: &ResolverName) -> Vec<SocketAddr> {
        let inner = self.lock();
        let bindings = inner.content.bindings.iter();
        bindings
            .filter(|(_, binding)| binding.name == *name)
            .map(|(server, _)| *server)
            .collect()
    }

    /// The latest time that is known to have passed, as far as this store can tell: an hour before
    /// anybody was last seen, since the clock may have been ahead then, and set back.
    #[must_use]
    pub fn clock_floor(&self) -> UnixTime {
        let inner = self.lock();
        let seen = inner
            .content
            .identities
            .values()
            .map(|known| known.last_seen);
        seen.max().unwrap_or_default().minus(CLOCK_SLACK)
    }

    /// Remembers `identity`, and that it is expected in `surroundings` from now on, where it was met behind `server`.
    /// Where there is doubt about the surroundings, nothing is learned about them. When this returns, it survives a
    /// power cut.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn remember(
        &self,
        surroundings: &Surroundings,
        server: SocketAddr,
        identity: KnownIdentity,
    ) -> Result<(), StoreError> {
        self.change(|content| {
            content.bind(surroundings, server, &identity);
            content.take_in(identity);
            true
        })
        .map(drop)
    }

    /// Forgets an identity and where it is expected, and that somebody vouched for it; false when nothing is known of it. A revoked one is expected nowhere any
    /// more, but stays known as revoked: it never returns.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing changed.
    pub fn forget(&self, name: &ResolverName) -> Result<bool, StoreError> {
        self.change(|content| {
            content.unbind(name);
            let waited = content.pending.remove(name).is_some();
            let enrolled = content.enrolled.remove(name).is_some();
            let revoked = content
                .identities
                .get(name)
                .is_some_and(|known| known.state == TrustState::Revoked);
            let known = revoked || content.identities.remove(name).is_some();
            known || waited || enrolled
        })
    }

    /// Snapshot first: it is what a later opening believes. The database follows, and when it
    /// fails, the change stands nevertheless.
    fn change(&self, change: impl FnOnce(&mut Content) -> bool) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let mut changed = inner.content.clone();
        if !change(&mut changed) {
            return Ok(false);
        }
        inner.generation += 1;
        changed.generation = inner.generation;
        let path = self.folder.join(SNAPSHOT_FILE);
        snapshot::write(&path, &changed).map_err(|source| StoreError::Io { path, source })?;
        if let Some(database) = &inner.database
            && let Err(damage) = database.write(&changed)
        {
            tracing::warn!(folder = %self.folder.display(), %damage,
                "the database failed; the snapshot holds what is remembered");
            inner.database = None;
            // An old copy must not be believed, should anything happen to the snapshot.
            let path = self.folder.join(DATABASE_FOLDER);
            put_aside(&path).map_err(|source| StoreError::Io { path, source })?;
        }
        let path = self.folder.join(MARKER_FILE);
        marker::write(&path, changed.generation)
            .map_err(|source| StoreError::Io { path, source })?;
        self.changed.send_replace(changed.generation);
        inner.content = changed;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // `content` is replaced as a whole: there is no half-changed state to fear.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Read = Result<Option<Content>, Damage>;

/// The version of the later program that wrote this, if one did. A snapshot that says so beside a sound database of today
/// is a damaged one: the later program would have acknowledged nothing before it wrote the database too.
fn written_later(snapshot: &Read, database: &Read) -> Option<u32> {
    match (snapshot, database) {
        (_, Err(Damage::Later(version))) => Some(*version),
        (Err(Damage::Later(_)), Ok(Some(_))) => None,
        (Err(Damage::Later(version)), _) => Some(*version),
        _ => None,
    }
}

fn open_and_read(path: &Path) -> (Option<Database>, Read) {
    match Database::open(path) {
        Ok(database) => match database.read() {
            Ok(content) => (Some(database), Ok(content)),
            Err(damage) => (None, Err(damage)),
        },
        Err(damage) => (None, Err(damage)),
    }
}

/// Reads the database where it is the only sound copy that there may be. sled writes as soon as it
/// opens, and is not safe then: killed at the wrong moment, it leaves a database that it cannot
/// read. So the original is left alone until its content is in the snapshot.
fn read_in_copy(path: &Path) -> Read {
    let copy = path.with_extension(COPY_EXTENSION);
    let copied = remove_folder(&copy).and_then(|()| copy_folder(path, &copy));
    let content = match copied {
        Ok(()) => open_and_read(&copy).1,
        Err(error) => Err(Damage::Unreadable(error)),
    };
    // The next time, if not now.
    let _ = remove_folder(&copy);
    content
}

/// Whether `content` is as new as what was acknowledged. Where that is not known, the snapshot is
/// believed and the database is not: after damage it may be an earlier one.
fn check_age(
    folder: &Path,
    content: &Content,
    acknowledged: &Result<Option<u64>, Damage>,
    snapshot_is_sound: bool,
) -> Result<(), StoreError> {
    let least = match acknowledged {
        Ok(Some(least)) if content.generation >= *least => return Ok(()),
        Ok(Some(least)) => least.to_string(),
        _ if snapshot_is_sound => return Ok(()),
        _ => "an unknown one".to_owned(),
    };
    Err(StoreError::Outdated {
        folder: folder.to_owned(),
        held: content.generation,
        acknowledged: least,
    })
}

/// Which of the two copies is believed. Only called where there is a trace of a store.
fn choose(folder: &Path, snapshot: Read, database: Read) -> Result<(Content, Found), StoreError> {
    let mended = |what: &str, content: Content| {
        let what = what.to_owned();
        Ok((content, Found::Mended { what }))
    };
    match (snapshot, database) {
        (Ok(Some(ours)), Ok(Some(theirs))) => {
            if ours == theirs {
                Ok((ours, Found::Whole))
            } else if ours.generation > theirs.generation {
                mended("the database was behind", ours)
            } else if ours.generation < theirs.generation {
                mended("the snapshot was behind", theirs)
            } else {
                let folder = folder.to_owned();
                Err(StoreError::Disagree { folder })
            }
        }
        (Ok(Some(content)), Ok(None)) => mended("the database was missing", content),
        (Ok(Some(content)), Err(damage)) => {
            mended(&format!("the database was damaged: {damage}"), content)
        }
        (Ok(None), Ok(Some(content))) => mended("the snapshot was missing", content),
        (Err(damage), Ok(Some(content))) => {
            mended(&format!("the snapshot was damaged: {damage}"), content)
        }
        (snapshot, database) => Err(StoreError::Unreadable {
            folder: folder.to_owned(),
            snapshot: why_not(&snapshot),
            database: why_not(&database),
        }),
    }
}

fn why_not(copy: &Read) -> String {
    match copy {
        Ok(_) => "missing".to_owned(),
        Err(damage) => damage.to_string(),
    }
}

fn damage_as_io(path: &Path, damage: Damage) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        source: match damage {
            Damage::Unreadable(error) => error,
            other => io::Error::other(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests;
