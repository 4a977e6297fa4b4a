//! The client's configuration: what the file may say, and what is made of it.
//!
//! Every key has a default, so that an empty file, or none, is a configuration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Deserializer};
use zzdot_zonegen::exit::{Exit, Failure};

use crate::config_file::{self, ConfigFileError};
use crate::dot::{DOT_PORT, Endpoint, PeerProof};
use crate::stub::StubLimits;

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
    legacy: LegacyPolicy,
    askers: Askers,
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
            legacy: LegacyPolicy::Plain,
            askers: Askers::Loopback,
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
    /// What to do with a server that is not upgraded.
    pub legacy: LegacyPolicy,
    /// Who may ask.
    pub askers: Askers,
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

/// What to do with the questions where the server is not upgraded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegacyPolicy {
    /// Pass them on in cleartext, as without this program.
    #[default]
    Plain,
    /// Answer SERVFAIL.
    Refuse,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Askers {
    /// This machine.
    #[default]
    Loopback,
    /// Whoever reaches the listening addresses.
    Any,
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
        Ok(Self {
            listen,
            server,
            state_dir: file.state_dir,
            control_socket: file.control_socket,
            legacy: file.legacy,
            askers: file.askers,
            limits: file.limits,
        })
    }
}

fn proof(
    name: &ServerName<'static>,
    pins: Option<Pins>,
    ca_file: Option<&Path>,
) -> Result<PeerProof, String> {
    let pins = pins.map(|pins| pins.0);
    let Some(ca_file) = ca_file else {
        return Ok(match pins {
            Some(pins) => PeerProof::Spki(pins),
            None => PeerProof::Pkix {
                name: name.clone(),
                roots: Arc::new(native_roots()?),
            },
        });
    };
    let roots = Arc::new(roots_in(ca_file)?);
    let name = name.clone();
    Ok(match pins {
        Some(pins) => PeerProof::Both { pins, name, roots },
        None => PeerProof::Pkix { name, roots },
    })
}

fn roots_in(path: &Path) -> Result<RootCertStore, String> {
    let told = |what: &dyn fmt::Display| format!("{}: {what}", path.display());
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| told(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| told(&error))?;
        roots.add(certificate).map_err(|error| told(&error))?;
    }
    if roots.is_empty() {
        return Err(told(&"found no certificate; PEM is expected"));
    }
    Ok(roots)
}

fn native_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(
            "the system has no certification authorities; give `pin` or `ca-file`".to_owned(),
        );
    }
    Ok(roots)
}

/// An address of its own: the answer has to come from where it was asked, so the wildcard is out.
#[derive(Clone, Copy, Debug)]
struct ListenAddress(SocketAddr);

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            |allowed: &str| serde::de::Error::custom(format!("found \"{text}\"; {allowed}"));
        let address = address_and_port(&text, DNS_PORT).ok_or_else(|| {
            wrong("an address such as \"127.0.0.1:53\" or \"[::1]:53\" is expected")
        })?;
        if address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(wrong(
                "an address of this machine is expected, not all of them",
            ));
        }
        Ok(Self(address))
    }
}

#[derive(Clone, Debug)]
enum ServerSetting {
    System,
    Address(SocketAddr),
    Tls {
        address: SocketAddr,
        name: ServerName<'static>,
    },
}

impl FromStr for ServerSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "found \"{text}\"; \"system\", ADDRESS, ADDRESS:PORT or \
                 tls://ADDRESS[:PORT]#NAME is expected"
            )
        };
        if text == "system" {
            return Ok(Self::System);
        }
        let usable = |address: SocketAddr| {
            let ip = address.ip();
            if ip.is_unspecified() || ip.is_multicast() || address.port() == 0 {
                Err(format!("found \"{text}\"; nobody can answer there"))
            } else {
                Ok(address)
            }
        };
        if let Some(rest) = text.strip_prefix("tls://") {
            let (address, name) = rest.split_once('#').ok_or_else(wrong)?;
            let address = address_and_port(address, DOT_PORT).ok_or_else(wrong)?;
            let name = ServerName::try_from(name.to_owned()).map_err(|_| wrong())?;
            return Ok(Self::Tls {
                address: usable(address)?,
                name,
            });
        }
        address_and_port(text, DNS_PORT)
            .ok_or_else(wrong)
            .and_then(usable)
            .map(Self::Address)
    }
}

impl<'de> Deserialize<'de> for ServerSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// An address with or without a port; IPv6 with a port in brackets, as everywhere.
#[must_use]
pub fn address_and_port(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    text.parse().ok().or_else(|| {
        let ip: IpAddr = bare.parse().ok()?;
        Some(SocketAddr::new(ip, default_port))
    })
}

/// One pin or several.
#[derive(Clone, Debug)]
struct Pins(Vec<[u8; 32]>);

impl<'de> Deserialize<'de> for Pins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "\"sha256/BASE64\" or a list of such pins is expected"
        )]
        enum OneOrMore {
            One(String),
            More(Vec<String>),
        }
        let texts = match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        };
        let pins: Result<Vec<_>, String> = texts.iter().map(|text| parse_pin(text)).collect();
        match pins {
            Ok(pins) if !pins.is_empty() => Ok(Self(pins)),
            Ok(_) => Err(serde::de::Error::custom("found no pin")),
            Err(problem) => Err(serde::de::Error::custom(problem)),
        }
    }
}

fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    text.strip_prefix("sha256/")
        .and_then(|encoded| data_encoding::BASE64.decode(encoded.as_bytes()).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("found \"{text}\"; \"sha256/\" and 32 bytes in base64 are expected"))
}

/// Where the state is: the command line, else the configuration, else where the service manager
/// or the user's environment say.
///
/// # Errors
/// When none of them says anything.
pub fn state_dir(
    command_line: Option<&Path>,
    configured: Option<&Path>,
) -> Result<PathBuf, Failure> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    // systemd separates several folders by colons; the first is ours.
    let service = variable("STATE_DIRECTORY").map(|value| first_folder(&value));
    command_line
        .or(configured)
        .map(Path::to_owned)
        .or(service)
        .or_else(|| Some(PathBuf::from(variable("XDG_STATE_HOME")?).join("zzdot-client")))
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state/zzdot-client")))
        .ok_or_else(|| {
            Failure::new(Exit::Usage, "no folder to remember things in")
                .with_hint("set `state-dir` in the configuration, or give --state-dir")
        })
}

/// Where the daemon's control socket is, by the same rules for the daemon and for its tools.
#[must_use]
pub fn control_socket(configured: Option<&Path>, state_dir: &Path) -> PathBuf {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").filter(|value| !value.is_empty());
    match (configured, runtime) {
        (Some(path), _) => path.to_owned(),
        (None, Some(folder)) => first_folder(&folder).join("control.sock"),
        (None, None) => state_dir.join("control.sock"),
    }
}

fn first_folder(list: &std::ffi::OsStr) -> PathBuf {
    let text = list.to_string_lossy();
    PathBuf::from(text.split(':').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

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
                ["client.toml:1: legacy: ", "`plain` or `refuse`"],
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
