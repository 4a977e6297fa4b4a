//! The steps of getting in front and back.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zbus::Connection;
use zzdot_zonegen::durable;

use super::journal::{Change, Journal, JournalError, Lock, Original};
use super::resolv_conf;
use super::{FrontSetting, Method, Scene, choose};
use crate::config::DNS_PORT;
use crate::host::bus::{connection, owner};
use crate::host::files::read;
use crate::host::{Places, look, network_manager, resolved};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLVED_DROP_IN: &str = "/run/systemd/resolved.conf.d/zzdot.conf";
const NETWORK_MANAGER_DROP_IN: &str = "/run/NetworkManager/conf.d/zzdot.conf";
/// Below the loopback: Debian's resolvconf puts such records before all others, and cuts the list behind it.
const RECORD: &str = "lo.zzdot";
const TEXT_MAX: usize = 64 * 1024;

/// Why it is not in front, or not back.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The journal's.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file of somebody else's cannot be changed.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Programs that read `resolv.conf` ask on port 53.
    #[error("none of the addresses in `listen` has port 53, and {0:?} cannot name another one")]
    NoUsablePort(Method),
    /// resolvconf's.
    #[error("resolvconf: {0}")]
    Resolvconf(String),
    /// The journal is damaged, and what stood in `resolv.conf` is lost with it.
    #[error("{path}: this program is in front, and what stood there before is not known any more", path = RESOLV_CONF)]
    Lost,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The way; none when there was nothing to do.
    pub method: Option<Method>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Gets in front, in the way that fits this machine or that `setting` names. `listen` is where the daemon answers.
/// Once more changes nothing, but that what somebody else wrote into `resolv.conf` meanwhile is put aside instead.
///
/// # Errors
/// [`FrontError`]; what was begun is in the journal, and `restore` puts it back.
pub async fn put(
    places: &Places,
    listen: &[SocketAddr],
    setting: FrontSetting,
) -> Result<Applied, FrontError> {
    let _lock = Lock::take(places)?;
    let bus = connection().await.ok();
    let mut notes = Vec::new();
    let method = match setting {
        FrontSetting::None => None,
        FrontSetting::Resolved => Some(Method::Resolved),
        FrontSetting::NetworkManager => Some(Method::NetworkManager),
        FrontSetting::Resolvconf => Some(Method::Resolvconf),
        FrontSetting::File => Some(Method::File),
        FrontSetting::Auto => Some(choose(&scene(places, bus.as_ref()).await)),
    };
    let journal = match Journal::read(places)? {
        Some(journal) if Some(journal.method) == method => Some(journal),
        Some(other) => {
            undo(places, &other, bus.as_ref(), &mut notes).await?;
            Journal::remove(places)?;
            None
        }
        None => None,
    };
    let Some(method) = method else {
        return Ok(Applied { method, notes });
    };
    match method {
        Method::Resolved => {
            let servers: Vec<_> = listen.iter().map(ToString::to_string).collect();
            // Without FallbackDNS the names of no link would go to strangers when this program is away.
            let text = format!(
                "[Resolve]\nDNS={}\nDomains=~.\nFallbackDNS=\nDNSOverTLS=no\n",
                servers.join(" ")
            );
            begin(places, journal, method, Change::ResolvedDropIn)?;
            if write_drop_in(places, RESOLVED_DROP_IN, &text)? {
                restart_resolved(bus.as_ref(), &mut notes).await;
            }
        }
        Method::NetworkManager => {
            let text = format!(
                "[global-dns-domain-*]\nservers={}\n",
                texts(listen, method)?.join(",")
            );
            begin(places, journal, method, Change::NetworkManagerDropIn)?;
            if write_drop_in(places, NETWORK_MANAGER_DROP_IN, &text)? {
                reload_network_manager(bus.as_ref(), &mut notes).await;
            }
        }
        Method::Resolvconf => {
            let text: String = texts(listen, method)?
                .iter()
                .map(|ip| format!("nameserver {ip}\n"))
                .collect();
            begin(places, journal, method, Change::ResolvconfRecord)?;
            resolvconf(&["-a", RECORD], &text)?;
        }
        Method::File => put_file(places, listen, journal, &mut notes).await?,
    }
    Ok(Applied {
        method: Some(method),
        notes,
    })
}

