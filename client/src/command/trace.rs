//! `zzdot-client trace`: who asks whom, from this computer to the end of the chain, and whether each hop is encrypted.
//!
//! Of the daemon: behind the server that is asked about most, about a name, or behind all. Or, with `--server`, of a server that nobody knows yet: then it is found out who that is, as
//! `zzdot-client discover` does, and nothing is read and nothing written. The fields of `--json` are in docs/json.md.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use hickory_proto::rr::Name;
use serde::Serialize;
use serde_json::json;
use zzdot_zonegen::clock::{UnixTime, build_date};
use zzdot_zonegen::exit::{Exit, Failure};
use zzdot_zonegen::upstream::{Proof, Transport};

use super::daemon::Place;
use super::discover::server;
use super::{cannot_run, print, print_json, style};
use crate::chain::draw::{
    Circumstances, Paint, Trace, TraceError, TracedServer, svg, text, text_of_all,
};
use crate::chain::driver::survey;
use crate::chain::{Chain, Nearest, SURVEY_TIMEOUT, Why};
use crate::control::Request;
use crate::discover::{Discovered, Verdict, WalkPolicy};
use crate::dot::{DotLimits, DotPool, Endpoint, PeerProof};
use crate::walker::{Carrier, Walked, walk_over};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Looks behind the server that is asked about this name [default: the one that is asked about everything that no
    /// domain sends elsewhere]
    name: Option<Name>,
    /// Looks behind all servers, one after the other
    #[arg(long, conflicts_with_all = ["name", "server", "svg"])]
    all: bool,
    /// Looks behind this server, without the daemon and without what is remembered
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server, conflicts_with = "name")]
    server: Option<SocketAddr>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print a picture (SVG)
    #[arg(long, conflicts_with = "json")]
    svg: bool,
}

/// For how long what is told of a server holds that says nothing about itself, in seconds.
const SILENT_TTL: u32 = 60;

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let good = match arguments.all {
        true => show_all(arguments).await?,
        false => show(arguments).await?,
    };
    Ok(match good {
        true => Exit::Done,
        false => Exit::NotUpgraded,
    })
}

/// Whether it is encrypted to the end.
async fn show(arguments: &Arguments) -> Result<bool, Failure> {
    let trace = match (arguments.server, &arguments.name) {
        (Some(server), _) => look_behind(server).await?,
        (None, name) => {
            let request = Request::new("trace");
            let request = match name {
                Some(name) => request.with("name", name.to_string()),
                None => request,
            };
            let told = arguments.place.ask_running(&request).await?;
            Trace::read(told).map_err(not_understood)?
        }
    };
    if arguments.json {
        print_told(&trace)?;
    } else if arguments.svg {
        print(&svg(&trace))?;
    } else {
        print(&text(&trace, PAINT))?;
    }
    Ok(trace.encrypted_to_end)
}

/// Whether all are encrypted to their ends.
async fn show_all(arguments: &Arguments) -> Result<bool, Failure> {
    let request = Request::new("trace-all");
    let told = arguments.place.ask_running(&request).await?;
    let servers = TracedServer::read(told).map_err(not_understood)?;
    if arguments.json {
        print_told(&json!({ "servers": servers }))?;
    } else {
        print(&text_of_all(&servers, PAINT))?;
    }
    let mut traces = servers.iter().map(|server| server.trace.as_ref());
    Ok(traces.all(|trace| trace.is_some_and(|trace| trace.encrypted_to_end)))
}

const PAINT: Paint = Paint {
    good: style::green,
    bad: style::red,
};

fn print_told(told: &impl Serialize) -> Result<(), Failure> {
    let told = serde_json::to_value(told);
    print_json(&told.map_err(|error| cannot_run(error.to_string()))?)
}

fn not_understood(error: TraceError) -> Failure {
    cannot_run(error.to_string()).with_hint("the tool and the daemon may be of different versions")
}

async fn look_behind(server: SocketAddr) -> Result<Trace, Failure> {
    let policy = WalkPolicy {
        clock_floor: build_date(),
        ..WalkPolicy::default()
    };
    let Walked { verdict, met } =
        walk_over(&Carrier::Cleartext, server, None, policy, |_| {}).await;
    let looked_at = UnixTime::now();
    let chain = match verdict {
        Verdict::Upgraded(found) => {
            let pool = pool_for(&found)?;
            if let Some(met) = met {
                pool.continue_on(met);
            }
            let nearest = Nearest::from(&*found);
            survey(nearest, Arc::new(pool), SURVEY_TIMEOUT, |_| {})
                .await
                .chain
        }
        Verdict::Legacy { .. } => Chain::of_one(
            server,
            Transport::Plain,
            Proof::None,
            Why::SaysNothing,
            SILENT_TTL,
        ),
        Verdict::Refused { refusal } => {
            let message = format!("{} ({})", refusal.cause(), refusal.name());
            return Err(Failure::new(Exit::Distrust, message).with_hint(refusal.cure()));
        }
        Verdict::NoAnswer => return Err(cannot_run(format!("{server} does not answer"))),
    };
    let circumstances = Circumstances {
        server,
        looked_at,
        route: None,
        asks: None,
        asks_why: None,
    };
    Ok(Trace::of(&chain, &circumstances))
}

fn pool_for(found: &Discovered) -> Result<DotPool, Failure> {
    let endpoint = Endpoint {
        address: found.endpoint,
        server_name: None,
        proof: PeerProof::Dane {
            tlsa: found.tlsa.clone(),
            name: found.name.clone(),
        },
    };
    DotPool::new(&endpoint, DotLimits::default()).map_err(|error| cannot_run(error.to_string()))
}
