//! How a walk ends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::dnssec::rdata::DNSKEY;
use serde::Serialize;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::zone::ServerType;

use super::refusal::Refusal;
use super::tlsa::Tlsa;
use crate::trust::{KeySet, ZoneVersions, dnskey_texts};

/// The end of a walk.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(
    tag = "verdict",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Verdict {
    /// The server named itself, everything validated, and its TLS key is the one that it published.
    Upgraded(Box<Discovered>),
    /// The server is one of those that know nothing of all this.
    Legacy {
        /// How it showed.
        reason: LegacyReason,
        /// The resolver behind it that told its name before it was denied; none where nobody did.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<ResolverName>,
    },
    /// The server cannot be trusted.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// Not enough answers came to tell.
    NoAnswer,
}

impl Verdict {
    /// The resolver that told its name, signed, where the verdict is about one.
    #[must_use]
    pub fn name(&self) -> Option<&ResolverName> {
        match self {
            Self::Upgraded(discovered) => Some(&discovered.name),
            Self::Legacy { name, .. } => name.as_ref(),
            Self::Refused { .. } | Self::NoAnswer => None,
        }
    }
}

/// What was validated about an upgraded server.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Discovered {
    /// Its name.
    pub name: ResolverName,
    /// What it does with a question.
    pub server_type: ServerType,
    /// The configured server that was asked.
    pub server: SocketAddr,
    /// The trust anchor of its `resolver-name.arpa`: on a first meeting all key-signing keys shown,
    /// later those remembered.
    #[serde(with = "dnskey_texts")]
    pub anchor: Vec<DNSKEY>,
    /// The key-signing keys shown, and which of them signed: what moves the anchor.
    #[serde(skip)]
    pub keys: KeySet,
    /// The key-signing keys of the zone of its name, out of the KEY records: what a forwarder that asks it vouches for.
    #[serde(skip)]
    pub name_keys: Vec<DNSKEY>,
    /// The TLSA records of the port of `endpoint`, only usable ones.
    pub tlsa: Vec<Tlsa>,
    /// Where the TLS peer that `tlsa` names was met.
    pub endpoint: SocketAddr,
    /// The addresses in its zone.
    pub addresses: Vec<IpAddr>,
    /// How new both zones are.
    pub versions: ZoneVersions,
    /// For how many seconds all of this may be cached: the least time-to-live of the records.
    pub ttl: u32,
    /// When the first of the signatures that this rests on runs out.
    pub signatures_expire: UnixTime,
    /// When all of this was validated.
    pub validated: UnixTime,
}

/// How a server showed that it is not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LegacyReason {
    /// NXDOMAIN for `resolver-name.arpa`.
    NoSuchZone,
    /// No data for `resolver-name.arpa`.
    NoData,
    /// Either of these, and signed: by a parent zone that this client has no use for.
    SignedDenial,
    /// Records without signatures.
    NoSignatures,
    /// REFUSED.
    Refused,
    /// NOTIMP.
    NotImplemented,
    /// FORMERR: the server does not know EDNS.
    FormatError,
    /// SERVFAIL, which may pass.
    ServerFailure,
    /// A response code that has no meaning here.
    OtherCode,
    /// Answers that cannot be read.
    Unreadable,
    /// The name that a resolver behind it told, and signed, is denied by the box itself.
    DeniedOnTheWay,
}

impl LegacyReason {
    /// A stable name in kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSuchZone => "no-such-zone",
            Self::NoData => "no-data",
            Self::SignedDenial => "signed-denial",
            Self::NoSignatures => "no-signatures",
            Self::Refused => "refused",
            Self::NotImplemented => "not-implemented",
            Self::FormatError => "format-error",
            Self::ServerFailure => "server-failure",
            Self::OtherCode => "other-code",
            Self::Unreadable => "unreadable",
            Self::DeniedOnTheWay => "denied-on-the-way",
        }
    }

    /// For how long the server is taken to be legacy before it is asked again (protocol, discovery
    /// step 1). A failure may well be over in a minute; and where somebody is known to be behind the box, a look costs a
    /// dozen questions that the box mostly answers itself, until it has forgotten.
    #[must_use]
    pub fn remembered_for(self) -> Duration {
        match self {
            Self::ServerFailure => Duration::from_secs(60),
            Self::DeniedOnTheWay => Duration::from_secs(300),
            _ => Duration::from_secs(3600),
        }
    }

    /// What whoever runs the server can do about it, where that is more than to install zzdot.
    #[must_use]
    pub fn cure(self) -> Option<&'static str> {
        (self == Self::DeniedOnTheWay).then_some(
            "have the box not deny the resolver's names by what it knows of others; \
             unbound: `domain-insecure: \"zz.\"` and `domain-insecure: \"resolver-name.arpa.\"`; \
             BIND: `validate-except { \"zz\"; \"resolver-name.arpa\"; }; synth-from-dnssec no;`; \
             Knot Resolver: `policy.FLAGS('NO_CACHE')` for both names",
        )
    }
}

impl fmt::Display for LegacyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchZone => "it knows no zone resolver-name.arpa",
            Self::NoData => "it has nothing at resolver-name.arpa",
            Self::SignedDenial => "a parent zone proves that there is no resolver-name.arpa",
            Self::NoSignatures => "its answers about resolver-name.arpa are not signed",
            Self::Refused => "it refuses questions about resolver-name.arpa",
            Self::NotImplemented => "it does not implement such questions",
            Self::FormatError => "it does not understand such questions",
            Self::ServerFailure => "it fails to answer questions about resolver-name.arpa",
            Self::OtherCode => "it answers questions about resolver-name.arpa with an odd code",
            Self::Unreadable => "its answers about resolver-name.arpa cannot be read",
            Self::DeniedOnTheWay => {
                "a box on the way denies the name that a resolver behind it told"
            }
        })
    }
}
