//! TLS as nobody speaks it: broken handshakes, broken records, cleartext on the encrypted port.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use socket2::SockRef;
use thiserror::Error;

use super::{
    flood::Aim,
    good::good_question,
    random::Random,
    stream::{Stream, connect},
};

/// The most that is read back from a server: more than any handshake has.
const MAX_READ: u64 = 64 * 1024;
/// One in this many connections is reset instead of closed.
const RESET_ONE_IN: usize = 4;

/// The families of garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// Any bytes.
    Noise,
    /// A ClientHello with bits turned over.
    FlippedHello,
    /// A ClientHello cut anywhere.
    CutHello,
    /// A ClientHello in records of one byte, cut anywhere.
    CrumbledHello,
    /// Records whose type, version or length is not true; empty ones, too.
    LyingRecords,
    /// A DNS query, an HTTP request, an SSL 2 hello.
    Cleartext,
    /// Noise after a good handshake.
    NoiseInside,
    /// A query whose ciphertext was changed.
    FlippedRecord,
}

impl Garbage {
    const ALL: [Self; 8] = [
        Self::Noise,
        Self::FlippedHello,
        Self::CutHello,
        Self::CrumbledHello,
        Self::LyingRecords,
        Self::Cleartext,
        Self::NoiseInside,
        Self::FlippedRecord,
    ];
}

/// Why garbage ended early.
#[derive(Debug, Error)]
pub enum GarbageError {
    /// The server said something that is no TLS record.
    #[error("{garbage:?}: something else than TLS came from the encrypted port: {said:02x?}")]
    Cleartext {
        /// What was sent.
        garbage: Garbage,
        /// The beginning of what came back.
        said: Vec<u8>,
    },
    /// A connection that was over on our side stayed open on the server's.
    #[error("{garbage:?}: the server holds on to a connection that was ended: {source}")]
    Held {
        /// What was sent.
        garbage: Garbage,
        /// How the wait ended.
        source: io::Error,
    },
    /// The server cannot be reached.
    #[error("TLS: {0}")]
    Io(#[from] io::Error),
}

/// Opens as many connections as `aim` has messages, one piece of garbage on each.
///
/// # Errors
/// The first reaction that a TLS server should not have.
pub fn garbage(aim: &Aim, tls: &Arc<ClientConfig>, random: &Random) -> Result<usize, GarbageError> {
    let mut random = random.derive("garbage");
    for _ in 0..aim.messages {
        let garbage = random.pick(&Garbage::ALL);
        let mut socket = match garbage {
            Garbage::NoiseInside | Garbage::FlippedRecord => {
                inside(garbage, aim, tls, &mut random)?
            }
            _ => {
                let mut socket = connect(aim.source, aim.server)?;
                let bytes = outside(garbage, tls, &mut random)?;
                // It may have had enough before the end.
                let _ = socket.write_all(&bytes);
                socket
            }
        };
        if random.one_in(RESET_ONE_IN) {
            SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
            continue;
        }
        let _ = socket.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        let ended = (&mut socket).take(MAX_READ).read_to_end(&mut said);
        match ended {
            Err(source) if source.kind() == io::ErrorKind::WouldBlock => {
                return Err(GarbageError::Held { garbage, source });
            }
            // Reset or closed.
            _ => {}
        }
        // Change cipher spec, alert, handshake, application data (RFC 8446 §5.1).
        if said.first().is_some_and(|first| !(20..=23).contains(first)) {
            said.truncate(64);
            return Err(GarbageError::Cleartext { garbage, said });
        }
    }
    Ok(aim.messages)
}

/// The first flight of a client.
#[must_use]
pub fn client_hello(aim: &Aim, tls: &Arc<ClientConfig>) -> Vec<u8> {
    hello(ServerName::IpAddress(aim.server.ip().into()), tls)
}

fn hello(name: ServerName<'static>, tls: &Arc<ClientConfig>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut connection) = ClientConnection::new(tls.clone(), name) {
        while connection.wants_write() && connection.write_tls(&mut bytes).is_ok() {}
    }
    bytes
}

fn outside(garbage: Garbage, tls: &Arc<ClientConfig>, random: &mut Random) -> io::Result<Vec<u8>> {
    let name = ServerName::try_from("hostile.example").map_err(io::Error::other)?;
    let mut bytes = hello(name, tls);
    match garbage {
        Garbage::FlippedHello => flip(&mut bytes, random),
        Garbage::CutHello => bytes.truncate(random.below(bytes.len())),
        Garbage::CrumbledHello => {
            let (head, body) = bytes.split_at(5.min(bytes.len()));
            let until = random.below(body.len());
            bytes = body[..until]
                .iter()
                .flat_map(|byte| [head[0], head[1], head[2], 0, 1, *byte])
                .collect();
        }
        Garbage::LyingRecords => {
            bytes.clear();
            for _ in 0..=random.below(40) {
                let kind = random.pick(&[20, 21, 22, 23, 24, 0, 255]);
                let length = random.pick(&[0, 1, 2, 16, 16_384, 16_385, 18_432, 65_535]);
                let real = random.below(64);
                bytes.extend_from_slice(&[kind, 3, random.pick(&[0, 1, 3, 4, 255])]);
                bytes.extend_from_slice(&u16::to_be_bytes(length));
                bytes.extend(random.bytes(real.min(usize::from(length))));
            }
        }
        Garbage::Cleartext => {
            let query = good_question(random).query(random.word());
            let framed = [&(query.len() as u16).to_be_bytes(), query.as_slice()].concat();
            let ssl2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec();
            let http = b"GET /dns-query HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
            bytes = vec![framed, ssl2, http].swap_remove(random.below(3));
        }
        _ => {
            let length = 1 + random.below(2_000);
            bytes = random.bytes(length);
        }
    }
    Ok(bytes)
}

/// Garbage on a connection whose handshake was good.
fn inside(
    garbage: Garbage,
    aim: &Aim,
    tls: &Arc<ClientConfig>,
    random: &mut Random,
) -> io::Result<TcpStream> {
    let Stream::Tls(stream) = Stream::tls(aim.source, aim.server, tls)? else {
        return Err(io::Error::other("not TLS"));
    };
    let (mut connection, mut socket) = stream.into_parts();
    let mut bytes = Vec::new();
    if garbage == Garbage::FlippedRecord {
        let query = good_question(random).query(random.word());
        let mut writer = connection.writer();
        writer.write_all(&(query.len() as u16).to_be_bytes())?;
        writer.write_all(&query)?;
        while connection.wants_write() {
            connection.write_tls(&mut bytes)?;
        }
        flip(&mut bytes, random);
    } else {
        let length = 1 + random.below(2_000);
        bytes = random.bytes(length);
    }
    let _ = socket.write_all(&bytes);
    Ok(socket)
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(6) {
        let bit = random.below(bytes.len() * 8);
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
    }
}
