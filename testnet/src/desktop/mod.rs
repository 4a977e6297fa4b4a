//! A desktop: one machine with the real programs that manage networks and names, and a router that gives leases.
//!
//! Those programs would take over the machine that they are installed on. `scripts/packages` unpacks them instead, and
//! here they are laid over the box's `/usr` and `/etc`, with state of their own, so that each believes itself installed.

mod cases;
mod past;
mod portals;
mod resolvconf;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{getegid, geteuid},
};
use serde_json::Value;

use crate::{
    expect::{play_as_root, within},
    host::Host,
    lab::Lab,
    process::Process,
    products, programs, servers,
    story::{Failure, Told},
};

pub use cases::{Case, all, find};

/// The link between the desktop and its router, and the desktop's interface.
const LAN: &str = "lan";
const ROUTER: &str = "192.168.77.1";
/// Until a lease is there, a daemon has started, a change has been seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The machine.
pub(crate) struct Desktop {
    /// Ends before the lab does.
    running: Vec<(String, Process)>,
    machine: Host,
    router: Host,
    lab: Lab,
}

impl Desktop {
    /// The machine, its cable plugged in, and nothing running on it; and a router that gives leases and answers.
    fn build(folder: &Path) -> Result<Self, Failure> {
        lay_over()?;
        let mut lab = Lab::new(folder)?;
        lab.link(LAN)?;
        let (machine, router) = (lab.host("desktop")?, lab.host("router")?);
        lab.plug(&router, LAN, &[&format!("{ROUTER}/24")])?;
        lab.plug(&machine, LAN, &[])?;
        let mut desktop = Self {
            running: Vec::new(),
            machine,
            router,
            lab,
        };
        // Without a place for events of hardware, as in a container, nobody waits for them.
        desktop.run("mount", &["-t", "sysfs", "-o", "ro", "sysfs", "/sys"])?;
        desktop.serve_leases(&[])?;
        Ok(desktop)
    }

    /// The files of one more package over those that are there: of packages that exclude each other.
    fn lay_over_too(&self, package: &str) -> Told {
        let from = programs::unpacked_apart(package)?;
        for part in ["usr", "etc"] {
            let from = format!("{}/{part}/.", from.display());
            let to = format!("/run/lab/over-{part}");
            fs::create_dir_all(&to)?;
            self.run("cp", &["-a", &from, &to])?;
        }
        // `/etc` can be written to here, `/usr` not.
        self.run("cp", &["-a", "/run/lab/over-etc/.", "/etc/"])?;
        // Not one upon the other: the kernel takes two floors, and one may be below the box.
        umount2("/usr", MntFlags::MNT_DETACH)
            .map_err(|errno| Failure::new(format!("umount /usr: {errno}")))?;
        mount_usr(Some("/run/lab/over-usr"))
    }

    /// The router, answering every name with `192.0.2.80`, and naming itself as resolver in its leases.
    fn serve_leases(&mut self, more: &[&str]) -> Told {
        self.stop("dnsmasq");
        let mut options = vec![
            "--address=/#/192.0.2.80",
            "--dhcp-range=192.168.77.50,192.168.77.99,2m",
            "--dhcp-option=option:router,192.168.77.1",
            "--dhcp-authoritative",
            "--dhcp-leasefile=/run/lab/router.leases",
            "--no-ping",
            "--domain=lan",
        ];
        options.extend(more);
        let here = [SocketAddr::new(ROUTER.parse()?, 53)];
        let nowhere = "192.0.2.1:53".parse()?;
        let dnsmasq = servers::dnsmasq(&self.router, &here, nowhere, &options)?;
        self.running.push(("dnsmasq".into(), dnsmasq));
        Ok(())
    }

    /// A command on this machine: its network, and the box's files.
    fn command(&self, program: &str) -> Result<Command, Failure> {
        let mut command = Command::new(programs::find("nsenter")?);
        let network = crate::sandbox::namespace_path(self.machine.name());
        command
            .arg(format!("--net={}", network.display()))
            .arg("--");
        if program.contains('/') {
            command.arg(program);
        } else {
            command.arg(programs::find(program)?);
        }
        Ok(command)
    }

    /// Starts a program that stays.
    fn start(&mut self, label: &str, program: &str, arguments: &[&str]) -> Told {
        let mut command = self.command(program)?;
        command.args(arguments);
        let process = self.machine.start(label, command)?;
        self.running.push((label.into(), process));
        Ok(())
    }

    /// Kills a program.
    fn stop(&mut self, label: &str) {
        self.running.retain(|(name, _)| name != label);
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = self.command(program)?;
        Ok(command.args(arguments).stdin(Stdio::null()).output()?)
    }

