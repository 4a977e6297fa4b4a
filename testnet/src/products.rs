//! The programs under test: where they are, and the configuration that a story gives them.

use std::{
    env,
    ffi::OsString,
    fmt::Write,
    fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    thread,
    time::Instant,
};

use nix::sys::signal::Signal;
use thiserror::Error;

use crate::{
    ask::{AskError, wait_until_answering},
    host::Host,
    lab::LabError,
    played_clock::PlayedClock,
    process::{POLL, Process},
    radio::Radio,
    servers::READY,
};

/// Holds the folder of the binaries, where it is not this program's own.
const BIN_DIR: &str = "ZZDOT_BIN_DIR";
/// The programs under test, and their packages.
const PRODUCTS: [&str; 3] = ["zzdot", "zzdot-client", "zzdot-zonegen"];
const BUILD: &str = "cargo build -p zzdot -p zzdot-client -p zzdot-zonegen --bins";

/// The client's configuration, in the folder of its host.
const CLIENT_CONFIG: &str = "zzdot-client.toml";

/// There is nothing to test.
#[derive(Debug, Error)]
pub enum ProductsError {
    /// A binary is missing.
    #[error("{} is not there; mend it with: {BUILD} (or set {BIN_DIR})", .0.display())]
    Missing(PathBuf),
    /// The build failed.
    #[error("{BUILD}: {0}")]
    Build(ExitStatus),
    /// The lab's.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A program under test does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Cargo or this program cannot be run.
    #[error("{BUILD}: {0}")]
    Run(#[from] io::Error),
}

/// Builds the products, unless the environment says where they are. An up-to-date build takes no time, and a story
/// about yesterday's binary is worth nothing.
///
/// # Errors
/// The build failed.
pub fn ensure_built() -> Result<(), ProductsError> {
    if env::var_os(BIN_DIR).is_none() {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // Those of the profile that this program was built with; its folder is named after it, but for the default one.
        let folder = own_folder()?;
        let profile = folder.file_name().filter(|name| *name != "debug");
        // What is to be measured is built as it is packaged: alone, without what the others want of the libraries.
        let builds = if profile.is_some() { 1 } else { PRODUCTS.len() };
        for products in PRODUCTS.chunks(builds) {
            let mut command = Command::new(&cargo);
            command
                .args(["build", "--quiet", "--bins"])
                .args(products.iter().flat_map(|product| ["-p", product]));
            if let Some(profile) = profile {
                command.arg("--profile").arg(profile);
            }
            let status = command
                .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
                .status()?;
            if !status.success() {
                return Err(ProductsError::Build(status));
            }
        }
    }
    PRODUCTS
        .iter()
        .try_for_each(|product| find(product).map(drop))
}

/// A program under test.
///
/// # Errors
/// It is not there.
pub fn find(product: &str) -> Result<PathBuf, ProductsError> {
    let path = folder()?.join(product);
    if path.is_file() {
        Ok(path)
    } else {
        Err(ProductsError::Missing(path))
    }
}

/// The appliance on a host.
#[derive(Clone, Copy, Debug)]
pub struct Appliance<'a> {
    /// Where it runs.
    pub host: &'a Host,
    /// Names its configuration, log and identity: an appliance with another label is another resolver.
    pub label: &'a str,
    /// Cleartext DNS.
    pub dns: &'a [SocketAddr],
    /// DNS over TLS.
    pub dot: &'a [SocketAddr],
    /// The lines of `[resolve]`.
    pub resolve: &'a str,
}

impl Appliance<'_> {
    /// Where its identity is.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.host.folder().join(format!("{}-state", self.label))
    }

    /// Starts it, and waits until it answers on all its addresses.
    ///
    /// # Errors
    /// It does not.
    pub fn start(&self) -> Result<Process, ProductsError> {
        self.start_by(self.daemon()?)
    }

    /// The same by another clock than the machine's.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_by_clock(&self, clock: &PlayedClock) -> Result<Process, ProductsError> {
        let mut command = self.daemon()?;
        clock.rule(&mut command);
        self.start_by(command)
    }

    fn daemon(&self) -> Result<Command, ProductsError> {
        let config = self.configure()?;
        let mut command = self.host.command(&find("zzdot")?.to_string_lossy())?;
        command.args(["serve", "--config"]).arg(config);
        Ok(command)
    }

    fn start_by(&self, command: Command) -> Result<Process, ProductsError> {
        let mut process = self.host.start(self.label, command)?;
        serving(self.host, &mut process, self.dns)?;
        for address in self.dot {
            wait_until_connecting(self.host, *address)?;
        }
        Ok(process)
    }

    /// Has the one that runs read this configuration instead of the one that it was started with.
    ///
    /// # Errors
    /// It is gone.
    pub fn reload(&self, running: &Process) -> Result<(), ProductsError> {
        self.configure()?;
        Ok(running.signal(Signal::SIGHUP).map_err(LabError::from)?)
    }

    fn configure(&self) -> Result<PathBuf, ProductsError> {
        let config = format!(
            "state-dir = {:?}\n[listen]\ndns = [{}]\ndot = [{}]\n[access]\nallow = [\"127.0.0.0/8\", \"::1/128\", \
             \"192.168.0.0/16\", \"10.0.0.0/8\", \"fd00::/8\"]\n[resolve]\n{}\n",
            self.state_dir(),
            quoted(self.dns),
            quoted(self.dot),
            self.resolve
        );
        Ok(self.host.write(&format!("{}.toml", self.label), &config)?)
    }
}

/// The client on a host, listening on the loopback addresses.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Where it runs.
    pub host: &'a Host,
    /// The configured server, as its configuration takes it.
    pub server: &'a str,
    /// `plain` or `refuse`.
    pub legacy: &'a str,
}

