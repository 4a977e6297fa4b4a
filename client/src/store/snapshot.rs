//! The copy that decides: one file, replaced as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::durable;

use super::content::{Content, VERSION};
use super::decisions::Exported;
use super::version1;

/// Largest file that is read: thousands of resolvers.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
const MODE: u32 = 0o600;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot<C> {
    version: u32,
    sha256: String,
    content: C,
}

/// The one field that stays, whatever the version.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
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
    /// A later program wrote it.
    #[error("version {0} is from a later program than this")]
    Later(u32),
}

/// Reads it; none when there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Content>, Damage> {
    match read_bytes(path, BYTES_MAX)? {
        Some(bytes) => parse(&bytes).map(Some),
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

/// Reads the text of a snapshot, of this version or an earlier one.
fn parse(bytes: &[u8]) -> Result<Content, Damage> {
    let (content, is_intact) = parse_unchecked(bytes)?;
    if !is_intact {
        return Err(Damage::Broken("its checksum does not match".to_owned()));
    }
    content.ok_or_else(|| Damage::Broken("its parts do not belong together".to_owned()))
}

/// What the text of a snapshot says, whether or not its checksum matches: for a look into a damaged one. No store believes
/// it.
///
/// # Errors
/// Why it cannot be read even so.
pub fn salvage(bytes: &[u8]) -> Result<Exported, String> {
    match parse_unchecked(bytes) {
        Ok((Some(content), _)) => Ok(content.exported()),
        Ok((None, _)) => Err("its parts do not belong together".to_owned()),
        Err(damage) => Err(damage.to_string()),
    }
}

/// What it says, where its parts belong together; and whether its checksum matches.
fn parse_unchecked(bytes: &[u8]) -> Result<(Option<Content>, bool), Damage> {
    let broken = |error: serde_json::Error| Damage::Broken(error.to_string());
    let Versioned { version } = serde_json::from_slice(bytes).map_err(broken)?;
    let (told, digest, content) = match version {
        VERSION => {
            let snapshot: Snapshot<Content> = serde_json::from_slice(bytes).map_err(broken)?;
            let digest = snapshot.content.digest().map_err(broken)?;
            let content = snapshot.content;
            let content = content.is_consistent().then_some(content);
            (snapshot.sha256, digest, content)
        }
        1 => {
            let snapshot: Snapshot<version1::Content> =
                serde_json::from_slice(bytes).map_err(broken)?;
            let digest = snapshot.content.digest().map_err(broken)?;
            (snapshot.sha256, digest, snapshot.content.into_content())
        }
        0 => return Err(Damage::Broken("version 0 is none".to_owned())),
        later => return Err(Damage::Later(later)),
    };
    Ok((content, told == HEXLOWER.encode(&digest)))
}

/// Replaces it: written aside, synchronised, renamed, and the folder synchronised.
pub(super) fn write(path: &Path, content: &Content) -> io::Result<()> {
    let snapshot = Snapshot {
        version: VERSION,
        sha256: HEXLOWER.encode(&content.digest()?),
        content,
    };
    let mut text = serde_json::to_vec_pretty(&snapshot)?;
    text.push(b'\n');
    durable::replace(path, &text, MODE)
}
