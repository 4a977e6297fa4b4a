//! What NetworkManager says, over D-Bus: all of its objects in one answer, and what they mean.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zbus::Connection;
use zbus::zvariant::{Array, Dict, OwnedObjectPath, OwnedValue, Value};

use super::{DOMAINS_PER_LINK_MAX, Dhcp, Domain, LINKS_MAX, LinkSays, SERVERS_PER_LINK_MAX};
use crate::config::DNS_PORT;

/// The name on the bus.
pub(super) const NAME: &str = "org.freedesktop.NetworkManager";
const DEVICE: &str = "org.freedesktop.NetworkManager.Device";
const DNS_MANAGER: &str = "org.freedesktop.NetworkManager.DnsManager";

/// Interfaces whose changes are worth a look. Not those of access points, which change with every breath of air.
pub(super) const INTERFACES: [&str; 6] = [
    DEVICE,
    DNS_MANAGER,
    "org.freedesktop.NetworkManager.IP4Config",
    "org.freedesktop.NetworkManager.IP6Config",
    "org.freedesktop.NetworkManager.DHCP4Config",
    "org.freedesktop.NetworkManager.DHCP6Config",
];

/// `NMDeviceState`: it is in use.
const ACTIVATED: u32 = 100;
/// `NMDeviceType`: a tunnel between addresses, TUN or TAP, WireGuard.
const TUNNELS: [u32; 3] = [17, 16, 29];

type Properties = HashMap<String, OwnedValue>;
pub(super) type Objects = HashMap<OwnedObjectPath, HashMap<String, Properties>>;

/// Asks whoever has the name now; who has not been started is not started by this.
pub(super) async fn read(bus: &Connection, owner: &str) -> zbus::Result<Vec<LinkSays>> {
    let reply = bus
        .call_method(
            Some(owner),
            "/org/freedesktop",
            Some("org.freedesktop.DBus.ObjectManager"),
            "GetManagedObjects",
            &(),
        )
        .await?;
    Ok(understand(&reply.body().deserialize::<Objects>()?))
}

/// How it keeps `resolv.conf` (`RcManager`); none when it is not there.
pub(super) async fn keeper_of_file(bus: &Connection) -> Option<String> {
    let owner = super::bus::owner(bus, NAME).await?;
    let path = "/org/freedesktop/NetworkManager/DnsManager";
    let call = (DNS_MANAGER, "RcManager");
    let properties = Some("org.freedesktop.DBus.Properties");
    let reply = bus
        .call_method(Some(owner), path, properties, "Get", &call)
        .await
        .ok()?;
    let value: OwnedValue = reply.body().deserialize().ok()?;
    value.try_into().ok()
}

/// What the objects say about links.
pub(super) fn understand(objects: &Objects) -> Vec<LinkSays> {
    let devices = objects
        .values()
        .filter_map(|interfaces| interfaces.get(DEVICE));
    let mut says: Vec<LinkSays> = devices
        .filter_map(|properties| device(objects, properties))
        .take(LINKS_MAX)
        .collect();
    // The order of a table of hashes is nobody's.
    says.sort_by(|a, b| a.name.cmp(&b.name));
    says.extend(tunnels_by_plugins(objects));
    says
}

fn device(objects: &Objects, properties: &Properties) -> Option<LinkSays> {
    if number(properties.get("State")?)? != i64::from(ACTIVATED) {
        return None;
    }
    // Of a modem the address is on another interface than the one it is controlled by.
    let name = [properties.get("IpInterface"), properties.get("Interface")]
        .into_iter()
        .flatten()
        .filter_map(|value| text(value))
        .find(|name| !name.is_empty())?;
    let kind = properties.get("DeviceType").and_then(|value| number(value));
    let mut says = LinkSays {
        name: Some(name.to_owned()),
        tunnel: kind.is_some_and(|kind| TUNNELS.iter().any(|tunnel| i64::from(*tunnel) == kind)),
        ..LinkSays::default()
    };
    let mut known = false;
    for family in ["4", "6"] {
        let Some(config) = linked(objects, properties, &format!("Ip{family}Config")) else {
            continue;
        };
        known = true;
        says.servers.extend(servers(config));
        // What a person set goes instead of what came with the network.
        let of_person = texts(config.get("Searches"));
        let domains = if of_person.is_empty() {
            texts(config.get("Domains"))
        } else {
            of_person
        };
        say_domains(&mut says, &domains);
        let priority = config.get("DnsPriority").and_then(|value| number(value));
        says.exclusive |= priority.is_some_and(|priority| priority < 0);
        if let Some(lease) = linked(objects, properties, &format!("Dhcp{family}Config")) {
            lease_options(lease, &mut says);
        }
    }
    says.servers.truncate(2 * SERVERS_PER_LINK_MAX);
    says.domains.truncate(DOMAINS_PER_LINK_MAX + 1);
    known.then_some(says)
}

/// With `~` before it a domain is for routing only.
fn say_domains(says: &mut LinkSays, domains: &[String]) {
    for text in domains {
        let Ok(domain) = text.parse::<Domain>() else {
            continue;
        };
        if !text.starts_with('~') {
            says.search.push(domain.clone());
        }
        says.domains.push(domain);
    }
}

