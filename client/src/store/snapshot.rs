//! The copy that decides: one file, replaced as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::durable;

use super::content::Content;

/// The form of the file. A higher one is from a later program and is left alone.
const VERSION: u32 = 1;
/// Largest file that is read: thousands of resolvers.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
const MODE: u32 = 0o600;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    version: u32,
    sha256: String,
    content: Content,
}

/// Why a copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    /// The system does not give it.
    #[error("{0}")]
    Unreadable(io::Error),
    /// Something in it is not as it was written.
    #[error("{0}")]
    Broken(String),
}

/// Reads it; none when there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Content>, Damage> {
    match read_bytes(path, BYTES_MAX)? {
        Some(bytes) => parse(&bytes).map(Some).map_err(Damage::Broken),
        None => Ok(None),
    }
}

/// The first `most` bytes of a file of the store; none when there is no file.
pub(super) fn read_bytes(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Damage> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Damage::Unreadable(error)),
        Ok(file) => file
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(Damage::Unreadable)?,
    };
    Ok(Some(bytes))
}

fn parse(bytes: &[u8]) -> Result<Content, String> {
    let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if snapshot.version != VERSION {
        return Err(format!("version {} is not {VERSION}", snapshot.version));
    }
    if snapshot.sha256 != checksum(&snapshot.content).map_err(|error| error.to_string())? {
        return Err("its checksum does not match".to_owned());
    }
    if !snapshot.content.is_consistent() {
        return Err("its parts do not belong together".to_owned());
    }
    Ok(snapshot.content)
}

/// Replaces it: written aside, synchronised, renamed, and the folder synchronised.
pub(super) fn write(path: &Path, content: &Content) -> io::Result<()> {
    let snapshot = Snapshot {
        version: VERSION,
        sha256: checksum(content)?,
        content: content.clone(),
    };
    let mut text = serde_json::to_vec_pretty(&snapshot)?;
    text.push(b'\n');
    durable::replace(path, &text, MODE)
}

fn checksum(content: &Content) -> Result<String, serde_json::Error> {
    Ok(HEXLOWER.encode(&content.digest()?))
}
