//! How a zzdot resolver is discovered, judged, remembered and reached.
#![forbid(unsafe_code)]

pub mod agent;
pub mod authority;
pub mod command;
pub mod config;
pub mod config_file;
pub mod control;
pub mod datagrams;
pub mod dot;
pub mod exchange;
pub mod framing;
pub mod host;
pub mod log;
pub mod metrics;
pub mod network;
pub mod orders;
pub mod places;
pub mod run;
pub mod since_boot;
pub mod store;
pub mod stub;
pub mod tally;
pub mod tls;
pub mod upstream;
pub mod walker;

// Without IO: messages and a clock in, questions and verdicts out.
pub mod cache;
pub mod chain;
pub mod comparison;
pub mod discover;
pub mod doctor;
pub mod ladder;
pub mod place;
pub mod portal;
pub mod session;
pub mod trust;
pub mod validate;
pub mod wire;
