//! The client's configuration: what the file may say, and what is made of it.
//!
//! Every key has a default, so that an empty file, or none, is a configuration.

mod address;
mod choices;
mod places;
mod proof;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config_file::{self, ConfigFileError};
use crate::dot::Endpoint;
use crate::host::Elsewhere;
use crate::host::front::FrontSetting;
use crate::portal::ProbeUrl;
use crate::session::Policy;
use crate::stub::StubLimits;

pub use address::{MetricsAddress, address_and_port};
pub use choices::{Askers, FirstUse, LegacyPolicy, RoutePolicy};
pub use places::{control_socket, state_dir};
pub(crate) use proof::native_roots;
pub use proof::parse_pin;

use address::{ListenAddress, ServerSetting};
use proof::{Pins, proof};

/// The port of plain DNS.
pub const DNS_PORT: u16 = 53;

/// The file as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    listen: Vec<ListenAddress>,
    server: ServerSetting,
    pin: Option<Pins>,
    ca_file: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    control_socket: Option<PathBuf>,
    metrics: Option<MetricsAddress>,
    legacy: LegacyPolicy,
    first_use: FirstUse,
    route: RoutePolicy,
    front: FrontSetting,
    elsewhere: Vec<Elsewhere>,
    askers: Askers,
    cache: CacheSettings,
    portal: PortalSettings,
    limits: StubLimits,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: vec![
                ListenAddress(SocketAddr::from(([127, 0, 0, 1], DNS_PORT))),
                ListenAddress(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, DNS_PORT))),
            ],
            server: ServerSetting::System,
            pin: None,
            ca_file: None,
            state_dir: None,
            control_socket: None,
            metrics: None,
            legacy: LegacyPolicy::default(),
            first_use: FirstUse::default(),
            route: RoutePolicy::default(),
            front: FrontSetting::default(),
            elsewhere: Vec::new(),
            askers: Askers::Loopback,
            cache: CacheSettings::default(),
            portal: PortalSettings::default(),
            limits: StubLimits::default(),
        }
    }
}

/// The configuration of `zzdot-client run`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where askers are listened to, over UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Who answers.
    pub server: Server,
    /// Where things are remembered, if the file says so.
    pub state_dir: Option<PathBuf>,
    /// Where the control socket is, if the file says so.
    pub control_socket: Option<PathBuf>,
    /// Where numbers are told, to whoever reaches it; nowhere by default.
    pub metrics: Option<SocketAddr>,
    /// What to do with a server that is not upgraded.
    pub legacy: LegacyPolicy,
    /// What to do with an upgraded one that nobody knows.
    pub first_use: FirstUse,
    /// Whom to ask where the resolver is a forwarder.
    pub route: RoutePolicy,
    /// How `zzdot-client front put` gets in front of the host's resolvers.
    pub front: FrontSetting,
    /// Names that go elsewhere.
    pub elsewhere: Vec<Elsewhere>,
    /// Who may ask.
    pub askers: Askers,
    /// Which answers are kept.
    pub cache: CacheSettings,
    /// How pages are found that want people to log in first.
    pub portal: PortalSettings,
    /// The bounds of the daemon.
    pub limits: StubLimits,
}

/// Who answers.
#[derive(Clone, Debug)]
pub enum Server {
    /// The name server that the system was given: the first of `/etc/resolv.conf` that is not this
    /// program. To be discovered.
    System,
    /// The server at this address. To be discovered.
    Address(SocketAddr),
    /// A server of DNS over TLS whose proof somebody configured. Nothing to discover.
    Tls(Endpoint),
}

/// Which answers are kept: the table `[cache]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CacheSettings {
    /// Memory for answers; 0 means that none are kept, since the resolver is near.
    pub bytes: usize,
}

