//! Upstreams that fall silent, and upstreams that are only said to: played over real sockets, under a clock that moves
//! when a test says so and at no other time.
#![allow(clippy::unwrap_used)]

pub(super) mod played;
mod silent;
