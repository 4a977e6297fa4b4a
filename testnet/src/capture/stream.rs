//! DNS messages out of TCP segments: each behind its length (RFC 1035 4.2.2), however the stream was cut.

use std::{collections::BTreeMap, net::SocketAddr};

use super::frame::{Packet, Transport};

/// One direction of a connection.
#[derive(Default)]
struct Stream<'a> {
    first: Option<u32>,
    /// By distance from the first octet; repeats of a segment fall together.
    segments: BTreeMap<u32, &'a Packet>,
}

/// The messages, each with the packet in which it began. What does not fit a message (a stream that ends inside one)
/// is handed out as it is: whoever looks for leaks must see it.
pub(super) fn messages<'a>(
    packets: impl Iterator<Item = &'a Packet>,
) -> Vec<(&'a Packet, Vec<u8>)> {
    // A port that is used again opens a new stream.
    let mut open: BTreeMap<(SocketAddr, SocketAddr), Stream<'a>> = BTreeMap::new();
    let mut found = Vec::new();
    for packet in packets {
        let Transport::Tcp { sequence, opens } = packet.transport else {
            continue;
        };
        let ends = (packet.source, packet.destination);
        if opens
            && open
                .get(&ends)
                .is_some_and(|stream| stream.first != Some(sequence))
        {
            found.extend(open.remove(&ends).into_iter().flat_map(Stream::messages));
        }
        let stream = open.entry(ends).or_default();
        let first = *stream.first.get_or_insert(sequence);
        if !packet.payload.is_empty() {
            let distance = sequence.wrapping_sub(first);
            let kept = stream.segments.entry(distance).or_insert(packet);
            if kept.payload.len() < packet.payload.len() {
                *kept = packet;
            }
        }
    }
    found.extend(open.into_values().flat_map(Stream::messages));
    found
}

impl<'a> Stream<'a> {
    fn messages(self) -> Vec<(&'a Packet, Vec<u8>)> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut begins: Vec<(usize, &'a Packet)> = Vec::new();
        for (distance, packet) in self.segments {
            let known = bytes.len();
            let Some(skip) = known.checked_sub(distance as usize) else {
                break;
            };
            let new = packet.payload.get(skip..).unwrap_or_default();
            if !new.is_empty() {
                begins.push((known, packet));
                bytes.extend(new);
            }
        }
        let packet_at = |at: usize| {
            begins
                .iter()
                .rev()
                .find(|(begin, _)| *begin <= at)
                .map(|(_, packet)| *packet)
        };
        let mut messages = Vec::new();
        let mut at = 0;
        while let Some(packet) = packet_at(at).filter(|_| at < bytes.len()) {
            let length = bytes
                .get(at..at + 2)
                .map_or(0, |two| usize::from(u16::from_be_bytes([two[0], two[1]])));
            let end = (at + 2 + length).min(bytes.len());
            messages.push((packet, bytes.get(at + 2..end).unwrap_or_default().to_vec()));
            at = end.max(at + 2);
        }
        messages
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn segment(sequence: u32, opens: bool, payload: &[u8]) -> Packet {
        Packet {
            at: SystemTime::UNIX_EPOCH,
            host: None,
            source: "192.168.77.10:4000".parse().unwrap(),
            destination: "192.168.77.1:53".parse().unwrap(),
            transport: Transport::Tcp { sequence, opens },
            payload: payload.to_vec(),
        }
    }

    fn read(packets: &[Packet]) -> Vec<Vec<u8>> {
        messages(packets.iter())
            .into_iter()
            .map(|(_, message)| message)
            .collect()
    }

    #[test]
    fn messages_are_found_however_the_stream_is_cut_swapped_and_repeated() {
        let bytes = b"\0\x03one\0\x03two";
        let start = u32::MAX - 3; // the numbering wraps inside the stream
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let second = segment(start.wrapping_add(u32::try_from(cut).unwrap()), false, tail);
            let packets = [
                segment(start, true, b""),
                second.clone(),
                segment(start, false, head),
                second,
            ];
            assert_eq!(read(&packets), [b"one", b"two"], "cut at {cut}");
        }
    }

    #[test]
    fn a_port_used_again_is_another_stream_and_an_unfinished_message_is_seen() {
        let packets = [
            segment(10, true, b""),
            segment(10, false, b"\0\x03one"),
            segment(77, true, b""),
            segment(77, false, b"\0\x09tw"),
        ];
        assert_eq!(read(&packets), [b"one".as_slice(), b"tw"]);
    }
}
