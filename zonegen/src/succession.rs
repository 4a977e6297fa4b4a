//! Succession statements: an old trust anchor names, with its own signature, the keys that follow it.
//!
//! RFC 5011 carries a validator through a roll-over when it looks in during it. One that was away for a year and
//! through two roll-overs knows none of the keys any more. Each key that is retired without being compromised leaves a
//! statement behind, kept for thirteen months in a TXT RRset at `_succession.resolver-name.arpa`, one record each:
//!
//! ```text
//! v=1 old=TAG key=BASE64 new=DS[,DS] from=UNIX until=UNIX sig=BASE64
//! ```
//!
//! `old` and `key` are the key tag and the public key (RFC 6605 §4) of the key that speaks, as it was before it was
//! revoked; without the key itself nobody could follow several statements in a row. `new` holds the DS with SHA-256 of
//! the next active and the next stand-by key as `TAG-ALGORITHM-2-HEX`. The signature covers a line that names the
//! purpose, the resolver's name, and all fields before `sig`, as they are written; there is one way to write each.
//!
//! A statement proves descent and nothing else. That the keys still belong to whoever is at the other end must be
//! proved by the DNSKEY RRset and the TLS key, as at any other meeting.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{PublicKey, PublicKeyBuf};
use hickory_proto::rr::rdata::TXT;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use thiserror::Error;

use crate::clock::UnixTime;
use crate::keys::{ALGORITHM, KSK_FLAGS, KeyError, ZoneKey, ds, key_tag};
use crate::name::ResolverName;
use crate::owners::anchor_zone;

/// The longest text of a statement, in octets; the longest that is well-formed has some 400.
pub const MAX_OCTETS: usize = 512;

/// The most statements that are looked at: no more can be made within thirteen months.
pub const MAX_STATEMENTS: usize = 16;

/// The most successors that one statement names: the active key and the stand-by.
pub const MAX_NEW: usize = 2;

/// What the signature covers first. It cannot be taken for the beginning of what an RRSIG covers: as such it would be
/// of algorithm 100 (RFC 4034 §3.1.8.1).
const PURPOSE: &str = "zzdot succession 1";

/// The longest character-string of a TXT record (RFC 1035 §3.3).
const STRING_OCTETS: usize = 255;

/// The digest type of DS records here: SHA-256 (RFC 4509).
const SHA256: u8 = 2;

/// What identifies a key: its DS with SHA-256 at `resolver-name.arpa`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest {
    tag: u16,
    algorithm: u8,
    sha256: [u8; 32],
}

/// One statement: well-formed, its signature not necessarily right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The public key of the key that speaks.
    old: Vec<u8>,
    old_tag: u16,
    new: Vec<KeyDigest>,
    from: UnixTime,
    until: UnixTime,
    signature: Vec<u8>,
}

/// Why a text is not a statement, or a statement is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SuccessionError {
    /// More octets than any statement has.
    #[error("a succession statement of {0} octets; {MAX_OCTETS} are allowed")]
    TooLong(usize),
    /// Not the fields in their order, each written in the one way.
    #[error("not a succession statement: {0}")]
    Malformed(&'static str),
    /// A statement of a version that is not known here.
    #[error("a succession statement of another version")]
    Version,
    /// A key names itself as its successor, or nobody or too many.
    #[error("a succession statement with successors that cannot be meant")]
    Successors,
    /// The key that is asked to sign is not an active key-signing key.
    #[error("key {0} cannot make a succession statement")]
    Signer(u16),
    /// The statement is not by the key it says.
    #[error("a succession statement whose signature is not by key {0}")]
    Signature(u16),
    /// The statement holds at another time.
    #[error("the succession statement of key {tag} holds from {from} to {until}; it is {now}")]
    Time {
        /// The tag of the key that speaks.
        tag: u16,
        /// From when on it holds.
        from: UnixTime,
        /// How long it holds.
        until: UnixTime,
        /// The time.
        now: UnixTime,
    },
    /// The system gave no randomness.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl KeyDigest {
    /// The digest of a key of `resolver-name.arpa`. A revoked key has the digest that it had before.
    #[must_use]
    pub fn of(key: &DNSKEY) -> Self {
        let public = key.public_key();
        let plain = DNSKEY::with_flags(
            key.flags() & !crate::keys::REVOKE,
            PublicKeyBuf::new(public.public_bytes().to_vec(), public.algorithm()),
        );
        let ds = ds(&anchor_zone(), &plain);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(ds.digest());
        Self {
            tag: ds.key_tag(),
            algorithm: u8::from(ds.algorithm()),
            sha256,
        }
    }

    /// The key tag.
    #[must_use]
    pub fn tag(&self) -> u16 {
        self.tag
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let tag = number(parts.next()?)?;
        let algorithm = number(parts.next()?)?;
        if parts.next()? != "2" {
            return None;
        }
        let sha256 = HEXLOWER.decode(parts.next()?.as_bytes()).ok()?;
        (parts.next().is_none()).then_some(Self {
            tag,
            algorithm,
            sha256: sha256.try_into().ok()?,
        })
    }
}

