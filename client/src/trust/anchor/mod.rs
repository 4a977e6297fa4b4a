//! The trust anchor of one resolver's `resolver-name.arpa`: the state table of RFC 5011 §4.

mod observe;
mod set;

pub use observe::{AnchorEvent, KeySet, NotTrusted};
pub use set::{AnchorSet, AnchorSetError, KeyState, TrackedKey};

use std::time::Duration;

/// How long a new key must be seen before it is trusted (RFC 5011 §2.4.1), at the least: the
/// original time-to-live of the set that it appeared in counts where that is longer.
pub const ADD_HOLD_DOWN: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a revoked key is kept as such before it counts as removed (RFC 5011 §2.4.2).
pub const REMOVE_HOLD_DOWN: Duration = Duration::from_secs(30 * 24 * 3600);

/// The most that the time between two observations counts for, however long it was. RFC 5011 §2.3
/// has a resolver look at least every fifteen days; whoever did not look cannot say that a key
/// stayed, and a clock that was set ahead must not pass for a month of watching.
pub const MAX_GAP: Duration = Duration::from_secs(15 * 24 * 3600);

/// The most keys kept track of. Keys once revoked are kept for good, so that they never come back;
/// at a roll-over a year this is enough for a lifetime. A full table takes no new key.
pub const MAX_TRACKED_KEYS: usize = 64;
