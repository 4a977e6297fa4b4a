//! What is wrong, and whose fault it is: the findings of `zzdot-client doctor`. Without IO: facts in, findings out.
//!
//! A name that does not resolve has many possible causes, and the cure for one makes another worse. So each check belongs
//! to an area, the checks go from the machine outwards, and what cannot be known because an earlier check failed is said
//! not to be known.

mod area;

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use serde_json::Value;
use zzdot_zonegen::clock::UnixTime;

use crate::tally::REASONS;

pub use area::{Area, area_of};

/// A clock so far behind the build of this program is not believed to be right.
const AGE_MAX_SECS: u64 = 15 * 365 * 86_400;

/// What was found out on the machine and around it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What is wrong with the configuration file; none where it is fine, or there is none.
    pub config: Result<(), String>,
    /// The daemon's status; or why there is none.
    pub daemon: Result<Value, String>,
    /// The name servers that applications ask, from `/etc/resolv.conf`; or why that cannot be read.
    pub asked: Result<Vec<IpAddr>, String>,
    /// What the clock shows.
    pub clock: UnixTime,
    /// When this program was built.
    pub built: UnixTime,
    /// Whether the system has a route to the server; none where there is no server.
    pub route: Option<Result<(), String>>,
    /// What happened on the port of TLS; none where nobody is expected there.
    pub dot: Option<(SocketAddr, Touched)>,
    /// What became of a question through the daemon; none where it does not run.
    pub question: Option<Asked>,
}

/// How a port answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// A connection came about.
    Open,
    /// Somebody says that nobody is there.
    Refused,
    /// Nobody says anything.
    Silent,
    /// The system says why not.
    Failed(String),
}

/// What a question came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An answer with this code, and the texts of its extended errors.
    Answered {
        /// The code by name.
        rcode: String,
        /// RFC 8914.
        errors: Vec<String>,
    },
    /// None came.
    Silence,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, and somebody should know this.
    Note,
    /// It does not.
    Bad,
    /// An earlier fault hides it.
    Unknown,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Whose fault it would be.
    pub area: Area,
    /// How it went.
    pub verdict: Verdict,
    /// What was found, in a sentence without a full stop.
    pub says: String,
    /// What helps, where something does.
    pub cure: Option<String>,
}

impl Finding {
    fn new(area: Area, verdict: Verdict, says: impl Into<String>) -> Self {
        Self {
            area,
            verdict,
            says: says.into(),
            cure: None,
        }
    }

    fn with_cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

/// All checks, from the machine outwards.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![configuration(facts), clock(facts)];
    let Ok(status) = &facts.daemon else {
        findings.push(daemon(facts));
        findings.extend(
            [
                Area::Routing,
                Area::Portal,
                Area::Tls,
                Area::Dnssec,
                Area::Trust,
            ]
            .map(|area| {
                Finding::new(
                    area,
                    Verdict::Unknown,
                    "not known while the daemon does not run",
                )
            }),
        );
        return findings;
    };
    findings.push(asked_by_applications(facts, status));
    findings.push(routing(facts, status));
    findings.push(portal(status));
    let fault = fault(status);
    findings.push(tls(facts, status, fault.as_ref()));
    for area in [Area::Dnssec, Area::Trust] {
        findings.push(judged(area, status, fault.as_ref()));
    }
    // A fault whose area was checked by other means already shows up there.
    if let Some(fault) = &fault
        && matches!(fault.area, Area::Clock | Area::Configuration)
    {
        findings.push(fault.finding());
    }
    findings.push(privacy(status, fault.as_ref()));
    findings.extend(question(facts));
    findings
}

/// Whether something is wrong.
#[must_use]
pub fn is_ill(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Bad)
}

/// Why the daemon would not answer a question, as its status has it.
struct Fault {
    area: Area,
    reason: String,
    cause: String,
    cure: Option<String>,
}

impl Fault {
    fn finding(&self) -> Finding {
        let says = format!("{} ({})", self.cause, self.reason);
        Finding {
            cure: self.cure.clone(),
            ..Finding::new(self.area, Verdict::Bad, says)
        }
    }
}

fn fault(status: &Value) -> Option<Fault> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let refusal = &status["refusal"];
    let down = &status["down"];
    let reason = text(&down["reason"]).or_else(|| text(&refusal["name"]))?;
    let told = refusal["name"] == reason.as_str();
    Some(Fault {
        area: area_of(&reason),
        cause: text(&down["cause"])
            .or_else(|| text(&refusal["cause"]))
            .unwrap_or_default(),
        cure: text(&refusal["cure"])
            .filter(|_| told)
            .or_else(|| text(&status["legacy"]["cure"])),
        reason,
    })
}

