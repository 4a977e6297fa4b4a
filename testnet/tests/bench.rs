//! The bench works, on whatever machine: every row is measured once, as short as can be, and the page is written.
#![allow(clippy::unwrap_used)]

use std::{fs, process::Command};

#[test]
fn every_row_is_measured_beside_all_peers_and_the_page_has_both_sides_and_a_plot_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_zzdot-testnet"))
        .args(["bench", "--smoke", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let page = fs::read_to_string(folder.path().join("performance.md")).unwrap();
    for row in zzdot_testnet::bench::GROUPS
        .iter()
        .flat_map(|group| group.rows)
    {
        assert!(
            page.contains(&format!("\n## {}\n", row.title)),
            "{}",
            row.name
        );
        let plot = format!("images/performance/{}.svg", row.name);
        assert!(page.contains(&plot), "{plot}");
        let plot = fs::read_to_string(folder.path().join(plot)).unwrap();
        assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n"));
    }
    for program in [
        "**zzdot**",
        "null",
        "unbound",
        "kresd",
        "named",
        "dnsdist",
        "smartdns",
        "stubby",
    ] {
        assert!(page.contains(&format!("\n| {program} | ")), "{program}");
    }
}
