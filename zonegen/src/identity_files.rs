//! The files of an identity.
//!
//! | file | holds |
//! |---|---|
//! | `name` | the resolver's name |
//! | `certificate.pem`, `tls-key.pem` | the TLS certificate and its key |
//! | `name-ksk.pem`, `name-zsk.pem` | keys of the zone `NAME` |
//! | `anchor-ksk.pem`, `anchor-zsk.pem` | active keys of `resolver-name.arpa` |
//! | `anchor-standby.pem` | stand-by KSK; may be kept off the machine |
//! | `*.dnskey` | the public half of the key of the same name, as a DNSKEY record |
//! | `rollover.state` | which key is used for what; without it the keys above are all there are |
//!
//! Keys that come later have a number in their files' names: the key tag, or the beginning of the certificate's digest.
//! A revoked anchor is called `anchor-revoked-TAG`. Files that the state does not name are what an interruption left.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{PublicKey, PublicKeyBuf};
use hickory_proto::rr::Name;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::certificate::{Certificate, CertificateError};
use crate::durable::{self, check_private, create_exclusive, lock_folder, sync_folder};
use crate::identity::{Identity, IdentityError};
use crate::keyring::{Held, Shelf};
use crate::keys::{ALGORITHM, KSK_FLAGS, ZSK_FLAGS, ZoneKey, is_p256};
use crate::name::ResolverName;
use crate::owners::anchor_zone;
use crate::pem;
use crate::rollover::{Key, Part, Phase, STATE_FILE, State};

/// The certificate's file.
pub const CERTIFICATE: &str = "certificate.pem";
/// The TLS key's file.
pub const TLS_KEY: &str = "tls-key.pem";
/// The stand-by KSK's private half: the one file that may be missing.
pub const STANDBY_KEY: &str = "anchor-standby.pem";

const NAME: &str = "name";

/// What the stems of certificates begin with, and those of their keys in its place.
const CERTIFICATE_STEM: &str = "certificate";
const TLS_KEY_STEM: &str = "tls-key";

/// No file of an identity is larger; a larger one is not read.
const MAX_FILE_OCTETS: u64 = 16 * 1024;

/// Time-to-live written to `*.dnskey` files; nobody caches a file.
const FILE_TTL: u32 = 3600;

/// Writes a whole identity to `dir`, or nothing.
pub(crate) fn write(identity: &Identity, dir: &Path) -> Result<(), IdentityError> {
    let unwritable = |path: &Path, source: io::Error| IdentityError::Unwritable {
        path: path.to_owned(),
        source,
    };
    let parent = durable::parent(dir);
    durable::create_folders(parent).map_err(|error| unwritable(parent, error))?;
    let prefix = building_prefix(dir);
    sweep(parent, &prefix);
    let building = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(|error| unwritable(parent, error))?;
    // Held while the folder is being filled, so that nobody else sweeps it away.
    let _lock = lock_folder(building.path()).map_err(|error| unwritable(building.path(), error))?;
    for (file, contents) in contents(identity) {
        let path = building.path().join(file);
        create_exclusive(&path, contents.as_bytes(), 0o600)
            .map_err(|error| unwritable(&path, error))?;
    }
    sync_folder(building.path()).map_err(|error| unwritable(building.path(), error))?;
    // Atomic, and fails when `dir` is there and not empty: an identity is never replaced.
    fs::rename(building.path(), dir).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
            IdentityError::Exists(dir.to_owned())
        }
        _ => unwritable(dir, error),
    })?;
    let _moved = building.keep();
    sync_folder(parent).map_err(|error| unwritable(parent, error))
}

