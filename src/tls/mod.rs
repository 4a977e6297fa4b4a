//! How the appliance speaks TLS: which versions, which certificate, and how sessions are resumed.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use zzdot_client::tls::provider::provider;

pub mod ticket_file;
pub mod tickets;

pub use tickets::Tickets;

/// The name of DNS over TLS in IANA's registry of ALPN protocol ids.
const ALPN: &[u8] = b"dot";
/// Tickets for a client that does not say how many it wants. It resumes one session at a time, and gets another ticket
/// each time; a second would cost every handshake as much again, and whoever lacks one shakes hands in full.
const TICKETS: usize = 1;
/// Tickets for a client that asks for many (RFC 9149).
const TICKETS_MAX: usize = 4;

/// For a server without a name: whoever speaks TLS to it is told that there is no certificate.
///
/// # Errors
/// None that is known of: the provider is one that has these versions.
pub fn without_certificate() -> Result<ServerConfig, rustls::Error> {
    Ok(ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Nobody)))
}

#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// TLS 1.3, and 1.2 for those who need it; ALPN `dot` or none; this certificate whatever name the client asks for, or
/// without one; sessions resumed by `tickets` alone; no early data, which could be replayed (RFC 9250 §4.5 says why for
/// DNS).
///
/// # Errors
/// Where the certificate and the key do not belong together.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    tickets: Arc<Tickets>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Our order of suites, the cheapest first: whoever serves many has the say.
    config.ignore_client_order = true;
    config.ticketer = tickets;
    config.send_tls13_tickets = TICKETS;
    config.max_tls13_tickets = TICKETS_MAX;
    // Nothing is remembered here: workers share no lock, and a flood of handshakes displaces nobody's session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}