fn configuration(facts: &Facts) -> Finding {
    match &facts.config {
        Ok(()) => Finding::new(
            Area::Configuration,
            Verdict::Good,
            "the configuration is sound",
        ),
        Err(problem) => Finding::new(Area::Configuration, Verdict::Bad, problem)
            .with_cure("correct the file; `zzdot-client check` reads it again"),
    }
}

fn daemon(facts: &Facts) -> Finding {
    let why = facts.daemon.as_ref().err().cloned().unwrap_or_default();
    Finding::new(Area::Configuration, Verdict::Bad, why)
        .with_cure("start it: systemctl start zzdot-client, or zzdot-client run")
}

fn clock(facts: &Facts) -> Finding {
    let (clock, built) = (facts.clock, facts.built);
    if clock < built {
        let says = format!("the clock shows {clock}, but this program was made {built}");
        return Finding::new(Area::Clock, Verdict::Bad, says).with_cure("set the clock");
    }
    if clock.0 - built.0 > AGE_MAX_SECS {
        let says = format!("the clock shows {clock}, long after this program was made ({built})");
        return Finding::new(Area::Clock, Verdict::Bad, says)
            .with_cure("set the clock, or install a newer version");
    }
    Finding::new(
        Area::Clock,
        Verdict::Good,
        format!("the clock may be right: {clock}"),
    )
}

fn asked_by_applications(facts: &Facts, status: &Value) -> Finding {
    let area = Area::Configuration;
    let listening: Vec<IpAddr> = status["listen"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|address| address.as_str()?.parse::<SocketAddr>().ok())
        .map(|address| address.ip())
        .collect();
    match &facts.asked {
        Err(problem) => Finding::new(area, Verdict::Note, problem),
        Ok(servers) => match servers.first() {
            Some(first)
                if listening.contains(first) && servers.iter().all(|ip| listening.contains(ip)) =>
            {
                Finding::new(area, Verdict::Good, "applications ask this program")
            }
            Some(first) if listening.contains(first) => Finding::new(
                area,
                Verdict::Note,
                format!(
                    "applications ask this program first, and others when it says no: {}",
                    list(servers)
                ),
            )
            .with_cure("leave only this program in /etc/resolv.conf: zzdot-client front put"),
            Some(_) => Finding::new(
                area,
                Verdict::Note,
                format!(
                    "applications ask {}, which may or may not ask this program",
                    list(servers)
                ),
            )
            .with_cure("let applications ask this program: zzdot-client front put"),
            None => Finding::new(area, Verdict::Note, "applications are told no name server")
                .with_cure("let applications ask this program: zzdot-client front put"),
        },
    }
}

fn routing(facts: &Facts, status: &Value) -> Finding {
    let area = Area::Routing;
    let server = status["server"].as_str().unwrap_or("the resolver");
    if status["state"] == "no-network" {
        return Finding::new(
            area,
            Verdict::Bad,
            "there is no network whose name server could be asked",
        )
        .with_cure("connect to a network, and see that it gives a name server");
    }
    match &facts.route {
        Some(Err(problem)) => Finding::new(
            area,
            Verdict::Bad,
            format!("no route to {server}: {problem}"),
        )
        .with_cure("see that the network is up: ip route"),
        _ if status["state"] == "no-answer" => Finding::new(
            area,
            Verdict::Bad,
            format!("{server} does not answer, though there is a route"),
        )
        .with_cure("see that it runs, and that no firewall is between"),
        Some(Ok(())) => Finding::new(area, Verdict::Good, format!("there is a route to {server}")),
        None => Finding::new(area, Verdict::Unknown, "no server is known yet"),
    }
}

fn portal(status: &Value) -> Finding {
    let area = Area::Portal;
    let portal = &status["portal"];
    let address = portal["address"]
        .as_str()
        .or(status["network"]["captive-portal"].as_str());
    if portal["open"] == true {
        let at = address
            .map(|address| format!(" at {address}"))
            .unwrap_or_default();
        return Finding::new(
            area,
            Verdict::Bad,
            format!("this network wants you to log in first{at}"),
        )
        .with_cure("log in there with a browser; only the names of that page resolve meanwhile");
    }
    match address {
        Some(address) => Finding::new(
            area,
            Verdict::Note,
            format!("this network has a page to log in at: {address}"),
        ),
        None => Finding::new(area, Verdict::Good, "no sign of a page to log in first"),
    }
}

