//! `zzdot-client discover --server ADDRESS[:PORT]`: the walk, told step by step.
//!
//! With `--state-dir` it is the first step of the daemon: whom the store expects there is compared,
//! and what is found is remembered. Without, nothing is read and nothing is written.
//!
//! `--json` prints one object: `server`, `steps` (each with `step` and its details), and `verdict`
//! with its details: `upgraded`, `legacy` with `reason`, `refused` with `refusal`, or `no-answer`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use zzdot_zonegen::clock::{UnixTime, build_date};
use zzdot_zonegen::exit::{Exit, Failure};

use super::{print, print_json, style};
use crate::config::{DNS_PORT, address_and_port};
use crate::discover::{Discovered, Refusal, Step, Verdict, WalkPolicy};
use crate::place::Surroundings;
use crate::store::Store;
use crate::trust::{KnownIdentity, TrustState};
use crate::walker::walk;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The server, as in /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server)]
    server: SocketAddr,
    /// Compare with what is remembered in this folder, and remember there
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn server(text: &str) -> Result<SocketAddr, String> {
    address_and_port(text, DNS_PORT).ok_or_else(|| {
        "an address such as 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53 is expected".to_owned()
    })
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let store = arguments.state_dir.as_deref().map(Store::open).transpose();
    let store = store?.map(|(store, _)| store);
    let expected = store
        .as_ref()
        .and_then(|store| store.expected_at(arguments.server));
    let floor = store.as_ref().map_or(UnixTime(0), Store::clock_floor);
    let policy = WalkPolicy {
        clock_floor: build_date().max(floor),
        ..WalkPolicy::default()
    };
    let mut steps = Vec::new();
    let mut unwritten = Ok(());
    let verdict = walk(arguments.server, expected.clone(), policy, |step| {
        if arguments.json {
            steps.push(json!(step));
        } else if unwritten.is_ok() && !is_last(step) {
            unwritten = print(&format!("  {step}\n"));
        }
    })
    .await;
    unwritten?;
    let known = expected.clone();
    let verdict = match &store {
        Some(store) => remember(store, arguments.server, expected, verdict)?,
        None => verdict,
    };
    if arguments.json {
        let mut object = json!({ "server": arguments.server, "steps": steps });
        if let (Value::Object(object), Value::Object(verdict)) = (&mut object, json!(verdict)) {
            object.extend(verdict);
        }
        print_json(&object)?;
    } else {
        print(&summary(&verdict, store.as_ref(), known.as_ref()))?;
    }
    Ok(match verdict {
        Verdict::Upgraded(_) => Exit::Done,
        Verdict::Legacy { .. } => Exit::NotUpgraded,
        Verdict::Refused { .. } => Exit::Distrust,
        Verdict::NoAnswer => Exit::CannotRun,
    })
}

/// The end of the walk is told in more words below the steps.
fn is_last(step: &Step) -> bool {
    matches!(
        step,
        Step::Upgraded { .. } | Step::Legacy { .. } | Step::Refused { .. } | Step::GaveUp
    )
}

/// As the daemon does: what is known of the name from anywhere counts.
fn remember(
    store: &Store,
    server: SocketAddr,
    expected: Option<KnownIdentity>,
    verdict: Verdict,
) -> Result<Verdict, Failure> {
    let discovered = match &verdict {
        Verdict::Upgraded(discovered) => discovered,
        Verdict::Legacy {
            reason,
            name: Some(name),
        } if store.identity(name).is_some() || store.enrolled(name).is_some() => {
            let (name, reason) = (name.clone(), *reason);
            let refusal = Refusal::Downgraded { name, reason };
            return Ok(Verdict::Refused { refusal });
        }
        _ => return Ok(verdict),
    };
    let identity = match expected.or_else(|| store.identity(&discovered.name)) {
        None => KnownIdentity::first_met(discovered),
        Some(known) => match known.met_again(discovered) {
            Ok(identity) => identity,
            Err(refusal) => return Ok(Verdict::Refused { refusal: *refusal }),
        },
    };
    store.remember(&Surroundings::of_server(server), server, identity)?;
    Ok(verdict)
}

fn summary(verdict: &Verdict, store: Option<&Store>, known: Option<&KnownIdentity>) -> String {
    match verdict {
        Verdict::Upgraded(discovered) => upgraded(discovered, store),
        Verdict::Legacy { reason, .. } => format!(
            "{}: {reason}\n{}",
            style::red("not upgraded: questions to it are in cleartext"),
            reason
                .cure()
                .map_or(String::new(), |cure| format!("  what helps: {cure}\n"))
        ),
        Verdict::Refused { refusal } => format!(
            "{} ({}): {}\n  what helps: {}\n{}",
            style::red("refused"),
            refusal.name(),
            refusal.cause(),
            refusal.cure(),
            known.map_or(String::new(), |_| refusal.explain(known).to_string())
        ),
        Verdict::NoAnswer => "no answer: nothing can be said about this server\n".to_owned(),
    }
}

fn upgraded(discovered: &Discovered, store: Option<&Store>) -> String {
    let trust = store
        .and_then(|store| store.identity(&discovered.name))
        .map_or(TrustState::Provisional, |known| known.state);
    format!(
        "{}: {} at {} ({trust})\n",
        style::green("upgraded"),
        discovered.name,
        discovered.endpoint
    )
}
