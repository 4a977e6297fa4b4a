//! Files that survive a crash: written aside, synchronised, renamed, and the folder synchronised.
//!
//! The order matters (write, fsync, rename, fsync of the folder): only then does a power cut leave
//! either the old contents or the new, never half of them and never neither.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use thiserror::Error;

/// Why a file or folder with secrets is not to be trusted.
#[derive(Debug, Error)]
pub enum PrivacyError {
    /// It cannot be looked at.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It belongs to a stranger.
    #[error("{}: belongs to user {uid}, not to this process's user {} or root", path.display(), Uid::effective())]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Others than its owner may use it.
    #[error("{}: has mode {mode:04o}, must be {expected:04o}", path.display())]
    Mode {
        /// The file or folder.
        path: PathBuf,
        /// The mode found.
        mode: u32,
        /// The most that is allowed.
        expected: u32,
    },
    /// It is neither a plain file nor a folder.
    #[error("{}: is neither a plain file nor a folder", path.display())]
    Kind {
        /// What was found.
        path: PathBuf,
    },
}

/// Puts `contents` in the place of whatever `path` held, atomically and durably.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let folder = parent(path);
    let mut aside = tempfile::Builder::new()
        .prefix(".zzdot-")
        .suffix(".new")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    aside.write_all(contents)?;
    // The mode of creation is subject to the umask, this one is not.
    aside
        .as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Writes a file that must not exist yet. A failure on the way removes it again.
pub fn create_exclusive(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file
        .write_all(contents)
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder(parent(path)));
    if written.is_err() {
        // The first error is the one to tell; what is left behind was never announced.
        let _ = fs::remove_file(path);
    }
    written
}

/// Creates `path` and the missing folders above it with mode 0700, durably.
pub fn create_folders(path: &Path) -> io::Result<()> {
    make_folders(path, 0o700)
}

/// The same with mode 0755, whatever the process masks: for other users' programs, which read what stands there.
pub fn create_public_folders(path: &Path) -> io::Result<()> {
    make_folders(path, 0o755)
}

fn make_folders(path: &Path, mode: u32) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    make_folders(above, mode)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            return Ok(());
        }
        Err(error) => return Err(error),
        Ok(()) if mode == 0o700 => {}
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode))?,
    }
    sync_folder(above)
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Takes the folder for this process alone, until the guard is dropped or the process ends in
/// whatever way. Who comes second gets `WouldBlock`.
pub fn lock_folder(folder: &Path) -> io::Result<Flock<File>> {
    Flock::lock(File::open(folder)?, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| io::Error::from(errno))
}

/// Checks that a file or folder is ours (or root's) alone: no bit for group or others.
pub fn check_private(path: &Path) -> Result<(), PrivacyError> {
    let meta = fs::metadata(path).map_err(|source| PrivacyError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let expected = if meta.is_dir() {
        0o700
    } else if meta.is_file() {
        0o600
    } else {
        return Err(PrivacyError::Kind {
            path: path.to_owned(),
        });
    };
    if meta.uid() != 0 && meta.uid() != Uid::effective().as_raw() {
        return Err(PrivacyError::Owner {
            path: path.to_owned(),
            uid: meta.uid(),
        });
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PrivacyError::Mode {
            path: path.to_owned(),
            mode,
            expected,
        });
    }
    Ok(())
}

/// The folder in which `path` stands.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_for_others_can_be_read_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("a/b"), folder.path().join("c/d"));
        create_folders(&private).unwrap();
        create_public_folders(&public).unwrap();
        assert_eq!(
            [mode(&private), mode(private.parent().unwrap())],
            [0o700; 2]
        );
        assert_eq!([mode(&public), mode(public.parent().unwrap())], [0o755; 2]);
    }

    #[test]
    fn an_existing_file_is_never_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_exclusive(&path, b"one", 0o600).unwrap();
        let error = create_exclusive(&path, b"two", 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn what_others_may_read_is_not_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_exclusive(&path, b"one", 0o600).unwrap();
        check_private(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            check_private(&path),
            Err(PrivacyError::Mode { mode: 0o640, .. })
        ));
        assert!(matches!(
            check_private(&folder.path().join("none")),
            Err(PrivacyError::Unreadable { .. })
        ));
    }

    #[test]
    fn missing_folders_are_created_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        create_folders(&path).unwrap();
        create_folders(&path).unwrap();
        check_private(&path).unwrap();
        assert_eq!(mode(&folder.path().join("a")), 0o700);
    }
}
