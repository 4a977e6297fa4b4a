//! Of several servers, which one is asked about a name, and why.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::json::{Trace, TraceError};

/// The most servers that are read, and the most domains of each.
const SERVERS_MAX: usize = 4096;

/// What is asked of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Chosen {
    /// The name that somebody wants to know about; none where it is about all that no domain sends elsewhere.
    pub name: Option<String>,
    /// The domain that decides; none where none does.
    pub domain: Option<String>,
    /// The link that names the domain; none where the configuration does, or no domain decides.
    pub link: Option<String>,
    /// How many other servers are asked about other names.
    pub others: usize,
}

/// A server, what is asked of it, and the chain behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TracedServer {
    /// The server; none where nobody is asked now.
    pub server: Option<SocketAddr>,
    /// The link that leads to it, where the host says so.
    pub link: Option<String>,
    /// Whether everything is asked of it that no domain sends elsewhere.
    pub default: bool,
    /// The domains whose names are asked of it.
    pub domains: Vec<TracedDomain>,
    /// The chain behind it; none where nobody could look.
    pub trace: Option<Trace>,
    /// Why not, in a sentence without a full stop.
    pub fault: Option<String>,
    /// The name of the reason, where the server is not trusted.
    pub reason: Option<String>,
}

/// A domain whose names go a way of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TracedDomain {
    /// The domain.
    pub domain: String,
    /// The link that names it; none where the configuration does.
    pub link: Option<String>,
}

impl Chosen {
    /// Why it is that server; none where there is nothing to choose.
    pub(super) fn sentence(&self, server: SocketAddr) -> Option<String> {
        let Self {
            name,
            domain,
            link,
            others,
        } = self;
        let what = name.as_deref().unwrap_or("everything else");
        match (domain, link) {
            (None, _) if name.is_none() && *others == 0 => None,
            (None, _) => Some(format!(
                "{what} is asked of {server}: no domain sends it elsewhere"
            )),
            (Some(domain), None) => Some(format!(
                "{what} is asked of {server}: `[[elsewhere]]` in the configuration names it for {domain}"
            )),
            (Some(domain), Some(link)) => Some(format!(
                "{what} is asked of {server}: {link} names it for {domain}"
            )),
        }
    }
}

impl TracedServer {
    /// Reads what a daemon told, which may be of another version.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn read(told: serde_json::Value) -> Result<Vec<Self>, TraceError> {
        let mut servers: Vec<Self> =
            serde_json::from_value(told).map_err(|error| TraceError::new(error.to_string()))?;
        let large = |server: &Self| server.domains.len() > SERVERS_MAX;
        if servers.len() > SERVERS_MAX || servers.iter().any(large) {
            return Err(TraceError::new("it is too large".to_owned()));
        }
        for server in &mut servers {
            server.trace = server.trace.take().map(Trace::checked).transpose()?;
        }
        Ok(servers)
    }

    /// What is asked of it.
    pub(super) fn heading(&self) -> String {
        let mut asked: Vec<String> = Vec::new();
        asked.extend(self.default.then(|| "everything else".to_owned()));
        asked.extend(self.domains.iter().map(ToString::to_string));
        let who = match (&self.server, &self.link) {
            (Some(server), Some(link)) => format!("{server} over {link}"),
            (Some(server), None) => server.to_string(),
            (None, _) => "nobody".to_owned(),
        };
        match asked.is_empty() {
            true => format!("{who} is asked about nothing now"),
            false => format!("{who} is asked about {}", asked.join(", ")),
        }
    }
}

impl fmt::Display for TracedDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.link {
            Some(link) => write!(f, "{} (named by {link})", self.domain),
            None => write!(f, "{} (`[[elsewhere]]`)", self.domain),
        }
    }
}
