//! A TLS connection without its socket: octets in, octets out.
//!
//! A session is what rustls' unbuffered API needs and nothing more. Records are decrypted in the caller's buffer, and what
//! is to be sent is appended to another; a connection on which nothing happens holds keys and no buffers. The caller
//! keeps what [`Progress::taken`] leaves, *as it is after the call*, and hands it in again in front of what comes next.
//! That is never more than [`HOLDS_OF_CLIENTS`] octets at a server and [`HOLDS_OF_SERVERS`] at a client.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{
    ClientConfig, CommonState, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig,
    SupportedCipherSuite,
};

/// The longest plaintext of one record (RFC 8446 §5.1).
pub const RECORD_PLAIN_MAX: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
/// What rustls accepts as one record, header included: RFC 5246 allows 2048 octets of expansion.
const RECORD_MAX: usize = RECORD_HEADER + RECORD_PLAIN_MAX + 2048;
/// More than any suite adds to a record: header, explicit nonce of TLS 1.2, content type, tag.
const RECORD_OVERHEAD: usize = RECORD_HEADER + 8 + 1 + 16;
/// Room for a message of the handshake or an alert before its size is known.
const MESSAGE_ROOM: usize = 64;

/// The most octets that a server has to keep between two calls of [`ServerSession::advance`].
pub const HOLDS_OF_CLIENTS: usize =
    <UnbufferedServerConnection as Engine>::MESSAGE_MAX + RECORD_MAX;
/// The most octets that a client has to keep between two calls of [`ClientSession::advance`].
pub const HOLDS_OF_SERVERS: usize =
    <UnbufferedClientConnection as Engine>::MESSAGE_MAX + RECORD_MAX;

/// A server's end of a connection.
pub type ServerSession = Session<UnbufferedServerConnection>;
/// A client's end of a connection.
pub type ClientSession = Session<UnbufferedClientConnection>;

/// Why a connection cannot go on. Where TLS has an alert for it, [`Session::advance`] has appended it to `outgoing`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsFailure {
    /// The peer broke the protocol, did not prove who it is, sent an alert, or there is nothing that both ends can do.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// A message of the handshake came in so many pieces that keeping them would cost too much.
    #[error("a message of the handshake takes more than {0} octets")]
    Overlong(usize),
    /// The keys have protected all that they may, and TLS 1.2 cannot change them.
    #[error("the keys of the connection are used up")]
    Exhausted,
    /// There are no keys yet to protect anything with.
    #[error("the handshake is not over")]
    Handshaking,
    /// This end has closed the connection, or failed before.
    #[error("the connection is over")]
    Over,
    /// A configuration that accepts early data, which could be replayed.
    #[error("early data is not to be accepted")]
    EarlyData,
    /// The caller did not keep what the last call left.
    #[error("octets that the handshake still needs were not handed in again")]
    Forgotten,
}

/// What one call of [`Session::advance`] achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Progress {
    /// How many octets at the front of `incoming` are done with.
    pub taken: usize,
    /// Whether the handshake was completed by this call.
    pub completed: bool,
}

/// One end of a connection: [`ServerSession`] or [`ClientSession`].
pub struct Session<E> {
    engine: E,
    /// Octets at the front of what the caller keeps that rustls has looked at already: the beginning of a message of
    /// the handshake that goes on in another record.
    unfinished: usize,
    peer_closed: bool,
    over: bool,
}

impl ServerSession {
    /// A connection that a client has opened.
    ///
    /// # Errors
    /// Where the configuration contradicts itself, or accepts early data.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        if config.max_early_data_size > 0 {
            return Err(TlsFailure::EarlyData);
        }
        Ok(Self::with(UnbufferedServerConnection::new(config)?))
    }
}

impl ClientSession {
    /// A connection to the server `name`; it is sent only where the configuration says so. Its first words are fetched by
    /// calling [`Session::advance`] with nothing.
    ///
    /// # Errors
    /// Where the configuration contradicts itself.
    pub fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsFailure> {
        Ok(Self::with(UnbufferedClientConnection::new(config, name)?))
    }
}

