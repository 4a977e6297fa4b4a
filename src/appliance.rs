//! The running appliance: the parts, put together, and how they change while it runs.

use std::{path::PathBuf, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use hickory_proto::rr::Name;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::sync::watch;
use zzdot_client::{
    cache::{self, Cache},
    store::StoreError,
};
use zzdot_zonegen::{
    clock::UnixTime,
    exit::{Exit, Failure},
    identity::Identity,
    name::ResolverName,
    owners,
    publish::Published,
    rollover::Rotation,
    zone::Publication,
};

use crate::{
    answer::{LocalZones, Responder, cookie::Secret},
    config::{Config, MAX_WORKERS, PublishMode, Resolve},
    counters::Counters,
    error,
    listen::{Front, FrontConfig, Inherited},
    named::{self, Named},
    resolve::{self, Built, Forward, Roster},
};

/// Everything that serves.
pub struct Appliance {
    config: Config,
    config_file: Option<PathBuf>,
    responder: Arc<Responder>,
    /// The name that is published; none for an appliance that leaves discovery to its upstreams.
    named: Option<Named>,
    front: Front,
    /// The upstreams of which this is a client.
    roster: Roster,
    /// What is asked, where that are upstreams.
    forward: Option<Arc<Forward>>,
    started: Instant,
    last_reload: Option<Reload>,
}

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Somebody wants it.
    Signal,
    /// The host has other addresses or name servers; tried every minute until it works.
    Host,
}

/// What became of the last reload.
#[derive(Debug, Clone)]
struct Reload {
    at: UnixTime,
    error: Option<Failure>,
    needs_restart: Vec<&'static str>,
}

impl Appliance {
    /// Loads or makes the identity, signs the zones, binds, and serves. Needs a tokio runtime.
    pub fn start(
        config: Config,
        config_file: Option<PathBuf>,
        inherited: Inherited,
    ) -> Result<Self, Failure> {
        let keeper = match config.mode {
            PublishMode::Own => Some(named::identity(&config)?),
            PublishMode::Transparent => None,
        };
        let own = keeper.as_ref().map(|keeper| keeper.identity().name());
        let mut roster = Roster::new(&config.state_dir, own.cloned());
        let Built { source, forward } =
            resolve::build(&config.resolve, &mut roster).map_err(error::of_source)?;
        let workers = config.workers.unwrap_or_else(processors);
        let responder = Arc::new(Responder::new(
            source,
            Secret(random()?),
            // The workers, and the thread that does everything else.
            Arc::new(Counters::for_threads(workers + 1)),
        ));
        responder.replace_access(config.access.clone());
        responder.replace_cache(empty_cache(config.cache)?);
        let named = match keeper {
            Some(keeper) => {
                let name = keeper.identity().name();
                responder.replace_private_suffixes(&[name.suffix()]);
                responder.reserve(vec![name.as_name().clone(), owners::anchor_zone()]);
                let publication = publication(&config, forward.as_deref());
                let (named, published) = Named::start(keeper, &config, &publication)?;
                if let Some(published) = published {
                    responder.replace_zones(zones(published));
                }
                Some(named)
            }
            None => {
                responder.leave_discovery_to_source();
                None
            }
        };
        let tls = match &named {
            Some(named) => named.tls(),
            None => Arc::new(ArcSwap::from_pointee(nobodys_tls()?)),
        };
        let front = Front::start(
            FrontConfig {
                dns: config.dns.clone(),
                dot: config.dot.clone(),
                workers,
                limits: config.limits.clone(),
                tls,
                inherited,
            },
            responder.clone(),
        )
        .map_err(error::of_listening)?;
        let mut appliance = Self {
            config,
            config_file,
            responder,
            named,
            front,
            roster,
            forward,
            started: Instant::now(),
            last_reload: None,
        };
        if let Some(named) = &mut appliance.named {
            named.serves();
        }
        Ok(appliance)
    }

    /// What runs.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Who serves; nobody by name where discovery is left to the upstreams.
    pub fn identity(&self) -> Option<&Identity> {
        self.named.as_ref().map(Named::identity)
    }

    /// Where it serves, with the ports that were picked.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Told when how things stand with an upstream changes: then [`Appliance::renew`] may have something to say.
    pub fn upstream_changes(&self) -> watch::Receiver<()> {
        self.roster.changes()
    }

