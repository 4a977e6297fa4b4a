//! `zzdot-client status`: what the daemon is doing, on one screen.
//!
//! The fields of `--json` are in docs/json.md.

use clap::Args;
use serde_json::Value;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::exit::{Exit, Failure};

use super::daemon::Place;
use super::resolvers::field;
use super::{print, print_json, style};
use crate::control::Request;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let status = arguments.place.ask_running(&Request::new("status")).await?;
    if arguments.json {
        print_json(&status)?;
    } else {
        print(&text(&status))?;
    }
    Ok(Exit::Done)
}

/// The most reasons of failures that are shown.
const REASONS_SHOWN: usize = 5;
/// The most networks.
const NETWORKS_SHOWN: usize = 3;
/// What a person can say about a network that is suspect.
const OTHER_OR_SAME: &str = "another network: `zzdot-client networks separate`; a new router: `zzdot-client networks accept`";

fn text(status: &Value) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| text.push_str(&format!("{label:<13}{value}\n"));
    line("server", &field(status, "server"));
    line("state", &state(status));
    line("privacy", &privacy(status));
    if let Some(route) = route(status) {
        line("route", &route);
    }
    if status["state"] == "strict" && status["resolver"]["trust"] == "provisional" {
        let what = "nobody said yet that this is the right resolver: zzdot-client verify";
        line("to do", what);
    }
    place(status, &mut line);
    trouble(status, &mut line);
    counts(status, &mut line);
    line("listening", &listed(&status["listen"]));
    text
}

/// How far others can read along, in words that need no other.
fn privacy(status: &Value) -> String {
    match status["rung"].as_str() {
        _ if status["down"].is_object() => "nothing is sent until this is over".to_owned(),
        Some("verified") => style::green("nobody on the way can read or change what you ask"),
        Some("known") => {
            let what = "nobody on the way can read what you ask, if the resolver is the right one";
            style::green(what)
        }
        Some("designated") => {
            let what =
                "nobody on the way can read what you ask; an authority vouches for the resolver";
            style::green(what)
        }
        Some("opportunistic") => {
            "who listens in reads nothing; who stands in between could, unnoticed".to_owned()
        }
        Some("cleartext") => style::red("everybody on the way can read and change what you ask"),
        _ => "nothing is sent".to_owned(),
    }
}

/// Whom questions are asked of where the resolver is a forwarder; none where that is no choice.
fn route(status: &Value) -> Option<String> {
    let route = &status["route"];
    let chain = &route["chain"];
    Some(match (route["policy"].as_str()?, route["asks"].as_str()) {
        ("end", Some("end")) => format!(
            "{}: {}",
            style::green("straight to the end of the chain"),
            field(&route["end"], "name")
        ),
        ("end", _) if chain.is_null() => "the nearest; nobody looked behind it yet".to_owned(),
        ("end", _) => {
            "the nearest: the end of the chain cannot be asked (zzdot-client trace)".to_owned()
        }
        ("encrypted-to-end", Some(_)) => style::green("encrypted to the end of the chain"),
        ("encrypted-to-end", None) => "only while the chain is encrypted to its end".to_owned(),
        _ => return None,
    })
}