impl fmt::Display for KeyDigest {
    /// `TAG-ALGORITHM-2-HEX`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = HEXLOWER.encode(&self.sha256);
        write!(f, "{}-{}-{SHA256}-{hex}", self.tag, self.algorithm)
    }
}

impl Statement {
    /// Has `old` say that `new` (the next active key, then the next stand-by) follow it.
    ///
    /// # Errors
    /// [`SuccessionError::Signer`] for a key that is revoked or no KSK, [`SuccessionError::Successors`] where `new` is
    /// empty, longer than [`MAX_NEW`], or names `old` itself; and where there is no randomness.
    pub fn sign(
        name: &ResolverName,
        old: &ZoneKey,
        new: &[&DNSKEY],
        from: UnixTime,
        until: UnixTime,
    ) -> Result<Self, SuccessionError> {
        if old.dnskey().flags() != KSK_FLAGS {
            return Err(SuccessionError::Signer(old.tag()));
        }
        let mut statement = Self {
            old: old.dnskey().public_key().public_bytes().to_vec(),
            old_tag: old.tag(),
            new: new.iter().map(|key| KeyDigest::of(key)).collect(),
            from,
            until,
            signature: Vec::new(),
        };
        statement.check_successors()?;
        statement.signature = old.sign(&statement.message(name))?;
        Ok(statement)
    }

    /// Reads the data of one TXT record, its strings one after the other.
    ///
    /// # Errors
    /// What is wrong with it. The signature is not looked at.
    pub fn from_txt<'a>(
        strings: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, SuccessionError> {
        let mut text = Vec::new();
        for string in strings {
            text.extend_from_slice(string);
            if text.len() > MAX_OCTETS {
                return Err(SuccessionError::TooLong(text.len()));
            }
        }
        let text = str::from_utf8(&text).map_err(|_| SuccessionError::Malformed("not text"))?;
        Self::parse(text)
    }

