//! One row for each case that people met.
#![allow(clippy::unwrap_used)]

mod rows;

use std::net::SocketAddr;

use zzdot_zonegen::clock::UnixTime;

use self::rows::rows;
use super::*;
use crate::host::{Dhcp, ResolvedSays, Saying, Way, split};

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    let with_port = |text: &&str| crate::config::address_and_port(text, 53).unwrap();
    texts.iter().map(with_port).collect()
}

fn up(index: u32, name: &str) -> LinkFacts {
    LinkFacts {
        index,
        name: name.to_owned(),
        up: true,
        ..LinkFacts::default()
    }
}

fn on(index: u32, servers: &[&str], domains: &[&str]) -> LinkSays {
    LinkSays {
        index: Some(index),
        servers: addresses(servers),
        domains: domains.iter().map(|text| text.parse().unwrap()).collect(),
        ..LinkSays::default()
    }
}

fn says(source: Source, says: LinkSays) -> Saying {
    Saying { source, says }
}

fn file(kind: FileKind, servers: &[&str]) -> FileSays {
    FileSays {
        kind,
        servers: addresses(servers),
    }
}

/// A laptop: `eth0`, `wlan0`, a tunnel and the loopback; listening as the package does.
fn laptop() -> Inputs {
    let mut inputs = Inputs {
        own: addresses(&["127.0.0.1", "::1"]),
        links: vec![up(1, "lo"), up(2, "eth0"), up(3, "wlan0"), up(4, "tun0")],
        now: UnixTime(1_800_000_000),
        ..Inputs::default()
    };
    inputs.links[0].loopback = true;
    inputs.links[0].addresses = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    inputs.links[1].addresses = vec!["192.168.1.7".parse().unwrap()];
    inputs.links[3].tunnel = true;
    inputs
}

/// `LINK SERVERS [DOMAINS] default SOURCE`, a line for each link.
fn told(decision: &Decision) -> Vec<String> {
    let line = |link: &LinkResolvers| {
        let name = link.link.as_ref().map_or("-", |link| &link.name);
        let ip = |server: &SocketAddr| match server.port() {
            53 => server.ip().to_string(),
            _ => server.to_string(),
        };
        let ips: Vec<_> = link.servers.iter().map(ip).collect();
        let domains: Vec<_> = link.domains.iter().map(ToString::to_string).collect();
        let default = if link.default_route { " default" } else { "" };
        let source = serde_json::to_value(link.source).unwrap();
        let ips = ips.join(",");
        let domains = domains.join(",");
        format!(
            "{name} {ips} [{domains}]{default} {}",
            source.as_str().unwrap()
        )
    };
    decision.links.iter().map(line).collect()
}

fn reasons(decision: &Decision) -> Vec<Reason> {
    decision.left_out.iter().map(|left| left.reason).collect()
}

#[test]
fn every_case_ends_as_its_row_says() {
    for row in rows() {
        let decision = decide(&row.inputs);
        assert_eq!(told(&decision), row.links, "{}", row.case);
        assert_eq!(
            reasons(&decision).len(),
            row.left_out.len(),
            "{}: {:?}",
            row.case,
            decision.left_out
        );
        for reason in row.left_out {
            assert!(
                reasons(&decision).contains(reason),
                "{}: {reason:?}",
                row.case
            );
        }
    }
}

#[test]
fn no_row_depends_on_the_order_in_which_sources_were_heard() {
    for mut row in rows() {
        let before = decide(&row.inputs);
        // Within one source the order is the source's own.
        row.inputs
            .sayings
            .sort_by_key(|saying| std::cmp::Reverse(saying.source));
        row.inputs.files.reverse();
        assert_eq!(decide(&row.inputs), before, "{}", row.case);
    }
}

#[test]
fn no_server_is_ever_this_program_or_the_stub_before_it() {
    for row in rows() {
        let decision = decide(&row.inputs);
        let servers = decision.links.iter().flat_map(|link| &link.servers);
        for server in servers {
            assert!(!row.inputs.own.contains(server), "{}: {server}", row.case);
            assert!(!is_stub_of_resolved(server), "{}: {server}", row.case);
        }
    }
}

