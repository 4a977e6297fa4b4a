#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::tally::REASONS;

const BUILT: UnixTime = UnixTime(1_800_000_000);

fn server() -> SocketAddr {
    "192.0.2.1:853".parse().unwrap()
}

/// A machine on which all is well.
fn healthy() -> Facts {
    Facts {
        config: Ok(()),
        daemon: Ok(json!({
            "listen": ["127.0.0.1:53", "[::1]:53"], "server": "192.0.2.1:53", "state": "strict", "rung": "verified",
            "down": null, "refusal": null, "tls": {"connected": true}, "cleartext-since-boot": 0,
            "resolver": {"trust": "verified", "signatures-expire": "2027-02-01 00:00:00"},
        })),
        asked: Ok(vec!["127.0.0.1".parse().unwrap()]),
        clock: UnixTime(BUILT.0 + 86_400),
        built: BUILT,
        route: Some(Ok(())),
        dot: Some((server(), Touched::Open)),
        question: Some(Asked::Answered {
            rcode: "NOERROR".to_owned(),
            errors: Vec::new(),
        }),
    }
}

/// The machine with these changes to the daemon's status.
fn with_status(changes: Value) -> Facts {
    let mut facts = healthy();
    let status = facts.daemon.as_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        status[key] = value.clone();
    }
    facts
}

fn bad(facts: &Facts) -> Vec<Area> {
    let findings = examine(facts);
    let bad = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Bad);
    bad.map(|finding| finding.area).collect()
}

#[test]
fn a_healthy_machine_has_nothing_wrong_and_nothing_unknown() {
    let findings = examine(&healthy());
    assert!(!is_ill(&findings), "{findings:#?}");
    let good = findings
        .iter()
        .all(|finding| finding.verdict == Verdict::Good);
    assert!(good, "{findings:#?}");
}

#[test]
fn each_kind_of_fault_is_told_as_itself_and_as_nothing_else() {
    let refused = |name: &str| {
        with_status(json!({
            "down": {"reason": name, "cause": "because"},
            "refusal": {"name": name, "cause": "because", "cure": "do this"},
        }))
    };
    let mut moved = healthy();
    moved.clock = UnixTime(0);
    assert_eq!(bad(&moved), [Area::Clock]);
    moved.clock = UnixTime(BUILT.0 + 80 * 365 * 86_400);
    assert_eq!(bad(&moved), [Area::Clock], "the year 2100");
    for (reason, area) in [
        ("clock-below-floor", Area::Clock),
        ("certificate-mismatch", Area::Tls),
        ("handshake-failed", Area::Tls),
        ("no-answer-on-dot-port", Area::Tls),
        ("signature-wrong", Area::Dnssec),
        ("denial-missing", Area::Dnssec),
        ("anchor-changed", Area::Trust),
        ("name-changed", Area::Trust),
        ("not-encrypted", Area::Configuration),
        ("chain-not-encrypted", Area::Privacy),
    ] {
        let facts = refused(reason);
        assert_eq!(bad(&facts), [area], "{reason}");
        let told = examine(&facts);
        let told = told
            .iter()
            .find(|finding| finding.verdict == Verdict::Bad)
            .unwrap();
        assert!(told.says.contains(reason), "{told:?}");
        assert_eq!(told.cure.as_deref(), Some("do this"));
    }
    let mut unreachable = healthy();
    unreachable.route = Some(Err("Network is unreachable".to_owned()));
    assert_eq!(bad(&unreachable), [Area::Routing]);
    let portal =
        with_status(json!({"portal": {"open": true, "address": "https://login.example/"}}));
    assert_eq!(bad(&portal), [Area::Portal]);
    let mut unreadable = healthy();
    unreadable.config = Err("client.toml:1: nonsense".to_owned());
    assert_eq!(bad(&unreadable), [Area::Configuration]);
    let nowhere = with_status(json!({"state": "no-network", "server": null}));
    assert_eq!(bad(&nowhere), [Area::Routing]);
}

