//! What is in the small internet: real names, and a few zones in which everything is odd.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    names::{self, Site},
    zone::{NameServer, Signing, Zone},
};

/// IPv4 and IPv6 prefixes of the lab's internet are those of benchmarks (RFC 2544, RFC 5180): nobody's, and yet not
/// among those that a careful resolver refuses to ask.
pub(super) const ROOT: [&str; 2] = ["198.18.0.53", "2001:2::53"];
pub(super) const REGISTRIES: [[&str; 2]; 2] =
    [["198.18.0.10", "2001:2::10"], ["198.18.0.11", "2001:2::11"]];
pub(super) const HOSTERS: [[&str; 2]; 2] =
    [["198.18.0.20", "2001:2::20"], ["198.18.0.21", "2001:2::21"]];
pub(super) const WEB: [&str; 2] = ["198.18.0.80", "2001:2::80"];

/// Whose name servers stand outside the zones that they serve.
const HOSTING: [&str; 2] = ["dns-lab.net", "dns-lab.org"];
/// Where the aliases of other zones lead.
const CDN: &str = "cdn-lab.net";

/// A question with something to learn from its answer.
pub(super) struct Lesson {
    pub(super) name: &'static str,
    pub(super) rtype: &'static str,
    pub(super) about: &'static str,
}

/// Each is asked in the stories, and answered as the reference resolver answers it.
pub(super) const LESSONS: &[Lesson] = &[
    lesson("www.portal.example", "A", "signed, IPv4"),
    lesson("www.portal.example", "AAAA", "signed, IPv6"),
    lesson("v6only.portal.example", "A", "NODATA beside another type"),
    lesson("v6only.portal.example", "AAAA", "IPv6 alone"),
    lesson("portal.example", "MX", "NODATA at an apex"),
    lesson("portal.example", "SOA", "a zone's own record"),
    lesson("portal.example", "DNSKEY", "keys"),
    lesson("portal.example", "DS", "answered by the parent"),
    lesson("portal.example", "CAA", "a type with structure"),
    lesson("portal.example", "TYPE65280", "a type that nobody knows"),
    lesson("_http._tcp.portal.example", "SRV", "a service"),
    lesson("nothing.portal.example", "A", "NXDOMAIN, NSEC"),
    lesson("nothing.hashed.example", "A", "NXDOMAIN, NSEC3"),
    lesson(
        "a.b.c.nothing.hashed.example",
        "A",
        "NXDOMAIN far below, NSEC3",
    ),
    lesson("no-such-name-of-the-lab.com", "A", "NXDOMAIN in a registry"),
    lesson("no-such-top-level-domain", "A", "NXDOMAIN at the root"),
    lesson("deep.portal.example", "A", "empty non-terminal, NSEC"),
    lesson("deep.hashed.example", "A", "empty non-terminal, NSEC3"),
    lesson("any.wild.portal.example", "A", "wildcard"),
    lesson("a.b.wild.portal.example", "A", "wildcard over two labels"),
    lesson("any.wild.portal.example", "TXT", "NODATA of a wildcard"),
    lesson("any.wild.hashed.example", "A", "wildcard, NSEC3"),
    lesson("large.portal.example", "TXT", "an answer that needs TCP"),
    lesson(
        "chain.portal.example",
        "A",
        "an alias of an alias, over three zones",
    ),
    lesson("chain.portal.example", "AAAA", "the same for IPv6"),
    lesson(
        "to-unsigned.portal.example",
        "A",
        "an alias from a signed zone to an unsigned one",
    ),
    lesson("to-nothing.portal.example", "A", "an alias to no name"),
    lesson(
        "to-broken.portal.example",
        "A",
        "an alias to a zone with spoilt signatures",
    ),
    lesson("www.plain.example", "A", "unsigned, and proven to be"),
    lesson("nothing.plain.example", "A", "NXDOMAIN without a proof"),
    lesson(
        "www.island.plain.example",
        "A",
        "signed below an unsigned zone",
    ),
    lesson("www.broken.example", "A", "spoilt signature"),
    lesson("www.expired.example", "A", "expired signature"),
    lesson("www.not-yet.example", "A", "signature of the future"),
    lesson(
        "www.wrong-key.example",
        "A",
        "a key that the parent does not name",
    ),
    lesson("www.stripped.example", "A", "signatures taken away"),
];

