//! A clock that a test moves under a running program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::program;

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
        let asked = program::run(
            Command::new(program::find("faketime", "faketime")).args(["-f", "+0", "env"]),
        );
        let environment = String::from_utf8(asked.stdout).unwrap();
        let mut lines = environment.lines();
        let library = lines.find_map(|line| line.strip_prefix("LD_PRELOAD="));
        command
            .env("LD_PRELOAD", library.unwrap())
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
