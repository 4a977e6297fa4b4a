//! TLS on a connection: never anything else on this port.

use std::{io, sync::Arc};

use rustls::{
    HandshakeKind, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::counters::{Counters, Event};

/// The name of DNS over TLS in IANA's registry of ALPN protocol ids.
const ALPN: &[u8] = b"dot";
/// The first octet of TLS: a record that holds a handshake message (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// TLS 1.3, and 1.2 for those who need it; ALPN `dot` or none; this certificate whatever name the
/// client asks for, or without one; session tickets whose keys live in memory only and roll by
/// themselves; no early data, which could be replayed (RFC 9250 §4.5 says why for DNS).
///
/// # Errors
/// Where the certificate and the key do not belong together.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

/// Why a connection did not become one with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeFailure {
    /// What came first was not TLS.
    Cleartext,
    /// It was TLS and went wrong.
    Broken,
    /// Nothing came.
    Gone,
}

impl HandshakeFailure {
    pub(super) fn event(self) -> Event {
        match self {
            Self::Cleartext => Event::TlsCleartext,
            Self::Broken => Event::TlsBroken,
            Self::Gone => Event::StreamBroken,
        }
    }
}

/// Makes the connection one with TLS.
pub(super) async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    counters: &Counters,
) -> Result<TlsStream<TcpStream>, HandshakeFailure> {
    // Looked at before TLS does, so that a query in cleartext gets neither an answer nor an alert
    // and is counted as what it is: a client that leaks.
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) | Err(_) => return Err(HandshakeFailure::Gone),
        Ok(_) if first[0] != HANDSHAKE_RECORD => return Err(HandshakeFailure::Cleartext),
        Ok(_) => {}
    }
    let stream = TlsAcceptor::from(config)
        .accept(stream)
        .await
        .map_err(|_| HandshakeFailure::Broken)?;
    counters.count(Event::TlsHandshake);
    if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
        counters.count(Event::TlsResumed);
    }
    Ok(stream)
}

/// Whether a failed read or write is TLS's verdict on what the peer sent.
pub(super) fn is_violation(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
}
