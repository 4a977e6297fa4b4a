//! `zzdot-client status`: what the daemon is doing.
//!
//! `--json` prints `version`, `listen`, `server`, `state` (`discovering`, `strict`, `legacy`,
//! `refused`, `no-answer`, or `configured` for a server given by `tls://`), `down` (`reason`,
//! `cause`: why a question would not be answered now; null while nothing speaks against it), `walking`,
//! `queries` (`encrypted`, `cleartext`, `failed`, and in `failed-by-reason` the same by the names of
//! the refusals and `no-answer`), `resolver` (as in `resolvers show`), `refusal`, `legacy` (`reason`, `cause`, `policy`, `looks-again-secs`), `unremembered` (why the store did not take what
//! was learned: a restart would not know it), `tls` (the connection and its counters) and
//! `listener` (the counters of the listeners). What does not apply is missing or null.

use clap::Args;
use serde_json::Value;
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

fn text(status: &Value) -> String {
    let queries = &status["queries"];
    let cleartext = queries["cleartext"].as_u64().unwrap_or(0);
    let in_clear = format!("{cleartext} in cleartext");
    let in_clear = if cleartext > 0 {
        style::red(&in_clear)
    } else {
        in_clear
    };
    let mut text = String::new();
    let mut line = |label: &str, value: &str| text.push_str(&format!("{label:<11}{value}\n"));
    line("server", &field(status, "server"));
    line("state", &state(status));
    if let Some(refusal) = status["refusal"].as_object() {
        let told = |key: &str| refusal.get(key).and_then(Value::as_str).unwrap_or("-");
        let what = format!("{}: {}", told("name"), told("cause"));
        line("refusal", &style::red(&what));
        line("what helps", told("cure"));
    }
    if let Some(cause) = status["unremembered"].as_str() {
        let what = format!("not kept: {cause}; a restart would meet the resolver anew");
        line("memory", &style::red(&what));
    }
    line(
        "questions",
        &format!(
            "{} encrypted, {in_clear}, {} failed",
            queries["encrypted"], queries["failed"]
        ),
    );
    for (reason, count) in queries["failed-by-reason"]
        .as_object()
        .into_iter()
        .flatten()
    {
        line("", &format!("  {count} {reason}"));
    }
    if let Some(failure) = status["tls"]["last-failure"].as_str() {
        line("connection", failure);
    }
    line("listening", &field(status, "listen"));
    text
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
        "legacy" if status["legacy"]["policy"] == "refuse" => format!(
            "no answers: the server is not upgraded ({}), and `legacy` says refuse",
            field(&status["legacy"], "cause")
        ),
        "legacy" => style::red(&format!(
            "CLEARTEXT: the server is not upgraded ({})",
            field(&status["legacy"], "cause")
        )),
        "refused" => style::red("no answers: the server is refused"),
        "no-answer" => style::red("no answers: the server is silent"),
        _ => "finding out who the server is".to_owned(),
    }
}
