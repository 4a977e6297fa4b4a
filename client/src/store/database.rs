//! The database: the same content as the snapshot, record by record, in sled.
//!
//! Each value stands behind a digest of its tree, its key and itself; the digest of the whole
//! stands in `meta`, so that a record that is missing is noticed too. sled may panic over a
//! damaged file or a full disk, or wait for ever: its work is done in a thread that is given up
//! then, and that is damage like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};
use sled::{IVec, Tree};

use super::content::{Content, sha256};
use super::snapshot::Damage;

/// A healthy disk needs milliseconds. After a failed write sled 0.34 at times waits for one that
/// nobody will make.
const PATIENCE: Duration = Duration::from_secs(3);

const CACHE_BYTES: u64 = 1024 * 1024;
const DIGEST_BYTES: usize = 32;
const IDENTITIES: &str = "identities";
const BINDINGS: &str = "bindings";
const META: &str = "meta";
const GENERATION: &[u8] = b"generation";
const WHOLE: &[u8] = b"sha256";

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    /// None only while it is being dropped.
    handles: Option<Handles>,
}

#[derive(Clone, Debug)]
struct Handles {
    database: sled::Db,
    identities: Tree,
    bindings: Tree,
    meta: Tree,
}

impl Database {
    /// Opens or makes the database in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, Damage> {
        let folder = folder.to_owned();
        let handles = guarded(move || {
            let database = sled::Config::new()
                .path(folder)
                .mode(sled::Mode::LowSpace)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(None)
                .open()?;
            Ok(Handles {
                identities: database.open_tree(IDENTITIES)?,
                bindings: database.open_tree(BINDINGS)?,
                meta: database.open_tree(META)?,
                database,
            })
        })?;
        Ok(Self {
            handles: Some(handles),
        })
    }

    /// Reads all of it; none when nothing was ever written.
    pub(super) fn read(&self) -> Result<Option<Content>, Damage> {
        let handles = self.handles()?;
        let records = guarded(move || {
            let all = |tree: &Tree| tree.iter().collect::<sled::Result<Vec<_>>>();
            Ok((
                all(&handles.identities)?,
                all(&handles.bindings)?,
                all(&handles.meta)?,
            ))
        })?;
        let (identities, bindings, meta) = records;
        if identities.is_empty() && bindings.is_empty() && meta.is_empty() {
            return Ok(None);
        }
        let mut content = Content::default();
        for (key, value) in identities {
            let identity = open_value(IDENTITIES, &key, &value)?;
            content.identities.insert(parse_key(&key)?, identity);
        }
        for (key, value) in bindings {
            let binding = open_value(BINDINGS, &key, &value)?;
            content.bindings.insert(parse_key(&key)?, binding);
        }
        let meta_value = |wanted: &[u8]| {
            let found = meta.iter().find(|(key, _)| key.as_ref() == wanted);
            found.ok_or_else(|| broken("a record of meta is missing"))
        };
        let (key, value) = meta_value(GENERATION)?;
        content.generation = open_value(META, key, value)?;
        let (key, value) = meta_value(WHOLE)?;
        let whole: [u8; DIGEST_BYTES] = open_value(META, key, value)?;
        let digest = content
            .digest()
            .map_err(|error| broken(error.to_string()))?;
        if whole != digest || !content.is_consistent() {
            return Err(broken("its records do not belong together"));
        }
        Ok(Some(content))
    }

    /// Makes `content` all that it holds, in one transaction, and waits until that is on the disk.
    pub(super) fn write(&self, content: &Content) -> Result<(), Damage> {
        let identities = sealed(IDENTITIES, &content.identities)?;
        let bindings = sealed(BINDINGS, &content.bindings)?;
        let digest = content
            .digest()
            .map_err(|error| broken(error.to_string()))?;
        let generation = seal(META, GENERATION, &content.generation)?;
        let whole = seal(META, WHOLE, &digest)?;
        let handles = self.handles()?;
        guarded(move || {
            let gone = |tree: &Tree, kept: &Records| {
                tree.iter()
                    .keys()
                    .filter(|key| match key {
                        Ok(key) => !kept.iter().any(|(kept, _)| kept == key.as_ref()),
                        Err(_) => true,
                    })
                    .collect::<sled::Result<Vec<IVec>>>()
            };
            let identities_gone = gone(&handles.identities, &identities)?;
            let bindings_gone = gone(&handles.bindings, &bindings)?;
            (&handles.identities, &handles.bindings, &handles.meta)
                .transaction(|(in_identities, in_bindings, in_meta)| {
                    for key in &identities_gone {
                        in_identities.remove(key)?;
                    }
                    for key in &bindings_gone {
                        in_bindings.remove(key)?;
                    }
                    for (key, value) in &identities {
                        in_identities.insert(key.as_slice(), value.as_slice())?;
                    }
                    for (key, value) in &bindings {
                        in_bindings.insert(key.as_slice(), value.as_slice())?;
                    }
                    in_meta.insert(GENERATION, generation.as_slice())?;
                    in_meta.insert(WHOLE, whole.as_slice())?;
                    Ok::<(), ConflictableTransactionError<()>>(())
                })
                .map_err(|error| match error {
                    TransactionError::Storage(error) => error,
                    TransactionError::Abort(()) => {
                        sled::Error::Unsupported("a transaction aborted by itself".to_owned())
                    }
                })?;
            handles.database.flush().map(drop)
        })
    }

    fn handles(&self) -> Result<Handles, Damage> {
        let handles = self.handles.clone();
        handles.ok_or_else(|| broken("the database is closed"))
    }
}

