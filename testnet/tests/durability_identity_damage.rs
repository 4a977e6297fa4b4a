//! Not one bit of an identity's files changes unnoticed: it is refused, or it is still the same identity.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use hickory_proto::{dnssec::rdata::DNSKEY, rr::Name};
use ring::rand::SystemRandom;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use zzdot_testnet::faults;
use zzdot_zonegen::{
    exit::Failure,
    identity::{Identity, IdentityError},
    identity_files::STANDBY_KEY,
};

struct Lab {
    _folder: TempDir,
    dir: PathBuf,
}

/// Everything of an identity that anybody outside ever sees, and the secrets behind it.
#[derive(Debug, PartialEq)]
struct Essence {
    name: String,
    certificate: CertificateDer<'static>,
    anchor: Vec<DNSKEY>,
    secrets: Vec<Vec<u8>>,
}

impl Lab {
    fn new() -> Self {
        let folder = faults::folder().unwrap();
        let dir = folder.path().join("identity");
        let suffix = Name::from_ascii("zz.").unwrap();
        Identity::create(&dir, &suffix, &SystemRandom::new()).unwrap();
        Self {
            _folder: folder,
            dir,
        }
    }

    fn load(&self) -> Result<Essence, IdentityError> {
        let identity = Identity::load(&self.dir)?;
        let keys = [
            Some(&identity.name_keys().ksk),
            Some(&identity.name_keys().zsk),
            Some(&identity.anchor_keys().ksk),
            Some(&identity.anchor_keys().zsk),
            identity.standby_key(),
        ];
        let mut secrets = vec![identity.tls_key().secret_der().to_vec()];
        let zone_keys = keys.into_iter().flatten();
        secrets.extend(zone_keys.map(|key| key.pkcs8().secret_pkcs8_der().to_vec()));
        Ok(Essence {
            name: identity.name().to_string(),
            certificate: identity.certificate(),
            anchor: identity.trust_anchor(),
            secrets,
        })
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    /// Loads with `contents` in `file`, and judges what comes of it. True when it was refused.
    fn refuses(&self, file: &Path, contents: &[u8], own: &Essence) -> bool {
        fs::write(file, contents).unwrap();
        let shown = || format!("{}: {}", file.display(), String::from_utf8_lossy(contents));
        match self.load() {
            // White space and such: the parts are the very same.
            Ok(loaded) => {
                assert_eq!(&loaded, own, "{}", shown());
                false
            }
            Err(error) => {
                let failure = Failure::from(error);
                let folder = self.dir.to_str().unwrap();
                assert!(failure.message.contains(folder), "{failure}");
                true
            }
        }
    }

    /// Flips each bit of each file in turn; returns how many flips there were, and how many were refused.
    fn flip_each_bit(&self) -> (usize, usize) {
        let own = self.load().unwrap();
        let (mut flips, mut refused) = (0, 0);
        for file in self.files() {
            let contents = fs::read(&file).unwrap();
            for position in 0..contents.len() {
                for bit in 0..8 {
                    let mut changed = contents.clone();
                    changed[position] ^= 1 << bit;
                    flips += 1;
                    refused += usize::from(self.refuses(&file, &changed, &own));
                }
            }
            fs::write(&file, contents).unwrap();
        }
        assert_eq!(self.load().unwrap(), own);
        (flips, refused)
    }
}

#[test]
fn each_flipped_bit_is_refused_or_makes_no_difference() {
    let (flips, refused) = Lab::new().flip_each_bit();
    println!("{flips} flips, {refused} refused");
    assert!(
        flips > 10_000 && refused > flips * 9 / 10,
        "{refused} of {flips}"
    );
}

#[test]
fn each_flipped_bit_is_refused_too_where_the_standby_key_is_kept_elsewhere() {
    let lab = Lab::new();
    fs::remove_file(lab.dir.join(STANDBY_KEY)).unwrap();
    let (flips, refused) = lab.flip_each_bit();
    println!("{flips} flips, {refused} refused");
    assert!(
        flips > 10_000 && refused > flips * 9 / 10,
        "{refused} of {flips}"
    );
}

#[test]
fn each_file_cut_anywhere_is_refused_or_has_lost_nothing() {
    let lab = Lab::new();
    let own = lab.load().unwrap();
    for file in lab.files() {
        let contents = fs::read(&file).unwrap();
        let cuts = contents.len();
        let refused: usize = (0..cuts)
            .map(|keep| usize::from(lab.refuses(&file, &contents[..keep], &own)))
            .sum();
        // At the most the line's end behind the last line of a PEM file.
        assert!(
            refused + 1 >= cuts,
            "{}: {refused} of {cuts}",
            file.display()
        );
        fs::write(&file, contents).unwrap();
    }
}
