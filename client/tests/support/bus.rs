//! A message bus of a test's own: the real `dbus-daemon`, with a folder for its socket.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A bus; it ends with this.
pub(crate) struct Bus {
    daemon: Child,
    folder: tempfile::TempDir,
}

impl Bus {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Other users come here, too.
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everybody).unwrap();
        let config = folder.path().join("bus.conf");
        let socket = folder.path().join("bus");
        std::fs::write(
            &config,
            format!(
                "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
                 \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
                 <busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth>\n\
                 <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\n\
                 <allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy></busconfig>\n",
                socket.display()
            ),
        )
        .unwrap();
        let mut daemon = Command::new(program("dbus-daemon", "dbus-daemon"))
            .arg("--config-file")
            .arg(&config)
            .args(["--nofork", "--nopidfile", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its address is its word that it listens.
        let mut line = String::new();
        let mut said = BufReader::new(daemon.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:path="), "{line:?}");
        Self { daemon, folder }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A program of Debian, where Debian keeps it.
pub(crate) fn program(name: &str, package: &str) -> std::path::PathBuf {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/lib/polkit-1"];
    let mut found = folders.iter().map(|folder| Path::new(folder).join(name));
    found
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is missing: apt-get install {package}"))
}