    /// Signs the zones when that is due, and takes another key for session tickets when that is. False where the zones
    /// do not say whom we ask, since they could not be signed: then nobody is told what they say about that.
    pub fn renew(&mut self) -> bool {
        let Some(named) = &mut self.named else {
            return true;
        };
        let publication = publication(&self.config, self.forward.as_deref());
        let renewed = named.renew(&publication);
        if let Some(published) = renewed.zones {
            self.responder.replace_zones(zones(published));
        }
        if renewed.ends_connections {
            self.front.end_tls();
        }
        named.serves();
        let is_true = named.tells_whom_it_asks(&publication);
        let owner = || owners::upstreams_owner(named.identity().name());
        self.responder.withhold((!is_true).then(owner));
        is_true
    }

    /// Begins a roll-over, and says what happens next.
    ///
    /// # Errors
    /// Why it is not begun.
    pub fn rotate(&mut self, rotation: &Rotation) -> Result<Value, Failure> {
        self.named.as_mut().ok_or_else(nameless)?.rotate(rotation)?;
        self.renew();
        Ok(json!({ "roll-overs": self.roll_overs() }))
    }

    fn roll_overs(&self) -> Vec<Value> {
        self.named
            .as_ref()
            .map(Named::roll_overs)
            .unwrap_or_default()
    }

    /// Changes to `config` without dropping a connection. On an error everything is as before, and
    /// false is given back.
    pub fn reload(&mut self, config: Result<Config, Failure>, trigger: Trigger) -> bool {
        let applied = config.and_then(|config| self.apply(config, trigger));
        if applied.is_ok() {
            self.roster
                .tell_of_strangers(&self.config.resolve.discovered());
        }
        // Whether it worked or not: nobody else is asked from now on.
        self.roster.keep_only(&self.config.resolve.discovered());
        let reload = Reload {
            at: UnixTime::now(),
            needs_restart: applied.as_ref().cloned().unwrap_or_default(),
            error: applied.err(),
        };
        let before = self.last_reload.as_ref().map(|last| &last.error);
        match &reload.error {
            None => tracing::info!("configuration reloaded"),
            // Told already, and nobody asked again.
            Some(_) if trigger == Trigger::Host && before == Some(&reload.error) => {}
            Some(failure) => {
                tracing::error!(
                    error = %failure,
                    hint = failure.hint.as_deref().unwrap_or_default(),
                    "not reloaded; the old configuration stays"
                );
            }
        }
        for key in &reload.needs_restart {
            tracing::warn!(key, "this change takes effect after a restart");
        }
        let done = reload.error.is_none();
        if done {
            // The host's network may be another, or whoever asked for it knows of something new.
            self.roster.look_again();
        }
        self.last_reload = Some(reload);
        done
    }

