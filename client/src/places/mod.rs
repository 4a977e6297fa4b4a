//! Where this machine is, and whom to ask there: an upstream for each network that a link leads to, and the choice
//! between them by name.
//!
//! ```text
//!  kernel (netlink) -> Observer * -> what each link shows  \
//!                                                            Director * -> Plan -> upstreams
//!  host (whom each link names)                             /
//! ```
//! `*` is without IO. A link that goes down, or shows another network, takes its upstream with it: nothing that was meant
//! for one network is sent in another.

mod director;
mod suspect;
mod trace;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::time::timeout_at;
use zzdot_zonegen::name::ResolverName;

use crate::config::Server;
use crate::dot::{ConnectError, Lane};
use crate::host::{Decision, Elsewhere, SplitTable};
use crate::place::NetworkId;
use crate::portal::ProbeUrl;
use crate::session::Policy;
use crate::store::{Store, StoreError};
use crate::stub::{Answer, Answering, StubLimits};
use crate::tally::TALLY;
use crate::upstream::Upstream;
use crate::wire::{self, View};

use director::{Branch, Director, Inputs, Plan, Stop, Taken, Whereabouts, givens};

pub use suspect::{NotProven, Suspect};
pub use trace::Wanted;
pub use watch::watch;

const SERVFAIL: u16 = 2;
/// Network Error (RFC 8914 §4.24).
const NETWORK_ERROR: u16 = 23;
/// The name under which questions are counted that found no network to ask in.
const NO_NETWORK: &str = "no-network";

/// What the configuration says, and what upstreams are made with.
#[derive(Clone)]
pub struct Settings {
    /// Who answers.
    pub server: Server,
    /// What to do with strangers.
    pub policy: Policy,
    /// Names that go elsewhere.
    pub elsewhere: Vec<Elsewhere>,
    /// What is fetched on a new network to find a page that wants people to log in first.
    pub portal: Option<ProbeUrl>,
    /// The bounds of the daemon.
    pub limits: StubLimits,
    /// Room for answers.
    pub cache_bytes: usize,
}

/// Why there is no upstream.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// The configured proof is nothing that TLS can check.
    #[error(transparent)]
    Proof(#[from] ConnectError),
    /// A server is to be discovered, and there is nothing to remember it in.
    #[error("there is no store for a server that is to be discovered")]
    NoStore,
}

/// All upstreams of a machine that goes from network to network.
pub struct Places {
    /// None where every server is configured with its proof: there is nothing to remember.
    store: Option<Arc<Store>>,
    settings: Mutex<Settings>,
    now: Mutex<Arc<Now>>,
    director: Mutex<Director>,
    changed: tokio::sync::watch::Sender<()>,
    /// What upstreams had counted that are no more.
    past: Mutex<Value>,
}

/// The upstreams that there are.
#[derive(Default)]
struct Now {
    stops: Vec<(Stop, Arc<Upstream>)>,
    ways: SplitTable<Branch>,
    default: Option<usize>,
    /// All names go the same way.
    uniform: bool,
    waiting: Vec<String>,
}

impl Places {
    /// Where the configuration names the server, that is asked at once. Otherwise this is nowhere yet, and questions wait
    /// until [`watch`] has found out. Call within a tokio runtime.
    ///
    /// # Errors
    /// [`PlacesError`].
    pub fn new(store: Option<Arc<Store>>, settings: Settings) -> Result<Self, PlacesError> {
        let places = Self {
            store,
            settings: Mutex::new(settings.clone()),
            now: Mutex::default(),
            director: Mutex::default(),
            changed: tokio::sync::watch::Sender::new(()),
            past: Mutex::new(json!({})),
        };
        places.set(settings)?;
        Ok(places)
    }

