//! `zzdot-zonegen verify`

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use clap::Args;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::{Name, RData, RecordType};

use super::{Env, print};
use crate::clock::UnixTime;
use crate::exit::{Exit, Failure};
use crate::identity::Identity;
use crate::keys::key_of_dnskey;
use crate::master_file;
use crate::owners::{anchor_zone, key_owner};
use crate::signed_zone::SignedZone;
use crate::verify::verify;

/// A zone of this project has twenty records; no file of it comes near.
const MAX_FILE_OCTETS: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The folder of the identity
    dir: PathBuf,
    /// The folder of signed zone files to check against it
    #[arg(long, value_name = "DIR")]
    zones: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(&self, env: &mut Env<'_>) -> Result<(), Failure> {
        let identity = Identity::load(&self.dir).map_err(|error| {
            // What elsewhere keeps a command from running is here the verdict that was asked for.
            let exit = match error.is_damage() {
                true => Exit::Distrust,
                false => error.exit(),
            };
            Failure {
                exit,
                ..Failure::from(error)
            }
        })?;
        print(
            env,
            &format!("{}: the identity is whole\n", identity.name()),
        )?;
        let Some(folder) = &self.zones else {
            return Ok(());
        };
        let name = identity.name().as_name();
        let name_anchor = [identity.name_keys().ksk.dnskey().clone()];
        let anchors: [(&Name, &[DNSKEY]); 2] = [
            (name, &name_anchor),
            (&anchor_zone(), &identity.trust_anchor()),
        ];
        for (origin, anchor) in anchors {
            let path = folder.join(format!("{}zone", origin.to_ascii()));
            let zone = read_zone(&path, origin)?;
            let text = check(&path, &zone, &identity, anchor, env.now)?;
            print(env, &text)?;
        }
        Ok(())
    }
}

fn read_zone(path: &Path, origin: &Name) -> Result<SignedZone, Failure> {
    let failure = |exit, what: String| Failure::new(exit, format!("{}: {what}", path.display()));
    let unreadable = |error: std::io::Error| failure(Exit::CannotRun, error.to_string());
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_OCTETS {
        return Err(failure(
            Exit::Distrust,
            "is too large for such a zone".to_owned(),
        ));
    }
    let octets = fs::read(path).map_err(unreadable)?;
    let distrust = |what: String| failure(Exit::Distrust, what);
    let text = String::from_utf8(octets).map_err(|_| distrust("is not text".to_owned()))?;
    let records =
        master_file::read(&text, Some(origin)).map_err(|error| distrust(error.to_string()))?;
    let zone = SignedZone::from_records(records).map_err(|error| distrust(error.to_string()))?;
    if zone.origin() != origin {
        return Err(distrust(format!(
            "is the zone {}, not {origin}",
            zone.origin()
        )));
    }
    Ok(zone)
}

fn check(
    path: &Path,
    zone: &SignedZone,
    identity: &Identity,
    anchor: &[DNSKEY],
    now: UnixTime,
) -> Result<String, Failure> {
    let distrust =
        |what: String| Failure::new(Exit::Distrust, format!("{}: {what}", path.display()));
    let verified = verify(zone, anchor, now).map_err(|bogus| distrust(bogus.to_string()))?;
    check_contents(zone, identity).map_err(distrust)?;
    Ok(format!(
        "{}: {} RRsets verify until {}\n",
        zone.origin(),
        verified.rrsets,
        verified.expires
    ))
}

/// What is signed must also be what this identity has: its KEY, its certificate's TLSA.
fn check_contents(zone: &SignedZone, identity: &Identity) -> Result<(), String> {
    if zone.origin() == identity.name().as_name() {
        let mut found = false;
        for (owner, _, rrset) in zone
            .rrsets()
            .filter(|(_, rtype, _)| *rtype == RecordType::TLSA)
        {
            for record in &rrset.records {
                let RData::TLSA(tlsa) = &record.data else {
                    continue;
                };
                found = true;
                let kind = (tlsa.cert_usage, tlsa.selector, tlsa.matching);
                let expected = (CertUsage::DaneEe, Selector::Spki, Matching::Sha256);
                let ours = |spki: &[u8; 32]| tlsa.cert_data == spki;
                let next = &identity.beside().spkis;
                if kind != expected || !(ours(&identity.spki_sha256()) || next.iter().any(ours)) {
                    return Err(format!("{owner} TLSA: is not the identity's certificate"));
                }
            }
        }
        return match found {
            true => Ok(()),
            false => Err("there is no TLSA record".to_owned()),
        };
    }
    let owner = key_owner(identity.name());
    let ksks = iter::once(&identity.name_keys().ksk).chain(&identity.beside().name_ksks);
    let expected: Vec<RData> = ksks
        .map(|ksk| RData::DNSSEC(DNSSECRData::KEY(key_of_dnskey(ksk.dnskey()))))
        .collect();
    let keys = zone.rrset(&owner, RecordType::KEY);
    let same = |rrset: &crate::signed_zone::RrSet| {
        rrset.records.len() == expected.len()
            && rrset.records.iter().all(|key| expected.contains(&key.data))
    };
    match keys.is_some_and(same) {
        true => Ok(()),
        false => Err(format!(
            "{owner} KEY: is not the KSK of {}",
            identity.name()
        )),
    }
}