const fn lesson(name: &'static str, rtype: &'static str, about: &'static str) -> Lesson {
    Lesson { name, rtype, about }
}

/// Everything but the delegations.
pub(super) struct Content {
    pub(super) root: Zone,
    pub(super) registries: Vec<Zone>,
    pub(super) registered: Vec<Zone>,
}

/// All zones, without delegations: those need keys.
pub(super) fn zones(sites: &[Site]) -> Content {
    let mut registered = sites_zones(sites);
    registered.extend(own_zones());
    let registries = names::registries(registered.iter().map(|zone| &zone.origin));
    let registries = registries
        .iter()
        .enumerate()
        .map(|(number, origin)| registry(number, origin))
        .collect();
    let root = Zone::new("", Signing::Nsec, vec![server("a.root-lab", ROOT)]);
    Content {
        root,
        registries,
        registered,
    }
}

fn registry(number: usize, origin: &str) -> Zone {
    let signing = match origin {
        "com" | "net" => Signing::Nsec3,
        // As in the world; below one that is not, hickory's validator takes islands that delegate to signed zones
        // for bogus, where they are merely insecure.
        "example" | "org" | "au" | "br" | "jp" | "uk" => Signing::Nsec,
        _ => [
            Signing::Nsec,
            Signing::Nsec3,
            Signing::Nsec3,
            Signing::Nsec,
            Signing::Unsigned,
        ][number % 5],
    };
    Zone::new(
        origin,
        signing,
        vec![
            server(&format!("a.nic.{origin}"), REGISTRIES[0]),
            server(&format!("b.nic.{origin}"), REGISTRIES[1]),
        ],
    )
}

fn sites_zones(sites: &[Site]) -> Vec<Zone> {
    let mut zones: BTreeMap<&str, Zone> = BTreeMap::new();
    let listed: BTreeSet<&str> = sites.iter().map(|site| site.name.as_str()).collect();
    let origins: BTreeSet<&str> = sites.iter().map(|site| site.zone.as_str()).collect();
    for (number, origin) in origins.into_iter().enumerate() {
        let signing = [
            Signing::Nsec,
            Signing::Nsec3,
            Signing::Nsec,
            Signing::Unsigned,
            Signing::Nsec3,
        ][number % 5];
        let mut zone = Zone::new(
            origin,
            signing,
            if number % 3 == 0 {
                shared_servers()
            } else {
                own_servers(origin)
            },
        );
        zone.add(origin, "MX", &format!("10 mx.{origin}."));
        zone.add(origin, "TXT", "\"v=spf1 mx -all\"");
        zone.add_addresses(&format!("mx.{origin}"), &site_addresses(1000 + number));
        let www = format!("www.{origin}");
        if !listed.contains(www.as_str()) {
            zone.add(&www, "CNAME", &format!("{origin}."));
        }
        if !listed.contains(origin) {
            zone.add_addresses(origin, &site_addresses(2000 + number));
        }
        zones.insert(origin, zone);
    }
    for (rank, site) in sites.iter().enumerate() {
        let Some(zone) = zones.get_mut(site.zone.as_str()) else {
            continue;
        };
        let addresses = site_addresses(rank);
        match (site.name == site.zone, rank % 17, rank % 3) {
            (false, _, 1) => zone.add(&site.name, "CNAME", &format!("edge-{rank}.{CDN}.")),
            (false, _, 2) => zone.add(&site.name, "CNAME", &format!("{}.", site.zone)),
            (_, 5, _) => zone.add(&site.name, "AAAA", &addresses[1]),
            (_, 6, _) => zone.add(&site.name, "A", &addresses[0]),
            _ => zone.add_addresses(&site.name, &addresses),
        }
    }
    let mut cdn = Zone::new(CDN, Signing::Nsec, own_servers(CDN));
    for rank in 0..sites.len() {
        cdn.add_addresses(&format!("edge-{rank}.{CDN}"), &site_addresses(rank));
    }
    zones.into_values().chain([cdn]).collect()
}

