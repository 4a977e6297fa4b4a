//! What a network is remembered by: keyed digests of what was seen there.
//!
//! Whoever reads the store without the secret of the installation learns neither where its owner was nor, by trying
//! out hardware addresses or names, whether he was at a certain place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ring::hmac;
use serde::{Deserialize, Serialize};

/// The secret of the installation that all fingerprints are made under.
type Secret = [u8; 32];

const FINGERPRINT_BYTES: usize = 16;
/// Sets the digests apart from any other use of the secret; another version of the scheme gets another number.
const CONTEXT: &[u8] = b"zzdot signal 1";
/// Fingerprints of one kind that are remembered of a network: more than a company has access points with a gateway of
/// their own, and few enough that a network which changes all the time does not fill the store.
const PER_KIND_MAX: usize = 32;

/// A kind of signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalKind {
    /// The hardware address of a gateway for IPv4.
    GatewayMacV4,
    /// The hardware address of a gateway for IPv6.
    GatewayMacV6,
    /// A prefix that is reached without a gateway.
    OnLinkPrefix,
    /// The address of the DHCP server.
    DhcpServer,
    /// The domain that came with the lease.
    DhcpDomain,
    /// The name of the wireless network.
    Ssid,
    /// How the wireless network is protected.
    Security,
    /// The address of a name server that the network gave.
    ResolverAddress,
}

impl SignalKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::GatewayMacV4,
        Self::GatewayMacV6,
        Self::OnLinkPrefix,
        Self::DhcpServer,
        Self::DhcpDomain,
        Self::Ssid,
        Self::Security,
        Self::ResolverAddress,
    ];

    /// Its name in the store and in `--json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GatewayMacV4 => "gateway-mac-v4",
            Self::GatewayMacV6 => "gateway-mac-v6",
            Self::OnLinkPrefix => "on-link-prefix",
            Self::DhcpServer => "dhcp-server",
            Self::DhcpDomain => "dhcp-domain",
            Self::Ssid => "ssid",
            Self::Security => "security",
            Self::ResolverAddress => "resolver-address",
        }
    }
}

impl fmt::Display for SignalKind {
    /// As people say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GatewayMacV4 => "the router's hardware address (IPv4)",
            Self::GatewayMacV6 => "the router's hardware address (IPv6)",
            Self::OnLinkPrefix => "the range of addresses",
            Self::DhcpServer => "the DHCP server",
            Self::DhcpDomain => "the domain",
            Self::Ssid => "the name of the wireless network",
            Self::Security => "the protection of the wireless network",
            Self::ResolverAddress => "the address of the name server",
        })
    }
}

/// HMAC-SHA-256 under the secret of the installation, over kind and value, cut to 128 bits (RFC 2104 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

/// It is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 32 hexadecimal digits in lower case")]
pub struct NotAFingerprint;

/// The fingerprint of `value`, seen as a signal of this `kind`.
#[must_use]
pub fn fingerprint(secret: &Secret, kind: SignalKind, value: &[u8]) -> Fingerprint {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(CONTEXT);
    context.update(&[0]);
    context.update(kind.name().as_bytes());
    // No kind has it in its name, so where the value begins is beyond doubt.
    context.update(&[0]);
    context.update(value);
    let mut cut = [0; FINGERPRINT_BYTES];
    for (ours, digest) in cut.iter_mut().zip(context.sign().as_ref()) {
        *ours = *digest;
    }
    Fingerprint(cut)
}

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

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| NotAFingerprint)?;
        let bytes = bytes.try_into().map_err(|_| NotAFingerprint)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The fingerprints of a network by kind. There may be several of a kind: two prefixes, two routers, and what a network
/// had before it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signals(pub BTreeMap<SignalKind, BTreeSet<Fingerprint>>);

impl Signals {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// The kinds of which there is at least one.
    pub fn kinds(&self) -> impl Iterator<Item = SignalKind> + '_ {
        let present =
            |(kind, seen): (&SignalKind, &BTreeSet<_>)| (!seen.is_empty()).then_some(*kind);
        self.0.iter().filter_map(present)
    }

    /// The fingerprints of this kind.
    pub fn of(&self, kind: SignalKind) -> impl Iterator<Item = Fingerprint> + '_ {
        self.0.get(&kind).into_iter().flatten().copied()
    }

    /// Whether a fingerprint of this kind is in both.
    #[must_use]
    pub fn share(&self, other: &Self, kind: SignalKind) -> bool {
        match (self.0.get(&kind), other.0.get(&kind)) {
            (Some(ours), Some(theirs)) => !ours.is_disjoint(theirs),
            _ => false,
        }
    }

    /// Adds one, unless there are as many of its kind as are remembered.
    pub fn insert(&mut self, kind: SignalKind, fingerprint: Fingerprint) {
        let seen = self.0.entry(kind).or_default();
        if seen.len() < PER_KIND_MAX {
            seen.insert(fingerprint);
        }
    }

    /// Adds all of `other`, as far as there is room. Whether anything is new.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.len();
        for (kind, fingerprints) in &other.0 {
            for fingerprint in fingerprints {
                self.insert(*kind, *fingerprint);
            }
        }
        self.len() > before
    }

    fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const OURS: Secret = [7; 32];

    #[test]
    fn a_fingerprint_depends_on_secret_kind_and_value() {
        let of = fingerprint;
        let one = of(&OURS, SignalKind::Ssid, b"home");
        assert_eq!(one, of(&OURS, SignalKind::Ssid, b"home"));
        assert_ne!(one, of(&[8; 32], SignalKind::Ssid, b"home"));
        assert_ne!(one, of(&OURS, SignalKind::DhcpDomain, b"home"));
        assert_ne!(one, of(&OURS, SignalKind::Ssid, b"home2"));
    }

    #[test]
    fn signals_survive_being_written_and_names_are_as_documented() {
        let mut signals = Signals::default();
        for kind in SignalKind::ALL {
            signals.insert(kind, fingerprint(&OURS, kind, b"x"));
        }
        let text = serde_json::to_string(&signals).unwrap();
        for kind in SignalKind::ALL {
            assert!(text.contains(&format!("\"{}\":[", kind.name())), "{text}");
        }
        assert_eq!(serde_json::from_str::<Signals>(&text).unwrap(), signals);
    }

    #[test]
    fn a_fingerprint_that_is_none_is_refused() {
        let one = fingerprint(&OURS, SignalKind::Ssid, b"x").to_string();
        assert!(one.parse::<Fingerprint>().is_ok());
        for wrong in [&one[1..], &one.to_uppercase(), &format!("{one}00"), ""] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(NotAFingerprint));
        }
    }

    #[test]
    fn what_is_remembered_of_one_kind_is_bounded() {
        let mut signals = Signals::default();
        let mut drifting = Signals::default();
        for number in 0_u32..1000 {
            let seen = fingerprint(&OURS, SignalKind::Ssid, &number.to_be_bytes());
            drifting.0.entry(SignalKind::Ssid).or_default().insert(seen);
        }
        assert!(signals.merge(&drifting));
        assert!(!signals.merge(&drifting));
        assert_eq!(signals.of(SignalKind::Ssid).count(), PER_KIND_MAX);
    }
}
