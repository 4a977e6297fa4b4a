//! What was on a link, and which DNS questions anybody on it could read.

mod frame;
mod rounds;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hickory_proto::{
    op::Message,
    rr::{Name, RecordType},
};
use thiserror::Error;

pub use frame::{Packet, Transport};
pub use rounds::Rounds;

/// The port of cleartext DNS (RFC 1035 4.2).
const DNS_PORT: u16 = 53;

/// Why a capture proves nothing.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// There is no such link.
    #[error("no link named {link}")]
    NoLink {
        /// Which.
        link: String,
    },
    /// The kernel dropped packets.
    #[error("the capture on {link} is not complete: {said}")]
    Incomplete {
        /// Which link.
        link: String,
        /// What tcpdump said.
        said: String,
    },
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what tcpdump writes.
    #[error("{}: not a capture of Ethernet frames: {what}", .path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

/// The packets of a link, in the order in which they were seen.
#[derive(Debug)]
pub struct Capture {
    link: String,
    packets: Vec<Packet>,
}

/// A DNS message to port 53 that anybody on the link could read.
#[derive(Clone, Debug)]
pub struct CleartextQuery {
    /// When.
    pub at: SystemTime,
    /// The host whose card sent it; `None` for a card that no host of the lab has.
    pub host: Option<String>,
    /// From where to where.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// What was asked; `None` when the message is not readable as DNS, which counts as a leak all the same.
    pub question: Option<(Name, RecordType)>,
}

impl Capture {
    /// Reads a file that tcpdump wrote; `cards` tells whose the hardware addresses are.
    ///
    /// # Errors
    /// Not a whole capture of Ethernet frames.
    pub fn read(
        link: &str,
        path: &Path,
        cards: &BTreeMap<[u8; 6], String>,
    ) -> Result<Self, CaptureError> {
        let bytes = fs::read(path).map_err(|source| CaptureError::File {
            path: path.to_owned(),
            source,
        })?;
        let packets = frame::packets(&bytes, cards).map_err(|what| CaptureError::Format {
            path: path.to_owned(),
            what,
        })?;
        Ok(Self {
            link: link.to_owned(),
            packets,
        })
    }

    /// The link's name.
    #[must_use]
    pub fn link(&self) -> &str {
        &self.link
    }

    /// All UDP and TCP packets.
    #[must_use]
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// What was seen from one moment to another.
    #[must_use]
    pub fn between(&self, from: SystemTime, to: SystemTime) -> Self {
        self.only(|packet| from <= packet.at && packet.at <= to)
    }

    /// What these two sent each other.
    #[must_use]
    pub fn among(&self, ends: [IpAddr; 2]) -> Self {
        let [one, other] = ends;
        self.only(|packet| {
            let between = (packet.source.ip(), packet.destination.ip());
            between == (one, other) || between == (other, one)
        })
    }

    fn only(&self, holds: impl Fn(&Packet) -> bool) -> Self {
        let packets = self.packets.iter().filter(|packet| holds(packet));
        Self {
            link: self.link.clone(),
            packets: packets.cloned().collect(),
        }
    }

    /// All hosts of the lab that sent something.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<&str> {
        let hosts = self.packets.iter();
        hosts.filter_map(|packet| packet.host.as_deref()).collect()
    }

    /// In how many rounds a host asked this port over TLS; no answer comes sooner than after `round_trip`.
    #[must_use]
    pub fn rounds(&self, host: &str, port: u16, round_trip: Duration) -> Rounds {
        rounds::rounds(self.packets.iter(), host, port, round_trip)
    }

    /// For how many questions over TLS there was room at the most in what a host sent to this address and port.
    #[must_use]
    pub fn room_for_questions(&self, host: &str, to: IpAddr, port: u16) -> usize {
        self.packets_between(host, to, Some(port))
            .map(|packet| packet.payload.len() / rounds::LEAST_QUESTION)
            .sum()
    }

    /// All DNS messages to port 53, over UDP and TCP, in the order of their times.
    #[must_use]
    pub fn cleartext_queries(&self) -> Vec<CleartextQuery> {
        let datagrams = self
            .packets
            .iter()
            .filter(|packet| {
                packet.destination.port() == DNS_PORT && packet.transport == Transport::Udp
            })
            .map(|packet| CleartextQuery::new(packet, &packet.payload));
        let segments = self
            .packets
            .iter()
            .filter(|packet| packet.destination.port() == DNS_PORT && packet.transport.is_tcp());
        let streamed = stream::messages(segments)
            .into_iter()
            .map(|(packet, message)| CleartextQuery::new(packet, &message));
        let mut queries: Vec<_> = datagrams.chain(streamed).collect();
        queries.sort_by_key(|query| query.at);
        queries
    }

    /// The cleartext queries that a host sent, at or after a time.
    #[must_use]
    pub fn cleartext_queries_from(&self, host: &str, since: SystemTime) -> Vec<CleartextQuery> {
        self.cleartext_queries()
            .into_iter()
            .filter(|query| query.host.as_deref() == Some(host) && query.at >= since)
            .collect()
    }

    /// Packets of a host to this address and port (any port where `None`).
    pub fn packets_between<'a>(
        &'a self,
        host: &'a str,
        to: IpAddr,
        port: Option<u16>,
    ) -> impl Iterator<Item = &'a Packet> {
        self.packets.iter().filter(move |packet| {
            packet.host.as_deref() == Some(host)
                && packet.destination.ip() == to
                && port.is_none_or(|port| packet.destination.port() == port)
        })
    }

    /// When the first TLS handshake of a host with this port was over: its first encrypted record (RFC 8446 5.1, type
    /// 23; in TLS 1.3 that is the client's Finished).
    #[must_use]
    pub fn handshake_over(&self, host: &str, port: u16) -> Option<SystemTime> {
        self.packets
            .iter()
            .find(|packet| {
                packet.host.as_deref() == Some(host)
                    && packet.destination.port() == port
                    && holds_encrypted_record(&packet.payload)
            })
            .map(|packet| packet.at)
    }

    /// Which of these names a host's packets spell as DNS messages do, at or after a time, on *any* port: a name that
    /// leaks is seen wherever it leaks.
    #[must_use]
    pub fn names_spelled(&self, names: &[Name], host: &str, since: SystemTime) -> BTreeSet<Name> {
        let spelled: HashMap<Vec<u8>, &Name> =
            names.iter().map(|name| (spelling(name), name)).collect();
        self.packets
            .iter()
            .filter(|packet| packet.host.as_deref() == Some(host) && packet.at >= since)
            .flat_map(|packet| {
                (0..packet.payload.len()).filter_map(|at| name_at(&packet.payload[at..]))
            })
            .filter_map(|name| spelled.get(&name).map(|name| (*name).clone()))
            .collect()
    }
}

