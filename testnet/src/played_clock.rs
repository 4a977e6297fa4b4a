//! A clock that a story moves under a running program, so that minutes cost no time.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::programs::{self, Missing};

/// The clock, kept in a file that libfaketime reads each time somebody asks for the time.
#[derive(Debug)]
pub struct PlayedClock {
    library: PathBuf,
    file: PathBuf,
    ahead: Duration,
}

impl PlayedClock {
    /// A clock that is right yet; its file is in `folder`.
    ///
    /// # Errors
    /// libfaketime is not installed, or the file cannot be written.
    pub fn new(folder: &Path) -> Result<Self, PlayedClockError> {
        let clock = Self {
            library: programs::libfaketime()?,
            file: folder.join("clock"),
            ahead: Duration::ZERO,
        };
        clock.write()?;
        Ok(clock)
    }

    /// Lets `command` see this clock: the one that can be set and the one that cannot. Waits end as late as ever.
    pub fn rule(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1");
    }

    /// Lets so much time pass at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn advance(&mut self, by: Duration) -> io::Result<()> {
        self.ahead += by;
        self.write()
    }

    /// As nobody may read half of a time, the file is replaced.
    fn write(&self) -> io::Result<()> {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("+{}\n", self.ahead.as_secs()))?;
        fs::rename(next, &self.file)
    }
}

/// Why there is no such clock.
#[derive(Debug, thiserror::Error)]
pub enum PlayedClockError {
    /// The library is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Its file.
    #[error("the played clock: {0}")]
    File(#[from] io::Error),
}
