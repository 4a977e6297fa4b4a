//! Faults at every system call: a real program is run again and again, and each time one more of its calls on a
//! folder fails, is cut short, or is the last thing that it does.
//!
//! The points are counted over the whole process, whatever thread makes the call: a program that writes from a pool
//! of threads is walked through as completely as one that has a single thread. (`strace --inject` counts for each
//! thread and each system call apart, and would pass over points of the former.)
//!
//! The tests that walk (`durability_*`) inject some 2,900 faults; each asserts a least number of its own, and these
//! come to more than 2,000.
//!
//! | [`Kind`] | happens at |
//! |---|---|
//! | `Kill` | SIGKILL before a call that changes something |
//! | `Torn` | half of a write arrives, then SIGKILL |
//! | `NoSpace`, `FullDisk` | ENOSPC once, or from a call on that needs space |
//! | `BadSector`, `DeadDisk` | EIO once, or from a call on, reads included |

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::errno::Errno;
use tempfile::TempDir;
use thiserror::Error;

mod calls;
pub mod memory;
mod tracer;

pub use crate::tracing::End;
pub use calls::{Call, Effect};

/// A program that takes longer is stuck, and that is a fault of its own.
const LIMIT: Duration = Duration::from_secs(20);

/// What is done to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is killed before the call.
    Kill,
    /// Half of what it writes arrives, then it is killed.
    Torn,
    /// The call fails with ENOSPC, later ones do not.
    NoSpace,
    /// The call and all later ones that need space fail with ENOSPC.
    FullDisk,
    /// The call fails with EIO, later ones do not.
    BadSector,
    /// The call and all later ones fail with EIO.
    DeadDisk,
}

/// One fault at one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub kind: Kind,
    /// How many calls that it could have happened to are left alone.
    pub after: usize,
}

/// A program, and the folder whose calls are watched.
#[derive(Clone, Debug)]
pub struct Traced {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
    stop_at: Option<String>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the program ended.
    pub end: End,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
    /// Its calls on the folder, in the order in which they were begun.
    pub calls: Vec<Call>,
    /// The call that the fault happened to, if any.
    pub hit: Option<Call>,
}

/// Why a program cannot be watched, or did not end.
#[derive(Debug, Error)]
pub enum TraceError {
    /// It cannot be started.
    #[error("{}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program that Cargo builds with the tests is not there.
    #[error("{} is missing; mend it with: cargo build -p zzdot-testnet --examples", .0.display())]
    Missing(PathBuf),
    /// The system does not let one process trace another.
    #[error("ptrace: {0}; in a container, add the capability SYS_PTRACE")]
    Ptrace(#[from] Errno),
    /// It did not end, and was killed.
    #[error(
        "{} did not end within {LIMIT:?} after {fault:?} at {hit:?}; it said: {stderr}",
        program.display()
    )]
    Stuck {
        /// The program.
        program: PathBuf,
        /// The fault it was given.
        fault: Option<Fault>,
        /// Where that happened.
        hit: Option<Box<Call>>,
        /// What it said on standard error.
        stderr: String,
    },
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Kill,
        Self::Torn,
        Self::NoSpace,
        Self::FullDisk,
        Self::BadSector,
        Self::DeadDisk,
    ];

    /// Whether the program lives on and is expected to say what happened.
    pub fn is_error(self) -> bool {
        self.errno().is_some()
    }

    fn errno(self) -> Option<Errno> {
        match self {
            Self::Kill | Self::Torn => None,
            Self::NoSpace | Self::FullDisk => Some(Errno::ENOSPC),
            Self::BadSector | Self::DeadDisk => Some(Errno::EIO),
        }
    }

    fn lasts(self) -> bool {
        matches!(self, Self::FullDisk | Self::DeadDisk)
    }

    /// Whether it can happen to a call.
    fn concerns(self, call: &Call) -> bool {
        match self {
            Self::Kill => call.effect != Effect::Read,
            Self::Torn => call.octets.is_some_and(|octets| octets > 1),
            Self::NoSpace | Self::FullDisk => call.effect == Effect::Grow,
            Self::BadSector | Self::DeadDisk => true,
        }
    }
}

impl Traced {
    /// `program`, of which the calls on `folder` and on what is in it are watched.
    ///
    /// `folder` must be its real path, without symbolic links.
    pub fn new(program: &Path, folder: &Path) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: folder.to_owned(),
            stop_at: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds some arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Has SIGTERM sent to a daemon once it says `text`.
    #[must_use]
    pub fn stop_at(mut self, text: impl Into<String>) -> Self {
        self.stop_at = Some(text.into());
        self
    }

    /// Runs the program once.
    ///
    /// # Errors
    /// It cannot be started or traced, or does not end.
    pub fn run(&self, fault: Option<Fault>) -> Result<Outcome, TraceError> {
        tracer::run(self, fault)
    }
}

/// An empty folder in memory, where there is one: thousands of points wait for the disk too long otherwise. What is
/// tested is which calls are made and what comes of their failures, and that is the same anywhere.
///
/// # Errors
/// It cannot be made.
pub fn folder() -> io::Result<TempDir> {
    const MEMORY: &str = "/dev/shm";
    tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir())
}

/// A program of `testnet/examples`, as a test finds it beside itself.
///
/// # Errors
/// It is not there.
pub fn example(name: &str) -> Result<PathBuf, TraceError> {
    let start = |source| TraceError::Start {
        program: name.into(),
        source,
    };
    let own = env::current_exe().map_err(start)?;
    let built = own.ancestors().nth(2).unwrap_or(Path::new("/"));
    let path = built.join("examples").join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(TraceError::Missing(path))
    }
}

/// Runs `point` with a fault one call later each time, until a run does not come to it. Returns how many faults
/// happened.
///
/// # Panics
/// The walk does not end.
pub fn walk(kind: Kind, mut point: impl FnMut(Fault) -> Outcome) -> usize {
    const MANY: usize = 100_000;
    for after in 0..MANY {
        if point(Fault { kind, after }).hit.is_none() {
            return after;
        }
    }
    panic!("{kind:?}: there is no end after {MANY} points");
}