    /// Puts `config` to work; gives back the keys whose change has to wait for a restart.
    fn apply(
        &mut self,
        mut config: Config,
        trigger: Trigger,
    ) -> Result<Vec<&'static str>, Failure> {
        let mut waits = Vec::new();
        if config.mode != self.config.mode {
            waits.push("publish.mode");
            config.mode = self.config.mode;
            // With the name stays what it says, and where: whoever knows it comes over TLS or not at all.
            config.dot = self.config.dot.clone();
            config.published = self.config.published.clone();
        }
        // Everything that can fail comes first, the sockets last of these. What stays the same
        // keeps its connections and what it has learned; files may be others under the same name.
        let changed = config.resolve != self.config.resolve
            || trigger == Trigger::Signal && config.resolve.reads_files();
        let source = if !changed {
            None
        } else {
            let built = resolve::build(&config.resolve, &mut self.roster);
            Some(built.map_err(error::of_source)?)
        };
        let cache = match config.cache == self.config.cache {
            true => None,
            false => Some(empty_cache(config.cache)?),
        };
        self.front
            .rebind(&config.dns, &config.dot)
            .map_err(error::of_listening)?;
        if let Some(cache) = cache {
            self.responder.replace_cache(cache);
        }
        if let Resolve::Forward { require, .. } = &config.resolve {
            self.roster.hold_to(*require);
        }
        if let Some(Built { source, forward }) = source {
            self.responder.replace_source(source);
            self.forward = forward;
        }
        self.responder.replace_access(config.access.clone());
        let old = &self.config;
        if config.state_dir != old.state_dir {
            waits.push("state-dir");
            config.state_dir = old.state_dir.clone();
        }
        if config.control_socket != old.control_socket {
            waits.push("control-socket");
            config.control_socket = old.control_socket.clone();
        }
        if config.metrics != old.metrics {
            waits.push("metrics");
            config.metrics = old.metrics;
        }
        if config.workers != old.workers {
            waits.push("workers");
            config.workers = old.workers;
        }
        if config.limits != old.limits {
            waits.push("limits");
            config.limits = old.limits.clone();
        }
        if let Some(named) = &mut self.named {
            named.replace_intervals(config.rotation);
        }
        self.config = config;
        self.renew();
        Ok(waits)
    }

    /// What `zzdot identity` shows.
    ///
    /// # Errors
    /// That there is no name.
    pub fn summary(&self) -> Result<Value, Failure> {
        let summary = self.named.as_ref().ok_or_else(nameless)?.summary();
        Ok(serde_json::to_value(summary).expect("texts and numbers become JSON"))
    }

    /// What `zzdot status` shows.
    pub fn status(&self) -> Value {
        let named = self.named.as_ref();
        let trouble = named.and_then(Named::trouble);
        json!({
            "name": named.map(|named| named.identity().name()),
            "publishes": self.config.mode.name(),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime-secs": self.started.elapsed().as_secs(),
            "config-file": self.config_file,
            "state-dir": self.config.state_dir,
            "server-type": self.config.server_type.as_str(),
            "listen": self.front.status(),
            "access": self.config.access.networks(),
            "published-addresses": self.config.published,
            "zones": named.map(Named::zones),
            "zones-trouble": trouble.map(|failure| &failure.message),
            "zones-hint": trouble.and_then(|failure| failure.hint.as_ref()),
            "roll-overs": self.roll_overs(),
            "resolve": self.responder.source().describe(),
            "cache": self.responder.cache().map(|cache| {
                let usage = cache.usage();
                json!({
                    "entries": usage.entries,
                    "bytes": usage.octets,
                    "bytes-allowed": cache.limits().octets,
                    "stale-secs": cache.limits().stale.as_secs(),
                })
            }),
            "last-reload": self.last_reload.as_ref().map(|reload| json!({
                "at": reload.at.0,
                "error": reload.error.as_ref().map(|failure| &failure.message),
                "hint": reload.error.as_ref().and_then(|failure| failure.hint.as_ref()),
                "needs-restart": reload.needs_restart,
            })),
            "counters": &**self.responder.counters(),
        })
    }

    /// What `zzdot upstreams` shows.
    pub fn upstreams(&self) -> Value {
        json!({
            "require": match &self.config.resolve {
                Resolve::Forward { require, .. } => Some(require.name()),
                _ => None,
            },
            "mode": self.responder.source().describe()["mode"],
            "upstreams": self.responder.source().upstreams(),
        })
    }

    /// Forgets who an upstream turned out to be.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget_upstream(&self, name: &ResolverName) -> Result<Value, StoreError> {
        let forgotten = self.roster.forget(name).await?;
        Ok(json!({ "forgotten": forgotten }))
    }

    /// Forgets the answers about `name`, or all; says how many there were.
    pub fn flush(&self, name: Option<&Name>) -> Value {
        let forgotten = self.responder.cache().map(|cache| match name {
            Some(name) => cache.forget(name),
            None => {
                let entries = cache.usage().entries;
                cache.clear();
                entries
            }
        });
        json!({ "forgotten": forgotten })
    }

    /// Stops taking queries and waits for those in flight.
    pub async fn drain(self) {
        let within = self.config.stop_within;
        self.front.drain(tokio::time::Instant::now() + within).await;
    }
}

/// What the zones say now.
fn publication(config: &Config, forward: Option<&Forward>) -> Publication {
    Publication {
        upstreams: forward.map(Forward::published).unwrap_or_default(),
        ..config.publication()
    }
}

fn zones(published: Published) -> LocalZones {
    LocalZones::new(vec![published.name_zone, published.anchor_zone])
}

fn nameless() -> Failure {
    Failure::new(
        Exit::CannotRun,
        "this zzdot publishes no name: publish.mode is \"transparent\"",
    )
}

fn nobodys_tls() -> Result<ServerConfig, Failure> {
    crate::tls::without_certificate()
        .map_err(|error| Failure::new(Exit::CannotRun, error.to_string()))
}

fn empty_cache(limits: Option<cache::Limits>) -> Result<Option<Cache>, Failure> {
    let Some(limits) = limits else {
        return Ok(None);
    };
    Ok(Some(Cache::new(limits, random()?, Instant::now())))
}

/// How many processors there are for this process.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().min(MAX_WORKERS))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::new(Exit::CannotRun, "the system has no randomness"))?;
    Ok(bytes)
}
