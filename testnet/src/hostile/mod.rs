//! Hostile clients: messages and connections as nobody well-meaning makes them, and the good client among them.
//!
//! Everything hostile is a function of one seed ([`random::seed`]). All data of the zone that is asked for is a function
//! of the name ([`truth`]), so each answer can be judged, also those to messages that are broken ([`judge`]).

pub mod flood;
pub mod garbage;
pub mod good;
pub mod judge;
pub mod manner;
pub mod message;
mod pieces;
pub mod random;
pub mod stream;
pub mod target;
pub mod truth;
pub mod upstream;
pub mod usage;
mod wire;
