//! The doctor, asked about machines with one fault each.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Daemon, Manner, Resolver, client, code, write_config};
use serde_json::Value;

fn server(resolver: &Resolver) -> String {
    format!("server = \"{}\"", resolver.address)
}

/// Exit code and findings.
fn examine(daemon: &Daemon) -> (i32, Vec<Value>) {
    let output = daemon.tool(&["doctor", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = told["findings"].as_array().unwrap().clone();
    assert_eq!(told["ill"] == true, code(&output) != 0, "{told:#}");
    (code(&output), findings)
}

/// The areas in which something is bad.
fn bad(findings: &[Value]) -> Vec<&str> {
    let bad = findings
        .iter()
        .filter(|finding| finding["verdict"] == "bad");
    bad.map(|finding| finding["area"].as_str().unwrap())
        .collect()
}

#[test]
fn a_machine_that_works_is_told_so_and_what_is_worth_knowing() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    daemon.wait_for_state("strict");
    let (exit, findings) = examine(&daemon);
    // The root is not among the names that this resolver knows; everything before it is as it should be.
    let bad = bad(&findings);
    assert!(bad.is_empty() || bad == ["routing"], "{findings:#?}");
    assert_eq!(exit == 0, bad.is_empty());
    let trust = findings
        .iter()
        .find(|finding| finding["area"] == "trust")
        .unwrap();
    assert_eq!(trust["verdict"], "note", "nobody verified it");
    resolver.take_in_clear();
    examine(&daemon);
    assert_eq!(
        resolver.take_in_clear(),
        Vec::<String>::new(),
        "the doctor asks nobody in cleartext"
    );
}

#[test]
fn a_resolver_without_tls_is_a_fault_of_tls() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    daemon.wait_for_state("strict");
    resolver.break_tls();
    daemon.tool(&["query", "www.example", "A"]);
    let (exit, findings) = examine(&daemon);
    assert_eq!(exit, 3);
    let bad = bad(&findings);
    assert!(
        !bad.is_empty() && bad.iter().all(|area| *area == "tls"),
        "{findings:#?}"
    );
}

#[test]
fn a_policy_that_nothing_here_satisfies_is_a_fault_of_the_configuration() {
    let resolver = Resolver::start(Manner::Legacy);
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("{}\nlegacy = \"refuse\"", server(&resolver));
    let daemon = Daemon::start(folder.path(), &settings);
    daemon.wait_for_state("legacy");
    let (exit, findings) = examine(&daemon);
    assert_eq!(exit, 3);
    let bad = bad(&findings);
    assert!(
        !bad.is_empty() && bad.iter().all(|area| *area == "configuration"),
        "{findings:#?}"
    );
}

#[test]
fn a_silent_server_is_a_fault_of_routing() {
    let resolver = Resolver::start(Manner::Silent);
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("{}\n[limits]\nwalk-budget-ms = 500", server(&resolver));
    let daemon = Daemon::start(folder.path(), &settings);
    daemon.wait_for_state("no-answer");
    let (exit, findings) = examine(&daemon);
    assert_eq!(exit, 3);
    let bad = bad(&findings);
    assert!(
        !bad.is_empty() && bad.iter().all(|area| *area == "routing"),
        "{findings:#?}"
    );
}

#[test]
fn a_daemon_that_does_not_run_and_a_file_that_is_wrong_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.toml");
    write_config(folder.path(), "server = \"192.0.2.1\"");
    let told = |path: &std::path::Path| -> Value {
        let output = client(&["doctor", "--json", "--config", path.to_str().unwrap()]);
        assert_eq!(code(&output), 3);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let stopped = told(&path);
    assert_eq!(
        bad(stopped["findings"].as_array().unwrap()),
        ["configuration"]
    );
    let text = stopped.to_string();
    assert!(text.contains("not running"), "{text}");
    write_config(folder.path(), "server = \"nobody\"");
    let wrong = told(&path);
    let first = &wrong["findings"][0];
    assert_eq!(
        (first["area"].as_str(), first["verdict"].as_str()),
        (Some("configuration"), Some("bad"))
    );
    assert!(
        first["says"].as_str().unwrap().contains("server: found"),
        "{first}"
    );
}
