//! The daemon's life: read, bind, serve, say READY, watch, reload, drain.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Mutex, watch},
    time::{Instant, Interval, MissedTickBehavior, interval},
};
use zzdot_client::{control::ControlServer, metrics::MetricsListener};
use zzdot_zonegen::exit::{Exit, Failure};

use crate::{
    appliance::{Appliance, Trigger},
    config::{Config, Environment},
    control::{self, Shared},
    error,
    host::Host,
    metrics, passed,
};

/// How often clock, addresses and signatures are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The least time between two looks at what upstreams turned out to be: zones are signed at the most so often for them,
/// and say what is so long before the old records have run out.
const UPSTREAMS_EVERY: Duration = Duration::from_secs(5);

/// How soon it is tried again to sign what could not be signed, so that nobody need do without for long.
const SIGN_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What changes within this time is told together: several upstreams are met at the same time.
const UPSTREAMS_TOGETHER: Duration = Duration::from_millis(250);

/// Who may use the control socket: the service's user and group.
const CONTROL_MODE: u32 = 0o660;

/// What the command line decides.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--state-dir`
    pub state_dir: Option<PathBuf>,
}

/// Serves until SIGTERM or SIGINT.
pub async fn serve(options: Options) -> Result<(), Failure> {
    let inherited = passed::sockets()?;
    let passed_in = observe()?.with_passed(&inherited);
    let config = load(&options, &passed_in)?;
    warn_without_upstreams(&config);
    let mut signals = Signals::register()?;
    let control = bind_control(&config).await?;
    let metrics = bind_metrics(&config).await?;
    let appliance = Appliance::start(config, options.config.clone(), inherited)?;
    say_hello(&appliance);
    let shared: Shared = Arc::new(Mutex::new(Some(appliance)));
    let answering = shared.clone();
    let control = tokio::spawn(
        control.serve(move |request, caller| control::handle(answering.clone(), request, caller)),
    );
    let telling = metrics.map(|listener| {
        let shared = shared.clone();
        tokio::spawn(listener.serve(move || metrics::page(shared.clone())))
    });
    notify(&[NotifyState::Ready]);
    watch(&options, &passed_in, &shared, &mut signals).await;
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    let appliance = shared.lock().await.take();
    if let Some(appliance) = appliance {
        appliance.drain().await;
    }
    // Ended before the runtime is, so that the socket's file is gone when the process is.
    control.abort();
    let _ = control.await;
    if let Some(telling) = telling {
        telling.abort();
    }
    Ok(())
}

/// Until it is time to stop: reloads when told, renews when due, feeds the watchdog.
async fn watch(options: &Options, passed_in: &Host, shared: &Shared, signals: &mut Signals) {
    let mut look = every(LOOK_EVERY);
    let mut upstreams = match shared.lock().await.as_ref() {
        Some(appliance) => Upstreams::of(appliance),
        None => return,
    };
    let mut seen = passed_in.clone();
    let mut tried = None;
    let mut watchdog = sd_notify::watchdog_enabled().map(|time| every(time / 2));
    loop {
        tokio::select! {
            _ = signals.stop.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.reload.recv() => {
                notify_reloading();
                seen = observed_again(passed_in).unwrap_or(seen);
                if let Some(appliance) = shared.lock().await.as_mut() {
                    appliance.reload(load(options, &seen), Trigger::Signal);
                    upstreams.renew(appliance);
                }
                notify(&[NotifyState::Ready]);
            }
            _ = look.tick() => {
                let now = observed_again(passed_in).unwrap_or_else(|| seen.clone());
                if let Some(appliance) = shared.lock().await.as_mut() {
                    if now != seen {
                        if tried.as_ref() != Some(&now) {
                            tracing::info!("addresses or name servers of this host have changed");
                        }
                        // An address that has just appeared may not be bindable yet: what did
                        // not work is tried again at the next look.
                        tried = Some(now.clone());
                        if appliance.reload(load(options, &now), Trigger::Host) {
                            seen = now;
                        }
                    }
                    upstreams.renew(appliance);
                }
            }
            () = upstreams.changed() => {
                if let Some(appliance) = shared.lock().await.as_mut() {
                    upstreams.renew(appliance);
                }
            }
            () = tick(watchdog.as_mut()) => notify(&[NotifyState::Watchdog]),
        }
    }
}

/// Tells when what upstreams turned out to be may change what the zones say, but not too often.
struct Upstreams {
    changes: watch::Receiver<()>,
    /// When it is told what has changed; none while nothing has.
    due: Option<Instant>,
    not_before: Instant,
}

