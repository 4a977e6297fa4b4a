//! The resolvers, each with the configuration that makes it do the same work.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{Failure, OURS, Plan},
    asking,
    zones::{Internet, UPSTREAM},
};
use crate::{
    process::{POLL, Process},
    products, programs,
};

const READY: Duration = Duration::from_secs(20);
const PROBE: Duration = Duration::from_millis(250);

/// What a resolver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Asks another server, and validates nothing.
    Forward,
    /// Asks authorities from the root downwards, and validates.
    Recurse,
}

/// A resolver that answers.
pub(super) struct Running {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    process: Process,
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The configuration of a program, whose path comes first, and the command that starts it.
type Recipe = fn(&Path, &Path, SocketAddr, Mode, &Internet) -> Result<Command, Failure>;

/// Ours, other builds of it, and those of the others that are installed.
fn programs_of(plan: &Plan) -> Result<Vec<(String, PathBuf, Recipe)>, Failure> {
    let mut found: Vec<(String, PathBuf, Recipe)> =
        vec![(OURS.to_owned(), products::find("zzdot")?, ours)];
    for (name, folder) in &plan.builds {
        found.push((format!("{OURS}-{name}"), folder.join("zzdot"), ours));
    }
    let others: [(&str, Recipe); 2] = [("unbound", unbound), ("kresd", kresd)];
    for (name, recipe) in others {
        if let (true, Ok(path)) = (plan.wants_program(name), programs::find(name)) {
            found.push((name.to_owned(), path, recipe));
        }
    }
    Ok(found)
}

/// Starts them, and waits until they answer.
pub(super) fn start(plan: &Plan, mode: Mode, internet: &Internet) -> Result<Vec<Running>, Failure> {
    let mut running = Vec::new();
    for (number, (name, program, recipe)) in programs_of(plan)?.into_iter().enumerate() {
        // The loopback is the box's own: any port is free.
        let port = match mode {
            Mode::Forward => 6_100,
            Mode::Recurse => 6_200,
        } + 10 * u16::try_from(number)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let folder = plan.folder.join("cold").join(format!("{name}-{mode:?}"));
        fs::create_dir_all(&folder)?;
        let command = recipe(&program, &folder, address, mode, internet)?;
        let log = folder.join("log");
        let mut process = plan
            .cpus
            .on_tested(|| Process::start(&format!("{name} ({mode:?})"), command, log))??;
        let deadline = Instant::now() + READY;
        while !asking::is_answering(address, PROBE)? {
            process.check_running("an answer")?;
            if Instant::now() >= deadline {
                return Err(Failure::new(format!("{name} does not answer")));
            }
            thread::sleep(POLL);
        }
        running.push(Running {
            name,
            address,
            process,
        });
    }
    Ok(running)
}

fn ours(
    program: &Path,
    folder: &Path,
    address: SocketAddr,
    mode: Mode,
    internet: &Internet,
) -> Result<Command, Failure> {
    let resolve = match mode {
        Mode::Forward => format!("mode = \"forward\"\nupstreams = [\"{UPSTREAM}\"]\n"),
        Mode::Recurse => format!(
            "mode = \"recursive\"\nroot-hints = {:?}\ntrust-anchor = {:?}\n",
            internet.root_hints, internet.trust_anchor
        ),
    };
    let dot = SocketAddr::new(address.ip(), address.port() + 1);
    let config = folder.join("config.toml");
    fs::write(
        &config,
        format!(
            "state-dir = {:?}\n[listen]\ndns = [\"{address}\"]\ndot = [\"{dot}\"]\n[resolve]\n{resolve}",
            folder.join("state")
        ),
    )?;
    let mut command = Command::new(program);
    command.args(["serve", "--config"]).arg(config);
    Ok(command)
}

fn unbound(
    program: &Path,
    folder: &Path,
    address: SocketAddr,
    mode: Mode,
    internet: &Internet,
) -> Result<Command, Failure> {
    let (mine, rest) = match mode {
        Mode::Forward => (
            "  module-config: \"iterator\"\n".to_owned(),
            format!("forward-zone:\n  name: \".\"\n  forward-addr: {UPSTREAM}\n"),
        ),
        Mode::Recurse => (
            format!(
                "  trust-anchor-file: {:?}\n  root-hints: {:?}\n",
                internet.trust_anchor, internet.root_hints
            ),
            String::new(),
        ),
    };
    let config = folder.join("unbound.conf");
    fs::write(
        &config,
        format!(
            "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  do-daemonize: no\n  \
             num-threads: 1\n  verbosity: 0\n  edns-buffer-size: 1232\n  access-control: 127.0.0.0/8 allow\n  \
             interface: {}@{}\n{mine}remote-control:\n  control-enable: no\n{rest}",
            address.ip(),
            address.port()
        ),
    )?;
    let mut command = Command::new(program);
    command.args(["-d", "-p", "-c"]).arg(config);
    Ok(command)
}

fn kresd(
    program: &Path,
    folder: &Path,
    address: SocketAddr,
    mode: Mode,
    internet: &Internet,
) -> Result<Command, Failure> {
    let rest = match mode {
        Mode::Forward => format!("policy.add(policy.all(policy.FORWARD('{UPSTREAM}')))\n"),
        Mode::Recurse => format!(
            "trust_anchors.add([[{}]])\nmodules.load('hints')\nhints.root_file({:?})\n",
            internet.anchor.trim(),
            internet.root_hints
        ),
    };
    let config = folder.join("kresd.conf");
    fs::write(
        &config,
        format!(
            "net.listen('{}', {}, {{ kind = 'dns' }})\ncache.open(100*MB, 'lmdb://{}/cache')\ntrust_anchors.remove('.')\n\
             modules.unload('ta_signal_query')\nmodules.unload('ta_update')\nmodules.unload('priming')\n\
             modules.unload('detect_time_jump')\nmodules.unload('detect_time_skew')\n{rest}",
            address.ip(),
            address.port(),
            folder.display()
        ),
    )?;
    let mut command = Command::new(program);
    command.args(["-n", "-q", "-c"]).arg(config).arg(folder);
    Ok(command)
}
