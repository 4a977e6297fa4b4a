//! Who asks whom behind each server, and which server is asked about a name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{Now, Places};
use crate::chain::draw::{Chosen, Trace, TracedDomain, TracedServer};
use crate::session::Failure;
use crate::upstream::{Untraceable, Upstream};

/// How long a person waits for the chains of all servers.
const PATIENCE: Duration = Duration::from_secs(28);
/// So many servers are looked behind at a time.
const AT_A_TIME: usize = 4;

/// A name that somebody wants to know about: as people write it, and as on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For people.
    pub text: String,
    /// Its labels, uncompressed.
    pub wire: Vec<u8>,
}

impl Places {
    /// Looks who asks whom, from this computer to the end, behind the server that would be asked about `name`; without a
    /// name, behind the one that is asked about everything that no domain sends elsewhere.
    ///
    /// # Errors
    /// [`Untraceable`].
    pub async fn trace(&self, name: Option<Wanted>) -> Result<Trace, Untraceable> {
        let now = self.now();
        let decided = name.as_ref().and_then(|name| now.ways.decide(&name.wire));
        let stop = match &decided {
            Some((_, branch)) => branch.stop,
            None => now.default,
        };
        let chosen = Chosen {
            name: name.as_ref().map(|name| name.text.clone()),
            domain: decided.as_ref().map(|(domain, _)| domain.to_string()),
            link: decided.as_ref().and_then(|(_, branch)| branch.link.clone()),
            others: now.others(stop),
        };
        let Some((_, upstream)) = stop.and_then(|stop| now.stops.get(stop)) else {
            let why = match (&chosen.domain, &chosen.link) {
                (Some(domain), Some(link)) => format!(
                    "names below {domain} are asked over {link}, and it is not known yet which network that is"
                ),
                _ => "there is no network whose name server is asked".to_owned(),
            };
            return Err(Untraceable::Failed(why));
        };
        let mut trace = trace_in_place(Arc::clone(upstream)).await?;
        trace.chosen = Some(chosen);
        Ok(trace)
    }

    /// The same behind every server that is asked about anything; the one that is asked about most comes first.
    pub async fn trace_all(&self) -> Vec<TracedServer> {
        let now = self.now();
        let mut told = now.servers();
        let deadline = Instant::now() + PATIENCE;
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        let mut looks = JoinSet::new();
        for (place, (_, upstream)) in now.stops.iter().enumerate() {
            let (upstream, turns) = (Arc::clone(upstream), Arc::clone(&turns));
            looks.spawn(async move {
                let look = async {
                    let _turn = turns.acquire().await;
                    trace_in_place(upstream).await
                };
                let looked = timeout_at(deadline, look).await;
                let late = || Err(Untraceable::Failed("it takes too long".to_owned()));
                (place, looked.unwrap_or_else(|_| late()))
            });
        }
        while let Some(looked) = looks.join_next().await {
            let Ok((place, looked)) = looked else {
                continue;
            };
            let Some(told) = told.iter_mut().find(|(at, _)| *at == Some(place)) else {
                continue;
            };
            match looked {
                Ok(trace) => told.1.trace = Some(trace),
                Err(untraceable) => {
                    told.1.reason = untraceable.reason().map(str::to_owned);
                    told.1.fault = Some(untraceable.to_string());
                }
            }
        }
        told.into_iter().map(|(_, server)| server).collect()
    }
}

async fn trace_in_place(upstream: Arc<Upstream>) -> Result<Trace, Untraceable> {
    tokio::select! {
        traced = upstream.trace() => traced,
        () = upstream.retired() => Err(Untraceable::Failed("the network is gone".to_owned())),
    }
}

impl Now {
    /// How many servers but this one are asked about anything.
    fn others(&self, stop: Option<usize>) -> usize {
        let branches = self.ways.iter().filter_map(|(_, branch)| branch.stop);
        let mut asked: BTreeSet<usize> = branches.chain(self.default).collect();
        if let Some(stop) = stop {
            asked.remove(&stop);
        }
        asked.len()
    }

    /// All servers and what is asked of each, with their places among the stops; domains that lead nowhere yet last.
    fn servers(&self) -> Vec<(Option<usize>, TracedServer)> {
        let mut domains: BTreeMap<Option<usize>, Vec<TracedDomain>> = BTreeMap::new();
        for (domain, branch) in self.ways.sorted() {
            domains.entry(branch.stop).or_default().push(TracedDomain {
                domain: domain.to_string(),
                link: branch.link.clone(),
            });
        }
        let mut places: Vec<usize> = (0..self.stops.len()).collect();
        places.sort_by_key(|place| self.default != Some(*place));
        let mut servers: Vec<_> = places
            .into_iter()
            .filter_map(|place| Some((place, self.stops.get(place)?)))
            .map(|(place, (stop, _))| {
                let server = TracedServer {
                    server: Some(stop.server),
                    link: stop.link.clone(),
                    default: self.default == Some(place),
                    domains: domains.remove(&Some(place)).unwrap_or_default(),
                    trace: None,
                    fault: None,
                    reason: None,
                };
                (Some(place), server)
            })
            .collect();
        let nowhere = domains.remove(&None).unwrap_or_default();
        if self.default.is_none() || !nowhere.is_empty() {
            let fault = match &self.waiting[..] {
                [] => "there is no network whose name server is asked".to_owned(),
                links => format!(
                    "it is not known yet which network this is: {}",
                    links.join(", ")
                ),
            };
            let nobody = TracedServer {
                server: None,
                link: None,
                default: self.default.is_none(),
                domains: nowhere,
                trace: None,
                fault: Some(fault),
                reason: None,
            };
            servers.push((None, nobody));
        }
        servers
    }
}

impl Untraceable {
    /// The name of the reason, where somebody is not trusted.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Down(failure) => match &**failure {
                Failure::Refused(refusal) => Some(refusal.name()),
                Failure::NoAnswer(_) => None,
            },
            Self::Unknown | Self::Failed(_) => None,
        }
    }
}