    /// Takes over a configuration. With `server = "system"` what it changes shows with the next plan.
    ///
    /// # Errors
    /// [`PlacesError`]: the one before stays.
    pub fn set(&self, settings: Settings) -> Result<(), PlacesError> {
        let plan = Plan::configured(&settings.server, &settings.elsewhere);
        let before = std::mem::replace(&mut *lock(&self.settings), settings);
        let Some(plan) = plan else {
            return Ok(());
        };
        self.follow(plan)
            .inspect_err(|_| *lock(&self.settings) = before)
    }

    /// Forgets an identity everywhere; false when it is not known.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(&self, name: &ResolverName) -> Result<bool, StoreError> {
        let mut known = false;
        for (_, upstream) in &self.now().stops {
            known |= upstream.forget(name).await?;
        }
        let elsewhere = self.store.as_ref().map(|store| store.forget(name));
        Ok(elsewhere.transpose()?.unwrap_or(false) || known)
    }

    /// Whether the configuration names the server, in whichever network this machine is.
    fn is_configured(&self) -> bool {
        !matches!(lock(&self.settings).server, Server::System)
    }

    /// Tells all upstreams that the machine was asleep.
    fn wake(&self) {
        for (_, upstream) in &self.now().stops {
            upstream.on_resume();
        }
    }

    /// What it is doing, for `zzdot-client status`: the fields of the upstream that is asked first, and those of all
    /// under `networks`.
    #[must_use]
    pub fn status(&self) -> Value {
        let now = self.now();
        let all: Vec<(Value, Value)> = now
            .stops
            .iter()
            .map(|(stop, upstream)| (place(stop), upstream.status()))
            .collect();
        let mut status = match now.default.and_then(|default| all.get(default)) {
            Some((_, status)) => status.clone(),
            None => json!({ "state": "no-network", "waiting-for": now.waiting }),
        };
        status["network"] = match now.default.and_then(|default| all.get(default)) {
            Some((place, _)) => place.clone(),
            None => Value::Null,
        };
        let mut queries = lock(&self.past).clone();
        for (_, upstream) in &all {
            add(&mut queries, &upstream["queries"]);
        }
        status["queries"] = queries;
        let networks = all.into_iter().map(|(mut place, upstream)| {
            for key in ["server", "state", "rung", "down", "refusal"] {
                place[key] = upstream[key].clone();
            }
            place["resolver"] = upstream["resolver"]["name"].clone();
            place
        });
        status["networks"] = networks.collect();
        status
    }

    /// Acts on a plan: what goes on goes on, what is no more is ended, what is new begins.
    fn follow(&self, plan: Plan) -> Result<(), PlacesError> {
        let before = self.now();
        let settings = lock(&self.settings).clone();
        let uniform = plan.is_uniform();
        let mut kept = vec![false; before.stops.len()];
        let mut stops = Vec::with_capacity(plan.stops.len());
        for stop in plan.stops {
            let goes_on = |(_, upstream): &(Stop, Arc<Upstream>)| {
                upstream.continues_in(&stop.surroundings, stop.server, settings.policy)
            };
            let upstream = match before.stops.iter().position(goes_on) {
                Some(position) => {
                    kept[position] = true;
                    Arc::clone(&before.stops[position].1)
                }
                None => self.begin(&stop, &settings)?,
            };
            stops.push((stop, upstream));
        }
        *lock(&self.now) = Arc::new(Now {
            stops,
            ways: plan.ways,
            default: plan.default,
            uniform,
            waiting: plan.waiting,
        });
        let ended = before.stops.iter().zip(kept).filter(|(_, kept)| !kept);
        for ((stop, upstream), _) in ended {
            tracing::info!(server = %stop.server, place = %stop.surroundings.place, "left");
            upstream.retire();
            add(&mut lock(&self.past), &upstream.status()["queries"]);
        }
        self.changed.send_replace(());
        Ok(())
    }

    fn begin(&self, stop: &Stop, settings: &Settings) -> Result<Arc<Upstream>, PlacesError> {
        let (limits, cache_bytes) = (&settings.limits, settings.cache_bytes);
        let store = match (&stop.proof, &self.store) {
            (Some(endpoint), _) => return Ok(Upstream::fixed(endpoint, limits, cache_bytes)?),
            (None, Some(store)) => Arc::clone(store),
            (None, None) => return Err(PlacesError::NoStore),
        };
        tracing::info!(
            server = %stop.server, link = stop.link, recognised = stop.taken.name(),
            differs = stop.surroundings.doubt.as_ref().map(tracing::field::debug), "somebody to ask"
        );
        let upstream = Upstream::discovered(
            stop.surroundings.clone(),
            stop.server,
            settings.policy,
            store,
            limits,
            cache_bytes,
        );
        if stop.taken == Taken::New {
            let view = stop.view.as_ref();
            let advertised = view.and_then(|view| view.captive_portal.as_deref());
            upstream.look_for_portal(advertised, settings.portal.as_ref());
        }
        Ok(upstream)
    }

    fn now(&self) -> Arc<Now> {
        Arc::clone(&lock(&self.now))
    }

    /// Answers, from whoever is to be asked when there is somebody. A question whose network goes away while it waits
    /// starts again in the next one.
    async fn answer_somewhere(self: Arc<Self>, query: Vec<u8>) -> Vec<u8> {
        let begun = tokio::time::Instant::now();
        let deadline = begun + lock(&self.settings).limits.query_budget();
        let mut changed = self.changed.subscribe();
        loop {
            let now = self.now();
            let Some(upstream) = now.pick(&query) else {
                match timeout_at(deadline, changed.changed()).await {
                    Ok(Ok(())) => continue,
                    _ => return self.nowhere(&query, &now),
                }
            };
            let asked = Arc::clone(upstream).answer_since(query.clone(), begun.into_std());
            tokio::select! {
                answer = asked => return answer,
                () = upstream.retired() => {}
            }
        }
    }

    fn nowhere(&self, query: &[u8], now: &Now) -> Vec<u8> {
        let failed = json!({ "failed": 1, "failed-by-reason": { NO_NETWORK: 1 } });
        add(&mut lock(&self.past), &failed);
        TALLY.count_failure(NO_NETWORK);
        let text = match &now.waiting[..] {
            [] => "no network with a name server".to_owned(),
            links => format!("finding out which network this is: {}", links.join(", ")),
        };
        wire::error_reply(query, SERVFAIL, Some((NETWORK_ERROR, &text))).unwrap_or_default()
    }
}

