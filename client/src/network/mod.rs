//! What a network shows of itself, and how it is told from others (protocol, "Networks").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = 16;

/// What a network can be recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalKind {
    /// The link-layer address of the gateway for IPv4.
    GatewayMacV4,
    /// The link-layer address of the gateway for IPv6.
    GatewayMacV6,
    /// A prefix that is on the link.
    OnLinkPrefix,
    /// The address of the DHCP server.
    DhcpServer,
    /// The domain that DHCP gave.
    DhcpDomain,
    /// The name of the wireless network.
    Ssid,
    /// How the wireless network protects itself.
    Security,
    /// The address of a resolver that the network gave.
    ResolverAddress,
}

/// A signal as it is remembered: HMAC-SHA-256 under the install's secret over kind and value, cut to 128 bits. Whoever
/// reads the store does not learn from it where its owner was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 32 hexadecimal digits")]
pub struct NotAFingerprint;

impl Fingerprint {
    /// The fingerprint of these bytes, which are an HMAC's.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; FINGERPRINT_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(NotAFingerprint)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NotAFingerprint;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What a network shows of itself: of some kinds nothing, of others several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signals(pub BTreeMap<SignalKind, BTreeSet<Fingerprint>>);

impl Signals {
    /// Whether the network shows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// Adds one.
    pub fn insert(&mut self, kind: SignalKind, fingerprint: Fingerprint) {
        self.0.entry(kind).or_default().insert(fingerprint);
    }
}
