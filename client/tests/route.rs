//! Whom the client asks where the resolver is a forwarder, and whether it asks at all: the program itself, in front of
//! resolvers that say in their zones whom they ask.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Daemon, Manner, Resolver, client, code, stderr, stdout, wait_until};
use serde_json::Value;
use zzdot_zonegen::upstream::{Proof, PublishedUpstream, ServerKind, Transport};
use zzdot_zonegen::zone::ServerType;

/// A forwarder that asks a resolver over TLS, and a client of the forwarder.
struct Lab {
    near: Resolver,
    far: Resolver,
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            near: Resolver::start(Manner::Upgraded),
            far: Resolver::start(Manner::Upgraded),
            folder: tempfile::tempdir().unwrap(),
        };
        lab.forward_to(lab.far.as_upstream(ServerKind::Resolver));
        lab
    }

    fn forward_to(&self, upstream: PublishedUpstream) {
        self.near.publish(ServerType::Forwarder, vec![upstream]);
    }

    fn plain(&self) -> PublishedUpstream {
        PublishedUpstream {
            transport: Transport::Plain,
            proof: Proof::None,
            ..self.far.as_upstream(ServerKind::Resolver)
        }
    }

    fn client(&self, route: &str) -> Daemon {
        let settings = format!("server = \"{}\"\nroute = \"{route}\"", self.near.address);
        Daemon::start(self.folder.path(), &settings)
    }

    /// Nothing that anybody asked left in cleartext.
    fn assert_no_question_in_clear(&self) {
        for resolver in [&self.near, &self.far] {
            let asked = resolver.take_in_clear();
            let about =
                |asked: &String| asked.contains("resolver-name.arpa.") || asked.contains(".zz");
            assert!(asked.iter().all(about), "{asked:?}");
        }
    }
}

