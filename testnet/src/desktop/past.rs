//! Whether names go past the client while resolved is behind it: a capture of all that is asked, on any port.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};

use super::{
    Case, Desktop, LAN, ROUTER,
    cases::{NETWORK, RESOLV_CONF, counted, is, restart_resolved, source, start_client_with},
    eventually, replace,
};
use crate::{
    expect::ensure,
    story::{Failure, Told},
};

pub(super) const CASES: [Case; 2] = [
    Case {
        name: "past-networkd",
        play: by_networkd,
    },
    Case {
        name: "past-network-manager",
        play: by_network_manager,
    },
];

/// In every name that nobody on the link may read, and in no other.
const MARK: &str = "unheard";
/// The same for names that are asked before the client is there, so that the capture is seen to see.
const HEARD: &str = "overheard";
/// A tunnel whose maker told resolved about it, as OpenVPN's script and others do.
const TUNNEL: &str = "vpn";

fn by_networkd(desktop: &mut Desktop) -> Told {
    begin(desktop)?;
    let more = "[Network]\nDomains=home.example\n";
    desktop.start_networkd(&format!("{NETWORK}{more}"))?;
    play(desktop, &|desktop| {
        let index = desktop.index(LAN)?;
        let lease = format!("/run/systemd/netif/leases/{index}");
        // It is written into another file each time, whatever it says.
        let written = || {
            let file = fs::metadata(&lease).ok()?;
            Some((file.ino(), file.mtime_nsec()))
        };
        let configured = || {
            let link = fs::read_to_string(format!("/run/systemd/netif/links/{index}"));
            link.is_ok_and(|link| link.contains("ADMIN_STATE=configured\n"))
        };
        // A link that goes down amid this has failed, and networkd leaves it so when it is up again.
        eventually(|| Ok(configured() && written().is_some()))?;
        let before = written();
        desktop.network1("RenewLink", &["i", &index])?;
        eventually(|| Ok(configured() && written().is_some_and(|now| Some(now) != before)))
    })
}

fn by_network_manager(desktop: &mut Desktop) -> Told {
    begin(desktop)?;
    desktop.start_network_manager(
        "[main]\nplugins=keyfile\ndhcp=internal\n[connectivity]\nenabled=false\n[keyfile]\nunmanaged-devices=interface-name:vpn*\n",
    )?;
    // NetworkManager tells resolved all it knows once more.
    play(desktop, &|desktop| {
        let manager = "org.freedesktop.NetworkManager";
        let path = "/org/freedesktop/NetworkManager";
        let reload = ["call", manager, path, manager, "Reload", "u", "7"];
        desktop.run("busctl", &reload).map(drop)
    })
}

fn begin(desktop: &mut Desktop) -> Told {
    desktop.start_bus()?;
    desktop.start_resolved()?;
    replace(Path::new(RESOLV_CONF), b"")?;
    fs::remove_file(RESOLV_CONF)?;
    symlink("../run/systemd/resolve/stub-resolv.conf", RESOLV_CONF)?;
    let tunnel = format!(
        "link add {TUNNEL} type veth peer name {TUNNEL}-end\naddr add 10.8.0.2/24 dev {TUNNEL}\n\
         link set {TUNNEL} up\nlink set {TUNNEL}-end up\n"
    );
    Ok(desktop.lab.change(&desktop.machine, &tunnel)?)
}

