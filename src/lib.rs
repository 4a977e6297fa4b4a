//! The zzdot appliance: a DNS resolver or forwarder that names itself, publishes who it is in
//! two signed zones, and serves plain DNS and DNS over TLS.
//!
//! A query's way: the front takes it from a socket, decides what may be answered at once, and
//! hands the rest to a [`resolve::Source`]. The binary is a thin wrapper around this library.
#![forbid(unsafe_code)]

pub mod answer;
pub mod appliance;
pub mod command;
pub mod config;
pub mod control;
pub mod counters;
pub mod error;
pub mod host;
pub mod listen;
pub mod metrics;
pub mod named;
pub mod passed;
pub mod publish;
pub mod resolve;
pub mod rollover;
pub mod run;
pub mod tls;
