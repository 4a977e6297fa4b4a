//! DNS over QUIC (RFC 9250): a stream for each question.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use quinn::{
    ClientConfig, Endpoint, IdleTimeout, ReadError, ReadExactError, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};
use rustls::pki_types::ServerName;

use super::Fault;

/// How long a connection without questions is kept (RFC 9250 §5.5.1).
const IDLE: Duration = Duration::from_secs(30);

/// DOQ_NO_ERROR (RFC 9250 §4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);

pub(super) struct Dialer {
    address: SocketAddr,
    name: String,
    config: ClientConfig,
}

#[derive(Clone)]
pub(super) struct Connection {
    connection: quinn::Connection,
    /// The socket, which lives as long as somebody may ask.
    _endpoint: Endpoint,
}

impl Dialer {
    pub(super) fn new(
        address: SocketAddr,
        name: &ServerName<'static>,
        tls: rustls::ClientConfig,
    ) -> Result<Self, String> {
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        let mut transport = TransportConfig::default();
        transport
            // Nothing but answers is taken from a server.
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(
                IdleTimeout::try_from(IDLE).map_err(|error| error.to_string())?,
            ));
        config.transport_config(Arc::new(transport));
        Ok(Self {
            address,
            name: name.to_str().into_owned(),
            config,
        })
    }

    pub(super) async fn dial(&self) -> Result<Connection, Fault> {
        let any: IpAddr = match self.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let endpoint = Endpoint::client(SocketAddr::new(any, 0)).map_err(lost)?;
        let connection = endpoint
            .connect_with(self.config.clone(), self.address, &self.name)
            .map_err(lost)?
            .await
            .map_err(lost)?;
        Ok(Connection {
            connection,
            _endpoint: endpoint,
        })
    }
}

impl Connection {
    pub(super) async fn ask(&self, message: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let length =
            u16::try_from(message.len()).map_err(|_| Fault::Broken("the question is too long"))?;
        let (mut sending, mut receiving) = self.connection.open_bi().await.map_err(lost)?;
        sending
            .write_all(&length.to_be_bytes())
            .await
            .map_err(lost)?;
        sending.write_all(&message).await.map_err(lost)?;
        // RFC 9250 §4.2: nothing else comes on this stream.
        sending.finish().map_err(lost)?;
        let mut length = [0; 2];
        receiving.read_exact(&mut length).await.map_err(of_stream)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        receiving.read_exact(&mut answer).await.map_err(of_stream)?;
        // Whatever follows is not read; only transfers of zones have more than one message.
        let _ = receiving.stop(NO_ERROR);
        Ok(answer)
    }

    /// The datagrams that came so far.
    pub(super) fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }
}

/// A stream that the server gave up is a question that it cannot answer: the connection is as well as before.
fn of_stream(error: ReadExactError) -> Fault {
    match error {
        ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(ReadError::Reset(_)) => {
            Fault::Broken("it gave the question up")
        }
        error @ ReadExactError::ReadError(_) => lost(error),
    }
}

fn lost(error: impl std::fmt::Display) -> Fault {
    Fault::Lost(error.to_string())
}
