//! The file format of libpcap, and Ethernet, IPv4, IPv6, UDP and TCP as far as a lab needs them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime},
};

/// Microsecond timestamps, in this machine's byte order: what tcpdump writes by default.
const MAGIC: u32 = 0xa1b2_c3d4;
const ETHERNET: u32 = 1;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// A UDP or TCP packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When the link carried it.
    pub at: SystemTime,
    /// Whose card sent it, where the card is one of the lab's.
    pub host: Option<String>,
    /// Source.
    pub source: SocketAddr,
    /// Destination.
    pub destination: SocketAddr,
    /// UDP, or TCP with the place in its stream.
    pub transport: Transport,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// The transport of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A segment.
    Tcp {
        /// Sequence number of the first octet of the payload.
        sequence: u32,
        /// Opens a stream.
        opens: bool,
    },
}

impl Transport {
    /// TCP, wherever in the stream.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp { .. })
    }

    /// TCP, and the packet asks for or grants a connection.
    #[must_use]
    pub fn opens(self) -> bool {
        matches!(self, Self::Tcp { opens: true, .. })
    }
}

/// All UDP and TCP packets of a capture file. A record cut short by the end of the capture ends the list.
pub(super) fn packets(
    file: &[u8],
    cards: &BTreeMap<[u8; 6], String>,
) -> Result<Vec<Packet>, &'static str> {
    if word(file, 0) != Some(MAGIC) {
        return Err("another byte order or format");
    }
    if word(file, 20) != Some(ETHERNET) {
        return Err("another link type");
    }
    let mut packets = Vec::new();
    let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
    while let (Some(seconds), Some(micros), Some(kept), Some(original)) =
        (word(rest, 0), word(rest, 4), word(rest, 8), word(rest, 12))
    {
        if kept != original {
            return Err("a frame was cut");
        }
        let end = RECORD_HEADER + kept as usize;
        let Some(frame) = rest.get(RECORD_HEADER..end) else {
            break;
        };
        let at = SystemTime::UNIX_EPOCH
            + Duration::from_secs(seconds.into())
            + Duration::from_micros(micros.into());
        if let Some(mut packet) = packet(at, frame) {
            packet.host = frame.get(6..12).and_then(|card| cards.get(card)).cloned();
            packets.push(packet);
        }
        rest = &rest[end..];
    }
    Ok(packets)
}

fn packet(at: SystemTime, frame: &[u8]) -> Option<Packet> {
    let body = frame.get(14..)?;
    let (source, destination, protocol, body) = match big16(frame, 12)? {
        0x0800 => ipv4(body)?,
        0x86dd => ipv6(body)?,
        _ => return None,
    };
    let (transport, payload) = match protocol {
        17 => (Transport::Udp, body.get(8..)?),
        6 => {
            let flags = *body.get(13)?;
            let opens = flags & 0x02 != 0;
            let header = usize::from(*body.get(12)? >> 4) * 4;
            // The octet that opens a stream counts in its numbering (RFC 9293 3.4).
            let sequence = big32(body, 4)?.wrapping_add(u32::from(opens));
            (Transport::Tcp { sequence, opens }, body.get(header..)?)
        }
        _ => return None,
    };
    Some(Packet {
        at,
        host: None,
        source: SocketAddr::new(source, big16(body, 0)?),
        destination: SocketAddr::new(destination, big16(body, 2)?),
        transport,
        payload: payload.to_vec(),
    })
}

type Datagram<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn ipv4(bytes: &[u8]) -> Option<Datagram<'_>> {
    let header = usize::from(bytes.first()? & 0x0f) * 4;
    // Ethernet pads short frames: the total length says where the packet ends. Later fragments have no ports.
    let total = usize::from(big16(bytes, 2)?);
    if big16(bytes, 6)? & 0x1fff != 0 {
        return None;
    }
    let address = |from: usize| Some(IpAddr::from(Ipv4Addr::from(big32(bytes, from)?)));
    Some((
        address(12)?,
        address(16)?,
        *bytes.get(9)?,
        bytes.get(header..total)?,
    ))
}

fn ipv6(bytes: &[u8]) -> Option<Datagram<'_>> {
    let total = 40 + usize::from(big16(bytes, 4)?);
    let address = |from: usize| {
        let octets: [u8; 16] = bytes.get(from..from + 16)?.try_into().ok()?;
        Some(IpAddr::from(Ipv6Addr::from(octets)))
    };
    Some((
        address(8)?,
        address(24)?,
        *bytes.get(6)?,
        bytes.get(40..total)?,
    ))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn big16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn big32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    const CARD: [u8; 6] = [2, 0x5a, 0x5a, 0, 0, 9];

    fn udp_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend(CARD);
        frame.extend([0x08, 0x00]);
        let total = u16::try_from(28 + payload.len()).unwrap();
        frame.extend([0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 77, 10, 192, 168, 77, 1]);
        frame.extend(4000_u16.to_be_bytes());
        frame.extend(53_u16.to_be_bytes());
        frame.extend((total - 20).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        frame.extend([0; 7]); // padding of the link
        frame
    }

    fn file(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(MAGIC.to_ne_bytes());
        file.extend([0; 16]);
        file.extend(ETHERNET.to_ne_bytes());
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap();
            for word in [100, 5, length, length] {
                file.extend(u32::to_ne_bytes(word));
            }
            file.extend(frame);
        }
        file
    }

    #[test]
    fn a_datagram_is_read_with_its_sender_and_without_the_padding_of_the_link() {
        let cards = BTreeMap::from([(CARD, "laptop".to_owned())]);
        let packets = packets(&file(&[udp_frame(b"question")]), &cards).unwrap();
        let [packet] = &packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!(packet.host.as_deref(), Some("laptop"));
        assert_eq!(packet.source, "192.168.77.10:4000".parse().unwrap());
        assert_eq!(packet.destination, "192.168.77.1:53".parse().unwrap());
        assert_eq!(packet.payload, b"question");
        assert_eq!(
            packet.at,
            SystemTime::UNIX_EPOCH + Duration::from_micros(100_000_005)
        );
    }

    #[test]
    fn no_cut_or_garbled_file_panics() {
        let whole = file(&[udp_frame(b"question"), udp_frame(b"")]);
        for end in 0..whole.len() {
            let _ = packets(&whole[..end], &BTreeMap::new());
            let mut garbled = whole.clone();
            garbled[end] ^= 0xff;
            let _ = packets(&garbled, &BTreeMap::new());
        }
    }
}