fn tls(facts: &Facts, status: &Value, fault: Option<&Fault>) -> Finding {
    let area = Area::Tls;
    if let Some(fault) = fault.filter(|fault| fault.area == area) {
        let mut finding = fault.finding();
        if let Some((at, touched)) = &facts.dot {
            finding.says += &match touched {
                Touched::Open => format!("; {at} takes connections now"),
                Touched::Refused => {
                    format!("; {at} refuses connections: the service is not running there")
                }
                Touched::Silent => format!(
                    "; {at} is silent: the machine is off, or a firewall drops what is sent"
                ),
                Touched::Failed(why) => format!("; {at}: {why}"),
            };
        }
        return finding;
    }
    let connected = status["tls"]["connected"] == true
        || status["legacy"]["ladder"]["tls"]["connected"] == true;
    match (status["rung"].as_str(), &facts.dot) {
        (Some("cleartext"), _) => {
            Finding::new(area, Verdict::Note, "TLS is not used with this server")
        }
        (Some(_), _) if connected => Finding::new(area, Verdict::Good, "there is a TLS connection"),
        (Some(_), Some((at, Touched::Open))) => Finding::new(
            area,
            Verdict::Good,
            format!("{at} takes connections; there is none at the moment"),
        ),
        (Some(_), Some((at, _))) => {
            Finding::new(area, Verdict::Bad, format!("{at} takes no connections"))
                .with_cure("see that the resolver runs and that no firewall is between")
        }
        _ => Finding::new(area, Verdict::Unknown, "not known yet"),
    }
}

fn judged(area: Area, status: &Value, fault: Option<&Fault>) -> Finding {
    if let Some(fault) = fault.filter(|fault| fault.area == area) {
        return fault.finding();
    }
    let resolver = &status["resolver"];
    match (area, status["state"].as_str()) {
        (Area::Dnssec, Some("strict")) => {
            let until = resolver["signatures-expire"].as_str().unwrap_or("-");
            let says =
                format!("what the resolver publishes is signed as it should be, until {until}");
            Finding::new(area, Verdict::Good, says)
        }
        (Area::Trust, Some("strict")) if resolver["trust"] == "provisional" => Finding::new(
            area,
            Verdict::Note,
            "the resolver is the one met first, and nobody verified that it is the right one",
        )
        .with_cure("compare its phrase or scan its code: zzdot-client verify"),
        (Area::Trust, Some("strict" | "configured")) => {
            Finding::new(area, Verdict::Good, "the resolver is the right one")
        }
        (_, Some("legacy" | "configured")) => {
            Finding::new(area, Verdict::Good, "nothing to judge with this server")
        }
        _ => Finding::new(
            area,
            Verdict::Unknown,
            "not known while no resolver is in use",
        ),
    }
}

fn privacy(status: &Value, fault: Option<&Fault>) -> Finding {
    let area = Area::Privacy;
    if let Some(fault) = fault.filter(|fault| fault.area == area) {
        return fault.finding();
    }
    let since_boot = status["cleartext-since-boot"].as_u64().unwrap_or(0);
    let counted = format!("{since_boot} questions left in cleartext since this machine was booted");
    match status["rung"].as_str() {
        Some("cleartext") => Finding::new(
            area,
            Verdict::Note,
            format!("everybody on the way can read what is asked; {counted}"),
        )
        .with_cure(
            status["legacy"]["cure"]
                .as_str()
                .unwrap_or("install zzdot on the router, or set `legacy` in the configuration"),
        ),
        Some("opportunistic") => Finding::new(
            area,
            Verdict::Note,
            format!("questions are encrypted, but nobody knows to whom; {counted}"),
        ),
        Some(_) => Finding::new(
            area,
            Verdict::Good,
            format!("questions are private; {counted}"),
        ),
        None => Finding::new(area, Verdict::Good, format!("nothing is asked; {counted}")),
    }
}

fn question(facts: &Facts) -> Option<Finding> {
    Some(match facts.question.as_ref()? {
        Asked::Silence => Finding::new(
            Area::Configuration,
            Verdict::Bad,
            "the daemon runs, and does not answer a question",
        )
        .with_cure("see whether a firewall on this machine drops what goes to its address"),
        Asked::Answered { rcode, .. } if rcode == "NOERROR" => {
            Finding::new(Area::Routing, Verdict::Good, "a question was answered")
        }
        Asked::Answered { rcode, errors } => {
            let reason = errors.first().map_or("", String::as_str);
            let name = reason.split(':').next().unwrap_or_default();
            if REASONS.contains(&name) {
                let says = format!("a question was answered with {rcode}: {reason}");
                return Some(Finding::new(area_of(name), Verdict::Bad, says));
            }
            // Not a reason of this program: it comes from the other side, which was reached.
            let says = format!("the resolver answered a question with {rcode}: {reason}");
            Finding::new(
                Area::Routing,
                Verdict::Bad,
                says.trim_end_matches([':', ' ']),
            )
            .with_cure("look behind the resolver: `zzdot status` there tells of its upstreams")
        }
    })
}

fn list(servers: &[IpAddr]) -> String {
    let texts: Vec<_> = servers.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
