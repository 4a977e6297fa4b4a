//! The state of systemd-networkd: `/run/systemd/netif/links/INDEX` says what is in force for a link, `leases/INDEX` what
//! DHCP said. Lines of `KEY=VALUE`; lists are separated by spaces.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{head, plain, server};
use crate::host::{DOMAINS_PER_LINK_MAX, Dhcp, Domain, LinkSays, SERVERS_PER_LINK_MAX};

/// More than are used, so that the decision can tell that there were too many.
const SERVERS_READ_MAX: usize = 2 * SERVERS_PER_LINK_MAX;

/// What is in force on link number `index`.
#[must_use]
pub fn networkd_link(index: u32, text: &str) -> LinkSays {
    let mut says = LinkSays {
        index: Some(index),
        ..LinkSays::default()
    };
    for (key, value) in lines(text) {
        match key {
            "DNS" => {
                let servers = value
                    .split_ascii_whitespace()
                    .filter_map(|text| named(text, index));
                says.servers = servers.take(SERVERS_READ_MAX).collect();
            }
            "DOMAINS" | "ROUTE_DOMAINS" => {
                let domains = value.split_ascii_whitespace();
                let domains = domains.filter_map(|text| text.parse::<Domain>().ok());
                let room = (DOMAINS_PER_LINK_MAX + 1).saturating_sub(says.domains.len());
                let domains: Vec<Domain> = domains.take(room).collect();
                if key == "DOMAINS" {
                    says.search.extend(domains.iter().cloned());
                }
                says.domains.extend(domains);
            }
            // `pending`, `initialized` and `unmanaged` leave it to others.
            "ADMIN_STATE" => {
                says.managed = matches!(value, "configuring" | "configured" | "linger")
            }
            "DNS_DEFAULT_ROUTE" => says.default_route = truth(value),
            "CAPTIVE_PORTAL" => says.captive_portal = plain(value),
            _ => {}
        }
    }
    says
}

/// What the lease of a link says about DHCP itself; whether its servers are used is for the link to say.
#[must_use]
pub fn networkd_lease(text: &str) -> Option<Dhcp> {
    let mut dhcp = Dhcp::default();
    for (key, value) in lines(text) {
        match key {
            "SERVER_ADDRESS" => dhcp.server = value.parse().ok(),
            "DOMAINNAME" => dhcp.domain = plain(value),
            _ => {}
        }
    }
    (dhcp != Dhcp::default()).then_some(dhcp)
}

/// The domains that came with the lease, used or not.
#[must_use]
pub fn networkd_lease_domains(text: &str) -> Vec<Domain> {
    let named = lines(text).filter(|(key, _)| matches!(*key, "DOMAINNAME" | "DOMAIN_SEARCH_LIST"));
    let domains = named.flat_map(|(_, value)| value.split_ascii_whitespace());
    let domains = domains.filter_map(|text| text.parse().ok());
    domains.take(DOMAINS_PER_LINK_MAX).collect()
}

fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = head(text).lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('='))
}

/// `ADDRESS[:PORT][%LINK][#NAME]`, IPv6 with a port in brackets.
fn named(text: &str, index: u32) -> Option<SocketAddr> {
    let text = text.split_once('#').map_or(text, |(address, _)| address);
    let (text, scoped) = text
        .split_once('%')
        .map_or((text, false), |(address, _)| (address, true));
    let address: SocketAddr = text
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(server))?;
    Some(match address {
        // networkd names no other link than the file's.
        SocketAddr::V6(v6) if scoped && Ipv6Addr::is_unicast_link_local(v6.ip()) => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, index).into()
        }
        other => other,
    })
}

/// As systemd writes and reads booleans.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LINK: &str = "# This is private data. Do not parse.\nADMIN_STATE=configured\n\
        DNS=192.168.1.1 10.0.0.1:5353#dns.example fe80::1%eth0 [2001:db8::1]:54 nonsense 300.1.1.1\nNTP=\n\
        DOMAINS=lan home.example\nROUTE_DOMAINS=corp.example .\nDNS_DEFAULT_ROUTE=no\nLLMNR=yes\n\
        CAPTIVE_PORTAL=https://portal.example/\n";

    #[test]
    fn a_link_says_what_is_in_force() {
        let says = networkd_link(7, LINK);
        let servers: Vec<_> = says.servers.iter().map(ToString::to_string).collect();
        let expected = [
            "192.168.1.1:53",
            "10.0.0.1:5353",
            "[fe80::1%7]:53",
            "[2001:db8::1]:54",
        ];
        assert_eq!(servers, expected);
        let domains: Vec<_> = says.domains.iter().map(ToString::to_string).collect();
        assert_eq!(domains, ["lan", "home.example", "corp.example", "."]);
        let search: Vec<_> = says.search.iter().map(ToString::to_string).collect();
        assert_eq!(search, ["lan", "home.example"]);
        assert!(says.managed && !networkd_link(7, "ADMIN_STATE=unmanaged\n").managed);
        assert_eq!(says.default_route, Some(false));
        assert_eq!(
            says.captive_portal.as_deref(),
            Some("https://portal.example/")
        );
        assert_eq!(says.index, Some(7));
    }

    #[test]
    fn a_lease_says_who_gave_it() {
        let dhcp = networkd_lease(
            "ADDRESS=192.168.1.7\nSERVER_ADDRESS=192.168.1.1\nDOMAINNAME=lan\nDNS=192.168.1.1\n",
        );
        let expected = Dhcp {
            server: Some("192.168.1.1".parse().unwrap()),
            domain: Some("lan".to_owned()),
        };
        assert_eq!(dhcp, Some(expected));
        let domains =
            networkd_lease_domains("DOMAINNAME=lan\nDOMAIN_SEARCH_LIST=a.example b.example\n");
        let domains: Vec<_> = domains.iter().map(ToString::to_string).collect();
        assert_eq!(domains, ["lan", "a.example", "b.example"]);
    }

    #[test]
    fn rubbish_says_nothing() {
        for rubbish in [
            "",
            "=",
            "DNS",
            "DNS=\u{0}\nDOMAINS=..",
            "\u{fffd}=\u{fffd}",
            "SERVER_ADDRESS=x",
        ] {
            let says = networkd_link(2, rubbish);
            assert!(
                says.servers.is_empty() && says.domains.is_empty(),
                "{rubbish:?}"
            );
            assert_eq!(networkd_lease(rubbish), None, "{rubbish:?}");
        }
        let endless = format!("DNS={}\n", "192.0.2.1 ".repeat(100_000));
        assert!(networkd_link(2, &endless).servers.len() <= SERVERS_READ_MAX);
    }
}
