//! One machine of a lab: a network namespace, with its own `/etc/resolv.conf`.

use std::{
    fmt,
    fs::{self, File},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
};

use nix::sched::{CloneFlags, setns};

use crate::{lab::LabError, process::Process, programs, sandbox::namespace_path};

/// Binds the host's resolv.conf over the machine's, for one process, and becomes that process: every step is an
/// `exec`, so that the process id stays the one that its guard knows.
const ENTER: &str = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";

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

    /// A command that runs on this host, by program name or path.
    ///
    /// # Errors
    /// A program is missing.
    pub fn command(&self, program: &str) -> Result<Command, LabError> {
        let program = if program.contains('/') {
            PathBuf::from(program)
        } else {
            programs::find(program)?
        };
        let mut command = Command::new(programs::find("nsenter")?);
        command
            .arg(format!("--net={}", namespace_path(self.name()).display()))
            .args(["--", "unshare", "--mount", "--", "sh", "-c", ENTER])
            .arg(self.resolv_conf())
            .arg(program);
        Ok(command)
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
