//! Where the client is: the key under which it remembers whom to expect.
//!
//! A person who configured the address of a server means that server: what is expected is bound to the address. With
//! `server = "system"` the same address means another box in each network (half the world calls its own 192.168.1.1), so
//! what is expected is bound to the network, which is recognised by its signals.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::network::{SignalKind, Signals};

/// Bytes of a network's number.
const NETWORK_ID_BYTES: usize = 8;

/// What a network is called in memory: a random number, which says nothing about it. Drawn when a network is new, and
/// stored only when something is learned there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NetworkId([u8; NETWORK_ID_BYTES]);

/// The text is not sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is named by sixteen hexadecimal digits")]
pub struct NotANetworkId;

impl NetworkId {
    /// A number that nobody has used.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn draw() -> Result<Self, ring::error::Unspecified> {
        let mut bytes = [0; NETWORK_ID_BYTES];
        SystemRandom::new().fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The number out of its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; NETWORK_ID_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for NetworkId {
    type Err = NotANetworkId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(NotANetworkId)
    }
}

impl From<NetworkId> for String {
    fn from(id: NetworkId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for NetworkId {
    type Error = NotANetworkId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What an expectation is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The server that a person configured.
    Server(SocketAddr),
    /// A network, recognised by its signals.
    Network(NetworkId),
}

impl From<SocketAddr> for Place {
    fn from(server: SocketAddr) -> Self {
        Self::Server(server)
    }
}

impl From<NetworkId> for Place {
    fn from(network: NetworkId) -> Self {
        Self::Network(network)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => write!(f, "server {server}"),
            Self::Network(id) => write!(f, "network {id}"),
        }
    }
}

/// A place, and what was seen of it when it was recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Surroundings {
    /// Whom to expect is remembered under this.
    pub place: Place,
    /// The signals of the network; none for a configured server.
    pub signals: Signals,
    /// The network looks like one that is known, but these differ: whoever is expected there is asked, and nothing is
    /// learned silently.
    pub doubt: Option<Vec<SignalKind>>,
}

impl Surroundings {
    /// A configured server, wherever it is.
    #[must_use]
    pub fn of_server(server: SocketAddr) -> Self {
        Self {
            place: Place::Server(server),
            signals: Signals::default(),
            doubt: None,
        }
    }

    /// A network, known or new, about which there is no doubt.
    #[must_use]
    pub fn of_network(network: NetworkId, signals: Signals) -> Self {
        Self {
            place: Place::Network(network),
            signals,
            doubt: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_number_of_a_network_is_read_as_it_is_written() {
        let id = NetworkId::draw().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, NetworkId::draw().unwrap());
        for wrong in ["", "0123", "0123456789abcdeg", "0123456789abcdef00"] {
            assert_eq!(wrong.parse::<NetworkId>(), Err(NotANetworkId), "{wrong}");
        }
    }

    #[test]
    fn places_are_written_so_that_people_can_read_them() {
        let network = Place::Network(NetworkId::from_bytes([0xab; 8]));
        assert_eq!(
            serde_json::to_string(&network).unwrap(),
            r#"{"network":"abababababababab"}"#
        );
        assert_eq!(network.to_string(), "network abababababababab");
        let server = Place::Server("192.0.2.1:53".parse().unwrap());
        let text = serde_json::to_string(&server).unwrap();
        assert_eq!(text, r#"{"server":"192.0.2.1:53"}"#);
        assert_eq!(serde_json::from_str::<Place>(&text).unwrap(), server);
    }
}
