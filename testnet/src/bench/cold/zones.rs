//! The internet of the cold path, on the loopback.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::rr::Name;

use super::{super::Failure, Counts, asking};
use crate::{
    internet::{
        sign::{KeyPool, write_zones, zone_path},
        zone::{NameServer, Signing, Zone},
    },
    process::{POLL, Process},
    programs,
};

/// Addresses for benchmarks (RFC 2544, RFC 5180): nobody's, and a resolver asks them.
const ROOT: [&str; 2] = ["198.18.0.53", "2001:2::53"];
const REGISTRIES: [[&str; 2]; 2] = [["198.18.0.10", "2001:2::10"], ["198.18.0.11", "2001:2::11"]];
const HOSTERS: [[&str; 2]; 2] = [["198.18.0.20", "2001:2::20"], ["198.18.0.21", "2001:2::21"]];
/// Where forwarders forward to.
pub(super) const UPSTREAM: &str = "198.18.0.30";

const SITE: &str = "198.19.0.1";
const READY: Duration = Duration::from_secs(20);
const PROBE: Duration = Duration::from_millis(250);

/// Zones, and the servers that serve them.
pub(super) struct Internet {
    pub(super) root_hints: PathBuf,
    /// The root's key in master-file form.
    pub(super) trust_anchor: PathBuf,
    pub(super) anchor: String,
    _servers: Vec<Process>,
}

impl Internet {
    pub(super) fn start(folder: &Path, counts: &Counts) -> Result<Self, Failure> {
        fs::create_dir_all(folder)?;
        let pool = KeyPool::generate(&folder.join("keys"))?;
        let spare = KeyPool::generate(&folder.join("spare"))?;
        let mut small: Vec<Zone> = (0..2 * counts.zones)
            .map(|number| {
                zone(
                    &format!("z{number}.signed"),
                    Signing::Nsec,
                    HOSTERS,
                    &["www"],
                )
            })
            .collect();
        for (registry, signing) in [("signed", Signing::Nsec), ("plain", Signing::Unsigned)] {
            let labels: Vec<_> = (0..2 * counts.names).map(|n| format!("h{n}")).collect();
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            small.push(zone(
                &format!("large.{registry}"),
                signing,
                HOSTERS,
                &labels,
            ));
        }
        let hosted = small.len();
        let mut zones = small;
        for (registry, signing) in [("signed", Signing::Nsec), ("plain", Signing::Unsigned)] {
            zones.push(zone(registry, signing, REGISTRIES, &[]));
        }
        let root_server = NameServer {
            name: "a.root-lab".into(),
            addresses: ROOT.map(str::to_owned),
        };
        zones.push(Zone::new("", Signing::Nsec, vec![root_server]));
        let root = zones.len() - 1;
        for child in 0..root {
            let above = match zones[child].origin.rsplit_once('.') {
                Some((_, "signed")) => hosted,
                Some(_) => hosted + 1,
                None => root,
            };
            let copy = zones[child].clone();
            let signer = if copy.signing.is_signed() {
                let origin = Name::from_str(&format!("{}.", copy.origin))?;
                // Every zone has one key: no more signatures than the least.
                Some(pool.lend(1).delegation_signer(&origin)?)
            } else {
                None
            };
            zones[above].delegate(&copy, signer.as_deref());
        }
        let mut forward = zone("forward", Signing::Unsigned, HOSTERS, &[]);
        forward.add("*.forward", "A", SITE);
        zones.push(forward);
        let files = folder.join("zones");
        let keyed: Vec<_> = zones
            .iter()
            .map(|zone| (zone.clone(), pool.lend(1)))
            .collect();
        write_zones(&keyed, spare.lend(1), &files)?;

        let [v4, v6] = ROOT;
        let root_hints = folder.join("root.hints");
        fs::write(
            &root_hints,
            format!(
                ". 3600000 IN NS a.root-lab.\na.root-lab. 3600000 IN A {v4}\na.root-lab. 3600000 IN AAAA {v6}\n"
            ),
        )?;
        let trust_anchor = folder.join("root.key");
        let anchor = pool.lend(1).anchor("");
        fs::write(&trust_anchor, &anchor)?;
        let servers = serve(folder, &files, &zones, hosted, root)?;
        Ok(Self {
            root_hints,
            trust_anchor,
            anchor,
            _servers: servers,
        })
    }
}

fn zone(origin: &str, signing: Signing, servers: [[&str; 2]; 2], labels: &[&str]) -> Zone {
    let servers = servers
        .iter()
        .enumerate()
        .map(|(number, addresses)| NameServer {
            name: format!("ns{number}.{origin}"),
            addresses: addresses.map(str::to_owned),
        })
        .collect();
    let mut zone = Zone::new(origin, signing, servers);
    for label in labels {
        zone.add(&format!("{label}.{origin}"), "A", SITE);
    }
    zone
}

fn serve(
    folder: &Path,
    files: &Path,
    zones: &[Zone],
    hosted: usize,
    root: usize,
) -> Result<Vec<Process>, Failure> {
    let plan: [(&str, Vec<&str>, &[Zone]); 4] = [
        ("root", ROOT.to_vec(), &zones[root..=root]),
        ("registry", REGISTRIES.concat(), &zones[hosted..root]),
        ("hoster", HOSTERS.concat(), &zones[..hosted]),
        ("upstream", vec![UPSTREAM], &zones[root + 1..]),
    ];
    let mut running = Vec::new();
    for (name, addresses, served) in plan {
        let own = folder.join(name);
        fs::create_dir_all(&own)?;
        let mut config = format!(
            "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: \"\"\n  zonelistfile: \"{0}/zone.list\"\n  \
             xfrdfile: \"{0}/xfrd.state\"\n  xfrdir: \"{0}\"\n  server-count: 1\n  rrl-ratelimit: 0\n  \
             rrl-whitelist-ratelimit: 0\n",
            own.display()
        );
        for address in &addresses {
            add_address(address)?;
            let _ = writeln!(config, "  ip-address: {address}");
        }
        config += "remote-control:\n  control-enable: no\n";
        for zone in served {
            let file = zone_path(files, zone);
            let _ = writeln!(
                config,
                "zone:\n  name: \"{}.\"\n  zonefile: \"{}\"",
                zone.origin,
                file.display()
            );
        }
        let file = own.join("nsd.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(programs::find("nsd")?);
        command.args(["-d", "-c"]).arg(&file);
        let mut process = Process::start(&format!("nsd ({name})"), command, own.join("nsd.log"))?;
        wait_until_answering(&mut process, addresses[0])?;
        running.push(process);
    }
    Ok(running)
}

/// Waits until a server at port 53 of `address` answers.
fn wait_until_answering(process: &mut Process, address: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + READY;
    let server = format!("{address}:53").parse()?;
    while !asking::is_answering(server, PROBE)? {
        process.check_running("an answer")?;
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("{address} does not answer")));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn add_address(address: &str) -> Result<(), Failure> {
    let mut command = Command::new(programs::find("ip")?);
    command.args(["addr", "replace", address, "dev", "lo"]);
    if address.contains(':') {
        command.arg("nodad");
    }
    let output = command.output()?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("ip addr {address}: {said}")))
    }
}
