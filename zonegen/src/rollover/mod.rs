//! Roll-overs: each key is replaced by a successor without anybody noticing (protocol.md §8).
//!
//! ```text
//! state   which keys there are, in which phase, and since when that was to be seen: one durable file
//! air     counts the time during which it could be seen; all waits are counted by it
//! plan    state, time, configuration -> the next step of each roll-over, and what it waits for
//! step    a step -> the identity after it, in memory
//! keeper  does steps on disk: new keys first, then the state, then what is of no use any more goes
//! ```
//!
//! All but the last do no IO. A step is taken only when what it relies upon has been served for as long as it needs, and
//! that is counted from the moment when it really was served, not when it was due. So a server may stop anywhere and go on
//! months later; it is late then, and never early.

mod air;
mod keeper;
mod plan;
mod state;
mod step;

pub use air::{AirClock, MOST_PER_LOOK};
pub use keeper::{Keeper, KeeperError};
pub use plan::{
    CACHES, Intervals, MAX_REVOKED, Planned, REVOKED_SHOWN, STANDBY_SEEN, SUCCESSION, Step, Wait,
    plan,
};
pub use state::{Key, Order, Part, Phase, STATE_FILE, State, StateDamaged, What};
pub use step::{RotateError, Rotation};