fn www(daemon: &Daemon) -> Value {
    let output = daemon.tool(&["query", "www.example", "A", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn is_answered(told: &Value) -> bool {
    told["answers"][0]["data"] == "192.0.2.80"
}

fn assert_answered(daemon: &Daemon) {
    let told = www(daemon);
    assert!(is_answered(&told), "{told} {}", daemon.status());
}

fn assert_refused(daemon: &Daemon) -> String {
    let told = www(daemon);
    assert_eq!(told["rcode"], "SERVFAIL");
    let error = told["extended-errors"][0].as_str().unwrap();
    assert!(error.starts_with("chain-not-encrypted: "), "{error}");
    error.to_owned()
}

fn asked() -> Vec<String> {
    vec!["www.example. A".to_owned()]
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn where_all_is_encrypted_to_the_end_the_nearest_is_asked_and_once_it_is_not_nobody() {
    let lab = Lab::new();
    let daemon = lab.client("encrypted-to-end");
    assert_answered(&daemon);
    assert_answered(&daemon);
    assert_eq!(lab.near.take_over_tls(), [asked(), asked()].concat());
    assert_eq!(lab.far.take_over_tls(), none());
    let status = daemon.status();
    assert_eq!(status["route"]["asks"], "nearest", "{status}");
    assert_eq!(status["route"]["chain"]["encrypted-to-end"], true);
    drop(daemon);

    // A new one knows the resolver, and still looks behind it before it asks anything.
    lab.forward_to(lab.plain());
    let daemon = lab.client("encrypted-to-end");
    let error = assert_refused(&daemon);
    let hop = format!(
        "{} asks {}, cleartext",
        lab.near.identity.name(),
        lab.far.identity.name()
    );
    assert!(error.contains(&hop), "{error}");
    assert_refused(&daemon);
    let status = daemon.status();
    assert_eq!(status["down"]["reason"], "chain-not-encrypted", "{status}");
    assert_eq!(status["refusal"]["name"], "chain-not-encrypted");
    assert_eq!(status["route"]["asks"], Value::Null);
    let doctor = daemon.tool(&["doctor"]);
    assert_eq!(code(&doctor), 3);
    assert!(
        stdout(&doctor).contains("chain-not-encrypted"),
        "{}",
        stdout(&doctor)
    );
    assert_eq!(lab.near.take_over_tls(), none());

    // It is mended, and nobody has to say so.
    lab.forward_to(lab.far.as_upstream(ServerKind::Resolver));
    wait_until(
        || is_answered(&www(&daemon)),
        || format!("{}", daemon.status()),
    );
    lab.assert_no_question_in_clear();
}

#[test]
fn a_forwarder_of_which_nobody_knows_whom_it_asks_is_not_asked_where_all_has_to_be_encrypted() {
    let lab = Lab::new();
    // It says that it forwards, and names nobody.
    lab.near.publish(ServerType::Forwarder, Vec::new());
    assert_refused(&lab.client("encrypted-to-end"));
    // Its word against that of whom it asks.
    lab.forward_to(lab.far.as_upstream(ServerKind::Resolver));
    lab.far.publish(ServerType::Forwarder, Vec::new());
    assert_refused(&lab.client("encrypted-to-end"));
    // It knows only the address of whom it asks.
    let unauthenticated = PublishedUpstream {
        transport: Transport::Opportunistic,
        proof: Proof::None,
        ..lab.far.as_upstream(ServerKind::Forwarder)
    };
    lab.far.publish(ServerType::Resolver, Vec::new());
    lab.forward_to(unauthenticated);
    assert_refused(&lab.client("encrypted-to-end"));
    assert_eq!(lab.near.take_over_tls(), none());
    lab.assert_no_question_in_clear();
}

#[test]
fn a_legacy_server_is_asked_nothing_where_all_has_to_be_encrypted_whatever_else_is_allowed() {
    let lab = Lab::new();
    lab.near.set_manner(Manner::Legacy);
    let daemon = lab.client("encrypted-to-end\"\nlegacy = \"plain");
    assert_refused(&daemon);
    let told = daemon.tool(&["trace", "--json"]);
    assert_eq!(code(&told), 5, "{}", stderr(&told));
    let trace: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(trace["hops"][0]["label"], "cleartext");
    assert_eq!(trace["asks"], Value::Null);
    drop(daemon);
    lab.assert_no_question_in_clear();
}

#[test]
fn the_end_is_asked_over_tls_while_it_answers_and_the_nearest_over_tls_while_it_does_not() {
    let lab = Lab::new();
    let daemon = lab.client("end");
    let asks = |whom: &str| daemon.status()["route"]["asks"] == whom;
    assert_answered(&daemon);
    wait_until(|| asks("end"), || format!("the end: {}", daemon.status()));
    lab.near.take_over_tls();
    lab.far.take_over_tls();
    for _ in 0..5 {
        assert_answered(&daemon);
    }
    assert_eq!(lab.far.take_over_tls(), vec!["www.example. A"; 5]);
    assert_eq!(lab.near.take_over_tls(), none());
    let told = daemon.tool(&["trace", "--json"]);
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    let trace: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(trace["asks"], trace["ends"][0], "{trace}");

    lab.far.break_tls();
    assert_answered(&daemon);
    assert_eq!(lab.near.take_over_tls(), asked());
    wait_until(
        || asks("nearest"),
        || format!("the nearest: {}", daemon.status()),
    );
    assert_answered(&daemon);
    assert_eq!(lab.near.take_over_tls(), asked());
    let status = daemon.status();
    assert_eq!(status["down"], Value::Null, "{status}");

    // With neither, there is no answer: nothing goes in cleartext.
    lab.near.break_tls();
    assert_eq!(www(&daemon)["rcode"], "SERVFAIL");
    assert_eq!(daemon.status()["queries"]["cleartext"], 0);
    assert_eq!(daemon.status()["queries"]["end"], 5);
    lab.far.mend_tls();
    lab.near.mend_tls();
    wait_until(
        || asks("end"),
        || format!("the end again: {}", daemon.status()),
    );
    assert_answered(&daemon);
    assert_eq!(lab.far.take_over_tls().last(), asked().last());
    drop(daemon);
    lab.assert_no_question_in_clear();
}

#[test]
fn a_trace_is_told_as_text_as_json_and_as_a_picture_of_the_daemon_and_without_one() {
    let lab = Lab::new();
    let daemon = lab.client("nearest");
    assert_answered(&daemon);
    let (near, far) = (lab.near.identity.name(), lab.far.identity.name());
    let told = daemon.tool(&["trace"]);
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    let text = stdout(&told);
    assert!(text.starts_with("this computer\n"), "{text}");
    assert_eq!(text.matches("proven").count(), 2, "{text}");
    assert!(text.contains(&format!("questions go to {near} (route = \"nearest\")")));
    let told = daemon.tool(&["trace", "--json"]);
    let trace: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(trace["encrypted-to-end"], true);
    assert_eq!(trace["nodes"][1]["name"], near.to_string());
    assert_eq!(trace["nodes"][2]["name"], far.to_string());
    assert_eq!(trace["nodes"][2]["met-at"], lab.far.dot.to_string());
    let drawn = stdout(&daemon.tool(&["trace", "--svg"]));
    assert!(
        drawn.starts_with("<svg ") && drawn.contains(&far.to_string()),
        "{drawn}"
    );
    drop(daemon);

    lab.forward_to(lab.plain());
    let server = lab.near.address.to_string();
    let told = client(&["trace", "--server", &server]);
    assert_eq!(code(&told), 5, "{}", stderr(&told));
    assert!(
        stdout(&told).contains("CLEARTEXT plain DNS"),
        "{}",
        stdout(&told)
    );
    lab.near.set_manner(Manner::Legacy);
    let told = client(&["trace", "--server", &server]);
    assert_eq!(code(&told), 5, "{}", stderr(&told));
    lab.near.set_manner(Manner::Silent);
    lab.assert_no_question_in_clear();
}

#[test]
fn of_a_server_whose_key_is_configured_it_is_told_that_it_says_nothing_about_whom_it_asks() {
    let lab = Lab::new();
    let pin = data_encoding::BASE64.encode(&lab.near.identity.spki_sha256());
    let settings = format!(
        "server = \"tls://{}#dns.example\"\npin = \"sha256/{pin}\"",
        lab.near.dot
    );
    let daemon = Daemon::start(lab.folder.path(), &settings);
    let told = daemon.tool(&["trace", "--json"]);
    assert_eq!(code(&told), 5, "{}", stderr(&told));
    let trace: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(trace["hops"][0]["label"], "proven", "{trace}");
    assert_eq!(trace["hops"][0]["proof"], "pin");
    assert_eq!(trace["weakness"]["reason"], "says-nothing");
    assert_eq!(trace["weakness"]["to"], Value::Null);
}

#[test]
fn of_a_server_that_is_not_upgraded_and_therefore_not_asked_it_is_told_what_would_be() {
    let near = Resolver::start(Manner::Legacy);
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("server = \"{}\"\nlegacy = \"refuse\"", near.address);
    let daemon = Daemon::start(folder.path(), &settings);
    assert_eq!(www(&daemon)["rcode"], "SERVFAIL");
    let told = daemon.tool(&["trace", "--json"]);
    assert_eq!(code(&told), 5, "{}", stderr(&told));
    let trace: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(trace["hops"][0]["label"], "cleartext", "{trace}");
    assert_eq!(trace["asks"], Value::Null);
}
