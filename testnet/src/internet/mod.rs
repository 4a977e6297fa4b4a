//! A small signed internet on NSD: a root, top-level domains, hosters, and five hundred real names.

mod content;
mod names;
pub(crate) mod sign;
pub(crate) mod zone;

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use hickory_proto::{
    ProtoError,
    rr::{Name, RecordType},
};
use thiserror::Error;

use self::{
    sign::{KeyPool, zone_path},
    zone::Zone,
};
use crate::{
    ask::{AskError, Question, wait_until_answering},
    host::Host,
    http,
    lab::{Lab, LabError},
    process::Process,
    programs::Missing,
    servers,
};

/// The web server of `www.portal.example` says this.
pub const PAGE: &str = "the portal of the lab\n";
const SERVERS_READY: Duration = Duration::from_secs(30);

/// Why there is no internet.
#[derive(Debug, Error)]
pub enum InternetError {
    /// The lab's.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A program is not installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A name server does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A file.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Keys or signatures could not be made.
    #[error("{program}: {said}")]
    Signer {
        /// Which program.
        program: String,
        /// What it said.
        said: String,
    },
    /// A name server does not like its zones.
    #[error("NSD on {host}: {said}")]
    Refused {
        /// Where.
        host: String,
        /// What it said.
        said: String,
    },
    /// A record could not be computed.
    #[error("a record of the lab: {0}")]
    Record(#[from] ProtoError),
}

impl InternetError {
    fn file(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File {
            path: path.clone(),
            source,
        }
    }
}

/// A question of the small internet with something to learn.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The question.
    pub question: Question,
    /// What it is about.
    pub about: &'static str,
}

/// The internet of a lab, up and answering.
#[derive(Debug)]
pub struct Internet {
    names: Vec<Name>,
    probes: Vec<Probe>,
    root_hints: PathBuf,
    trust_anchor: PathBuf,
    _servers: Vec<Process>,
}

/// The prefixes of the internet's link.
pub const LINK: &str = "net";

impl Internet {
    /// Makes all zones and starts the servers, on the link [`LINK`] which must exist; hosts outside are reached through
    /// `gateway` (IPv4 and IPv6).
    ///
    /// # Errors
    /// A program failed, or a server does not answer.
    pub fn start(lab: &mut Lab, gateway: [&str; 2]) -> Result<Self, InternetError> {
        let folder = lab.folder().join("internet");
        let sites = names::sites();
        let content = content::zones(&sites);
        let pool = KeyPool::generate(&folder.join("keys"))?;
        let (zones, root) = delegate(content, &pool)?;
        let zones_folder = folder.join("zones");
        // The spare key is one that no zone of this number is lent: see Signing::WrongKey.
        let spare = KeyPool::generate(&folder.join("spare"))?;
        let keyed: Vec<_> = zones
            .iter()
            .enumerate()
            .map(|(number, zone)| (zone.clone(), pool.lend(number)))
            .collect();
        sign::write_zones(&keyed, spare.lend(0), &zones_folder)?;

        let root_hints = folder.join("root.hints");
        let [v4, v6] = content::ROOT;
        let hints = format!(
            ". 3600000 IN NS a.root-lab.\na.root-lab. 3600000 IN A {v4}\na.root-lab. 3600000 IN AAAA {v6}\n"
        );
        fs::write(&root_hints, hints).map_err(InternetError::file(&root_hints))?;
        let trust_anchor = folder.join("root.key");
        fs::write(&trust_anchor, pool.lend(root).anchor(""))
            .map_err(InternetError::file(&trust_anchor))?;

        let servers = start_servers(lab, gateway, &zones, &zones_folder)?;
        let names = sites
            .iter()
            .map(|site| Name::from_str(&format!("{}.", site.name)))
            .collect::<Result<_, _>>()?;
        let probes = content::LESSONS
            .iter()
            .map(probe)
            .collect::<Result<_, InternetError>>()?;
        Ok(Self {
            names,
            probes,
            root_hints,
            trust_anchor,
            _servers: servers,
        })
    }

    /// The five hundred names.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Questions about everything that is odd.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// Addresses of every real name, IPv4 and IPv6, then the probes, each without and with DO.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let addresses = self.names.iter().flat_map(|name| {
            [RecordType::A, RecordType::AAAA].map(|rtype| Question::new(name, rtype))
        });
        let probes = self
            .probes
            .iter()
            .flat_map(|probe| [probe.question.clone(), probe.question.clone().with_dnssec()]);
        addresses.chain(probes).collect()
    }

    /// Where recursion starts: a root hints file.
    #[must_use]
    pub fn root_hints(&self) -> &Path {
        &self.root_hints
    }

    /// The addresses in that file.
    #[must_use]
    pub fn root_addresses(&self) -> Vec<IpAddr> {
        content::ROOT
            .iter()
            .map(|address| address.parse().expect("constants are addresses"))
            .collect()
    }

    /// Where trust starts: the root's key in master-file form.
    #[must_use]
    pub fn trust_anchor(&self) -> &Path {
        &self.trust_anchor
    }
}

