//! What happens on the desktop.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::Value;

use super::{Desktop, ROUTER, eventually, past, portals, replace, resolvconf};
use crate::{
    expect::ensure,
    products,
    story::{Failure, Told},
};

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// As the command line takes it.
    pub name: &'static str,
    pub(super) play: fn(&mut Desktop) -> Told,
}

const OWN: [Case; 5] = [
    Case {
        name: "network-manager",
        play: network_manager,
    },
    Case {
        name: "resolved",
        play: resolved,
    },
    Case {
        name: "networkd",
        play: networkd,
    },
    Case {
        name: "dhclient",
        play: dhclient,
    },
    Case {
        name: "static",
        play: by_hand,
    },
];

/// All of them.
pub fn all() -> impl Iterator<Item = Case> {
    let more = past::CASES.into_iter().chain(resolvconf::CASES);
    OWN.into_iter().chain(more).chain(portals::CASES)
}

/// The case with this name.
#[must_use]
pub fn find(name: &str) -> Option<Case> {
    all().find(|case| case.name == name)
}

pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";
pub(super) const JOURNAL: &str = "/var/lib/zzdot-front/journal.json";

/// NetworkManager with its own DHCP, as on Debian with a desktop.
fn network_manager(desktop: &mut Desktop) -> Told {
    desktop.start_bus()?;
    desktop.start_network_manager(
        "[main]\nplugins=keyfile\ndhcp=internal\nrc-manager=symlink\n[connectivity]\nenabled=false\n[keyfile]\nunmanaged-devices=none\n",
    )?;
    let told = desktop.told_when("NetworkManager's lease", |told| {
        source(told) == "network-manager"
    })?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;
    is(&told, "/links/0/domains", &["lan"])?;
    same(&told, "/links/0/dhcp/server", ROUTER)?;
    same(&told, "/links/0/dhcp/domain", "lan")?;
    same(&told, "/links/0/link/name", "lan")?;
    eventually(|| Ok(resolv_conf()?.contains(ROUTER)))?;

    let client = start_client(desktop)?;
    let said = desktop.client(&["front", "put"])?;
    ensure(said.contains("network-manager"), &said)?;
    eventually(|| Ok(resolv_conf()?.contains("nameserver 127.0.0.1")))?;
    ensure(
        !resolv_conf()?.contains(ROUTER),
        "nobody goes past the client",
    )?;
    ensure(
        desktop.resolves("www.example")?,
        "applications resolve through the client",
    )?;
    let told = desktop.told_when("the router, behind the client", |told| {
        source(told) == "network-manager"
    })?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;
    reason(&told, "ourselves")?;
    desktop.client(&["front", "put"])?;

    // Whatever happens to the bus and to NetworkManager, the list that NetworkManager left is there.
    desktop.stop(client);
    desktop.client(&["front", "restore"])?;
    eventually(|| Ok(resolv_conf()?.contains(ROUTER)))?;
    ensure(!Path::new(JOURNAL).exists(), "the journal is gone")?;
    let said = desktop.client(&["front", "restore"])?;
    ensure(said.contains("nothing to put back"), &said)?;
    desktop.stop("dbus-daemon");
    let told = desktop.told_when("the file, without a bus", |told| {
        source(told) == "resolv-conf"
    })?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])
}

/// systemd-resolved fed by systemd-networkd, as on Ubuntu's servers.
fn resolved(desktop: &mut Desktop) -> Told {
    desktop.start_bus()?;
    desktop.start_resolved()?;
    replace(Path::new(RESOLV_CONF), b"")?;
    fs::remove_file(RESOLV_CONF)?;
    symlink("../run/systemd/resolve/stub-resolv.conf", RESOLV_CONF)?;
    desktop.start_networkd(NETWORK)?;
    let told = desktop.told_when("resolved's link", |told| source(told) == "resolved")?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;
    is(&told, "/links/0/domains", &["lan"])?;
    // DHCP is networkd's, whoever names the server.
    same(&told, "/links/0/dhcp/server", ROUTER)?;
    eventually(|| desktop.resolves("before.example"))?;

    let client = start_client(desktop)?;
    let said = desktop.client(&["front", "put"])?;
    ensure(said.contains("by resolved"), &said)?;
    // Nobody manages services here.
    ensure(said.contains("when it is restarted"), &said)?;
    restart_resolved(desktop)?;
    eventually(|| desktop.resolves("www.example"))?;
    ensure(asked(desktop)? > 0, "resolved asks the client")?;
    let told = desktop.told_when("resolved's link, behind the client", |told| {
        source(told) == "resolved" && told.to_string().contains("ourselves")
    })?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;
    reason(&told, "stub-of-resolved")?;
    // A link's own domain counts for more than all names: it was taken from the link, and is still known.
    is(&told, "/links/0/domains", &["lan"])?;
    is(&told, "/past-us", &[])?;

    // A crash: nobody ended in peace, and the service manager restores.
    desktop.stop(client);
    desktop.client(&["front", "restore"])?;
    ensure(
        !Path::new("/run/systemd/resolved.conf.d/zzdot.conf").exists(),
        "the drop-in is gone",
    )?;
    restart_resolved(desktop)?;
    eventually(|| desktop.resolves("after.example"))?;
    desktop.stop("dbus-daemon");
    let told = desktop.told_when("networkd's files, without a bus", |told| {
        source(told) == "networkd"
    })?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])
}

