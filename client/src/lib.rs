//! How a zzdot resolver is discovered, judged, remembered and reached.
#![forbid(unsafe_code)]

pub mod config;
pub mod config_file;
pub mod control;
pub mod dot;
pub mod exchange;
pub mod framing;
pub mod host;
pub mod store;
pub mod stub;

// Without IO: messages and a clock in, questions and verdicts out.
pub mod discover;
pub mod trust;
pub mod validate;
pub mod wire;
