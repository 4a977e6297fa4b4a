//! Today's name servers, with the least configuration that makes them what a story calls for.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    ask::wait_until_answering,
    host::Host,
    internet::{Internet, InternetError},
    lab::LabError,
    process::Process,
};

/// How long a server may take until it answers, on a busy machine.
pub const READY: Duration = Duration::from_secs(20);

/// NSD: authoritative, for these zones.
///
/// # Errors
/// It cannot be started.
pub fn nsd(
    host: &Host,
    addresses: &[&str],
    zones: impl Iterator<Item = (String, PathBuf)>,
) -> Result<Process, LabError> {
    let folder = host.folder().display();
    let mut config = format!(
        "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: \"\"\n  zonelistfile: \"{folder}/zone.list\"\n  \
         xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  server-count: 1\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n"
    );
    for address in addresses {
        let _ = writeln!(config, "  ip-address: {address}");
    }
    config += "remote-control:\n  control-enable: no\n";
    for (origin, file) in zones {
        let _ = writeln!(
            config,
            "zone:\n  name: \"{origin}\"\n  zonefile: \"{}\"",
            file.display()
        );
    }
    let config = host.write("nsd.conf", &config)?;
    let mut command = host.command("nsd")?;
    command.args(["-d", "-c"]).arg(config);
    host.start("nsd", command)
}

/// Where unbound finds answers.
#[derive(Clone, Copy, Debug)]
pub enum UnboundSource<'a> {
    /// It recurses into the lab's internet, and validates.
    Internet(&'a Internet),
    /// It forwards to another resolver, and validates.
    Forward(&'a Internet, IpAddr),
}

/// unbound: what a careful provider or household runs today; `extra` is appended to the `server:` clause and may open
/// others.
///
/// # Errors
/// It cannot be started, or does not answer.
pub fn unbound(
    host: &Host,
    listen: &[SocketAddr],
    source: UnboundSource<'_>,
    extra: &str,
) -> Result<Process, InternetError> {
    let (UnboundSource::Internet(internet) | UnboundSource::Forward(internet, _)) = source;
    let mut config = String::from(
        "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  do-daemonize: no\n  num-threads: 1\n  \
         verbosity: 1\n  ede: yes\n  val-log-level: 1\n  edns-buffer-size: 1232\n  do-not-query-localhost: no\n  access-control: 0.0.0.0/0 allow\n  \
         access-control: ::/0 allow\n",
    );
    for address in listen {
        let _ = writeln!(config, "  interface: {}@{}", address.ip(), address.port());
    }
    let _ = writeln!(
        config,
        "  trust-anchor-file: \"{}\"",
        internet.trust_anchor().display()
    );
    let _ = writeln!(
        config,
        "  root-hints: \"{}\"",
        internet.root_hints().display()
    );
    config += extra;
    config += "\nremote-control:\n  control-enable: no\n";
    if let UnboundSource::Forward(_, upstream) = source {
        let _ = writeln!(
            config,
            "forward-zone:\n  name: \".\"\n  forward-addr: {upstream}"
        );
    }
    start_unbound(host, &host.write("unbound.conf", &config)?, listen)
}

/// unbound with a configuration that exists.
///
/// # Errors
/// It cannot be started, or does not answer.
pub fn start_unbound(
    host: &Host,
    config: &Path,
    listen: &[SocketAddr],
) -> Result<Process, InternetError> {
    let mut command = host.command("unbound")?;
    command.args(["-d", "-p", "-c"]).arg(config);
    serving(host, host.start("unbound", command)?, listen)
}

/// dnsmasq: the forwarder in most routers of today; `extra` arguments are appended.
///
/// # Errors
/// It cannot be started, or does not answer.
pub fn dnsmasq(
    host: &Host,
    listen: &[SocketAddr],
    upstream: SocketAddr,
    extra: &[&str],
) -> Result<Process, InternetError> {
    let server = format!("--server={}#{}", upstream.ip(), upstream.port());
    let extra: Vec<&str> = [server.as_str()]
        .into_iter()
        .chain(extra.iter().copied())
        .collect();
    dnsmasq_alone(host, listen, &extra)
}

/// The same without an upstream: it answers what `extra` says, by itself.
///
/// # Errors
/// As [`dnsmasq`].
pub fn dnsmasq_alone(
    host: &Host,
    listen: &[SocketAddr],
    extra: &[&str],
) -> Result<Process, InternetError> {
    let mut command = dnsmasq_command(host)?;
    for address in listen {
        command
            .arg(format!("--listen-address={}", address.ip()))
            .arg(format!("--port={}", address.port()));
    }
    command.args(extra);
    serving(host, host.start("dnsmasq", command)?, listen)
}

/// dnsmasq with nothing of the machine's own configuration.
pub(crate) fn dnsmasq_command(host: &Host) -> Result<Command, InternetError> {
    let mut command = host.command("dnsmasq")?;
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--user=root",
        "--group=",
        "--pid-file=",
        "--log-facility=-",
    ]);
    Ok(command)
}

/// Waits until a program answers on all its addresses.
fn serving(
    host: &Host,
    mut process: Process,
    listen: &[SocketAddr],
) -> Result<Process, InternetError> {
    for address in listen {
        wait_until_answering(host, *address, READY, || {
            process
                .check_running("an answer")
                .map_err(|error| InternetError::Lab(error.into()))
        })?;
    }
    Ok(process)
}
