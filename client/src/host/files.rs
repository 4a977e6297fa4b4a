//! Files that say something: leases, and those in the manner of `resolv.conf`.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::leases::{
    LEASE_FILE_BYTES_MAX, dhclient, networkd_lease, networkd_lease_domains, networkd_link,
};
use super::resolv_conf::servers_in;
use super::{FileKind, FileSays, LinkSays, SERVERS_PER_LINK_MAX, Saying, Source, front, records};

/// The most lease files that are looked at.
const FILES_MAX: usize = 64;
/// The most octets of a `resolv.conf` that are looked at.
const RESOLV_CONF_BYTES_MAX: usize = 64 * 1024;

/// Where everything stands; below another root in tests.
#[derive(Clone, Debug)]
pub struct Places {
    root: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Places {
    /// All of them below this folder.
    #[must_use]
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The file that an absolute path names.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Folders in which any change is worth a look.
    pub(super) fn folders_of_records(&self) -> Vec<PathBuf> {
        records::FOLDERS
            .iter()
            .map(|folder| self.at(folder))
            .collect()
    }

    /// Folders in which a change of some files is worth a look.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let folders = [
            "/etc",
            "/run/systemd/resolve",
            "/run/systemd/netif/links",
            "/run/systemd/netif/leases",
            "/run/NetworkManager",
            front::FOLDER,
        ];
        folders
            .iter()
            .chain(&DHCLIENT)
            .map(|folder| self.at(folder))
            .collect()
    }
}

/// Where packages of dhclient keep leases: Debian's, and those of others.
const DHCLIENT: [&str; 2] = ["/var/lib/dhcp", "/var/lib/dhclient"];

/// What leases say.
pub(super) fn sayings(places: &Places) -> Vec<Saying> {
    let mut all = Vec::new();
    for (name, text) in texts(&places.at("/run/systemd/netif/links")) {
        let Some(index) = name.parse().ok().filter(|index| *index > 0) else {
            continue;
        };
        let mut says = networkd_link(index, &text);
        let lease = places.at("/run/systemd/netif/leases").join(&name);
        if let Some(text) = read(&lease, LEASE_FILE_BYTES_MAX) {
            says.dhcp = networkd_lease(&text);
            says.lease_domains = networkd_lease_domains(&text);
        }
        // networkd has a file for every link, its own or not.
        if says.servers.is_empty() && says.dhcp.is_none() && says.captive_portal.is_none() {
            continue;
        }
        all.push(Saying {
            source: Source::Networkd,
            says,
        });
    }
    let dhclient_says = |says: LinkSays| Saying {
        source: Source::Dhclient,
        says,
    };
    for folder in DHCLIENT {
        for (name, text) in texts(&places.at(folder)) {
            let is_lease = [".lease", ".leases"].iter().any(|end| name.ends_with(end));
            if is_lease && name.starts_with("dhclient") {
                all.extend(dhclient(&text).into_iter().map(dhclient_says));
            }
        }
    }
    all.extend(records::records(places).into_iter().map(|record| Saying {
        source: Source::Resolvconf,
        says: record.says(),
    }));
    all
}

/// What `resolv.conf` and its relatives say; who is not there says nothing.
pub(super) fn resolv_confs(places: &Places) -> Vec<FileSays> {
    let mut said = Vec::new();
    let uplinks = [
        (FileKind::InUse, "/etc/resolv.conf"),
        (
            FileKind::ResolvedUplinks,
            "/run/systemd/resolve/resolv.conf",
        ),
        (
            FileKind::NetworkManagerUplinks,
            "/run/NetworkManager/no-stub-resolv.conf",
        ),
    ];
    for (kind, path) in uplinks {
        said.extend(servers(&places.at(path)).map(|servers| FileSays { kind, servers }));
    }
    let servers: Vec<SocketAddr> = records::records(places)
        .into_iter()
        .filter(|record| record.name != records::RECORD)
        .flat_map(|record| record.servers)
        .take(2 * SERVERS_PER_LINK_MAX)
        .collect();
    if !servers.is_empty() {
        let kind = FileKind::Records;
        said.push(FileSays { kind, servers });
    }
    if let Some((kind, text)) = front::put_aside(places) {
        let servers = named_in(&text);
        said.push(FileSays { kind, servers });
    }
    said
}

/// The servers of a file in the manner of `resolv.conf`; none when it is not there, or nothing of the kind.
fn servers(path: &Path) -> Option<Vec<SocketAddr>> {
    read(path, RESOLV_CONF_BYTES_MAX).map(|text| named_in(&text))
}

/// Line by line, as the C library does: what it does not understand hides nothing that it does.
pub(super) fn named_in(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter(|line| line.starts_with("nameserver"));
    lines
        .take(2 * SERVERS_PER_LINK_MAX)
        .flat_map(|line| servers_in(line.as_bytes()).unwrap_or_default())
        .collect()
}

/// The files of a folder, by name.
pub(super) fn texts(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .take(FILES_MAX)
        .collect();
    names.sort();
    names
        .into_iter()
        .filter_map(|name| read_tail(&folder.join(&name)).map(|text| (name, text)))
        .collect()
}

fn read_tail(path: &Path) -> Option<String> {
    // dhclient writes at the end of a file that it seldom cleans.
    let length = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
    let mut file = File::open(path).ok()?;
    let start = length.saturating_sub(LEASE_FILE_BYTES_MAX as u64);
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(start)).ok()?;
    bounded(file, LEASE_FILE_BYTES_MAX)
}

pub(super) fn read(path: &Path, most: usize) -> Option<String> {
    // A pipe or a device would keep us waiting.
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    bounded(File::open(path).ok()?, most)
}

fn bounded(file: File, most: usize) -> Option<String> {
    let mut octets = Vec::new();
    file.take(most as u64).read_to_end(&mut octets).ok()?;
    Some(String::from_utf8_lossy(&octets).into_owned())
}
