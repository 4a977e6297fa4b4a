//! What the tests with real programs share: identities on disk, servers as children, questions.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use ring::rand::{SecureRandom, SystemRandom};
use tempfile::TempDir;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::command::{Cli, Env};
use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::master_file;
use zzdot_zonegen::owners::anchor_zone;
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::publish;
use zzdot_zonegen::signed_zone::SignedZone;
use zzdot_zonegen::trust_anchor::{bind_trust_anchors, trust_anchor_text};
use zzdot_zonegen::upstream::PublishedUpstream;
use zzdot_zonegen::zone::{Publication, ServerType};

/// How long a server may take to come up, or a program to end. Never waited for in full unless
/// something is broken.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A program of the system; its absence fails the test with the cure.
pub fn program(name: &str, package: &str) -> Command {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"];
    let found = folders
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists());
    let path = found.unwrap_or_else(|| panic!("{name} is missing: apt-get install {package}"));
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).env("LC_ALL", "C");
    command
}

/// Runs a program to its end and returns what it printed; panics when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = printed(&output);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}",
        output.status
    );
    text
}

pub fn printed(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}{err}")
}

/// An identity with its zones on disk, and ports of its own. The address is the one that each
/// loopback interface has: BIND listens on no other of its network.
pub struct Lab {
    pub folder: TempDir,
    pub identity: Identity,
    pub address: IpAddr,
    pub dns_port: u16,
    pub dot_port: u16,
}

impl Lab {
    pub fn new() -> Self {
        Self::below("zz.")
    }

    /// As [`Lab::new`], with a name below this.
    pub fn below(suffix: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("zzdot-").tempdir().unwrap();
        let dir = folder.path().join("identity");
        let suffix = Name::from_ascii(suffix).unwrap();
        let identity = Identity::create(&dir, &suffix, &SystemRandom::new()).unwrap();
        let lab = Self {
            folder,
            identity,
            address: Ipv4Addr::LOCALHOST.into(),
            dns_port: free_port(),
            dot_port: free_port(),
        };
        lab.zonegen(&format!("zones @identity --out @zones {}", lab.service()));
        fs::write(lab.path("anchors.bind"), bind_trust_anchors(&lab.identity)).unwrap();
        fs::write(lab.path("anchors.zone"), trust_anchor_text(&lab.identity)).unwrap();
        lab
    }

    /// As [`Lab::new`], and the zone says whom its owner asks.
    pub fn forwarder(upstreams: Vec<PublishedUpstream>) -> Self {
        Self::new().asking(upstreams)
    }

    /// The zone says whom its owner asks.
    pub fn asking(self, upstreams: Vec<PublishedUpstream>) -> Self {
        let lab = self;
        let stamp = Stamp::advance(&lab.path("identity"), UnixTime::now()).unwrap();
        let publication = Publication {
            server_type: ServerType::Forwarder,
            addresses: vec![lab.address],
            dot_port: lab.dot_port,
            upstreams,
        };
        let published = publish(&lab.identity, &publication, &stamp).unwrap();
        for zone in [published.name_zone, published.anchor_zone] {
            let file = lab.zone_file(zone.origin());
            fs::write(file, master_file::write_zone(&zone)).unwrap();
        }
        lab
    }

    pub fn service(&self) -> String {
        format!("--address {} --dot-port {}", self.address, self.dot_port)
    }

    /// Runs a command of zzdot-zonegen; `@x` stands for a path below the lab's folder.
    pub fn zonegen(&self, line: &str) -> String {
        use clap::Parser;
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).display().to_string(),
            None => word.to_owned(),
        });
        let mut out = Vec::new();
        let mut env = Env {
            now: UnixTime::now(),
            rng: &SystemRandom::new(),
            out: &mut out,
        };
        Cli::try_parse_from(std::iter::once("zzdot-zonegen".to_owned()).chain(words))
            .unwrap()
            .run(&mut env)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn origins(&self) -> [Name; 2] {
        [self.identity.name().as_name().clone(), anchor_zone()]
    }

    /// The zone file of `origin`.
    pub fn zone_file(&self, origin: &Name) -> PathBuf {
        self.path("zones")
            .join(format!("{}zone", origin.to_ascii()))
    }

    /// Both zones as they stand in their files.
    pub fn zones(&self) -> [SignedZone; 2] {
        self.origins().map(|origin| {
            let text = fs::read_to_string(self.zone_file(&origin)).unwrap();
            SignedZone::from_records(master_file::read(&text, None).unwrap()).unwrap()
        })
    }

    pub fn dns(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.dns_port)
    }

    /// The address and port of plain DNS as most configurations have it.
    pub fn listen(&self) -> String {
        format!("{}@{}", self.address, self.dns_port)
    }

    pub fn dot(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.dot_port)
    }

    /// Starts a server and waits until it answers for both zones.
    pub fn start(&self, command: Command) -> Server {
        self.start_at(command, self.dns())
    }

    /// As [`Lab::start`], for a server that listens elsewhere.
    pub fn start_at(&self, mut command: Command, address: SocketAddr) -> Server {
        let log = self.path(&format!("server-{}.log", address.port()));
        let file = File::create(&log).unwrap();
        command
            .current_dir(self.folder.path())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        let child = command.spawn().unwrap();
        let mut server = Server { child, log };
        let deadline = Instant::now() + DEADLINE;
        for origin in self.origins() {
            loop {
                if let Some(answer) = ask(address, &origin, RecordType::SOA)
                    && !answer.answers.is_empty()
                {
                    break;
                }
                if let Some(status) = server.child.try_wait().unwrap() {
                    panic!("{command:?} ended, {status}: {}", server.log());
                }
                assert!(
                    Instant::now() < deadline,
                    "{command:?} does not answer: {}",
                    server.log()
                );
                // A closed port answers at once; the server shall have the processor.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        server
    }

    /// A configuration of NSD that serves both zone files.
    pub fn nsd_config(&self) -> PathBuf {
        let mut text = format!(
            "server:\n ip-address: {}\n{}",
            self.listen(),
            self.nsd_settings()
        );
        for origin in self.origins() {
            let file = self.zone_file(&origin);
            text.push_str(&format!(
                "zone:\n name: \"{origin}\"\n zonefile: \"{}\"\n",
                file.display()
            ));
        }
        self.write("nsd.conf", &text)
    }

    /// What makes NSD keep to the lab's folder, and answer however much we ask, within and behind `server:`.
    pub fn nsd_settings(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            " username: \"\"\n chroot: \"\"\n zonesdir: \"{folder}\"\n database: \"\"\n pidfile: \"\"\n \
             xfrdfile: \"{folder}/xfrd\"\n zonelistfile: \"{folder}/zones.list\"\n xfrdir: \"{folder}\"\n rrl-ratelimit: 0\n\
             remote-control:\n control-enable: no\n"
        )
    }

    /// A configuration of BIND that serves both zone files.
    pub fn bind_config(&self) -> PathBuf {
        let mut text = format!(
            "options {{ {} listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }}; recursion no; }};\ncontrols {{ }};\n",
            self.bind_settings(),
            self.dns_port,
            self.address
        );
        for origin in self.origins() {
            let file = self.zone_file(&origin);
            text.push_str(&format!(
                "zone \"{origin}\" {{ type primary; file \"{}\"; }};\n",
                file.display()
            ));
        }
        self.write("named.conf", &text)
    }

    /// Options that make BIND keep to the lab's folder and to itself.
    pub fn bind_settings(&self) -> String {
        format!(
            "directory \"{}\"; pid-file none; session-keyfile none; minimal-responses yes; \
             zero-no-soa-ttl no; dnssec-validation no;",
            self.folder.path().display()
        )
    }

    /// Writes a configuration file.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        path
    }
}

