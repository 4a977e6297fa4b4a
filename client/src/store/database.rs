//! The database: the same content as the snapshot, record by record, in sled.
//!
//! Each value stands behind a digest of its tree, its key and itself; the digest of the whole
//! stands in `meta`, so that a record that is missing is noticed too. sled may panic over a
//! damaged file or a full disk, or wait for ever: its work is done in a thread that is given up
//! then, and that is damage like any other.

use std::collections::BTreeMap;
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

use super::content::{Content, VERSION, sha256};
use super::snapshot::Damage;
use super::version1;

/// A healthy disk needs milliseconds. After a failed write sled 0.34 at times waits for one that
/// nobody will make.
const PATIENCE: Duration = Duration::from_secs(3);

const CACHE_BYTES: u64 = 1024 * 1024;
const DIGEST_BYTES: usize = 32;
const IDENTITIES: &str = "identities";
const BINDINGS: &str = "bindings";
const NETWORKS: &str = "networks";
const PENDING: &str = "pending";
const ENROLLED: &str = "enrolled";
const SEPARATED: &str = "separated";
const META: &str = "meta";
/// All of them; the last ones did not exist in version 1.
const TREES: [&str; 7] = [
    META, IDENTITIES, BINDINGS, NETWORKS, PENDING, ENROLLED, SEPARATED,
];
/// Missing in version 1.
const SCHEMA: &[u8] = b"version";
const SECRET: &[u8] = b"secret";
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
    /// In the order of [`TREES`].
    trees: [Tree; TREES.len()],
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
            let tree = |name: &str| database.open_tree(name);
            let [
                meta,
                identities,
                bindings,
                networks,
                pending,
                enrolled,
                separated,
            ] = TREES.map(tree);
            Ok(Handles {
                trees: [
                    meta?,
                    identities?,
                    bindings?,
                    networks?,
                    pending?,
                    enrolled?,
                    separated?,
                ],
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
        let trees = guarded(move || {
            let all = |tree: &Tree| tree.iter().collect::<sled::Result<Vec<_>>>();
            let records: sled::Result<Vec<_>> = handles.trees.iter().map(all).collect();
            records
        })?;
        let nothing = trees.iter().all(Vec::is_empty);
        let [
            meta,
            identities,
            bindings,
            networks,
            pending,
            enrolled,
            separated,
        ] = trees.as_slice()
        else {
            return Err(broken("a tree is missing"));
        };
        if nothing {
            return Ok(None);
        }
        let version = match find(meta, SCHEMA) {
            Some((key, value)) => open_value(META, key, value)?,
            None => 1,
        };
        let generation = meta_value(meta, GENERATION)?;
        let told: [u8; DIGEST_BYTES] = meta_value(meta, WHOLE)?;
        let (digest, content) = match version {
            VERSION => {
                let content = Content {
                    generation,
                    secret: meta_value(meta, SECRET)?,
                    identities: opened(IDENTITIES, identities)?,
                    bindings: opened(BINDINGS, bindings)?,
                    networks: opened(NETWORKS, networks)?,
                    pending: opened(PENDING, pending)?,
                    enrolled: opened(ENROLLED, enrolled)?,
                    separated: opened(SEPARATED, separated)?,
                };
                let digest = content.digest();
                (digest, content.is_consistent().then_some(content))
            }
            1 => {
                let content = version1::Content {
                    generation,
                    identities: opened(IDENTITIES, identities)?,
                    bindings: opened(BINDINGS, bindings)?,
                };
                (content.digest(), content.into_content())
            }
            later => return Err(Damage::Later(later)),
        };
        let digest = digest.map_err(|error| broken(error.to_string()))?;
        match content {
            Some(content) if told == digest => Ok(Some(content)),
            _ => Err(broken("its records do not belong together")),
        }
    }

    /// Makes `content` all that it holds, in one transaction, and waits until that is on the disk.
    pub(super) fn write(&self, content: &Content) -> Result<(), Damage> {
        let digest = content
            .digest()
            .map_err(|error| broken(error.to_string()))?;
        let meta = vec![
            (SCHEMA.to_vec(), seal(META, SCHEMA, &VERSION)?),
            (
                GENERATION.to_vec(),
                seal(META, GENERATION, &content.generation)?,
            ),
            (SECRET.to_vec(), seal(META, SECRET, &content.secret)?),
            (WHOLE.to_vec(), seal(META, WHOLE, &digest)?),
        ];
        let kept: [Records; TREES.len()] = [
            meta,
            sealed(IDENTITIES, &content.identities)?,
            sealed(BINDINGS, &content.bindings)?,
            sealed(NETWORKS, &content.networks)?,
            sealed(PENDING, &content.pending)?,
            sealed(ENROLLED, &content.enrolled)?,
            sealed(SEPARATED, &content.separated)?,
        ];
        let handles = self.handles()?;
        guarded(move || {
            let mut gone = Vec::new();
            for (tree, kept) in handles.trees.iter().zip(&kept) {
                let keys = tree.iter().keys().filter(|key| match key {
                    Ok(key) => !kept.iter().any(|(kept, _)| kept == key.as_ref()),
                    Err(_) => true,
                });
                gone.push(keys.collect::<sled::Result<Vec<IVec>>>()?);
            }
            handles
                .trees
                .as_slice()
                .transaction(|trees| {
                    for ((tree, kept), gone) in trees.iter().zip(&kept).zip(&gone) {
                        for key in gone {
                            tree.remove(key)?;
                        }
                        for (key, value) in kept {
                            tree.insert(key.as_slice(), value.as_slice())?;
                        }
                    }
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

type Stored = [(IVec, IVec)];

fn find<'a>(records: &'a Stored, wanted: &[u8]) -> Option<&'a (IVec, IVec)> {
    records.iter().find(|(key, _)| key.as_ref() == wanted)
}

fn meta_value<V: DeserializeOwned>(meta: &Stored, wanted: &[u8]) -> Result<V, Damage> {
    let found = find(meta, wanted).ok_or_else(|| broken("a record of meta is missing"))?;
    open_value(META, &found.0, &found.1)
}

fn opened<K: FromStr + Ord, V: DeserializeOwned>(
    tree: &str,
    records: &Stored,
) -> Result<BTreeMap<K, V>, Damage> {
    let open = |(key, value): &(IVec, IVec)| Ok((parse_key(key)?, open_value(tree, key, value)?));
    records.iter().map(open).collect()
}

fn sealed<K: ToString, V: Serialize>(
    tree: &str,
    records: &BTreeMap<K, V>,
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
