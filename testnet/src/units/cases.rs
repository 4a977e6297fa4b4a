//! What happens to the units.

use std::{fs, io, os::unix::fs::symlink};

use super::{CONFIG, MACHINE, Machine, ROUTER, eventually};
use crate::{
    expect::ensure,
    story::{Failure, Told},
};

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// As the command line takes it.
    pub name: &'static str,
    pub(super) play: fn(&mut Machine) -> Told,
}

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        name: "appliance",
        play: appliance,
    },
    Case {
        name: "client",
        play: client,
    },
    Case {
        name: "client-resolved",
        play: resolved,
    },
];

/// The case with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

/// The configuration names no folder: who says it is the service.
const WHO: &[&str] = &[
    "identity",
    "--trust-anchor",
    "--config",
    "/etc/zzdot/zzdot.toml",
];
/// As the kernel shows what CAP_NET_BIND_SERVICE, bit 10, makes of a process without any other.
const LOW_PORTS_ONLY: &str = "0000000000000400";
const NOTHING: &str = "0000000000000000";

/// The appliance's unit: ready when it says so, confined, watched, and back after whatever ends it.
fn appliance(machine: &mut Machine) -> Told {
    let config = format!(
        "[listen]\ndns = [\"{MACHINE}:53\"]\ndot = [\"{MACHINE}:853\"]\n[resolve]\nmode = \"forward\"\nupstreams = [\"{ROUTER}\"]\n"
    );
    machine.write("/etc/zzdot/zzdot.toml", &config)?;
    // The shipped half minute is for machines that are busy; nothing else of the unit is changed.
    let quick = "[Service]\nWatchdogSec=1s\n";
    machine.write("/etc/systemd/system/zzdot.service.d/quick.conf", quick)?;
    machine.boot()?;
    let unit = "zzdot.service";
    machine.run("systemctl", &["preset", unit])?;
    let enabled = machine.output("systemctl", &["is-enabled", unit])?;
    ensure(
        String::from_utf8_lossy(&enabled.stdout).trim() == "disabled",
        "nobody has switched it on",
    )?;

    // `start` returns when the service has said that it is ready.
    machine.run("systemctl", &["enable", "--now", unit])?;
    machine.neighbour_asks("www.example")?;
    is_confined(machine, unit, LOW_PORTS_ONLY)?;
    let name = machine.run("zzdot", WHO)?;
    machine.run("systemctl", &["reload", unit])?;
    machine.becomes(unit, "ActiveState", "active")?;

    send(machine, unit, "KILL")?;
    machine.becomes(unit, "NRestarts", "1")?;
    machine.becomes(unit, "ActiveState", "active")?;
    machine.neighbour_asks("after.example")?;
    let again = machine.run("zzdot", WHO)?;
    ensure(name == again, "it is still who it was")?;

    // Alive for longer than the watchdog waits, by what it says meanwhile; and ended when it says no more.
    let fed = machine.property(unit, "WatchdogTimestampMonotonic")?;
    eventually("a second sign of life", || {
        Ok(machine.property(unit, "WatchdogTimestampMonotonic")? != fed)
    })?;
    send(machine, unit, "STOP")?;
    machine.becomes(unit, "NRestarts", "2")?;
    machine.becomes(unit, "ActiveState", "active")?;
    machine.neighbour_asks("thawed.example")?;

    // What trying again does not mend is not tried again.
    machine.write("/etc/zzdot/zzdot.toml", "[listen]\ndns = [\"nonsense\"]\n")?;
    let restart = machine.output("systemctl", &["restart", unit])?;
    ensure(!restart.status.success(), "a wrong configuration fails")?;
    machine.becomes(unit, "ActiveState", "failed")?;
    machine.becomes(unit, "ExecMainStatus", "2")
}

/// Sends a signal to the main process of a unit.
fn send(machine: &Machine, unit: &str, signal: &str) -> Told {
    let signal = format!("--signal={signal}");
    let kill = ["kill", &signal, "--kill-who=main", unit];
    machine.run("systemctl", &kill).map(drop)
}

