//! Who may ask.

use std::net::IpAddr;

use ipnet::IpNet;

/// The networks that may ask. Everybody else is a stranger: dropped without a word, so that this
/// is never an open resolver and never a reflector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessList(Vec<IpNet>);

/// Loopback, private (RFC 1918, RFC 4193) and link-local (RFC 3927, RFC 4291 §2.5.6).
///
/// Shared address space (100.64.0.0/10, RFC 6598) is left out: behind a carrier's NAT it is the
/// outside, where the neighbours are other customers. Who runs an overlay network in that space
/// adds it.
const DEFAULT: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl Default for AccessList {
    fn default() -> Self {
        Self(
            DEFAULT
                .iter()
                .map(|network| network.parse().expect("a constant, tested below"))
                .collect(),
        )
    }
}

impl AccessList {
    /// Lets in the networks given, and nobody else; an empty list lets nobody in.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether `address` may ask. An IPv4-mapped IPv6 address counts as the IPv4 address.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The networks, in the order in which they were given.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_knows_its_neighbours_from_strangers() {
        let access = AccessList::default();
        for (address, allowed) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("10.255.0.1", true),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("192.168.1.1", true),
            ("192.169.0.1", false),
            ("169.254.3.4", true),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("8.8.8.8", false),
            ("255.255.255.255", false),
            ("::1", true),
            ("::", false),
            ("fd00::1", true),
            ("fe80::1", true),
            ("fec0::1", false),
            ("2001:db8::1", false),
            ("::ffff:192.168.0.1", true),
            ("::ffff:8.8.8.8", false),
        ] {
            assert_eq!(
                access.allows(address.parse().unwrap()),
                allowed,
                "{address}"
            );
        }
    }

    #[test]
    fn a_list_replaces_the_default_and_an_empty_one_lets_nobody_in() {
        let list = AccessList::new(vec!["192.0.2.0/24".parse().unwrap()]);
        assert!(list.allows("192.0.2.7".parse().unwrap()));
        assert!(!list.allows("127.0.0.1".parse().unwrap()));
        assert!(!AccessList::new(Vec::new()).allows("127.0.0.1".parse().unwrap()));
    }
}
