//! TLS on a connection: never anything else on this port.

use std::{io, sync::Arc};

use rustls::{HandshakeKind, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::counters::{Counters, Event};

/// The first octet of TLS: a record that holds a handshake message (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

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
