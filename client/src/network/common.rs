//! What is the same in many networks, and so tells none from another.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::MacAddress;

/// The beginnings of hardware addresses that are no single device's.
const SHARED_MACS: [&[u8]; 11] = [
    // VRRP for IPv4 and IPv6 (RFC 9568 §7.3), CARP: the number of a group, mostly 1.
    &[0x00, 0x00, 0x5e, 0x00, 0x01],
    &[0x00, 0x00, 0x5e, 0x00, 0x02],
    // HSRP versions 1 and 2, GLBP: groups again.
    &[0x00, 0x00, 0x0c, 0x07, 0xac],
    &[0x00, 0x05, 0x73, 0xa0],
    &[0x00, 0x07, 0xb4, 0x00],
    // Network of an emulator for its guests: the address is made of the IPv4 address, the same on every machine.
    &[0x52, 0x55],
    &[0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
    &[0x52, 0x54, 0x00, 0x12, 0x35],
    // Counted up or left empty: settings that nobody made.
    &[0x00, 0x11, 0x22, 0x33, 0x44],
    &[0x02, 0x00, 0x00, 0x00, 0x00],
    &[0x00, 0x00, 0x00, 0x00, 0x00],
];

/// Whether devices in many networks have the address.
pub(super) fn is_shared_mac(MacAddress(octets): MacAddress) -> bool {
    let shared = SHARED_MACS.iter().any(|start| octets.starts_with(start));
    // HSRP version 2 has 12 bits of group behind 00:00:0c:9f:f.
    let hsrp_2 = matches!(octets, [0x00, 0x00, 0x0c, 0x9f, group, _] if group >> 4 == 0xf);
    let [first, rest @ ..] = octets;
    let repeated = rest.iter().all(|octet| *octet == first);
    let multicast = first & 1 == 1;
    shared || hsrp_2 || repeated || multicast
}

/// The ranges that boxes come with.
const FACTORY_PREFIXES: [([u8; 4], u8); 24] = [
    ([192, 168, 0, 0], 24),
    ([192, 168, 1, 0], 24),
    ([192, 168, 2, 0], 24),
    ([192, 168, 3, 0], 24),
    ([192, 168, 4, 0], 24),
    ([192, 168, 5, 0], 24),
    ([192, 168, 8, 0], 24),
    ([192, 168, 10, 0], 24),
    ([192, 168, 11, 0], 24),
    ([192, 168, 15, 0], 24),
    ([192, 168, 16, 0], 24),
    ([192, 168, 20, 0], 24),
    ([192, 168, 31, 0], 24),
    // Telephones and computers that share their connection.
    ([192, 168, 42, 0], 24),
    ([192, 168, 43, 0], 24),
    ([192, 168, 44, 0], 24),
    ([192, 168, 49, 0], 24),
    ([192, 168, 88, 0], 24),
    ([192, 168, 100, 0], 24),
    ([192, 168, 137, 0], 24),
    ([192, 168, 178, 0], 24),
    ([172, 20, 10, 0], 28),
    ([10, 0, 0, 0], 24),
    ([10, 42, 0, 0], 24),
];

/// Whether boxes come with it.
pub(super) fn is_factory_prefix(prefix: Ipv4Net) -> bool {
    let asked = (prefix.trunc().addr().octets(), prefix.prefix_len());
    let whole_ranges = matches!(
        asked,
        ([10, 0, 0, 0], 8) | ([192, 168, 0, 0], 16) | ([10, 0, 1 | 2, 0], 24)
    );
    whole_ranges || prefix.addr().is_link_local() || FACTORY_PREFIXES.contains(&asked)
}

/// Whether it is a unique local prefix without the random bits that make it unique (RFC 4193 §3.2): fd00::/64 and its
/// like.
pub(super) fn is_made_up(prefix: Ipv6Net) -> bool {
    let [_, global_id @ .., _, _, _, _, _, _, _, _, _, _] = prefix.addr().octets();
    let zeros = global_id.iter().filter(|octet| **octet == 0).count();
    prefix.addr().is_unique_local() && zeros >= 3
}

const FACTORY_DOMAINS: [&str; 22] = [
    "attlocal.net",
    "box",
    "broadband",
    "domain",
    "fritz.box",
    "gateway",
    "home",
    "home.arpa",
    "home.lan",
    "home.local",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localnet",
    "mshome.net",
    "openwrt.lan",
    "router",
    "speedport.ip",
    "workgroup",
];

/// Whether boxes come with it. `domain` is in lower case.
pub(super) fn is_factory_domain(domain: &str) -> bool {
    domain.is_empty() || FACTORY_DOMAINS.contains(&domain)
}

/// Names of wireless networks, in lower case, that are met in every town.
const EVERYBODYS_SSIDS: [&str; 34] = [
    "airport",
    "androidap",
    "asus",
    "att wifi",
    "attwifi",
    "boingo hotspot",
    "default",
    "dlink",
    "eduroam",
    "free wifi",
    "freewifi",
    "freifunk",
    "google starbucks",
    "govwifi",
    "guest",
    "guests",
    "home",
    "hotel",
    "internet",
    "iphone",
    "linksys",
    "netgear",
    "openroaming",
    "openwrt",
    "passpoint",
    "public",
    "telekom",
    "telekom_fon",
    "tp-link",
    "visitor",
    "wifi",
    "wifi4eu",
    "wifionice",
    "wlan",
];

/// Beginnings of names that telephones make up, the same for a whole model.
const EVERYBODYS_SSID_STARTS: [&str; 4] = ["androidap", "galaxy ", "iphone", "direct-"];

/// Whether networks in every town are called that. What is empty is hidden, and so no name.
pub(super) fn is_everybodys_ssid(ssid: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(ssid) else {
        return false;
    };
    let name = name.trim().to_lowercase();
    name.is_empty()
        || EVERYBODYS_SSIDS.contains(&name.as_str())
        || EVERYBODYS_SSID_STARTS
            .iter()
            .any(|start| name.starts_with(start))
}

/// Public resolvers that are given out by networks everywhere.
const EVERYBODYS_RESOLVERS: [&str; 16] = [
    "1.0.0.1",
    "1.1.1.1",
    "8.8.4.4",
    "8.8.8.8",
    "9.9.9.9",
    "94.140.14.14",
    "149.112.112.112",
    "208.67.220.220",
    "208.67.222.222",
    "2001:4860:4860::8844",
    "2001:4860:4860::8888",
    "2606:4700:4700::1001",
    "2606:4700:4700::1111",
    "2620:fe::9",
    "2620:fe::fe",
    "2620:119:35::35",
];

/// Whether networks everywhere give it out.
pub(super) fn is_everybodys_resolver(address: IpAddr) -> bool {
    address.is_loopback()
        || EVERYBODYS_RESOLVERS
            .iter()
            .any(|known| known.parse() == Ok(address))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_of_groups_emulators_and_settings_are_shared() {
        for shared in [
            "00:00:5e:00:01:01",
            "00:00:5e:00:02:2a",
            "00:00:0c:07:ac:01",
            "00:00:0c:9f:f0:01",
            "00:00:0c:9f:fa:bc",
            "52:55:0a:00:02:02",
            "00:11:22:33:44:55",
            "02:00:00:00:00:01",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "aa:aa:aa:aa:aa:aa",
            "01:00:5e:00:00:01",
        ] {
            assert!(is_shared_mac(shared.parse().unwrap()), "{shared}");
        }
        // The last one was made up by a telephone, for one day.
        for own in [
            "00:00:5e:00:52:13",
            "3c:a6:2f:01:02:03",
            "00:00:0c:9f:e0:01",
            "da:11:5e:7a:c0:09",
        ] {
            assert!(!is_shared_mac(own.parse().unwrap()), "{own}");
        }
    }

    #[test]
    fn ranges_that_boxes_come_with_are_told_from_those_that_somebody_chose() {
        for (prefix, factory) in [
            ("192.168.1.0/24", true),
            ("192.168.178.20/24", true),
            ("10.0.0.0/8", true),
            ("169.254.0.0/16", true),
            ("192.168.1.0/25", false),
            ("192.168.77.0/24", false),
            ("10.13.37.0/24", false),
        ] {
            assert_eq!(
                is_factory_prefix(prefix.parse().unwrap()),
                factory,
                "{prefix}"
            );
        }
    }

    #[test]
    fn unique_local_prefixes_without_random_bits_are_told_from_those_with() {
        for (prefix, made_up) in [
            ("fd00::/64", true),
            ("fd00:77::/64", true),
            ("fd12:3456:789a:1::/64", false),
            ("2001:db8::/64", false),
        ] {
            assert_eq!(is_made_up(prefix.parse().unwrap()), made_up, "{prefix}");
        }
    }

    #[test]
    fn every_resolver_of_the_list_is_an_address() {
        for known in EVERYBODYS_RESOLVERS {
            assert!(is_everybodys_resolver(known.parse().unwrap()), "{known}");
        }
    }

    #[test]
    fn names_of_every_town_are_known_however_they_are_written() {
        for name in [
            "eduroam",
            "Free WiFi",
            " linksys",
            "AndroidAP_1234",
            "iPhone von Eva",
            "",
        ] {
            assert!(is_everybodys_ssid(name.as_bytes()), "{name}");
        }
        for name in [&b"Villa Kunterbunt"[..], &[0xff, 0xfe]] {
            assert!(!is_everybodys_ssid(name), "{name:?}");
        }
    }
}
