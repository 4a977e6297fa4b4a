//! From an address to a stream on which the right server listens.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};
use tokio_rustls::TlsConnector;

use super::proof::{client_config, observer_config};
use super::{DotLimits, Endpoint};

/// When an idle connection is first probed, and how often then: NAT boxes forget sooner than
/// either end does.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// When an unanswered connect gets another one beside it. The system sends its own again after one
/// second and three: too late for a host that came back in between.
const DIAL_AGAIN: Duration = Duration::from_millis(800);

/// Anything that DNS over TLS can be spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) type Connecting =
    Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, ConnectError>> + Send>>;

/// Where a pool gets its streams from.
pub(super) trait Connect: Send + Sync {
    fn connect(&self) -> Connecting;
}

/// How far a connect got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStage {
    /// TCP.
    Tcp,
    /// The TLS handshake.
    Tls,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// TCP failed: refused, unreachable, reset.
    #[error("{address}: no connection: {reason}")]
    Tcp {
        /// The server.
        address: SocketAddr,
        /// What kind of failure.
        kind: io::ErrorKind,
        /// What the system said.
        reason: String,
    },
    /// It took too long.
    #[error("{address}: {} took too long", match .stage { ConnectStage::Tcp => "connecting", ConnectStage::Tls => "the TLS handshake" })]
    TimedOut {
        /// The server.
        address: SocketAddr,
        /// What took too long.
        stage: ConnectStage,
    },
    /// The server does not speak TLS, or not as we do.
    #[error("{address}: TLS handshake failed: {reason}")]
    Handshake {
        /// The server.
        address: SocketAddr,
        /// What the TLS library said.
        reason: String,
    },
    /// The server speaks TLS, but did not prove to be the right one.
    #[error("{address}: {reason}")]
    Untrusted {
        /// The server.
        address: SocketAddr,
        /// What is wrong with its certificate.
        reason: String,
    },
}

impl ConnectError {
    /// Whether trying again would only show the same: the server is there and is another.
    #[must_use]
    pub fn is_about_trust(&self) -> bool {
        matches!(self, Self::Untrusted { .. })
    }
}

/// Connects with TCP and TLS, and believes only what the endpoint's proof demands.
pub(super) struct TlsConnect {
    address: SocketAddr,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    limits: DotLimits,
}

impl TlsConnect {
    pub(super) fn new(endpoint: &Endpoint, limits: &DotLimits) -> Result<Self, ConnectError> {
        let config = client_config(&endpoint.proof, endpoint.server_name.is_some());
        Ok(Self {
            address: endpoint.address,
            name: tls_name(endpoint.address, endpoint.server_name.as_ref()),
            config: Arc::new(config.map_err(|error| handshake_error(endpoint.address, &error))?),
            limits: limits.clone(),
        })
    }
}

impl Connect for TlsConnect {
    fn connect(&self) -> Connecting {
        let (address, name, limits) = (self.address, self.name.clone(), self.limits.clone());
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Box::pin(async move {
            let deadline = now() + limits.connect;
            let stream = dial(address, deadline, limits.write).await?;
            let stream = handshake(address, &connector, name, stream, deadline).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// What a server showed in a handshake. It holds the key of the first certificate; whether that
/// is the right key is for the caller to judge.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The chain, the server's own certificate first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The version of TLS.
    pub version: Option<ProtocolVersion>,
}

/// Shakes hands with a server whose identity is not known yet, and hangs up.
///
/// # Errors
/// [`ConnectError`]; never later than `deadline`.
pub async fn observe(
    address: SocketAddr,
    server_name: Option<ServerName<'static>>,
    deadline: Instant,
) -> Result<Observed, ConnectError> {
    let config =
        observer_config(server_name.is_some()).map_err(|error| handshake_error(address, &error))?;
    let name = tls_name(address, server_name.as_ref());
    let patience = deadline.saturating_duration_since(now());
    let stream = dial(address, deadline, patience).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = handshake(address, &connector, name, stream, deadline).await?;
    let session = stream.get_ref().1;
    let observed = Observed {
        certificates: session
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect(),
        version: session.protocol_version(),
    };
    // A polite goodbye, but nobody waits for it to arrive.
    let _ = timeout_at(deadline.into(), stream.shutdown()).await;
    Ok(observed)
}

/// rustls wants a name even where none is sent; an address is never sent as SNI.
fn tls_name(address: SocketAddr, server_name: Option<&ServerName<'static>>) -> ServerName<'static> {
    server_name
        .cloned()
        .unwrap_or_else(|| ServerName::IpAddress(address.ip().into()))
}

pub(super) async fn dial(
    address: SocketAddr,
    deadline: Instant,
    unacknowledged: Duration,
) -> Result<TcpStream, ConnectError> {
    let tcp_error = |error: io::Error| ConnectError::Tcp {
        address,
        kind: error.kind(),
        reason: error.to_string(),
    };
    let stream = timeout_at(deadline.into(), connect_soon(address))
        .await
        .map_err(|_| ConnectError::TimedOut {
            address,
            stage: ConnectStage::Tcp,
        })?
        .map_err(tcp_error)?;
    stream.set_nodelay(true).map_err(tcp_error)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive).map_err(tcp_error)?;
    // RFC 5482: without it the system sends unacknowledged data again for a quarter of an hour.
    socket
        .set_tcp_user_timeout(Some(unacknowledged.max(Duration::from_millis(1))))
        .map_err(tcp_error)?;
    Ok(stream)
}

/// Connects by whichever try is heard first.
async fn connect_soon(address: SocketAddr) -> io::Result<TcpStream> {
    let mut tries = JoinSet::new();
    loop {
        tries.spawn(TcpStream::connect(address));
        tokio::select! {
            Some(outcome) = tries.join_next() => {
                return outcome.unwrap_or_else(|gone| Err(io::Error::other(gone)));
            }
            () = sleep(DIAL_AGAIN) => {}
        }
    }
}

pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    address: SocketAddr,
    connector: &TlsConnector,
    name: ServerName<'static>,
    stream: S,
    deadline: Instant,
) -> Result<tokio_rustls::client::TlsStream<S>, ConnectError> {
    timeout_at(deadline.into(), connector.connect(name, stream))
        .await
        .map_err(|_| ConnectError::TimedOut {
            address,
            stage: ConnectStage::Tls,
        })?
        .map_err(|error| {
            let tls = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match tls {
                Some(tls) => handshake_error(address, tls),
                None => ConnectError::Handshake {
                    address,
                    reason: error.to_string(),
                },
            }
        })
}

fn handshake_error(address: SocketAddr, error: &rustls::Error) -> ConnectError {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(cause)) => {
            ConnectError::Untrusted {
                address,
                reason: cause.0.to_string(),
            }
        }
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            ConnectError::Untrusted {
                address,
                reason: error.to_string(),
            }
        }
        _ => ConnectError::Handshake {
            address,
            reason: error.to_string(),
        },
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
