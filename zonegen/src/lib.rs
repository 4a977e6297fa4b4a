//! The identity of a zzdot resolver, and the signed zones by which it tells who it is.
//!
//! An [`identity::Identity`] lives in a folder; [`publish::publish`] turns it, together with what is
//! to be said about the service, into two signed zones; [`lookup`] answers out of them.
#![forbid(unsafe_code)]

pub mod certificate;
pub mod clock;
pub mod command;
pub mod durable;
pub mod exit;
pub mod export;
pub mod identity;
pub mod identity_files;
pub mod keys;
pub mod lookup;
pub mod master_file;
pub mod name;
pub mod owners;
pub mod phrase;
pub mod publication;
pub mod publish;
pub mod qr;
pub mod rollover;
pub mod sign;
pub mod signed_zone;
pub mod succession;
pub mod summary;
pub mod trust_anchor;
pub mod upstream;
pub mod uri;
pub mod verify;
pub mod zone;

mod claims;
mod dname;
mod keyring;
mod pem;
mod wire;
