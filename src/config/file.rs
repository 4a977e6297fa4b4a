//! The configuration file as it is written: strict, kebab-case, nothing unknown.
//!
//! What a key means together with others is decided in [`super::Config`].

use std::{net::IpAddr, path::PathBuf};

use serde::Deserialize;
use zzdot_client::config::MetricsAddress;

use crate::listen::Limits;

use super::value::{Endpoint, Network, Suffix, Upstreams};

/// The whole file. An empty one is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct File {
    /// Where the identity and what was published are kept.
    pub state_dir: Option<PathBuf>,
    /// The path of the socket that `zzdot status` talks to.
    pub control_socket: Option<PathBuf>,
    /// How long questions in flight are waited for when the service stops, in seconds.
    pub stop_within_secs: Option<u64>,
    /// Where numbers are told.
    pub metrics: Option<MetricsAddress>,
    /// Threads that serve.
    pub workers: Option<u64>,
    /// `[listen]`
    pub listen: Listen,
    /// `[access]`
    pub access: Access,
    /// `[resolve]`
    pub resolve: Resolve,
    /// `[publish]`
    pub publish: Publish,
    /// `[rotation]`
    pub rotation: Rotation,
    /// `[cache]`
    pub cache: Cache,
    /// `[limits]`
    pub limits: Limits,
}

/// `[listen]`: where queries are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Listen {
    /// Addresses of plain DNS over UDP and TCP; port 53 where none is written.
    pub dns: Option<Vec<Endpoint>>,
    /// Addresses of DNS over TLS; port 853 where none is written.
    pub dot: Option<Vec<Endpoint>>,
}

/// `[access]`: who is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Access {
    /// The networks that are answered; everybody else is met with silence.
    pub allow: Option<Vec<Network>>,
}

/// `[cache]`: which answers are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Cache {
    /// Octets of memory for answers; 0: none is kept.
    pub bytes: Option<usize>,
    /// For how many seconds an answer may serve after its time, when there is no other.
    pub stale_secs: Option<u32>,
}

/// `[resolve]`: where answers come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Resolve {
    /// One of three ways.
    pub mode: Mode,
    /// The servers asked in the modes `forward` and `local`.
    pub upstreams: Option<Upstreams>,
    /// The certificate authorities, in PEM, that vouch for upstreams over TLS.
    pub ca_file: Option<PathBuf>,
    /// How well a question is kept from others on its way upstream, at the least.
    pub require: Option<Require>,
    /// The root servers for `recursive`, in master-file form.
    pub root_hints: Option<PathBuf>,
    /// The keys of the root for `recursive`, as DNSKEY records in master-file form.
    pub trust_anchor: Option<PathBuf>,
    /// Whether `recursive` asks name servers at private and loopback addresses.
    pub allow_private_nameservers: Option<bool>,
    /// What to publish in mode `local`.
    pub server_type: Option<ServerType>,
}

/// `resolve.mode`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Ask upstream servers.
    #[default]
    Forward,
    /// Walk down from the root, validating.
    Recursive,
    /// Ask the resolver that already runs on this machine.
    Local,
}

/// `resolve.require`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Require {
    /// As well as the upstream allows, in cleartext where there is no other way.
    #[default]
    Any,
    /// Encrypted, if need be to whoever answers there.
    Encrypted,
    /// Encrypted, to somebody who proves who it is.
    Authenticated,
}

impl Require {
    /// As the configuration and `zzdot status` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Encrypted => "encrypted",
            Self::Authenticated => "authenticated",
        }
    }
}

/// `resolve.server-type`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerType {
    /// It walks down from the root itself.
    Resolver,
    /// It asks others.
    Forwarder,
}

/// `publish.mode`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishMode {
    /// A name of its own, and zones that say so.
    #[default]
    Own,
    /// Nothing: whoever looks finds the upstream.
    Transparent,
}

impl PublishMode {
    /// As the configuration and `zzdot status` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Transparent => "transparent",
        }
    }
}

/// `[publish]`: what the zones say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Publish {
    /// Whether anything is published at all.
    pub mode: PublishMode,
    /// Under what the name is invented on the first start; `zz` where absent.
    pub suffix: Option<Suffix>,
    /// The addresses that clients are told; those of the DoT listeners where absent.
    pub addresses: Option<Vec<IpAddr>>,
}

/// `[rotation]`: after how many days each kind of key is replaced by itself; 0: never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Rotation {
    /// The TLS certificate and its key.
    pub certificate_days: Option<u32>,
    /// The zone-signing keys of both zones.
    pub zsk_days: Option<u32>,
    /// The key-signing key of the name.
    pub ksk_days: Option<u32>,
    /// The trust anchor.
    pub anchor_days: Option<u32>,
}