impl Client<'_> {
    /// Where it listens.
    #[must_use]
    pub fn addresses() -> [SocketAddr; 2] {
        ["127.0.0.1:53", "[::1]:53"]
            .map(|address| address.parse().expect("constants are addresses"))
    }

    /// Starts it, and waits until it answers. What it remembers from an earlier start is kept.
    ///
    /// # Errors
    /// It does not.
    pub fn start(&self) -> Result<Process, ProductsError> {
        self.start_by(self.daemon()?)
    }

    /// The same, with more lines in its configuration.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_saying(&self, lines: &str) -> Result<Process, ProductsError> {
        self.start_by(self.daemon_saying(lines)?)
    }

    /// The same by another clock than the machine's.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_by_clock(
        &self,
        lines: &str,
        clock: &PlayedClock,
    ) -> Result<Process, ProductsError> {
        let mut command = self.daemon_saying(lines)?;
        clock.rule(&mut command);
        self.start_by(command)
    }

    fn daemon_saying(&self, lines: &str) -> Result<Command, ProductsError> {
        let path = self.write_config()?;
        let config = fs::read_to_string(&path)? + lines;
        fs::write(&path, config)?;
        let mut command = self
            .host
            .command(&find("zzdot-client")?.to_string_lossy())?;
        command.args(["run", "--config"]).arg(path);
        Ok(command)
    }

    /// Runs another of its commands, with the configuration that the running one was started with.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn ask_running(
        host: &Host,
        task: &str,
        arguments: &[&str],
    ) -> Result<Output, ProductsError> {
        let mut command = host.command(&find("zzdot-client")?.to_string_lossy())?;
        command
            .arg(task)
            .args(arguments)
            .arg("--config")
            .arg(host.folder().join(CLIENT_CONFIG))
            .stdin(Stdio::null());
        Ok(command.output()?)
    }

    /// The same on a system whose only certification authority is this one, in PEM.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_trusting(&self, authority: &Path) -> Result<Process, ProductsError> {
        let mut command = self.daemon()?;
        command
            .env("SSL_CERT_FILE", authority)
            .env_remove("SSL_CERT_DIR");
        self.start_by(command)
    }

    /// The same on a host with wireless cards.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_with(&self, radio: &Radio) -> Result<Process, ProductsError> {
        let command = radio.command(&find("zzdot-client")?.to_string_lossy())?;
        self.start_by(self.as_daemon(command)?)
    }

    fn daemon(&self) -> Result<Command, ProductsError> {
        let program = find("zzdot-client")?;
        self.as_daemon(self.host.command(&program.to_string_lossy())?)
    }

    fn as_daemon(&self, mut command: Command) -> Result<Command, ProductsError> {
        command.args(["run", "--config"]).arg(self.write_config()?);
        Ok(command)
    }

    fn start_by(&self, command: Command) -> Result<Process, ProductsError> {
        let mut process = self.host.start("zzdot-client", command)?;
        serving(self.host, &mut process, &Self::addresses())?;
        Ok(process)
    }

    /// Runs another of its commands, with the same configuration.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn output(&self, task: &str, arguments: &[&str]) -> Result<Output, ProductsError> {
        let mut command = self
            .host
            .command(&find("zzdot-client")?.to_string_lossy())?;
        command
            .arg(task)
            .args(arguments)
            .arg("--config")
            .arg(self.write_config()?)
            .stdin(Stdio::null());
        Ok(command.output()?)
    }

    fn write_config(&self) -> Result<PathBuf, ProductsError> {
        let mut config = format!("listen = [{}]\n", quoted(&Self::addresses()));
        let _ = writeln!(
            config,
            "server = {:?}\nlegacy = {:?}\nstate-dir = {:?}",
            self.server,
            self.legacy,
            self.host.folder().join("zzdot-client-state")
        );
        Ok(self.host.write(CLIENT_CONFIG, &config)?)
    }
}

/// Runs a product to its end, on a host.
///
/// # Errors
/// It cannot be started.
pub fn run(host: &Host, product: &str, arguments: &[&str]) -> Result<Output, ProductsError> {
    Ok(host.output(&find(product)?.to_string_lossy(), arguments)?)
}

fn serving(
    host: &Host,
    process: &mut Process,
    addresses: &[SocketAddr],
) -> Result<(), ProductsError> {
    addresses.iter().try_for_each(|address| {
        wait_until_answering(host, *address, READY, || {
            process
                .check_running("an answer")
                .map_err(|error| ProductsError::Lab(error.into()))
        })
    })
}

fn wait_until_connecting(host: &Host, address: SocketAddr) -> Result<(), ProductsError> {
    let deadline = Instant::now() + READY;
    host.within(|| {
        loop {
            match TcpStream::connect_timeout(&address, READY) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                Err(_) => thread::sleep(POLL),
            }
        }
    })
}

fn quoted(addresses: &[SocketAddr]) -> String {
    addresses
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `PATH`, with the products first.
///
/// # Errors
/// This program cannot be found.
pub fn path_with_products() -> Result<OsString, ProductsError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [folder()?].into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).map_err(|error| ProductsError::Run(io::Error::other(error)))
}

fn folder() -> Result<PathBuf, ProductsError> {
    match env::var_os(BIN_DIR) {
        Some(folder) => Ok(folder.into()),
        None => own_folder(),
    }
}

/// The folder of this program; a test's own is one below it.
fn own_folder() -> Result<PathBuf, ProductsError> {
    let program = env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    Ok(if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder).to_owned()
    } else {
        folder.to_owned()
    })
}
