//! What is answered, to whom, and how: decided without a clock, a socket or a random source.

pub mod access;
pub mod cookie;
