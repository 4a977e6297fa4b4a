//! One row for each case that people met.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use zzdot_zonegen::clock::UnixTime;

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

struct Row {
    /// The bug or case behind it.
    case: &'static str,
    inputs: Inputs,
    links: &'static [&'static str],
    left_out: &'static [Reason],
}

fn rows() -> Vec<Row> {
    let mut rows = sources();
    rows.extend(circles());
    rows.extend(ways());
    rows.extend(files());
    rows
}

/// Who is believed about a link.
fn sources() -> Vec<Row> {
    use Source::{Dhclient, NetworkManager, Networkd};
    let row = |case, change: &dyn Fn(&mut Inputs), links, left_out| {
        let mut inputs = laptop();
        change(&mut inputs);
        Row {
            case,
            inputs,
            links,
            left_out,
        }
    };
    vec![
        row("a machine without any network", &|_| {}, &[], &[]),
        row(
            "NetworkManager knows the link, and leases of dhclient lie around from before it was installed",
            &|inputs| {
                inputs
                    .sayings
                    .push(says(Dhclient, on(2, &["10.0.0.1"], &[])));
                inputs
                    .sayings
                    .push(says(NetworkManager, on(2, &["192.168.1.1"], &["lan"])));
            },
            &["eth0 192.168.1.1 [lan] default network-manager"],
            &[],
        ),
        row(
            "resolved hears what tailscale and wg-quick tell nobody else; the other links keep theirs",
            &|inputs| {
                inputs.resolved = Some(ResolvedSays {
                    global: Vec::new(),
                    links: vec![on(4, &["100.100.100.100"], &["tail.example"])],
                });
                inputs
                    .sayings
                    .push(says(NetworkManager, on(3, &["192.168.1.1"], &[])));
            },
            &[
                "wlan0 192.168.1.1 [] default network-manager",
                "tun0 100.100.100.100 [tail.example] resolved",
            ],
            &[],
        ),
        row(
            "resolved was told to ask us on the link itself: whoever manages the link still knows",
            &|inputs| {
                inputs.resolved = Some(ResolvedSays {
                    global: Vec::new(),
                    links: vec![on(2, &["127.0.0.1"], &[])],
                });
                inputs
                    .sayings
                    .push(says(Networkd, on(2, &["192.168.1.1"], &[])));
            },
            &["eth0 192.168.1.1 [] default networkd"],
            &[Reason::Ourselves],
        ),
        row(
            "a lease of dhclient that ended, one for an address that is gone, and a card that was unplugged",
            &|inputs| {
                let mut ended = on(2, &["10.1.0.1"], &[]);
                ended.expires = Some(UnixTime(1_700_000_000));
                let mut moved = on(2, &["10.2.0.1"], &[]);
                moved.leased = Some("10.2.0.9".parse().unwrap());
                let mut unplugged = on(2, &["10.3.0.1"], &[]);
                (unplugged.index, unplugged.name) = (None, Some("usb0".to_owned()));
                let mut good = on(2, &["192.168.1.1"], &[]);
                (good.index, good.name) = (None, Some("eth0".to_owned()));
                good.leased = Some("192.168.1.7".parse().unwrap());
                good.expires = Some(UnixTime(1_900_000_000));
                let leases = [ended, moved, unplugged, good];
                inputs
                    .sayings
                    .extend(leases.map(|lease| says(Dhclient, lease)));
            },
            &["eth0 192.168.1.1 [] default dhclient"],
            &[
                Reason::LeaseEnded,
                Reason::LeaseOfAnotherDay,
                Reason::NoSuchLink,
            ],
        ),
        row(
            "getdns#484: a link that went down is not asked any more",
            &|inputs| {
                inputs.links[1].up = false;
                inputs
                    .sayings
                    .push(says(NetworkManager, on(2, &["192.168.1.1"], &[])));
                inputs
                    .sayings
                    .push(says(NetworkManager, on(3, &["10.0.0.1"], &[])));
            },
            &["wlan0 10.0.0.1 [] default network-manager"],
            &[Reason::LinkDown],
        ),
        row(
            "a router that names thirty servers, most of them twice, and some that are nobody",
            &|inputs| {
                let mut many: Vec<String> =
                    (1..=30).map(|last| format!("192.0.2.{last}")).collect();
                many.splice(
                    0..0,
                    [
                        "0.0.0.9",
                        "224.0.0.251",
                        "255.255.255.255",
                        "ff02::fb",
                        "192.0.2.1",
                    ]
                    .map(str::to_owned),
                );
                let many: Vec<&str> = many.iter().map(String::as_str).collect();
                inputs.sayings.push(says(Networkd, on(2, &many[..13], &[])));
            },
            &[
                "eth0 192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,192.0.2.5,192.0.2.6,192.0.2.7,192.0.2.8 [] default networkd",
            ],
            &[
                Reason::NobodyThere,
                Reason::NobodyThere,
                Reason::NobodyThere,
                Reason::NobodyThere,
            ],
        ),
        row(
            "one lease for each family: servers of both",
            &|inputs| {
                inputs
                    .sayings
                    .push(says(Dhclient, on(2, &["192.168.1.1"], &["lan"])));
                inputs
                    .sayings
                    .push(says(Dhclient, on(2, &["fe80::1"], &["lan", "v6.example"])));
            },
            &["eth0 192.168.1.1,fe80::1 [lan,v6.example] default dhclient"],
            &[],
        ),
        row(
            "a router's link-local address is on the link that names it (RFC 4007 section 11), mapped ones are IPv4",
            &|inputs| {
                inputs
                    .sayings
                    .push(says(Networkd, on(3, &["fe80::1", "::ffff:192.0.2.1"], &[])));
            },
            &["wlan0 fe80::1,192.0.2.1 [] default networkd"],
            &[],
        ),
    ]
}

