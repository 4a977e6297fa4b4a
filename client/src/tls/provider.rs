//! The cryptography under TLS, the same for everything in this project that speaks it.
//!
//! *ring* does it, with ML-KEM beside it (`hybrid`); with the feature `aws-lc-rs` AWS-LC does both. Every
//! configuration is given its provider: nothing here installs or reads a default of the process.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, SupportedKxGroup};

/// The library behind [`provider`].
pub const NAME: &str = if cfg!(feature = "aws-lc-rs") {
    "aws-lc-rs"
} else {
    "ring"
};

/// What TLS is done with.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            kx_groups: groups(),
            ..library()
        })
    });
    Arc::clone(&PROVIDER)
}

// A client offers the first of these, and X25519 with the same key beside it: whoever does not know the first takes the
// second without another round trip. A server takes what the client prefers.
#[cfg(not(feature = "aws-lc-rs"))]
fn groups() -> Vec<&'static dyn SupportedKxGroup> {
    use rustls::crypto::ring::kx_group::{SECP256R1, SECP384R1, X25519};
    vec![super::hybrid::X25519MLKEM768, X25519, SECP256R1, SECP384R1]
}

#[cfg(feature = "aws-lc-rs")]
fn groups() -> Vec<&'static dyn SupportedKxGroup> {
    use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1]
}

#[cfg(not(feature = "aws-lc-rs"))]
fn library() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(feature = "aws-lc-rs")]
fn library() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}
