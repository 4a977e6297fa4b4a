//! The steps of getting in front and back.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zbus::Connection;
use zzdot_zonegen::durable;

use super::journal::{Change, Journal, JournalError, Lock, Original};
use super::services::{Called, reload_network_manager, restart_resolved};
use super::{
    FrontSetting, Method, NETWORK_MANAGER_DROP_IN, RESOLV_CONF, RESOLVED_DROP_IN, Scene, choose,
};
use super::{links, resolv_conf, resolvconf, resolved as by_resolved};
use crate::config::DNS_PORT;
use crate::host::bus::{connection, owner};
use crate::host::files::read;
use crate::host::watch::look_around;
use crate::host::{HeldLink, Places, look, network_manager, resolved};

const TEXT_MAX: usize = 64 * 1024;

/// How often it is looked whether resolved is back from a restart, and how long apart.
const RESTART_LOOKS: usize = 30;
const RESTART_PAUSE: Duration = Duration::from_millis(100);

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
    /// Somebody still takes no names from a link, and cannot be told otherwise now.
    #[error("link {index} has not got its domains back: {problem}")]
    Link {
        /// Its number.
        index: u32,
        /// What was said.
        problem: String,
    },
    /// The journal is damaged, and what stood in `resolv.conf` is lost with it.
    #[error("{path}: this program is in front, and what stood there before is not known any more", path = RESOLV_CONF)]
    Lost,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The way; none when there was nothing to do.
    pub method: Option<Method>,
    /// Links were told something.
    pub touched: bool,
    /// resolved was told to read its configuration again.
    pub restarted: bool,
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
    let journal = Journal::read(places)?;
    go_on(places, listen, setting, journal, false).await
}

/// The same where this program is in front already, and by the same way; where it is not, nothing. When `calm` is asked
/// for, resolved is not restarted for the sake of a search list.
pub(super) async fn again(
    places: &Places,
    listen: &[SocketAddr],
    calm: bool,
) -> Result<Applied, FrontError> {
    let _lock = Lock::take(places)?;
    let Some(journal) = Journal::read(places)? else {
        return Ok(Applied::nothing(Vec::new()));
    };
    // Who keeps the file may be away for a moment; that is no reason for another way.
    let setting = match journal.method {
        Method::Resolved => FrontSetting::Resolved,
        Method::NetworkManager => FrontSetting::NetworkManager,
        Method::Resolvconf => FrontSetting::Resolvconf,
        Method::File => FrontSetting::File,
    };
    go_on(places, listen, setting, Some(journal), calm).await
}

impl Applied {
    fn nothing(notes: Vec<String>) -> Self {
        Self {
            method: None,
            touched: false,
            restarted: false,
            notes,
        }
    }
}

async fn go_on(
    places: &Places,
    listen: &[SocketAddr],
    setting: FrontSetting,
    journal: Option<Journal>,
    calm: bool,
) -> Result<Applied, FrontError> {
    let bus = connection().await.ok();
    let mut notes = Vec::new();
    let method = match setting {
        FrontSetting::None => None,
        FrontSetting::Resolved => Some(Method::Resolved),
        FrontSetting::NetworkManager => Some(Method::NetworkManager),
        FrontSetting::Resolvconf => Some(Method::Resolvconf),
        FrontSetting::File => Some(Method::File),
        FrontSetting::Auto => Some(way(places, bus.as_ref(), journal.as_ref()).await),
    };
    let journal = match journal {
        Some(journal) if Some(journal.method) == method => Some(journal),
        Some(other) => {
            undo(places, &other, bus.as_ref(), &mut notes).await?;
            Journal::remove(places)?;
            None
        }
        None => None,
    };
    let Some(method) = method else {
        return Ok(Applied::nothing(notes));
    };
    let mut applied = Applied {
        method: Some(method),
        ..Applied::nothing(Vec::new())
    };
    match method {
        Method::Resolved => {
            let bus = bus.as_ref();
            applied = by_resolved::put(places, listen, journal, bus, calm).await?;
        }
        Method::NetworkManager => {
            let text = format!(
                "[global-dns-domain-*]\nservers={}\n",
                usable(listen, method)?
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            );
            begin(places, journal, method, Change::NetworkManagerDropIn)?;
            if write_drop_in(places, NETWORK_MANAGER_DROP_IN, &text)? {
                reload(bus.as_ref(), &mut notes).await;
            }
        }
        Method::Resolvconf => {
            let own = usable(listen, method)?;
            begin(places, journal, method, Change::ResolvconfRecord)?;
            resolvconf::put(places, &own, &mut notes)?;
        }
        Method::File => put_file(places, listen, journal, &mut notes).await?,
    }
    notes.append(&mut applied.notes);
    Ok(Applied { notes, ..applied })
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
            return Ok(Applied::nothing(notes));
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
            let seen = look_around(Vec::new(), places.clone()).await;
            journal
                .changes
                .extend(links::guessed(&seen).map(Change::Link));
            journal
        }
        Err(error) => return Err(error.into()),
    };
    let bus = connection().await.ok();
    undo(places, &journal, bus.as_ref(), &mut notes).await?;
    Journal::remove(places)?;
    Ok(Applied {
        method: Some(journal.method),
        ..Applied::nothing(notes)
    })
}