    /// Runs a program to its end, which has to be a good one; gives back what it wrote.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, Failure> {
        let output = self.output(program, arguments)?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(out);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!(
            "{program} {}: {}: {out}{said}",
            arguments.join(" "),
            output.status
        )))
    }

    /// The same for our client.
    fn client(&self, arguments: &[&str]) -> Result<String, Failure> {
        let program = products::find("zzdot-client")?;
        self.run(&program.to_string_lossy(), arguments)
    }

    /// What our client says that this machine was told.
    fn told(&self) -> Result<Value, Failure> {
        Ok(serde_json::from_str(
            &self.client(&["front", "show", "--json"])?,
        )?)
    }

    /// Waits until it says what `holds` looks for.
    fn told_when(
        &self,
        awaited: &str,
        mut holds: impl FnMut(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let mut last = Value::Null;
        eventually(|| {
            last = self.told()?;
            Ok(holds(&last))
        })
        .map_err(|error| Failure::new(format!("{awaited}: {error}; last it said {last:#}")))?;
        Ok(last)
    }

    /// The daemon's bus, without which the others have nobody to talk to.
    fn start_bus(&mut self) -> Told {
        fs::create_dir_all("/run/dbus")?;
        let config = self.machine.write("bus.conf", BUS)?;
        let config = format!("--config-file={}", config.display());
        self.start(
            "dbus-daemon",
            "dbus-daemon",
            &[&config, "--nofork", "--nopidfile"],
        )?;
        eventually(|| Ok(Path::new("/run/dbus/system_bus_socket").exists()))
    }

    fn start_resolved(&mut self) -> Told {
        fs::create_dir_all("/run/systemd/resolve")?;
        self.start("systemd-resolved", "/usr/lib/systemd/systemd-resolved", &[])?;
        eventually(|| Ok(Path::new("/run/systemd/resolve/stub-resolv.conf").exists()))
    }

    fn start_networkd(&mut self, network: &str) -> Told {
        for folder in ["", "/links", "/leases", "/lldp"] {
            fs::create_dir_all(format!("/run/systemd/netif{folder}"))?;
        }
        fs::create_dir_all("/run/systemd/network")?;
        fs::write("/run/systemd/network/lan.network", network)?;
        self.start("systemd-networkd", "/usr/lib/systemd/systemd-networkd", &[])
    }

    fn start_network_manager(&mut self, config: &str) -> Told {
        fs::create_dir_all("/run/NetworkManager/conf.d")?;
        let config = self.machine.write("NetworkManager.conf", config)?;
        let config = format!("--config={}", config.display());
        self.start("NetworkManager", "NetworkManager", &["--debug", &config])
    }

    fn start_dhclient(&mut self) -> Told {
        fs::create_dir_all("/var/lib/dhcp")?;
        let leases = "/var/lib/dhcp/dhclient.lan.leases";
        self.start(
            "dhclient",
            "dhclient",
            &["-d", "-lf", leases, "-pf", "/run/dhclient.pid", LAN],
        )
    }

    /// Asks through the C library, as applications do.
    fn resolves(&self, name: &str) -> Result<bool, Failure> {
        let output = self.output("getent", &["ahostsv4", name])?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("192.0.2.80"))
    }
}

/// Waits until something holds.
fn eventually(holds: impl FnMut() -> Result<bool, Failure>) -> Told {
    within(PATIENCE, "what the case waits for", holds)
}

/// Plays a case; on failure the logs of all programs are shown. Call inside the box.
///
/// # Errors
/// What went wrong.
pub fn play(case: &Case, folder: &Path) -> Told {
    let reason = "NetworkManager and `front put` run as root only";
    play_as_root(reason, folder, || (case.play)(&mut Desktop::build(folder)?))
}

/// The unpacked programs over the box's own, with users and state that end with the box.
fn lay_over() -> Told {
    let root = programs::unpacked()?;
    for folder in ["/run/lab/etc", "/run/lab/work"] {
        fs::create_dir_all(folder)?;
    }
    let upper = "upperdir=/run/lab/etc,workdir=/run/lab/work,userxattr";
    let etc = format!("lowerdir={}:/etc,{upper}", root.join("etc").display());
    let name_service = fs::read("/etc/nsswitch.conf")?;
    let hosts = fs::read("/etc/hosts")?;
    for (kind, target, options) in [
        ("overlay", "/etc", etc.as_str()),
        ("tmpfs", "/var/lib", "mode=755"),
    ] {
        let mounted = mount(
            Some(kind),
            target,
            Some(kind),
            MsFlags::empty(),
            Some(options),
        );
        mounted.map_err(|errno| Failure::new(format!("mount {kind} on {target}: {errno}")))?;
    }
    mount_usr(None)?;
    // What the box had laid over single files is below the new folder.
    for (path, contents) in [("/etc/nsswitch.conf", name_service), ("/etc/hosts", hosts)] {
        replace(Path::new(path), &contents)?;
    }
    replace(Path::new("/etc/resolv.conf"), b"")?;
    replace(
        Path::new("/etc/machine-id"),
        b"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\n",
    )?;
    // In a namespace of one user there is nobody else to become.
    let (user, group) = (geteuid(), getegid());
    for (path, field) in [
        ("/etc/passwd", format!("{user}:{group}::/:/bin/false")),
        ("/etc/group", format!("{group}:")),
    ] {
        let text = fs::read_to_string(path)?;
        let own = |line: &&str| {
            !OWN_USERS
                .iter()
                .any(|user| line.starts_with(&format!("{user}:")))
        };
        let mut kept: String = text
            .lines()
            .filter(own)
            .map(|line| format!("{line}\n"))
            .collect();
        for user in OWN_USERS {
            kept.push_str(&format!("{user}:x:{field}\n"));
        }
        replace(Path::new(path), kept.as_bytes())?;
    }
    Ok(())
}

fn mount_usr(over: Option<&str>) -> Told {
    let root = programs::unpacked()?.join("usr");
    let over = over.map(|over| format!("{over}:")).unwrap_or_default();
    let lower = format!("lowerdir={over}{}:/usr", root.display());
    let kind = Some("overlay");
    mount(kind, "/usr", kind, MsFlags::empty(), Some(lower.as_str()))
        .map_err(|errno| Failure::new(format!("mount overlay on /usr: {errno}")))
}

/// Whom those programs want to be.
const OWN_USERS: [&str; 2] = ["systemd-resolve", "systemd-network"];

/// A new file in the place of one that may be a link out of the box.
fn replace(path: &Path, contents: &[u8]) -> Told {
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?
        .write_all(contents)?;
    Ok(())
}

/// A bus on which everybody may do everything: who may do what is not what is played here.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"#;
