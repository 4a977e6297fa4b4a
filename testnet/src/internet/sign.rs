//! Signing with `ldns-signzone`: a signer that shares no line with the programs under test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use data_encoding::{BASE64, HEXLOWER};
use hickory_proto::{
    dnssec::{Algorithm, DigestType, PublicKeyBuf, rdata::DNSKEY},
    rr::Name,
};

use super::{
    InternetError,
    zone::{Signing, Zone},
};
use crate::programs;

/// Key pairs are drawn once and lent to many zones: a key tag and a DS depend on the owner, a private key does not.
const POOL: usize = 8;
const KSK_FLAGS: u16 = 257;
const ZSK_FLAGS: u16 = 256;

/// Key pairs.
pub(crate) struct KeyPool {
    pairs: Vec<KeyPair>,
}

struct KeyPair {
    /// The file as `ldns-keygen` wrote it.
    private: String,
    public: Vec<u8>,
}

/// The keys of one zone: one that its parent names, and one that signs.
#[derive(Clone, Copy)]
pub(crate) struct ZoneKeys<'a> {
    entry: &'a KeyPair,
    signing: &'a KeyPair,
}

impl KeyPool {
    /// Draws the keys, in a folder of their own.
    pub(crate) fn generate(folder: &Path) -> Result<Self, InternetError> {
        fs::create_dir_all(folder).map_err(InternetError::file(folder))?;
        let pairs = (0..POOL)
            .map(|_| KeyPair::generate(folder))
            .collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    /// Lends keys to the zone with this number. Every other zone signs everything with a single key.
    pub(crate) fn lend(&self, number: usize) -> ZoneKeys<'_> {
        let entry = &self.pairs[number % POOL];
        ZoneKeys {
            entry,
            signing: if number.is_multiple_of(2) {
                &self.pairs[(number + 1) % POOL]
            } else {
                entry
            },
        }
    }
}

impl KeyPair {
    fn generate(folder: &Path) -> Result<Self, InternetError> {
        let mut command = Command::new(programs::find("ldns-keygen")?);
        command
            .args(["-a", "ECDSAP256SHA256", "lab.example"])
            .current_dir(folder);
        let stem = run(command)?;
        let read = |ending: &str| {
            let path = folder.join(format!("{}.{ending}", stem.trim()));
            fs::read_to_string(&path).map_err(InternetError::file(&path))
        };
        let public = read("key")?
            .split_whitespace()
            .skip_while(|field| *field != "DNSKEY")
            .nth(4)
            .and_then(|key| BASE64.decode(key.as_bytes()).ok())
            .ok_or_else(|| InternetError::Signer {
                program: "ldns-keygen".into(),
                said: "no key in its file".into(),
            })?;
        Ok(Self {
            private: read("private")?,
            public,
        })
    }

    fn record(&self, flags: u16) -> DNSKEY {
        DNSKEY::with_flags(
            flags,
            PublicKeyBuf::new(self.public.clone(), Algorithm::ECDSAP256SHA256),
        )
    }

    /// Writes the pair of files that the signer reads, and returns their common stem.
    fn write(&self, zone: &Zone, flags: u16, folder: &Path) -> Result<PathBuf, InternetError> {
        let stem = folder.join(format!("{}.key{flags}", zone.file_stem()));
        let public = format!(
            "{}. IN DNSKEY {flags} 3 13 {}\n",
            zone.origin,
            BASE64.encode(&self.public)
        );
        for (ending, contents) in [("key", &public), ("private", &self.private)] {
            let path = PathBuf::from(format!("{}.{ending}", stem.display()));
            fs::write(&path, contents).map_err(InternetError::file(&path))?;
        }
        Ok(stem)
    }
}