fn place(status: &Value, line: &mut impl FnMut(&str, &str)) {
    let networks: Vec<&Value> = status["networks"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    for network in networks.iter().take(NETWORKS_SHOWN) {
        let link = network["link"].as_str().unwrap_or("-");
        let what = match network["recognised"].as_str() {
            Some("expected") => "a network that is known".to_owned(),
            Some("suspect") => style::red("looks like a known network, and differs"),
            Some("new") => "a network that is new".to_owned(),
            _ => continue,
        };
        let differs = listed(&network["differs"]);
        let differs = if differs == "-" {
            String::new()
        } else {
            format!(" in {differs}")
        };
        line(
            "network",
            &format!(
                "{link}: {what}{differs}, asked at {}",
                field(network, "server")
            ),
        );
    }
    if networks.len() > NETWORKS_SHOWN {
        line("", &format!("and {} more", networks.len() - NETWORKS_SHOWN));
    }
    if networks.iter().any(|it| it["recognised"] == "suspect") {
        line("", OTHER_OR_SAME);
    }
    let portal = &status["portal"];
    if portal["open"] == true {
        let at = portal["address"].as_str().unwrap_or("a page of its own");
        let secs = portal["closes-in-secs"].as_u64().unwrap_or(0);
        let what = format!("this network wants you to log in first, at {at} ({secs} s left)");
        line("portal", &style::red(&what));
    }
}

/// Whom one expected, and what may be behind it. The things to do are more than a screen has room for; `--json` has them.
fn explanation(told: &Value, line: &mut impl FnMut(&str, &str)) {
    let since = told["since"].as_u64().map(UnixTime);
    let since = since.map_or(String::new(), |since| format!(", known since {since}"));
    line("expected", &format!("{}{since}", field(told, "expected")));
    line("perhaps", &field(told, "innocent-cause"));
}

/// What is wrong, why, and what helps.
fn trouble(status: &Value, line: &mut impl FnMut(&str, &str)) {
    if let Some(refusal) = status["refusal"].as_object() {
        let told = |key: &str| refusal.get(key).and_then(Value::as_str).unwrap_or("-");
        let what = format!("{}: {}", told("name"), told("cause"));
        line("refusal", &style::red(&what));
        if status["explanation"].is_object() {
            explanation(&status["explanation"], line);
        }
        line("what helps", told("cure"));
    } else if let Some(down) = status["down"].as_object() {
        let told = |key: &str| down.get(key).and_then(Value::as_str).unwrap_or("-");
        line(
            "because",
            &style::red(&format!("{}: {}", told("reason"), told("cause"))),
        );
        let cure = status["legacy"]["cure"].as_str();
        line("what helps", cure.unwrap_or("zzdot-client doctor"));
    } else if let Some(cure) = status["legacy"]["cure"].as_str() {
        line("what helps", cure);
    }
    let missed = status["legacy"]["ladder"]["missed"].as_array();
    for missed in missed.into_iter().flatten() {
        line(
            "not",
            &format!("{}: {}", field(missed, "rung"), field(missed, "why")),
        );
    }
    if let Some(cause) = status["unremembered"].as_str() {
        let what = format!("not kept: {cause}; a restart would meet the resolver anew");
        line("memory", &style::red(&what));
    }
    if status["down"].is_null()
        && let Some(failure) = status["tls"]["last-failure"].as_str()
    {
        line("connection", failure);
    }
}

fn counts(status: &Value, line: &mut impl FnMut(&str, &str)) {
    let queries = &status["queries"];
    let in_clear = |count: u64, what: String| if count > 0 { style::red(&what) } else { what };
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let cleartext = number(&queries["cleartext"]);
    line(
        "questions",
        &format!(
            "{} encrypted, {}, {} failed",
            number(&queries["encrypted"]),
            in_clear(cleartext, format!("{cleartext} in cleartext")),
            number(&queries["failed"]),
        ),
    );
    let since_boot = number(&status["cleartext-since-boot"]);
    if since_boot != cleartext {
        let what = format!("{since_boot} in cleartext since this machine was booted");
        line("", &in_clear(since_boot, what));
    }
    let mut reasons: Vec<_> = queries["failed-by-reason"]
        .as_object()
        .into_iter()
        .flatten()
        .collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(number(count)));
    for (reason, count) in reasons.into_iter().take(REASONS_SHOWN) {
        line("", &format!("  {count} {reason}"));
    }
}

fn listed(values: &Value) -> String {
    let texts: Vec<_> = values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(" ")
    }
}

fn state(status: &Value) -> String {
    let resolver = &status["resolver"];
    match status["state"].as_str().unwrap_or_default() {
        "strict" | "configured" if status["down"].is_object() => {
            let name = resolver["name"].as_str().unwrap_or("the server configured");
            let at = resolver["endpoint"].as_str().or(status["server"].as_str());
            style::red(&format!(
                "DOWN: no TLS with {name} at {} ({})",
                at.unwrap_or("-"),
                field(&status["down"], "reason")
            ))
        }
        "strict" => format!(
            "{} to {} at {} ({})",
            style::green("private: TLS"),
            field(resolver, "name"),
            field(resolver, "endpoint"),
            field(resolver, "trust-in-words")
        ),
        "configured" => format!("{} as configured", style::green("private: TLS")),
        "legacy" => legacy(status),
        "refused" => style::red("no answers: the server is refused"),
        "pending" => {
            style::red("no answers: the resolver waits for your decision: zzdot-client pending")
        }
        "no-answer" => style::red("no answers: the server is silent"),
        "no-network" => style::red("no answers: there is no network"),
        _ => "finding out who the server is".to_owned(),
    }
}

