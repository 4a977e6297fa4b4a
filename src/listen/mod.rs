//! The sockets: UDP, TCP and TLS, and what they may cost.

mod limits;

pub use limits::{IDLE_GRACE, Limits, QUERY_GRACE};
