//! Portals that a router announces in its leases (RFC 8910): under which names the real programs keep them, and that
//! such an announcement opens nothing where somebody is known.

use std::{
    fs, io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
};

use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Case, Desktop, LAN, ROUTER, eventually};
use crate::{
    ask::{Question, ask},
    products, servers,
    story::{Failure, Told},
};

pub(super) const CASES: [Case; 3] = [
    Case {
        name: "portal-options",
        play: options,
    },
    Case {
        name: "portal-announced",
        play: announced,
    },
    Case {
        name: "portal-advertised",
        play: advertised,
    },
];

const PORTAL: &str = "http://portal.lan/api";
/// Sent to whoever does not ask for it, too: what a client keeps is then its own choice. Option 160 is not the portal's
/// any more (RFC 8910 §4.2).
const ANNOUNCED: [&str; 2] = [
    "--dhcp-option-force=114,http://portal.lan/api",
    "--dhcp-option-force=160,http://another.lan/api",
];
/// NetworkManager, which writes no file, with one of its DHCP clients.
const MANAGER: &str = "[main]\nplugins=keyfile\ndhcp=CLIENT\nrc-manager=unmanaged\n[connectivity]\nenabled=false\n[keyfile]\nunmanaged-devices=none\n";
const NETWORK: &str = "[Match]\nName=lan\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nRequestOptions=114\n";

/// Each client of DHCP, given both options: the portal's own is read wherever it is kept, the other never.
fn options(desktop: &mut Desktop) -> Told {
    desktop.serve_leases(&ANNOUNCED)?;
    desktop.start_dhclient()?;
    announces(desktop, "dhclient", &[PORTAL])?;
    desktop.stop("dhclient");
    fs::remove_file("/var/lib/dhcp/dhclient.lan.leases")?;
    desktop.run("ip", &["addr", "flush", "dev", LAN])?;

    // Debian 12's keep nothing of it; later ones do.
    desktop.start_networkd(NETWORK)?;
    announces(desktop, "networkd", &["", PORTAL])?;
    desktop.stop("systemd-networkd");
    fs::remove_dir_all("/run/systemd/netif")?;
    desktop.run("ip", &["addr", "flush", "dev", LAN])?;

    desktop.start_bus()?;
    for (client, expected) in [("dhclient", &[PORTAL][..]), ("internal", &["", PORTAL])] {
        desktop.start_network_manager(&MANAGER.replace("CLIENT", client))?;
        announces(desktop, "network-manager", expected)?;
        desktop.stop("NetworkManager");
        desktop.run("ip", &["addr", "flush", "dev", LAN])?;
    }
    Ok(())
}

/// Waits for a lease, and looks at what the client reads in it about a portal.
fn announces(desktop: &Desktop, source: &str, expected: &[&str]) -> Told {
    let told = desktop.told_when(&format!("a lease by {source}"), |told| {
        let link = &told["links"][0];
        link["source"] == source && !link["dhcp"].is_null()
    })?;
    let portal = told["links"][0]["captive-portal"].as_str();
    if expected.contains(&portal.unwrap_or_default()) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{source} announces {portal:?}: {told:#}"
    )))
}

/// Somebody has taken the place of a resolver that is known, and announces a portal with the next lease. Who is known
/// is waited for; a laptop that knows nobody, in the same place, lets the portal's name pass and no other.
fn announced(desktop: &mut Desktop) -> Told {
    let here = SocketAddr::new(ROUTER.parse()?, 53);
    leases_alone(desktop)?;
    let router = desktop.router.clone();
    let appliance = products::Appliance {
        host: &router,
        label: "zzdot",
        dns: &[here],
        dot: &[SocketAddr::new(here.ip(), 853)],
        resolve: "mode = \"local\"\nupstreams = [\"127.0.0.1:5335\"]\nserver-type = \"resolver\"",
    };
    let running = appliance.start()?;
    desktop.start_dhclient()?;
    start_client(desktop, "known")?;
    eventually(|| Ok(answered(desktop, "www.example.")? && asks(desktop, "known")?.0 > 0))?;
    desktop.stop("known");
    desktop.stop("dhclient");

    drop(running);
    desktop.serve_leases(&ANNOUNCED)?;
    desktop.start_dhclient()?;
    desktop.told_when("the portal", |told| {
        told["links"][0]["captive-portal"] == PORTAL
    })?;
    start_client(desktop, "known")?;
    eventually(|| Ok(!status(desktop, "known")?["network"].is_null()))?;
    for name in ["portal.lan.", "www.example."] {
        if answered(desktop, name)? {
            return Err(Failure::new(format!("the announcement opens {name}")));
        }
    }
    let (_, in_clear) = asks(desktop, "known")?;
    let seen = status(desktop, "known")?;
    if in_clear > 0 || !seen.to_string().contains(PORTAL) {
        return Err(Failure::new(format!(
            "asked in cleartext, or never told: {seen:#}"
        )));
    }
    desktop.stop("known");

    start_client(desktop, "stranger")?;
    eventually(|| answered(desktop, "portal.lan."))?;
    if answered(desktop, "www.example.")? {
        return Err(Failure::new(
            "the announcement opens more than its own name",
        ));
    }
    Ok(())
}

