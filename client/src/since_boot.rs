//! How many questions left this machine in cleartext since it was booted, over restarts of this program.
//!
//! Kept in a small file beside the store: the kernel's number of the boot, and the count. What was counted within the last
//! [`SAVE_EVERY`] is lost when the machine or this program dies at once, so the count says "at least".

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use zzdot_zonegen::durable;

use crate::ladder::Rung;
use crate::tally::TALLY;

/// How often the count is written, where it changed.
pub const SAVE_EVERY: Duration = Duration::from_secs(30);

const FILE: &str = "cleartext-since-boot";
const MODE: u32 = 0o600;
/// Where the kernel tells which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The count.
#[derive(Debug)]
pub struct SinceBoot {
    file: PathBuf,
    boot: String,
    /// Before this process.
    before: u64,
    saved: AtomicU64,
}

impl SinceBoot {
    /// Goes on where the last process of this boot left off. A file that cannot be read counts for nothing: the number
    /// is for people, and nothing hangs on it.
    #[must_use]
    pub fn open(folder: &Path) -> Arc<Self> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        Arc::new(Self::in_boot(folder, boot.trim()))
    }

    fn in_boot(folder: &Path, boot: &str) -> Self {
        let file = folder.join(FILE);
        let text = fs::read_to_string(&file).unwrap_or_default();
        let before = counted_in(&text, boot).unwrap_or(0);
        Self {
            file,
            boot: boot.to_owned(),
            before,
            saved: AtomicU64::new(before),
        }
    }

    /// Questions in cleartext since the boot.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.before.saturating_add(TALLY.on(Rung::Cleartext))
    }

    /// Writes the count, if it changed.
    pub fn save(&self) {
        let total = self.total();
        if self.saved.swap(total, Ordering::Relaxed) == total {
            return;
        }
        let text = format!("{} {total}\n", self.boot);
        if let Err(error) = durable::replace(&self.file, text.as_bytes(), MODE) {
            tracing::warn!(%error, file = %self.file.display(), "the count of cleartext is not kept");
        }
    }

    /// Writes it again and again.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SAVE_EVERY).await;
            let this = Arc::clone(&self);
            // The disk may take its time; questions shall not.
            let _ = tokio::task::spawn_blocking(move || this.save()).await;
        }
    }
}

fn counted_in(text: &str, boot: &str) -> Option<u64> {
    let (of, count) = text.trim_end().split_once(' ')?;
    (!boot.is_empty() && of == boot).then(|| count.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_count_outlives_the_process_and_ends_with_the_boot() {
        let folder = tempfile::tempdir().unwrap();
        let first = SinceBoot::in_boot(folder.path(), "boot-1");
        let start = first.total();
        TALLY.count(Rung::Cleartext, 3);
        assert_eq!(first.total(), start + 3);
        first.save();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(text, format!("boot-1 {}\n", start + 3));
        let again = SinceBoot::in_boot(folder.path(), "boot-1");
        assert_eq!(again.before, start + 3);
        let rebooted = SinceBoot::in_boot(folder.path(), "boot-2");
        assert_eq!(rebooted.before, 0);
    }

    #[test]
    fn rubbish_counts_for_nothing() {
        for text in [
            "", "boot", "boot ", "boot x", "boot -1", "other 7", " 7", "boot 7 8",
        ] {
            assert_eq!(counted_in(text, "boot"), None, "{text:?}");
        }
        assert_eq!(counted_in("boot 7\n", "boot"), Some(7));
        assert_eq!(
            counted_in(" 7", ""),
            None,
            "a boot without a name is no boot"
        );
    }
}
