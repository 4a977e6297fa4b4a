//! The programs that a lab is made of, and the packages that bring them.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Program and Debian package; everything that any story starts.
const PACKAGED: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("dnsdist", "dnsdist"),
    ("dbus-daemon", "dbus-daemon"),
    ("dnsmasq", "dnsmasq-base"),
    ("faketime", "faketime"),
    ("getent", "libc-bin"),
    ("ip", "iproute2"),
    ("kresd", "knot-resolver"),
    ("ldns-keygen", "ldnsutils"),
    ("ldns-signzone", "ldnsutils"),
    ("mount", "mount"),
    ("named", "bind9"),
    ("nft", "nftables"),
    ("nsd", "nsd"),
    ("nsenter", "util-linux"),
    ("rndc", "bind9-utils"),
    ("sh", "dash"),
    ("stubby", "stubby"),
    ("tcpdump", "tcpdump"),
    ("unbound", "unbound"),
    ("unshare", "util-linux"),
];

/// Program and Debian package of the peers that the bench compares ours with.
const PEERS: &[(&str, &str)] = &[
    ("dnsdist", "dnsdist"),
    ("kresd", "knot-resolver"),
    ("named", "bind9"),
    ("nice", "coreutils"),
    ("smartdns", "smartdns"),
    ("stubby", "stubby"),
    ("unbound", "unbound"),
];

/// Holds the folder of the unpacked programs, where it is not the usual one.
const UNPACKED_DIR: &str = "ZZDOT_UNPACKED_DIR";
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/debian-programs");

/// Where Debian keeps programs; the last ones are not on the `PATH` of everybody.
const FOLDERS: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Programs that are not installed.
#[derive(Debug, Error)]
#[error("not installed: {}; mend it with: apt-get install {}", .programs.join(", "), .packages.join(" "))]
pub struct Missing {
    programs: Vec<String>,
    packages: Vec<String>,
}

/// The whole path of a program.
///
/// # Errors
/// [`Missing`] names the package that brings it.
pub fn find(program: &str) -> Result<PathBuf, Missing> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&on_path)
        .chain(FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| is_executable(path))
        .ok_or_else(|| Missing {
            programs: vec![program.into()],
            packages: vec![package_of(program).into()],
        })
}

/// The library by which a program sees another clock, without the wrapper that starts it.
///
/// # Errors
/// [`Missing`] names the package that brings it.
pub fn libfaketime() -> Result<PathBuf, Missing> {
    let libraries = Path::new("/usr/lib").read_dir().into_iter().flatten();
    libraries
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.is_file())
        .ok_or_else(|| Missing {
            programs: vec!["libfaketime".into()],
            packages: vec!["libfaketime".into()],
        })
}

/// Nothing is unpacked.
#[derive(Debug, Error)]
#[error("{} is not there; mend it with: scripts/packages", .0.display())]
pub struct NotUnpacked(PathBuf);

/// The root of what `scripts/packages` unpacks since it would take over the machine that it is installed on.
///
/// # Errors
/// It is not there.
pub fn unpacked() -> Result<PathBuf, NotUnpacked> {
    unpacked_apart("root")
}

/// The root of one package that excludes others of them.
///
/// # Errors
/// It is not there.
pub fn unpacked_apart(package: &str) -> Result<PathBuf, NotUnpacked> {
    let folder = env::var_os(UNPACKED_DIR).map_or_else(|| PathBuf::from(UNPACKED), PathBuf::from);
    folder
        .join(package)
        .canonicalize()
        .map_err(|_| NotUnpacked(folder))
}

/// All programs that the stories start are there.
///
/// # Errors
/// [`Missing`] names all that are not, with one command that installs them.
pub fn check_all() -> Result<(), Missing> {
    check(PACKAGED)
}

/// All peers that Debian has are there.
///
/// # Errors
/// [`Missing`] names all that are not, with one command that installs them.
pub fn check_peers() -> Result<(), Missing> {
    check(PEERS)
}

fn check(programs: &[(&str, &str)]) -> Result<(), Missing> {
    let missing: Vec<_> = programs
        .iter()
        .filter(|(program, _)| find(program).is_err())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<String> = missing
        .iter()
        .map(|(_, package)| (*package).into())
        .collect();
    packages.dedup();
    Err(Missing {
        programs: missing
            .iter()
            .map(|(program, _)| (*program).into())
            .collect(),
        packages,
    })
}

fn package_of(program: &str) -> &str {
    PACKAGED
        .iter()
        .chain(PEERS)
        .find(|(name, _)| *name == program)
        .map_or(program, |(_, package)| package)
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_command_that_mends_it() {
        let missing = find("no-such-program").unwrap_err().to_string();
        assert_eq!(
            missing,
            "not installed: no-such-program; mend it with: apt-get install no-such-program"
        );
    }

    #[test]
    fn a_program_outside_the_callers_path_is_found_and_its_package_known() {
        assert!(find("ip").unwrap().is_absolute());
        assert_eq!(package_of("ldns-signzone"), "ldnsutils");
    }
}