/// A router advertises a page to everybody on the link, and the kernel, which nobody has taken this from, passes it on.
fn advertised(desktop: &mut Desktop) -> Told {
    desktop.run("ip", &["addr", "add", "192.168.77.20/24", "dev", LAN])?;
    desktop.run("ip", &["route", "add", "default", "via", ROUTER])?;
    fs::write("/etc/resolv.conf", format!("nameserver {ROUTER}\n"))?;
    start_client(desktop, "advertised")?;
    eventually(|| {
        desktop.router.within(advertise)?;
        Ok(status(desktop, "advertised")?.to_string().contains(PORTAL))
    })
}

/// Sends an advertisement of a router (RFC 4861 §4.2) with nothing in it but a page (RFC 8910 §2.3).
fn advertise() -> io::Result<()> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let index = nix::net::if_::if_nametoindex(LAN)?;
    let mut message = vec![134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut option = vec![37, 0];
    option.extend(PORTAL.as_bytes());
    option.resize(option.len().next_multiple_of(8), 0);
    option[1] = u8::try_from(option.len() / 8).map_err(io::Error::other)?;
    message.extend(option);
    // The kernel puts in the checksum (RFC 3542 §3.1).
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    // Nobody believes one that a router could have passed on (RFC 4861 §6.1.2).
    socket.set_multicast_hops_v6(255)?;
    let everybody = SocketAddrV6::new(ALL_NODES, 0, 0, index);
    socket.send_to(&message, &everybody.into()).map(drop)
}

/// The router gives leases and has names ready for the appliance, and does not answer anybody else.
fn leases_alone(desktop: &mut Desktop) -> Told {
    desktop.stop("dnsmasq");
    let lease_file = "--dhcp-leasefile=/run/lab/router.leases";
    let options = [
        "--address=/#/192.0.2.80",
        "--interface=lan",
        "--dhcp-range=192.168.77.50,192.168.77.99,2m",
        "--dhcp-option=option:router,192.168.77.1",
        "--dhcp-option=option:dns-server,192.168.77.1",
        "--dhcp-authoritative",
        lease_file,
        "--no-ping",
        "--domain=lan",
    ];
    let dnsmasq = servers::dnsmasq_alone(&desktop.router, &["127.0.0.1:5335".parse()?], &options)?;
    desktop.running.push(("dnsmasq".into(), dnsmasq));
    Ok(())
}

/// A client that asks whom the machine was given, and never in cleartext; `label` is whose memory it has.
fn start_client(desktop: &mut Desktop, label: &str) -> Told {
    let config = format!("state-dir = \"/run/lab/{label}\"\nlegacy = \"refuse\"\n");
    let config = desktop.machine.write(&format!("{label}.toml"), &config)?;
    let program = products::find("zzdot-client")?;
    let arguments = ["run", "--config", &config.to_string_lossy()];
    desktop.start(label, &program.to_string_lossy(), &arguments)?;
    eventually(|| Ok(status(desktop, label).is_ok()))
}

fn status(desktop: &Desktop, label: &str) -> Result<Value, Failure> {
    let folder = format!("/run/lab/{label}");
    let status = desktop.client(&["status", "--json", "--state-dir", &folder])?;
    Ok(serde_json::from_str(&status)?)
}

/// Questions asked over TLS, and in cleartext.
fn asks(desktop: &Desktop, label: &str) -> Result<(u64, u64), Failure> {
    let queries = &status(desktop, label)?["queries"];
    let number = |kind: &str| queries[kind].as_u64().unwrap_or_default();
    Ok((number("encrypted"), number("cleartext")))
}

fn answered(desktop: &Desktop, name: &str) -> Result<bool, Failure> {
    let question = Question::new(&name.parse::<Name>()?, RecordType::A);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 53));
    let answer = desktop.machine.within(|| ask(loopback, &question))?;
    Ok(answer.to_string().contains("192.0.2.80"))
}
