//! Looks at all sources, decides, and looks again whenever one of them has changed.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zzdot_zonegen::clock::UnixTime;

use super::bus::Bus;
use super::{
    Decision, Inputs, LinkFacts, LinkSays, Places, ResolvedSays, Saying, Source, decide, files,
    front, links, network_manager, resolved,
};

/// A change seldom comes alone: this long without another one, and it is looked at.
const QUIET: Duration = Duration::from_millis(50);
/// However many come, a look is not put off for longer than this.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// Without any sign of a change: for what gives none, such as a folder that was not there.
const ROUND: Duration = Duration::from_secs(60);
/// How long a bus that is gone is looked for at once, before what it said is forgotten.
const BUS_GRACE: Duration = Duration::from_secs(5);
/// Between two attempts to reach the bus: the first, and the longest.
const BUS_RETRY: Duration = Duration::from_millis(250);
const BUS_RETRY_MAX: Duration = Duration::from_secs(15);

/// Keeps looking until it is dropped.
pub struct Watcher {
    decisions: watch::Receiver<Arc<Decision>>,
    again: Arc<Notify>,
    links: Arc<Mutex<Option<Vec<LinkFacts>>>>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Looks for the first time, which takes as long as D-Bus does (two seconds at the most), and goes on in the
    /// background. `own` is where this program listens.
    pub async fn start(own: Vec<SocketAddr>, places: Places) -> Self {
        let again = Arc::new(Notify::new());
        let links = Arc::new(Mutex::new(None));
        let mut look = Look {
            own,
            places,
            bus: None,
            retry: Retry::default(),
            said: Said::default(),
            links: Arc::clone(&links),
        };
        let first = Arc::new(look.once().await);
        let (sender, decisions) = watch::channel(first);
        let task = tokio::spawn({
            let again = Arc::clone(&again);
            async move { look.forever(&sender, &again).await }
        });
        Self {
            decisions,
            again,
            links,
            task,
        }
    }

    /// What was decided last; it tells of changes.
    #[must_use]
    pub fn decisions(&self) -> watch::Receiver<Arc<Decision>> {
        self.decisions.clone()
    }

    /// Looks again soon: after a link has come up, or the machine has slept.
    pub fn look_again(&self) {
        self.again.notify_one();
    }