fn legacy(status: &Value) -> String {
    let legacy = &status["legacy"];
    let cause = field(legacy, "cause");
    let at = field(&legacy["ladder"]["tls"], "address");
    match status["rung"].as_str() {
        Some("cleartext") => {
            style::red(&format!("CLEARTEXT: the server is not upgraded ({cause})"))
        }
        Some("designated") => format!(
            "{} to {} at {at}, which the server designates",
            style::green("private: TLS"),
            field(&legacy["ladder"], "designated")
        ),
        Some(_) => format!("TLS with whoever is at {at}: the server is not upgraded ({cause})"),
        None if legacy["policy"] == "refuse" => {
            format!("no answers: the server is not upgraded ({cause}), and `legacy` says refuse")
        }
        None if legacy["ladder"]["climbing"] == true => {
            "finding out what the server offers".to_owned()
        }
        None => style::red(&format!(
            "no answers: the server is not upgraded ({cause}), and offers nothing that `legacy = \"{}\"` allows",
            field(legacy, "policy")
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// A terminal of old has so many lines.
    const SCREEN: usize = 24;

    /// Where everything goes wrong at once.
    fn worst() -> Value {
        let network = |n: u32| json!({"link": format!("wlan{n}"), "recognised": "suspect", "differs": ["gateway-mac-v4", "ssid"], "server": "192.0.2.1:53"});
        let reasons: serde_json::Map<String, Value> = crate::tally::REASONS
            .iter()
            .map(|reason| ((*reason).to_owned(), json!(3)))
            .collect();
        json!({
            "server": "192.0.2.1:53", "state": "strict", "rung": "known", "listen": ["127.0.0.1:53", "[::1]:53"],
            "resolver": {"name": "8g2l0qv7c4m1t5b9r3se.zz", "endpoint": "192.0.2.1:853", "trust": "provisional", "trust-in-words": "not yet verified"},
            "down": {"reason": "certificate-mismatch", "cause": "another key"},
            "refusal": {"name": "certificate-mismatch", "cause": "another key", "cure": "wait"},
            "explanation": {"expected": "8g2l0qv7c4m1t5b9r3se.zz, not yet verified", "since": 1_800_000_000, "innocent-cause": "it was replaced", "options": ["wait", "compare", "leave"]},
            "unremembered": "no space left", "tls": {"last-failure": "reset"},
            "route": {"policy": "encrypted-to-end", "asks": null, "chain": null},
            "networks": (0..9).map(network).collect::<Vec<_>>(),
            "portal": {"open": true, "address": "https://login.example/", "closes-in-secs": 300},
            "queries": {"encrypted": 1, "cleartext": 2, "failed": 3, "failed-by-reason": reasons},
            "cleartext-since-boot": 9,
        })
    }

    #[test]
    fn the_status_fits_one_screen_however_much_is_wrong() {
        let shown = text(&worst());
        assert!(shown.lines().count() <= SCREEN, "{shown}");
    }

    #[test]
    fn each_rung_is_told_in_words_and_never_as_more_than_it_is() {
        let on = |rung: Value| {
            let mut status = worst();
            status["down"] = Value::Null;
            status["refusal"] = Value::Null;
            status["rung"] = rung;
            privacy(&status)
        };
        assert!(on(json!("verified")).contains("can read or change"));
        assert!(on(json!("known")).contains("if the resolver is the right one"));
        assert!(on(json!("designated")).contains("an authority vouches"));
        assert!(on(json!("opportunistic")).contains("who stands in between could"));
        assert!(on(json!("cleartext")).contains("everybody on the way can read"));
        assert!(on(Value::Null).contains("nothing is sent"));
        assert!(privacy(&worst()).contains("nothing is sent"));
    }

    #[test]
    fn whom_questions_go_to_is_told_where_there_is_a_choice() {
        let told = |policy: &str, asks: Value, chain: Value| {
            let end = json!({"name": "aaaaaaaaaaaaaaaaaaaa.zz"});
            route(&json!({"route": {"policy": policy, "asks": asks, "chain": chain, "end": end}}))
        };
        let looked = || json!({"holds-secs": 3});
        assert_eq!(told("nearest", json!("nearest"), Value::Null), None);
        let end = told("end", json!("end"), looked()).unwrap();
        assert!(end.ends_with("aaaaaaaaaaaaaaaaaaaa.zz"), "{end}");
        let nearest = told("end", json!("nearest"), looked()).unwrap();
        assert!(nearest.contains("cannot be asked"), "{nearest}");
        let unseen = told("end", json!("nearest"), Value::Null).unwrap();
        assert!(unseen.contains("nobody looked"), "{unseen}");
        let all = told("encrypted-to-end", json!("nearest"), looked()).unwrap();
        assert!(all.contains("encrypted to the end"), "{all}");
        let waits = told("encrypted-to-end", Value::Null, Value::Null).unwrap();
        assert!(waits.starts_with("only while"), "{waits}");
    }

    #[test]
    fn a_server_that_is_not_upgraded_is_told_with_what_is_made_of_it() {
        let told = |rung: Value, policy: &str| {
            let ladder = json!({"tls": {"address": "192.0.2.1:853"}, "designated": "dot.example", "climbing": false});
            let status = json!({"state": "legacy", "rung": rung, "legacy": {"cause": "no zone", "policy": policy, "ladder": ladder}});
            state(&status)
        };
        assert!(told(json!("cleartext"), "plain").starts_with("CLEARTEXT: "));
        assert!(
            told(json!("opportunistic"), "plain")
                .starts_with("TLS with whoever is at 192.0.2.1:853")
        );
        assert!(told(json!("designated"), "plain").contains("dot.example at 192.0.2.1:853"));
        assert!(told(Value::Null, "verified").contains("`legacy = \"verified\"`"));
        assert!(told(Value::Null, "refuse").contains("says refuse"));
    }
}
