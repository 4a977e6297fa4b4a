//! DNS over HTTPS (RFC 8484), over HTTP/2 and by POST alone: what is asked stands in no URL.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use http::{
    Method, Request, StatusCode, Version,
    header::{ACCEPT, CONTENT_TYPE},
    uri::{Authority, PathAndQuery, Scheme, Uri},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::Fault;

/// The media type of DNS messages (RFC 8484 §6).
const MEDIA_TYPE: &str = "application/dns-message";

/// No DNS message is longer, and no longer body is read.
const MAX_ANSWER_OCTETS: usize = 65_535;

/// The port that a URL need not name.
const DEFAULT_PORT: u16 = 443;

pub(super) struct Dialer {
    address: SocketAddr,
    name: ServerName<'static>,
    uri: Uri,
    connector: TlsConnector,
}

#[derive(Clone)]
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    uri: Uri,
    heard: Arc<AtomicU64>,
}

/// A stream that counts the octets that come.
struct Counted {
    stream: TcpStream,
    heard: Arc<AtomicU64>,
}

impl Dialer {
    pub(super) fn new(
        address: SocketAddr,
        name: ServerName<'static>,
        path: &str,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, String> {
        let host = match &name {
            ServerName::IpAddress(_) if address.is_ipv6() => format!("[{}]", address.ip()),
            name => name.to_str().into_owned(),
        };
        let authority = match address.port() {
            DEFAULT_PORT => host,
            port => format!("{host}:{port}"),
        };
        let authority = Authority::try_from(authority).map_err(|error| error.to_string())?;
        let path = PathAndQuery::try_from(path).map_err(|error| error.to_string())?;
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(authority)
            .path_and_query(path)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            address,
            name,
            uri,
            connector: TlsConnector::from(tls),
        })
    }

    pub(super) async fn dial(&self) -> Result<Connection, Fault> {
        let stream = TcpStream::connect(self.address).await.map_err(lost)?;
        // A question is one small packet.
        stream.set_nodelay(true).map_err(lost)?;
        let heard = Arc::default();
        let stream = Counted {
            stream,
            heard: Arc::clone(&heard),
        };
        let stream = self
            .connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(lost)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2".as_slice()) {
            return Err(Fault::Lost("the server does not speak HTTP/2".to_owned()));
        }
        let (requests, driver) = h2::client::Builder::new()
            .enable_push(false)
            .max_header_list_size(16 * 1024)
            .handshake(stream)
            .await
            .map_err(lost)?;
        // It ends with the connection, or when nobody can ask any more.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "HTTP/2 connection ended");
            }
        });
        Ok(Connection {
            requests,
            uri: self.uri.clone(),
            heard,
        })
    }
}

impl Connection {
    /// The octets that came so far.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) async fn ask(&self, message: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(self.uri.clone())
            .header(ACCEPT, MEDIA_TYPE)
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .body(())
            .map_err(lost)?;
        let mut requests = self.requests.clone().ready().await.map_err(lost)?;
        let (response, mut body) = requests.send_request(request, false).map_err(lost)?;
        body.send_data(Bytes::from(message), true).map_err(lost)?;
        let response = response.await.map_err(of_stream)?;
        // RFC 8484 §4.2.1: anything else has no answer in it. Nobody is followed elsewhere.
        if response.status() != StatusCode::OK {
            return Err(Fault::Broken("its HTTP status is not 200"));
        }
        let media_type = response.headers().get(CONTENT_TYPE);
        if media_type.is_none_or(|found| found.as_bytes() != MEDIA_TYPE.as_bytes()) {
            return Err(Fault::Broken("what it sent is not application/dns-message"));
        }
        let mut body = response.into_body();
        let mut answer = Vec::new();
        while let Some(part) = body.data().await {
            let part = part.map_err(of_stream)?;
            if answer.len() + part.len() > MAX_ANSWER_OCTETS {
                return Err(Fault::Broken("its message is too long"));
            }
            answer.extend_from_slice(&part);
            body.flow_control()
                .release_capacity(part.len())
                .map_err(lost)?;
        }
        Ok(answer)
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let octets = buffer.filled().len() - before;
        self.heard.fetch_add(octets as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A stream that the server gave up is a question that it cannot answer: the connection is as well as before.
fn of_stream(error: h2::Error) -> Fault {
    let given_up = error.is_reset() && error.is_remote();
    match given_up && error.reason() != Some(Reason::REFUSED_STREAM) {
        true => Fault::Broken("it gave the question up"),
        false => lost(error),
    }
}

fn lost(error: impl std::fmt::Display) -> Fault {
    Fault::Lost(error.to_string())
}
