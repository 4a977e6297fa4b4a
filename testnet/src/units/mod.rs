//! A machine whose first process is the real systemd, with the units as they are shipped; and a router.
//!
//! It has namespaces of every kind of its own, and a control group. Its `/etc` and `/var` are its disks: they survive a
//! power cut, which ends everything else between two instructions.

mod boot;
mod cases;

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;

use crate::{
    ask::{Question, ask},
    expect::{play_as_root, within},
    host::Host,
    lab::Lab,
    process::Process,
    products, programs,
    sandbox::namespace_path,
    servers,
    story::{Failure, Told},
};

pub use boot::boot;
pub use cases::{CASES, Case, find};

use boot::ControlGroup;

/// The link between the machine and its router, and the interface of both.
const LAN: &str = "lan";
const MACHINE: &str = "192.168.78.2";
const ROUTER: &str = "192.168.78.1";
/// What the router's upstream says of every name.
const ANSWER: &str = "192.0.2.80";
/// Whose configuration names no folder.
const CONFIG: &str = "/etc/zzdot/zzdot-client.toml";
/// Until a machine has booted, a unit has changed its state, a file its contents.
const PATIENCE: Duration = Duration::from_secs(30);
/// Until the kernel has ended what was killed.
const KILLED: Duration = Duration::from_secs(5);

/// The machine.
pub(crate) struct Machine {
    /// Ends before its control group does, and both before the lab.
    power: Option<Power>,
    folder: PathBuf,
    host: Host,
    router: Host,
    _running: Vec<Process>,
    _lab: Lab,
}

/// What there is while it runs.
struct Power {
    /// The first process, as the box numbers it.
    first: u32,
    unshare: Process,
    group: ControlGroup,
}

impl Machine {
    /// Installed, its cable plugged in, and switched off; and a router with the appliance on it.
    fn build(folder: &Path) -> Result<Self, Failure> {
        let mut lab = Lab::new(folder)?;
        lab.link(LAN)?;
        let (host, router) = (lab.host("machine")?, lab.host("router")?);
        lab.plug(&router, LAN, &[&format!("{ROUTER}/24")])?;
        lab.plug(&host, LAN, &[&format!("{MACHINE}/24")])?;
        lab.route(&host, "default", ROUTER)?;
        boot::install(host.folder())?;
        let behind: SocketAddr = "127.0.0.1:5335".parse()?;
        let every_name = format!("--address=/#/{ANSWER}");
        let dnsmasq = servers::dnsmasq_alone(&router, &[behind], &[&every_name])?;
        let appliance = products::Appliance {
            host: &router,
            label: "zzdot",
            dns: &[SocketAddr::new(ROUTER.parse()?, 53)],
            dot: &[SocketAddr::new(ROUTER.parse()?, 853)],
            resolve: "mode = \"local\"\nupstreams = [\"127.0.0.1:5335\"]\nserver-type = \"resolver\"",
        };
        let appliance = appliance.start()?;
        let folder = host.folder().to_owned();
        Ok(Self {
            power: None,
            folder,
            host,
            router,
            _running: vec![dnsmasq, appliance],
            _lab: lab,
        })
    }

    /// Switches it on, and waits until all of it has started or failed.
    fn boot(&mut self) -> Told {
        let group = ControlGroup::new()?;
        let mut command = Command::new(programs::find("nsenter")?);
        let network = namespace_path(self.host.name());
        command
            .arg(format!("--net={}", network.display()))
            .arg("--")
            .arg(programs::find("unshare")?)
            .args(["--mount", "--uts", "--ipc", "--pid", "--fork"])
            .args(["--kill-child", "--"])
            .arg(env::current_exe()?)
            .arg("boot")
            .args([&self.folder, group.path()]);
        let mut unshare = self.host.start("systemd", command)?;
        let first = first_child(&mut unshare)?;
        self.power = Some(Power {
            first,
            unshare,
            group,
        });
        eventually("a machine that has booted", || {
            let output = self.output("systemctl", &["is-system-running", "--wait"])?;
            let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let booted = state == "running" || state == "degraded";
            if !booted && let Some(power) = &mut self.power {
                power.unshare.check_running("the end of the boot")?;
            }
            Ok(booted)
        })?;
        // Where units wait for each other, one of them is left out, and not always the same.
        let words = fs::read_to_string(self.folder.join(boot::WORDS))?;
        let circles: Vec<_> = words
            .lines()
            .filter(|line| line.contains("cycle"))
            .collect();
        if circles.is_empty() {
            return Ok(());
        }
        Err(Failure::new(circles.join("\n")))
    }

    /// The cable to the wall is pulled.
    fn cut_power(&mut self) -> Told {
        let Some(power) = self.power.take() else {
            return Ok(());
        };
        power.group.kill()?;
        within(KILLED, "everything ended", || Ok(power.group.is_empty()))?;
        drop(power.unshare);
        Ok(())
    }

