//! An identity told to people and to scripts. Field names of the JSON form are promised to stay.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::keys::{ds, key_tag};
use crate::master_file::rdata_text;
use crate::name::ResolverName;
use crate::owners::anchor_zone;
use crate::phrase::Phrase;
use crate::publication::Stamp;
use crate::trust_anchor::trust_anchor_text;
use crate::uri::{ANCHORS_MAX, VerificationUri};
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS};
use hickory_proto::rr::RData;

/// What is public about an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The resolver's name, without the final dot.
    pub name: ResolverName,
    /// The certificate's key as HPKP, stubby and unbound write it: `sha256/BASE64`.
    pub pin: String,
    /// The record data of the TLSA.
    pub tlsa: String,
    /// The keys of `resolver-name.arpa` that clients hold on to.
    pub trust_anchor: Vec<Anchor>,
    /// The verification phrase, in words.
    pub phrase: String,
    /// The verification phrase, in digits.
    pub phrase_digits: String,
    /// What a QR code tells, without addresses: those depend on the configuration.
    pub uri: String,
    /// Whether the stand-by key's private half is on this machine.
    pub standby_key_present: bool,
    /// The last publication, if there was one.
    pub publication: Option<Publication>,
    /// The trust anchor in master-file form, see [`trust_anchor_text`].
    pub trust_anchor_text: String,
}

/// One key of the trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Anchor {
    /// What it is for.
    pub role: Role,
    /// The key tag.
    pub key_tag: u16,
    /// The record data of the DNSKEY.
    pub dnskey: String,
    /// The record data of the DS.
    pub ds: String,
}

/// What a key of the trust anchor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It signs today.
    Active,
    /// It will sign when the active one no longer may.
    Standby,
}

/// The last publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Publication {
    /// The SOA serial of both zones.
    pub serial: u32,
    /// The inception of the signatures, RFC 3339.
    pub inception: String,
    /// When the zones were made, RFC 3339.
    pub made: String,
}

impl Summary {
    /// Sums up an identity and its last publication.
    pub fn new(identity: &Identity, stamp: Option<&Stamp>) -> Self {
        let roles = [Role::Active, Role::Standby];
        let keys = identity.trust_anchor();
        let told = keys.iter().take(ANCHORS_MAX);
        let anchors: Vec<DS> = told.map(|key| ds(&anchor_zone(), key)).collect();
        let phrase = Phrase::of(identity.name(), &anchors[0]);
        let uri = VerificationUri::new(identity.name().clone(), anchors, [])
            .expect("an identity has an active anchor, by SHA-256");
        Self {
            name: identity.name().clone(),
            pin: format!("sha256/{}", BASE64.encode(&identity.spki_sha256())),
            tlsa: format!("3 1 1 {}", HEXLOWER.encode(&identity.spki_sha256())),
            trust_anchor: roles
                .iter()
                .zip(&keys)
                .map(|(role, key)| anchor(*role, key))
                .collect(),
            phrase: phrase.to_string(),
            phrase_digits: phrase.digits(),
            uri: uri.to_string(),
            standby_key_present: identity.standby_key().is_some(),
            publication: stamp.map(|stamp| Publication {
                serial: stamp.serial,
                inception: stamp.inception.to_string(),
                made: stamp.made.to_string(),
            }),
            trust_anchor_text: trust_anchor_text(identity),
        }
    }

    /// The summary as JSON, with a line's end.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts and numbers become JSON");
        text.push('\n');
        text
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name         {}", self.name)?;
        writeln!(f, "pin          {}", self.pin)?;
        writeln!(f, "tlsa         {}", self.tlsa)?;
        for anchor in &self.trust_anchor {
            writeln!(f, "anchor       {} ({})", anchor.ds, anchor.role)?;
        }
        writeln!(f, "phrase       {}", self.phrase)?;
        let standby = match self.standby_key_present {
            true => "on this machine",
            false => "kept elsewhere",
        };
        writeln!(f, "standby key  {standby}")?;
        match &self.publication {
            None => writeln!(f, "published    not yet"),
            Some(publication) => writeln!(
                f,
                "published    serial {}, {}",
                publication.serial, publication.made
            ),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Standby => "standby",
        })
    }
}

fn anchor(role: Role, key: &DNSKEY) -> Anchor {
    let text = |data| rdata_text(&RData::DNSSEC(data));
    Anchor {
        role,
        key_tag: key_tag(key),
        dnskey: text(DNSSECRData::DNSKEY(key.clone())),
        ds: text(DNSSECRData::DS(ds(&anchor_zone(), key))),
    }
}