/// systemd-networkd alone, and a client that follows what changes.
fn networkd(desktop: &mut Desktop) -> Told {
    let program = products::find("zzdot-client")?;
    desktop.start(
        "follow",
        &program.to_string_lossy(),
        &["front", "show", "--json", "--follow"],
    )?;
    desktop.start_networkd(&format!(
        "{NETWORK}[Network]\nDomains=~corp.example\nDNSDefaultRoute=no\n"
    ))?;
    let told = desktop.told_when("networkd's files", |told| source(told) == "networkd")?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;
    ensure(
        told["links"][0]["default-route"] == Value::Bool(false),
        &format!("{told:#}"),
    )?;
    ensure(
        told["links"][0]["domains"]
            .to_string()
            .contains("corp.example"),
        &format!("{told:#}"),
    )?;
    same(&told, "/links/0/dhcp/server", ROUTER)?;
    let followed = |desktop: &Desktop, text: &str| {
        let follow = desktop.running.iter().find(|(name, _)| name == "follow");
        follow.is_some_and(|(_, process)| {
            process
                .output()
                .lines()
                .last()
                .is_some_and(|line| line.contains(text))
        })
    };
    eventually(|| Ok(followed(desktop, "networkd")))?;
    desktop.run("ip", &["link", "set", "lan", "down"])?;
    fs::write("/etc/resolv.conf", "nameserver 192.0.2.53\n")?;
    eventually(|| Ok(followed(desktop, "192.0.2.53")))
}

/// dhclient and a file that it rewrites, as on Debian's servers.
fn dhclient(desktop: &mut Desktop) -> Told {
    desktop.start_dhclient()?;
    let told = desktop.told_when("dhclient's lease", |told| source(told) == "dhclient")?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;
    is(&told, "/links/0/domains", &["lan"])?;
    same(&told, "/links/0/dhcp/server", ROUTER)?;
    eventually(|| Ok(resolv_conf()?.contains(ROUTER)))?;

    let client = start_client(desktop)?;
    let said = desktop.client(&["front", "put"])?;
    ensure(said.contains("by file"), &said)?;
    ensure(
        resolv_conf()?.contains("nameserver 127.0.0.1"),
        &resolv_conf()?,
    )?;
    ensure(
        resolv_conf()?.contains("search lan"),
        "the search list stays",
    )?;
    asks_through_us(desktop)?;

    // Another network: dhclient writes the file anew, over ours, and the units call for `put` again.
    desktop.stop("dhclient");
    desktop.serve_leases(&["--dhcp-option=option:domain-search,cafe.example"])?;
    desktop.start_dhclient()?;
    eventually(|| Ok(resolv_conf()?.contains("cafe.example")))?;
    desktop.client(&["front", "put"])?;
    ensure(
        resolv_conf()?.contains("nameserver 127.0.0.1"),
        &resolv_conf()?,
    )?;
    ensure(
        resolv_conf()?.contains("cafe.example"),
        "what is newer was put aside",
    )?;
    desktop.stop(client);
    desktop.client(&["front", "restore"])?;
    let restored = resolv_conf()?;
    ensure(
        restored.contains(ROUTER) && restored.contains("cafe.example"),
        &restored,
    )?;
    ensure(!Path::new(JOURNAL).exists(), "the journal is gone")
}

