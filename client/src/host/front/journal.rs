//! What was changed, and what stood there before.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use zzdot_zonegen::durable;

use super::Method;
use crate::host::files::read;
use crate::host::{HeldLink, Inputs, LINKS_MAX, Places};

/// Root's own folder: what the daemon could write, root must not put into `/etc`.
pub const FOLDER: &str = "/var/lib/zzdot-front";
/// The format; the first one knew nothing of links.
const VERSION: u32 = 2;
const JOURNAL_BYTES_MAX: usize = 1024 * 1024;
/// The largest `resolv.conf` that is put aside.
pub(super) const ORIGINAL_BYTES_MAX: usize = 256 * 1024;

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system's.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody could have written this.
    #[error("{}: damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A later version of this program wrote it.
    #[error("{}: has format {found}; this program knows {VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// What is changed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Journal {
    pub(super) version: u32,
    pub(super) method: Method,
    pub(super) changes: Vec<Change>,
}

/// One change. It names no paths: those are the program's, so that nobody's journal leads it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Change {
    /// A drop-in for resolved.
    ResolvedDropIn,
    /// A drop-in for NetworkManager.
    NetworkManagerDropIn,
    /// The domains of a link, which resolved keeps or networkd.
    Link(HeldLink),
    /// A record with resolvconf.
    ResolvconfRecord,
    /// `/etc/resolv.conf`.
    #[serde(rename_all = "kebab-case")]
    ResolvConf {
        /// What stood there.
        original: Original,
        /// It named servers that no link named.
        by_person: bool,
    },
}

/// What stood in the place of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Original {
    /// Nothing.
    Absent,
    /// A link to this.
    Link(PathBuf),
    /// A file.
    File {
        /// Its octets, in base64.
        contents: String,
        /// Its mode.
        mode: u32,
    },
}

impl Original {
    /// What stands at `path` now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Absent),
            Err(error) => return Err(error),
        };
        if metadata.is_symlink() {
            return fs::read_link(path).map(Self::Link);
        }
        if !metadata.is_file() || metadata.len() > ORIGINAL_BYTES_MAX as u64 {
            let problem = "neither a link nor a file of a sensible size";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(Self::File {
            contents: BASE64.encode(&fs::read(path)?),
            mode: metadata.permissions().mode() & 0o777,
        })
    }

    /// What it says now: a link's target may have changed since.
    pub(super) fn text(&self, places: &Places) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Link(target) => read(&places.at("/etc").join(target), ORIGINAL_BYTES_MAX),
            Self::File { contents, .. } => {
                let octets = BASE64.decode(contents.as_bytes()).ok()?;
                Some(String::from_utf8_lossy(&octets).into_owned())
            }
        }
    }
}

impl Journal {
    pub(super) fn new(method: Method) -> Self {
        Self {
            version: VERSION,
            method,
            changes: Vec::new(),
        }
    }

    /// Links whose domains were taken from them.
    pub(super) fn held(&self) -> Vec<HeldLink> {
        let links = self.changes.iter().filter_map(|change| match change {
            Change::Link(held) => Some(held.clone()),
            _ => None,
        });
        links.take(LINKS_MAX).collect()
    }

    /// Notes one, in the place of what is known of the same link. Links that are gone are forgotten.
    pub(super) fn hold(&mut self, held: HeldLink, seen: &Inputs) {
        let listed = |index: u32| seen.links.iter().any(|facts| facts.index == index);
        // Who does not see the link itself sees none that could be missed.
        let there = |index: u32| listed(index) || !listed(held.index);
        self.changes.retain(|change| match change {
            Change::Link(known) => known.index != held.index && there(known.index),
            _ => true,
        });
        self.changes.push(Change::Link(held));
    }

    /// None when nothing is changed.
    pub(super) fn read(places: &Places) -> Result<Option<Self>, JournalError> {
        let path = Self::path(places);
        // Not to be readable now is another thing than to be damaged, or not to be there.
        let text = match read_exactly(&path, JOURNAL_BYTES_MAX) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            Err(source) => return Err(JournalError::Io { path, source }),
        };
        let damaged = |path, problem: String| JournalError::Damaged { path, problem };
        /// What every format will have.
        #[derive(Deserialize)]
        struct Any {
            version: u32,
        }
        match serde_json::from_str::<Any>(&text) {
            Ok(Any { version }) if version > VERSION => {
                return Err(JournalError::Newer {
                    path,
                    found: version,
                });
            }
            _ => {}
        }
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| damaged(path, error.to_string()))
    }

    /// Durable when this returns.
    pub(super) fn write(&self, places: &Places) -> Result<(), JournalError> {
        let path = Self::path(places);
        let io = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        let text = serde_json::to_vec_pretty(self).map_err(|error| io(error.into()))?;
        // The daemon reads it; there is no secret in it.
        durable::replace(&path, &text, 0o644).map_err(io)
    }

    pub(super) fn remove(places: &Places) -> Result<(), JournalError> {
        let path = Self::path(places);
        match fs::remove_file(&path).and_then(|()| durable::sync_folder(durable::parent(&path))) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(JournalError::Io { path, source })
            }
            _ => Ok(()),
        }
    }

    fn path(places: &Places) -> PathBuf {
        places.at(FOLDER).join("journal.json")
    }
}

/// The text of a file; none when it is not there.
pub(super) fn read_exactly(path: &Path, most: usize) -> io::Result<Option<String>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    if !metadata.is_file() || metadata.len() > most as u64 {
        let problem = "not a file of a sensible size";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    fs::read(path).map(|octets| Some(String::from_utf8_lossy(&octets).into_owned()))
}

/// Held by whoever changes anything: two at once would put each other's work aside.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<File>,
}

impl Lock {
    /// Waits for it. Makes the folder.
    ///
    /// # Errors
    /// The file system's, and a folder that somebody else may write to.
    pub fn take(places: &Places) -> Result<Self, JournalError> {
        let folder = places.at(FOLDER);
        let io = |source| JournalError::Io {
            path: folder.clone(),
            source,
        };
        durable::create_folders(&folder).map_err(io)?;
        let metadata = fs::symlink_metadata(&folder).map_err(io)?;
        let others = metadata.permissions().mode() & 0o022 != 0;
        if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() || others {
            let problem = "belongs to somebody else, or others may write to it";
            return Err(JournalError::Damaged {
                path: folder,
                problem: problem.to_owned(),
            });
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).map_err(io)?;
        let file = File::create(folder.join("lock")).map_err(io)?;
        let held =
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io(errno.into()))?;
        Ok(Self { _held: held })
    }
}
