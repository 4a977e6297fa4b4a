//! Whom the client asks where the resolver is a forwarder, and whether it asks at all: the program itself, in front of
//! resolvers that say in their zones whom they ask.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Daemon, Manner, Resolver, client, code, stderr, stdout, wait_until};
use hickory_proto::op::ResponseCode;
use serde_json::Value;
use zzdot_zonegen::summary::Summary;
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

    fn settings(&self, route: &str) -> String {
        format!("server = \"{}\"\nroute = \"{route}\"", self.near.address)
    }

    fn client(&self, route: &str) -> Daemon {
        Daemon::start(self.folder.path(), &self.settings(route))
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

fn wait_for_end(daemon: &Daemon, standing: &str) {
    let standing_now = || daemon.status()["route"]["end"]["standing"].clone();
    wait_until(
        || standing_now() == standing,
        || format!("{standing}: {}", daemon.status()),
    );
}

/// The end refuses to answer this computer, and says so to the first question that comes the short way.
#[test]
fn an_end_that_refuses_is_left_for_the_nearest_until_it_is_looked_at_again() {
    let lab = Lab::new();
    let daemon = lab.client("end");
    assert_answered(&daemon);
    wait_for_end(&daemon, "in-use");
    lab.near.take_over_tls();
    lab.far.answer_with(ResponseCode::Refused);
    assert_answered(&daemon);
    assert_eq!(lab.near.take_over_tls(), asked());
    wait_for_end(&daemon, "refuses");
    lab.far.take_over_tls();
    assert_answered(&daemon);
    assert_eq!(lab.near.take_over_tls(), asked());
    assert_eq!(lab.far.take_over_tls(), none(), "it is remembered");
    let status = daemon.status();
    assert_eq!(status["route"]["asks"], "nearest", "{status}");
    let told = stdout(&daemon.tool(&["trace"]));
    assert!(
        told.contains("it refuses to answer this computer"),
        "{told}"
    );

    // It was mended, and is looked at again.
    lab.far.answer_with(ResponseCode::NoError);
    daemon.reload(&lab.settings("nearest"));
    daemon.reload(&lab.settings("end"));
    wait_for_end(&daemon, "in-use");
    assert_answered(&daemon);
    assert_eq!(lab.far.take_over_tls().last(), asked().last());
    drop(daemon);
    lab.assert_no_question_in_clear();
}

#[test]
fn an_end_at_which_everything_fails_is_left_for_the_nearest_and_a_name_that_fails_fails() {
    let lab = Lab::new();
    let daemon = lab.client("end");
    assert_answered(&daemon);
    wait_for_end(&daemon, "in-use");
    lab.near.take_over_tls();
    // Both have no answer: then that of the end counts.
    for resolver in [&lab.near, &lab.far] {
        resolver.answer_with(ResponseCode::ServFail);
    }
    for _ in 0..4 {
        assert_eq!(www(&daemon)["rcode"], "SERVFAIL");
    }
    let status = daemon.status();
    assert_eq!(status["route"]["end"]["standing"], "in-use", "{status}");
    // The nearest has one, and nothing else came of the end for a while.
    lab.near.answer_with(ResponseCode::NoError);
    lab.near.take_over_tls();
    assert_answered(&daemon);
    wait_for_end(&daemon, "fails");
    assert_answered(&daemon);
    assert_eq!(lab.near.take_over_tls(), [asked(), asked()].concat());
    drop(daemon);
    lab.assert_no_question_in_clear();
}

#[test]
fn a_change_of_the_route_takes_effect_without_waiting_for_the_next_survey() {
    let lab = Lab::new();
    let daemon = lab.client("encrypted-to-end");
    assert_answered(&daemon);
    let looked = || daemon.status()["route"]["chain"]["looked-at"].clone();
    assert_ne!(looked(), Value::Null);
    daemon.reload(&lab.settings("end"));
    wait_for_end(&daemon, "in-use");
    let status = daemon.status();
    assert_eq!(status["route"]["asks"], "end", "{status}");
    // A cleartext hop was let pass while nothing else was asked for.
    lab.forward_to(lab.plain());
    daemon.reload(&lab.settings("nearest"));
    assert_eq!(daemon.status()["route"]["end"], Value::Null);
    assert_answered(&daemon);
    daemon.reload(&lab.settings("encrypted-to-end"));
    wait_until(
        || www(&daemon)["rcode"] == "SERVFAIL",
        || format!("refused: {}", daemon.status()),
    );
    assert_refused(&daemon);
    lab.forward_to(lab.far.as_upstream(ServerKind::Resolver));
    daemon.reload(&lab.settings("nearest"));
    daemon.reload(&lab.settings("encrypted-to-end"));
    assert_answered(&daemon);
    drop(daemon);
    lab.assert_no_question_in_clear();
}

/// A person vouches for `resolver` by its code.
fn enrol(daemon: &Daemon, resolver: &Resolver) {
    let uri = Summary::new(&resolver.identity, None).uri;
    let output = daemon.tool(&["verify", &uri]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

/// The word of the nearest, which somebody enrolled, is not enough for a resolver that is asked itself.
#[test]
fn where_only_enrolled_resolvers_are_asked_the_end_has_to_be_enrolled_itself() {
    let lab = Lab::new();
    let settings = format!("{}\nfirst-use = \"enrolled-only\"", lab.settings("end"));
    let daemon = Daemon::start(lab.folder.path(), &settings);
    assert_eq!(www(&daemon)["rcode"], "SERVFAIL");
    enrol(&daemon, &lab.near);
    wait_until(|| is_answered(&www(&daemon)), || daemon.log());
    wait_for_end(&daemon, "not-vouched-for");
    assert_answered(&daemon);
    let status = daemon.status();
    assert_eq!(status["route"]["asks"], "nearest", "{status}");
    assert_eq!(lab.far.take_over_tls(), none());
    let told = stdout(&daemon.tool(&["trace"]));
    assert!(told.contains("nobody vouched for it"), "{told}");

    enrol(&daemon, &lab.far);
    wait_for_end(&daemon, "in-use");
    assert_answered(&daemon);
    assert_eq!(lab.far.take_over_tls(), asked());
    // Nobody on the way was told its name.
    assert_eq!(lab.far.take_in_clear(), none());
    // Nobody but those was remembered, and nobody was asked in clear.
    let known = stdout(&daemon.tool(&["resolvers", "list", "--json"]));
    assert!(
        !known.contains(&lab.far.identity.name().to_string()),
        "{known}"
    );
    drop(daemon);
    lab.assert_no_question_in_clear();
}

/// An end that somebody enrolled and that does not answer is silent, and nobody has to enrol it.
#[test]
fn an_enrolled_end_that_does_not_answer_is_not_told_to_lack_a_voucher() {
    let lab = Lab::new();
    let settings = format!("{}\nfirst-use = \"enrolled-only\"", lab.settings("end"));
    let daemon = Daemon::start(lab.folder.path(), &settings);
    enrol(&daemon, &lab.near);
    wait_until(|| is_answered(&www(&daemon)), || daemon.log());
    // The survey met it; then it fell silent, and then somebody enrolled it.
    wait_for_end(&daemon, "not-vouched-for");
    lab.far.break_tls();
    enrol(&daemon, &lab.far);
    wait_for_end(&daemon, "silent");
    let told = stdout(&daemon.tool(&["trace"]));
    assert!(!told.contains("nobody vouched for it"), "{told}");
    assert_answered(&daemon);
}

/// Who says that the end is somebody whom a person enrolled, and gives it other keys.
#[test]
fn an_enrolled_name_with_the_keys_of_somebody_else_is_not_the_end_that_was_enrolled() {
    let lab = Lab::new();
    let liar = Resolver::start(Manner::Upgraded);
    // The zone of the far one, signed by the liar: the name is enrolled, and the keys are his.
    let far = Summary::new(&lab.far.identity, None).uri;
    let theirs = Summary::new(&liar.identity, None).uri;
    let keys = theirs.split_once('?').unwrap().1;
    let named = far.split_once('?').unwrap().0;
    let settings = format!("{}\nfirst-use = \"enrolled-only\"", lab.settings("end"));
    let daemon = Daemon::start(lab.folder.path(), &settings);
    for uri in [
        Summary::new(&lab.near.identity, None).uri,
        format!("{named}?{keys}"),
    ] {
        let output = daemon.tool(&["verify", &uri]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
    }
    wait_until(|| is_answered(&www(&daemon)), || daemon.log());
    wait_for_end(&daemon, "not-vouched-for");
    assert_answered(&daemon);
    assert_eq!(lab.far.take_over_tls(), none());
}

#[test]
fn a_name_that_nobody_answers_sends_no_other_question_to_the_nearest() {
    let lab = Lab::new();
    let daemon = lab.client("end");
    let asks = |whom: &str| daemon.status()["route"]["asks"] == whom;
    assert_answered(&daemon);
    wait_until(|| asks("end"), || format!("the end: {}", daemon.status()));
    lab.near.take_over_tls();
    lab.far.take_over_tls();
    let mut slow = daemon.begin(&["query", "never.example", "A"]);
    // The end had its time for it: it is the nearest's now.
    wait_until(
        || lab.near.take_over_tls() == ["never.example. A"],
        || format!("the nearest is asked too: {}", daemon.status()),
    );
    assert!(asks("end"), "{}", daemon.status());
    assert_answered(&daemon);
    assert_eq!(lab.near.take_over_tls(), none());
    let asked = lab.far.take_over_tls();
    assert!(asked.contains(&"www.example. A".to_owned()), "{asked:?}");
    slow.kill().unwrap();
    slow.wait().unwrap();
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

/// Which server a name is asked of, why, and what is behind it.
#[test]
fn a_trace_of_a_name_is_of_the_server_that_is_asked_about_it_and_one_of_all_is_of_each() {
    let lab = Lab::new();
    let corp = Resolver::start(Manner::Upgraded);
    let plain = Resolver::start(Manner::Legacy);
    let settings = format!(
        "{}\n[[elsewhere]]\ndomains = [\"corp.example\"]\nserver = \"{}\"\n\
         [[elsewhere]]\ndomains = [\"old.corp.example\", \"lan\"]\nserver = \"{}\"",
        lab.settings("nearest"),
        corp.address,
        plain.address
    );
    let daemon = Daemon::start(lab.folder.path(), &settings);
    let answered = |arguments: &[&str]| {
        let mut told = None;
        // What is not upgraded is found out rung by rung.
        wait_until(
            || {
                let output = daemon.tool(arguments);
                let answered = code(&output) == 0 || code(&output) == 5;
                told = answered.then_some(output);
                told.is_some()
            },
            || format!("{arguments:?}: {}", daemon.log()),
        );
        told.unwrap()
    };
    for (name, server, domain, exit) in [
        ("www.example", &lab.near, Value::Null, 0),
        ("www.CORP.example.", &corp, "corp.example".into(), 0),
        ("a.old.corp.example", &plain, "old.corp.example".into(), 5),
        ("lan", &plain, "lan".into(), 5),
        ("xlan", &lab.near, Value::Null, 0),
    ] {
        let told = answered(&["trace", name, "--json"]);
        assert_eq!(code(&told), exit, "{name}: {}", stdout(&told));
        let trace: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(trace["server"], server.address.to_string(), "{name}");
        assert_eq!(trace["chosen"]["domain"], domain, "{name}");
        assert_eq!(trace["chosen"]["link"], Value::Null);
        assert_eq!(trace["chosen"]["others"], 2);
    }
    let told = stdout(&answered(&["trace", "www.corp.example"]));
    let reason = format!(
        "www.corp.example is asked of {}: `[[elsewhere]]` in the configuration names it for corp.example\n\nthis computer\n",
        corp.address
    );
    assert!(told.starts_with(&reason), "{told}");
    assert!(told.contains(&corp.identity.name().to_string()), "{told}");
    let told = stdout(&answered(&["trace"]));
    let reason = format!(
        "everything else is asked of {}: no domain sends it elsewhere\n",
        lab.near.address
    );
    assert!(told.starts_with(&reason), "{told}");
    assert!(told.contains("`zzdot-client trace --all`"), "{told}");
    let drawn = stdout(&answered(&["trace", "lan", "--svg"]));
    assert!(drawn.contains("lan is asked of"), "{drawn}");

    let told = answered(&["trace", "--all"]);
    assert_eq!(code(&told), 5);
    let text = stdout(&told);
    let headings = [
        format!("{} is asked about everything else\n", lab.near.address),
        format!(
            "{} is asked about corp.example (`[[elsewhere]]`)\n",
            corp.address
        ),
        format!(
            "{} is asked about lan (`[[elsewhere]]`), old.corp.example (`[[elsewhere]]`)\n",
            plain.address
        ),
    ];
    let mut at = 0;
    for heading in &headings[..1] {
        at = text[at..]
            .find(heading)
            .unwrap_or_else(|| panic!("{heading} {text}"));
    }
    assert_eq!(at, 0, "{text}");
    for heading in &headings[1..] {
        assert!(text.contains(heading), "{heading} {text}");
    }
    let told = answered(&["trace", "--all", "--json"]);
    let all: Value = serde_json::from_slice(&told.stdout).unwrap();
    let servers = all["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    assert_eq!(servers[0]["default"], true);
    assert!(
        servers.iter().all(|server| server["trace"].is_object()),
        "{all}"
    );
    // Nothing but one server, and nothing is said about others.
    daemon.reload(&lab.settings("nearest"));
    let told = stdout(&answered(&["trace"]));
    assert!(told.starts_with("this computer\n"), "{told}");
    assert!(!told.contains("--all"), "{told}");
    for wrong in [
        &["trace", "a..b"][..],
        &["trace", "lan", "--all"],
        &["trace", "--all", "--svg"],
    ] {
        assert_eq!(code(&daemon.tool(wrong)), 2, "{wrong:?}");
    }
    drop(daemon);
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
    for legacy in ["refuse", "encrypted", "verified"] {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!("server = \"{}\"\nlegacy = \"{legacy}\"", near.address);
        let daemon = Daemon::start(folder.path(), &settings);
        assert_eq!(www(&daemon)["rcode"], "SERVFAIL");
        let told = daemon.tool(&["trace", "--json"]);
        assert_eq!(code(&told), 5, "{legacy}: {}", stderr(&told));
        let trace: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(trace["hops"][0]["label"], "cleartext", "{trace}");
        assert_eq!(trace["asks"], Value::Null);
        let why = trace["asks-why"].as_str().unwrap();
        assert!(why.contains(&format!("\"{legacy}\"")), "{why}");
    }
}
