//! From what is configured to a source of answers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use zzdot_client::{
    dot::{ConnectError, DotLimits, DotPool, Endpoint, PeerProof, client_config_for},
    store::StoreError,
};

use super::{
    Forward, Local, Recursive, RecursiveError, RecursiveOptions, Roster, Source,
    forward::{Discovered, Proof, Protocol, Reach, Server, Streamed},
    loops::{Forwarding, LoopGuard},
};
use crate::config::{Over, Require, Resolve, Upstream, UpstreamKind};

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
    /// What is remembered of upstreams cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A TLS upstream cannot be used.
    #[error("{upstream}: {detail}")]
    Tls {
        /// Which.
        upstream: String,
        /// Why.
        detail: String,
    },
}

/// A source of answers.
pub struct Built {
    /// What is asked.
    pub source: Arc<dyn Source>,
    /// The same, where it forwards to upstreams that others are told about.
    pub forward: Option<Arc<Forward>>,
}

/// Builds the source that `resolve` describes. Upstreams that are discovered are those of `roster`, which may be more
/// than these afterwards. Call within a runtime that lasts.
pub fn build(resolve: &Resolve, roster: &mut Roster) -> Result<Built, BuildError> {
    let source: Arc<dyn Source> = match resolve {
        Resolve::Forward {
            upstreams,
            ca_file,
            require,
        } => return forward(upstreams, ca_file.as_deref(), *require, roster),
        Resolve::Recursive { .. } => Arc::new(recursive(resolve)?),
        Resolve::Local {
            resolver,
            server_type,
        } => {
            let local = Local::new(*resolver, *server_type);
            return Ok(Built {
                forward: local.forward(),
                source: Arc::new(local),
            });
        }
    };
    Ok(Built {
        source,
        forward: None,
    })
}

/// Whether there is such a source, as far as can be told without asking anybody and without writing anything.
pub fn check(resolve: &Resolve) -> Result<(), BuildError> {
    match resolve {
        Resolve::Forward {
            upstreams, ca_file, ..
        } => {
            let ca_file = ca_file.as_deref();
            let roots = roots_for(upstreams, ca_file)?;
            for upstream in upstreams {
                if let UpstreamKind::Tls { over, name, pins } = &upstream.kind {
                    configured(
                        upstream,
                        over,
                        name.as_ref(),
                        pins,
                        ca_file.is_some(),
                        &roots,
                    )?;
                }
            }
            Ok(())
        }
        Resolve::Recursive { .. } => Ok(recursive(resolve).map(drop)?),
        Resolve::Local { .. } => Ok(()),
    }
}

fn recursive(resolve: &Resolve) -> Result<Recursive, RecursiveError> {
    let mut options = RecursiveOptions::default();
    if let Resolve::Recursive {
        root_hints,
        trust_anchor,
        allow_private_nameservers,
    } = resolve
    {
        options = RecursiveOptions {
            root_hints: root_hints.clone(),
            trust_anchor: trust_anchor.clone(),
            allow_private_nameservers: *allow_private_nameservers,
        };
    }
    Recursive::new(&options)
}

fn forward(
    upstreams: &[Upstream],
    ca_file: Option<&Path>,
    require: Require,
    roster: &mut Roster,
) -> Result<Built, BuildError> {
    let roots = roots_for(upstreams, ca_file)?;
    let mut servers = Vec::new();
    for upstream in upstreams {
        let reach = match &upstream.kind {
            UpstreamKind::Tls { over, name, pins } => configured(
                upstream,
                over,
                name.as_ref(),
                pins,
                ca_file.is_some(),
                &roots,
            )?,
            UpstreamKind::Discovered => {
                let server = roster.server(upstream.address, require)?;
                Reach::Discovered(Discovered::new(server, roster.own().cloned(), require))
            }
        };
        servers.push(Server {
            address: upstream.address,
            reach,
        });
    }
    let forward = Arc::new(Forward::new(servers));
    let source: Arc<dyn Source> = match upstreams.first() {
        Some(_) => Arc::new(Forwarding(LoopGuard::new(Arc::clone(&forward)))),
        None => Arc::clone(&forward) as Arc<dyn Source>,
    };
    Ok(Built {
        source,
        forward: Some(forward),
    })
}

/// What vouches for certificates; empty where nothing needs it.
fn roots_for(
    upstreams: &[Upstream],
    ca_file: Option<&Path>,
) -> Result<Arc<RootCertStore>, BuildError> {
    let needs_roots = upstreams.iter().any(
        |upstream| matches!(&upstream.kind, UpstreamKind::Tls { pins, .. } if pins.is_empty()),
    );
    // A file that was named is looked at even when nothing needs it yet: better now than later.
    Ok(Arc::new(if needs_roots || ca_file.is_some() {
        authorities(ca_file)?
    } else {
        RootCertStore::empty()
    }))
}

/// A server whose proof is configured.
fn configured(
    upstream: &Upstream,
    over: &Over,
    name: Option<&ServerName<'static>>,
    pins: &[[u8; 32]],
    has_ca_file: bool,
    roots: &Arc<RootCertStore>,
) -> Result<Reach, BuildError> {
    let (peer, proof) = match name {
        Some(name) if pins.is_empty() => (
            PeerProof::Pkix {
                name: name.clone(),
                roots: Arc::clone(roots),
            },
            Proof::Pkix(name.to_str().into_owned()),
        ),
        // As the client has it: a file of authorities beside a pin means both.
        Some(name) if has_ca_file => (
            PeerProof::Both {
                pins: pins.to_vec(),
                name: name.clone(),
                roots: Arc::clone(roots),
            },
            Proof::Pin,
        ),
        _ => (PeerProof::Spki(pins.to_vec()), Proof::Pin),
    };
    let refuse = |detail: String| BuildError::Tls {
        upstream: upstream.to_string(),
        detail,
    };
    let protocol = match over {
        Over::Tls => None,
        Over::Https { path } => Some(Protocol::Https { path: path.clone() }),
        Over::Quic => Some(Protocol::Quic),
    };
    if let Some(protocol) = protocol {
        let tls = client_config_for(&peer, name.is_some(), protocol.alpn())
            .map_err(|error| refuse(error.to_string()))?;
        let greeted = name
            .cloned()
            .unwrap_or_else(|| ServerName::IpAddress(upstream.address.ip().into()));
        let server = Streamed::new(upstream.address, greeted, &protocol, tls).map_err(refuse)?;
        let server = Box::new(server);
        return Ok(Reach::Streamed { server, proof });
    }
    let endpoint = Endpoint {
        address: upstream.address,
        server_name: name.cloned(),
        proof: peer,
    };
    let pool = DotPool::new(&endpoint, DotLimits::default())
        .map_err(|error: ConnectError| refuse(error.to_string()))?;
    Ok(Reach::Tls {
        pool: Box::new(pool),
        proof,
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
