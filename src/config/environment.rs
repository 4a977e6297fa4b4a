//! The variables of the environment that decide about folders.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The variables, read once, so that decisions can be tested with others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `STATE_DIRECTORY`, set by the service manager; may be a list, the first of which counts.
    pub state_directory: Option<OsString>,
    /// `RUNTIME_DIRECTORY`, likewise.
    pub runtime_directory: Option<OsString>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            state_directory: variable("STATE_DIRECTORY"),
            runtime_directory: variable("RUNTIME_DIRECTORY"),
            xdg_state_home: variable("XDG_STATE_HOME"),
            home: variable("HOME"),
        }
    }

    /// The folder for the state of `program`.
    pub fn state_dir(&self, program: &str) -> Option<PathBuf> {
        if let Some(dir) = first(self.state_directory.as_ref()) {
            return Some(dir);
        }
        // The XDG specification says that relative paths are to be ignored.
        if let Some(dir) = self.xdg_state_home.as_ref().map(Path::new)
            && dir.is_absolute()
        {
            return Some(dir.join(program));
        }
        let home = Path::new(self.home.as_ref()?);
        Some(home.join(".local/state").join(program))
    }

    /// The folder for sockets, when a service manager made one.
    pub fn runtime_dir(&self) -> Option<PathBuf> {
        first(self.runtime_directory.as_ref())
    }
}

fn first(list: Option<&OsString>) -> Option<PathBuf> {
    std::env::split_paths(list?).find(|path| !path.as_os_str().is_empty())
}