fn lease_options(lease: &Properties, says: &mut LinkSays) {
    let Some(Value::Dict(options)) = lease.get("Options").map(|value| &**value) else {
        return;
    };
    let option = |key: &str| entry(options, key).and_then(text).map(ToOwned::to_owned);
    let dhcp = Dhcp {
        server: option("dhcp_server_identifier").and_then(|server| server.parse().ok()),
        domain: option("domain_name"),
    };
    if says.dhcp.is_none() && dhcp != Dhcp::default() {
        says.dhcp = Some(dhcp);
    }
    // DHCP's option 114 and DHCPv6's option 103, by the names of its own table and of dhclient's. Not `v4_captive_portal`,
    // which is dhclient's for option 160 and belongs to others (RFC 8910 §4.2).
    let portal = ["default_url", "dhcp6_v6_captive_portal"];
    says.captive_portal = says
        .captive_portal
        .take()
        .or_else(|| portal.into_iter().find_map(option));
}

/// Tunnels that a plug-in made: their servers belong to no device, and stand with the manager of DNS alone.
fn tunnels_by_plugins(objects: &Objects) -> Vec<LinkSays> {
    let managers = objects
        .values()
        .filter_map(|interfaces| interfaces.get(DNS_MANAGER));
    let Some(Value::Array(entries)) = managers
        .filter_map(|properties| properties.get("Configuration"))
        .map(|value| &**value)
        .next()
    else {
        return Vec::new();
    };
    let tunnel = |value: &Value<'_>| {
        let Value::Dict(fields) = value else {
            return None;
        };
        if !matches!(entry(fields, "vpn"), Some(Value::Bool(true))) {
            return None;
        }
        let domains = entry(fields, "domains").map(texts_in).unwrap_or_default();
        let servers = entry(fields, "nameservers")
            .map(texts_in)
            .unwrap_or_default();
        let mut says = LinkSays {
            name: Some(text(entry(fields, "interface")?)?.to_owned()),
            servers: servers
                .iter()
                .filter_map(|server| address(server))
                .collect(),
            exclusive: entry(fields, "priority")
                .and_then(number)
                .is_some_and(|priority| priority < 0),
            tunnel: true,
            ..LinkSays::default()
        };
        say_domains(&mut says, &domains);
        Some(says)
    };
    entries.iter().filter_map(tunnel).take(LINKS_MAX).collect()
}

fn servers(config: &Properties) -> Vec<SocketAddr> {
    let data = match config.get("NameserverData").map(|value| &**value) {
        Some(Value::Array(entries)) => entries.iter().filter_map(server_of_data).collect(),
        _ => Vec::new(),
    };
    if !data.is_empty() {
        return data;
    }
    match config.get("Nameservers").map(|value| &**value) {
        Some(Value::Array(entries)) => entries.iter().filter_map(raw_address).collect(),
        _ => Vec::new(),
    }
}

fn server_of_data(value: &Value<'_>) -> Option<SocketAddr> {
    match value {
        Value::Dict(fields) => address(text(entry(fields, "address")?)?),
        _ => None,
    }
}

/// IPv4 as a number in the order of the network, IPv6 as octets.
fn raw_address(value: &Value<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = match value {
        Value::U32(number) => Ipv4Addr::from(number.to_ne_bytes()).into(),
        Value::Array(octets) => {
            let octets: Vec<u8> = octets
                .iter()
                .filter_map(|octet| u8::try_from(number(octet)?).ok())
                .collect();
            Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, DNS_PORT))
}

/// `ADDRESS`, newer versions with `#NAME` behind it.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.split_once('#').map_or(text, |(address, _)| address);
    crate::config::address_and_port(text, DNS_PORT)
}

/// The properties of the object that a property names.
fn linked<'a>(objects: &'a Objects, properties: &Properties, key: &str) -> Option<&'a Properties> {
    let Value::ObjectPath(path) = &**properties.get(key)? else {
        return None;
    };
    let interfaces = objects.get(path)?;
    let mut wanted = interfaces
        .iter()
        .filter(|(name, _)| name.ends_with(key_of(key)));
    wanted.next().map(|(_, properties)| properties)
}

/// The property `Ip4Config` names an object with the interface `…IP4Config`.
fn key_of(key: &str) -> &'static str {
    match key {
        "Ip4Config" => ".IP4Config",
        "Ip6Config" => ".IP6Config",
        "Dhcp4Config" => ".DHCP4Config",
        _ => ".DHCP6Config",
    }
}

fn entry<'a>(fields: &'a Dict<'_, '_>, key: &str) -> Option<&'a Value<'a>> {
    let found = fields.iter().find(|(name, _)| text(name) == Some(key));
    found.map(|(_, value)| bare(value))
}

fn text<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match bare(value) {
        Value::Str(text) => Some(text.as_str()),
        _ => None,
    }
}

fn texts(value: Option<&OwnedValue>) -> Vec<String> {
    value.map(|value| texts_in(value)).unwrap_or_default()
}

fn texts_in(value: &Value<'_>) -> Vec<String> {
    let of = |array: &Array<'_>| {
        array
            .iter()
            .filter_map(text)
            .map(ToOwned::to_owned)
            .collect()
    };
    match bare(value) {
        Value::Array(array) => of(array),
        _ => Vec::new(),
    }
}

fn number(value: &Value<'_>) -> Option<i64> {
    match bare(value) {
        Value::U8(number) => Some((*number).into()),
        Value::U32(number) => Some((*number).into()),
        Value::I32(number) => Some((*number).into()),
        _ => None,
    }
}

/// Without the variants around it.
fn bare<'a>(mut value: &'a Value<'a>) -> &'a Value<'a> {
    while let Value::Value(inner) = value {
        value = inner;
    }
    value
}
