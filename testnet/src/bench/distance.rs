//! Two hosts at a distance: what one sends reaches the other after a time that can be set.
//!
//! Few kernels have netem, most have VXLAN. The link of the two is such a tunnel, whose datagrams pass through a third host, where
//! this process holds them back. Everything on it is late by the same, the handshakes of TCP included; relays of connections would
//! answer those themselves.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::Failure;
use crate::{host::Host, lab::Lab, relay::delayed};

/// The port of VXLAN.
const TUNNEL: u16 = 4789;
/// A datagram of the tunnel, with room to spare.
const DATAGRAM: usize = 16 * 1024;
/// The name of the link on both hosts.
const LINK: &str = "line";
/// What it is like at the ends: the address on the link, the hardware address, the ends of the tunnel's own network.
const ENDS: [(&str, &str, &str, &str); 2] = [
    (
        "10.210.0.1",
        "02:5a:5a:01:00:01",
        "10.200.1.1",
        "10.200.1.2",
    ),
    (
        "10.210.0.2",
        "02:5a:5a:01:00:02",
        "10.200.2.1",
        "10.200.2.2",
    ),
];

/// Two hosts, and the line between them.
pub(super) struct Distance {
    /// Where the clients are.
    pub(super) near: Host,
    /// Where the servers are.
    pub(super) far: Host,
    one_way_us: Arc<AtomicU64>,
    _lab: Lab,
}

impl Distance {
    /// Lays the line; nothing is late yet.
    pub(super) fn new(folder: &Path) -> Result<Self, Failure> {
        let mut lab = Lab::new(folder)?;
        let [near, middle, far] = ["near", "middle", "far"].map(|name| lab.host(name));
        let (near, middle, far) = (near?, middle?, far?);
        for (host, link, (_, _, own, other)) in
            [(&near, "near-half", ENDS[0]), (&far, "far-half", ENDS[1])]
        {
            lab.link(link)?;
            lab.plug(host, link, &[&format!("{own}/24")])?;
            lab.plug(&middle, link, &[&format!("{other}/24")])?;
        }
        for (host, own, other) in [(&near, ENDS[0], ENDS[1]), (&far, ENDS[1], ENDS[0])] {
            lay_end(host, own, other)?;
        }
        let [near_socket, far_socket] = ENDS.map(|(_, _, _, middle_end)| {
            middle
                .within(|| UdpSocket::bind((parse(middle_end), TUNNEL)))
                .map(Arc::new)
        });
        let (near_socket, far_socket) = (near_socket?, far_socket?);
        let one_way_us = Arc::<AtomicU64>::default();
        carry(&near_socket, &far_socket, ENDS[1].2, &one_way_us);
        carry(&far_socket, &near_socket, ENDS[0].2, &one_way_us);
        Ok(Self {
            near,
            far,
            one_way_us,
            _lab: lab,
        })
    }

    /// The address of the host with the servers.
    pub(super) fn server() -> IpAddr {
        parse(ENDS[1].0).into()
    }

    /// From now on, there and back takes so long, and what the machine needs.
    pub(super) fn set_round_trip(&self, time: Duration) {
        let one_way = u64::try_from(time.as_micros() / 2).unwrap_or(u64::MAX);
        self.one_way_us.store(one_way, Ordering::Relaxed);
    }
}

/// One end of the tunnel. Both know each other's hardware address: no round trip goes into asking for it.
fn lay_end(
    host: &Host,
    (own, hardware, tunnel, middle): (&str, &str, &str, &str),
    (other, other_hardware, _, _): (&str, &str, &str, &str),
) -> Result<(), Failure> {
    let port = TUNNEL.to_string();
    let (own, other) = (format!("{own}/24"), other.to_owned());
    let steps: [&[&str]; 4] = [
        &[
            "link", "add", LINK, "address", hardware, "type", "vxlan", "id", "1", "local", tunnel,
            "remote", middle, "dstport", &port,
        ],
        &["link", "set", LINK, "gso_max_segs", "1", "up"],
        &["addr", "add", &own, "dev", LINK],
        &[
            "neigh",
            "replace",
            &other,
            "lladdr",
            other_hardware,
            "dev",
            LINK,
            "nud",
            "permanent",
        ],
    ];
    for step in steps {
        let output = host.output("ip", step)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::new(format!("ip {}: {said}", step.join(" "))));
        }
    }
    Ok(())
}

