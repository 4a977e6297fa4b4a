//! The commands as people and scripts meet them: arguments in, text and exit codes out.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::net::UdpSocket;

use common::{Manner, Resolver, client, code, stderr, stdout};
use serde_json::Value;

fn discover(resolver: &Resolver, more: &[&str]) -> std::process::Output {
    let address = resolver.address.to_string();
    let mut arguments = vec!["discover", "--server", &address];
    arguments.extend(more);
    client(&arguments)
}

#[test]
fn a_good_configuration_is_told_to_be_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.toml");
    fs::write(&path, "server = \"192.0.2.1\"\nlegacy = \"refuse\"\n").unwrap();
    let output = client(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(stdout(&output), format!("{}: ok\n", path.display()));
    assert_eq!((stderr(&output).as_str(), code(&output)), ("", 0));
}

#[test]
fn a_bad_configuration_is_told_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.toml");
    fs::write(&path, "# mine\nserver = \"192.0.2.1\"\nlegacy = \"yes\"\n").unwrap();
    for arguments in [["check", "--config"], ["run", "--config"]] {
        let output = client(&[&arguments[..], &[path.to_str().unwrap()]].concat());
        let expected = format!(
            "zzdot-client: {}:3: legacy: unknown variant `yes`, expected one of `plain`, `encrypted`, `verified`, `refuse`\n",
            path.display()
        );
        assert_eq!(stderr(&output), expected);
        assert_eq!((stdout(&output).as_str(), code(&output)), ("", 2));
    }
}

#[test]
fn wrong_usage_is_exit_code_two() {
    for arguments in [
        &["dance"][..],
        &["discover"],
        &["discover", "--server", "nobody"],
    ] {
        let output = client(arguments);
        assert_eq!(code(&output), 2, "{}", stderr(&output));
    }
    assert_eq!(code(&client(&["--version"])), 0);
}

#[test]
fn an_upgraded_server_is_told_step_by_step() {
    let resolver = Resolver::start(Manner::Upgraded);
    let output = discover(&resolver, &[]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let text = stdout(&output);
    let name = resolver.identity.name();
    for part in [
        format!("  ask {} for resolver-name.arpa DNSKEY\n", resolver.address),
        format!("  the server names itself {name}\n"),
        "proved the key of TLSA 3 1 1 ".to_owned(),
        "(not yet verified)\n".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} in:\n{text}");
    }
}

#[test]
fn json_has_the_fields_that_are_documented() {
    let resolver = Resolver::start(Manner::Upgraded);
    let output = discover(&resolver, &["--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["server"], resolver.address.to_string());
    assert_eq!(told["verdict"], "upgraded");
    assert_eq!(told["name"], resolver.identity.name().to_string());
    assert_eq!(told["steps"][0]["step"], "asked");
    for field in ["endpoint", "tlsa", "anchor", "signatures-expire"] {
        assert!(!told[field].is_null(), "{field}");
    }
}

#[test]
fn a_legacy_server_is_exit_code_five() {
    let resolver = Resolver::start(Manner::Legacy);
    let output = discover(&resolver, &[]);
    assert_eq!(code(&output), 5, "{}", stdout(&output));
    assert!(stdout(&output).contains("not upgraded: questions to it are in cleartext"));
}

#[test]
fn a_server_that_is_not_there_is_exit_code_three() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap().to_string();
    drop(gone);
    let output = client(&["discover", "--server", &address]);
    assert_eq!(code(&output), 3, "{}", stdout(&output));
    assert!(stdout(&output).ends_with("no answer: nothing can be said about this server\n"));
}

#[test]
fn another_resolver_in_the_place_of_a_known_one_is_exit_code_four() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = ["--state-dir", state.to_str().unwrap()];
    let first = Resolver::start(Manner::Upgraded);
    assert_eq!(code(&discover(&first, &state)), 0);
    assert_eq!(code(&discover(&first, &state)), 0, "it is known by now");
    let address = first.address;
    let known = first.identity.name().to_string();
    let other = first.replace();
    let output = discover(&other, &state);
    assert_eq!(code(&output), 4, "{}", stdout(&output));
    assert!(
        stdout(&output).contains("refused (name-changed): "),
        "{}",
        stdout(&output)
    );

    let listed = client(&[&["resolvers", "list"], &state[..]].concat());
    assert!(stdout(&listed).starts_with(&format!("{known}  not yet verified  at ")));
    let shown = client(&[&["resolvers", "show", &known, "--json"], &state[..]].concat());
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["trust"], "provisional");
    assert_eq!(shown["servers"][0], address.to_string());

    let forgotten = client(&[&["resolvers", "forget", &known], &state[..]].concat());
    assert_eq!(stdout(&forgotten), format!("{known} is forgotten\n"));
    let again = client(&[&["resolvers", "forget", &known], &state[..]].concat());
    assert_eq!(code(&again), 2);
    assert!(stderr(&again).contains("is not remembered"));
    assert_eq!(code(&discover(&other, &state)), 0, "a first meeting again");
}

#[test]
fn a_store_that_cannot_be_read_is_exit_code_three_and_never_a_first_use() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let arguments = ["--state-dir", state.to_str().unwrap()];
    let resolver = Resolver::start(Manner::Upgraded);
    assert_eq!(code(&discover(&resolver, &arguments)), 0);
    fs::write(state.join("snapshot.json"), "rubbish").unwrap();
    fs::remove_dir_all(state.join("store")).unwrap();
    for _ in 0..2 {
        let output = discover(&resolver, &arguments);
        assert_eq!(code(&output), 3);
        let text = stderr(&output);
        assert!(text.contains("what is remembered cannot be read"), "{text}");
        assert!(text.contains("zzdot-client: hint: "), "{text}");
    }
}

#[test]
fn tools_say_when_no_daemon_is_running() {
    let folder = tempfile::tempdir().unwrap();
    let state = ["--state-dir", folder.path().to_str().unwrap()];
    for command in [&["status"][..], &["query", "www.example"]] {
        let output = client(&[command, &state[..]].concat());
        assert_eq!(code(&output), 3);
        assert!(stderr(&output).starts_with("zzdot-client: the daemon is not running\n"));
    }
    let output = client(&[&["resolvers", "list"], &state[..]].concat());
    assert_eq!(stdout(&output), "no resolver is remembered\n");
}