/// The client's units: in front only while it answers, whatever ends it, and put back after a power cut.
fn client(machine: &mut Machine) -> Told {
    let by_person = format!("# mine\nnameserver {ROUTER}\n");
    machine.write("/etc/resolv.conf", &by_person)?;
    machine.write(CONFIG, "")?;
    machine.boot()?;
    let unit = "zzdot-client.service";
    machine.run("systemctl", &["enable", unit])?;

    // The socket takes questions before anybody runs who answers them.
    machine.run("systemctl", &["start", "zzdot-client.socket"])?;
    machine.becomes(unit, "ActiveState", "inactive")?;
    machine.asks_itself("first.example")?;
    machine.becomes(unit, "ActiveState", "active")?;
    is_confined(machine, unit, NOTHING)?;
    ensure(
        machine.resolv_conf()?.contains(OURS),
        &machine.resolv_conf()?,
    )?;
    ensure(machine.resolves("www.example")?, "applications resolve")?;
    ensure(machine.encrypted()? > 0, "over TLS")?;

    follow_rewrites(machine)?;

    send(machine, unit, "KILL")?;
    eventually("what a person wrote, after it was killed", || {
        Ok(fs::read_to_string(machine.on_disk("/etc/resolv.conf"))?.contains(THEIRS))
    })?;
    machine.becomes(unit, "NRestarts", "1")?;
    eventually("in front again", || {
        Ok(machine.resolv_conf()?.contains(OURS))
    })?;
    ensure(machine.resolves("again.example")?, "applications resolve")?;
    follow_rewrites(machine)?;

    // A power cut while it is in front; and it does not even start when the power is back.
    machine.cut_power()?;
    ensure(on_disk(machine)?.contains(OURS), "our file is left behind")?;
    machine.write(CONFIG, "server = \"nonsense\"\n")?;
    machine.boot()?;
    machine.becomes(unit, "ActiveState", "failed")?;
    machine.becomes(unit, "ExecMainStatus", "2")?;
    ensure(machine.resolv_conf()?.contains(THEIRS), "it was put back")?;
    ensure(!machine.on_disk(JOURNAL).exists(), "the journal is gone")?;
    let restored = machine.moment(
        "zzdot-client-restore.service",
        "ExecMainExitTimestampMonotonic",
    )?;
    let network = machine.moment("network-pre.target", "ActiveEnterTimestampMonotonic")?;
    ensure(
        0 < restored && restored <= network,
        "it was put back before there was a network",
    )?;

    // The same with a client that starts: it is in front when the machine is up, and goes in peace.
    machine.write(CONFIG, "")?;
    machine.run("systemctl", &["start", unit])?;
    machine.cut_power()?;
    ensure(on_disk(machine)?.contains(OURS), "our file is left behind")?;
    machine.boot()?;
    machine.becomes(unit, "ActiveState", "active")?;
    machine.becomes("zzdot-client-restore.service", "Result", "success")?;
    ensure(
        machine.resolv_conf()?.contains(OURS),
        &machine.resolv_conf()?,
    )?;
    ensure(machine.resolves("third.example")?, "applications resolve")?;
    machine.run(
        "systemctl",
        &["stop", "zzdot-client.service", "zzdot-client.socket"],
    )?;
    ensure(machine.resolv_conf()?.contains(THEIRS), "it was put back")?;
    ensure(!machine.on_disk(JOURNAL).exists(), "the journal is gone")?;
    let failed = machine.run(
        "systemctl",
        &["list-units", "--failed", "--plain", "--no-legend"],
    )?;
    ensure(!failed.contains("zzdot"), &failed)
}

