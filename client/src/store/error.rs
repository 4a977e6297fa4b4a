//! Why there is no store, and what people are told then.

use std::io;
use std::path::PathBuf;

use zzdot_zonegen::exit::{Exit, Failure};

/// Why there is no store, or why it does not change.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, most likely the daemon, has it open.
    #[error("{}: the store is in use by another process", folder.display())]
    InUse {
        /// The state folder.
        folder: PathBuf,
    },
    /// The folder belongs to somebody else, or others may write to it.
    #[error("{}: {reason}", folder.display())]
    Unsafe {
        /// The state folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Both copies are damaged, or one is and the other is gone.
    #[error("{}: what is remembered cannot be read: snapshot: {snapshot}; database: {database}", folder.display())]
    Unreadable {
        /// The state folder.
        folder: PathBuf,
        /// What is wrong with the snapshot.
        snapshot: String,
        /// What is wrong with the database.
        database: String,
    },
    /// Both copies are sound, claim the same age, and differ.
    #[error("{}: snapshot and database are of the same age and differ", folder.display())]
    Disagree {
        /// The state folder.
        folder: PathBuf,
    },
    /// What is left is sound, and older than what was acknowledged, or may be.
    #[error("{}: what is left is of generation {held}, and {acknowledged} was acknowledged", folder.display())]
    Outdated {
        /// The state folder.
        folder: PathBuf,
        /// The generation of the newest sound copy.
        held: u64,
        /// The generation acknowledged last, where that is known.
        acknowledged: String,
    },
    /// A later program wrote it.
    #[error("{}: version {version} of the store is from a later program than this", folder.display())]
    Later {
        /// The state folder.
        folder: PathBuf,
        /// The form in which it is written.
        version: u32,
    },
    /// There is no secret to hide networks under.
    #[error("the system's random source failed")]
    Random,
    /// The folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<StoreError> for Failure {
    /// As a program tells it that cannot run without a store.
    fn from(error: StoreError) -> Self {
        let failure = Self::new(Exit::CannotRun, error.to_string());
        match error {
            StoreError::InUse { .. } => failure.with_hint(
                "the daemon has it open: ask the daemon (`zzdot-client status`), or use another \
                 --state-dir",
            ),
            StoreError::Unreadable { .. }
            | StoreError::Disagree { .. }
            | StoreError::Outdated { .. } => failure.with_hint(
                "nothing was changed. Restore the whole folder from a backup; or, to trust every \
                 resolver anew, move the folder away yourself",
            ),
            StoreError::Later { .. } => failure
                .with_hint("nothing was changed. Use that program again, or another --state-dir"),
            StoreError::Unsafe { .. } | StoreError::Random | StoreError::Io { .. } => failure,
        }
    }
}