/// Reads and checks the identity in `dir`.
pub(crate) fn read(dir: &Path) -> Result<Identity, IdentityError> {
    match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => check_private(dir)?,
        Ok(_) => {
            return Err(IdentityError::Malformed {
                path: dir.to_owned(),
                what: "is not a folder".to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(IdentityError::NotFound(dir.to_owned()));
        }
        // A disk that fails is no reason to restore a backup.
        Err(source) => {
            return Err(IdentityError::Unreadable {
                path: dir.to_owned(),
                source,
            });
        }
    }
    let folder = Folder(dir);
    let name = folder.name()?;
    let mut state = match folder.state()? {
        Some(state) => state,
        None => State::first(),
    };
    let mut shelf = Shelf::new();
    for key in &mut state.keys {
        let held = folder.held(&name, key)?;
        let sha256 = held.sha256();
        if key.sha256.is_empty() {
            key.sha256 = sha256;
        } else if key.sha256 != sha256 {
            return Err(IdentityError::Mismatch {
                path: dir.join(public_file(&key.stem)),
                other: dir.join(STATE_FILE),
                what: "it is another key than the state names".to_owned(),
            });
        }
        shelf.insert(key.stem.clone(), held);
    }
    let digests = |phase| state.keys(Part::AnchorKsk, phase);
    if let (Some(active), Some(standby)) = (
        digests(Phase::Active).next(),
        digests(Phase::Standby).next(),
    ) && active.sha256 == standby.sha256
    {
        return Err(IdentityError::Mismatch {
            path: dir.join(dnskey_file(&standby.stem)),
            other: dir.join(dnskey_file(&active.stem)),
            what: "the stand-by key must be another one than the active".to_owned(),
        });
    }
    Identity::assemble(name, state, shelf).ok_or_else(|| IdentityError::Malformed {
        path: dir.join(STATE_FILE),
        what: "does not name each key that is needed".to_owned(),
    })
}

/// Each file of an identity with its contents; without the state, of which a new identity has none.
fn contents(identity: &Identity) -> Vec<(String, String)> {
    let mut files = vec![(NAME.to_owned(), format!("{}\n", identity.name))];
    for (stem, held) in &identity.shelf {
        files.extend(files_of(&identity.name, stem, held));
    }
    files
}

/// The files of one key.
pub(crate) fn files_of(name: &ResolverName, stem: &str, held: &Held) -> Vec<(String, String)> {
    let private =
        |der: &PrivatePkcs8KeyDer<'_>| pem::encode(pem::PRIVATE_KEY, der.secret_pkcs8_der());
    match held {
        Held::Tls { certificate, key } => vec![
            (tls_key_file(stem), private(key)),
            (
                key_file(stem),
                pem::encode(pem::CERTIFICATE, certificate.der()),
            ),
        ],
        Held::Zone { dnskey, key } => {
            let mut files = vec![(
                dnskey_file(stem),
                dnskey_text(&owner_of(name, stem), dnskey),
            )];
            if let Some(key) = key {
                files.push((key_file(stem), private(key.pkcs8())));
            }
            files
        }
    }
}

/// What the files of one key may be called.
pub(crate) fn file_names(stem: &str) -> [String; 2] {
    match stem.starts_with(CERTIFICATE_STEM) {
        true => [tls_key_file(stem), key_file(stem)],
        false => [dnskey_file(stem), key_file(stem)],
    }
}

/// Whether a file of this name is a key's, whoever's it is: of a first key, or of a later one with its number. What people
/// put beside them is called otherwise, and is theirs.
pub(crate) fn is_key_file(file: &str) -> bool {
    const FAMILIES: [&str; 8] = [
        CERTIFICATE_STEM,
        TLS_KEY_STEM,
        "name-ksk",
        "name-zsk",
        "anchor-ksk",
        "anchor-zsk",
        "anchor-standby",
        "anchor-revoked",
    ];
    let stem = file
        .strip_suffix(".pem")
        .or_else(|| file.strip_suffix(".dnskey"));
    let number = |rest: &str| {
        let number = rest.strip_prefix('-').unwrap_or_default();
        !number.is_empty() && number.len() <= 8 && number.chars().all(|c| c.is_ascii_hexdigit())
    };
    stem.is_some_and(|stem| {
        let mut rests = FAMILIES
            .iter()
            .filter_map(|family| stem.strip_prefix(family));
        rests.any(|rest| rest.is_empty() || number(rest))
    })
}

fn owner_of(name: &ResolverName, stem: &str) -> Name {
    match stem.starts_with("name-") {
        true => name.as_name().clone(),
        false => anchor_zone(),
    }
}

/// A folder that is known to be private, and the reading of its files.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn name(&self) -> Result<ResolverName, IdentityError> {
        let text = self.text(NAME)?;
        let malformed = |what: String| self.malformed(NAME, what);
        let line = text
            .strip_suffix('\n')
            .ok_or_else(|| malformed("does not end with a line's end".to_owned()))?;
        line.parse().map_err(|error| malformed(format!("{error}")))
    }

    fn state(&self) -> Result<Option<State>, IdentityError> {
        if !self.exists(STATE_FILE)? {
            return match self.has_later_keys()? {
                false => Ok(None),
                true => Err(IdentityError::Missing(self.path(STATE_FILE))),
            };
        }
        let text = self.text(STATE_FILE)?;
        let state = State::parse(&text);
        state
            .map(Some)
            .map_err(|error| self.malformed(STATE_FILE, error.to_string()))
    }

    /// Whether there are files of keys that an identity does not begin with. Which of them are in use, the state alone
    /// knows: to go back to the first ones would be a roll-back.
    fn has_later_keys(&self) -> Result<bool, IdentityError> {
        let first = State::first();
        let first: Vec<String> = first
            .keys
            .iter()
            .flat_map(|key| file_names(&key.stem))
            .collect();
        let entries = fs::read_dir(self.0).map_err(|source| IdentityError::Unreadable {
            path: self.0.to_owned(),
            source,
        })?;
        let mut files = entries.flatten().map(|entry| entry.file_name());
        Ok(files.any(|file| {
            let file = file.to_string_lossy();
            is_key_file(&file) && !first.iter().any(|first| *first == file)
        }))
    }

    fn held(&self, name: &ResolverName, key: &Key) -> Result<Held, IdentityError> {
        let stem = &key.stem;
        let flags = match key.part {
            Part::Certificate => {
                let tls_key = self.private_key(&tls_key_file(stem))?;
                return Ok(Held::Tls {
                    certificate: self.certificate(name, stem, &tls_key)?,
                    key: Arc::new(tls_key),
                });
            }
            Part::NameKsk | Part::AnchorKsk => KSK_FLAGS,
            Part::NameZsk | Part::AnchorZsk => ZSK_FLAGS,
        };
        let owner = match key.part {
            Part::NameKsk | Part::NameZsk => name.as_name().clone(),
            _ => anchor_zone(),
        };
        if key.phase == Phase::Standby && !self.exists(&key_file(stem))? {
            return Ok(Held::Zone {
                dnskey: self.dnskey(stem, &owner, flags)?,
                key: None,
            });
        }
        Ok(Held::of(self.zone_key(stem, &owner, flags)?))
    }

    fn certificate(
        &self,
        name: &ResolverName,
        stem: &str,
        key: &PrivatePkcs8KeyDer<'_>,
    ) -> Result<Certificate, IdentityError> {
        let file = key_file(stem);
        let der = pem::certificate(self.text(&file)?.as_bytes())
            .ok_or_else(|| self.malformed(&file, "is not one certificate in PEM"))?;
        let certificate =
            Certificate::from_der(der).map_err(|error| self.malformed(&file, error.to_string()))?;
        certificate.check(name, key).map_err(|error| {
            let mismatch = |other: &str| IdentityError::Mismatch {
                path: self.path(&file),
                other: self.path(other),
                what: error.to_string(),
            };
            match error {
                CertificateError::OtherName(_) => mismatch(NAME),
                CertificateError::OtherKey => mismatch(&tls_key_file(stem)),
                CertificateError::Key => self.malformed(&tls_key_file(stem), error.to_string()),
                _ => self.malformed(&file, error.to_string()),
            }
        })?;
        Ok(certificate)
    }

    fn zone_key(&self, stem: &str, owner: &Name, flags: u16) -> Result<ZoneKey, IdentityError> {
        let private = self.private_key(&key_file(stem))?;
        let key = ZoneKey::from_pkcs8(flags, private)
            .map_err(|error| self.malformed(&key_file(stem), error.to_string()))?;
        if *key.dnskey() != self.dnskey(stem, owner, flags)? {
            return Err(IdentityError::Mismatch {
                path: self.path(&key_file(stem)),
                other: self.path(&dnskey_file(stem)),
                what: "the private key is not that of the DNSKEY".to_owned(),
            });
        }
        Ok(key)
    }

    fn private_key(&self, file: &str) -> Result<PrivatePkcs8KeyDer<'static>, IdentityError> {
        pem::private_key(self.text(file)?.as_bytes())
            .ok_or_else(|| self.malformed(file, "is not one PKCS#8 key in PEM"))
    }

    /// Accepts the very text that is written, nothing else.
    fn dnskey(&self, stem: &str, owner: &Name, flags: u16) -> Result<DNSKEY, IdentityError> {
        let file = dnskey_file(stem);
        let text = self.text(&file)?;
        let key = text
            .trim_end()
            .rsplit(' ')
            .next()
            .and_then(|base64| BASE64.decode(base64.as_bytes()).ok())
            .map(|key| DNSKEY::with_flags(flags, PublicKeyBuf::new(key, ALGORITHM)));
        match key {
            Some(key) if dnskey_text(owner, &key) == text => match is_p256(&key)? {
                true => Ok(key),
                false => Err(self.malformed(&file, "its key is not a point of P-256")),
            },
            _ => Err(self.malformed(
                &file,
                format!("is not the record `{owner} {FILE_TTL} IN DNSKEY {flags} 3 13 KEY`"),
            )),
        }
    }

    fn text(&self, file: &str) -> Result<String, IdentityError> {
        let path = self.path(file);
        if !self.exists(file)? {
            return Err(IdentityError::Missing(path));
        }
        check_private(&path)?;
        let unreadable = |source| IdentityError::Unreadable {
            path: path.clone(),
            source,
        };
        let octets = fs::metadata(&path).map_err(unreadable)?.len();
        if octets > MAX_FILE_OCTETS {
            return Err(self.malformed(
                file,
                format!("has {octets} octets, too many for such a file"),
            ));
        }
        let contents = fs::read(&path).map_err(unreadable)?;
        String::from_utf8(contents).map_err(|_| self.malformed(file, "is not text"))
    }

    /// A disk that fails does not say that there is no such file.
    fn exists(&self, file: &str) -> Result<bool, IdentityError> {
        let path = self.path(file);
        path.try_exists()
            .map_err(|source| IdentityError::Unreadable { path, source })
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn malformed(&self, file: &str, what: impl Into<String>) -> IdentityError {
        IdentityError::Malformed {
            path: self.path(file),
            what: what.into(),
        }
    }
}

