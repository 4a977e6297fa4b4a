//! A clock that a test moves under a running program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The clock, kept in a file that libfaketime reads each time somebody asks for the time.
pub struct Clock {
    file: PathBuf,
    ahead: u64,
}

impl Clock {
    /// A clock that is right yet.
    pub fn new(folder: &Path) -> Self {
        let clock = Self {
            file: folder.join("clock"),
            ahead: 0,
        };
        clock.write();
        clock
    }

    /// Lets `command` see this clock. Its waits go by the real one.
    pub fn rule(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", libfaketime())
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Moves it forward by seconds.
    pub fn advance(&mut self, secs: u64) {
        self.ahead += secs;
        self.write();
    }

    /// As nobody may read half of a time, the file is replaced.
    fn write(&self) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("+{}\n", self.ahead)).unwrap();
        fs::rename(next, &self.file).unwrap();
    }
}

/// Lets `command` see a clock that is so far from the right one, as libfaketime takes it: `-400d`. Its waits go by the
/// real one.
pub fn shift(command: &mut Command, by: &str) {
    command
        .env("LD_PRELOAD", libfaketime())
        .env("FAKETIME", by)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

/// What the program of this name preloads. It would do that under a name made of its process id in /dev/shm, and fails
/// where another that was killed has left that behind.
fn libfaketime() -> PathBuf {
    let libraries = Path::new("/usr/lib").read_dir().into_iter().flatten();
    libraries
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.is_file())
        .expect("this test needs libfaketime: apt-get install faketime")
}
