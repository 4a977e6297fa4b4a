//! What this host says about itself: its addresses, and the name servers that it uses.

use std::{
    fs,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
};

use zzdot_client::host::servers_in;

use crate::listen::Inherited;

/// The facts about the host that defaults are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The addresses of the interfaces that are up, in the kernel's order, each once.
    pub addresses: Vec<IpAddr>,
    /// The name servers that the host uses, in order of preference.
    pub name_servers: Vec<SocketAddr>,
    /// The addresses of the sockets for plain DNS that the service manager passed in.
    pub passed_dns: Vec<SocketAddr>,
    /// The same for DNS over TLS.
    pub passed_dot: Vec<SocketAddr>,
}

impl Host {
    /// Asks the kernel and reads the resolver configuration.
    pub fn observe() -> io::Result<Self> {
        Ok(Self {
            addresses: interface_addresses()?,
            name_servers: name_servers(),
            ..Self::default()
        })
    }

    /// Adds the sockets that were passed in.
    #[must_use]
    pub fn with_passed(mut self, inherited: &Inherited) -> Self {
        let tcp = inherited.tcp.iter().map(TcpListener::local_addr);
        let udp = inherited.udp.iter().map(UdpSocket::local_addr);
        self.passed_dns = udp.chain(tcp).flatten().collect();
        self.passed_dns.sort_unstable();
        self.passed_dns.dedup();
        let tls = inherited.tls.iter().map(TcpListener::local_addr);
        self.passed_dot = tls.flatten().collect();
        self
    }

    /// Whether `address` belongs to this machine (all of 127.0.0.0/8 does).
    pub fn owns(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }
}

/// Whether an address is one that only a home, a site or this machine can reach: RFC 1918,
/// RFC 4193, loopback. Shared address space (RFC 6598) is not: behind a carrier's NAT it is the
/// outside (the access list has the same view). Link-local ones are left out, since they mean
/// nothing without the name of a link.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
    }
}

/// Whether an address needs the name of a link to mean anything.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    use nix::net::if_::InterfaceFlags;

    let mut addresses = Vec::new();
    for interface in nix::ifaddrs::getifaddrs()? {
        if !interface.flags.contains(InterfaceFlags::IFF_UP) {
            continue;
        }
        let Some(storage) = interface.address else {
            continue;
        };
        let address = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (None, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => continue,
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// A host without a resolver configuration has no name servers; that is not an error here, since
/// it only matters to who wants to forward to them.
fn name_servers() -> Vec<SocketAddr> {
    let listed = read_bounded(Path::new("/etc/resolv.conf"))
        .map(|text| parse_name_servers(&text))
        .unwrap_or_default();
    // The stub of systemd-resolved hides the servers behind it, and may one day point at us.
    if listed.iter().any(|server| is_resolved_stub(server.ip()))
        && let Ok(text) = read_bounded(Path::new("/run/systemd/resolve/resolv.conf"))
    {
        let behind = parse_name_servers(&text);
        if !behind.is_empty() {
            return behind;
        }
    }
    listed
}

fn is_resolved_stub(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53))
        || address == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    const MOST: u64 = 64 * 1024;
    let mut contents = Vec::new();
    fs::File::open(path)?
        .take(MOST)
        .read_to_end(&mut contents)?;
    Ok(contents)
}

fn parse_name_servers(text: &[u8]) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for server in servers_in(text).unwrap_or_default() {
        // A link-local server cannot be reached without its link; the others can.
        let is_lost = matches!(server, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0);
        if is_lost {
            tracing::debug!(server = %server.ip(), "a name server of this host on no link that is named");
        } else if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address and a port")
    }

    #[test]
    fn name_servers_are_read_in_order_and_once() {
        let text = b"# a comment\nsearch lan\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n\
                     nameserver 192.0.2.1\noptions edns0\n";
        assert_eq!(
            parse_name_servers(text),
            [at("192.0.2.1:53"), at("[2001:db8::1]:53")]
        );
    }

    #[test]
    fn a_name_server_on_a_link_is_asked_there_and_left_out_where_no_link_is_named() {
        let text = b"nameserver fe80::1%lo\nnameserver fe80::2%7\nnameserver fe80::3\nnameserver 192.0.2.1\n";
        let loopback = nix::net::if_::if_nametoindex("lo").expect("every machine has it");
        assert_eq!(
            parse_name_servers(text),
            [
                at(&format!("[fe80::1%{loopback}]:53")),
                at("[fe80::2%7]:53"),
                at("192.0.2.1:53"),
            ]
        );
    }

    #[test]
    fn the_unspecified_name_server_is_this_machine() {
        assert_eq!(
            parse_name_servers(b"nameserver 0.0.0.0\n"),
            [at("127.0.0.1:53")]
        );
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for private in [
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "fd00::1",
            "::1",
        ] {
            assert!(is_private(ip(private)), "{private}");
        }
        for other in [
            "100.64.0.1",
            "172.32.0.1",
            "192.0.2.1",
            "2001:db8::1",
            "fe80::1",
            "169.254.1.1",
        ] {
            assert!(!is_private(ip(other)), "{other}");
        }
    }

    #[test]
    fn this_machine_has_a_loopback_address() {
        let host = Host::observe().expect("the kernel lists interfaces");
        assert!(host.addresses.iter().any(IpAddr::is_loopback));
        assert!(host.owns(ip("127.8.8.8")));
    }
}
