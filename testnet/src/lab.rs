//! A lab: hosts, the links between them, and a capture on every link.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::unistd::geteuid;
use thiserror::Error;

use crate::{
    capture::{Capture, CaptureError},
    host::Host,
    process::{Process, ProcessError},
    programs::{self, Missing},
};

/// The room that a capture has for a frame, in octets: the smaller, the more frames its buffer holds. Larger ones do
/// not occur, since nothing on a lab's cards joins segments; one that is cut would be an error.
const FRAME: &str = "2048";
const CAPTURE_READY: Duration = Duration::from_secs(10);

/// What can go wrong while a lab is built or taken apart.
#[derive(Debug, Error)]
pub enum LabError {
    /// A program is not installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A program misbehaved.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A capture cannot be read, or is no proof.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A program could not be run.
    #[error("cannot run {program}: {source}")]
    Run {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// `ip` refused.
    #[error("ip refused to {what}: {said}")]
    Network {
        /// What was asked of it.
        what: String,
        /// Its answer.
        said: String,
    },
    /// A file of the lab.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LabError {
    pub(crate) fn file(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File {
            path: path.clone(),
            source,
        }
    }
}

/// A bridge, and the capture on it. Everything that passes between two hosts of a link is seen there.
#[derive(Debug)]
pub struct Link {
    name: String,
    file: PathBuf,
    tcpdump: Option<Process>,
}

impl Link {
    /// Its name, which is the interface's name on every host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Hosts and links. Dropped, it ends its captures; the rest goes with the box (see [`crate::sandbox`]).
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    hosts: BTreeMap<String, Host>,
    links: BTreeMap<String, Link>,
    /// Hardware address to host: who sent a frame, whatever its source address claims.
    cards: BTreeMap<[u8; 6], String>,
    /// The number of each card that is plugged in, by host and by its name there.
    plugs: BTreeMap<(String, String), u8>,
}

impl Lab {
    /// An empty lab that keeps its files in `folder`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(folder: &Path) -> Result<Self, LabError> {
        fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        Ok(Self {
            folder: folder.to_owned(),
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            cards: BTreeMap::new(),
            plugs: BTreeMap::new(),
        })
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new host.
    ///
    /// # Errors
    /// `ip` refused.
    pub fn host(&mut self, name: &str) -> Result<Host, LabError> {
        ip(None, &format!("netns add {name}\n"))?;
        ip(Some(name), "link set lo up\n")?;
        let host = Host::new(name, self.folder.join(name))?;
        self.hosts.insert(name.to_owned(), host.clone());
        Ok(host)
    }

    /// A new link, with its capture running.
    ///
    /// # Errors
    /// `ip` or `tcpdump` refused.
    pub fn link(&mut self, name: &str) -> Result<(), LabError> {
        // Snooping would hold back the neighbour discovery of hosts that have just come up.
        ip(
            None,
            &format!(
                "link add {name} type bridge mcast_snooping 0\nlink set {name} addrgenmode none\nlink set {name} up\n"
            ),
        )?;
        let file = self.folder.join(format!("{name}.pcap"));
        let mut command = Command::new(programs::find("tcpdump")?);
        command.args([
            "-i",
            name,
            "-n",
            "-U",
            "--immediate-mode",
            "-s",
            FRAME,
            "-B",
            "32768",
        ]);
        if geteuid().is_root() {
            // It would become a user who may not write here.
            command.args(["-Z", "root"]);
        }
        command.arg("-w").arg(&file);
        let mut tcpdump = Process::start(
            &format!("tcpdump on {name}"),
            command,
            self.folder.join(format!("{name}.tcpdump.log")),
        )?;
        tcpdump.wait_for_line("listening on", CAPTURE_READY)?;
        self.links.insert(
            name.to_owned(),
            Link {
                name: name.to_owned(),
                file,
                tcpdump: Some(tcpdump),
            },
        );
        Ok(())
    }

    /// Plugs a host into a link, with addresses in prefix notation.
    ///
    /// # Errors
    /// `ip` refused.
    ///
    /// # Panics
    /// After 255 plugs.
    pub fn plug(&mut self, host: &Host, link: &str, addresses: &[&str]) -> Result<(), LabError> {
        self.plug_as(host, link, link, addresses)
    }

