//! Folders: whose they are, what is in them, copies of them, and damaged ones put aside.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use zzdot_zonegen::durable;

use super::StoreError;

/// Damaged copies that are kept, the oldest of them.
const KEPT_ASIDE: u32 = 8;

/// Whether there is nothing. What cannot be looked at is there.
pub(super) fn is_absent(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Nobody but the owner may change what is trusted. (Reading it is harmless.)
pub(super) fn check_folder(folder: &Path) -> Result<(), StoreError> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let meta = fs::metadata(folder).map_err(|source| StoreError::Io {
        path: folder.to_owned(),
        source,
    })?;
    let reason = if meta.uid() != 0 && meta.uid() != Uid::effective().as_raw() {
        format!("belongs to user {}", meta.uid())
    } else if meta.mode() & WRITABLE_BY_OTHERS != 0 {
        let mode = meta.mode() & 0o7777;
        format!("has mode {mode:04o}: others may write to it (chmod 0700)")
    } else {
        return Ok(());
    };
    Err(StoreError::Unsafe {
        folder: folder.to_owned(),
        reason,
    })
}

/// Copies a folder and what is in it.
pub(super) fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Removes a folder, if it is there.
pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps a damaged copy for whoever wants to look at it, under the first free number.
pub(super) fn put_aside(path: &Path) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged.{number}"));
        PathBuf::from(name)
    };
    let free = (1..=KEPT_ASIDE).find(|number| numbered(*number).symlink_metadata().is_err());
    match free {
        Some(number) => fs::rename(path, numbered(number))?,
        None if path.is_dir() => fs::remove_dir_all(path)?,
        None => fs::remove_file(path)?,
    }
    durable::sync_folder(durable::parent(path))
}