impl Now {
    fn pick(&self, query: &[u8]) -> Option<&Arc<Upstream>> {
        let way = match self.uniform {
            true => self.default,
            false => View::parse(query)
                .ok()
                .and_then(|view| self.ways.lookup(&view.question()?.name.to_wire()))
                .map_or(self.default, |branch| branch.stop),
        };
        self.stops.get(way?).map(|(_, upstream)| upstream)
    }
}

impl Answer for Places {
    fn answer(self: Arc<Self>, query: Vec<u8>) -> Answering {
        Box::pin(self.answer_somewhere(query))
    }

    /// There is a short way while there is nothing to choose.
    fn lane(self: Arc<Self>) -> Option<Lane> {
        let now = self.now();
        let default = now.default.filter(|_| now.uniform)?;
        let (_, upstream) = now.stops.get(default)?;
        Arc::clone(upstream).lane()
    }
}

fn place(stop: &Stop) -> Value {
    json!({
        "link": stop.link,
        "place": stop.surroundings.place,
        "recognised": stop.taken.name(),
        "differs": stop.surroundings.doubt,
        "captive-portal": stop.view.as_ref().and_then(|view| view.captive_portal.clone()),
    })
}

/// Adds the numbers of `more` to those of `sum`, by their names, however deep.
fn add(sum: &mut Value, more: &Value) {
    match more {
        Value::Number(more) => {
            let both = sum.as_u64().unwrap_or(0) + more.as_u64().unwrap_or(0);
            *sum = both.into();
        }
        Value::Object(more) => {
            for (name, more) in more {
                add(&mut sum[name], more);
            }
        }
        _ => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
