//! Roll-overs on disk.
//!
//! A step writes the files of new keys, then replaces the state, then removes the files that the new state does not name.
//! The state is what counts: an interruption before it was replaced leaves files that nobody knows, and after it files that
//! nobody needs. Both kinds go with the next step or the next start.

use std::fs;
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use thiserror::Error;

use super::plan::{Intervals, Planned, Step};
use super::state::STATE_FILE;
use super::step::{RotateError, Rotation};
use crate::clock::UnixTime;
use crate::durable::{check_private, replace};
use crate::exit::{Exit, Failure};
use crate::identity::{Identity, IdentityError};
use crate::identity_files::{file_names, files_of, is_key_file};
use crate::publication::{StateError, take_turn};

/// How much time on the air may be forgotten by a crash, in seconds: it is saved so often and not with each look.
const SAVE_EVERY: u64 = 3600;

/// More steps than can be due at once.
const STEPS_AT_ONCE: usize = 16;

/// What a file that was being replaced is called, see [`replace`].
const UNFINISHED: (&str, &str) = (".zzdot-", ".new");

/// Keeps an identity and its roll-overs in a folder.
#[derive(Debug)]
pub struct Keeper {
    dir: PathBuf,
    identity: Identity,
    /// What the state's file holds; empty: there is none.
    saved: String,
    saved_air: u64,
}

/// Why a step was not taken, or not asked for.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// A file cannot be read or written, or a key cannot be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The folder is in use by another process.
    #[error(transparent)]
    InUse(StateError),
    /// Another process took a step of the same identity.
    #[error("{}: was changed by another process", .0.display())]
    Changed(PathBuf),
    /// The roll-over cannot be begun.
    #[error(transparent)]
    Rotate(#[from] RotateError),
}

impl Keeper {
    /// Takes over the identity in `dir`.
    ///
    /// # Errors
    /// Where the identity is not whole.
    pub fn open(dir: &Path) -> Result<Self, KeeperError> {
        let identity = Identity::load(dir)?;
        let saved = saved(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            saved_air: identity.state().air.secs,
            identity,
            saved,
        })
    }

    /// The identity as it is now.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The next step of each roll-over.
    pub fn plan(&self, now: UnixTime, intervals: &Intervals) -> Vec<Planned> {
        self.identity.aired(now).plan(now, intervals)
    }

    /// Takes each step that is due. What is published changes by each of them.
    ///
    /// # Errors
    /// Why a step was not taken; those before it were.
    pub fn tick(&mut self, now: UnixTime, intervals: &Intervals) -> Result<Vec<Step>, KeeperError> {
        let mut taken = Vec::new();
        self.identity = self.identity.aired(now);
        while taken.len() < STEPS_AT_ONCE
            && let Some((next, step)) =
                self.identity
                    .stepped(now, intervals, &SystemRandom::new())?
        {
            self.commit(next)?;
            taken.push(step);
        }
        if self.identity.state().air.secs >= self.saved_air + SAVE_EVERY {
            let same = self.identity.aired(now);
            self.commit(same)?;
        }
        Ok(taken)
    }

    /// To be called when certificate and zones are served as they are now: waits begin here.
    ///
    /// # Errors
    /// Where that cannot be saved; it is tried again with the next call, and until then nothing goes on.
    pub fn served(&mut self, now: UnixTime) -> Result<(), KeeperError> {
        let unserved = |identity: &Identity| {
            let mut keys = identity.state().keys.iter();
            keys.any(|key| key.served.is_none())
        };
        match unserved(&self.identity) {
            true => self.commit(self.identity.served(now)),
            false => Ok(()),
        }
    }

    /// Does what somebody asks for, or puts it into the plan.
    ///
    /// # Errors
    /// Why not; then everything is as before.
    pub fn rotate(&mut self, rotation: &Rotation, now: UnixTime) -> Result<(), KeeperError> {
        let rng = SystemRandom::new();
        let next = self.identity.aired(now).rotated(rotation, now, &rng)?;
        self.commit(next)
    }

    fn commit(&mut self, next: Identity) -> Result<(), KeeperError> {
        let _turn = take_turn(&self.dir).map_err(KeeperError::InUse)?;
        if saved(&self.dir)? != self.saved {
            return Err(KeeperError::Changed(self.dir.join(STATE_FILE)));
        }
        sweep(&self.dir, &self.identity);
        if self.saved.is_empty() {
            // Keys of later without a state would be an identity that has lost it.
            self.save(self.identity.state().to_text())?;
        }
        for (stem, held) in &next.shelf {
            let files = files_of(&next.name, stem, held);
            let before = self.identity.shelf.get(stem);
            let before = before.map(|held| files_of(&next.name, stem, held));
            if before.as_ref() != Some(&files) {
                for (file, contents) in files {
                    write(&self.dir.join(file), &contents)?;
                }
            }
        }
        self.save(next.state().to_text())?;
        self.saved_air = next.state().air.secs;
        self.identity = next;
        sweep(&self.dir, &self.identity);
        Ok(())
    }
}

impl Keeper {
    fn save(&mut self, text: String) -> Result<(), KeeperError> {
        write(&self.dir.join(STATE_FILE), &text)?;
        self.saved = text;
        Ok(())
    }
}

impl From<KeeperError> for Failure {
    fn from(error: KeeperError) -> Self {
        let message = error.to_string();
        match error {
            KeeperError::Identity(error) => error.into(),
            KeeperError::InUse(error) => error.into(),
            KeeperError::Changed(_) => Self::new(Exit::CannotRun, message).with_hint(
                "one zzdot serves an identity; restart it, so that it reads the folder again",
            ),
            KeeperError::Rotate(RotateError::Identity(error)) => error.into(),
            KeeperError::Rotate(error) => {
                let failure = Self::new(Exit::Usage, message);
                match error.cure() {
                    Some(cure) => failure.with_hint(cure),
                    None => failure,
                }
            }
        }
    }
}

fn write(path: &Path, contents: &str) -> Result<(), IdentityError> {
    replace(path, contents.as_bytes(), 0o600).map_err(|source| IdentityError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

/// What the state's file holds; empty when there is none.
fn saved(dir: &Path) -> Result<String, IdentityError> {
    let path = dir.join(STATE_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(IdentityError::Unreadable { path, source }),
    }
}

/// Removes the files of keys that are not among those of `identity`, and what was being written when a process ended.
fn sweep(dir: &Path, identity: &Identity) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let named: Vec<String> = identity
        .shelf
        .keys()
        .flat_map(|stem| file_names(stem))
        .collect();
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let unfinished = file.starts_with(UNFINISHED.0) && file.ends_with(UNFINISHED.1);
        if (unfinished || is_key_file(&file) && !named.contains(&file))
            && check_private(&entry.path()).is_ok()
        {
            // It stays when it cannot be removed: nobody reads it.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
