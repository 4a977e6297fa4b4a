//! TLS without IO, for both ends.
//!
//! [`session`] turns octets into octets; who owns the socket and the buffers is the caller's affair.
//! [`provider`] is the one place that says which cryptography it is done with.

pub mod hybrid;
pub mod provider;
pub mod session;

#[cfg(test)]
mod tests;
