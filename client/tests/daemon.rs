//! The daemon as a laptop has it: programs ask it, and what leaves is watched.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Daemon, Manner, Resolver, client, code, stderr, stdout, write_config};
use nix::sys::signal::Signal;
use serde_json::Value;

fn server(resolver: &Resolver) -> String {
    format!("server = \"{}\"", resolver.address)
}

fn www(daemon: &Daemon) -> (Value, String) {
    let output = daemon.tool(&["query", "www.example", "A", "--json"]);
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (told, stderr(&output))
}

fn assert_answered(daemon: &Daemon) {
    let (told, errors) = www(daemon);
    assert_eq!(
        told["answers"][0]["data"],
        "192.0.2.80",
        "{errors}{}",
        daemon.log()
    );
}

#[test]
fn the_first_question_already_is_private_and_no_later_one_is_not() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    let status = daemon.status();
    assert_eq!(status["state"], "strict");
    assert_eq!(status["queries"]["cleartext"], 0);
    assert_eq!(status["resolver"]["trust-in-words"], "not yet verified");
    let in_clear = resolver.take_in_clear();
    assert!(
        !in_clear.iter().any(|asked| asked.contains("www")),
        "{in_clear:?}"
    );
    assert_eq!(daemon.stop(), Some(0));

    // The second meeting: not one question in clear.
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    assert_eq!(resolver.take_in_clear(), Vec::<String>::new());
    let text = stdout(&daemon.tool(&["status"]));
    assert!(text.contains("private: TLS to "), "{text}");
    assert!(text.contains("(not yet verified)"), "{text}");
    assert!(text.contains("0 in cleartext"), "{text}");
}

#[test]
fn without_tls_there_is_a_reason_and_no_cleartext() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    resolver.take_in_clear();
    resolver.break_tls();
    resolver.set_manner(Manner::Legacy);
    let (told, errors) = www(&daemon);
    assert_eq!(told["rcode"], "SERVFAIL");
    let reason = told["extended-errors"][0].as_str().unwrap();
    assert!(reason.starts_with("handshake-failed: "), "{reason}");
    assert!(errors.contains("SERVFAIL (handshake-failed: "), "{errors}");
    assert_eq!(resolver.take_in_clear(), Vec::<String>::new());
    let status = daemon.status();
    assert_eq!(status["down"]["reason"], "handshake-failed");
    assert_eq!(status["queries"]["failed-by-reason"]["handshake-failed"], 1);
    let text = stdout(&daemon.tool(&["status"]));
    let name = resolver.identity.name();
    let down = format!(
        "DOWN: no TLS with {name} at {} (handshake-failed)",
        resolver.dot
    );
    assert!(text.contains(&down), "{text}");
    assert!(!text.contains("private"), "{text}");
}

#[test]
fn another_resolver_at_the_same_address_gets_no_question() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    let known = resolver.identity.name().to_string();
    let other = resolver.replace();
    let (told, _) = www(&daemon);
    assert_eq!(told["rcode"], "SERVFAIL");
    let reason = told["extended-errors"][0].as_str().unwrap();
    assert!(reason.starts_with("name-changed: "), "{reason}");
    let in_clear = other.take_in_clear();
    assert!(
        !in_clear.iter().any(|asked| asked.contains("www")),
        "{in_clear:?}"
    );
    let text = stdout(&daemon.tool(&["status"]));
    assert!(text.contains("(name-changed)"), "{text}");
    assert!(
        text.contains(&format!("resolvers forget {known}")),
        "{text}"
    );

    let output = daemon.tool(&["resolvers", "forget", &known]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_answered(&daemon);
    assert_eq!(
        daemon.status()["resolver"]["name"],
        other.identity.name().to_string()
    );
}

#[test]
fn a_legacy_server_is_used_in_clear_and_that_is_counted() {
    let resolver = Resolver::start(Manner::Legacy);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    let status = daemon.status();
    assert_eq!(status["state"], "legacy");
    assert_eq!(status["queries"]["cleartext"], 1);
    let text = stdout(&daemon.tool(&["status"]));
    assert!(text.contains("CLEARTEXT"), "{text}");
}

#[test]
fn a_legacy_server_is_refused_where_the_configuration_says_so() {
    let resolver = Resolver::start(Manner::Legacy);
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("{}\nlegacy = \"refuse\"", server(&resolver));
    let daemon = Daemon::start(folder.path(), &settings);
    daemon.wait_for_state("legacy");
    resolver.take_in_clear();
    let (told, _) = www(&daemon);
    assert_eq!(told["rcode"], "SERVFAIL");
    let reason = told["extended-errors"][0].as_str().unwrap();
    assert!(reason.starts_with("legacy: "), "{reason}");
    assert_eq!(resolver.take_in_clear(), Vec::<String>::new());
}

