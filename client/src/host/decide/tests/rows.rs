//! Cases, and how each must end.

use super::*;

/// What is heard, and what is decided.
pub(super) struct Row {
    /// The bug or case behind it.
    pub(super) case: &'static str,
    pub(super) inputs: Inputs,
    pub(super) links: &'static [&'static str],
    pub(super) left_out: &'static [Reason],
}

/// What a laptop learns where `change` is so.
fn row(
    case: &'static str,
    change: &dyn Fn(&mut Inputs),
    links: &'static [&'static str],
    left_out: &'static [Reason],
) -> Row {
    let mut inputs = laptop();
    change(&mut inputs);
    Row {
        case,
        inputs,
        links,
        left_out,
    }
}

/// All of them.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = sources();
    rows.extend(circles());
    rows.extend(ways());
    rows.extend(files());
    rows
}

/// Who is believed about a link.
fn sources() -> Vec<Row> {
    use Source::{Dhclient, NetworkManager, Networkd};
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
