//! The cryptography under TLS, the same for everything in this project that speaks it.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// What TLS is done with. Passed explicitly to every configuration; nothing installs or reads a default of the process.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