    /// The same with a card of another name than the link's.
    ///
    /// # Errors
    /// `ip` refused.
    ///
    /// # Panics
    /// After 255 plugs.
    pub fn plug_as(
        &mut self,
        host: &Host,
        link: &str,
        card_name: &str,
        addresses: &[&str],
    ) -> Result<(), LabError> {
        let number = u8::try_from(self.cards.len() + 1).expect("a lab has fewer than 256 plugs");
        let card = [0x02, 0x5a, 0x5a, 0, 0, number];
        let hardware = card.map(|byte| format!("{byte:02x}")).join(":");
        let name = host.name();
        let port = format!("port{number}");
        ip(
            None,
            &format!(
                "link add {port} type veth peer name {card_name} address {hardware} netns {name}\n\
                 link set {port} addrgenmode none gso_max_segs 1\nlink set {port} master {link} up\n"
            ),
        )?;
        // Without a link-local address of its own, a router cannot look for its neighbours (RFC 4861 7.2.2).
        let local = format!("fe80::{number:x}/64");
        let mut script = format!("link set {card_name} addrgenmode none gso_max_segs 1\n");
        for address in addresses.iter().copied().chain([local.as_str()]) {
            // Without duplicate address detection an address serves at once.
            let detection = if address.contains(':') { " nodad" } else { "" };
            script += &format!("addr add {address} dev {card_name}{detection}\n");
        }
        script += &format!("link set {card_name} up\n");
        ip(Some(name), &script)?;
        self.cards.insert(card, name.to_owned());
        self.plugs
            .insert((name.to_owned(), card_name.to_owned()), number);
        Ok(())
    }

    /// Takes a card out, as one does with an adapter: addresses and routes go with it.
    ///
    /// # Errors
    /// There is none, or `ip` refused.
    pub fn unplug(&mut self, host: &Host, card_name: &str) -> Result<(), LabError> {
        let key = (host.name().to_owned(), card_name.to_owned());
        let number = self.plugs.remove(&key).ok_or_else(|| LabError::Network {
            what: format!("unplug {card_name} of {}", host.name()),
            said: "it is not plugged in".to_owned(),
        })?;
        ip(None, &format!("link del port{number}\n"))
    }

    /// Runs steps of `ip` on a host, one a line.
    ///
    /// # Errors
    /// `ip` refused.
    pub fn change(&self, host: &Host, steps: &str) -> Result<(), LabError> {
        ip(Some(host.name()), steps)
    }

    /// A route on a host: `default` or a prefix, and where to.
    ///
    /// # Errors
    /// `ip` refused.
    pub fn route(&self, host: &Host, prefix: &str, via: &str) -> Result<(), LabError> {
        ip(
            Some(host.name()),
            &format!("route add {prefix} via {via}\n"),
        )
    }

    /// Lets a host pass on packets of others.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn forward_packets(&self, host: &Host) -> Result<(), LabError> {
        for file in [
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/net/ipv6/conf/all/forwarding",
        ] {
            host.within(|| fs::write(file, "1"))
                .map_err(LabError::file(Path::new(file)))?;
        }
        Ok(())
    }

    /// A host by name.
    #[must_use]
    pub fn find_host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// What the capture on a link holds so far: to know whether it is worth going on, and no proof of anything, since
    /// what was seen last may still be on its way into the file.
    ///
    /// # Errors
    /// There is no such link, or the file cannot be read.
    pub fn capture_so_far(&self, link: &str) -> Result<Capture, LabError> {
        let found = self.links.get(link).ok_or_else(|| CaptureError::NoLink {
            link: link.to_owned(),
        })?;
        Ok(Capture::read(&found.name, &found.file, &self.cards)?)
    }

    /// Ends the capture on a link and reads it.
    ///
    /// # Errors
    /// The kernel dropped packets, so that the capture proves nothing; or the file cannot be read.
    pub fn end_capture(&mut self, link: &str) -> Result<Capture, LabError> {
        let link = self
            .links
            .get_mut(link)
            .ok_or_else(|| CaptureError::NoLink {
                link: link.to_owned(),
            })?;
        if let Some(tcpdump) = link.tcpdump.take() {
            let log = self.folder.join(format!("{}.tcpdump.log", link.name));
            tcpdump.end()?;
            let said = fs::read_to_string(&log).map_err(LabError::file(&log))?;
            if !said.contains("0 packets dropped by kernel") {
                return Err(CaptureError::Incomplete {
                    link: link.name.clone(),
                    said,
                }
                .into());
            }
        }
        Ok(Capture::read(&link.name, &link.file, &self.cards)?)
    }
}

/// Several steps in one run of `ip`, in the box's own network or a host's.
fn ip(host: Option<&str>, script: &str) -> Result<(), LabError> {
    let failed = |source| LabError::Run {
        program: "ip".into(),
        source,
    };
    let mut command = Command::new(programs::find("ip")?);
    if let Some(host) = host {
        command.args(["-n", host]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Network {
        what: format!(
            "{}{script}",
            host.map(|host| format!("(on {host}) ")).unwrap_or_default()
        ),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
