//! The box around a lab: private mount, network and process namespaces, gone with the process that entered them.
//!
//! Entering happens once, before any thread starts, by running the program again below `unshare`. Without root a user
//! namespace is added in which the user keeps the own id, with all capabilities (as a root that is nobody else, some
//! programs would fail to become the user that they want to be). The first process in the box is a shell that waits, so that orphans are reaped and that
//! signals from the terminal keep their meaning for the program itself.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    unistd::geteuid,
};
use thiserror::Error;

use crate::programs::{self, Missing};

/// Holds the network namespace of the caller: proof, on the inside, that a border was crossed.
const OUTSIDE: &str = "ZZDOT_LAB_OUTSIDE";
const OWN_NETWORK: &str = "/proc/self/ns/net";

/// Why no box could be entered.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// A program is not installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The kernel refuses user namespaces to this user.
    #[error(
        "this user may not make namespaces ({said}); mend it with: sudo sysctl -w kernel.unprivileged_userns_clone=1 \
         user.max_user_namespaces=15000 (Ubuntu: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0), \
         or run this under sudo"
    )]
    UserNamespaces {
        /// What `unshare` said.
        said: String,
    },
    /// Root, but without the capability.
    #[error(
        "root may not make namespaces here ({said}); in a container, mend it with: docker run --privileged ..."
    )]
    Capability {
        /// What `unshare` said.
        said: String,
    },
    /// A step of the set-up failed.
    #[error("lab box: {step}: {source}")]
    Step {
        /// What was tried.
        step: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Is this process in a box already?
#[must_use]
pub fn is_inside() -> bool {
    // The variable alone proves nothing: it must name a network that is not ours.
    match (env::var_os(OUTSIDE), fs::read_link(OWN_NETWORK)) {
        (Some(outside), Ok(own)) => !outside.is_empty() && own.as_os_str() != outside,
        _ => false,
    }
}

/// Runs this program again, with these arguments, inside a new box. Returns only when that failed.
pub fn enter(arguments: &[OsString]) -> SandboxError {
    match prepare_entry(arguments) {
        Ok(mut command) => step("start unshare")(command.exec()),
        Err(error) => error,
    }
}

/// Makes the box a home for hosts. Call once, inside, before the first lab.
///
/// # Errors
/// A step that the kernel refused.
pub fn furnish() -> Result<(), SandboxError> {
    // The machine's /run is hidden too: no resolver or bus of the machine can be reached through its sockets. Names in
    // /dev/shm are made of process ids, which are the same in every box.
    for (folder, mode) in [("/run", "mode=755"), ("/dev/shm", "mode=1777")] {
        mount(
            Some("tmpfs"),
            folder,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(mode),
        )
        .map_err(|errno| step(&format!("mount a tmpfs on {folder}"))(errno.into()))?;
    }
    for folder in ["/run/netns", "/run/lab"] {
        fs::create_dir_all(folder).map_err(step(&format!("create {folder}")))?;
    }
    let name_service = [
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ];
    for (file, contents) in name_service {
        let own = Path::new("/run/lab").join(file);
        fs::write(&own, contents).map_err(step(&format!("write {}", own.display())))?;
        let target = Path::new("/etc").join(file);
        mount(
            Some(&own),
            &target,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .map_err(|errno| step(&format!("bind {}", target.display()))(errno.into()))?;
    }
    ensure_resolv_conf()
}

/// Where hosts' network namespaces are named.
#[must_use]
pub fn namespace_path(host: &str) -> PathBuf {
    Path::new("/run/netns").join(host)
}

fn prepare_entry(arguments: &[OsString]) -> Result<Command, SandboxError> {
    programs::check_all()?;
    let unshare = programs::find("unshare")?;
    let root = geteuid().is_root();
    let user: &[&str] = if root {
        &[]
    } else {
        &["--user", "--map-current-user", "--keep-caps"]
    };
    let probe = Command::new(&unshare)
        .args(user)
        .args(["--mount", "--net", "true"])
        .stdin(Stdio::null())
        .output()
        .map_err(step("run unshare"))?;
    if !probe.status.success() {
        let said = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
        return Err(if root {
            SandboxError::Capability { said }
        } else {
            SandboxError::UserNamespaces { said }
        });
    }
    let program = env::current_exe().map_err(step("find this program"))?;
    let outside = fs::read_link(OWN_NETWORK).map_err(step("read the own network namespace"))?;
    let mut command = Command::new(unshare);
    command
        .args(user)
        .args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .args(["sh", "-c", "\"$@\"; exit $?", "zzdot-testnet"])
        .arg(program)
        .args(arguments)
        .env(OUTSIDE, outside);
    Ok(command)
}

/// `/etc/resolv.conf` is often a link into `/run`, which is hidden now; each process of a host binds its own over it.
fn ensure_resolv_conf() -> Result<(), SandboxError> {
    let path = Path::new("/etc/resolv.conf");
    if path.exists() {
        return Ok(());
    }
    let target =
        fs::read_link(path).map_err(step("read the link /etc/resolv.conf (create that file)"))?;
    let target = Path::new("/etc").join(target);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(step(&format!("create {}", folder.display())))?;
    }
    fs::write(&target, "").map_err(step(&format!("create {}", target.display())))
}

fn step(what: &str) -> impl Fn(io::Error) -> SandboxError {
    let what = what.to_owned();
    move |source| SandboxError::Step {
        step: what.clone(),
        source,
    }
}
