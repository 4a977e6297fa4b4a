//! What is remembered of a resolver, and what a new meeting adds to it (protocol, "Trust").

use std::fmt;
use std::net::SocketAddr;

use hickory_proto::dnssec::rdata::DNSKEY;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::key_tag;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::zone::ServerType;

use crate::discover::{Discovered, Refusal, Tlsa};

/// How far an identity is trusted.
///
/// ```text
///   first use ──► PROVISIONAL ──► VERIFIED     the user compared, or a configuration says so
///                      │    └───► MANAGED      its anchor is one of a fleet already trusted
///                      ▼
///                   REVOKED                    from any state; terminal
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustState {
    /// First use, nothing to compare with: encrypted, not yet verified.
    Provisional,
    /// The user compared it, or it was configured: encrypted and authenticated.
    Verified,
    /// Its anchor is one of a fleet already trusted: as verified.
    Managed,
    /// Never used again.
    Revoked,
}

impl fmt::Display for TrustState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provisional => "not yet verified",
            Self::Verified => "verified",
            Self::Managed => "managed",
            Self::Revoked => "revoked",
        })
    }
}

/// How new a zone is: what may only rise (protocol, "Change over time", roll-back).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ZoneVersion {
    /// SOA serial, compared in serial arithmetic (RFC 1982).
    pub serial: u32,
    /// Inception of the signature over the SOA.
    pub inception: UnixTime,
    /// When this was first accepted. What a cache fetched before then may be older.
    pub accepted: UnixTime,
}

/// The versions of a resolver's two zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ZoneVersions {
    /// Of `resolver-name.arpa`.
    pub anchor_zone: ZoneVersion,
    /// Of the zone of the resolver's name.
    pub name_zone: ZoneVersion,
}

impl ZoneVersion {
    /// Whether this is older than `accepted`, in serial or in inception.
    #[must_use]
    pub fn is_older_than(&self, accepted: &Self) -> bool {
        let ahead = accepted.serial.wrapping_sub(self.serial).cast_signed();
        ahead > 0 || self.inception < accepted.inception
    }

    /// How this compares with the version `held`, when it spent `in_caches` seconds there.
    ///
    /// A copy out of a cache may be older for as long as caches may keep it: when it was fetched
    /// before the newer version was accepted. The age is what the record's time-to-live claims,
    /// which nobody signs, but it is never more than the time-to-live that is signed.
    pub(crate) fn age_against(&self, held: &Self, in_caches: u32) -> Age {
        if !self.is_older_than(held) {
            return Age::Fresh;
        }
        if self.accepted.0.saturating_sub(u64::from(in_caches)) < held.accepted.0 {
            return Age::Stale;
        }
        Age::RolledBack(if self.inception < held.inception {
            format!("signed at {}, before {}", self.inception, held.inception)
        } else {
            format!("serial {}, before {}", self.serial, held.serial)
        })
    }

    /// `seen` where it is newer, and in no respect older, than what was accepted so far.
    fn raised_to(self, seen: Self) -> Self {
        let serial_rises = seen.serial.wrapping_sub(self.serial).cast_signed() > 0;
        let rises = serial_rises || seen.inception > self.inception;
        if rises && !seen.is_older_than(&self) {
            seen
        } else {
            self
        }
    }
}

/// How a zone's version compares with the newest accepted before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// As new or newer.
    Fresh,
    /// Older, and out of a cache.
    Stale,
    /// Older, and no cache can be the reason.
    RolledBack(String),
}

/// A resolver as it is remembered. Its name is the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KnownIdentity {
    /// Its name.
    pub name: ResolverName,
    /// How far it is trusted.
    pub state: TrustState,
    /// The trust anchor of its `resolver-name.arpa`.
    #[serde(with = "dnskey_texts")]
    pub anchor: Vec<DNSKEY>,
    /// The TLSA records last validated.
    pub tlsa: Vec<Tlsa>,
    /// Where it was last reached.
    pub endpoint: SocketAddr,
    /// What it does with a question.
    pub server_type: ServerType,
    /// When it was first met.
    pub first_seen: UnixTime,
    /// When it was last validated.
    pub last_seen: UnixTime,
    /// When the signatures last validated run out.
    pub signatures_expire: UnixTime,
    /// The newest versions of its zones accepted so far.
    pub versions: ZoneVersions,
}