/// Nothing goes in a circle.
fn circles() -> Vec<Row> {
    use FileKind::{Aside, InUse, ResolvedUplinks};
    let row = |case, change: &dyn Fn(&mut Inputs), links, left_out| {
        let mut inputs = laptop();
        change(&mut inputs);
        Row {
            case,
            inputs,
            links,
            left_out,
        }
    };
    vec![
        row(
            "resolv.conf names us, and nobody else says anything",
            &|inputs| {
                inputs
                    .files
                    .push(file(InUse, &["127.0.0.1", "0.0.0.0", "::"]))
            },
            &[],
            &[Reason::Ourselves, Reason::Ourselves],
        ),
        row(
            "resolv.conf names resolved's stub while the bus is gone: the list behind the stub is there",
            &|inputs| {
                inputs.files.push(file(InUse, &["127.0.0.53"]));
                inputs.files.push(file(ResolvedUplinks, &["192.168.1.1"]));
            },
            &["- 192.168.1.1 [] default resolv-conf"],
            &[Reason::StubOfResolved],
        ),
        row(
            "resolved forwards to us by the drop-in: its stub would ask us, its links are still known",
            &|inputs| {
                inputs.files.push(file(InUse, &["127.0.0.53"]));
                inputs.files.push(file(ResolvedUplinks, &["127.0.0.1"]));
                inputs.resolved = Some(ResolvedSays {
                    global: addresses(&["127.0.0.1"]),
                    links: vec![on(2, &["192.168.1.1"], &[])],
                });
            },
            &["eth0 192.168.1.1 [] default resolved"],
            &[Reason::Ourselves, Reason::StubOfResolved],
        ),
        row(
            "a dnsmasq of this machine that reads resolv.conf would ask us back",
            &|inputs| {
                inputs.files.push(file(InUse, &["127.0.0.1"]));
                inputs
                    .files
                    .push(file(Aside, &["127.0.0.2", "192.168.1.7"]));
            },
            &[],
            &[Reason::Ourselves, Reason::MayAskUs, Reason::MayAskUs],
        ),
        row(
            "a forwarder of this machine that cannot ask us, since nothing was told to, is a server like others",
            &|inputs| inputs.files.push(file(InUse, &["127.0.0.2"])),
            &["- 127.0.0.2 [] default resolv-conf"],
            &[],
        ),
        row(
            "NetworkManager with dns=dnsmasq: its dnsmasq stands between, the link's own server is known",
            &|inputs| {
                inputs.files.push(file(InUse, &["127.0.1.1"]));
                let lan = on(2, &["192.168.1.1"], &[]);
                inputs.sayings.push(says(Source::NetworkManager, lan));
            },
            &["eth0 192.168.1.1 [] default network-manager"],
            &[Reason::Relay],
        ),
        row(
            "servers that somebody set on the loopback are no network's",
            &|inputs| {
                let lo = on(1, &["192.168.1.1"], &[]);
                inputs.sayings.push(says(Source::NetworkManager, lo));
            },
            &[],
            &[Reason::Loopback],
        ),
    ]
}