#[test]
fn a_broken_box_does_not_cut_a_new_laptop_off() {
    let resolver = Resolver::start(Manner::Broken);
    let folder = tempfile::tempdir().unwrap();
    let limits = "[limits]\nwalk-budget-ms = 1000";
    let daemon = Daemon::start(folder.path(), &format!("{}\n{limits}", server(&resolver)));
    daemon.wait_for_state("legacy");
    assert_answered(&daemon);
    assert_eq!(daemon.status()["legacy"]["reason"], "unreadable");
}

#[test]
fn a_silent_server_gets_no_question_in_clear() {
    let resolver = Resolver::start(Manner::Silent);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    let (told, _) = www(&daemon);
    assert_eq!(told["rcode"], "SERVFAIL");
    let in_clear = resolver.take_in_clear();
    assert!(
        !in_clear.iter().any(|asked| asked.contains("www")),
        "{in_clear:?}"
    );
}

#[test]
fn a_configured_pin_needs_no_discovery_and_is_obeyed() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("found");
    let found = client(&[
        "discover",
        "--server",
        &resolver.address.to_string(),
        "--state-dir",
        state.to_str().unwrap(),
        "--json",
    ]);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let endpoint = found["endpoint"].as_str().unwrap();
    resolver.take_in_clear();
    let settings = |pin: [u8; 32]| {
        let pin = data_encoding::BASE64.encode(&pin);
        format!("server = \"tls://{endpoint}#dns.example\"\npin = \"sha256/{pin}\"")
    };
    let daemon = Daemon::start(folder.path(), &settings(resolver.identity.spki_sha256()));
    assert_answered(&daemon);
    assert_eq!(daemon.status()["state"], "configured");
    assert_eq!(
        resolver.take_in_clear(),
        ["dns.example SNI"],
        "the name configured, and no question"
    );
    assert_eq!(daemon.stop(), Some(0));
    let daemon = Daemon::start(folder.path(), &settings([7; 32]));
    let (told, _) = www(&daemon);
    let reason = told["extended-errors"][0].as_str().unwrap();
    assert!(reason.starts_with("certificate-mismatch: "), "{reason}");
}

#[test]
fn a_failed_reload_keeps_the_old_configuration() {
    let resolver = Resolver::start(Manner::Legacy);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    write_config(folder.path(), "server = \"nobody\"");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("not reloaded, the old configuration stays");
    write_config(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    write_config(
        folder.path(),
        &format!("{}\nlegacy = \"refuse\"", server(&resolver)),
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log(" reloaded");
    resolver.take_in_clear();
    assert_eq!(
        daemon.status()["state"],
        "legacy",
        "what is known stays known"
    );
    assert_eq!(www(&daemon).0["rcode"], "SERVFAIL");
    assert_eq!(resolver.take_in_clear(), Vec::<String>::new());
}

#[test]
fn a_taken_port_is_exit_code_three_with_a_hint() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.toml");
    let state = folder.path().join("state");
    let text = format!("listen = [\"{address}\"]\nserver = \"192.0.2.1\"\nstate-dir = {state:?}\n");
    std::fs::write(&path, text).unwrap();
    let output = client(&["run", "--config", path.to_str().unwrap()]);
    assert_eq!(code(&output), 3);
    let errors = stderr(&output);
    assert!(
        errors.contains(&format!("zzdot-client: cannot listen on {address}: ")),
        "{errors}"
    );
    assert!(errors.contains("zzdot-client: hint: "), "{errors}");
}

#[test]
fn stopping_removes_the_control_socket_and_frees_the_store() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_answered(&daemon);
    let state = folder.path().join("state");
    let busy = client(&[
        "discover",
        "--server",
        &resolver.address.to_string(),
        "--state-dir",
        state.to_str().unwrap(),
    ]);
    assert_eq!(code(&busy), 3);
    assert!(
        stderr(&busy).contains("in use by another process"),
        "{}",
        stderr(&busy)
    );
    assert_eq!(daemon.stop(), Some(0));
    assert!(!state.join("control.sock").exists());
    let listed = client(&["resolvers", "list", "--state-dir", state.to_str().unwrap()]);
    assert!(stdout(&listed).contains("not yet verified"));
}
