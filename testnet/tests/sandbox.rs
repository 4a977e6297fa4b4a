//! A lab leaves the machine as it found it.
#![allow(clippy::unwrap_used)]

use std::{fs, process::Command};

mod common;

/// Interfaces and named namespaces, as everybody on the machine sees them.
fn machine() -> (String, Vec<String>) {
    let output = Command::new("ip")
        .args(["-oneline", "-brief", "link"])
        .output()
        .expect("apt-get install iproute2");
    let links = String::from_utf8(output.stdout).unwrap();
    let names = links
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect::<Vec<_>>()
        .join(" ");
    let mut namespaces: Vec<_> = fs::read_dir("/run/netns")
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    namespaces.sort();
    (names, namespaces)
}

#[test]
fn a_lab_leaves_no_interface_and_no_namespace_behind() {
    let before = machine();
    common::play("run", "legacy");
    assert_eq!(machine(), before);
}
