//! How a zzdot resolver is discovered, judged, remembered and reached.
#![forbid(unsafe_code)]

pub mod config_file;
pub mod control;

// Without IO: messages and a clock in, questions and verdicts out.
pub mod wire;
