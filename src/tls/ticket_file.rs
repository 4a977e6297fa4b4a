//! The file that keeps the keys of tickets across a restart.
//!
//! ```text
//! octets  0..16   "zzdot tickets 1\n"
//!        16..48   SHA-256 of the SubjectPublicKeyInfo of the identity
//!           ..    for each key, the latest first: when it began (8, seconds since 1970, big-endian), name (16), secret (32)
//!     last 32     SHA-256 of all before
//! ```

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use zzdot_zonegen::{
    clock::UnixTime,
    durable::{self, PrivacyError},
};

use super::tickets::{KEYS_MAX, KeySeed};

const MAGIC: &[u8; 16] = b"zzdot tickets 1\n";
const KEY_LEN: usize = 8 + 16 + 32;
const HEAD_LEN: usize = MAGIC.len() + 32;
const FILE_MAX: usize = HEAD_LEN + KEYS_MAX * KEY_LEN + SHA256_OUTPUT_LEN;

/// Why a file gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum TicketFileError {
    /// There is none yet.
    #[error("there is no such file")]
    Missing,
    /// The system does not let us.
    #[error(transparent)]
    Io(io::Error),
    /// Others can read or write it.
    #[error(transparent)]
    Exposed(PrivacyError),
    /// It is not what was written.
    #[error("the file is damaged, or of another version")]
    Damaged,
    /// It came here with somebody's backup.
    #[error("the file belongs to another identity")]
    Stranger,
}

/// Reads the keys of the identity `spki`, the latest first.
///
/// # Errors
/// [`TicketFileError`].
pub fn load(path: &Path, spki: &[u8; 32]) -> Result<Vec<KeySeed>, TicketFileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TicketFileError::Missing);
        }
        opened => opened.map_err(TicketFileError::Io)?,
    };
    durable::check_private(path).map_err(TicketFileError::Exposed)?;
    let mut contents = Vec::with_capacity(FILE_MAX + 1);
    file.take(FILE_MAX as u64 + 1)
        .read_to_end(&mut contents)
        .map_err(TicketFileError::Io)?;
    decode(&contents, spki)
}

/// Writes the keys, for nobody else to read.
///
/// # Errors
/// What the system says; the old file is as it was.
pub fn save<'a>(
    path: &Path,
    spki: &[u8; 32],
    keys: impl Iterator<Item = &'a KeySeed>,
) -> io::Result<()> {
    durable::replace(path, &encode(spki, keys), 0o600)
}

fn encode<'a>(spki: &[u8; 32], keys: impl Iterator<Item = &'a KeySeed>) -> Vec<u8> {
    let mut contents = Vec::with_capacity(FILE_MAX);
    contents.extend_from_slice(MAGIC);
    contents.extend_from_slice(spki);
    for key in keys {
        contents.extend_from_slice(&key.born.0.to_be_bytes());
        contents.extend_from_slice(&key.name);
        contents.extend_from_slice(&key.secret);
    }
    let checksum = digest(&SHA256, &contents);
    contents.extend_from_slice(checksum.as_ref());
    contents
}

fn decode(contents: &[u8], spki: &[u8; 32]) -> Result<Vec<KeySeed>, TicketFileError> {
    let (body, checksum) = contents
        .split_last_chunk::<SHA256_OUTPUT_LEN>()
        .ok_or(TicketFileError::Damaged)?;
    if digest(&SHA256, body).as_ref() != checksum {
        return Err(TicketFileError::Damaged);
    }
    let (owner, keys) = body
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_first_chunk::<32>())
        .ok_or(TicketFileError::Damaged)?;
    if owner != spki {
        return Err(TicketFileError::Stranger);
    }
    if keys.len() > KEYS_MAX * KEY_LEN {
        return Err(TicketFileError::Damaged);
    }
    let seed = |key: &[u8]| {
        let (born, rest) = key.split_first_chunk()?;
        let (name, secret) = rest.split_first_chunk()?;
        Some(KeySeed {
            born: UnixTime(u64::from_be_bytes(*born)),
            name: *name,
            secret: *secret.first_chunk()?,
        })
    };
    keys.chunks(KEY_LEN)
        .map(seed)
        .collect::<Option<_>>()
        .ok_or(TicketFileError::Damaged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const US: [u8; 32] = [1; 32];

    fn keys(count: u8) -> Vec<KeySeed> {
        let key = |number| KeySeed {
            name: [number; 16],
            secret: [!number; 32],
            born: UnixTime(u64::from(number)),
        };
        (0..count).map(key).collect()
    }

    fn error(contents: &[u8], spki: &[u8; 32]) -> TicketFileError {
        decode(contents, spki)
            .map(|_| ())
            .expect_err("no file of ours")
    }

    #[test]
    fn what_is_saved_is_loaded_and_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tickets.keys");
        assert!(matches!(load(&path, &US), Err(TicketFileError::Missing)));
        for count in [0, 1, KEYS_MAX as u8] {
            save(&path, &US, keys(count).iter()).unwrap();
            assert!(load(&path, &US).unwrap() == keys(count));
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path, &US), Err(TicketFileError::Exposed(_))));
    }

    #[test]
    fn a_file_that_was_cut_changed_or_prolonged_is_damaged() {
        let whole = encode(&US, keys(3).iter());
        for length in 0..whole.len() {
            assert!(matches!(
                error(&whole[..length], &US),
                TicketFileError::Damaged
            ));
            let mut changed = whole.clone();
            changed[length] ^= 4;
            assert!(matches!(error(&changed, &US), TicketFileError::Damaged));
        }
        let longer = encode(&US, keys(KEYS_MAX as u8 + 1).iter());
        assert!(matches!(error(&longer, &US), TicketFileError::Damaged));
    }

    #[test]
    fn the_keys_of_another_identity_are_not_used() {
        let theirs = encode(&[2; 32], keys(3).iter());
        assert!(matches!(error(&theirs, &US), TicketFileError::Stranger));
    }
}
