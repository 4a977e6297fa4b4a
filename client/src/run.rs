//! The daemon's life: bind, connect, say ready; reload when told; drain and go.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use zzdot_zonegen::exit::{Exit, Failure};
use zzdot_zonegen::name::ResolverName;

use crate::chain::draw::{Trace, TracedServer};
use crate::config::{Config, Server, control_socket, state_dir as choose_state_dir};
use crate::control::ControlServer;
use crate::dot::Lane;
use crate::metrics::{self, MetricsListener};
use crate::orders::{Household, obey};
use crate::places::{Places, PlacesError, Settings, Suspect, Wanted, watch};
use crate::since_boot::SinceBoot;
use crate::store::{Found, Store, StoreError};
use crate::stub::{Answer, Answering, Sockets, Stub, StubCounters};
use crate::upstream::Untraceable;

/// Everybody may ask how things stand; who may change them is decided for each order. A folder that is
/// its owner's alone keeps others away from the socket in it.
const CONTROL_MODE: u32 = 0o666;

/// Runs until it is told to stop. `load` reads the configuration again, on SIGHUP.
///
/// # Errors
/// What kept it from starting, or from going on.
pub async fn run(
    config: Config,
    load: impl Fn() -> Result<Config, Failure>,
    state_dir: Option<PathBuf>,
) -> Result<(), Failure> {
    let mut hang_up = signal(SignalKind::hangup()).map_err(system_failure)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system_failure)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system_failure)?;

    let sockets = sockets(&config)?;
    let addresses = sockets.addresses();
    let folder = choose_state_dir(state_dir.as_deref(), config.state_dir.as_deref())?;
    let store = open_store(&config, &folder)?;
    check_server(&config, &addresses)?;
    let places = Places::new(store.clone(), settings(&config)).map_err(places_failure)?;
    let since_boot = SinceBoot::open(&folder);
    let daemon = Arc::new(Daemon {
        places: Arc::new(places),
        store,
        counters: Arc::default(),
        addresses,
        since_boot: Arc::clone(&since_boot),
    });
    let metrics = bind_metrics(&config).await?;
    let control_path = control_socket(config.control_socket.as_deref(), &folder);
    let control = ControlServer::bind(&control_path, CONTROL_MODE)
        .await
        .map_err(|error| Failure::new(Exit::CannotRun, error.to_string()))?;
    let stub = Stub::start(
        sockets,
        Arc::clone(&daemon) as Arc<dyn Answer>,
        config.askers,
        config.limits.clone(),
        Arc::clone(&daemon.counters),
    )
    .map_err(system_failure)?;
    let controlling = tokio::spawn({
        let daemon = Arc::clone(&daemon);
        control.serve(move |request, caller| {
            let daemon = Arc::clone(&daemon);
            async move { obey(&*daemon, &request, caller).await }
        })
    });
    let mut helpers = JoinSet::new();
    helpers.spawn(Arc::clone(&since_boot).keep());
    if let Some(listener) = metrics {
        let daemon = Arc::clone(&daemon);
        helpers.spawn(listener.serve(move || {
            let page = metrics::page(&daemon.status());
            async move { page }
        }));
    }
    tracing::info!(listen = ?stub.addresses(), control = %control_path.display(), "ready");
    notify(&[NotifyState::Ready]);
    let watchdog = tokio::spawn(feed_watchdog());
    let watching = tokio::spawn(watch(Arc::clone(&daemon.places), daemon.addresses.clone()));

    let mut current = config;
    loop {
        tokio::select! {
            _ = hang_up.recv() => {
                notify_reloading();
                match load().and_then(|config| daemon.reload(&current, config)) {
                    Ok(config) => {
                        current = config;
                        tracing::info!("reloaded");
                    }
                    Err(failure) => tracing::error!("not reloaded, the old configuration stays: {failure}"),
                }
                notify(&[NotifyState::Ready]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping");
    notify(&[NotifyState::Stopping]);
    watchdog.abort();
    watching.abort();
    stub.drain(current.limits.drain()).await;
    controlling.abort();
    // Wait for it, so that its socket is gone when this process is.
    let _ = controlling.await;
    helpers.abort_all();
    since_boot.save();
    Ok(())
}

struct Daemon {
    places: Arc<Places>,
    /// None where the server is configured and nothing has to be remembered.
    store: Option<Arc<Store>>,
    counters: Arc<StubCounters>,
    addresses: Vec<SocketAddr>,
    since_boot: Arc<SinceBoot>,
}

impl Daemon {
    /// Takes over what can change while running; gives back what is in force.
    fn reload(&self, old: &Config, new: Config) -> Result<Config, Failure> {
        for (key, same) in [
            ("listen", old.listen == new.listen),
            ("state-dir", old.state_dir == new.state_dir),
            ("control-socket", old.control_socket == new.control_socket),
            ("metrics", old.metrics == new.metrics),
            ("askers", old.askers == new.askers),
            ("limits", old.limits == new.limits),
            ("cache", old.cache == new.cache),
        ] {
            if !same {
                let message = format!("{key} cannot change while running");
                return Err(Failure::new(Exit::Usage, message).with_hint("restart the service"));
            }
        }
        if self.store.is_none() && remembers(&new) {
            let message = "server cannot change from tls:// while running";
            return Err(Failure::new(Exit::Usage, message).with_hint("restart the service"));
        }
        check_server(&new, &self.addresses)?;
        self.places.set(settings(&new)).map_err(places_failure)?;
        Ok(new)
    }
}

impl Household for Daemon {
    fn status(&self) -> Value {
        let mut status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "listen": self.addresses,
        });
        if let (Value::Object(status), Value::Object(upstream)) =
            (&mut status, self.places.status())
        {
            status.extend(upstream);
        }
        status["listener"] = json!(self.counters.read());
        status["cleartext-since-boot"] = self.since_boot.total().into();
        status
    }

    fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    fn suspects(&self) -> Vec<Suspect> {
        self.places.suspects()
    }

    async fn trace(&self, name: Option<Wanted>) -> Result<Trace, Untraceable> {
        self.places.trace(name).await
    }

    async fn trace_all(&self) -> Vec<TracedServer> {
        self.places.trace_all().await
    }

    async fn forget(&self, name: &ResolverName) -> Result<bool, StoreError> {
        self.places.forget(name).await
    }
}

impl Answer for Daemon {
    fn answer(self: Arc<Self>, query: Vec<u8>) -> Answering {
        Arc::clone(&self.places).answer(query)
    }

    fn lane(self: Arc<Self>) -> Option<Lane> {
        Arc::clone(&self.places).lane()
    }
}

fn sockets(config: &Config) -> Result<Sockets, Failure> {
    let inherited = Sockets::inherited().map_err(|error| {
        let message = format!("the sockets handed over cannot be used: {error}");
        Failure::new(Exit::CannotRun, message)
    })?;
    if !inherited.is_empty() {
        return Ok(inherited);
    }
    Sockets::bind(&config.listen).map_err(|error| Failure {
        exit: Exit::CannotRun,
        message: error.to_string(),
        hint: error.hint(),
    })
}

/// Taken before the daemon says that it is ready: an address that is not free is a fault to be told.
async fn bind_metrics(config: &Config) -> Result<Option<MetricsListener>, Failure> {
    let Some(address) = config.metrics else {
        return Ok(None);
    };
    let listener = MetricsListener::bind(address).await.map_err(|error| {
        let message = format!("cannot listen on {address} for metrics: {error}");
        Failure::new(Exit::CannotRun, message).with_hint("set `metrics` to another ADDRESS:PORT")
    })?;
    tracing::info!(%address, "numbers are told to whoever asks there");
    Ok(Some(listener))
}

fn open_store(config: &Config, folder: &Path) -> Result<Option<Arc<Store>>, Failure> {
    if !remembers(config) {
        // Only the control socket lives there.
        zzdot_zonegen::durable::create_folders(folder).map_err(|error| {
            Failure::new(Exit::CannotRun, format!("{}: {error}", folder.display()))
        })?;
        return Ok(None);
    }
    let (store, found) = Store::open(folder)?;
    match found {
        Found::Nothing => {
            tracing::info!(folder = %folder.display(), "first use: nothing is remembered yet")
        }
        Found::Whole => {}
        Found::Migrated => {
            tracing::info!(folder = %folder.display(), "the store was of an earlier version");
        }
        Found::Mended { what } => {
            tracing::warn!(folder = %folder.display(), "the store was mended: {what}");
        }
    }
    Ok(Some(Arc::new(store)))
}

/// Whether there is anything to remember.
fn remembers(config: &Config) -> bool {
    !matches!(config.server, Server::Tls(_)) || !config.elsewhere.is_empty()
}

/// A question to ourselves would go in a circle.
fn check_server(config: &Config, own: &[SocketAddr]) -> Result<(), Failure> {
    let configured = match &config.server {
        Server::Address(address) => Some(address),
        Server::System | Server::Tls(_) => None,
    };
    let elsewhere = config.elsewhere.iter().map(|elsewhere| &elsewhere.server);
    let circle = configured
        .into_iter()
        .chain(elsewhere)
        .find(|server| own.contains(server));
    circle.map_or(Ok(()), |server| {
        let message = format!("server {server} is where this program listens itself");
        let hint = "set `server` to the address of the resolver";
        Err(Failure::new(Exit::Usage, message).with_hint(hint))
    })
}

fn settings(config: &Config) -> Settings {
    Settings {
        server: config.server.clone(),
        policy: config.policy(),
        elsewhere: config.elsewhere.clone(),
        portal: config.portal.probe.clone(),
        limits: config.limits.clone(),
        cache_bytes: config.cache.bytes,
    }
}

fn places_failure(error: PlacesError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

fn system_failure(error: io::Error) -> Failure {
    Failure::new(Exit::CannotRun, error.to_string())
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}

fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock"),
    }
}

/// Tells the service manager that the runtime still runs tasks, twice as often as it asks for.
async fn feed_watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval((period / 2).max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}
