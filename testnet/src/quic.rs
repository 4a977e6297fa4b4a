//! DNS over QUIC (RFC 9250) in front of a server that does not know it. No program of Debian 12 serves it.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use quinn::{
    Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime,
    crypto::rustls::{NoInitialCipherSuite, QuicServerConfig},
};
use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
};
use zzdot_client::tls::provider::provider;

use crate::host::Host;

/// A message and its length (RFC 9250 4.2).
const LONGEST: usize = 2 + 65_535;
/// RFC 9250 7.1: registered for it.
const ALPN: &[u8] = b"doq";
/// How long it may take until the relay runs.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no relay.
#[derive(Debug, Error)]
pub enum QuicError {
    /// rustls does not take the certificate.
    #[error("the relay's TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// QUIC does not take what rustls does.
    #[error("the relay's TLS: {0}")]
    CipherSuite(#[from] NoInitialCipherSuite),
    /// A port is taken.
    #[error("the relay: {0}")]
    Start(#[from] io::Error),
}

/// A server's side, with this certificate.
///
/// # Errors
/// rustls does not take it.
pub fn tls(certificate: CertificateDer<'static>, key: &KeyPair) -> Result<ServerConfig, QuicError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicServerConfig::try_from(tls)?;
    Ok(ServerConfig::with_crypto(Arc::new(tls)))
}

/// Passes on what comes over QUIC on `listen` of a host to the server at `behind`, over TCP, as long as the process lives.
///
/// # Errors
/// A port is taken.
pub fn relay(
    host: &Host,
    listen: SocketAddr,
    behind: SocketAddr,
    tls: ServerConfig,
) -> Result<(), QuicError> {
    let socket = host.within(|| UdpSocket::bind(listen))?;
    socket.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let host = host.clone();
    let (started, starts) = mpsc::channel();
    // All of it on one thread, which is on that host.
    thread::spawn(move || {
        host.within(move || {
            runtime.block_on(async move {
                let config = EndpointConfig::default();
                let endpoint = Endpoint::new(config, Some(tls), socket, Arc::new(TokioRuntime));
                match endpoint {
                    Ok(endpoint) => {
                        let _ = started.send(Ok(()));
                        serve(&endpoint, behind).await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        });
    });
    let started = starts.recv_timeout(STARTED_WITHIN);
    Ok(started.map_err(|error| io::Error::new(io::ErrorKind::TimedOut, error))??)
}

async fn serve(endpoint: &Endpoint, behind: SocketAddr) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else {
                return;
            };
            while let Ok((sending, receiving)) = connection.accept_bi().await {
                // A question that fails ends its stream, which is how the client is told.
                tokio::spawn(pass(sending, receiving, behind));
            }
        });
    }
}

/// One question on a stream of its own.
async fn pass(
    mut sending: SendStream,
    mut receiving: RecvStream,
    behind: SocketAddr,
) -> io::Result<()> {
    let question = receiving.read_to_end(LONGEST).await;
    let question = question.map_err(io::Error::other)?;
    let mut server = TcpStream::connect(behind).await?;
    server.write_all(&question).await?;
    let length = server.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    server.read_exact(&mut answer).await?;
    sending.write_all(&length.to_be_bytes()).await?;
    sending.write_all(&answer).await?;
    sending.finish().map_err(io::Error::other)
}
