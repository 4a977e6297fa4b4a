#![allow(clippy::unwrap_used)]

mod dial;
mod pool;
mod resumption;
mod tls;
