//! The servers that hostile clients are let loose on, each in front of the [`Upstream`] whose truth is known.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::Command,
    time::Duration,
};

use hickory_proto::rr::Name;
use ring::rand::SystemRandom;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use thiserror::Error;
use zzdot_zonegen::identity::{Identity, IdentityError};

use super::{
    good::{Good, Service},
    random::Random,
    stream::tls_config,
    truth::Question,
    upstream::Upstream,
    usage::Usage,
};
use crate::{
    process::{Process, ProcessError},
    products::{self, ProductsError},
    programs,
};

/// How long a server may take until it answers, on a busy machine.
const READY: Duration = Duration::from_secs(30);
/// How long a client may take until it has met its server.
const UPGRADED: Duration = Duration::from_secs(30);
/// The record type of zone keys.
const DNSKEY: u16 = 48;

/// Why there is no target.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No socket, file or folder.
    #[error("the target cannot be prepared: {0}")]
    Io(#[from] io::Error),
    /// The program under test is missing.
    #[error(transparent)]
    Products(#[from] ProductsError),
    /// Another's program is missing.
    #[error(transparent)]
    Programs(#[from] programs::Missing),
    /// It does not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// There is no identity for it.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A server under attack.
#[derive(Debug)]
pub struct Target {
    process: Process,
    service: Service,
    own_names: Vec<String>,
    lenient: bool,
    upstream: Upstream,
    // Last, so that it is removed when the process is gone.
    _folder: TempDir,
}

impl Target {
    /// `zzdot serve`, forwarding.
    ///
    /// # Errors
    /// It cannot be started, or does not answer.
    pub fn appliance() -> Result<Self, TargetError> {
        products::ensure_built()?;
        let folder = TempDir::new()?;
        let state = folder.path().join("state");
        let identity = new_identity(&state.join("identity"))?;
        let upstream = Upstream::start()?;
        let (dns, dot) = (free_address()?, free_address()?);
        let config = format!(
            "state-dir = {state:?}\n[listen]\ndns = [\"{dns}\"]\ndot = [\"{dot}\"]\n[resolve]\nmode = \"forward\"\nupstreams = [\"{}\"]\n",
            upstream.address()
        );
        let file = folder.path().join("zzdot.toml");
        fs::write(&file, config)?;
        let mut command = Command::new(products::find("zzdot")?);
        command.arg("serve").arg("--config").arg(file);
        let mut own_names = vec!["resolver-name.arpa".to_owned()];
        let name = identity.name().to_string();
        for label in ["", "server-type.", "_dns.", "no-such."] {
            own_names.push(format!("{label}{name}"));
        }
        own_names.push(format!("{name}.resolver-name.arpa"));
        own_names.push(format!("_{}._tcp.{name}", dot.port()));
        Self::start(
            "zzdot",
            command,
            dns,
            Some((dot, identity.certificate())),
            own_names,
            upstream,
            folder,
        )
    }

    /// unbound, forwarding the same: what is asked of the appliance must be possible.
    ///
    /// # Errors
    /// It cannot be started, or does not answer.
    pub fn unbound() -> Result<Self, TargetError> {
        let folder = TempDir::new()?;
        let identity_folder = folder.path().join("identity");
        let identity = new_identity(&identity_folder)?;
        let upstream = Upstream::start()?;
        let (dns, dot) = (free_address()?, free_address()?);
        let config = format!(
            "server:\n  username: \"\"\n  chroot: \"\"\n  directory: \"{folder}\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  \
             do-daemonize: no\n  verbosity: 1\n  num-threads: 1\n  interface: {dns_ip}@{dns_port}\n  interface: {dot_ip}@{dot_port}\n  \
             tls-port: {dot_port}\n  tls-service-key: \"{keys}/tls-key.pem\"\n  tls-service-pem: \"{keys}/certificate.pem\"\n  \
             access-control: 127.0.0.0/8 allow\n  do-not-query-localhost: no\n  edns-buffer-size: 1232\n  max-udp-size: 1232\n  \
             module-config: \"iterator\"\n  minimal-responses: yes\n  incoming-num-tcp: 1000\n\
             forward-zone:\n  name: \".\"\n  forward-addr: {upstream_ip}@{upstream_port}\nremote-control:\n  control-enable: no\n",
            folder = folder.path().display(),
            dns_ip = dns.ip(),
            dns_port = dns.port(),
            dot_ip = dot.ip(),
            dot_port = dot.port(),
            keys = identity_folder.display(),
            upstream_ip = upstream.address().ip(),
            upstream_port = upstream.address().port(),
        );
        let file = folder.path().join("unbound.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(programs::find("unbound")?);
        command.arg("-d").arg("-c").arg(file);
        let dot = Some((dot, identity.certificate()));
        let mut target = Self::start("unbound", command, dns, dot, Vec::new(), upstream, folder)?;
        target.lenient = true;
        Ok(target)
    }

    /// `zzdot-client run` with `resolver` as its server: a stub on loopback, which speaks UDP and TCP to its own
    /// machine only. It is given back when it has been upgraded.
    ///
    /// # Errors
    /// It cannot be started, does not answer, or was not upgraded.
    pub fn client(resolver: &Self) -> Result<Self, TargetError> {
        products::ensure_built()?;
        let folder = TempDir::new()?;
        let dns = free_address()?;
        let control = folder.path().join("control.sock");
        let config = format!(
            "state-dir = {:?}\ncontrol-socket = {control:?}\nlisten = [\"{dns}\"]\nserver = \"{}\"\n",
            folder.path().join("state"),
            resolver.service.dns
        );
        let file = folder.path().join("client.toml");
        fs::write(&file, config)?;
        let mut command = Command::new(products::find("zzdot-client")?);
        command.arg("run").arg("--config").arg(&file);
        // Answers come from the resolver's own upstream; this one is only for the type.
        let upstream = Upstream::start()?;
        let mut client = Self::start(
            "zzdot-client",
            command,
            dns,
            None,
            resolver.own_names.clone(),
            upstream,
            folder,
        )?;
        let upgraded = || {
            Command::new(products::find("zzdot-client")?)
                .args(["status", "--json", "--config"])
                .arg(&file)
                .output()
                .map_err(TargetError::from)
        };
        client
            .process
            .wait_until("upgrade in its status", UPGRADED, |_| {
                upgraded().is_ok_and(|output| {
                    String::from_utf8_lossy(&output.stdout).contains("\"strict\"")
                })
            })?;
        Ok(client)
    }

    /// How good clients reach it.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The names that it knows by itself.
    #[must_use]
    pub fn own_names(&self) -> &[String] {
        &self.own_names
    }

    /// Whether the form of its errors is not judged: unbound repeats what it could not read, with an error code.
    #[must_use]
    pub fn lenient(&self) -> bool {
        self.lenient
    }

    /// Where its other answers come from.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it holds now.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.id())
    }

    /// Everything it has said.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// A query with a long answer that costs it little: keys of its own where it has some.
    #[must_use]
    pub fn long_query(&self) -> Vec<u8> {
        let name = self
            .own_names
            .first()
            .map_or("big-0.truth.example", |name| name);
        let mut query = Question::new(name, DNSKEY).query(1);
        if self.own_names.is_empty() {
            query = Question::new(name, super::truth::rtype::TXT).query(1);
        }
        // DO, so that signatures come too.
        query.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0]);
        query[11] = 1;
        query
    }

    fn start(
        program: &str,
        command: Command,
        dns: SocketAddr,
        dot: Option<(SocketAddr, CertificateDer<'static>)>,
        own_names: Vec<String>,
        upstream: Upstream,
        folder: TempDir,
    ) -> Result<Self, TargetError> {
        let process = Process::start(program, command, folder.path().join("output"))?;
        let service = Service {
            dns,
            dot: dot.map(|(address, certificate)| (address, tls_config(certificate))),
        };
        let mut target = Self {
            process,
            service: service.clone(),
            own_names,
            lenient: false,
            upstream,
            _folder: folder,
        };
        // Readiness is an answer; of anything else before that the process's end would tell.
        target.process.wait_until("first answer", READY, |_| {
            Good::new(service.clone(), Ipv4Addr::LOCALHOST.into(), Random::new(0))
                .and_then(|mut good| good.ask_every_way())
                .is_ok()
        })?;
        Ok(target)
    }
}

fn new_identity(folder: &Path) -> Result<Identity, TargetError> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    let suffix =
        Name::from_ascii(zzdot_zonegen::owners::DEFAULT_SUFFIX).map_err(io::Error::other)?;
    Ok(Identity::create(folder, &suffix, &SystemRandom::new())?)
}

/// An address of loopback whose port is free for UDP and TCP. Another process could take it before it is used, and does
/// not: few use ports of this address.
fn free_address() -> io::Result<SocketAddr> {
    let address = Ipv4Addr::new(127, 0, 0, 53);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..20 {
        let tcp = TcpListener::bind((address, 0))?;
        match UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => return udp.local_addr(),
            Err(error) => last = error,
        }
    }
    Err(last)
}