/// A port that is free for UDP and TCP, below those that the system hands out by itself. Drawn at
/// random, so that tests running at the same time do not meet.
fn free_port() -> u16 {
    let rng = SystemRandom::new();
    loop {
        let mut octets = [0_u8; 2];
        rng.fill(&mut octets).unwrap();
        let port = 10_000 + u16::from_be_bytes(octets) % 20_000;
        let address = (Ipv4Addr::LOCALHOST, port);
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return port;
        }
    }
}

/// A server that ends with the test.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks with DO and CD over UDP, again over TCP when cut short; `None` when there is no answer yet.
pub fn ask(server: SocketAddr, name: &Name, qtype: RecordType) -> Option<Message> {
    ask_with(server, name, qtype, true)
}

/// As [`ask`]; without CD a resolver is to validate.
pub fn ask_with(
    server: SocketAddr,
    name: &Name,
    qtype: RecordType,
    checking_disabled: bool,
) -> Option<Message> {
    let mut query = Message::new(4711, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.metadata.checking_disabled = checking_disabled;
    query.add_query(Query::query(name.clone(), qtype));
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(1232);
    query.edns = Some(edns);
    let octets = query.to_vec().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    socket.connect(server).unwrap();
    socket.send(&octets).ok()?;
    let mut buffer = [0_u8; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    if answer.metadata.truncation {
        return ask_tcp(server, &octets);
    }
    Some(answer)
}

fn ask_tcp(server: SocketAddr, query: &[u8]) -> Option<Message> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut framed = u16::try_from(query.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(query);
    stream.write_all(&framed).ok()?;
    let mut length = [0_u8; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0_u8; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(Message::from_vec(&answer).unwrap())
}

/// Names to ask about in a zone: its owners, empty non-terminals, names around and below each, and
/// `random` more of every shape.
pub fn interesting_names(zone: &SignedZone, random: usize) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    let mut add = |name: Name| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let owners: Vec<Name> = zone.rrsets().map(|(owner, _, _)| owner.clone()).collect();
    for owner in &owners {
        let mut above = owner.clone();
        while zone.origin().zone_of(&above) {
            add(above.clone());
            for label in [&b"\0"[..], b"*", b"0", b"a", b"zzzz", b"_", b"\xff"] {
                if let Ok(name) = above.prepend_label(label) {
                    add(name);
                }
            }
            above = above.base_name();
        }
        if owner != zone.origin() {
            // Just before and just after the owner.
            let label = owner.iter().next().unwrap().to_vec();
            for last in [b'\0', b'-', b'0', b'z', 0xff] {
                let longer: Vec<u8> = label.iter().copied().chain([last]).collect();
                add(owner.base_name().prepend_label(&longer[..]).unwrap());
                let mut other = label.clone();
                *other.last_mut().unwrap() = last;
                add(owner.base_name().prepend_label(&other[..]).unwrap());
            }
        }
    }
    let rng = SystemRandom::new();
    for _ in 0..random {
        let mut octets = [0_u8; 24];
        rng.fill(&mut octets).unwrap();
        let mut name = owners[usize::from(octets[0]) % owners.len()].clone();
        for depth in 0..=usize::from(octets[1] % 3) {
            let length = 1 + usize::from(octets[2 + depth] % 6);
            let label: Vec<u8> = octets[5 + 6 * depth..][..length]
                .iter()
                .map(|octet| b"abcdefghijklmnopqrstuvwxyz0123456789-_"[usize::from(*octet) % 38])
                .collect();
            name = name.prepend_label(&label[..]).unwrap();
        }
        add(name);
    }
    names
}
