//! How people vouch for a resolver, with the programs that they have.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Daemon, Manner, Resolver, client, code, stderr, stdout, wait_until};
use serde_json::{Value, json};
use zzdot_zonegen::phrase::Phrase;
use zzdot_zonegen::summary::Summary;
use zzdot_zonegen::uri::VerificationUri;

fn server(resolver: &Resolver) -> String {
    format!("server = \"{}\"", resolver.address)
}

/// What the resolver itself shows.
fn shown(resolver: &Resolver) -> Summary {
    Summary::new(&resolver.identity, None)
}

fn rcode(daemon: &Daemon) -> String {
    let output = daemon.tool(&["query", "www.example", "A", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    told["rcode"].as_str().unwrap_or_default().to_owned()
}

fn pending(daemon: &Daemon) -> Value {
    let output = daemon.tool(&["pending", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn wait_for(daemon: &Daemon, why: &str) -> Value {
    let found = || {
        rcode(daemon);
        let told = pending(daemon);
        told["pending"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["why"] == why)
    };
    wait_until(found, || format!("{why}: {}", daemon.log()));
    pending(daemon)["pending"][0].clone()
}

fn approve(daemon: &Daemon, phrase: &str) -> std::process::Output {
    let mut arguments = vec!["approve", "--phrase"];
    arguments.extend(phrase.split(' '));
    daemon.tool(&arguments)
}

fn trust(daemon: &Daemon) -> Value {
    daemon.status()["resolver"]["trust"].clone()
}

#[test]
fn both_ends_show_one_phrase_and_comparing_it_verifies() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_eq!(rcode(&daemon), "NOERROR");
    let ours = wait_for(&daemon, "unverified");
    let theirs = shown(&resolver);
    assert_eq!(ours["name"], json!(theirs.name));
    assert_eq!(ours["phrase"], theirs.phrase);
    assert_eq!(ours["phrase-digits"], theirs.phrase_digits);
    let text = stdout(&daemon.tool(&["pending"]));
    assert!(text.contains(&theirs.phrase), "{text}");
    assert!(text.contains(&theirs.phrase_digits), "{text}");

    // A word that is not in the list is told before anybody is asked; a wrong one by its place.
    let mut words: Vec<&str> = theirs.phrase.split(' ').collect();
    words[3] = "zebre";
    let output = approve(&daemon, &words.join(" "));
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(
        said.contains("word 4 is not in the list: \"zebre\""),
        "{said}"
    );
    words[3] = if theirs.phrase.contains("zoo") {
        "able"
    } else {
        "zoo"
    };
    let output = approve(&daemon, &words.join(" "));
    assert_eq!(code(&output), 4);
    assert!(
        stderr(&output).contains("word 4 is another one"),
        "{}",
        stderr(&output)
    );
    assert_eq!(trust(&daemon), "provisional");

    let output = approve(&daemon, &theirs.phrase);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output), format!("{} is verified\n", theirs.name));
    wait_until(|| trust(&daemon) == "verified", || daemon.log());
    assert_eq!(pending(&daemon)["pending"], json!([]));
    assert_eq!(rcode(&daemon), "NOERROR");
    assert_eq!(daemon.stop(), Some(0));

    // It is remembered, and told without a daemon, too.
    let config = folder.path().join("client.toml");
    let list = ["resolvers", "list", "--config", config.to_str().unwrap()];
    let text = stdout(&client(&list));
    assert!(text.contains("  verified  at "), "{text}");
}

#[test]
fn another_resolver_takes_the_place_of_the_one_expected_by_comparison_alone() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_eq!(rcode(&daemon), "NOERROR");
    let known = shown(&resolver);
    let other = resolver.replace();
    let theirs = shown(&other);
    assert_eq!(rcode(&daemon), "SERVFAIL");
    let waits = wait_for(&daemon, "mismatch");
    assert_eq!(waits["name"], json!(theirs.name));
    assert_eq!(waits["expected"], json!(known.name));
    let text = stdout(&daemon.tool(&["pending"]));
    assert!(
        text.contains(&format!("answers where {}", known.name)),
        "{text}"
    );

    // There is no shorter way than comparing.
    let output = daemon.tool(&["approve", &theirs.name.to_string()]);
    assert_eq!(code(&output), 4, "{}", stdout(&output));
    assert!(stderr(&output).contains("phrase"), "{}", stderr(&output));
    // Nor does the phrase of the one expected help.
    let output = approve(&daemon, &known.phrase);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(rcode(&daemon), "SERVFAIL");
    // Nor a code that is damaged, or of another.
    let damaged = theirs.uri.replace("ds=", "ds=0");
    let output = daemon.tool(&["verify", &damaged]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("damaged"), "{}", stderr(&output));
    assert_eq!(rcode(&daemon), "SERVFAIL");
    assert!(
        !other
            .take_in_clear()
            .iter()
            .any(|asked| asked.contains("www")),
        "nothing leaks meanwhile"
    );

    let output = daemon.tool(&["verify", &theirs.uri, "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["outcome"], "accepted");
    wait_until(|| rcode(&daemon) == "NOERROR", || daemon.log());
    let status = daemon.status();
    assert_eq!(status["resolver"]["name"], json!(theirs.name));
    assert_eq!(status["resolver"]["trust"], "verified");
    assert_eq!(status["queries"]["cleartext"], 0);
}

#[test]
fn a_resolver_whose_code_was_scanned_before_is_verified_from_the_first_question() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("{}\nfirst-use = \"enrolled-only\"", server(&resolver));
    let daemon = Daemon::start(folder.path(), &settings);
    assert_eq!(rcode(&daemon), "SERVFAIL", "nobody vouched for it");
    // The text as a camera gives it, with a line's end.
    let output = daemon.tool(&["verify", &format!("{}\n", shown(&resolver).uri)]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    wait_until(|| rcode(&daemon) == "NOERROR", || daemon.log());
    assert_eq!(trust(&daemon), "verified");
}

#[test]
fn a_code_is_read_before_the_first_use_and_from_standard_input() {
    use std::io::Write;
    let resolver = Resolver::start(Manner::Upgraded);
    let theirs = shown(&resolver);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = ["--state-dir", state.to_str().unwrap()];
    let mut verify = common::command(&[&["verify"], &state[..]].concat())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = verify.stdin.take().unwrap();
    writeln!(stdin, "{}", theirs.uri).unwrap();
    drop(stdin);
    let output = verify.wait_with_output().unwrap();
    assert_eq!(
        stdout(&output),
        format!(
            "{} was not met yet; when it is, it is verified\n",
            theirs.name
        )
    );
    let text = stdout(&client(&[&["pending"], &state[..]].concat()));
    assert!(
        text.contains(&format!("{}  vouched for on ", theirs.name)),
        "{text}"
    );

    // What shells leave of a text without quotes.
    let cut = theirs.uri.split('&').next().unwrap();
    let output = client(&[&["verify", cut], &state[..]].concat());
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("quotes"), "{}", stderr(&output));
}

#[test]
fn what_one_computer_knows_another_takes_over() {
    let resolver = Resolver::start(Manner::Upgraded);
    let theirs = shown(&resolver);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_eq!(rcode(&daemon), "NOERROR");
    wait_for(&daemon, "unverified");
    assert_eq!(code(&approve(&daemon, &theirs.phrase)), 0);
    let file = folder.path().join("known.json");
    let file = file.to_str().unwrap();
    let output = daemon.tool(&["export", file]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));

    let other = tempfile::tempdir().unwrap();
    let settings = format!("{}\nfirst-use = \"enrolled-only\"", server(&resolver));
    let laptop = Daemon::start(other.path(), &settings);
    let text = std::fs::read_to_string(file).unwrap();
    let half = folder.path().join("half.json");
    std::fs::write(&half, &text[..text.len() / 2]).unwrap();
    let output = laptop.tool(&["import", half.to_str().unwrap()]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("no export"), "{}", stderr(&output));
    assert_eq!(rcode(&laptop), "SERVFAIL");
    let output = laptop.tool(&["import", file]);
    assert_eq!(
        stdout(&output),
        format!("added: {}\n", theirs.name),
        "{}",
        stderr(&output)
    );
    wait_until(|| rcode(&laptop) == "NOERROR", || laptop.log());
    assert_eq!(trust(&laptop), "verified");
}

#[test]
fn a_resolver_that_was_given_up_is_not_used_again() {
    let resolver = Resolver::start(Manner::Upgraded);
    let theirs = shown(&resolver);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &server(&resolver));
    assert_eq!(rcode(&daemon), "NOERROR");
    let name = theirs.name.to_string();
    let output = daemon.tool(&["forget", &name, "--for-good"]);
    assert_eq!(stdout(&output), format!("{name} is never used again\n"));
    wait_until(|| rcode(&daemon) == "SERVFAIL", || daemon.log());
    // Forgetting it does not bring it back, and nor does its code.
    assert_eq!(code(&daemon.tool(&["forget", &name])), 0);
    assert_eq!(code(&daemon.tool(&["verify", &theirs.uri])), 4);
    assert_eq!(rcode(&daemon), "SERVFAIL");
    assert!(
        !resolver
            .take_in_clear()
            .iter()
            .any(|asked| asked.contains("www")),
        "{}",
        daemon.log()
    );
}

