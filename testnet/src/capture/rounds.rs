//! How often somebody had to wait for answers, seen from outside of TLS.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::Packet;

/// Clocks of packets and of the delay may be apart by so much.
const SLACK: Duration = Duration::from_millis(1);
/// What is sent with fewer octets is no question, which is padded to 128 (RFC 8467 4.1), but the end of a handshake or
/// of a connection.
pub(super) const LEAST_QUESTION: usize = 128;

/// What was asked of a port, in rounds: what is sent after an answer of one round belongs to the next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rounds {
    /// How many.
    pub count: usize,
    /// Connections that were opened meanwhile.
    pub connections: usize,
    /// From the first question to the last answer.
    pub time: Duration,
}

/// Of the packets of a host and the answers to it. No answer comes sooner than `round_trip` after what it answers, so
/// that answers under way are told from those to what was sent just before. A host that stops in the middle of
/// what it sends has more rounds than it needs; it never has fewer.
pub(super) fn rounds<'a>(
    packets: impl Iterator<Item = &'a Packet>,
    host: &str,
    port: u16,
    round_trip: Duration,
) -> Rounds {
    let round_trip = round_trip.saturating_sub(SLACK);
    // What was sent on each connection: when, and in which round.
    let mut sent: HashMap<(SocketAddr, SocketAddr), Vec<(SystemTime, usize)>> = HashMap::new();
    let mut rounds = Rounds::default();
    let (mut answered, mut began) = (0, None);
    for packet in packets.filter(|packet| packet.transport.is_tcp()) {
        let forth = packet.host.as_deref() == Some(host) && packet.destination.port() == port;
        if forth && packet.transport.opens() {
            rounds.connections += 1;
        }
        if forth && packet.payload.len() >= LEAST_QUESTION {
            let ends = (packet.source, packet.destination);
            sent.entry(ends)
                .or_default()
                .push((packet.at, answered + 1));
            rounds.count = rounds.count.max(answered + 1);
            began.get_or_insert(packet.at);
        }
        let ends = (packet.destination, packet.source);
        if let Some(sent) = sent.get(&ends).filter(|_| !packet.payload.is_empty()) {
            let answers = |(at, _): &&(SystemTime, usize)| *at + round_trip <= packet.at;
            let to = sent.iter().rfind(answers).map_or(0, |(_, round)| *round);
            answered = answered.max(to);
            let since = began.and_then(|began| packet.at.duration_since(began).ok());
            rounds.time = since.unwrap_or_default();
        }
    }
    rounds
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Transport;
    use super::*;

    const LAPTOP: &str = "192.168.77.10:4000";
    const ROUND_TRIP: Duration = Duration::from_millis(60);

    fn packet(at: u64, forth: bool, server: &str, octets: usize) -> Packet {
        let (laptop, server) = (LAPTOP.parse().unwrap(), server.parse().unwrap());
        let (source, destination) = if forth {
            (laptop, server)
        } else {
            (server, laptop)
        };
        Packet {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(at),
            host: forth.then(|| "laptop".to_owned()),
            source,
            destination,
            transport: Transport::Tcp {
                sequence: 0,
                opens: octets == 0,
            },
            payload: vec![0; octets],
        }
    }

    fn counted(packets: &[(u64, bool, &str, usize)]) -> Rounds {
        let packets: Vec<_> = packets
            .iter()
            .map(|(at, forth, server, octets)| packet(*at, *forth, server, *octets))
            .collect();
        rounds(packets.iter(), "laptop", 853, ROUND_TRIP)
    }

    #[test]
    fn what_waits_for_an_answer_is_another_round_and_what_does_not_is_none() {
        let (near, far) = ("10.53.0.65:853", "10.53.0.64:853");
        let told = counted(&[
            (0, true, near, 0),
            (1, true, near, 150),
            // Not the answer to what was sent just before it.
            (2, false, near, 90),
            (3, true, near, 150),
            (61, false, near, 400),
            (62, true, far, 0),
            (62, true, far, 250),
            (63, true, near, 300),
            (64, false, near, 400),
            (122, false, far, 900),
            (124, false, near, 900),
            // The end of a handshake, and of a connection.
            (125, true, far, 80),
            (126, true, far, 24),
        ]);
        let expected = Rounds {
            count: 2,
            connections: 2,
            time: Duration::from_millis(123),
        };
        assert_eq!(told, expected);
        let third = counted(&[
            (1, true, near, 150),
            (62, false, near, 400),
            (63, true, far, 250),
            (124, false, far, 400),
            (125, true, near, 150),
        ]);
        assert_eq!(third.count, 3);
    }
}