/// Carries what comes in at one end out at the other, until this process ends.
fn carry(from: &Arc<UdpSocket>, to: &Arc<UdpSocket>, target: &str, one_way_us: &Arc<AtomicU64>) {
    let (from, to, one_way_us) = (Arc::clone(from), Arc::clone(to), Arc::clone(one_way_us));
    let target = SocketAddr::from((parse(target), TUNNEL));
    let late = delayed(move |datagram| drop(to.send_to(&datagram, target)));
    thread::spawn(move || {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match from.recv(&mut buffer) {
                Ok(length) => {
                    complete_checksum(&mut buffer[..length]);
                    let delay = Duration::from_micros(one_way_us.load(Ordering::Relaxed));
                    if late
                        .send((Instant::now() + delay, buffer[..length].to_vec()))
                        .is_err()
                    {
                        return;
                    }
                }
                // What an end refused before it was there is told here.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    });
}

/// Fills in the checksum of what is in the tunnel, if it is TCP or UDP over IPv4. Between hosts of one machine the kernel remembers that
/// nobody has yet; that memory ends with the tunnel.
fn complete_checksum(datagram: &mut [u8]) {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    // Headers of VXLAN and Ethernet.
    let Some((ethernet, packet)) = datagram.split_at_mut_checked(8 + 14) else {
        return;
    };
    if !ethernet.ends_with(&[0x08, 0x00]) || packet.len() < 20 {
        return;
    }
    let header = usize::from(packet[0] & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let at = match packet[9] {
        TCP => 16,
        UDP => 6,
        _ => return,
    };
    let protocol = u64::from(packet[9]);
    let addresses = sum(&packet[12..20]);
    let Some(segment) = packet.get_mut(header..length) else {
        return;
    };
    if segment.len() < at + 2 {
        return;
    }
    segment[at..at + 2].fill(0);
    // RFC 9293 3.1, RFC 768: addresses, protocol and length count as if they stood before it.
    let mut folded = sum(segment) + addresses + protocol + segment.len() as u64;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    let checksum = match !(folded as u16) {
        0 => 0xffff,
        checksum => checksum,
    };
    segment[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Of 16-bit words, the last one filled up with zero.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|word| u64::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)])))
        .sum()
}

fn parse(address: &str) -> Ipv4Addr {
    address.parse().expect("constants are addresses")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram to port 53 with 3 octets of data, in IPv4 (192.0.2.1 to 192.0.2.2), Ethernet and VXLAN.
    const TUNNELLED: [u8; 53] = [
        8, 0, 0, 0, 0, 0, 1, 0, // VXLAN
        2, 0x5a, 0x5a, 1, 0, 2, 2, 0x5a, 0x5a, 1, 0, 1, 8, 0, // Ethernet
        0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, // IPv4
        0x30, 0x39, 0, 53, 0, 11, 0xaa, 0xaa, 1, 2, 3, // UDP
    ];

    #[test]
    fn the_checksum_of_the_inner_datagram_is_made() {
        let mut datagram = TUNNELLED;
        complete_checksum(&mut datagram);
        let segment = &datagram[42..];
        // With its checksum in it, all of it sums up to all ones.
        let all = sum(segment) + sum(&datagram[34..42]) + 17 + 11;
        assert_eq!((all & 0xffff) + (all >> 16), 0xffff);
        assert_eq!(datagram[..48], TUNNELLED[..48]);
    }

    #[test]
    fn what_is_cut_or_something_else_is_left_alone() {
        for length in 0..TUNNELLED.len() {
            let mut cut = TUNNELLED[..length].to_vec();
            complete_checksum(&mut cut);
            assert_eq!(cut, TUNNELLED[..length]);
        }
        let mut arp = TUNNELLED;
        arp[21] = 6;
        let before = arp;
        complete_checksum(&mut arp);
        assert_eq!(arp, before);
    }
}