/// Puts everything back. Once more changes nothing.
///
/// # Errors
/// [`FrontError`]; the journal stays, so that it can be tried again.
pub async fn restore(places: &Places) -> Result<Applied, FrontError> {
    let _lock = Lock::take(places)?;
    let mut notes = Vec::new();
    let journal = match Journal::read(places) {
        Ok(None) => {
            return Ok(Applied {
                method: None,
                notes,
            });
        }
        Ok(Some(journal)) => journal,
        Err(JournalError::Damaged { path, problem }) => {
            if is_ours(&places.at(RESOLV_CONF))? {
                return Err(FrontError::Lost);
            }
            // What it can have said besides is known without it.
            notes.push(format!("{}: damaged: {problem}", path.display()));
            let mut journal = Journal::new(Method::File);
            journal.changes = vec![Change::ResolvedDropIn, Change::NetworkManagerDropIn];
            journal
        }
        Err(error) => return Err(error.into()),
    };
    let bus = connection().await.ok();
    undo(places, &journal, bus.as_ref(), &mut notes).await?;
    Journal::remove(places)?;
    Ok(Applied {
        method: Some(journal.method),
        notes,
    })
}

async fn put_file(
    places: &Places,
    listen: &[SocketAddr],
    journal: Option<Journal>,
    notes: &mut Vec<String>,
) -> Result<(), FrontError> {
    let path = places.at(RESOLV_CONF);
    texts(listen, Method::File)?;
    let listen: Vec<_> = listen
        .iter()
        .copied()
        .filter(|own| own.port() == DNS_PORT)
        .collect();
    let ours = is_ours(&path)?;
    let known = journal
        .as_ref()
        .and_then(|journal| journal.changes.first().cloned());
    let original = match known {
        Some(Change::ResolvConf { original, .. }) if ours => original,
        _ => {
            let original = if ours {
                // Somebody removed the journal; our own file is nothing to put back.
                notes.push(format!(
                    "{RESOLV_CONF}: what stood there before is not known"
                ));
                Original::Absent
            } else {
                Original::of(&path).map_err(|source| FrontError::File {
                    path: path.clone(),
                    source,
                })?
            };
            let by_person = look(listen.clone(), places.clone()).await.written_by_person;
            let change = Change::ResolvConf {
                original: original.clone(),
                by_person,
            };
            let mut journal = Journal::new(Method::File);
            journal.changes.push(change);
            journal.write(places)?;
            original
        }
    };
    let text = resolv_conf::text(&listen, original.text(places).as_deref());
    resolv_conf::write(&path, text.as_bytes(), 0o644)
        .map_err(|source| FrontError::File { path, source })
}

fn is_ours(path: &Path) -> Result<bool, FrontError> {
    resolv_conf::is_ours(path).map_err(|source| FrontError::File {
        path: path.to_owned(),
        source,
    })
}

/// The journal says what is about to be changed.
fn begin(
    places: &Places,
    journal: Option<Journal>,
    method: Method,
    change: Change,
) -> Result<(), FrontError> {
    if journal.is_none() {
        let mut journal = Journal::new(method);
        journal.changes.push(change);
        journal.write(places)?;
    }
    Ok(())
}

async fn undo(
    places: &Places,
    journal: &Journal,
    bus: Option<&Connection>,
    notes: &mut Vec<String>,
) -> Result<(), FrontError> {
    for change in journal.changes.iter().rev() {
        match change {
            Change::ResolvedDropIn => {
                if remove_drop_in(places, RESOLVED_DROP_IN)? {
                    restart_resolved(bus, notes).await;
                }
            }
            Change::NetworkManagerDropIn => {
                if remove_drop_in(places, NETWORK_MANAGER_DROP_IN)? {
                    reload_network_manager(bus, notes).await;
                }
            }
            // To remove what is not there is no failure of resolvconf's; one that was removed itself keeps nothing.
            Change::ResolvconfRecord if find_resolvconf().is_none() => {}
            Change::ResolvconfRecord => resolvconf(&["-d", RECORD], "")?,
            Change::ResolvConf { original, .. } => {
                let path = places.at(RESOLV_CONF);
                resolv_conf::put_back(&path, original)
                    .map_err(|source| FrontError::File { path, source })?;
            }
        }
    }
    Ok(())
}