/// A name as messages spell it, uncompressed, in lower case (RFC 1035 3.1).
fn spelling(name: &Name) -> Vec<u8> {
    let mut spelling = Vec::with_capacity(name.len());
    for label in name {
        spelling.push(u8::try_from(label.len()).expect("labels are at most 63 octets"));
        spelling.extend(label.to_ascii_lowercase());
    }
    spelling.push(0);
    spelling
}

/// The uncompressed name that these octets begin with, in lower case, where they begin with one.
fn name_at(octets: &[u8]) -> Option<Vec<u8>> {
    let mut end = 0;
    loop {
        match usize::from(*octets.get(end)?) {
            0 if end == 0 => return None,
            0 => return Some(octets[..=end].to_ascii_lowercase()),
            length if length < 64 && end + length < 255 => end += length + 1,
            _ => return None,
        }
    }
}

/// Walks the TLS records of a segment that begins with one.
fn holds_encrypted_record(mut segment: &[u8]) -> bool {
    while let [content_type, 3, _, high, low, rest @ ..] = segment {
        if *content_type == 23 {
            return true;
        }
        segment = rest
            .get(usize::from(u16::from_be_bytes([*high, *low]))..)
            .unwrap_or_default();
    }
    false
}

impl CleartextQuery {
    fn new(packet: &Packet, message: &[u8]) -> Self {
        let question = Message::from_vec(message).ok().and_then(|message| {
            message
                .queries
                .first()
                .map(|query| (query.name().to_lowercase(), query.query_type()))
        });
        Self {
            at: packet.at,
            host: packet.host.clone(),
            source: packet.source,
            destination: packet.destination,
            transport: packet.transport,
            question,
        }
    }

    /// Does it ask for this name, whatever the type?
    #[must_use]
    pub fn asks_for(&self, name: &Name) -> bool {
        self.question
            .as_ref()
            .is_some_and(|(asked, _)| asked == name)
    }
}

impl fmt::Display for CleartextQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: ", self.source, self.destination)?;
        match &self.question {
            Some((name, rtype)) => write!(f, "{name} {rtype}"),
            None => write!(f, "a message that is not readable as DNS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn a_name_is_seen_wherever_it_stands_and_however_it_is_written() {
        let name = Name::from_str("www.example.").expect("a constant is a name");
        let payload = b"GET \x03wWw\x07EXAMPLE\x00 rest";
        let found: Vec<_> = (0..payload.len())
            .filter_map(|at| name_at(&payload[at..]))
            .collect();
        assert!(found.contains(&spelling(&name)), "{found:?}");
        assert_eq!(name_at(b"\x03ww"), None);
        assert_eq!(name_at(&[63; 300]), None);
    }

    #[test]
    fn the_end_of_a_handshake_is_the_first_encrypted_record() {
        let hello = [22, 3, 1, 0, 2, 9, 9];
        let change_then_finished = [20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 1, 7];
        assert!(!holds_encrypted_record(&hello));
        assert!(!holds_encrypted_record(&[20, 3, 3, 0, 1]));
        assert!(holds_encrypted_record(&change_then_finished));
    }
}
