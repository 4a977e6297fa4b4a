#![allow(clippy::unwrap_used)]

mod pool;
mod tls;
