//! How a program of this project ends, the same for each binary.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// The exit codes that scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// The work is done.
    Done = 0,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// This machine does not let the program run: port taken, no privilege, no space.
    CannotRun = 3,
    /// Refused for a reason of trust: something does not validate or does not belong together.
    Distrust = 4,
    /// The server asked is not upgraded.
    NotUpgraded = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a command tells its user when it cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One sentence, lower case, without the final stop.
    pub message: String,
    /// What the user can do about it, where that is known.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints the message, and the hint if there is one, to standard error behind the program's
    /// name; returns the code to exit with.
    pub fn report(&self, program: &str) -> ExitCode {
        // Nobody is left to tell where standard error is closed; the exit code still says it.
        let _ = io::stderr().write_all(self.text(program).as_bytes());
        self.exit.into()
    }

    /// The lines that [`Failure::report`] prints.
    pub fn text(&self, program: &str) -> String {
        let mut text = format!("{program}: {}\n", self.message);
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{program}: hint: {hint}\n"));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_has_its_own_line() {
        let failure = Failure::new(Exit::Usage, "no such file").with_hint("create it");
        assert_eq!(
            failure.text("zzdot"),
            "zzdot: no such file\nzzdot: hint: create it\n"
        );
    }
}