fn own_zones() -> Vec<Zone> {
    let simple = |origin: &str, signing| {
        let mut zone = Zone::new(origin, signing, own_servers(origin));
        zone.add_addresses(&format!("www.{origin}"), &WEB.map(str::to_owned));
        zone
    };
    let mut zones: Vec<_> = HOSTING
        .iter()
        .map(|origin| simple(origin, Signing::Nsec))
        .collect();
    // The hosting zones hold the names of the shared servers.
    for (zone, server) in zones.iter_mut().zip(shared_servers()) {
        zone.add_addresses(&server.name, &server.addresses);
    }
    let mut portal = simple("portal.example", Signing::Nsec);
    let mut hashed = simple("hashed.example", Signing::Nsec3);
    for (zone, origin) in [
        (&mut portal, "portal.example"),
        (&mut hashed, "hashed.example"),
    ] {
        zone.add(
            &format!("leaf.of.deep.{origin}"),
            "TXT",
            "\"two empty names above\"",
        );
        zone.add(&format!("*.wild.{origin}"), "A", WEB[0]);
    }
    portal.add("v6only.portal.example", "AAAA", WEB[1]);
    portal.add("portal.example", "CAA", "0 issue \"ca.example\"");
    portal.add("portal.example", "TYPE65280", "\\# 4 0a000001");
    portal.add(
        "_http._tcp.portal.example",
        "SRV",
        "0 5 80 www.portal.example.",
    );
    for part in 0..12 {
        portal.add(
            "large.portal.example",
            "TXT",
            &format!("\"part {part:02} {}\"", "of a long story ".repeat(14)),
        );
    }
    for (alias, target) in [
        ("chain", "second.hashed.example"),
        ("to-unsigned", "www.plain.example"),
        ("to-nothing", "nothing.hashed.example"),
        ("to-broken", "www.broken.example"),
    ] {
        portal.add(
            &format!("{alias}.portal.example"),
            "CNAME",
            &format!("{target}."),
        );
    }
    hashed.add("second.hashed.example", "CNAME", "edge-1.cdn-lab.net.");
    zones.extend([portal, hashed]);
    zones.push(simple("plain.example", Signing::Unsigned));
    zones.push(simple("island.plain.example", Signing::Nsec));
    for (origin, signing) in [
        ("broken.example", Signing::Broken),
        ("expired.example", Signing::Expired),
        ("not-yet.example", Signing::NotYetValid),
        ("wrong-key.example", Signing::WrongKey),
        ("stripped.example", Signing::Stripped),
    ] {
        zones.push(simple(origin, signing));
    }
    zones
}

fn own_servers(origin: &str) -> Vec<NameServer> {
    vec![
        server(&format!("ns1.{origin}"), HOSTERS[0]),
        server(&format!("ns2.{origin}"), HOSTERS[1]),
    ]
}

fn shared_servers() -> Vec<NameServer> {
    HOSTING
        .iter()
        .zip(HOSTERS)
        .map(|(zone, addresses)| server(&format!("ns.{zone}"), addresses))
        .collect()
}

fn server(name: &str, addresses: [&str; 2]) -> NameServer {
    NameServer {
        name: name.to_owned(),
        addresses: addresses.map(str::to_owned),
    }
}

/// Distinct for each number below 60,000.
fn site_addresses(number: usize) -> [String; 2] {
    [
        format!("198.19.{}.{}", number / 250, number % 250 + 1),
        format!("2001:2:0:1::{:x}", number + 1),
    ]
}
