//! `zzdot-client trace`: who asks whom, from this computer to the end of the chain, and whether each hop is encrypted.
//!
//! Of the daemon, or, with `--server`, of a server that nobody knows yet: then it is found out who that is, as
//! `zzdot-client discover` does, and nothing is read and nothing written. The fields of `--json` are in docs/json.md.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use zzdot_zonegen::clock::{UnixTime, build_date};
use zzdot_zonegen::exit::{Exit, Failure};
use zzdot_zonegen::upstream::{Proof, Transport};

use super::daemon::Place;
use super::discover::server;
use super::{cannot_run, print, print_json, style};
use crate::chain::draw::{Circumstances, Paint, Trace, svg, text};
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
    /// Looks behind this server, without the daemon and without what is remembered
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server)]
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
    let trace = match arguments.server {
        Some(server) => look_behind(server).await?,
        None => {
            let told = arguments.place.ask_running(&Request::new("trace")).await?;
            Trace::read(told).map_err(|error| {
                cannot_run(error.to_string())
                    .with_hint("the tool and the daemon may be of different versions")
            })?
        }
    };
    if arguments.json {
        let told = serde_json::to_value(&trace);
        print_json(&told.map_err(|error| cannot_run(error.to_string()))?)?;
    } else if arguments.svg {
        print(&svg(&trace))?;
    } else {
        let paint = Paint {
            good: style::green,
            bad: style::red,
        };
        print(&text(&trace, paint))?;
    }
    Ok(match trace.encrypted_to_end {
        true => Exit::Done,
        false => Exit::NotUpgraded,
    })
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
