//! Which keys there are, what each is used for, and since when that was to be seen.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::air::AirClock;
use crate::clock::UnixTime;
use crate::succession::{MAX_STATEMENTS, Statement};

/// The file's name within the identity's folder.
pub const STATE_FILE: &str = "rollover.state";

/// The only layout there is.
const SCHEMA: u32 = 1;

/// The most keys that a state holds; a roll-over of everything at once needs fifteen.
const MAX_KEYS: usize = 24;

/// What can be replaced by a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The TLS certificate with its key.
    Certificate,
    /// The zone-signing keys of both zones.
    Zsk,
    /// The key-signing key of the zone `NAME`.
    Ksk,
    /// The key-signing key of `resolver-name.arpa`: what clients trust.
    Anchor,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Certificate, Self::Zsk, Self::Ksk, Self::Anchor];

    /// The keys that go together.
    pub fn parts(self) -> &'static [Part] {
        match self {
            Self::Certificate => &[Part::Certificate],
            Self::Zsk => &[Part::NameZsk, Part::AnchorZsk],
            Self::Ksk => &[Part::NameKsk],
            Self::Anchor => &[Part::AnchorKsk],
        }
    }

    /// As it is written on a command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Zsk => "zsk",
            Self::Ksk => "ksk",
            Self::Anchor => "anchor",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|what| what.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is none of certificate, zsk, ksk, anchor"))
    }
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// TLS.
    Certificate,
    /// Key-signing key of `NAME`.
    NameKsk,
    /// Zone-signing key of `NAME`.
    NameZsk,
    /// Key-signing key of `resolver-name.arpa`.
    AnchorKsk,
    /// Zone-signing key of `resolver-name.arpa`.
    AnchorZsk,
}

impl Part {
    pub(crate) const ALL: [Self; 5] = [
        Self::Certificate,
        Self::NameKsk,
        Self::NameZsk,
        Self::AnchorKsk,
        Self::AnchorZsk,
    ];
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// In use.
    Active,
    /// Published so that it is known by the time it is used. A KSK signs the DNSKEY RRset already.
    Announced,
    /// A ZSK that signs no more and stays for the sake of signatures in caches.
    Retired,
    /// The next trust anchor.
    Standby,
    /// A trust anchor of before, published with the REVOKE bit.
    Revoked,
}

impl Phase {
    fn suits(self, part: Part) -> bool {
        match self {
            Self::Active => true,
            Self::Announced => part != Part::AnchorKsk,
            Self::Retired => matches!(part, Part::NameZsk | Part::AnchorZsk),
            Self::Standby | Self::Revoked => part == Part::AnchorKsk,
        }
    }
}

/// One key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Key {
    /// Whose it is.
    pub part: Part,
    /// What it is used for.
    pub phase: Phase,
    /// What its files are called, without the ending.
    pub stem: String,
    /// SHA-256 of its public half, in hexadecimal: of the SubjectPublicKeyInfo, or of the public key field of the
    /// DNSKEY.
    pub sha256: String,
    /// The air clock when it was first served in this phase. None: it was not yet.
    pub served: Option<u64>,
}

/// A roll-over that somebody asked for, and that has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Order {
    /// What is to be rolled.
    pub what: What,
    /// When it was asked for.
    pub at: UnixTime,
}

/// Everything that must be known about roll-overs across restarts: one file, replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    schema: u32,
    /// How long the zones have been served.
    pub air: AirClock,
    /// All keys.
    pub keys: Vec<Key>,
    /// What was asked for.
    pub orders: Vec<Order>,
    /// What retired anchors said, oldest first.
    pub statements: Vec<Statement>,
}

/// A text is not the state of roll-overs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("is not the state of roll-overs: {0}")]
pub struct StateDamaged(String);

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    state: State,
    /// SHA-256 of the state's canonical form: the fields in order, no white space.
    sha256: String,
}

impl State {
    /// That of an identity that was just made, or that was made before there were roll-overs: nothing is known to have
    /// been served. The digests are to be filled in.
    pub(crate) fn first() -> Self {
        let key = |(part, phase, stem): (Part, Phase, &str)| Key {
            part,
            phase,
            stem: stem.to_owned(),
            sha256: String::new(),
            served: None,
        };
        let keys = [
            (Part::Certificate, Phase::Active, "certificate"),
            (Part::NameKsk, Phase::Active, "name-ksk"),
            (Part::NameZsk, Phase::Active, "name-zsk"),
            (Part::AnchorKsk, Phase::Active, "anchor-ksk"),
            (Part::AnchorZsk, Phase::Active, "anchor-zsk"),
            (Part::AnchorKsk, Phase::Standby, "anchor-standby"),
        ];
        Self {
            schema: SCHEMA,
            air: AirClock::default(),
            keys: keys.map(key).into(),
            orders: Vec::new(),
            statements: Vec::new(),
        }
    }

    /// The keys of this kind in this phase, in the order in which they came.
    pub fn keys(&self, part: Part, phase: Phase) -> impl Iterator<Item = &Key> {
        let wanted = move |key: &&Key| key.part == part && key.phase == phase;
        self.keys.iter().filter(wanted)
    }

    /// The file's contents.
    pub(crate) fn to_text(&self) -> String {
        let file = StateFile {
            state: self.clone(),
            sha256: self.checksum(),
        };
        let mut text = serde_json::to_string(&file).expect("numbers and texts become JSON");
        text.push('\n');
        text
    }

    /// Reads the file's contents, and refuses what is damaged or cannot be.
    pub(crate) fn parse(text: &str) -> Result<Self, StateDamaged> {
        let file: StateFile =
            serde_json::from_str(text).map_err(|error| StateDamaged(error.to_string()))?;
        if file.sha256 != file.state.checksum() {
            return Err(StateDamaged("its checksum does not match".to_owned()));
        }
        file.state.check()?;
        Ok(file.state)
    }

    fn check(&self) -> Result<(), StateDamaged> {
        let damaged = |what: String| Err(StateDamaged(what));
        if self.schema != SCHEMA {
            return damaged(format!("its schema is {}, not {SCHEMA}", self.schema));
        }
        if self.keys.len() > MAX_KEYS || self.statements.len() > MAX_STATEMENTS {
            return damaged("it holds more keys or statements than there can be".to_owned());
        }
        for key in &self.keys {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if key.stem.is_empty() || !key.stem.chars().all(plain) {
                return damaged(format!("{:?} is not the name of a key", key.stem));
            }
            if !key.phase.suits(key.part) {
                return damaged(format!("{} cannot be {:?}", key.stem, key.phase));
            }
            if self
                .keys
                .iter()
                .filter(|other| other.stem == key.stem)
                .count()
                > 1
            {
                return damaged(format!("{} is there twice", key.stem));
            }
        }
        for part in Part::ALL {
            if self.keys(part, Phase::Active).count() != 1
                || self.keys(part, Phase::Announced).count() > 1
            {
                return damaged(format!("{part:?} has not one key in use"));
            }
        }
        if self.keys(Part::AnchorKsk, Phase::Standby).count() != 1 {
            return damaged("there is not one stand-by key".to_owned());
        }
        Ok(())
    }

    fn checksum(&self) -> String {
        let text = serde_json::to_vec(self).expect("numbers and texts become JSON");
        HEXLOWER.encode(digest(&SHA256, &text).as_ref())
    }
}