#[test]
fn what_dhcp_said_is_kept_whoever_names_the_server() {
    let mut inputs = laptop();
    inputs.resolved = Some(ResolvedSays {
        global: Vec::new(),
        links: vec![on(2, &["192.168.1.1"], &[])],
    });
    let mut lease = on(2, &["192.168.1.2"], &[]);
    lease.dhcp = Some(Dhcp {
        server: Some("192.168.1.1".parse().unwrap()),
        domain: Some("lan".to_owned()),
    });
    lease.captive_portal = Some("https://portal.example/".to_owned());
    let dhcp = lease.dhcp.clone();
    inputs.sayings.push(says(Source::Networkd, lease));
    let decision = decide(&inputs);
    assert_eq!(decision.links[0].source, Source::Resolved);
    assert_eq!(decision.links[0].dhcp, dhcp);
    assert!(decision.links[0].captive_portal.is_some());
}

#[test]
fn names_that_resolved_asks_past_us_are_told() {
    let mut inputs = laptop();
    inputs.resolved = Some(ResolvedSays {
        global: addresses(&["127.0.0.1"]),
        links: vec![on(2, &["192.168.1.1"], &["lan"]), on(3, &["10.0.0.1"], &[])],
    });
    let past = decide(&inputs).past_us;
    assert_eq!(past.len(), 1);
    assert_eq!(
        (past[0].link.as_str(), past[0].domains[0].to_string()),
        ("eth0", "lan".to_owned())
    );
    inputs.resolved.as_mut().unwrap().global = addresses(&["192.168.1.1"]);
    assert!(
        decide(&inputs).past_us.is_empty(),
        "nothing goes past who is not in front"
    );
}

#[test]
fn a_file_by_a_person_is_told_from_one_that_repeats_a_lease() {
    let mut inputs = laptop();
    inputs
        .sayings
        .push(says(Source::Dhclient, on(2, &["192.168.1.1"], &[])));
    inputs.files.push(file(FileKind::InUse, &["192.168.1.1"]));
    assert!(!decide(&inputs).written_by_person);
    inputs.files[0] = file(FileKind::InUse, &["9.9.9.9"]);
    assert!(decide(&inputs).written_by_person);
}

#[test]
fn the_longest_domain_decides_whom_a_name_goes_to() {
    let mut inputs = laptop();
    inputs.sayings.push(says(
        Source::NetworkManager,
        on(3, &["192.168.1.1"], &["example", "lan"]),
    ));
    inputs.sayings.push(says(
        Source::NetworkManager,
        on(4, &["10.9.0.1"], &["corp.example", "lan"]),
    ));
    let decision = decide(&inputs);
    let elsewhere = [crate::host::Elsewhere {
        domains: vec!["lab.corp.example".parse().unwrap()],
        server: "192.0.2.9:5353".parse().unwrap(),
    }];
    let table = split(&decision, &elsewhere);
    let way = |name: &str| {
        table
            .lookup(name.parse::<Domain>().unwrap().wire())
            .copied()
    };
    let link = |name: &str| {
        decision
            .links
            .iter()
            .position(|link| link.link.as_ref().unwrap().name == name)
            .unwrap()
    };
    assert_eq!(way("www.example.net"), None, "to the default route");
    assert_eq!(way("www.example"), Some(Way::Link(link("wlan0"))));
    assert_eq!(way("example"), Some(Way::Link(link("wlan0"))));
    assert_eq!(way("git.corp.example"), Some(Way::Link(link("tun0"))));
    assert_eq!(
        way("xcorp.example"),
        Some(Way::Link(link("wlan0"))),
        "labels count, not letters"
    );
    assert_eq!(
        way("printer.lan"),
        Some(Way::Link(link("tun0"))),
        "the tunnel was started on purpose"
    );
    assert_eq!(
        way("a.lab.corp.example"),
        Some(Way::Elsewhere(elsewhere[0].server))
    );
    assert_eq!(
        table.lookup(b"\x03GIT\x04CORP\x07EXAMPLE\0"),
        Some(&Way::Link(link("tun0")))
    );
    for no_name in [&b""[..], b"\x40", b"\x03ab", &[1; 300]] {
        assert_eq!(table.lookup(no_name), None);
    }
}
