#![allow(clippy::unwrap_used)]

mod dial;
mod mux;
mod pool;
mod resumption;
mod tls;
