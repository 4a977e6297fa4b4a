//! How far the store has come: the generation that was acknowledged last.
//!
//! A copy of a lower generation has lost something, sound as it looks: sled cuts its log at the
//! first damage and comes back with an earlier state.

use std::io;
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::durable;

use super::content::sha256;
use super::snapshot::{Damage, read_bytes};

const BYTES_MAX: u64 = 1024;
const MODE: u32 = 0o600;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    generation: u64,
    sha256: String,
}

/// Reads it; none when there is no file.
pub(super) fn read(path: &Path) -> Result<Option<u64>, Damage> {
    let Some(bytes) = read_bytes(path, BYTES_MAX)? else {
        return Ok(None);
    };
    let marker: Marker =
        serde_json::from_slice(&bytes).map_err(|error| Damage::Broken(error.to_string()))?;
    if marker.sha256 != checksum(marker.generation) {
        return Err(Damage::Broken("its checksum does not match".to_owned()));
    }
    Ok(Some(marker.generation))
}

/// Replaces it.
pub(super) fn write(path: &Path, generation: u64) -> io::Result<()> {
    let sha256 = checksum(generation);
    let mut text = serde_json::to_vec(&Marker { generation, sha256 })?;
    text.push(b'\n');
    durable::replace(path, &text, MODE)
}

fn checksum(generation: u64) -> String {
    HEXLOWER.encode(&sha256(&[&generation.to_be_bytes()]))
}