    /// Tells which links there are, from now on, by somebody who watches them; looks again if they are others.
    pub fn know_links(&self, links: Vec<LinkFacts>) {
        let mut known = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != Some(&links) {
            *known = Some(links);
            self.again.notify_one();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks once and decides.
pub async fn look(own: Vec<SocketAddr>, places: Places) -> Decision {
    decide(&look_around(own, places).await)
}

/// Looks once, and leaves the decision to others.
pub(super) async fn look_around(own: Vec<SocketAddr>, places: Places) -> Inputs {
    let mut look = Look {
        own,
        places,
        bus: None,
        retry: Retry::default(),
        said: Said::default(),
        links: Arc::default(),
    };
    look.inputs().await
}

struct Look {
    own: Vec<SocketAddr>,
    places: Places,
    bus: Option<Bus>,
    retry: Retry,
    said: Said,
    links: Arc<Mutex<Option<Vec<LinkFacts>>>>,
}

/// What was said over the bus.
#[derive(Default)]
struct Said {
    resolved: Option<ResolvedSays>,
    network_manager: Vec<LinkSays>,
}

/// When to try the bus again.
#[derive(Default)]
struct Retry {
    lost: Option<Instant>,
    next: Option<Instant>,
    wait: Duration,
}

impl Look {
    async fn forever(mut self, sender: &watch::Sender<Arc<Decision>>, again: &Notify) {
        let watched = Watched::new(&self.places);
        loop {
            let retry = self.retry.next.unwrap_or_else(|| Instant::now() + ROUND);
            tokio::select! {
                () = again.notified() => {}
                () = watched.changed() => {}
                () = changed(&mut self.bus) => {}
                () = sleep(ROUND) => {}
                () = sleep_until(retry) => {}
            }
            let latest = Instant::now() + QUIET_MAX;
            let more = async {
                while timeout(QUIET, async {
                    tokio::select! {
                        () = again.notified() => {}
                        () = watched.changed() => {}
                        () = changed(&mut self.bus) => {}
                    }
                })
                .await
                .is_ok()
                {}
            };
            let _ = tokio::time::timeout_at(latest, more).await;
            watched.add(&self.places);
            let decision = self.once().await;
            sender.send_if_modified(|known| {
                let differs = **known != decision;
                if differs {
                    tracing::debug!(?decision, "the host's resolvers changed");
                    *known = Arc::new(decision);
                }
                differs
            });
        }
    }

    async fn once(&mut self) -> Decision {
        decide(&self.inputs().await)
    }

    async fn inputs(&mut self) -> Inputs {
        self.ask_bus().await;
        let known = self
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut sayings = files::sayings(&self.places);
        sayings.extend(self.said.network_manager.iter().map(|says| Saying {
            source: Source::NetworkManager,
            says: says.clone(),
        }));
        Inputs {
            own: self.own.clone(),
            links: known.unwrap_or_else(links),
            resolved: self.said.resolved.clone(),
            sayings,
            files: files::resolv_confs(&self.places),
            held: front::held(&self.places),
            now: UnixTime::now(),
        }
    }

    /// What cannot be asked now keeps its last word for a while: a bus that is restarted is no other network.
    async fn ask_bus(&mut self) {
        let now = Instant::now();
        if self
            .bus
            .as_ref()
            .is_some_and(|bus| bus.connection.is_closed())
        {
            self.bus = None;
        }
        if self.bus.is_none() && self.retry.next.is_none_or(|next| next <= now) {
            match Bus::connect().await {
                Ok(bus) => (self.bus, self.retry) = (Some(bus), Retry::default()),
                Err(error) => {
                    tracing::debug!(%error, "no D-Bus");
                    self.retry.missed(now);
                }
            }
        }
        let Some(bus) = &self.bus else {
            if self.retry.lost.is_none_or(|lost| now >= lost + BUS_GRACE) {
                self.said = Said::default();
            }
            return;
        };
        if let Some(said) = answered(ask_resolved(bus).await, "systemd-resolved") {
            self.said.resolved = said;
        }
        if let Some(said) = answered(ask_network_manager(bus).await, "NetworkManager") {
            self.said.network_manager = said.unwrap_or_default();
        }
    }
}

/// Signs that something has changed, one by one: for those who cannot wait for a quiet moment.
pub(super) struct Signs {
    places: Places,
    watched: Watched,
    bus: Option<Bus>,
}

impl Signs {
    pub(super) async fn new(places: &Places) -> Self {
        Self {
            places: places.clone(),
            watched: Watched::new(places),
            bus: Bus::connect().await.ok(),
        }
    }

    /// Returns with the next one.
    pub(super) async fn next(&mut self) {
        self.watched.add(&self.places);
        if self.bus.is_none() {
            self.bus = Bus::connect().await.ok();
        }
        let retry = if self.bus.is_some() {
            ROUND
        } else {
            BUS_RETRY_MAX
        };
        tokio::select! {
            () = self.watched.changed() => {}
            () = changed(&mut self.bus) => {}
            () = sleep(retry) => {}
        }
    }
}

impl Retry {
    fn missed(&mut self, now: Instant) {
        self.lost.get_or_insert(now);
        self.wait = (self.wait * 2).clamp(BUS_RETRY, BUS_RETRY_MAX);
        self.next = Some(now + self.wait);
    }
}

/// None when it could not be asked; nothing is known then that was not known before.
fn answered<T>(answer: zbus::Result<Option<T>>, whom: &str) -> Option<Option<T>> {
    answer
        .inspect_err(|error| tracing::debug!(%error, "{whom} did not say"))
        .ok()
}

async fn ask_resolved(bus: &Bus) -> zbus::Result<Option<ResolvedSays>> {
    let Some(owner) = bus.owner(resolved::NAME).await else {
        return Ok(None);
    };
    resolved::read(&bus.connection, &owner).await.map(Some)
}

async fn ask_network_manager(bus: &Bus) -> zbus::Result<Option<Vec<LinkSays>>> {
    let Some(owner) = bus.owner(network_manager::NAME).await else {
        return Ok(None);
    };
    network_manager::read(&bus.connection, &owner)
        .await
        .map(Some)
}

/// Waits for ever where there is no bus.
async fn changed(bus: &mut Option<Bus>) {
    let Some(connected) = bus else {
        return std::future::pending().await;
    };
    if let Err(error) = connected.changed().await {
        tracing::debug!(%error, "D-Bus is gone");
        *bus = None;
    }
}

/// What the runtime waits for has to have a number.
struct Eyes(Inotify);

impl AsRawFd for Eyes {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Folders and files that the kernel watches for us.
struct Watched {
    inotify: Option<AsyncFd<Eyes>>,
    /// Where names of files say nothing about what is in them.
    records: Mutex<Vec<WatchDescriptor>>,
}

impl Watched {
    fn new(places: &Places) -> Self {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = Inotify::init(flags)
            .map_err(std::io::Error::from)
            .and_then(register)
            // Then the rounds have to do.
            .inspect_err(|error| tracing::warn!(%error, "files cannot be watched"))
            .ok();
        let records = Mutex::default();
        let watched = Self { inotify, records };
        watched.add(places);
        watched
    }

    /// Folders come and go; to add one again changes nothing.
    fn add(&self, places: &Places) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let in_folder = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_CREATE;
        for folder in places.folders() {
            // One that is not there is tried again with the next look.
            let _ = inotify
                .get_ref()
                .0
                .add_watch(&folder, in_folder | AddWatchFlags::IN_ONLYDIR);
        }
        let folders = places.folders_of_records();
        let add = |folder| inotify.get_ref().0.add_watch(folder, in_folder).ok();
        let added = folders.iter().filter_map(add).collect();
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = added;
        // A container's is mounted from elsewhere, and no folder of ours sees it change.
        let file = places.at("/etc/resolv.conf");
        let _ = inotify
            .get_ref()
            .0
            .add_watch(&file, AddWatchFlags::IN_CLOSE_WRITE);
    }

    async fn changed(&self) {
        let Some(inotify) = &self.inotify else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = inotify.readable().await else {
                return std::future::pending().await;
            };
            let events = inotify.get_ref().0.read_events();
            match events {
                // The folder `/etc` has much else in it.
                Ok(events) if events.iter().any(|event| self.is_worth_a_look(event)) => return,
                Ok(_) => {}
                Err(_) => ready.clear_ready(),
            }
        }
    }

    /// Temporary files of those who write carefully are not.
    fn is_worth_a_look(&self, event: &InotifyEvent) -> bool {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        event.name.as_ref().is_none_or(|name| {
            let name = name.to_string_lossy();
            let number = name.parse::<u32>().is_ok();
            number
                || name.starts_with("dhclient")
                || name.ends_with("resolv.conf")
                || name == "journal.json"
                || records.contains(&event.wd)
        })
    }
}

#[expect(
    deprecated,
    reason = "unsound for types that give away another descriptor than they own, which this one does not"
)]
fn register(inotify: Inotify) -> std::io::Result<AsyncFd<Eyes>> {
    AsyncFd::new(Eyes(inotify))
}