    /// A command in all of the machine's namespaces.
    fn command(&self, program: &str, arguments: &[&str]) -> Result<Command, Failure> {
        let power = self.power.as_ref();
        let first = power
            .ok_or_else(|| Failure::new("the machine is off"))?
            .first;
        let mut command = Command::new(programs::find("nsenter")?);
        command
            .args(["--target", &first.to_string()])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--", program])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .env("HOME", "/root")
            // While resolved starts, a question is lost; five seconds would pass before it is asked again.
            .env("RES_OPTIONS", "timeout:1")
            .stdin(Stdio::null());
        Ok(command)
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Result<Output, Failure> {
        Ok(self.command(program, arguments)?.output()?)
    }

    /// Runs a program to its end, which has to be a good one; gives back what it wrote.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, Failure> {
        let output = self.output(program, arguments)?;
        let out = String::from_utf8_lossy(&output.stdout).trim().to_owned();
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

    /// A property of a unit.
    fn property(&self, unit: &str, name: &str) -> Result<String, Failure> {
        self.run("systemctl", &["show", "--property", name, "--value", unit])
    }

    /// When something happened to a unit, in microseconds since the machine around the lab has started.
    fn moment(&self, unit: &str, name: &str) -> Result<u64, Failure> {
        Ok(self.property(unit, name)?.parse()?)
    }

    /// Questions that the client has asked over TLS since it has started; one in cleartext is a failure.
    fn encrypted(&self) -> Result<u64, Failure> {
        let status = self.run("zzdot-client", &["status", "--json", "--config", CONFIG])?;
        let status: Value = serde_json::from_str(&status)?;
        let queries = &status["queries"];
        if queries["cleartext"].as_u64().unwrap_or_default() != 0 {
            return Err(Failure::new(format!("in cleartext: {status:#}")));
        }
        Ok(queries["encrypted"].as_u64().unwrap_or_default())
    }

    /// Waits until a property of a unit has a value.
    fn becomes(&self, unit: &str, name: &str, value: &str) -> Told {
        let mut last = String::new();
        eventually(&format!("{name} of {unit} is {value}"), || {
            last = self.property(unit, name)?;
            Ok(last == value)
        })
        .map_err(|error| Failure::new(format!("{error}; it is {last}")))
    }

    /// A line of `/proc/PID/status` of a unit's main process.
    fn of_process(&self, unit: &str, field: &str) -> Result<String, Failure> {
        let process = self.property(unit, "MainPID")?;
        let status = self.run("cat", &[&format!("/proc/{process}/status")])?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
            .ok_or_else(|| Failure::new(format!("no {field} of {unit}: {status}")))
    }

    /// A file of its disks, which are there when it is off, too.
    fn on_disk(&self, path: &str) -> PathBuf {
        self.folder.join("disk").join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, contents: &str) -> Told {
        let path = self.on_disk(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(file.write_all(contents.as_bytes())?)
    }

    /// What its applications are told to ask.
    fn resolv_conf(&self) -> Result<String, Failure> {
        self.run("cat", &["/etc/resolv.conf"])
    }

    /// Asks through the C library, as applications do.
    fn resolves(&self, name: &str) -> Result<bool, Failure> {
        let output = self.output("getent", &["ahostsv4", name])?;
        Ok(String::from_utf8_lossy(&output.stdout).contains(ANSWER))
    }

    /// Somebody on another machine of this network asks this one.
    fn neighbour_asks(&self, name: &str) -> Told {
        let server = SocketAddr::new(MACHINE.parse()?, 53);
        answered(&self.router, server, name)
    }

    /// One of its own applications asks the loopback.
    fn asks_itself(&self, name: &str) -> Told {
        let server = SocketAddr::from(([127, 0, 0, 1], 53));
        answered(&self.host, server, name)
    }

    /// What it wrote into its journal goes where logs are looked for.
    fn keep_journal(&self) {
        if let Ok(output) = self.output("journalctl", &["--no-pager", "--output=short-monotonic"]) {
            let _ = fs::write(self.folder.join("journal.log"), output.stdout);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // What cannot be killed now is killed with the box.
        let _ = self.cut_power();
    }
}

fn answered(host: &Host, server: SocketAddr, name: &str) -> Told {
    let mut name: Name = name.parse()?;
    name.set_fqdn(true);
    let question = Question::new(&name, RecordType::A);
    let answer = host.within(|| ask(server, &question))?.to_string();
    if answer.contains(ANSWER) {
        return Ok(());
    }
    Err(Failure::new(format!("{server} said of {name}: {answer}")))
}

/// The process that another has started, as soon as it has.
fn first_child(parent: &mut Process) -> Result<u32, Failure> {
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let mut first = None;
    eventually("a first process", || {
        parent.check_running("its child")?;
        first = fs::read_to_string(&children)?
            .split_ascii_whitespace()
            .next()
            .and_then(|number| number.parse().ok());
        Ok(first.is_some())
    })?;
    first.ok_or_else(|| Failure::new("no first process"))
}

/// Waits until something holds.
fn eventually(awaited: &str, holds: impl FnMut() -> Result<bool, Failure>) -> Told {
    within(PATIENCE, awaited, holds)
}

/// Plays a case; on failure the logs of all programs are shown. Call inside the box.
///
/// # Errors
/// What went wrong.
pub fn play(case: &Case, folder: &Path) -> Told {
    play_as_root(
        "the service manager of a machine runs as root only",
        folder,
        || {
            let mut machine = Machine::build(folder)?;
            let told = (case.play)(&mut machine);
            if told.is_err() {
                machine.keep_journal();
            }
            told
        },
    )
}