fn key_file(stem: &str) -> String {
    format!("{stem}.pem")
}

/// The file of the key of the certificate in `stem`.
fn tls_key_file(stem: &str) -> String {
    key_file(&stem.replacen(CERTIFICATE_STEM, TLS_KEY_STEM, 1))
}

/// The file of the public half of a key.
fn public_file(stem: &str) -> String {
    match stem.starts_with(CERTIFICATE_STEM) {
        true => key_file(stem),
        false => dnskey_file(stem),
    }
}

fn dnskey_file(stem: &str) -> String {
    format!("{stem}.dnskey")
}

fn dnskey_text(owner: &Name, key: &DNSKEY) -> String {
    format!(
        "{} {FILE_TTL} IN DNSKEY {} 3 {} {}\n",
        owner.to_ascii(),
        key.flags(),
        u8::from(key.public_key().algorithm()),
        BASE64.encode(key.public_key().public_bytes())
    )
}

/// What folders under construction are called; they stand beside the identity's place, since only
/// a rename within a file system is atomic.
fn building_prefix(dir: &Path) -> String {
    let stem = dir.file_name().unwrap_or_default().to_string_lossy();
    format!(".{stem}.new-")
}

/// Removes what a crash left behind. Whoever is still building holds a lock.
fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(prefix);
        if ours
            && check_private(&entry.path()).is_ok()
            && let Ok(_lock) = lock_folder(&entry.path())
        {
            // It stays when it cannot be removed: it is in nobody's way, and private.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