#[expect(
    private_bounds,
    reason = "the two engines are rustls' and there is no third"
)]
impl<E: Engine> Session<E> {
    fn with(engine: E) -> Self {
        Self {
            engine,
            unfinished: 0,
            peer_closed: false,
            over: false,
        }
    }

    /// Takes what the peer sent from the front of `incoming`, which is overwritten; appends what it says to `plain`, and
    /// what TLS itself has to say to `outgoing`.
    ///
    /// # Errors
    /// [`TlsFailure`]: send `outgoing`, then hang up. What came before the failure is in `plain`.
    pub fn advance(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Progress, TlsFailure> {
        if self.over {
            return Err(TlsFailure::Over);
        }
        if incoming.len() < self.unfinished {
            return Err(TlsFailure::Forgotten);
        }
        // Where the records that are here end, found before they are overwritten.
        let whole = self.unfinished + whole_records(&incoming[self.unfinished..]);
        let shaking = self.is_handshaking();
        let taken = match self.take_records(incoming, plain, outgoing) {
            Ok(taken) => taken,
            Err(failure) => {
                self.over = true;
                self.drain(outgoing);
                return Err(failure);
            }
        };
        if self.peer_closed {
            // Whatever follows a closure alert is to be ignored (RFC 8446 §6.1).
            self.unfinished = 0;
            return Ok(Progress {
                taken: incoming.len(),
                completed: shaking && !self.is_handshaking(),
            });
        }
        self.unfinished = whole.saturating_sub(taken);
        if self.unfinished > E::MESSAGE_MAX {
            self.over = true;
            return Err(TlsFailure::Overlong(E::MESSAGE_MAX));
        }
        Ok(Progress {
            taken,
            completed: shaking && !self.is_handshaking(),
        })
    }

    /// Encrypts `plain` into as few records as it fits, and appends them to `outgoing`.
    ///
    /// # Errors
    /// [`TlsFailure::Handshaking`], [`TlsFailure::Over`], [`TlsFailure::Exhausted`]; nothing of `plain` was encrypted.
    pub fn seal(&mut self, plain: &[u8], outgoing: &mut Vec<u8>) -> Result<(), TlsFailure> {
        if plain.is_empty() {
            return Ok(());
        }
        let room = plain.len() + plain.len().div_ceil(RECORD_PLAIN_MAX) * RECORD_OVERHEAD;
        self.write(outgoing, room, |writer, room| writer.encrypt(plain, room))
    }

    /// Appends the alert that says that this end has nothing more to say. Does nothing before the end of the handshake,
    /// after a failure, or a second time.
    pub fn close(&mut self, outgoing: &mut Vec<u8>) {
        if self.over || self.is_handshaking() {
            self.over = true;
            return;
        }
        // Whatever stays unsaid now cannot be said at all.
        let _ = self.write(outgoing, MESSAGE_ROOM, |writer, room| {
            writer.queue_close_notify(room)
        });
        self.over = true;
    }

    /// Whether the handshake is still going on.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.engine.common().is_handshaking()
    }