/// How pages are found that want people to log in first: the table `[portal]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PortalSettings {
    /// What is fetched on a network that is new, by plain HTTP: a page that answers 200 or 204, and is redirected by
    /// portals alone. Nothing is fetched by default.
    pub probe: Option<ProbeUrl>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// Two settings do not go together, or one refers to something that is not there.
    #[error("{}: {key}: {problem}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The key at fault.
        key: &'static str,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], which names the file, and the line where it can.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::from_file(path, config_file::load(path)?)
    }

    /// The configuration of those who have none.
    ///
    /// # Errors
    /// None that are known; the defaults go through the same checks as a file.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::from_file(Path::new("defaults"), File::default())
    }

    /// What it says about strangers.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            legacy: self.legacy,
            first_use: self.first_use,
            route: self.route,
        }
    }

    fn from_file(path: &Path, file: File) -> Result<Self, ConfigError> {
        let wrong = |key, problem: String| ConfigError::Setting {
            path: path.to_owned(),
            key,
            problem,
        };
        if file.listen.is_empty() {
            let problem = "found nothing; at least one ADDRESS:PORT is needed".to_owned();
            return Err(wrong("listen", problem));
        }
        let listen: Vec<SocketAddr> = file.listen.iter().map(|listen| listen.0).collect();
        let server = match file.server {
            ServerSetting::Tls { address, name } => {
                let proof = proof(&name, file.pin, file.ca_file.as_deref())
                    .map_err(|problem| wrong("ca-file", problem))?;
                Server::Tls(Endpoint {
                    address,
                    server_name: Some(name),
                    proof,
                })
            }
            _ if file.pin.is_some() || file.ca_file.is_some() => {
                let key = if file.pin.is_some() { "pin" } else { "ca-file" };
                let problem = "is only allowed with server = \"tls://ADDRESS#NAME\"".to_owned();
                return Err(wrong(key, problem));
            }
            ServerSetting::Address(address) => Server::Address(address),
            ServerSetting::System => Server::System,
        };
        if matches!(server, Server::Tls(_)) && file.route != RoutePolicy::Nearest {
            let problem = format!(
                "found \"{}\"; only \"nearest\" is allowed with server = \"tls://ADDRESS#NAME\": nobody finds out there who \
                 the server is, and so not whom it asks. Leave `route` out, or, where the server says who it is, write \
                 server = \"{}\", and vouch for it with `zzdot-client verify`",
                file.route.name(),
                server_address(&server)
            );
            return Err(wrong("route", problem));
        }
        let address = match &server {
            Server::System => None,
            Server::Address(address) => Some(*address),
            Server::Tls(endpoint) => Some(endpoint.address),
        };
        if let Some(address) = address.filter(|address| listen.contains(address)) {
            let problem = format!(
                "{address} is one of the addresses to listen on: questions would go in a circle"
            );
            return Err(wrong("server", problem));
        }
        let mut elsewhere = file.elsewhere.iter().map(|entry| entry.server);
        if let Some(server) = elsewhere.find(|server| listen.contains(server)) {
            let problem = format!(
                "{server} is one of the addresses to listen on: questions would go in a circle"
            );
            return Err(wrong("elsewhere", problem));
        }
        Ok(Self {
            listen,
            server,
            state_dir: file.state_dir,
            control_socket: file.control_socket,
            metrics: file.metrics.map(|metrics| metrics.0),
            legacy: file.legacy,
            first_use: file.first_use,
            route: file.route,
            front: file.front,
            elsewhere: file.elsewhere,
            askers: file.askers,
            cache: file.cache,
            portal: file.portal,
            limits: file.limits,
        })
    }
}

