//! The cryptography under TLS, the same for everything in this project that speaks it.
//!
//! *ring* does it, with ML-KEM beside it (`hybrid`); with the feature `aws-lc-rs` AWS-LC does both. Every
//! configuration is given its provider: nothing here installs or reads a default of the process.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, SupportedCipherSuite};

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
            cipher_suites: suites(),
            ..library()
        })
    });
    Arc::clone(&PROVIDER)
}

/// Those of the library, the cheapest first. What costs is the hash, not the cipher: a handshake runs it some hundred
/// times, and SHA-256 has instructions where SHA-384 has none. A question is a few blocks under any cipher.
fn suites() -> Vec<SupportedCipherSuite> {
    let rank = |suite: &SupportedCipherSuite| {
        use CipherSuite as Suite;
        match suite.suite() {
            Suite::TLS13_AES_128_GCM_SHA256
            | Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
                if aes_is_quick() {
                    0
                } else {
                    2
                }
            }
            Suite::TLS13_CHACHA20_POLY1305_SHA256
            | Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => 1,
            _ => 3,
        }
    };
    let mut suites = library().cipher_suites;
    suites.sort_by_key(rank);
    suites
}

/// Whether the processor has instructions for AES and for the hash of GCM.
fn aes_is_quick() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
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