    /// Whether the peer has said that nothing more will come. What is sealed after that may still be read.
    #[must_use]
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Which kind of handshake it is, once that is known.
    #[must_use]
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.engine.common().handshake_kind()
    }

    /// The peer's certificates, its own first; those of the handshake that is resumed where one is.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.engine.common().peer_certificates()
    }

    /// The protocol that was agreed on, if any.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.engine.common().alpn_protocol()
    }

    /// The version of TLS, once that is known.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.engine.common().protocol_version()
    }

    /// The cipher suite, once that is known.
    #[must_use]
    pub fn cipher_suite(&self) -> Option<SupportedCipherSuite> {
        self.engine.common().negotiated_cipher_suite()
    }

    /// The group of the key exchange, after a handshake that had one.
    #[must_use]
    pub fn key_exchange(&self) -> Option<NamedGroup> {
        let group = self.engine.common().negotiated_key_exchange_group();
        group.map(|group| group.name())
    }

    /// Lets rustls work until it needs more from the peer.
    fn take_records(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<usize, TlsFailure> {
        let mut taken = 0;
        loop {
            let UnbufferedStatus { discard, state, .. } =
                self.engine.process(&mut incoming[taken..]);
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        plain.extend_from_slice(record?.payload);
                    }
                }
                ConnectionState::ReadEarlyData(_) => return Err(TlsFailure::EarlyData),
                ConnectionState::EncodeTlsData(mut message) => encode(&mut message, outgoing),
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                // Closed, BlockedHandshake, WriteTraffic: nothing more can be done without the peer, or the caller.
                _ => return Ok(taken + discard),
            }
            taken += discard;
        }
    }

    /// Lets `act` write into `outgoing`, where it finds at first `room` octets.
    fn write(
        &mut self,
        outgoing: &mut Vec<u8>,
        room: usize,
        act: impl Fn(&mut WriteTraffic<'_, E::Data>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsFailure> {
        if self.over {
            return Err(TlsFailure::Over);
        }
        // rustls skips what it has seen of an unfinished message, and does not look at what that is.
        let mut seen = vec![0; self.unfinished];
        loop {
            match self.engine.process(&mut seen).state? {
                ConnectionState::WriteTraffic(mut writer) => {
                    // The answer to a change of keys, or a change of our own, goes first and takes more room.
                    let written = append(outgoing, room, |room| {
                        act(&mut writer, room).map_err(|error| match error {
                            EncryptError::InsufficientSize(size) => Some(size),
                            EncryptError::EncryptExhausted => None,
                        })
                    });
                    return written.then_some(()).ok_or(TlsFailure::Exhausted);
                }
                ConnectionState::EncodeTlsData(mut message) => encode(&mut message, outgoing),
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                ConnectionState::BlockedHandshake => return Err(TlsFailure::Handshaking),
                _ => return Err(TlsFailure::Over),
            }
        }
    }

    /// Appends what rustls still has to say after a failure: the alert.
    fn drain(&mut self, outgoing: &mut Vec<u8>) {
        while self.engine.common().wants_write() {
            match self.engine.process(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, outgoing),
                _ => return,
            }
        }
    }
}

/// What the two connections of rustls have in common, which gives them no trait for it.
trait Engine {
    type Data;
    /// The most octets of records kept for one unfinished message.
    const MESSAGE_MAX: usize;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn common(&self) -> &CommonState;
}

impl Engine for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    /// Clients show no certificates here; the longest that one says is a ClientHello with post-quantum shares.
    const MESSAGE_MAX: usize = 1 << 14;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl Engine for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    /// The longest message that rustls reads: a chain of certificates.
    const MESSAGE_MAX: usize = 1 << 16;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

/// How many octets at the front are whole records.
fn whole_records(incoming: &[u8]) -> usize {
    let mut end = 0;
    while let Some(&[_, _, _, high, low]) = incoming[end..].first_chunk() {
        let next = end + RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
        if next > incoming.len() {
            break;
        }
        end = next;
    }
    end
}

fn encode<D>(message: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) {
    // Without an answer it was said already: nothing is missing.
    append(outgoing, MESSAGE_ROOM, |room| {
        message.encode(room).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size),
            EncodeError::AlreadyEncoded => None,
        })
    });
}

/// Appends what `write` puts into the room that it is given, which grows when it asks for more. False where it has
/// nothing to put there.
fn append(
    outgoing: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> bool {
    let start = outgoing.len();
    loop {
        outgoing.resize(start + room, 0);
        match write(&mut outgoing[start..]) {
            Ok(written) => {
                outgoing.truncate(start + written);
                return true;
            }
            Err(Some(InsufficientSizeError { required_size })) if required_size > room => {
                room = required_size;
            }
            Err(_) => {
                outgoing.truncate(start);
                return false;
            }
        }
    }
}
