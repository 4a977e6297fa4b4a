//! An island validator: is this RRset signed by the keys of its zone, as of now?
//!
//! Resolvers publish two small zones that hang below no signed parent, so there is no chain to
//! climb: the caller names the keys that it trusts, and each RRset, or the proof that there is
//! none, is `Secure` or `Bogus` with a reason. There is no third verdict; *insecure* does not exist
//! on an island.
//!
//! Everything works on records in wire form, taken from a message by [`Reply`]: what an
//! attacker puts into one record cannot spoil the decoding of the others.
//!
//! Rules: RFC 4034 (records), RFC 4035 §5 (validation), RFC 5011 §2.1 (REVOKE), RFC 6840
//! (clarifications). The work that a message can cause is bounded (CVE-2023-50387, "KeyTrap"):
//! see the constants.

pub(crate) mod bogus;
mod denial;
pub(crate) mod key;
mod reply;
mod rrset;

pub use bogus::{Bogus, BogusReason};
pub(crate) use denial::covered_by;
pub use denial::{Denied, DeniedWhat, validate_denial};
pub use key::{TrustedKeys, ZoneKey, signers_of, validate_keys};
pub use reply::{MAX_RECORDS, Reply, ReplyError, Rrset, Signature};
pub use rrset::{Answered, Secure, validate_answer, validate_rrset};

/// The most keys taken from one DNSKEY RRset. Two KSKs, two ZSKs and a roll-over of each are eight.
pub const MAX_KEYS: usize = 16;

/// The most signatures looked at for one RRset.
pub const MAX_SIGNATURES: usize = 8;

/// The most keys of equal tag and algorithm tried for one signature: honest zones avoid collisions.
pub const MAX_KEYS_PER_SIGNATURE: usize = 2;

/// The most NSEC RRsets looked at in one denial; two are enough for any honest one.
pub const MAX_DENIAL_RECORDS: usize = 8;

#[cfg(test)]
mod tests;
