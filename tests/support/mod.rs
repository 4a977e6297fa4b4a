//! What the appliance's tests share.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used)]

pub mod client;
pub mod clock;
pub mod daemon;
pub mod internet;
pub mod program;
pub mod upstream;
