//! `zzdot upstreams`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;
use zzdot_client::control::Request;
use zzdot_zonegen::{
    exit::{Exit, Failure},
    name::ResolverName,
};

use super::{Place, daemon, print, print_json};

/// The arguments of `zzdot upstreams`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print everything, as JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show whom questions go to, how, and why no better (the default)
    List,
    /// Forget the resolver NAME, so that whoever is behind its address is met anew
    Forget {
        /// The resolver's name
        name: String,
    },
}

/// Asks the running zzdot about those whom it asks.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { place, json, what } = arguments;
    match what {
        None | Some(What::List) => {
            let told = daemon::ask(&place, &Request::new("upstreams")).await?;
            match json {
                true => print_json(&told),
                false => print(&list(&told)),
            }
        }
        Some(What::Forget { name }) => {
            // Refused here, so that a slip of the pen is an error of the command line.
            let name: ResolverName = name.parse().map_err(|_| {
                Failure::new(Exit::Usage, format!("{name:?} is not a resolver's name"))
            })?;
            let request = Request::new("forget-upstream").with("name", name.to_string());
            let done = daemon::ask(&place, &request).await?;
            match (json, done["forgotten"] == true) {
                (true, _) => print_json(&done),
                (false, true) => print(&format!("{name} is forgotten\n")),
                (false, false) => print(&format!("{name} is not known\n")),
            }
        }
    }
}

fn list(told: &Value) -> String {
    let mut text = String::new();
    let upstreams = told["upstreams"].as_array().map_or(&[][..], Vec::as_slice);
    for upstream in upstreams {
        writeln!(text, "{}", line(upstream)).expect("a string takes everything");
        if let Some(why) = upstream["why"].as_str() {
            writeln!(text, "  {why}").expect("a string takes everything");
        }
    }
    if upstreams.is_empty() {
        text.push_str(match told["mode"].as_str() {
            Some("recursive") => {
                "no upstream is asked: answers come from the authoritative servers (mode \"recursive\")\n"
            }
            _ => "no upstream is asked: this host names no name server but itself\n",
        });
    }
    text
}

/// What one upstream is, in a line: where, how questions go there, and who it says that it is.
pub(super) fn line(upstream: &Value) -> String {
    let word = |key: &str| upstream[key].as_str().unwrap_or_default().to_owned();
    let mut line = word("address");
    let transport = match upstream["transport"].as_str() {
        Some(transport) => transport,
        None if upstream["state"] == "ourselves" => "leads back here",
        None => "not reached",
    };
    write!(line, " {transport}").expect("a string takes everything");
    // Where it matters: nobody else can listen.
    if upstream["on-this-machine"] == true && transport == "plain" {
        line.push_str(" on this machine");
    }
    let proof = word("proof");
    if !proof.is_empty() && proof != "none" {
        write!(line, " ({proof})").expect("a string takes everything");
    }
    if upstream["name"].is_string() {
        let (name, kind) = (word("name"), word("server-type"));
        write!(line, ", {name}, a {kind}").expect("a string takes everything");
    }
    let latency = match upstream["latency-ms"].as_u64() {
        Some(ms) => format!(", {ms} ms"),
        None if upstream["failed"] == 0 => ", not asked yet".into(),
        None => String::new(),
    };
    let resting = match upstream["resting"] == true {
        true => "; others are asked first",
        false => "",
    };
    write!(
        line,
        "{latency}, {} answered, {} failed{resting}",
        upstream["answered"], upstream["failed"],
    )
    .expect("a string takes everything");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_upstream_has_a_line_and_a_reason_where_there_is_one() {
        let told = serde_json::json!({"upstreams": [
            {"address": "192.0.2.1:53", "state": "upgraded", "name": "8g2l0qv7c4m1t5b9r3se.zz",
             "server-type": "resolver", "transport": "dot", "proof": "dane", "why": null,
             "latency-ms": 12, "answered": 5, "failed": 1, "resting": false},
            {"address": "192.0.2.2:53", "state": "legacy", "name": null, "server-type": null,
             "transport": "plain", "proof": "none", "why": null,
             "latency-ms": null, "answered": 0, "failed": 0, "resting": false},
            {"address": "127.0.0.1:5335", "state": "configured", "name": null, "server-type": null,
             "transport": "plain", "on-this-machine": true, "proof": "none", "why": null,
             "latency-ms": 1, "answered": 2, "failed": 0, "resting": false},
            {"address": "192.0.2.3:53", "state": "refused", "name": null, "server-type": null,
             "transport": null, "proof": null, "why": "the anchor changed",
             "latency-ms": null, "answered": 0, "failed": 3, "resting": true},
        ]});
        assert_eq!(
            list(&told),
            "192.0.2.1:53 dot (dane), 8g2l0qv7c4m1t5b9r3se.zz, a resolver, 12 ms, 5 answered, 1 failed\n\
             192.0.2.2:53 plain, not asked yet, 0 answered, 0 failed\n\
             127.0.0.1:5335 plain on this machine, 1 ms, 2 answered, 0 failed\n\
             192.0.2.3:53 not reached, 0 answered, 3 failed; others are asked first\n  the anchor changed\n"
        );
        let none = |mode| list(&serde_json::json!({"mode": mode, "upstreams": []}));
        assert!(none("recursive").contains("from the authoritative servers"));
        assert!(none("forward").contains("names no name server"));
    }
}
