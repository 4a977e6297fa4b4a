//! The numbers that `zzdot` tells, judged by a reader that is not ours.
#![allow(clippy::unwrap_used)]

#[path = "support/exposition.rs"]
#[allow(dead_code, unreachable_pub)]
mod exposition;
mod support;

use std::process::Command;

use exposition::Page;
use support::{daemon::Place, program};

fn fetch(url: &str) -> String {
    let fetched = Command::new(program::find("curl", "curl"))
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "10",
            url,
        ])
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
    String::from_utf8(fetched.stdout).unwrap()
}

#[test]
fn numbers_are_told_where_the_configuration_says_and_follow_what_happens() {
    let place = Place::new("");
    let address = format!("{}:9153", place.address);
    let more = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n";
    place.write(&format!(
        "metrics = {address:?}\nstate-dir = {:?}\n[listen]\ndns = [\"{}:5300\"]\ndot = [\"{1}:8530\"]\n{more}",
        place.state(),
        place.address,
    ));
    let _daemon = place.serve();
    let url = format!("http://{address}/metrics");
    let before = Page::read(&fetch(&url)).unwrap();
    let queries = [("event", "udp-queries")];
    assert_eq!(before.value("zzdot_events_total", &queries), Some(0.0));
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(before.value("zzdot_info", &version), Some(1.0));
    let server = format!("@{}", place.address);
    let asked = Command::new(program::find("dig", "bind9-dnsutils"))
        .args(["-p", "5300", &server, "localhost"])
        .output()
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let after = Page::read(&fetch(&url)).unwrap();
    assert_eq!(after.value("zzdot_events_total", &queries), Some(1.0));
    assert!(after.value("zzdot_zone_serial", &[]) > Some(0.0));
    // Every counter of the status is there, and no more.
    let counters = place.status()["counters"].as_object().unwrap().len();
    let told = after
        .samples
        .keys()
        .filter(|(name, _)| name == "zzdot_events_total");
    assert_eq!(told.count(), counters);
}

#[test]
fn a_taken_address_for_metrics_is_a_fault_that_is_told() {
    let place = Place::new("");
    let taken = std::net::TcpListener::bind(format!("{}:0", place.address)).unwrap();
    let address = taken.local_addr().unwrap();
    place.write(&format!(
        "metrics = \"{address}\"\nstate-dir = {:?}\n[listen]\ndns = [\"{}:5300\"]\n",
        place.state(),
        place.address,
    ));
    let (code, said) = place.refused();
    assert_eq!(code, 3);
    assert!(
        said.contains(&format!("cannot listen on {address} for metrics")),
        "{said}"
    );
}

#[test]
fn the_reader_finds_what_is_wrong_with_a_page() {
    let good = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\\\n\"} 1\n";
    let labels = [("b", "c\"\\\n")];
    assert_eq!(
        Page::read(good).unwrap().value("a_total", &labels),
        Some(1.0)
    );
    for bad in [
        "a_total 1\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# HELP a x\n# TYPE a gauge\na 1",
        "# HELP a x\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a x\n# TYPE a gauge\na one\n",
        "# HELP a x\n# TYPE a gauge\na{b=c} 1\n",
        "# HELP a x\n# TYPE a gauge\na{b=\"c} 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\n# HELP b x\n# TYPE b gauge\nb 1\na{c=\"d\"} 1\n",
        "# HELP 1a x\n# TYPE 1a gauge\n1a 1\n",
    ] {
        assert!(Page::read(bad).is_err(), "{bad}");
    }
}
