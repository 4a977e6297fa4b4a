//! What a server given by `tls://` has to prove: pins and certification authorities.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Deserializer};

use crate::dot::PeerProof;

/// One pin or several.
#[derive(Clone, Debug)]
pub(super) struct Pins(Vec<[u8; 32]>);

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

/// One pin as it is written: `sha256/` and the digest of a key in base64.
///
/// # Errors
/// What was found instead.
pub fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    text.strip_prefix("sha256/")
        .and_then(|encoded| data_encoding::BASE64.decode(encoded.as_bytes()).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("found \"{text}\"; \"sha256/\" and 32 bytes in base64 are expected"))
}

pub(super) fn proof(
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

/// The certification authorities that this system trusts.
///
/// # Errors
/// A sentence for people when there are none.
pub(crate) fn native_roots() -> Result<RootCertStore, String> {
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