impl Upstreams {
    fn of(appliance: &Appliance) -> Self {
        Self {
            changes: appliance.upstream_changes(),
            due: None,
            not_before: Instant::now(),
        }
    }

    /// Has `appliance` say what is so; where it cannot, again soon.
    fn renew(&mut self, appliance: &mut Appliance) {
        if !appliance.renew() {
            self.due = Some(Instant::now() + SIGN_AGAIN_AFTER);
        }
    }

    /// Nothing is lost when this is dropped and called again.
    async fn changed(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None => {
                if self.changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
                *self
                    .due
                    .insert(self.not_before.max(Instant::now() + UPSTREAMS_TOGETHER))
            }
        };
        tokio::time::sleep_until(due).await;
        self.changes.mark_unchanged();
        self.due = None;
        self.not_before = Instant::now() + UPSTREAMS_EVERY;
    }
}

/// Reads the configuration and completes it with what `host` says.
pub fn load(options: &Options, host: &Host) -> Result<Config, Failure> {
    Config::load(
        options.config.as_deref(),
        options.state_dir.as_deref(),
        host,
        &Environment::of_process(),
    )
    .map_err(error::of_config)
}

/// The facts about this host.
pub fn observe() -> Result<Host, Failure> {
    Host::observe().map_err(|error| {
        Failure::new(
            Exit::CannotRun,
            format!("cannot list this host's addresses: {error}"),
        )
    })
}

/// The facts as they are now, with the sockets that were passed in at the start.
fn observed_again(passed_in: &Host) -> Option<Host> {
    match Host::observe() {
        Ok(host) => Some(Host {
            passed_dns: passed_in.passed_dns.clone(),
            passed_dot: passed_in.passed_dot.clone(),
            ..host
        }),
        Err(error) => {
            tracing::warn!(%error, "cannot list this host's addresses");
            None
        }
    }
}

async fn bind_metrics(config: &Config) -> Result<Option<MetricsListener>, Failure> {
    let Some(address) = config.metrics else {
        return Ok(None);
    };
    let listener = MetricsListener::bind(address).await.map_err(|error| {
        Failure::new(
            Exit::CannotRun,
            format!("cannot listen on {address} for metrics: {error}"),
        )
        .with_hint("set `metrics` to another ADDRESS:PORT")
    })?;
    tracing::info!(%address, "numbers are told to whoever asks there");
    Ok(Some(listener))
}

async fn bind_control(config: &Config) -> Result<ControlServer, Failure> {
    let path = &config.control_socket;
    if let Some(folder) = path.parent() {
        zzdot_zonegen::durable::create_folders(folder).map_err(|error| {
            Failure::new(Exit::CannotRun, format!("{}: {error}", folder.display())).with_hint(
                "name another folder with --state-dir, or run as a user who may write there",
            )
        })?;
    }
    ControlServer::bind(path, CONTROL_MODE)
        .await
        .map_err(|error| {
            Failure::new(Exit::CannotRun, error.to_string())
                .with_hint("each zzdot on a machine needs a state-dir of its own")
        })
}

fn say_hello(appliance: &Appliance) {
    let status = appliance.front().status();
    let list = |addresses: &[std::net::SocketAddr]| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        texts.join(" ")
    };
    let name = appliance
        .identity()
        .map(|identity| identity.name().to_string());
    tracing::info!(
        name = %name.as_deref().unwrap_or("none: discovery is left to the upstreams"),
        dns = %list(&status.dns),
        dot = %list(&status.dot),
        "serving"
    );
}

fn warn_without_upstreams(config: &Config) {
    if let crate::config::Resolve::Forward { upstreams, .. } = &config.resolve
        && upstreams.is_empty()
    {
        tracing::warn!(
            "this host names no name server but itself; set resolve.upstreams, or \
             mode = \"recursive\""
        );
    }
}

struct Signals {
    reload: Signal,
    stop: Signal,
    interrupt: Signal,
}

impl Signals {
    fn register() -> Result<Self, Failure> {
        let register = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::CannotRun, format!("cannot wait for signals: {error}"))
            })
        };
        Ok(Self {
            reload: register(SignalKind::hangup())?,
            stop: register(SignalKind::terminate())?,
            interrupt: register(SignalKind::interrupt())?,
        })
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(ticks: Option<&mut Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// A service manager that does not listen is no reason to stop serving.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
