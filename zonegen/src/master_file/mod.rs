//! Master files (RFC 1035 §5): zone text out and in.
//!
//! hickory's own text parser refuses the record types of DNSSEC, so both directions are ours. Types
//! that have no text form here are written and read in the generic form of RFC 3597.

mod rdata;
mod read;
mod tokens;
mod words;
mod write;

pub use read::{MasterFileError, read};
pub use write::{name_text, rdata_text, record_text, type_text, write, write_zone};

#[cfg(test)]
mod tests;
