//! `zzdot rotate`: keys are replaced under the running service.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, process::Command};

use support::{
    clock::Clock,
    daemon::{Daemon, Place},
    program,
};

const NO_UPSTREAM: &str = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n";

/// A daemon whose clock the test moves.
fn serve(place: &Place, clock: &Clock) -> Daemon {
    let mut command = place.command("serve");
    clock.rule(&mut command);
    Daemon::start(command, place.path())
}

/// The data of the records at this name.
fn records(place: &Place, name: &str, rtype: &str) -> Vec<String> {
    let server = format!("@{}", place.address);
    let output = program::run(
        Command::new(program::find("dig", "bind9-dnsutils"))
            .args(["-p", "5300", "+short", &server, name, rtype]),
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Whether the service proves the key of this pin.
fn proves(place: &Place, pin: &str) -> bool {
    let pin = format!("+tls-pin={}", pin.strip_prefix("sha256/").unwrap());
    let output = Command::new(program::find("kdig", "knot-dnsutils"))
        .arg(format!("@{}", place.address))
        .args([
            "-p",
            "8530",
            "+tls",
            "+retry=0",
            &pin,
            "resolver-name.arpa",
            "NS",
        ])
        .output()
        .unwrap();
    output.status.success()
}

fn pin(place: &Place) -> String {
    let identity = place.told("identity", &["--json"]);
    let identity: serde_json::Value = serde_json::from_str(&identity).unwrap();
    identity["pin"].as_str().unwrap().to_owned()
}

#[test]
fn a_certificate_is_announced_and_then_replaced_under_the_running_service() {
    let place = Place::new(NO_UPSTREAM);
    let mut clock = Clock::new(place.path());
    let mut daemon = serve(&place, &clock);
    let name = place.status()["name"].as_str().unwrap().to_owned();
    let tlsa = format!("_8530._tcp.{name}");
    let old = pin(&place);
    assert!(proves(&place, &old));

    let told = place.told("rotate", &["--what", "certificate"]);
    assert!(told.ends_with("serve the next certificate\n"), "{told}");
    assert!(place.told("status", &[]).contains(told.trim_end()));
    assert_eq!(records(&place, &tlsa, "TLSA").len(), 2);
    assert!(proves(&place, &old));
    let again = place.run("rotate", &["--what", "certificate"]);
    assert_eq!(again.status.code(), Some(3));
    let message = String::from_utf8(again.stderr).unwrap();
    assert!(
        message.contains("a roll-over of certificate is under way"),
        "{message}"
    );

    clock.advance(180);
    daemon.reload();
    let new = pin(&place);
    assert_ne!(new, old);
    assert!(proves(&place, &new) && !proves(&place, &old));
    assert_eq!(records(&place, &tlsa, "TLSA").len(), 1);
    // Whoever resumed a session of before would prove the old key.
    let tickets = fs::read(place.state().join("tickets.keys")).unwrap();
    let digest = data_encoding::BASE64.encode(&tickets[16..48]);
    assert_eq!(format!("sha256/{digest}"), new);
    assert!(daemon.stop().success());
}

#[test]
fn a_compromised_anchor_is_revoked_at_once_and_the_stand_by_takes_over() {
    let place = Place::new(NO_UPSTREAM);
    let clock = Clock::new(place.path());
    let _daemon = serve(&place, &clock);
    let anchors = || {
        let identity = place.told("identity", &["--json"]);
        let identity: serde_json::Value = serde_json::from_str(&identity).unwrap();
        let tags = identity["trust-anchor"].as_array().unwrap().iter();
        tags.map(|key| key["key-tag"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let before = anchors();
    let key = fs::read_dir(place.identity())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.ends_with("anchor-standby.pem"))
        .unwrap();
    let elsewhere = place.path().join("standby.pem");
    fs::copy(key, &elsewhere).unwrap();
    let file = elsewhere.to_str().unwrap();
    for wrong in [
        ["--what", "zsk", "--standby-key", file].as_slice(),
        &["--what", "anchor", "--standby-key", "/dev/null"],
        &["--what", "everything"],
    ] {
        assert!(!place.run("rotate", wrong).status.success(), "{wrong:?}");
    }
    assert_eq!(anchors(), before);
    place.told(
        "rotate",
        &["--what", "anchor", "--compromised", "--standby-key", file],
    );
    assert_eq!(anchors()[0], before[1]);
    assert!(!anchors().contains(&before[0]));
    let keys = records(&place, "resolver-name.arpa", "DNSKEY");
    let revoked = keys.iter().filter(|key| key.starts_with("385 ")).count();
    assert_eq!((keys.len(), revoked), (4, 1), "{keys:?}");
    let said = records(&place, "_succession.resolver-name.arpa", "TXT");
    assert!(said.is_empty(), "{said:?}");
}
