//! One physical link, as the kernel and the host's network manager describe it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

/// A link that leads to a network outside of this machine, and what tells that network from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// The kernel's number of it (`ifindex`), which is another one after the next start.
    pub index: u32,
    /// Its name, for people.
    pub name: String,
    /// What it is made of.
    pub medium: Medium,
    /// The next hops of the default routes over it.
    pub gateways: Vec<Gateway>,
    /// The prefixes that the kernel reaches over it without a gateway, link-local ones left out.
    pub prefixes: Vec<IpNet>,
    /// The DHCP server that gave the lease.
    pub dhcp_server: Option<IpAddr>,
    /// The domain that came with the lease (option 15).
    pub dhcp_domain: Option<String>,
    /// Where a captive portal says that it is (RFC 8910).
    pub captive_portal: Option<String>,
    /// The name of the wireless network: up to 32 octets, not necessarily text.
    pub ssid: Option<Vec<u8>>,
    /// How the wireless network is protected.
    pub security: Option<Security>,
    /// The name servers that this link's network gave.
    pub resolvers: Vec<SocketAddr>,
    /// The names that belong to this link's servers.
    pub domains: Vec<String>,
    /// Whether enough is known to say which network it is: there is an address, and each gateway's hardware address is
    /// known or will not be.
    pub settled: bool,
}

/// The next hop of a default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway {
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address, as soon as the kernel's table of neighbours has it.
    pub mac: Option<MacAddress>,
}

/// What a link is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A cable.
    Wired,
    /// IEEE 802.11.
    Wireless,
    /// A modem: point to point, without a neighbour to recognise.
    Mobile,
}

/// How a wireless network is protected, as far as it tells networks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Security {
    /// Not at all.
    Open,
    /// WEP: as good as not at all.
    Wep,
    /// A passphrase that everybody knows who may use it (WPA-PSK, WPA2-PSK, WPA3-SAE).
    Personal,
    /// Accounts of an organisation (IEEE 802.1X).
    Enterprise,
    /// Encrypted to each, without proof of who is there (OWE, RFC 8110).
    Opportunistic,
}

impl Security {
    /// The name under which it is remembered.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Wep => "wep",
            Self::Personal => "personal",
            Self::Enterprise => "enterprise",
            Self::Opportunistic => "opportunistic",
        }
    }
}

/// A hardware address of 48 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// It is not six octets in hexadecimal, with colons in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no hardware address")]
pub struct ParseMacError;

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacError)?;
            let sound = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            *octet = sound
                .then(|| u8::from_str_radix(part, 16).ok())
                .flatten()
                .ok_or(ParseMacError)?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(ParseMacError),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_hardware_address_is_read_as_it_is_written() {
        let address: MacAddress = "52:54:00:Ab:cd:0f".parse().unwrap();
        assert_eq!(address.to_string(), "52:54:00:ab:cd:0f");
        for wrong in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:0f:11",
            "5254:00:ab:cd:0f",
            "+2:54:00:ab:cd:0f",
            "gg:54:00:ab:cd:0f",
        ] {
            assert_eq!(wrong.parse::<MacAddress>(), Err(ParseMacError), "{wrong}");
        }
    }
}
