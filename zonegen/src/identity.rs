//! The identity of a resolver: its name, its certificate and its zone keys, in a folder.
//!
//! The folder appears whole or not at all: it is built beside its place, synchronised, and renamed.
//! What is loaded is checked to be complete, private and to belong together, since a wrong identity
//! would cost every client's trust. [`crate::identity_files`] knows the folder's layout.

use std::io;
use std::path::{Path, PathBuf};

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::rr::Name;
use ring::rand::SecureRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::certificate::{Certificate, CertificateError};
use crate::durable::PrivacyError;
use crate::exit::{Exit, Failure};
use crate::identity_files;
use crate::keys::{KSK_FLAGS, KeyError, ZSK_FLAGS, ZoneKey};
use crate::name::{NameError, ResolverName};

/// Who a resolver is. Cloning is not offered: there is one owner of the private keys.
#[derive(Debug)]
pub struct Identity {
    pub(crate) name: ResolverName,
    pub(crate) certificate: Certificate,
    pub(crate) tls_key: PrivatePkcs8KeyDer<'static>,
    pub(crate) name_keys: ZoneKeys,
    pub(crate) anchor_keys: ZoneKeys,
    /// The stand-by KSK of `resolver-name.arpa`; its private half may be kept elsewhere.
    pub(crate) standby: DNSKEY,
    pub(crate) standby_key: Option<ZoneKey>,
}

/// The two keys that sign a zone.
#[derive(Debug)]
pub struct ZoneKeys {
    /// Signs the DNSKEY RRset and nothing else.
    pub ksk: ZoneKey,
    /// Signs everything else.
    pub zsk: ZoneKey,
}

/// Why an identity cannot be made or used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// There is one already; it is never replaced.
    #[error("{}: holds an identity already", .0.display())]
    Exists(PathBuf),
    /// There is no such folder.
    #[error("{}: there is no identity", .0.display())]
    NotFound(PathBuf),
    /// A file of the identity is not there.
    #[error("{}: is missing, the identity is incomplete", .0.display())]
    Missing(PathBuf),
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder belongs to somebody else or may be used by others.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// A file holds something else than it should.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found, or what was expected.
        what: String,
    },
    /// Two files do not belong together.
    #[error("{}: does not belong to {}: {what}", path.display(), other.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The file it should belong to.
        other: PathBuf,
        /// In what they differ.
        what: String,
    },
    /// A file or folder cannot be written.
    #[error("{}: {source}", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The suffix does not make a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A key cannot be made.
    #[error("a key cannot be made: {0}")]
    Key(#[from] KeyError),
    /// The certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Identity {
    /// Invents an identity below `suffix` and puts it durably into `dir`, which must not exist yet
    /// (or be empty). A crash at any point leaves no identity or a whole one.
    pub fn create(
        dir: &Path,
        suffix: &Name,
        rng: &dyn SecureRandom,
    ) -> Result<Self, IdentityError> {
        if Self::exists(dir)? {
            return Err(IdentityError::Exists(dir.to_owned()));
        }
        let identity = Self::invent(suffix, rng)?;
        identity_files::write(&identity, dir)?;
        Ok(identity)
    }

    /// Reads the identity in `dir`, and refuses one that is incomplete, not private, or whose parts
    /// do not belong together.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        identity_files::read(dir)
    }

    /// Whether there is anything in `dir`. A damaged identity exists, too: it is for a person to
    /// mend and never to be replaced.
    pub fn exists(dir: &Path) -> Result<bool, IdentityError> {
        match std::fs::read_dir(dir) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(IdentityError::Unreadable {
                path: dir.to_owned(),
                source,
            }),
        }
    }

    /// Invents an identity that lives in memory only.
    pub fn invent(suffix: &Name, rng: &dyn SecureRandom) -> Result<Self, IdentityError> {
        let name = ResolverName::generate(rng, suffix)?;
        let tls_key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, rng)
            .map_err(|_| KeyError::Random)?;
        let tls_key = PrivatePkcs8KeyDer::from(tls_key.as_ref().to_vec());
        let zone_keys = || -> Result<ZoneKeys, KeyError> {
            Ok(ZoneKeys {
                ksk: ZoneKey::generate(KSK_FLAGS, rng)?,
                zsk: ZoneKey::generate(ZSK_FLAGS, rng)?,
            })
        };
        let standby_key = ZoneKey::generate(KSK_FLAGS, rng)?;
        Ok(Self {
            certificate: Certificate::self_signed(&name, &tls_key)?,
            name,
            tls_key,
            name_keys: zone_keys()?,
            anchor_keys: zone_keys()?,
            standby: standby_key.dnskey().clone(),
            standby_key: Some(standby_key),
        })
    }

    /// The resolver's name.
    pub fn name(&self) -> &ResolverName {
        &self.name
    }

    /// The TLS certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// The TLS certificate's private key.
    pub fn tls_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.tls_key.clone_key())
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo, as TLSA 3 1 1 and pins have it.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.certificate.spki_sha256()
    }

    /// The trust anchor: the active and the stand-by KSK of `resolver-name.arpa`, in this order.
    pub fn trust_anchor(&self) -> Vec<DNSKEY> {
        vec![self.anchor_keys.ksk.dnskey().clone(), self.standby.clone()]
    }

    /// The keys of the zone `NAME`.
    pub fn name_keys(&self) -> &ZoneKeys {
        &self.name_keys
    }

    /// The active keys of the zone `resolver-name.arpa`.
    pub fn anchor_keys(&self) -> &ZoneKeys {
        &self.anchor_keys
    }

    /// The stand-by KSK of `resolver-name.arpa`, where its private half is on this machine.
    pub fn standby_key(&self) -> Option<&ZoneKey> {
        self.standby_key.as_ref()
    }
}

impl IdentityError {
    /// How a program that cannot go on for this reason ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Name(_) => Exit::Usage,
            _ => Exit::CannotRun,
        }
    }

    /// Whether there is an identity and it is not whole, not private, or not of one piece.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Missing(_) | Self::Malformed { .. } | Self::Mismatch { .. } => true,
            Self::Privacy(error) => !matches!(error, PrivacyError::Unreadable { .. }),
            _ => false,
        }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let hint = match &error {
            IdentityError::Missing(_)
            | IdentityError::Malformed { .. }
            | IdentityError::Mismatch { .. } => Some(
                "restore the folder from a backup; a new identity would cost every client's trust"
                    .to_owned(),
            ),
            IdentityError::Privacy(PrivacyError::Mode { path, expected, .. }) => {
                Some(format!("chmod {expected:04o} {}", path.display()))
            }
            _ => None,
        };
        Self {
            exit: error.exit(),
            message: error.to_string(),
            hint,
        }
    }
}
