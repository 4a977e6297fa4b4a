//! From what is configured to a source of answers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use zzdot_client::dot::{ConnectError, DotLimits, DotPool, Endpoint, PeerProof};

use super::{
    Forward, Local, Recursive, RecursiveError, RecursiveOptions, Source,
    forward::{Reach, Server},
    loops::{Forwarding, LoopGuard},
};
use crate::config::{Resolve, Upstream};

/// Why there is no source of answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The recursor cannot be set up.
    #[error(transparent)]
    Recursive(#[from] RecursiveError),
    /// The file with certificate authorities is not usable.
    #[error("{}: {detail}; allowed: certificates in PEM form", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The system has no certificate authorities.
    #[error(
        "the system has no certificate authorities for upstreams over TLS; install \
         ca-certificates or set resolve.ca-file"
    )]
    NoAuthorities,
    /// A TLS upstream cannot be used.
    #[error("{upstream}: {detail}")]
    Tls {
        /// Which.
        upstream: String,
        /// Why.
        detail: String,
    },
}

/// Builds the source that `resolve` describes.
pub fn build(resolve: &Resolve) -> Result<Arc<dyn Source>, BuildError> {
    Ok(match resolve {
        Resolve::Forward { upstreams, ca_file } => forward(upstreams, ca_file.as_deref())?,
        Resolve::Recursive {
            root_hints,
            trust_anchor,
            allow_private_nameservers,
        } => Arc::new(Recursive::new(&RecursiveOptions {
            root_hints: root_hints.clone(),
            trust_anchor: trust_anchor.clone(),
            allow_private_nameservers: *allow_private_nameservers,
        })?),
        Resolve::Local { resolver } => Arc::new(Local::new(*resolver)),
    })
}

fn forward(upstreams: &[Upstream], ca_file: Option<&Path>) -> Result<Arc<dyn Source>, BuildError> {
    let needs_roots = upstreams.iter().any(|upstream| upstream.tls_name.is_some());
    // A file that was named is looked at even when nothing needs it yet: better now than later.
    let roots = if needs_roots || ca_file.is_some() {
        Arc::new(authorities(ca_file)?)
    } else {
        Arc::new(RootCertStore::empty())
    };
    let servers = upstreams
        .iter()
        .map(|upstream| server(upstream, &roots))
        .collect::<Result<Vec<_>, _>>()?;
    let forward = Forward::new(servers);
    Ok(match upstreams.first() {
        Some(first) => Arc::new(Forwarding(LoopGuard::new(forward, first.address))),
        None => Arc::new(forward),
    })
}

fn server(upstream: &Upstream, roots: &Arc<RootCertStore>) -> Result<Server, BuildError> {
    let reach = match &upstream.tls_name {
        None => Reach::Plain,
        Some(name) => {
            let endpoint = Endpoint {
                address: upstream.address,
                server_name: Some(name.clone()),
                proof: PeerProof::Pkix {
                    name: name.clone(),
                    roots: roots.clone(),
                },
            };
            let pool =
                DotPool::new(&endpoint, DotLimits::default()).map_err(|error: ConnectError| {
                    BuildError::Tls {
                        upstream: upstream.to_string(),
                        detail: error.to_string(),
                    }
                })?;
            Reach::Tls(Box::new(pool))
        }
    };
    Ok(Server {
        address: upstream.address,
        reach,
    })
}

fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        // Single certificates that do not parse are the system's business, not ours.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() {
            Err(BuildError::NoAuthorities)
        } else {
            Ok(roots)
        };
    };
    let refuse = |detail: String| BuildError::CaFile {
        path: path.to_owned(),
        detail,
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| refuse(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("no certificate".into()));
    }
    Ok(roots)
}