/// The address alone, for a message.
fn server_address(server: &Server) -> String {
    match server {
        Server::System => "system".to_owned(),
        Server::Address(address) => address.ip().to_string(),
        Server::Tls(endpoint) => endpoint.address.ip().to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::dot::{DOT_PORT, PeerProof};

    fn config(text: &str) -> Result<Config, String> {
        let path = Path::new("client.toml");
        config_file::parse(path, text)
            .map_err(ConfigError::from)
            .and_then(|file| Config::from_file(path, file))
            .map_err(|error| error.to_string())
    }

    const PIN: &str = "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn an_empty_file_is_a_configuration() {
        let config = config("").unwrap();
        assert_eq!(config.listen.len(), 2);
        assert!(
            config
                .listen
                .iter()
                .all(|address| address.ip().is_loopback())
        );
        assert!(matches!(config.server, Server::System));
        assert_eq!(config.legacy, LegacyPolicy::Plain);
        assert_eq!(config.askers, Askers::Loopback);
        assert_eq!(config.cache.bytes, 0, "nothing is kept");
    }

    #[test]
    fn addresses_come_with_and_without_ports() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            match config(&format!("server = \"{text}\"")).unwrap().server {
                Server::Address(address) => assert_eq!(address.to_string(), expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn names_go_elsewhere_and_the_way_to_the_front_is_chosen() {
        let text = "front = \"network-manager\"\n[[elsewhere]]\ndomains = [\"corp.example\", \"~lab\"]\nserver = \"192.0.2.9\"";
        let parsed = config(text).unwrap();
        assert_eq!(parsed.front, FrontSetting::NetworkManager);
        assert_eq!(parsed.elsewhere[0].server.to_string(), "192.0.2.9:53");
        assert_eq!(parsed.elsewhere[0].domains[1].to_string(), "lab");
        let circle = "[[elsewhere]]\ndomains = [\"lan\"]\nserver = \"127.0.0.1\"";
        assert!(config(circle).unwrap_err().contains("in a circle"));
    }

    #[test]
    fn a_configured_tls_server_is_proven_by_its_pin() {
        let text = format!("server = \"tls://192.0.2.1:8853#dns.example\"\npin = \"{PIN}\"");
        match config(&text).unwrap().server {
            Server::Tls(endpoint) => {
                assert_eq!(endpoint.address.to_string(), "192.0.2.1:8853");
                assert_eq!(endpoint.server_name.unwrap().to_str(), "dns.example");
                assert!(matches!(endpoint.proof, PeerProof::Spki(pins) if pins[0][31] == 31));
            }
            other => panic!("{other:?}"),
        }
        let text = format!("server = \"tls://[2001:db8::1]#dns.example\"\npin = [\"{PIN}\"]");
        match config(&text).unwrap().server {
            Server::Tls(endpoint) => assert_eq!(endpoint.address.port(), DOT_PORT),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mistakes_are_told_with_line_key_and_what_is_allowed() {
        for (text, parts) in [
            (
                "server = \"dns.example\"",
                ["client.toml:1: server: found \"dns.example\"", "tls://"],
            ),
            (
                "server = \"tls://192.0.2.1\"",
                ["client.toml:1: server: found", "#NAME"],
            ),
            (
                "server = \"0.0.0.0\"",
                ["client.toml:1: server: found", "nobody"],
            ),
            (
                "\nlisten = [\"0.0.0.0:53\"]",
                ["client.toml:2: listen: found \"0.0.0.0:53\"", "not all"],
            ),
            (
                "listen = []",
                ["client.toml: listen: found nothing", "ADDRESS:PORT"],
            ),
            (
                "legacy = \"yes\"",
                ["client.toml:1: legacy: ", "`plain`, `encrypted`"],
            ),
            (
                "route = \"far\"",
                ["client.toml:1: route: ", "`encrypted-to-end`"],
            ),
            (
                "server = \"tls://192.0.2.1#dns.example\"\nroute = \"end\"",
                ["client.toml: route: found \"end\"", "\"nearest\""],
            ),
            (
                "server = \"tls://[2001:db8::1]:8853#dns.example\"\nroute = \"encrypted-to-end\"",
                ["not whom it asks", "write server = \"2001:db8::1\", and"],
            ),
            (
                "front = \"yes\"",
                ["client.toml:1: front: ", "`network-manager`"],
            ),
            (
                "[[elsewhere]]\ndomains = [\"a b\"]\nserver = \"192.0.2.1\"",
                [
                    "client.toml:2: elsewhere.domains: found \"a b\"",
                    "corp.example",
                ],
            ),
            (
                "pin = \"sha256/short\"",
                ["client.toml:1: pin: found", "32 bytes"],
            ),
            (
                "limits.tcp-connections = -1",
                ["client.toml:1: limits.tcp-connections: ", "-1"],
            ),
            (
                "[limits]\ntcp = 1",
                ["client.toml:2: unknown field `tcp`", "`tcp-connections`"],
            ),
            (
                "server = \"127.0.0.1:53\"",
                ["client.toml: server: ", "in a circle"],
            ),
        ] {
            let message = config(text).unwrap_err();
            for part in parts {
                assert!(message.contains(part), "{text}: {message}");
            }
        }
        let message = config(&format!("pin = \"{PIN}\"")).unwrap_err();
        assert!(message.contains("pin: is only allowed with"), "{message}");
        let text = "server = \"tls://192.0.2.1#a.example\"\nca-file = \"/nonexistent.pem\"";
        let message = config(text).unwrap_err();
        assert!(message.contains("ca-file: /nonexistent.pem"), "{message}");
    }
}
