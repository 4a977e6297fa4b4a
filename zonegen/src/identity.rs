//! The identity of a resolver: its name, its certificate and its zone keys, in a folder.
//!
//! The folder appears whole or not at all: it is built beside its place, synchronised, and renamed.
//! What is loaded is checked to be complete, private and to belong together, since a wrong identity
//! would cost every client's trust. [`crate::identity_files`] knows the folder's layout.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
use crate::keyring::{Beside, Held, Keyring, Shelf};
use crate::keys::{KSK_FLAGS, KeyError, ZSK_FLAGS, ZoneKey};
use crate::name::{NameError, ResolverName};
use crate::rollover::{Part, State};

/// Who a resolver is, in one state of its roll-overs; the next state is another value ([`crate::rollover`]).
#[derive(Debug)]
pub struct Identity {
    pub(crate) name: ResolverName,
    /// Which key is used for what.
    pub(crate) state: State,
    /// All keys with their secrets; that of the stand-by KSK may be kept elsewhere.
    pub(crate) shelf: Shelf,
    /// The keys by their use, as `state` says.
    keyring: Keyring,
}

/// The two keys that sign a zone.
#[derive(Clone, Debug)]
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
        let mut shelf = Shelf::new();
        let mut state = State::first();
        for key in &mut state.keys {
            let held = invent(&name, key.part, rng)?;
            key.sha256 = held.sha256();
            shelf.insert(key.stem.clone(), held);
        }
        Ok(Self::assemble(name, state, shelf).expect("each key of the first state was made"))
    }

    /// Puts an identity together; `None` where a key is missing.
    pub(crate) fn assemble(name: ResolverName, state: State, shelf: Shelf) -> Option<Self> {
        Some(Self {
            keyring: Keyring::new(&state, &shelf)?,
            name,
            state,
            shelf,
        })
    }

    /// The resolver's name.
    pub fn name(&self) -> &ResolverName {
        &self.name
    }

    /// The TLS certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.keyring.certificate.der().clone()
    }

    /// The TLS certificate's private key.
    pub fn tls_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.keyring.tls_key.clone_key())
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo, as TLSA 3 1 1 and pins have it.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.keyring.certificate.spki_sha256()
    }

    /// The trust anchor: the active and the stand-by KSK of `resolver-name.arpa`, in this order.
    pub fn trust_anchor(&self) -> Vec<DNSKEY> {
        let active = self.keyring.anchor_keys.ksk.dnskey();
        vec![active.clone(), self.standby().clone()]
    }

    /// The keys of the zone `NAME`.
    pub fn name_keys(&self) -> &ZoneKeys {
        &self.keyring.name_keys
    }

    /// The active keys of the zone `resolver-name.arpa`.
    pub fn anchor_keys(&self) -> &ZoneKeys {
        &self.keyring.anchor_keys
    }

    /// The public half of the stand-by KSK of `resolver-name.arpa`.
    pub fn standby(&self) -> &DNSKEY {
        &self.keyring.standby
    }

    /// The stand-by KSK of `resolver-name.arpa`, where its private half is on this machine.
    pub fn standby_key(&self) -> Option<&ZoneKey> {
        self.keyring.standby_key.as_ref()
    }

    /// The state of its roll-overs.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is published beside the keys in use.
    pub(crate) fn beside(&self) -> &Beside {
        &self.keyring.beside
    }
}

/// Makes a key.
pub(crate) fn invent(
    name: &ResolverName,
    part: Part,
    rng: &dyn SecureRandom,
) -> Result<Held, IdentityError> {
    let flags = match part {
        Part::NameKsk | Part::AnchorKsk => KSK_FLAGS,
        Part::NameZsk | Part::AnchorZsk => ZSK_FLAGS,
        Part::Certificate => {
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, rng)
                .map_err(|_| KeyError::Random)?;
            let key = PrivatePkcs8KeyDer::from(key.as_ref().to_vec());
            return Ok(Held::Tls {
                certificate: Certificate::self_signed(name, &key)?,
                key: Arc::new(key),
            });
        }
    };
    Ok(Held::of(ZoneKey::generate(flags, rng)?))
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