impl KnownIdentity {
    /// What is remembered of a resolver met for the first time: provisional.
    #[must_use]
    pub fn first_met(discovered: &Discovered) -> Self {
        Self {
            name: discovered.name.clone(),
            state: TrustState::Provisional,
            anchor: discovered.anchor.clone(),
            tlsa: discovered.tlsa.clone(),
            endpoint: discovered.endpoint,
            server_type: discovered.server_type,
            first_seen: discovered.validated,
            last_seen: discovered.validated,
            signatures_expire: discovered.signatures_expire,
            versions: discovered.versions,
        }
    }

    /// What is remembered after meeting it again. Anchor and state stay as they were: an anchor
    /// changes by RFC 5011 alone, and age never promotes.
    ///
    /// # Errors
    /// The refusals that a walk which knew this identity would have ended with: it is another
    /// name, a revoked identity, or none of its anchor's keys is the one remembered.
    pub fn met_again(&self, discovered: &Discovered) -> Result<Self, Box<Refusal>> {
        if self.state == TrustState::Revoked {
            return Err(Box::new(Refusal::IdentityRevoked {
                name: self.name.clone(),
            }));
        }
        if self.name != discovered.name {
            return Err(Box::new(Refusal::NameChanged {
                remembered: self.name.clone(),
                told: discovered.name.clone(),
            }));
        }
        if !self
            .anchor
            .iter()
            .any(|key| discovered.anchor.contains(key))
        {
            return Err(Box::new(Refusal::AnchorChanged {
                name: self.name.clone(),
                remembered: self.anchor.iter().map(key_tag).collect(),
                shown: discovered.anchor.iter().map(key_tag).collect(),
            }));
        }
        let (held, seen) = (&self.versions, &discovered.versions);
        Ok(Self {
            name: self.name.clone(),
            state: self.state,
            anchor: self.anchor.clone(),
            tlsa: discovered.tlsa.clone(),
            endpoint: discovered.endpoint,
            server_type: discovered.server_type,
            first_seen: self.first_seen,
            last_seen: self.last_seen.max(discovered.validated),
            signatures_expire: discovered.signatures_expire,
            versions: ZoneVersions {
                anchor_zone: held.anchor_zone.raised_to(seen.anchor_zone),
                name_zone: held.name_zone.raised_to(seen.name_zone),
            },
        })
    }

    /// The same identity, never to be used again.
    #[must_use]
    pub fn revoked(self) -> Self {
        Self {
            state: TrustState::Revoked,
            ..self
        }
    }
}

/// DNSKEYs in the form of master files, `257 3 13 BASE64`, for serde's `with`.
pub mod dnskey_texts {
    use data_encoding::BASE64;
    use hickory_proto::dnssec::rdata::DNSKEY;
    use hickory_proto::dnssec::{Algorithm, PublicKey, PublicKeyBuf};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes them as texts.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(keys: &[DNSKEY], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(keys.iter().map(text))
    }

    /// One DNSKEY as text.
    #[must_use]
    pub fn text(key: &DNSKEY) -> String {
        let public = key.public_key();
        let encoded = BASE64.encode(public.public_bytes());
        format!(
            "{} 3 {} {encoded}",
            key.flags(),
            u8::from(public.algorithm())
        )
    }

    /// Reads them back.
    ///
    /// # Errors
    /// When a text is not that of a DNSKEY.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<DNSKEY>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts
            .iter()
            .map(|text| {
                parse(text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a DNSKEY")))
            })
            .collect()
    }

    fn parse(text: &str) -> Option<DNSKEY> {
        let mut fields = text.split_ascii_whitespace();
        let flags: u16 = fields.next()?.parse().ok()?;
        let protocol = fields.next()?;
        let algorithm: u8 = fields.next()?.parse().ok()?;
        let public = BASE64.decode(fields.next()?.as_bytes()).ok()?;
        (protocol == "3" && fields.next().is_none()).then(|| {
            DNSKEY::with_flags(
                flags,
                PublicKeyBuf::new(public, Algorithm::from_u8(algorithm)),
            )
        })
    }
}