#[test]
fn the_text_of_both_ends_is_read_by_either() {
    let resolver = Resolver::start(Manner::Upgraded);
    let theirs = shown(&resolver);
    let uri: VerificationUri = theirs.uri.parse().unwrap();
    let phrase = Phrase::of(uri.name(), &uri.anchors()[0]);
    assert_eq!(phrase.to_string(), theirs.phrase);
}

#[test]
fn root_writes_no_memory_that_no_daemon_reads() {
    let resolver = Resolver::start(Manner::Upgraded);
    let home = tempfile::tempdir().unwrap();
    let tool = |arguments: &[&str]| {
        let mut command = common::command(arguments);
        command
            .env_remove("XDG_STATE_HOME")
            .env("HOME", home.path());
        command.output().unwrap()
    };
    let uri = shown(&resolver).uri;
    let output = tool(&["verify", &uri]);
    let own = home.path().join(".local/state/zzdot-client");
    if !nix::unistd::geteuid().is_root() {
        // Whoever is not root means his own.
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(own.exists());
        return;
    }
    let said = stderr(&output);
    assert_eq!(code(&output), 3, "{said}");
    assert!(said.contains("start the service"), "{said}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    // Nor is anything told out of nobody's memory.
    assert_eq!(code(&tool(&["export"])), 3);
    // Who names it is understood.
    let own = own.to_str().unwrap();
    assert_eq!(code(&tool(&["verify", &uri, "--state-dir", own])), 0);
    assert_eq!(
        code(&tool(&["export"])),
        0,
        "root has a memory of its own now"
    );
}