impl Drop for Database {
    /// sled synchronises once more when it is closed. What was acknowledged is on the disk already.
    fn drop(&mut self) {
        if let Some(handles) = self.handles.take()
            && let Err(damage) = guarded(move || {
                drop(handles);
                Ok(())
            })
        {
            tracing::warn!(%damage, "the database could not be closed in peace");
        }
    }
}

/// Keys and values as they are stored.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Does sled's work, and survives it.
fn guarded<T: Send + 'static>(
    work: impl FnOnce() -> sled::Result<T> + Send + 'static,
) -> Result<T, Damage> {
    let (done, outcome) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        })
        .map_err(Damage::Unreadable)?;
    match outcome.recv_timeout(PATIENCE) {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(sled::Error::Io(error)))) => Err(Damage::Unreadable(error)),
        Ok(Ok(Err(error))) => Err(broken(error.to_string())),
        Ok(Err(_)) => Err(broken("the database library gave up over it")),
        Err(_) => Err(broken("the database library does not come back from it")),
    }
}

fn broken(reason: impl Into<String>) -> Damage {
    Damage::Broken(reason.into())
}

fn sealed<K: ToString, V: Serialize>(
    tree: &str,
    records: &std::collections::BTreeMap<K, V>,
) -> Result<Records, Damage> {
    records
        .iter()
        .map(|(key, value)| {
            let key = key.to_string().into_bytes();
            let value = seal(tree, &key, value)?;
            Ok((key, value))
        })
        .collect()
}

fn seal<V: Serialize>(tree: &str, key: &[u8], value: &V) -> Result<Vec<u8>, Damage> {
    let json = serde_json::to_vec(value).map_err(|error| broken(error.to_string()))?;
    let mut sealed = sha256(&[tree.as_bytes(), key, &json]).to_vec();
    sealed.extend_from_slice(&json);
    Ok(sealed)
}

fn open_value<V: DeserializeOwned>(tree: &str, key: &[u8], value: &[u8]) -> Result<V, Damage> {
    let (digest, json) = value
        .split_at_checked(DIGEST_BYTES)
        .ok_or_else(|| broken("a record is cut short"))?;
    if digest != sha256(&[tree.as_bytes(), key, json]) {
        return Err(broken("a record's checksum does not match"));
    }
    serde_json::from_slice(json).map_err(|error| broken(error.to_string()))
}

fn parse_key<K: FromStr>(key: &[u8]) -> Result<K, Damage> {
    std::str::from_utf8(key)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| broken("a record's key cannot be read"))
}
