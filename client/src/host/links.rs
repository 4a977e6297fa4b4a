//! The interfaces that there are, for those who have no better eyes than the C library.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

use super::{LINKS_MAX, LinkFacts};

/// Names under which kernels keep modems: links from point to point that are no tunnels.
const MODEMS: [&str; 2] = ["ppp", "wwan"];

/// All interfaces; none where the system will not say.
#[must_use]
pub fn links() -> Vec<LinkFacts> {
    let mut links: BTreeMap<String, LinkFacts> = BTreeMap::new();
    let Ok(entries) = getifaddrs() else {
        return Vec::new();
    };
    for entry in entries {
        let name = entry.interface_name;
        if links.len() >= LINKS_MAX && !links.contains_key(&name) {
            continue;
        }
        let facts = links.entry(name.clone()).or_default();
        let flags = entry.flags;
        facts.up |= flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        facts.loopback |= flags.contains(InterfaceFlags::IFF_LOOPBACK);
        facts.tunnel |= flags.contains(InterfaceFlags::IFF_POINTOPOINT)
            && !MODEMS.iter().any(|modem| name.starts_with(modem));
        let address = entry.address.as_ref().and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
        facts.addresses.extend(address);
    }
    let numbered = |(name, mut facts): (String, LinkFacts)| {
        facts.index = if_nametoindex(name.as_str()).ok()?;
        facts.name = name;
        Some(facts)
    };
    links.into_iter().filter_map(numbered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there() {
        let links = links();
        let lo = links.iter().find(|facts| facts.loopback);
        assert!(lo.is_some_and(|lo| lo.index > 0 && !lo.tunnel), "{links:?}");
    }
}
