//! What systemd-resolved says, over D-Bus (org.freedesktop.resolve1(5)).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zbus::Connection;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use super::{LINKS_MAX, LinkSays, ResolvedSays};
use crate::config::DNS_PORT;

/// The name on the bus.
pub(super) const NAME: &str = "org.freedesktop.resolve1";
/// The interface whose changes are worth a look.
pub(super) const MANAGER: &str = "org.freedesktop.resolve1.Manager";
const LINK: &str = "org.freedesktop.resolve1.Link";
pub(super) const PATH: &str = "/org/freedesktop/resolve1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The number of the loopback in every network namespace.
const LOOPBACK: u32 = 1;

/// Link (0 for all), family, address, port (0 for the usual one), name for TLS.
type Server = (i32, i32, Vec<u8>, u16, String);
/// The same without port and name, of versions before 246.
type OldServer = (i32, i32, Vec<u8>);
/// Link, domain, for routing only.
type Domain = (i32, String, bool);

/// Asks whoever has the name now.
pub(super) async fn read(bus: &Connection, owner: &str) -> zbus::Result<ResolvedSays> {
    let get = async |property: &str| {
        let call = (MANAGER, property);
        let reply = bus
            .call_method(Some(owner), PATH, Some(PROPERTIES), "Get", &call)
            .await?;
        reply.body().deserialize::<OwnedValue>()
    };
    let servers: Vec<Server> = match get("DNSEx").await {
        Ok(value) => value.try_into().map_err(zbus::Error::from)?,
        Err(_) => {
            let old: Vec<OldServer> = get("DNS").await?.try_into().map_err(zbus::Error::from)?;
            let as_new = |(link, family, address)| (link, family, address, 0, String::new());
            old.into_iter().map(as_new).collect()
        }
    };
    let domains: Vec<Domain> = get("Domains")
        .await?
        .try_into()
        .map_err(zbus::Error::from)?;
    let mut says = understand(&servers, &domains);
    for link in &mut says.links {
        let index = link.index.unwrap_or_default();
        link.default_route = default_route(bus, owner, index).await;
    }
    Ok(says)
}

/// None when the link has just gone, or for versions before 240.
async fn default_route(bus: &Connection, owner: &str, index: u32) -> Option<bool> {
    of_link(bus, owner, index, "DefaultRoute")
        .await?
        .try_into()
        .ok()
}

/// Are names below `.local` asked of everybody on the link?
pub(super) async fn asks_by_multicast(bus: &Connection, owner: &str, index: u32) -> bool {
    let setting = of_link(bus, owner, index, "MulticastDNS").await;
    let setting = setting.and_then(|value| String::try_from(value).ok());
    setting.is_some_and(|setting| setting != "no")
}

async fn of_link(bus: &Connection, owner: &str, index: u32, property: &str) -> Option<OwnedValue> {
    let index = i32::try_from(index).ok()?;
    let reply = bus
        .call_method(Some(owner), PATH, Some(MANAGER), "GetLink", &index)
        .await
        .ok()?;
    let path: OwnedObjectPath = reply.body().deserialize().ok()?;
    let call = (LINK, property);
    let reply = bus
        .call_method(Some(owner), path, Some(PROPERTIES), "Get", &call)
        .await
        .ok()?;
    reply.body().deserialize().ok()
}

fn understand(servers: &[Server], domains: &[Domain]) -> ResolvedSays {
    let mut says = ResolvedSays::default();
    let mut links: BTreeMap<u32, LinkSays> = BTreeMap::new();
    for (link, _, octets, port, _) in servers {
        let port = if *port == 0 { DNS_PORT } else { *port };
        let Some(server) = address(octets).map(|ip| SocketAddr::new(ip, port)) else {
            continue;
        };
        match u32::try_from(*link) {
            // A server of this machine that is for the whole machine is said to be the loopback's.
            Ok(LOOPBACK) if server.ip().is_loopback() => says.global.push(server),
            Ok(0) => says.global.push(server),
            Ok(index) if links.len() < LINKS_MAX || links.contains_key(&index) => {
                links.entry(index).or_default().servers.push(server);
            }
            _ => {}
        }
    }
    for (link, domain, for_routing_only) in domains {
        let known = u32::try_from(*link)
            .ok()
            .and_then(|index| links.get_mut(&index));
        // A domain without a server is a search list for names of other links.
        if let (Some(link), Ok(domain)) = (known, domain.parse::<super::Domain>()) {
            if !for_routing_only {
                link.search.push(domain.clone());
            }
            link.domains.push(domain);
        }
    }
    for (index, mut link) in links {
        link.index = Some(index);
        says.links.push(link);
    }
    says
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(octets)
        .ok()
        .map(|v6| Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn servers_and_domains_are_put_to_their_links() {
        let servers = [
            (1, 2, vec![127, 0, 0, 1], 5353, String::new()),
            (0, 2, vec![192, 0, 2, 9], 0, String::new()),
            (3, 2, vec![192, 168, 1, 1], 0, "dns.example".to_owned()),
            (
                3,
                10,
                vec![0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                0,
                String::new(),
            ),
            (3, 2, vec![1, 2, 3], 0, String::new()),
            (-1, 2, vec![192, 0, 2, 1], 0, String::new()),
        ];
        let domains = [
            (0, ".".to_owned(), true),
            (3, "lan".to_owned(), false),
            (3, ".".to_owned(), true),
            (9, "gone.example".to_owned(), false),
        ];
        let says = understand(&servers, &domains);
        let global: Vec<_> = says.global.iter().map(ToString::to_string).collect();
        assert_eq!(global, ["127.0.0.1:5353", "192.0.2.9:53"]);
        assert_eq!(says.links.len(), 1);
        let servers: Vec<_> = says.links[0]
            .servers
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(servers, ["192.168.1.1:53", "[fe80::1]:53"]);
        let domains: Vec<_> = says.links[0]
            .domains
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(domains, ["lan", "."]);
    }
}
