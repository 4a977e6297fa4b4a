//! What is remembered of a resolver, and what a new meeting adds to it (protocol, "Trust" and
//! "Change over time").
//!
//! [`KnownIdentity`] is the record of one resolver. Its [`AnchorSet`] is the state table of
//! RFC 5011; nothing but an observation that a walk ended well with moves it, and nothing here reads
//! a clock.

mod anchor;
pub mod dnskey_texts;
mod identity;
mod state;
mod verification;
mod version;

pub use anchor::{
    ADD_HOLD_DOWN, AnchorEvent, AnchorSet, AnchorSetError, KeySet, KeyState, MAX_GAP,
    MAX_TRACKED_KEYS, NotTrusted, REMOVE_HOLD_DOWN, TrackedKey,
};
pub use identity::KnownIdentity;
pub use state::TrustState;
pub use verification::{AnchorDs, AnchorDsError, Enrolled, Verification, VerifiedBy};
pub(crate) use version::Age;
pub use version::{ZoneVersion, ZoneVersions};

#[cfg(test)]
mod tests;
