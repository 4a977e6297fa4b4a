//! The machine that everything ran on, and the programs that ran.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sched::sched_getaffinity,
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};

use super::{Cpus, Failure, OURS, Plan};
use crate::{products, programs};

/// Descriptors for ten thousand connections at either end, and some more.
const DESCRIPTORS: u64 = 20_000;
/// Longer version texts are cut.
const VERSION: usize = 70;

/// How a program tells its version, by the name it has in the tables.
const VERSIONS: &[(&str, &str, &str)] = &[
    ("dnsdist", "dnsdist", "--version"),
    ("hickory", "hickory-dns", "--version"),
    ("kresd", "kresd", "--version"),
    ("named", "named", "-v"),
    ("nsd", "nsd", "-v"),
    ("smartdns", "smartdns", "-v"),
    ("stubby", "stubby", "-V"),
    ("unbound", "unbound", "-V"),
];

/// Lets this process and those it starts have as many descriptors as the system allows.
pub(crate) fn raise_limits() -> Result<(), Failure> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(
        Resource::RLIMIT_NOFILE,
        hard.min(DESCRIPTORS),
        hard,
    )?)
}

/// The first two processors that this process may use.
pub(crate) fn cpus() -> Result<Cpus, Failure> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    let mut allowed =
        (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false));
    let tested = allowed
        .next()
        .ok_or_else(|| Failure::new("no processor is allowed"))?;
    Ok(Cpus {
        tested,
        rest: allowed.next().unwrap_or(tested),
    })
}

/// Processor, memory, kernel, distribution.
pub(crate) fn machine() -> BTreeMap<String, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let processors = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let model = value_of(&cpuinfo, "model name", ':').unwrap_or_else(|| "unknown".into());
    let memory = value_of(&read("/proc/meminfo"), "MemTotal", ':')
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .map_or_else(String::new, |kib| {
            format!("{} GiB", (kib + (1 << 19)) >> 20)
        });
    let virtual_machine = if cpuinfo.contains(" hypervisor") {
        " (virtual machine)"
    } else {
        ""
    };
    BTreeMap::from([
        (
            "processor".into(),
            format!("{processors} × {model}{virtual_machine}"),
        ),
        ("memory".into(), memory),
        (
            "kernel".into(),
            format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        ),
        (
            "distribution".into(),
            value_of(&read("/etc/os-release"), "PRETTY_NAME", '=')
                .unwrap_or_default()
                .trim_matches('"')
                .to_owned(),
        ),
    ])
}

/// Every program that takes part, with what it says of its version.
pub(crate) fn versions(plan: &Plan) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for (name, program, option) in VERSIONS {
        if *name != "nsd" && !plan.wants_program(name) {
            continue;
        }
        let said = match programs::find(program) {
            Ok(path) => version(&path, option),
            Err(_) => "not installed".into(),
        };
        versions.insert((*name).to_owned(), said);
    }
    if let Ok(ours) = products::find("zzdot") {
        versions.insert(OURS.into(), version(&ours, "--version"));
    }
    versions
}

fn version(program: &Path, option: &str) -> String {
    let output = Command::new(program)
        .arg(option)
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        return "unknown".into();
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said
        .lines()
        .map(str::trim)
        .find(|line| line.contains(|c: char| c.is_ascii_digit()))
        .unwrap_or("unknown");
    line.chars().take(VERSION).collect()
}

/// Time that the hypervisor gave to others, and all time, in ticks.
pub(crate) fn stolen() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    (
        ticks.get(7).copied().unwrap_or_default(),
        ticks.iter().sum(),
    )
}

fn value_of(text: &str, key: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let text = "model\t\t: 1\nmodel name\t: Some CPU: fast\n";
        assert_eq!(
            value_of(text, "model name", ':').as_deref(),
            Some("Some CPU: fast")
        );
        assert_eq!(value_of(text, "mode", ':'), None);
    }

    #[test]
    fn this_machine_has_a_processor_and_a_kernel() {
        let machine = machine();
        assert!(machine["kernel"].starts_with("Linux ") && machine["kernel"].len() > 6);
        assert!(!machine["processor"].starts_with('0'));
        cpus().unwrap();
        assert!(stolen().1 > 0);
    }
}