/// Links the zones to each other. Returns all of them, and the root's number.
fn delegate(
    content: content::Content,
    pool: &KeyPool,
) -> Result<(Vec<Zone>, usize), InternetError> {
    let mut zones: Vec<Zone> = content.registered;
    zones.extend(content.registries);
    zones.push(content.root);
    let root = zones.len() - 1;
    let numbers: BTreeMap<String, usize> = zones
        .iter()
        .enumerate()
        .map(|(number, zone)| (zone.origin.clone(), number))
        .collect();
    for number in 0..root {
        let child = zones[number].clone();
        let parent = parent_of(&child.origin, &numbers);
        // A parent that is not signed has nothing to vouch with: what is signed below it is an island.
        let signer = if child.signing.has_delegation_signer() && zones[parent].signing.is_signed() {
            Some(
                pool.lend(number)
                    .delegation_signer(&Name::from_str(&format!("{}.", child.origin))?)?,
            )
        } else {
            None
        };
        zones[parent].delegate(&child, signer.as_deref());
    }
    Ok((zones, root))
}

/// The closest zone above.
fn parent_of(origin: &str, numbers: &BTreeMap<String, usize>) -> usize {
    let mut above = origin;
    while let Some((_, rest)) = above.split_once('.') {
        if let Some(number) = numbers.get(rest) {
            return *number;
        }
        above = rest;
    }
    numbers[""]
}

fn start_servers(
    lab: &mut Lab,
    gateway: [&str; 2],
    zones: &[Zone],
    folder: &Path,
) -> Result<Vec<Process>, InternetError> {
    let is_root = |zone: &Zone| zone.origin.is_empty();
    let is_registry = |zone: &Zone| {
        zone.name_servers
            .iter()
            .any(|server| server.name.starts_with("a.nic."))
    };
    let [registry_a, registry_b] = content::REGISTRIES;
    let [hoster_a, hoster_b] = content::HOSTERS;
    type Serves<'a> = &'a dyn Fn(&Zone) -> bool;
    let registered = |zone: &Zone| !is_root(zone) && !is_registry(zone);
    let plan: [(&str, Vec<&str>, Serves<'_>); 4] = [
        ("root", content::ROOT.to_vec(), &is_root),
        ("registry", [registry_a, registry_b].concat(), &is_registry),
        ("hoster-a", hoster_a.to_vec(), &registered),
        ("hoster-b", hoster_b.to_vec(), &registered),
    ];
    let mut running = Vec::new();
    for (name, addresses, serves) in plan {
        let host = connect(lab, name, &addresses, gateway)?;
        let files = zones
            .iter()
            .filter(|zone| serves(zone))
            .map(|zone| (format!("{}.", zone.origin), zone_path(folder, zone)));
        running.push((servers::nsd(&host, &addresses, files)?, host, addresses));
    }
    let web = connect(lab, "web", &content::WEB, gateway)?;
    http::serve(&web, PAGE).map_err(|source| LabError::Run {
        program: "web server".into(),
        source,
    })?;
    for (process, host, addresses) in &mut running {
        for address in addresses {
            let address: IpAddr = address.parse().expect("constants are addresses");
            wait_until_answering(host, SocketAddr::new(address, 53), SERVERS_READY, || {
                process
                    .check_running("an answer")
                    .map_err(|error| InternetError::Lab(error.into()))
            })?;
        }
    }
    for (process, host, _) in &running {
        // A zone that a server refuses would only show as a name that fails.
        if let Some(line) = process
            .output()
            .lines()
            .find(|line| line.contains("error:"))
        {
            return Err(InternetError::Refused {
                host: host.name().to_owned(),
                said: line.to_owned(),
            });
        }
    }
    Ok(running.into_iter().map(|(process, _, _)| process).collect())
}

fn connect(
    lab: &mut Lab,
    name: &str,
    addresses: &[&str],
    gateway: [&str; 2],
) -> Result<Host, InternetError> {
    let host = lab.host(name)?;
    let prefixed: Vec<_> = addresses
        .iter()
        .map(|address| format!("{address}/{}", if address.contains(':') { 64 } else { 24 }))
        .collect();
    lab.plug(
        &host,
        LINK,
        &prefixed.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    for via in gateway {
        lab.route(&host, "default", via)?;
    }
    Ok(host)
}

fn probe(lesson: &content::Lesson) -> Result<Probe, InternetError> {
    let name = Name::from_str(&format!("{}.", lesson.name))?;
    let rtype = match lesson
        .rtype
        .strip_prefix("TYPE")
        .and_then(|number| number.parse().ok())
    {
        Some(number) => RecordType::Unknown(number),
        None => RecordType::from_str(lesson.rtype).map_err(ProtoError::from)?,
    };
    Ok(Probe {
        question: Question::new(&name, rtype),
        about: lesson.about,
    })
}
