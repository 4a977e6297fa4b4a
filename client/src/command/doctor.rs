//! `zzdot-client doctor`: what is wrong, and whose fault it is.
//!
//! `--json` prints `ill` and `findings`: each with `area` (`configuration`, `clock`, `routing`, `portal`, `tls`, `dnssec`,
//! `trust`, `privacy`), `verdict` (`good`, `note`, `bad`, `unknown`), `says` and `cure`. Nothing is asked of anybody but the
//! daemon, except whether the port of TLS takes a connection where the daemon has an encrypted one to expect.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use clap::Args;
use hickory_proto::rr::{Name, RecordType};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zzdot_zonegen::clock::{UnixTime, build_date};
use zzdot_zonegen::exit::{Exit, Failure};

use super::daemon::Place;
use super::query::read;
use super::{print, print_json, style};
use crate::control::Request;
use crate::doctor::{Asked, Facts, Finding, Touched, Verdict, examine, is_ill};
use crate::exchange::{ExchangeLimits, udp_then_tcp};
use crate::host::RESOLV_CONF;
use crate::wire::{Edns, QuestionFlags, question};

/// How long a port may take.
const TOUCH: Duration = Duration::from_secs(2);
/// More than the daemon takes to give up on a question.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let facts = gather(&arguments.place).await;
    let findings = examine(&facts);
    let ill = is_ill(&findings);
    if arguments.json {
        print_json(&json!({ "ill": ill, "findings": findings }))?;
    } else {
        print(&text(&findings))?;
    }
    Ok(if ill { Exit::CannotRun } else { Exit::Done })
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => style::green("ok  "),
            Verdict::Note => "note".to_owned(),
            Verdict::Bad => style::red("BAD "),
            Verdict::Unknown => "?   ".to_owned(),
        };
        text.push_str(&format!(
            "{mark}  {:<14}{}\n",
            finding.area.to_string(),
            finding.says
        ));
        if let Some(cure) = &finding.cure {
            text.push_str(&format!("{:20}-> {cure}\n", ""));
        }
    }
    text
}

async fn gather(place: &Place) -> Facts {
    let config = place.check();
    let daemon = match place.ask(&Request::new("status")).await {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("the daemon is not running".to_owned()),
        Err(failure) => Err(failure.message),
    };
    let status = daemon.as_ref().ok();
    let server = status.and_then(|status| address(&status["server"]));
    let dot = match status.and_then(dot_address) {
        Some(at) => Some((at, touch(at).await)),
        None => None,
    };
    let listener = status.and_then(|status| address(&status["listen"][0]));
    let question = match listener {
        Some(listener) => Some(ask(listener).await),
        None => None,
    };
    Facts {
        config,
        asked: name_servers(),
        clock: UnixTime::now(),
        built: build_date(),
        route: server.map(route_to),
        dot,
        question,
        daemon,
    }
}

fn address(value: &Value) -> Option<SocketAddr> {
    value.as_str()?.parse().ok()
}

/// Where an encrypted answer is expected from.
fn dot_address(status: &Value) -> Option<SocketAddr> {
    address(&status["resolver"]["endpoint"]).or_else(|| match status["state"].as_str() {
        Some("configured") => address(&status["server"]),
        _ => address(&status["legacy"]["ladder"]["tls"]["address"]),
    })
}

fn name_servers() -> Result<Vec<IpAddr>, String> {
    let wrong = |problem: String| format!("{RESOLV_CONF}: {problem}");
    let text = std::fs::read(RESOLV_CONF).map_err(|error| wrong(error.to_string()))?;
    let parsed = resolv_conf::Config::parse(text).map_err(|error| wrong(error.to_string()))?;
    let servers = parsed.nameservers.iter();
    Ok(servers.map(IpAddr::from).collect())
}

/// Whether the system would know where to send a datagram. None is sent.
fn route_to(server: SocketAddr) -> Result<(), String> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0))
        .and_then(|socket| socket.connect(server))
        .map_err(|error| error.to_string())
}

async fn touch(at: SocketAddr) -> Touched {
    match timeout(TOUCH, TcpStream::connect(at)).await {
        Ok(Ok(_)) => Touched::Open,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Touched::Refused,
        Ok(Err(error)) => Touched::Failed(error.to_string()),
        Err(_) => Touched::Silent,
    }
}

/// The name servers of the root: every resolver knows them, and asking for them says nothing.
async fn ask(listener: SocketAddr) -> Asked {
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    let edns = Edns::plain(false);
    let query = question(0, &Name::root(), RecordType::NS, flags, Some(&edns));
    let limits = ExchangeLimits {
        udp_tries: 1,
        ..ExchangeLimits::default()
    };
    let Ok(reply) = udp_then_tcp(listener, &query, &limits, Instant::now() + PATIENCE).await else {
        return Asked::Silence;
    };
    match read(listener, &reply.message) {
        Ok(told) => Asked::Answered {
            rcode: text_of(&told.json["rcode"]),
            errors: told.json["extended-errors"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text_of)
                .collect(),
        },
        Err(_) => Asked::Silence,
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