/// Addresses and resolver set by a person, and nothing that manages them.
fn by_hand(desktop: &mut Desktop) -> Told {
    desktop.run("ip", &["addr", "add", "192.168.77.20/24", "dev", "lan"])?;
    let by_person = format!("# mine\nnameserver {ROUTER}\noptions edns0\n");
    replace(Path::new(RESOLV_CONF), by_person.as_bytes())?;
    let told = desktop.told()?;
    same(&told, "/links/0/source", "resolv-conf")?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;

    start_client(desktop)?;
    for _ in 0..2 {
        desktop.client(&["front", "put"])?;
        ensure(
            resolv_conf()?.contains("nameserver 127.0.0.1"),
            &resolv_conf()?,
        )?;
        ensure(
            desktop.resolves("www.example")?,
            "applications resolve through the client",
        )?;
        let told = desktop.told()?;
        is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;
    }
    desktop.client(&["front", "restore"])?;
    ensure(resolv_conf()? == by_person, &resolv_conf()?)?;

    // A journal that nobody can read: nothing is guessed, and what is whole stays.
    desktop.client(&["front", "put"])?;
    fs::write(JOURNAL, "{\"version\":1,")?;
    let program = products::find("zzdot-client")?;
    let output = desktop.output(&program.to_string_lossy(), &["front", "restore"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(
        output.status.code() == Some(3) && said.contains("not known any more"),
        &said,
    )?;
    replace(Path::new(RESOLV_CONF), by_person.as_bytes())?;
    desktop.client(&["front", "restore"])?;
    ensure(
        resolv_conf()? == by_person && !Path::new(JOURNAL).exists(),
        &resolv_conf()?,
    )
}

pub(super) const NETWORK: &str = "[Match]\nName=lan\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nUseDomains=yes\n";

/// The client as the package starts it: it asks whom the machine was given.
pub(super) fn start_client(desktop: &mut Desktop) -> Result<&'static str, Failure> {
    let config = start_client_with(desktop, "")?;
    let program = products::find("zzdot-client")?;
    eventually(|| {
        let asked = desktop.output(
            &program.to_string_lossy(),
            &["query", "--config", &config, "first.example"],
        )?;
        Ok(asked.status.success())
    })?;
    Ok("zzdot-client")
}

/// The same with more in its configuration, whose path this gives; it listens when this returns.
pub(super) fn start_client_with(desktop: &mut Desktop, more: &str) -> Result<String, Failure> {
    let config = format!("state-dir = \"/run/lab/client-state\"\n{more}");
    let config = desktop.machine.write("client.toml", &config)?;
    let program = products::find("zzdot-client")?;
    let arguments = ["run", "--config", &config.to_string_lossy()];
    desktop.start("zzdot-client", &program.to_string_lossy(), &arguments)?;
    // It says what it has to say however that stands.
    let state = ["status", "--json", "--state-dir", "/run/lab/client-state"];
    eventually(|| {
        let said = desktop.output(&program.to_string_lossy(), &state)?.stdout;
        Ok(serde_json::from_slice::<Value>(&said).is_ok())
    })?;
    Ok(config.to_string_lossy().into_owned())
}

/// Questions that the client has answered so far.
fn asked(desktop: &Desktop) -> Result<u64, Failure> {
    counted(desktop, &["encrypted", "cleartext"])
}

/// Questions of these kinds, as the client counts them.
pub(super) fn counted(desktop: &Desktop, kinds: &[&str]) -> Result<u64, Failure> {
    let state = ["status", "--json", "--state-dir", "/run/lab/client-state"];
    let program = products::find("zzdot-client")?;
    let said = desktop.output(&program.to_string_lossy(), &state)?.stdout;
    let status: Value = serde_json::from_slice(&said)?;
    let queries = &status["queries"];
    Ok(kinds.iter().filter_map(|kind| queries[kind].as_u64()).sum())
}

pub(super) fn restart_resolved(desktop: &mut Desktop) -> Told {
    desktop.stop("systemd-resolved");
    fs::remove_file("/run/systemd/resolve/stub-resolv.conf")?;
    desktop.start_resolved()
}

pub(super) fn resolv_conf() -> Result<String, Failure> {
    Ok(fs::read_to_string(RESOLV_CONF)?)
}

pub(super) fn source(told: &Value) -> &str {
    told["links"][0]["source"].as_str().unwrap_or_default()
}

pub(super) fn is(told: &Value, pointer: &str, expected: &[&str]) -> Told {
    let found = told.pointer(pointer).cloned().unwrap_or_default();
    ensure(
        found == serde_json::json!(expected),
        &format!("{pointer} is not {expected:?}: {told:#}"),
    )
}

pub(super) fn same(told: &Value, pointer: &str, expected: &str) -> Told {
    let found = told.pointer(pointer).and_then(Value::as_str);
    ensure(
        found == Some(expected),
        &format!("{pointer} is not {expected}: {told:#}"),
    )
}

/// Applications resolve through the client, which knows the link's servers and leaves itself out.
pub(super) fn asks_through_us(desktop: &Desktop) -> Told {
    ensure(
        desktop.resolves("www.example")?,
        "applications resolve through the client",
    )?;
    let told = desktop.told()?;
    is(&told, "/links/0/servers", &[&format!("{ROUTER}:53")])?;
    reason(&told, "ourselves")
}

pub(super) fn reason(told: &Value, expected: &str) -> Told {
    let left_out = told["left-out"].as_array().cloned().unwrap_or_default();
    let found = left_out.iter().any(|left| left["reason"] == expected);
    ensure(
        found,
        &format!("nothing was left out as {expected}: {told:#}"),
    )
}
