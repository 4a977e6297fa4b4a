//! `zzdot-client query NAME [TYPE]`: one question through the daemon, as any program asks it.
//!
//! `--json` prints `server`, `rcode`, `authenticated` (AD), `extended-errors` (texts of RFC 8914)
//! and `answers`: each with `name`, `ttl`, `type` and `data`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use serde_json::{Value, json};
use zzdot_zonegen::exit::{Exit, Failure};

use super::daemon::Place;
use super::{cannot_run, print, print_json};
use crate::config::{DNS_PORT, address_and_port};
use crate::control::Request;
use crate::exchange::{ExchangeLimits, udp_then_tcp};
use crate::wire::{Edns, QuestionFlags, View, question};

/// The number of the extended error option (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;
/// More than the daemon takes to give up.
const PATIENCE: Duration = Duration::from_secs(8);
const RCODE_NOERROR: u16 = 0;
const RCODE_NXDOMAIN: u16 = 3;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The name
    name: Name,
    /// The type
    #[arg(value_name = "TYPE", default_value = "A", value_parser = record_type)]
    rtype: RecordType,
    /// Ask here, in cleartext, instead of asking the daemon
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = address)]
    at: Option<SocketAddr>,
    #[command(flatten)]
    place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn record_type(text: &str) -> Result<RecordType, String> {
    let upper = text.to_ascii_uppercase();
    let number = upper
        .strip_prefix("TYPE")
        .and_then(|digits| digits.parse::<u16>().ok());
    match number {
        Some(number) => Ok(RecordType::from(number)),
        None => upper
            .parse()
            .map_err(|_| "a type such as AAAA or TYPE65280 is expected".to_owned()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    address_and_port(text, DNS_PORT)
        .ok_or_else(|| "an address such as 127.0.0.1 or [::1]:53 is expected".to_owned())
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let server = match arguments.at {
        Some(server) => server,
        None => listener(&arguments.place).await?,
    };
    let mut name = arguments.name.clone();
    name.set_fqdn(true);
    let flags = QuestionFlags {
        rd: true,
        cd: false,
        ad: true,
    };
    let edns = Edns::plain(false);
    let query = question(0, &name, arguments.rtype, flags, Some(&edns));
    let limits = ExchangeLimits {
        udp_tries: 1,
        ..ExchangeLimits::default()
    };
    let reply = udp_then_tcp(server, &query, &limits, Instant::now() + PATIENCE)
        .await
        .map_err(|error| cannot_run(error.to_string()))?;
    let answer = read(server, &reply.message)
        .map_err(|error| cannot_run(format!("{server}: the answer cannot be read: {error}")))?;
    if arguments.json {
        print_json(&answer.json)?;
    } else {
        print(&answer.text)?;
    }
    if matches!(answer.rcode, RCODE_NOERROR | RCODE_NXDOMAIN) {
        Ok(Exit::Done)
    } else {
        Err(cannot_run(format!("{server}: {}", answer.verdict)))
    }
}

async fn listener(place: &Place) -> Result<SocketAddr, Failure> {
    let status = place.ask_running(&Request::new("status")).await?;
    status["listen"][0]
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| cannot_run("the daemon does not say where it listens"))
}

pub(super) struct Told {
    rcode: u16,
    /// The code with its explanations.
    verdict: String,
    text: String,
    pub(super) json: Value,
}

/// What an answer says.
pub(super) fn read(server: SocketAddr, message: &[u8]) -> Result<Told, Box<dyn std::error::Error>> {
    let view = View::parse(message)?;
    let edns = view.edns()?;
    let upper = edns.map_or(0, |edns| u16::from(edns.extended_rcode));
    let errors: Vec<String> = edns
        .into_iter()
        .flat_map(|edns| edns.options().collect::<Vec<_>>())
        .filter(|(code, _)| *code == EXTENDED_ERROR)
        .map(|(_, content)| extended_error(content))
        .collect();
    let decoded = Message::from_vec(message)?;
    let rcode = upper << 4 | view.rcode();
    let name = rcode_name(rcode);
    let mut text = String::new();
    let mut answers = Vec::new();
    for record in &decoded.answers {
        text.push_str(&format!("{record}\n"));
        answers.push(json!({
            "name": record.name.to_string(),
            "ttl": record.ttl,
            "type": record.record_type().to_string(),
            "data": record.data.to_string(),
        }));
    }
    let mut verdict = name.clone();
    if !errors.is_empty() {
        verdict.push_str(&format!(" ({})", errors.join("; ")));
    }
    if decoded.answers.is_empty() {
        text.push_str(&format!("no records: {verdict}\n"));
    }
    Ok(Told {
        rcode,
        verdict,
        text,
        json: json!({
            "server": server,
            "rcode": name,
            "authenticated": view.authentic_data(),
            "extended-errors": errors,
            "answers": answers,
        }),
    })
}

/// The name that other tools use too.
fn rcode_name(rcode: u16) -> String {
    match rcode {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        16 => "BADVERS".to_owned(),
        other => format!("RCODE{other}"),
    }
}

fn extended_error(content: &[u8]) -> String {
    let code = content
        .first_chunk()
        .map_or(0, |code| u16::from_be_bytes(*code));
    let text = String::from_utf8_lossy(content.get(2..).unwrap_or_default());
    // It comes from afar and goes to a terminal.
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if text.is_empty() {
        format!("extended error {code}")
    } else {
        text
    }
}
