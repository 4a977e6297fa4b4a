//! From an address to a stream on which the right server listens.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::proof::{client_config, observer_config};
use super::{DotLimits, Endpoint};
use crate::tls::session::{ClientSession, TlsFailure};

/// When an idle connection is first probed, and how often then: NAT boxes forget sooner than
/// either end does.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// Read at once in a handshake: most servers say all they have to in less.
const READ_BYTES: usize = 4096;
/// When an unanswered connect gets another one beside it. The system sends its own again after one
/// second and three: too late for a host that came back in between.
const DIAL_AGAIN: Duration = Duration::from_millis(800);

/// Anything that DNS over TLS can be spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) type Connecting = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

/// A stream over which questions may be sent.
pub(super) struct Link {
    pub(super) stream: Box<dyn Stream>,
    /// None where tests listen in.
    pub(super) tls: Option<Box<ClientSession>>,
    /// What came after the handshake already, encrypted.
    pub(super) incoming: Vec<u8>,
}

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
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let deadline = now() + limits.connect;
            let mut stream = dial(address, deadline, limits.write).await?;
            let (tls, incoming) = handshake(address, config, name, &mut stream, deadline).await?;
            Ok(Link {
                stream: Box::new(stream),
                tls: Some(Box::new(tls)),
                incoming,
            })
        })
    }
}

/// A connection with a server whose identity is not judged yet. The server holds the key of its first certificate;
/// whether that is the right key is for the caller to find out, and nothing is sent before.
///
/// Dropped, it says goodbye, and waits for nobody to hear it.
pub struct Observed {
    address: SocketAddr,
    certificates: Vec<CertificateDer<'static>>,
    /// None once somebody took it over.
    link: Option<(TcpStream, Box<ClientSession>, Vec<u8>)>,
}

impl Observed {
    /// Where it leads.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The chain, the server's own certificate first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// For questions, now that it is judged.
    pub(super) fn into_link(mut self) -> Option<Link> {
        let (stream, tls, incoming) = self.link.take()?;
        Some(Link {
            stream: Box::new(stream),
            tls: Some(tls),
            incoming,
        })
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.address).finish()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some((stream, mut tls, mut came)) = self.link.take() {
            // What lies unread when a socket is closed makes a reset of the farewell.
            came.resize(READ_BYTES, 0);
            let _ = stream.try_read(&mut came);
            let mut farewell = Vec::new();
            tls.close(&mut farewell);
            let _ = stream.try_write(&farewell);
        }
    }
}

/// Shakes hands with a server whose identity is not known yet.
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
    let mut stream = dial(address, deadline, DotLimits::default().write).await?;
    let shaken = handshake(address, Arc::new(config), name, &mut stream, deadline).await;
    let (tls, incoming) = shaken?;
    Ok(Observed {
        address,
        certificates: tls.peer_certificates().unwrap_or_default().to_vec(),
        link: Some((stream, Box::new(tls), incoming)),
    })
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

/// Shakes hands; what came behind the handshake is given back too.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: &mut S,
    deadline: Instant,
) -> Result<(ClientSession, Vec<u8>), ConnectError> {
    timeout_at(deadline.into(), shake_hands(config, name, stream))
        .await
        .map_err(|_| ConnectError::TimedOut {
            address,
            stage: ConnectStage::Tls,
        })?
        .map_err(|failure| match failure {
            Unshaken::Tls(TlsFailure::Tls(error)) => handshake_error(address, &error),
            other => ConnectError::Handshake {
                address,
                reason: other.to_string(),
            },
        })
}

#[derive(Debug, thiserror::Error)]
enum Unshaken {
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    #[error("{0}")]
    Stream(#[from] io::Error),
    #[error("the server hung up")]
    HungUp,
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: &mut S,
) -> Result<(ClientSession, Vec<u8>), Unshaken> {
    let mut session = ClientSession::new(config, name)?;
    let (mut incoming, mut plain, mut outgoing) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let outcome = session.advance(&mut incoming, &mut plain, &mut outgoing);
        if !outgoing.is_empty() {
            // After a failure this is the alert, which may go unheard.
            let sent = stream.write_all(&outgoing).await;
            outgoing.clear();
            if outcome.is_ok() {
                sent?;
            }
        }
        incoming.drain(..outcome?.taken);
        if !session.is_handshaking() {
            return Ok((session, incoming));
        }
        incoming.reserve(READ_BYTES);
        if stream.read_buf(&mut incoming).await? == 0 {
            return Err(Unshaken::HungUp);
        }
    }
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