impl ZoneKeys<'_> {
    /// What the parent publishes.
    pub(crate) fn delegation_signer(&self, origin: &Name) -> Result<String, InternetError> {
        let key = self.entry.record(KSK_FLAGS);
        let digest = key.to_digest(origin, DigestType::SHA256)?;
        Ok(format!(
            "{} 13 2 {}",
            key.calculate_key_tag()?,
            HEXLOWER.encode(digest.as_ref())
        ))
    }

    /// The key that the parent names, as a trust anchor is written.
    pub(crate) fn anchor(&self, origin: &str) -> String {
        format!(
            "{origin}. 172800 IN DNSKEY {KSK_FLAGS} 3 13 {}\n",
            BASE64.encode(&self.entry.public)
        )
    }
}

/// Writes (and signs, where they are) all zones into `folder`, as `ORIGIN.zone`, on all cores.
pub(crate) fn write_zones(
    zones: &[(Zone, ZoneKeys<'_>)],
    wrong: ZoneKeys<'_>,
    folder: &Path,
) -> Result<(), InternetError> {
    fs::create_dir_all(folder).map_err(InternetError::file(folder))?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), InternetError> {
        while let Some((zone, keys)) = zones.get(next.fetch_add(1, Ordering::Relaxed)) {
            let keys = if zone.signing == Signing::WrongKey {
                wrong
            } else {
                *keys
            };
            write_zone(zone, keys, folder)?;
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn write_zone(zone: &Zone, keys: ZoneKeys<'_>, folder: &Path) -> Result<(), InternetError> {
    let signed = zone_path(folder, zone);
    let plain = if zone.signing.is_signed() {
        folder.join(format!("{}.unsigned", zone.file_stem()))
    } else {
        signed.clone()
    };
    fs::write(&plain, zone.master_file()).map_err(InternetError::file(&plain))?;
    if !zone.signing.is_signed() {
        return Ok(());
    }
    let mut command = Command::new(programs::find("ldns-signzone")?);
    command.args(match zone.signing {
        Signing::Nsec3 => ["-n", "-t", "0"].as_slice(),
        Signing::Expired => &["-i", "20240101000000", "-e", "20240201000000"],
        Signing::NotYetValid => &["-i", "20400101000000", "-e", "20400201000000"],
        _ => &[],
    });
    command
        .args(["-o", &format!("{}.", zone.origin), "-f"])
        .arg(&signed)
        .arg(&plain);
    command.arg(keys.entry.write(zone, KSK_FLAGS, folder)?);
    if !std::ptr::eq(keys.entry, keys.signing) {
        command.arg(keys.signing.write(zone, ZSK_FLAGS, folder)?);
    }
    run(command)?;
    if zone.signing == Signing::Broken {
        spoil_signatures(&signed)
    } else {
        Ok(())
    }
}

/// Where a zone's file is.
pub(crate) fn zone_path(folder: &Path, zone: &Zone) -> PathBuf {
    folder.join(format!("{}.zone", zone.file_stem()))
}

/// Changes the data below each signature of an address; the keys' own signature stays good.
fn spoil_signatures(path: &Path) -> Result<(), InternetError> {
    let zone = fs::read_to_string(path).map_err(InternetError::file(path))?;
    let spoilt: String = zone
        .lines()
        .map(|line| match line.split_once("RRSIG\tA ") {
            Some(_) => {
                let (head, signature) = line.rsplit_once(' ').unwrap_or((line, ""));
                let first = if signature.starts_with('A') { 'B' } else { 'A' };
                format!("{head} {first}{}\n", signature.get(1..).unwrap_or_default())
            }
            None => format!("{line}\n"),
        })
        .collect();
    if spoilt == zone {
        return Err(InternetError::Signer {
            program: "ldns-signzone".into(),
            said: format!("no signature to spoil in {}", path.display()),
        });
    }
    fs::write(path, spoilt).map_err(InternetError::file(path))
}

fn run(mut command: Command) -> Result<String, InternetError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |said: String| InternetError::Signer {
        program: program.clone(),
        said,
    };
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
