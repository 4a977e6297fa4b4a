//! `zzdot status`

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;
use zzdot_client::control::Request;
use zzdot_zonegen::exit::Failure;

use super::{Place, daemon, print, print_json, upstreams};
use crate::rollover;

/// How many steps of roll-overs are shown, of those that come soonest.
const ROLL_OVERS_SHOWN: usize = 4;

/// The arguments of `zzdot status`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print everything, as JSON
    #[arg(long)]
    json: bool,
}

/// Asks the running zzdot and shows what it says.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let status = daemon::ask(&arguments.place, &Request::new("status")).await?;
    if arguments.json {
        return print_json(&status);
    }
    print(&text(&status))
}

/// What a person wants to know first; JSON has the rest.
fn text(status: &Value) -> String {
    let mut text = String::new();
    let mut line = |what: &str, said: &str| {
        if !said.is_empty() {
            writeln!(text, "{what:<13}{said}").expect("a string takes everything");
        }
    };
    line("name", &plain(&status["name"]));
    line(
        "running",
        &duration(status["uptime-secs"].as_u64().unwrap_or(0)),
    );
    line("type", &plain(&status["server-type"]));
    line("dns", &list(&status["listen"]["dns"]));
    line("dot", &list(&status["listen"]["dot"]));
    line("workers", &plain(&status["listen"]["workers"]));
    line("published", &list(&status["published-addresses"]));
    line("access", &list(&status["access"]));
    let zones = match status["zones"]["serial"].as_u64() {
        Some(serial) => format!("serial {serial}"),
        None => "not published".into(),
    };
    line("zones", &zones);
    line("trouble", &plain(&status["zones-trouble"]));
    line("hint", &plain(&status["zones-hint"]));
    let steps = status["roll-overs"].as_array().into_iter().flatten();
    for step in steps.take(ROLL_OVERS_SHOWN) {
        line("next", &rollover::line(step));
    }
    line("resolve", &plain(&status["resolve"]["mode"]));
    for upstream in status["resolve"]["upstreams"]
        .as_array()
        .into_iter()
        .flatten()
    {
        line("upstream", &upstreams::line(upstream));
        line("", upstream["why"].as_str().unwrap_or_default());
    }
    if let Some(entries) = status["cache"]["entries"].as_u64() {
        let kib = status["cache"]["bytes"].as_u64().unwrap_or(0) / 1024;
        let of = status["cache"]["bytes-allowed"].as_u64().unwrap_or(0) / 1024;
        line("cache", &format!("{entries} answers, {kib} of {of} KiB"));
    }
    line("connections", &plain(&status["listen"]["connections"]));
    line("not reloaded", &plain(&status["last-reload"]["error"]));
    line("hint", &plain(&status["last-reload"]["hint"]));
    let waits = list(&status["last-reload"]["needs-restart"]);
    line("restart for", &waits);
    for (event, count) in status["counters"].as_object().into_iter().flatten() {
        if count != 0 {
            writeln!(text, "  {event:<34}{count}").expect("a string takes everything");
        }
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(values: &Value) -> String {
    let texts: Vec<String> = values.as_array().into_iter().flatten().map(plain).collect();
    texts.join(" ")
}

fn duration(secs: u64) -> String {
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7199 => format!("{} min", secs / 60),
        7200..=172_799 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_say_who_and_where() {
        let status = serde_json::json!({
            "name": "abc.zz", "uptime-secs": 7300, "server-type": "forwarder",
            "listen": {"dns": ["192.0.2.1:53"], "dot": ["192.0.2.1:853"], "workers": 2,
                "connections": 3},
            "published-addresses": ["192.0.2.1"], "access": ["192.0.2.0/24"],
            "zones": {"serial": 7}, "zones-trouble": null,
            "roll-overs": [
                {"step": "serve the next certificate", "at": 1_800_000_000, "waits-for": "time"},
                {"step": "sign", "at": null, "waits-for": "publication"}],
            "resolve": {"mode": "forward", "upstreams": [{
                "address": "9.9.9.9:53", "transport": "plain", "resting": true,
                "latency-ms": 12, "answered": 5, "failed": 1}, {
                "address": "9.9.9.10:53", "transport": "plain", "resting": false,
                "latency-ms": null, "answered": 0, "failed": 0}, {
                "address": "9.9.9.11:53", "transport": "plain", "resting": false,
                "latency-ms": null, "answered": 0, "failed": 1}]},
            "last-reload": {"error": "zzdot.toml:1: wrong", "hint": "right it", "needs-restart": []},
            "counters": {"stranger": 0, "cookie-good": 4},
        });
        assert_eq!(
            text(&status),
            "name         abc.zz\n\
             running      2 h\n\
             type         forwarder\n\
             dns          192.0.2.1:53\n\
             dot          192.0.2.1:853\n\
             workers      2\n\
             published    192.0.2.1\n\
             access       192.0.2.0/24\n\
             zones        serial 7\n\
             next         2027-01-15T08:00:00Z serve the next certificate\n\
             next         sign: waits for the step before it to be served\n\
             resolve      forward\n\
             upstream     9.9.9.9:53 plain, 12 ms, 5 answered, 1 failed; others are asked first\n\
             upstream     9.9.9.10:53 plain, not asked yet, 0 answered, 0 failed\n\
             upstream     9.9.9.11:53 plain, 0 answered, 1 failed\n\
             connections  3\n\
             not reloaded zzdot.toml:1: wrong\n\
             hint         right it\n  cookie-good                       4\n"
        );
    }
}
