//! What the appliance is told to do: the file, checked and completed with facts about the host.
//!
//! The strict file is in [`file`], the syntax of its values in [`value`]; `complete` decides the
//! defaults.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use hickory_proto::rr::Name;
use zzdot_client::cache;
use zzdot_zonegen::{
    rollover::Intervals,
    zone::{Publication, ServerType},
};

use crate::{answer::access::AccessList, host::Host, listen::Limits};

mod complete;
mod environment;
pub mod file;
mod locate;
mod upstream;
pub mod value;

pub use environment::Environment;
pub use file::{PublishMode, Require};
pub use upstream::{Over, Upstream, UpstreamKind};

use self::file::File;

/// The identity's folder within the state folder.
pub const IDENTITY_FOLDER: &str = "identity";

/// How long questions in flight are waited for when the service stops, unless configured.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The most threads that serve.
pub const MAX_WORKERS: usize = 64;

/// Everything decided: what runs is this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The identity lives below this folder.
    pub state_dir: PathBuf,
    /// The socket of `zzdot status`.
    pub control_socket: PathBuf,
    /// How long questions in flight are waited for when the service stops.
    pub stop_within: Duration,
    /// Where numbers are told, to whoever reaches it; nowhere by default.
    pub metrics: Option<SocketAddr>,
    /// Threads that serve; where absent, as many as there are processors.
    pub workers: Option<usize>,
    /// Where plain DNS is taken.
    pub dns: Vec<SocketAddr>,
    /// Where DNS over TLS is taken.
    pub dot: Vec<SocketAddr>,
    /// Who is answered.
    pub access: AccessList,
    /// Where answers come from.
    pub resolve: Resolve,
    /// Whether there are zones at all.
    pub mode: PublishMode,
    /// What the zones call this server.
    pub server_type: ServerType,
    /// The addresses that the zones name.
    pub published: Vec<IpAddr>,
    /// Under what the name is invented on the first start.
    pub suffix: Name,
    /// How often keys are replaced.
    pub rotation: Intervals,
    /// Which answers are kept; none: every question is asked.
    pub cache: Option<cache::Limits>,
    /// What the front may cost.
    pub limits: Limits,
}

/// Where answers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolve {
    /// From these servers. None at all is possible when the host knows of none.
    Forward {
        /// In order of preference.
        upstreams: Vec<Upstream>,
        /// The authorities for upstreams over TLS; those of the system when absent.
        ca_file: Option<PathBuf>,
        /// How well a question has to be kept from others on its way there.
        require: Require,
    },
    /// From the root downwards.
    Recursive {
        /// The root servers; the public ones when absent.
        root_hints: Option<PathBuf>,
        /// The keys of the root; the public ones when absent.
        trust_anchor: Option<PathBuf>,
        /// Whether name servers at private addresses are asked.
        allow_private_nameservers: bool,
    },
    /// From the resolver on this machine.
    Local {
        /// Where it listens.
        resolver: SocketAddr,
        /// What it does with a question, which nobody can find out by asking.
        server_type: ServerType,
    },
}

impl Resolve {
    /// Where the upstreams are that are to be discovered.
    pub fn discovered(&self) -> Vec<SocketAddr> {
        let Self::Forward { upstreams, .. } = self else {
            return Vec::new();
        };
        let discovered = |upstream: &&Upstream| upstream.kind == UpstreamKind::Discovered;
        let discovered = upstreams.iter().filter(discovered);
        discovered.map(|upstream| upstream.address).collect()
    }

    /// Whether there is more to it than stands in the configuration.
    pub fn reads_files(&self) -> bool {
        match self {
            Self::Forward { ca_file, .. } => ca_file.is_some(),
            Self::Recursive {
                root_hints,
                trust_anchor,
                ..
            } => root_hints.is_some() || trust_anchor.is_some(),
            Self::Local { .. } => false,
        }
    }
}

/// Why a configuration cannot be used. Each says where, what was found and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read, or is not what it should be.
    #[error(transparent)]
    File(#[from] zzdot_client::config_file::ConfigFileError),
    /// A value that is well-formed but cannot be meant.
    #[error("{place}: {key}: {problem}")]
    Value {
        /// File and line.
        place: String,
        /// The key, with its table.
        key: &'static str,
        /// What was found and what is allowed.
        problem: String,
    },
    /// No folder for the state can be found.
    #[error(
        "no folder for the state: neither --state-dir, state-dir, STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set"
    )]
    NoStateDir,
}

/// A problem with one key, before the place is known.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    key: &'static str,
    text: String,
}

impl Config {
    /// Reads the file, if there is one, and completes it.
    pub fn load(
        path: Option<&Path>,
        state_dir: Option<&Path>,
        host: &Host,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => zzdot_client::config_file::load::<File>(path)?,
            None => File::default(),
        };
        let paths = Paths::of(&file, state_dir, environment)?;
        Self::complete(&file, paths, host).map_err(|problem| ConfigError::Value {
            place: match path {
                Some(path) => locate::place(path, problem.key),
                None => "defaults".into(),
            },
            key: problem.key,
            problem: problem.text,
        })
    }

    /// What the zones say about the service.
    pub fn publication(&self) -> Publication {
        Publication {
            server_type: self.server_type,
            addresses: self.published.clone(),
            dot_port: self.dot.first().map_or(853, SocketAddr::port),
            upstreams: Vec::new(),
        }
    }

    /// The folder of the identity.
    pub fn identity_dir(&self) -> PathBuf {
        self.state_dir.join(IDENTITY_FOLDER)
    }
}

/// Where the files of the appliance are: the only part of a configuration that `zzdot identity`
/// needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The identity lives below this folder.
    pub state_dir: PathBuf,
    /// The socket of `zzdot status`.
    pub control_socket: PathBuf,
}

impl Paths {
    /// Reads the file, if there is one, for its paths.
    pub fn load(
        path: Option<&Path>,
        state_dir: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => zzdot_client::config_file::load::<File>(path)?,
            None => File::default(),
        };
        Self::of(&file, state_dir, environment)
    }

    fn of(
        file: &File,
        state_dir: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let state_dir = state_dir
            .map(Path::to_owned)
            .or_else(|| file.state_dir.clone())
            .or_else(|| environment.state_dir("zzdot"))
            .ok_or(ConfigError::NoStateDir)?;
        let control_socket = file
            .control_socket
            .clone()
            .or_else(|| {
                environment
                    .runtime_dir()
                    .map(|dir| dir.join("control.sock"))
            })
            .unwrap_or_else(|| state_dir.join("control.sock"));
        Ok(Self {
            state_dir,
            control_socket,
        })
    }
}

#[cfg(test)]
mod tests;