/// What belongs to the link is asked of the link before, and of nobody while the client is in front: it does not speak
/// in cleartext here, so that whatever is heard went past it.
fn play(desktop: &mut Desktop, stir: &dyn Fn(&Desktop) -> Told) -> Told {
    desktop.told_when("the link", |told| source(told) == "resolved")?;
    eventually(|| desktop.resolves(&format!("{HEARD}.lan")))?;
    desktop.run("resolvectl", &["dns", TUNNEL, "10.8.0.1"])?;
    desktop.run("resolvectl", &["domain", TUNNEL, "~corp.example"])?;

    start_client_with(desktop, "legacy = \"refuse\"\n")?;
    let said = desktop.client(&["front", "put"])?;
    ensure(said.contains("by resolved"), &said)?;
    restart_resolved(desktop)?;
    let program = crate::products::find("zzdot-client")?;
    let program = program.to_string_lossy();
    desktop.start("follow", &program, &["front", "follow"])?;
    desktop.held(&["lan", "home.example", "corp.example"])?;
    desktop.start("asker", "sh", &["-c", ASKER])?;

    // Much happens, and each time somebody tells resolved what it said before.
    stir(desktop)?;
    desktop.run("ip", &["link", "set", LAN, "down"])?;
    desktop.run("ip", &["link", "set", LAN, "up"])?;
    desktop.told_when("the link again", |told| {
        told.pointer("/links")
            .is_some_and(|links| links.to_string().contains(ROUTER))
    })?;
    stir(desktop)?;
    desktop.run(
        "resolvectl",
        &["domain", TUNNEL, "~corp.example", "~other.example"],
    )?;
    desktop.held(&["lan", "corp.example", "other.example"])?;
    let told = desktop.told()?;
    let tunnel = told["links"].as_array().into_iter().flatten();
    let mut tunnel = tunnel.filter(|link| link["link"]["name"] == TUNNEL);
    ensure(
        tunnel.next().is_some_and(|link| {
            link["domains"] == serde_json::json!(["corp.example", "other.example"])
                && link["servers"] == serde_json::json!(["10.8.0.1:53"])
        }),
        &format!("what was said of the tunnel is known no more: {told:#}"),
    )?;
    is(&told, "/past-us", &[])?;
    // Names of one label are looked for below the domains of the network, as before.
    let search = fs::read_to_string(RESOLV_CONF)?;
    ensure(
        search
            .lines()
            .any(|line| line.starts_with("search ") && line.contains("lan")),
        &search,
    )?;
    eventually(|| {
        let asked = fs::read_to_string(ASKED).unwrap_or_default();
        Ok(asked.lines().count() > 10)
    })?;
    // Those names came to the client instead, which answers none of them here.
    eventually(|| Ok(counted(desktop, &["failed"])? > 20))?;
    desktop.stop("asker");

    // All of it ends at once.
    desktop.stop("zzdot-client");
    desktop.stop("follow");
    desktop.client(&["front", "restore"])?;
    restart_resolved(desktop)?;
    eventually(|| {
        let links = desktop.run("resolvectl", &["domain"])?;
        Ok(links.contains("lan\n") || links.contains("lan "))
    })?;
    let tunnel = desktop.run("resolvectl", &["domain", TUNNEL])?;
    ensure(tunnel.contains("~corp.example ~other.example"), &tunnel)?;
    eventually(|| desktop.resolves("after.lan"))?;
    nothing_was_heard(desktop)
}

/// Where the asker writes down how far it is.
const ASKED: &str = "/run/lab/asked";
/// Without waiting for answers, of which there are none.
const ASKER: &str = "n=0; while :; do n=$((n+1)); for d in .lan .home.example .corp.example .other.example ''; do \
    timeout 1 getent ahostsv4 \"unheard$n$d\" & sleep 0.02; done; echo $n >>/run/lab/asked; done";

fn nothing_was_heard(desktop: &mut Desktop) -> Told {
    let capture = desktop.lab.end_capture(LAN)?;
    let holds = |mark: &str| {
        let packets = capture.packets().iter();
        let mut packets = packets.filter(|packet| packet.host.as_deref() == Some("desktop"));
        packets
            .find(|packet| {
                let octets = packet.payload.to_ascii_lowercase();
                octets
                    .windows(mark.len())
                    .any(|part| part == mark.as_bytes())
            })
            .cloned()
    };
    ensure(holds(HEARD).is_some(), "the capture is deaf")?;
    match holds(MARK) {
        None => Ok(()),
        Some(packet) => Err(Failure::new(format!(
            "went past the client, to {}: {:?}",
            packet.destination,
            String::from_utf8_lossy(&packet.payload)
        ))),
    }
}

impl Desktop {
    /// Waits until resolved has none of these on a link.
    fn held(&self, domains: &[&str]) -> Told {
        let mut last = String::new();
        eventually(|| {
            last = self.run("resolvectl", &["domain"])?;
            let links = last.lines().filter(|line| line.starts_with("Link"));
            let all: String = links
                .filter_map(|line| line.split_once(':'))
                .map(|(_, of)| of)
                .collect();
            Ok(!domains.iter().any(|domain| all.contains(domain)))
        })
        .map_err(|error| Failure::new(format!("{error}: {last}")))
    }

    fn index(&self, link: &str) -> Result<String, Failure> {
        let path = format!("/sys/class/net/{link}/ifindex");
        Ok(self.run("cat", &[&path])?.trim().to_owned())
    }

    fn network1(&self, method: &str, arguments: &[&str]) -> Told {
        let manager = "org.freedesktop.network1";
        let path = "/org/freedesktop/network1";
        let interface = "org.freedesktop.network1.Manager";
        let call = [&["call", manager, path, interface, method], arguments].concat();
        self.run("busctl", &call).map(drop)
    }
}
