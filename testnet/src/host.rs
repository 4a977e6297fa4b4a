//! One machine of a lab: a network namespace, with its own `/etc/resolv.conf`.

use std::{
    env,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io,
    net::IpAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use crate::{lab::LabError, process::Process, programs, sandbox::namespace_path};

/// A machine. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    name: String,
    folder: PathBuf,
}

impl Host {
    pub(crate) fn new(name: &str, folder: PathBuf) -> Result<Self, LabError> {
        fs::create_dir_all(&folder).map_err(LabError::file(&folder))?;
        let host = Self(Arc::new(Inner {
            name: name.to_owned(),
            folder,
        }));
        host.set_resolv_conf("")?;
        Ok(host)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its own folder: configuration, state and logs of its programs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Writes a file into its folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, file: &str, contents: &str) -> Result<PathBuf, LabError> {
        let path = self.folder().join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        }
        fs::write(&path, contents).map_err(LabError::file(&path))?;
        Ok(path)
    }

    /// Lets its applications ask this server.
    ///
    /// # Errors
    /// The file system's.
    pub fn use_name_server(&self, server: IpAddr) -> Result<(), LabError> {
        self.set_resolv_conf(&format!(
            "nameserver {server}\noptions timeout:5 attempts:2\n"
        ))
    }

    /// A command that runs on this host, by program name or path. Only the binary of this package can make one: it
    /// runs itself again to enter the host (see [`Host::enter`]).
    ///
    /// # Errors
    /// A program is missing.
    pub fn command(&self, program: &str) -> Result<Command, LabError> {
        let program = if program.contains('/') {
            PathBuf::from(program)
        } else {
            programs::find(program)?
        };
        let own = env::current_exe().map_err(|source| LabError::Run {
            program: "this program".into(),
            source,
        })?;
        let mut command = Command::new(own);
        command
            .args(["enter", self.name()])
            .arg(self.resolv_conf())
            .arg("--")
            .arg(program);
        Ok(command)
    }

    /// Moves this process (which has one thread) onto a host and becomes `command`. There is no step between that
    /// process and the program: the process id stays the one that its guard knows. Returns only when that failed.
    #[must_use]
    pub fn enter(host: &str, resolv_conf: &Path, command: &[OsString]) -> io::Error {
        let [program, arguments @ ..] = command else {
            return io::ErrorKind::InvalidInput.into();
        };
        let moved = File::open(namespace_path(host))
            .and_then(|namespace| Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?))
            .and_then(|()| Ok(unshare(CloneFlags::CLONE_NEWNS)?))
            .and_then(|()| {
                Ok(mount(
                    Some(resolv_conf),
                    "/etc/resolv.conf",
                    None::<&str>,
                    MsFlags::MS_BIND,
                    None::<&str>,
                )?)
            });
        match moved {
            Ok(()) => Command::new(program).args(arguments).exec(),
            Err(error) => error,
        }
    }

    /// Starts a program that stays; its output goes to `LABEL.log` in the host's folder.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, label: &str, command: Command) -> Result<Process, LabError> {
        let log = self.folder().join(format!("{label}.log"));
        Ok(Process::start(
            &format!("{label} on {}", self.name()),
            command,
            log,
        )?)
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<Output, LabError> {
        let mut command = self.command(program)?;
        command.args(arguments).stdin(Stdio::null());
        command.output().map_err(|source| LabError::Run {
            program: program.to_owned(),
            source,
        })
    }

    /// Runs `work` in a thread of this process whose sockets (and whose threads' sockets) are this host's.
    ///
    /// # Panics
    /// When `work` does, or when the namespace is gone.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = namespace_path(self.name());
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let namespace =
                    File::open(&path).expect("a host's namespace lives as long as its lab");
                setns(namespace, CloneFlags::CLONE_NEWNET)
                    .expect("a lab's process may enter its own namespaces");
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn resolv_conf(&self) -> PathBuf {
        self.folder().join("resolv.conf")
    }

    /// Written in place: processes hold the file itself, not its name.
    fn set_resolv_conf(&self, contents: &str) -> Result<(), LabError> {
        let path = self.resolv_conf();
        fs::write(&path, contents).map_err(LabError::file(&path))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name()).finish()
    }
}