    /// Reads the text of a statement.
    ///
    /// # Errors
    /// What is wrong with it. The signature is not looked at.
    pub fn parse(text: &str) -> Result<Self, SuccessionError> {
        use SuccessionError::Malformed;
        if text.len() > MAX_OCTETS {
            return Err(SuccessionError::TooLong(text.len()));
        }
        let mut fields = text.split(' ');
        let mut field = |name: &'static str| {
            let value = fields.next().and_then(|field| field.strip_prefix(name));
            value.ok_or(Malformed(name))
        };
        if field("v=")? != "1" {
            return Err(SuccessionError::Version);
        }
        let old_tag = number(field("old=")?).ok_or(Malformed("old="))?;
        let old = base64(field("key=")?).ok_or(Malformed("key="))?;
        let new = field("new=")?;
        let from = UnixTime(number(field("from=")?).ok_or(Malformed("from="))?);
        let until = UnixTime(number(field("until=")?).ok_or(Malformed("until="))?);
        let signature = base64(field("sig=")?).ok_or(Malformed("sig="))?;
        if fields.next().is_some() {
            return Err(Malformed("more than its fields"));
        }
        let new: Option<Vec<_>> = new.split(',').map(KeyDigest::parse).collect();
        let statement = Self {
            new: new.ok_or(Malformed("new="))?,
            old: old.to_vec(),
            old_tag,
            from,
            until,
            signature: signature.to_vec(),
        };
        if key_tag(&statement.signer()) != old_tag {
            return Err(Malformed("old= and key= are of two keys"));
        }
        statement.check_successors()?;
        Ok(statement)
    }

    /// The statement as data of a TXT record.
    #[must_use]
    pub fn to_txt(&self) -> TXT {
        let text = self.to_string().into_bytes();
        TXT::from_bytes(text.chunks(STRING_OCTETS).collect())
    }

    /// The key that speaks, as it was while it was active.
    #[must_use]
    pub fn signer(&self) -> DNSKEY {
        DNSKEY::with_flags(KSK_FLAGS, PublicKeyBuf::new(self.old.clone(), ALGORITHM))
    }

    /// The keys that follow it.
    #[must_use]
    pub fn successors(&self) -> &[KeyDigest] {
        &self.new
    }

    /// How long it holds.
    #[must_use]
    pub fn until(&self) -> UnixTime {
        self.until
    }

    /// Checks that the key that is said to speak did so, for this resolver, and for the time `now`. Whether that key is
    /// trusted is the caller's to know.
    ///
    /// # Errors
    /// [`SuccessionError::Signature`] or [`SuccessionError::Time`].
    pub fn check(&self, name: &ResolverName, now: UnixTime) -> Result<(), SuccessionError> {
        // RFC 6605 §4: the point without the octet that says "uncompressed".
        let point = [&[4], self.old.as_slice()].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(&self.message(name), &self.signature)
            .map_err(|_| SuccessionError::Signature(self.old_tag))?;
        if now < self.from || now > self.until {
            return Err(SuccessionError::Time {
                tag: self.old_tag,
                from: self.from,
                until: self.until,
                now,
            });
        }
        Ok(())
    }

    fn check_successors(&self) -> Result<(), SuccessionError> {
        let itself = KeyDigest::of(&self.signer());
        let twice = matches!(self.new.as_slice(), [first, second] if first == second);
        if self.new.is_empty()
            || self.new.len() > MAX_NEW
            || twice
            || self.new.contains(&itself)
            || self.until < self.from
        {
            return Err(SuccessionError::Successors);
        }
        Ok(())
    }

    fn message(&self, name: &ResolverName) -> Vec<u8> {
        format!("{PURPOSE}\n{name}\n{}", self.fields()).into_bytes()
    }

    /// Everything but the signature.
    fn fields(&self) -> String {
        let new: Vec<String> = self.new.iter().map(ToString::to_string).collect();
        format!(
            "v=1 old={} key={} new={} from={} until={}",
            self.old_tag,
            BASE64.encode(&self.old),
            new.join(","),
            self.from.0,
            self.until.0
        )
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sig={}",
            self.fields(),
            BASE64.encode(&self.signature)
        )
    }
}

impl serde::Serialize for Statement {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Statement {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Which keys of `shown` descend from a key of `trusted` by statements that hold `now`, over any number of generations.
/// Statements of a key in `distrusted` (revoked or removed) do not count, and none of those keys is among the result.
#[must_use]
pub fn descendants(
    name: &ResolverName,
    trusted: &[DNSKEY],
    distrusted: &[DNSKEY],
    statements: &[Statement],
    shown: &[DNSKEY],
    now: UnixTime,
) -> Vec<DNSKEY> {
    let distrusted: Vec<KeyDigest> = distrusted.iter().map(KeyDigest::of).collect();
    let mut family: Vec<KeyDigest> = trusted.iter().map(KeyDigest::of).collect();
    family.retain(|key| !distrusted.contains(key));
    let mut left: Vec<(KeyDigest, &Statement)> = statements
        .iter()
        .take(MAX_STATEMENTS)
        .map(|statement| (KeyDigest::of(&statement.signer()), statement))
        .collect();
    // Each turn uses up a statement, so that there are no more turns than statements.
    while let Some(at) = left.iter().position(|(by, _)| family.contains(by)) {
        let (_, statement) = left.swap_remove(at);
        if statement.check(name, now).is_ok() {
            let new = statement.successors().iter();
            family.extend(new.filter(|key| !distrusted.contains(key)).cloned());
        }
    }
    let descends = |key: &&DNSKEY| key.flags() == KSK_FLAGS && family.contains(&KeyDigest::of(key));
    shown.iter().filter(descends).cloned().collect()
}

/// A number written in the one way: no sign, no leading zero.
fn number<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The 64 octets of a point or a signature of P-256.
fn base64(text: &str) -> Option<[u8; 64]> {
    let octets = BASE64.decode(text.as_bytes()).ok()?;
    octets.try_into().ok()
}

#[cfg(test)]
mod tests;
