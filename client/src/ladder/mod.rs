//! What is still possible with a server that is not upgraded. Without IO: messages, outcomes and times in, decisions out.
//!
//! ```text
//!   verified     a person, or an anchor, said that this identity is the right one     authenticated
//!   known        met and validated, here or elsewhere, and held to since              authenticated, once met
//!   designated   named by the server, certified for the server's own address          authenticated by public roots
//!   opportunistic  TLS with whoever answers at the server's address                   encrypted, not authenticated
//!   cleartext    as without this program
//! ```
//!
//! The first two are the session's (`session/`); the ladder begins where a walk found a server that knows nothing of them.
//! It is climbed from the top: a rung is taken when those above were tried and missed, and the policy says how far down
//! is far enough. Nothing on it is remembered beyond the process, and nothing of it is ever tried where an identity is
//! expected.

mod designation;
mod position;
mod rung;
mod silence;

pub use designation::{
    Designation, MAX_DESIGNATIONS, NotDesignated, designations, is_local, question,
};
pub use position::{Climb, Climbed, Fall, Footing, Ladder, Missed, Step};
pub use rung::Rung;
pub use silence::{Probe, Probed, harmless_question};
