//! Streams to a server: from an address of one's choice, with TLS to one certificate, in DNS framing.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use socket2::{Domain, Protocol, Socket, Type};
use zzdot_client::tls::provider::provider;

/// How long a stream may be silent before its peer counts as not serving.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A TCP connection, plain or with TLS, that carries DNS messages.
#[derive(Debug)]
pub enum Stream {
    /// Port 53 and its like.
    Tcp(TcpStream),
    /// Port 853 and its like.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects over TCP.
    ///
    /// # Errors
    /// No connection.
    pub fn tcp(source: IpAddr, server: SocketAddr) -> io::Result<Self> {
        Ok(Self::Tcp(connect(source, server)?))
    }

    /// Connects over TLS and completes the handshake.
    ///
    /// # Errors
    /// No connection, or not the certificate that `config` wants.
    pub fn tls(source: IpAddr, server: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut socket = connect(source, server)?;
        let name = ServerName::IpAddress(server.ip().into());
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, socket))))
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(tls) => &tls.sock,
        }
    }

    /// Writes messages, each with its length in front, as one piece.
    ///
    /// # Errors
    /// The connection broke, or nothing was taken for [`PATIENCE`].
    pub fn write_messages<'a>(
        &mut self,
        messages: impl IntoIterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend_from_slice(&(message.len() as u16).to_be_bytes());
            bytes.extend_from_slice(message);
        }
        let writer = self.as_io();
        writer.write_all(&bytes)?;
        writer.flush()
    }

    /// Reads one message.
    ///
    /// # Errors
    /// The connection broke or ended, or nothing came for [`PATIENCE`].
    pub fn read_message(&mut self) -> io::Result<Vec<u8>> {
        let reader = self.as_io();
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        reader.read_exact(&mut message)?;
        Ok(message)
    }

    fn as_io(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(tls) => tls.as_mut(),
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A TCP connection from `source`, with [`PATIENCE`] for reads and writes.
///
/// # Errors
/// No connection.
pub fn connect(source: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(server),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&server.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// An address of loopback other than the one that everybody uses, so that limits per address tell askers apart.
///
/// `number` runs over 127.1.0.1 to 127.127.255.254.
#[must_use]
pub fn loopback(number: usize) -> IpAddr {
    let (host, rest) = (number % 254 + 1, number / 254);
    let (third, second) = (rest % 256, rest / 256 % 127 + 1);
    IpAddr::from([127, second as u8, third as u8, host as u8])
}

/// TLS as a DoT client speaks it, with a server that shows this very certificate.
///
/// # Panics
/// The provider of cryptography lacks TLS 1.3: it does not.
#[must_use]
pub fn tls_config(certificate: CertificateDer<'static>) -> Arc<ClientConfig> {
    let provider = provider();
    let verifier = OneCertificate {
        certificate,
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"dot".to_vec()];
    // Each handshake is a whole one, with the certificate in it.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Accepts one certificate, byte by byte.
#[derive(Debug)]
struct OneCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another certificate".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_different_and_never_the_usual_one() {
        let mut seen = std::collections::HashSet::new();
        for number in 0..20_000 {
            let address = loopback(number);
            assert!(address.is_loopback() && address != IpAddr::from([127, 0, 0, 1]));
            assert!(seen.insert(address), "{address}");
        }
    }
}