/// The client's unit in front of systemd-resolved, which gets its servers from systemd-networkd, which gets a lease.
fn resolved(machine: &mut Machine) -> Told {
    machine.write("/etc/systemd/network/lan.network", NETWORK)?;
    machine.write(CONFIG, "")?;
    fs::remove_file(machine.on_disk("/etc/resolv.conf")).or_else(not_there)?;
    symlink(
        "../run/systemd/resolve/stub-resolv.conf",
        machine.on_disk("/etc/resolv.conf"),
    )?;
    machine.boot()?;
    let unit = "zzdot-client.service";
    let others = ["systemd-networkd.service", "systemd-resolved.service"];
    for other in others {
        machine.run("systemctl", &["enable", "--now", other])?;
    }
    eventually("a name by resolved", || machine.resolves("before.example"))?;

    machine.run("systemctl", &["enable", "--now", unit])?;
    is_confined(machine, unit, NOTHING)?;
    eventually("a name by the client", || {
        let resolves = machine.resolves("www.example")?;
        Ok(resolves && machine.encrypted()? > 0)
    })?;
    // What was taken from the link is forgotten with networkd, and taken again by a unit without any capability.
    links_have(machine, OWN_DOMAIN, false)?;
    machine.becomes("zzdot-client-follow.service", "ActiveState", "active")?;
    let more = NETWORK.replace(OWN_DOMAIN, &format!("{OWN_DOMAIN} {LATER_DOMAIN}"));
    machine.write("/etc/systemd/network/lan.network", &more)?;
    machine.run("systemctl", &["restart", "systemd-networkd.service"])?;
    eventually("the domains that networkd brought", || {
        let journal = fs::read_to_string(machine.on_disk(JOURNAL))?;
        Ok(journal.contains(LATER_DOMAIN))
    })?;
    links_have(machine, OWN_DOMAIN, false)?;
    send(machine, unit, "KILL")?;
    machine.becomes(unit, "NRestarts", "1")?;
    machine.becomes(unit, "ActiveState", "active")?;
    eventually("a name by the client that was killed", || {
        let resolves = machine.resolves("after.example")?;
        Ok(resolves && machine.encrypted()? > 0)
    })?;

    machine.cut_power()?;
    machine.boot()?;
    machine.becomes(unit, "ActiveState", "active")?;
    eventually("a name by the client, after a power cut", || {
        let resolves = machine.resolves("third.example")?;
        Ok(resolves && machine.encrypted()? > 0)
    })?;
    machine.run("systemctl", &["stop", unit, "zzdot-client.socket"])?;
    eventually("a name without the client", || {
        machine.resolves("gone.example")
    })?;
    links_have(machine, OWN_DOMAIN, true)?;
    let failed = machine.run(
        "systemctl",
        &["list-units", "--failed", "--plain", "--no-legend"],
    )?;
    ensure(!failed.contains("zzdot"), &failed)
}

/// As the client keeps it.
const JOURNAL: &str = "/var/lib/zzdot-front/journal.json";
/// The address that the lab gave it stays; the name server is what is new.
const NETWORK: &str = "[Match]\nName=lan\n[Network]\nDNS=192.168.78.1\nDomains=home.example\nKeepConfiguration=yes\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n";

/// Of the link itself; names below it would go past the client.
const OWN_DOMAIN: &str = "home.example";

/// One that comes with another configuration.
const LATER_DOMAIN: &str = "later.example";

/// Waits until resolved has this domain on a link, or on none.
fn links_have(machine: &Machine, domain: &str, expected: bool) -> Told {
    eventually("the domains of links", || {
        let domains = machine.run("resolvectl", &["domain"])?;
        let links = domains.lines().filter(|line| line.starts_with("Link"));
        Ok(links.into_iter().any(|line| line.contains(domain)) == expected)
    })
}

fn on_disk(machine: &Machine) -> Result<String, Failure> {
    Ok(fs::read_to_string(machine.on_disk("/etc/resolv.conf"))?)
}

fn not_there(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

const OURS: &str = "nameserver 127.0.0.1";
const THEIRS: &str = "# theirs";

/// Somebody writes `resolv.conf`, and the units notice.
fn follow_rewrites(machine: &Machine) -> Told {
    machine.becomes("zzdot-client-front.path", "ActiveState", "active")?;
    machine.write(
        "/etc/resolv.conf",
        &format!("{THEIRS}\nnameserver {ROUTER}\n"),
    )?;
    eventually("in front of what was written over us", || {
        Ok(machine.resolv_conf()?.contains(OURS))
    })
}

/// No user but its own, no capability but these, no way to any, and a filter of system calls.
fn is_confined(machine: &Machine, unit: &str, capabilities: &str) -> Told {
    for (field, expected) in [
        ("CapEff", capabilities),
        ("CapBnd", capabilities),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let found = machine.of_process(unit, field)?;
        ensure(
            found == expected,
            &format!("{field} of {unit} is {found}, not {expected}"),
        )?;
    }
    let user = machine.of_process(unit, "Uid")?;
    ensure(!user.starts_with('0'), "it runs as root")
}