async fn put_file(
    places: &Places,
    listen: &[SocketAddr],
    journal: Option<Journal>,
    notes: &mut Vec<String>,
) -> Result<(), FrontError> {
    let path = places.at(RESOLV_CONF);
    usable(listen, Method::File)?;
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
    // Links are as volatile as it is, and touched only when it is there.
    let since_start = places.at(RESOLVED_DROP_IN).exists();
    let mut links = Ok(());
    for change in journal.changes.iter().rev() {
        match change {
            Change::Link(held) if since_start => {
                links = links.and(give_back(bus, held).await);
            }
            Change::Link(_) => {}
            // Without it, nobody would know any more whose links they are.
            Change::ResolvedDropIn if links.is_err() => {}
            Change::ResolvedDropIn => {
                if remove_drop_in(places, RESOLVED_DROP_IN)? {
                    restart_resolved(bus, notes).await;
                }
            }
            Change::NetworkManagerDropIn => {
                if remove_drop_in(places, NETWORK_MANAGER_DROP_IN)? {
                    reload(bus, notes).await;
                }
            }
            Change::ResolvconfRecord => resolvconf::take_back(places)?,
            Change::ResolvConf { original, .. } => {
                let path = places.at(RESOLV_CONF);
                resolv_conf::put_back(&path, original)
                    .map_err(|source| FrontError::File { path, source })?;
            }
        }
    }
    links
}

async fn give_back(bus: Option<&Connection>, held: &HeldLink) -> Result<(), FrontError> {
    let problem = match bus {
        None => "the system's D-Bus cannot be reached".to_owned(),
        Some(bus) => match links::give_back(bus, held).await {
            Called::Done | Called::NobodyThere => return Ok(()),
            Called::Failed(error) => error.to_string(),
        },
    };
    let index = held.index;
    Err(FrontError::Link { index, problem })
}

async fn reload(bus: Option<&Connection>, notes: &mut Vec<String>) {
    let problem = match (reload_network_manager(bus).await, bus) {
        (Called::Failed(error), _) => error.to_string(),
        (Called::NobodyThere, None) => "D-Bus cannot be reached".to_owned(),
        // Who starts later reads it then.
        (Called::Done | Called::NobodyThere, _) => return,
    };
    notes.push(format!(
        "NetworkManager takes it up when it is started anew: {problem}"
    ));
}

/// The way that fits this machine. Getting in front by resolved restarts it, which writes `resolv.conf` anew and so has
/// this called again, at a moment when resolved may not be there yet.
async fn way(places: &Places, bus: Option<&Connection>, journal: Option<&Journal>) -> Method {
    let by_resolved = journal.is_some_and(|journal| journal.method == Method::Resolved);
    let mut found = scene(places, bus).await;
    for _ in 0..RESTART_LOOKS {
        if found.resolved || !by_resolved {
            break;
        }
        tokio::time::sleep(RESTART_PAUSE).await;
        found = scene(places, bus).await;
    }
    choose(&found)
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
        resolvconf: resolvconf::find().is_some(),
        ..Scene::default()
    };
    if let Some(bus) = bus {
        scene.resolved = owner(bus, resolved::NAME).await.is_some();
        scene.network_manager = network_manager::keeper_of_file(bus).await;
    }
    scene
}

fn usable(listen: &[SocketAddr], method: Method) -> Result<Vec<IpAddr>, FrontError> {
    let usable = listen.iter().filter(|own| own.port() == DNS_PORT);
    let usable: Vec<_> = usable.map(SocketAddr::ip).collect();
    if usable.is_empty() {
        return Err(FrontError::NoUsablePort(method));
    }
    Ok(usable)
}

/// True when it was not there like this before.
pub(super) fn write_drop_in(places: &Places, path: &str, text: &str) -> Result<bool, FrontError> {
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