async fn scene(places: &Places, bus: Option<&Connection>) -> Scene {
    let path = places.at(RESOLV_CONF);
    let text = read(&path, TEXT_MAX).unwrap_or_default();
    let link = fs::read_link(&path).ok();
    let mut scene = Scene {
        link: link.map(|target| target.to_string_lossy().into_owned()),
        first_line: text.lines().next().unwrap_or_default().to_owned(),
        names_stub: text
            .lines()
            .any(|line| line.trim() == "nameserver 127.0.0.53"),
        resolvconf: find_resolvconf().is_some(),
        ..Scene::default()
    };
    if let Some(bus) = bus {
        scene.resolved = owner(bus, resolved::NAME).await.is_some();
        scene.network_manager = network_manager::keeper_of_file(bus).await;
    }
    scene
}

fn texts(listen: &[SocketAddr], method: Method) -> Result<Vec<String>, FrontError> {
    let usable = listen.iter().filter(|own| own.port() == DNS_PORT);
    let texts: Vec<_> = usable.map(|own| own.ip().to_string()).collect();
    if texts.is_empty() {
        return Err(FrontError::NoUsablePort(method));
    }
    Ok(texts)
}

/// True when it was not there like this before.
fn write_drop_in(places: &Places, path: &str, text: &str) -> Result<bool, FrontError> {
    let path = places.at(path);
    if read(&path, TEXT_MAX).as_deref() == Some(text) {
        return Ok(false);
    }
    let folder = durable::parent(&path);
    // Whoever reads it has a user of its own.
    durable::create_public_folders(folder)
        .and_then(|()| durable::replace(&path, text.as_bytes(), 0o644))
        .map(|()| true)
        .map_err(|source| FrontError::File {
            path: path.clone(),
            source,
        })
}

fn remove_drop_in(places: &Places, path: &str) -> Result<bool, FrontError> {
    let path = places.at(path);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FrontError::File { path, source }),
    }
}

/// By the service manager: resolved before version 255 cannot read its configuration again.
async fn restart_resolved(bus: Option<&Connection>, notes: &mut Vec<String>) {
    let asked = async {
        let bus = bus?;
        let manager = owner(bus, "org.freedesktop.systemd1").await?;
        let unit = ("systemd-resolved.service", "replace");
        let interface = Some("org.freedesktop.systemd1.Manager");
        let path = "/org/freedesktop/systemd1";
        bus.call_method(
            Some(manager),
            path,
            interface,
            "ReloadOrTryRestartUnit",
            &unit,
        )
        .await
        .ok()
    };
    if asked.await.is_none() {
        notes.push("systemd-resolved takes it up when it is restarted; the service manager could not be asked".to_owned());
    }
}

async fn reload_network_manager(bus: Option<&Connection>, notes: &mut Vec<String>) {
    // Its configuration (1), and the DNS settings made of it (2).
    const FLAGS: u32 = 1 | 2;
    let asked = async {
        let bus = bus?;
        let manager = owner(bus, network_manager::NAME).await?;
        let path = "/org/freedesktop/NetworkManager";
        bus.call_method(
            Some(manager),
            path,
            Some(network_manager::NAME),
            "Reload",
            &FLAGS,
        )
        .await
        .ok()
    };
    if asked.await.is_none() {
        notes.push(
            "NetworkManager takes it up when it is started; it could not be asked to read it now"
                .to_owned(),
        );
    }
}

fn resolvconf(arguments: &[&str], input: &str) -> Result<(), FrontError> {
    let failed = |error: io::Error| FrontError::Resolvconf(error.to_string());
    let program =
        find_resolvconf().ok_or_else(|| FrontError::Resolvconf("not installed".to_owned()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        io::Write::write_all(&mut stdin, input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(FrontError::Resolvconf(format!("{}: {said}", output.status)))
}

/// Not resolved's own, which is another name for `resolvectl` and keeps nothing of a loopback.
fn find_resolvconf() -> Option<PathBuf> {
    [
        "/usr/sbin/resolvconf",
        "/sbin/resolvconf",
        "/usr/bin/resolvconf",
    ]
    .iter()
    .map(Path::new)
    .filter(|path| path.is_file())
    .find(|path| fs::canonicalize(path).is_ok_and(|found| !found.ends_with("resolvectl")))
    .map(Path::to_owned)
}