/// Which names a link gets.
fn ways() -> Vec<Row> {
    use Source::{NetworkManager, Networkd};
    let row = |case, change: &dyn Fn(&mut Inputs), links, left_out| {
        let mut inputs = laptop();
        change(&mut inputs);
        Row {
            case,
            inputs,
            links,
            left_out,
        }
    };
    vec![
        row(
            "cable and Wi-Fi at once: both may be asked",
            &|inputs| {
                inputs
                    .sayings
                    .push(says(NetworkManager, on(2, &["192.168.1.1"], &["lan"])));
                inputs
                    .sayings
                    .push(says(NetworkManager, on(3, &["192.168.1.1"], &["lan"])));
            },
            &[
                "eth0 192.168.1.1 [lan] default network-manager",
                "wlan0 192.168.1.1 [lan] default network-manager",
            ],
            &[],
        ),
        row(
            "a tunnel with domains of its own gets those and no more",
            &|inputs| {
                inputs
                    .sayings
                    .push(says(NetworkManager, on(3, &["192.168.1.1"], &[])));
                inputs.sayings.push(says(
                    NetworkManager,
                    on(4, &["10.9.0.1"], &["corp.example"]),
                ));
            },
            &[
                "wlan0 192.168.1.1 [] default network-manager",
                "tun0 10.9.0.1 [corp.example] network-manager",
            ],
            &[],
        ),
        row(
            "a tunnel for everything: no name may leak into the café, but the café's own",
            &|inputs| {
                inputs.sayings.push(says(
                    NetworkManager,
                    on(3, &["192.168.1.1"], &["cafe.example"]),
                ));
                inputs
                    .sayings
                    .push(says(NetworkManager, on(4, &["10.9.0.1"], &[])));
            },
            &[
                "tun0 10.9.0.1 [] default network-manager",
                "wlan0 192.168.1.1 [cafe.example] network-manager",
            ],
            &[],
        ),
        row(
            "a link that claims all names (~.) is the only one for those of no domain",
            &|inputs| {
                inputs
                    .sayings
                    .push(says(Networkd, on(2, &["192.168.1.1"], &["."])));
                inputs
                    .sayings
                    .push(says(Networkd, on(3, &["10.0.0.1"], &[])));
            },
            &[
                "eth0 192.168.1.1 [.] default networkd",
                "wlan0 10.0.0.1 [] networkd",
            ],
            &[],
        ),
        row(
            "a negative dns-priority of NetworkManager shuts the others out, a DNSDefaultRoute=no the link itself",
            &|inputs| {
                let mut first = on(2, &["192.168.1.1"], &[]);
                first.exclusive = true;
                let mut never = on(3, &["10.0.0.1"], &["iot.example"]);
                never.default_route = Some(false);
                inputs.sayings.push(says(NetworkManager, first));
                inputs.sayings.push(says(NetworkManager, never));
            },
            &[
                "eth0 192.168.1.1 [] default network-manager",
                "wlan0 10.0.0.1 [iot.example] network-manager",
            ],
            &[],
        ),
    ]
}

/// What files add.
fn files() -> Vec<Row> {
    use FileKind::{Aside, AsideByPerson, InUse, NetworkManagerUplinks};
    let row = |case, change: &dyn Fn(&mut Inputs), links, left_out| {
        let mut inputs = laptop();
        let lan = on(2, &["192.168.1.1"], &["lan"]);
        inputs.sayings.push(says(Source::Dhclient, lan));
        change(&mut inputs);
        Row {
            case,
            inputs,
            links,
            left_out,
        }
    };
    vec![
        row(
            "resolv.conf repeats what the lease says: there is nothing to add",
            &|inputs| inputs.files.push(file(InUse, &["192.168.1.1"])),
            &["eth0 192.168.1.1 [lan] default dhclient"],
            &[],
        ),
        row(
            "resolv.conf was written by a person: it goes before the lease, but for the lease's own domain",
            &|inputs| inputs.files.push(file(InUse, &["9.9.9.9"])),
            &[
                "- 9.9.9.9 [] default resolv-conf",
                "eth0 192.168.1.1 [lan] dhclient",
            ],
            &[],
        ),
        row(
            "the same, with us in front by now",
            &|inputs| {
                inputs.files.push(file(InUse, &["127.0.0.1"]));
                inputs.files.push(file(AsideByPerson, &["9.9.9.9"]));
            },
            &[
                "- 9.9.9.9 [] default resolv-conf",
                "eth0 192.168.1.1 [lan] dhclient",
            ],
            &[Reason::Ourselves],
        ),
        row(
            "what stood in resolv.conf at home is of no use in the café",
            &|inputs| {
                inputs.files.push(file(InUse, &["127.0.0.1"]));
                inputs.files.push(file(Aside, &["192.168.178.1"]));
            },
            &["eth0 192.168.1.1 [lan] default dhclient"],
            &[Reason::Ourselves],
        ),
        row(
            "NetworkManager's bus is gone, and so are the leases: its file still says whom it would ask",
            &|inputs| {
                inputs.sayings.clear();
                inputs.files.push(file(InUse, &["127.0.0.1"]));
                inputs
                    .files
                    .push(file(NetworkManagerUplinks, &["192.168.1.1"]));
            },
            &["- 192.168.1.1 [] default resolv-conf"],
            &[Reason::Ourselves],
        ),
        row(
            "a person's server in resolved.conf is for the whole machine, but a tunnel for everything is no less meant",
            &|inputs| {
                inputs.resolved = Some(ResolvedSays {
                    global: addresses(&["9.9.9.9:9953"]),
                    links: Vec::new(),
                });
                inputs
                    .sayings
                    .push(says(Source::NetworkManager, on(4, &["10.9.0.1"], &[])));
            },
            &[
                "tun0 10.9.0.1 [] default network-manager",
                "eth0 192.168.1.1 [lan] dhclient",
                "- 9.9.9.9:9953 [] resolved",
            ],
            &[],
        ),
    ]
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