#[test]
fn a_port_tells_a_service_that_is_off_from_a_firewall() {
    let told = |touched| {
        let mut facts = with_status(json!({
            "down": {"reason": "no-answer-on-dot-port", "cause": "nobody answers"},
        }));
        facts.dot = Some((server(), touched));
        let findings = examine(&facts);
        findings
            .into_iter()
            .find(|finding| finding.area == Area::Tls)
            .unwrap()
            .says
    };
    assert!(told(Touched::Refused).contains("not running"));
    assert!(told(Touched::Silent).contains("firewall"));
}

#[test]
fn without_the_daemon_nothing_outside_is_judged() {
    let mut facts = healthy();
    facts.daemon = Err("the daemon is not running".to_owned());
    facts.question = None;
    assert_eq!(bad(&facts), [Area::Configuration]);
    let findings = examine(&facts);
    let unknown = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Unknown);
    assert_eq!(unknown.count(), 5);
}

#[test]
fn cleartext_and_strangers_are_noted_and_no_illness() {
    let facts = with_status(
        json!({"state": "legacy", "rung": "cleartext", "cleartext-since-boot": 7, "resolver": null}),
    );
    let findings = examine(&facts);
    assert!(!is_ill(&findings), "{findings:#?}");
    let privacy = findings
        .iter()
        .find(|finding| finding.area == Area::Privacy)
        .unwrap();
    assert_eq!(privacy.verdict, Verdict::Note);
    assert!(privacy.says.contains("7 questions"), "{privacy:?}");
    let of_the_box = |status| {
        let findings = examine(&with_status(status));
        let cures = findings.iter().filter_map(|finding| finding.cure.clone());
        cures.filter(|cure| cure == "tell the box").count()
    };
    for status in [
        json!({"state": "legacy", "rung": "cleartext", "legacy": {"cure": "tell the box"}}),
        json!({"state": "legacy", "rung": null, "legacy": {"cure": "tell the box"},
               "down": {"reason": "not-encrypted", "cause": "no TLS"}}),
    ] {
        assert_eq!(of_the_box(status), 1, "what the box's operator can do");
    }
    let facts = with_status(json!({"resolver": {"trust": "provisional"}}));
    let findings = examine(&facts);
    let trust = findings
        .iter()
        .find(|finding| finding.area == Area::Trust)
        .unwrap();
    assert_eq!(trust.verdict, Verdict::Note);
}

#[test]
fn a_question_that_fails_is_blamed_on_what_its_error_names() {
    let mut facts = healthy();
    for (error, area) in [
        (
            "certificate-mismatch: 192.0.2.1:853: another key",
            Area::Tls,
        ),
        ("no-answer: it does not answer", Area::Routing),
        ("signature-expired: a week ago", Area::Clock),
        ("no upstream could be reached", Area::Routing),
        ("", Area::Routing),
    ] {
        facts.question = Some(Asked::Answered {
            rcode: "SERVFAIL".to_owned(),
            errors: vec![error.to_owned()],
        });
        assert_eq!(bad(&facts), [area], "{error}");
    }
    facts.question = Some(Asked::Silence);
    assert_eq!(bad(&facts), [Area::Configuration]);
}

#[test]
fn applications_that_ask_somebody_else_are_noted() {
    let mut facts = healthy();
    for (servers, verdict) in [
        (vec!["127.0.0.1"], Verdict::Good),
        (vec!["127.0.0.1", "::1"], Verdict::Good),
        (vec!["127.0.0.1", "192.0.2.1"], Verdict::Note),
        (vec!["192.0.2.1"], Verdict::Note),
        (vec![], Verdict::Note),
    ] {
        facts.asked = Ok(servers.iter().map(|text| text.parse().unwrap()).collect());
        let status = facts.daemon.clone().unwrap();
        assert_eq!(
            asked_by_applications(&facts, &status).verdict,
            verdict,
            "{servers:?}"
        );
    }
}

#[test]
fn every_reason_has_an_area() {
    for area in [
        Area::Clock,
        Area::Tls,
        Area::Portal,
        Area::Configuration,
        Area::Trust,
        Area::Routing,
        Area::Dnssec,
    ] {
        assert!(
            REASONS.iter().any(|reason| area_of(reason) == area),
            "{area}"
        );
    }
}
