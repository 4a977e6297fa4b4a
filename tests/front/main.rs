//! The front on real sockets, with clients that behave and clients that do not.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod bounds;
mod counted;
mod flood;
mod hostile;
mod life;
mod stream;
mod support;
mod tickets;
mod tls;
mod udp;
