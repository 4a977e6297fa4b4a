//! The real `zzdot`, in a folder of its own and on an address of 127.0.0.0/8 of its own.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

/// The binary under test.
pub const ZZDOT: &str = env!("CARGO_BIN_EXE_zzdot");

use super::program::Running;

/// How long anything may take before a test fails: far more than it does take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a configuration, in which zzdot runs.
pub struct Place {
    folder: tempfile::TempDir,
    /// The address that is this test's alone.
    pub address: String,
}

impl Place {
    /// With a configuration that listens on high ports and has these lines besides.
    pub fn new(more: &str) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
            address: own_address(),
        };
        place.configure(more);
        place
    }

    /// Writes the configuration anew.
    pub fn configure(&self, more: &str) {
        let (address, state) = (&self.address, self.state());
        self.write(&format!(
            "state-dir = {state:?}\nstop-within-secs = 2\n\
             [listen]\ndns = [\"{address}:5300\"]\ndot = [\"{address}:8530\"]\n{more}"
        ));
    }

    /// Writes a whole configuration.
    pub fn write(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("zzdot.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn identity(&self) -> PathBuf {
        self.state().join("identity")
    }

    /// A command of the binary with this configuration.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(ZZDOT);
        command
            .arg(subcommand)
            .arg("--config")
            .arg(self.config())
            .env("ZZDOT_LOG", "info")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        command
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, subcommand: &str, arguments: &[&str]) -> Output {
        self.command(subcommand).args(arguments).output().unwrap()
    }

    /// Runs a subcommand that must succeed, and gives back its standard output.
    pub fn told(&self, subcommand: &str, arguments: &[&str]) -> String {
        let output = self.run(subcommand, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `zzdot status --json` says.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.told("status", &["--json"])).unwrap()
    }

    /// Serves, and waits until it is ready.
    pub fn serve(&self) -> Daemon {
        Daemon::start(self.command("serve"), self.path())
    }

    /// Tries to serve and insists that it does not; gives back exit code and messages.
    pub fn refused(&self) -> (i32, String) {
        let log = self.path().join("refused");
        let child = self
            .command("serve")
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let code = wait(&mut Running(child).0, &log).code();
        (code.unwrap(), fs::read_to_string(&log).unwrap())
    }
}

/// Waits for the end of a process that writes to `log`.
fn wait(child: &mut Child, log: &Path) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        let said = || fs::read_to_string(log).unwrap_or_default();
        assert!(started.elapsed() < PATIENCE, "still running: {}", said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An address that no other test process uses.
pub fn own_address() -> String {
    let pid = std::process::id();
    format!("127.{}.{}.53", 200 + (pid >> 8) % 50, pid % 256)
}

/// A zzdot that serves. Killed when dropped.
pub struct Daemon {
    child: Child,
    notifications: UnixDatagram,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` and waits until it says READY.
    pub fn start(mut command: Command, folder: &Path) -> Self {
        let socket = folder.join("notify");
        let _ = fs::remove_file(&socket);
        let notifications = UnixDatagram::bind(&socket).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = folder.join("log");
        let child = command
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut daemon = Self {
            child,
            notifications,
            log,
        };
        daemon.wait_for("READY=1");
        daemon
    }

    /// Waits until the service manager was told `what`.
    pub fn wait_for(&mut self, what: &str) {
        let mut buffer = [0; 4096];
        loop {
            let length = self
                .notifications
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("waiting for {what}: {error}; log: {}", self.log()));
            let text = String::from_utf8_lossy(&buffer[..length]);
            if text.lines().any(|line| line == what) {
                return;
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Makes it read its configuration again, and waits until it has.
    pub fn reload(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGHUP);
        self.wait_for("RELOADING=1");
        self.wait_for("READY=1");
    }

    /// Stops it and gives back how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.ended()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        wait(&mut self.child, &self.log)
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
