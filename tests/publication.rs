//! What the appliance says about itself, in words and when it cannot publish.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use support::{clock, daemon::Place, program};
use zzdot_zonegen::{
    identity::Identity,
    keys::ds,
    owners::anchor_zone,
    phrase::Phrase,
    publication::{STATE_FILE, Stamp},
    qr::{Ink, Picture},
    summary::Summary,
    uri::VerificationUri,
};

/// Nobody listens there, so it is soon known.
const NO_UPSTREAM: &str = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n";

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn kdig(place: &Place, arguments: &[&str]) -> String {
    let output = program::run(
        Command::new(program::find("kdig", "knot-dnsutils"))
            .arg(format!("@{}", place.address))
            .args(["-p", "5300"])
            .args(arguments),
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_identity_is_told_in_the_same_words_whoever_is_asked() {
    let place = Place::new(NO_UPSTREAM);
    let daemon = place.serve();
    let identity = Identity::load(&place.identity()).unwrap();
    let stamp = Stamp::load(&place.identity()).unwrap();
    // This is what `zzdot-zonegen show` prints.
    let summary = Summary::new(&identity, stamp.as_ref());
    let same = |when: &str| {
        assert_eq!(place.told("identity", &[]), summary.to_string(), "{when}");
        assert_eq!(
            place.told("identity", &["--json"]),
            summary.json(),
            "{when}"
        );
    };
    same("the files are read");
    // The files are out of sight, and the daemon is asked.
    let aside = place.state().join("aside");
    fs::rename(place.identity(), &aside).unwrap();
    same("the daemon is asked");
    fs::rename(&aside, place.identity()).unwrap();
    assert!(daemon.stop().success());
    same("the daemon is gone");
}

#[test]
fn the_identity_is_shown_for_verification_as_code_text_and_phrase() {
    let place = Place::new(NO_UPSTREAM);
    assert!(place.serve().stop().success());
    let identity = Identity::load(&place.identity()).unwrap();
    let anchors = identity.trust_anchor();
    let anchors = anchors.iter().map(|key| ds(&anchor_zone(), key));
    let anchors: Vec<_> = anchors.collect();
    let phrase = Phrase::of(identity.name(), &anchors[0]);
    assert_eq!(
        place.told("identity", &["--phrase"]),
        format!("{phrase}\n{}\n", phrase.digits())
    );
    let address = place.address.parse().unwrap();
    let uri = VerificationUri::new(identity.name().clone(), anchors, [address]).unwrap();
    assert_eq!(place.told("identity", &["--uri"]), format!("{uri}\n"));

    let picture = Picture::of(&uri.to_string()).unwrap();
    let (svg, png) = (place.path().join("code.svg"), place.path().join("code.png"));
    let files = [
        "--svg",
        svg.to_str().unwrap(),
        "--png",
        png.to_str().unwrap(),
    ];
    assert_eq!(place.told("identity", &files), "");
    assert_eq!(fs::read_to_string(&svg).unwrap(), picture.svg());
    assert_eq!(fs::read(&png).unwrap(), picture.png().unwrap());
    let shown = place.told("identity", &["--qr"]);
    assert_eq!(
        shown,
        format!(
            "{}\n{uri}\n\n{phrase}\n{}\n",
            picture.terminal(Ink::Plain),
            phrase.digits()
        )
    );
    for wrong in [["--qr", "--json"], ["--uri", "--phrase"]] {
        assert_eq!(place.run("identity", &wrong).status.code(), Some(2));
    }
    let nowhere = place.path().join("no/such/folder.png");
    let output = place.run("identity", &["--png", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("folder.png"), "{output:?}");
}

#[test]
fn a_state_of_publication_that_cannot_be_read_is_told_everywhere_with_its_cure() {
    let place = Place::new(NO_UPSTREAM);
    assert!(place.serve().stop().success());
    let file = place.identity().join(STATE_FILE);
    fs::write(&file, "{}").unwrap();
    for command in ["check", "identity"] {
        let output = place.run(command, &[]);
        assert_eq!(output.status.code(), Some(3), "{command}");
        let text = stderr(&output);
        let cure = format!(
            "zzdot: hint: with the clock right, remove {}",
            file.display()
        );
        assert!(text.contains(&cure), "{command}: {text}");
    }
    let daemon = place.serve();
    let status = place.status();
    let trouble = status["zones-trouble"].as_str().unwrap();
    assert!(
        trouble.contains("is not the state of a publication"),
        "{trouble}"
    );
    let hint = status["zones-hint"].as_str().unwrap();
    let text = place.told("status", &[]);
    assert!(text.contains(trouble) && text.contains(hint), "{text}");
    assert!(daemon.log().contains(hint), "{}", daemon.log());
    // Nobody else's word about our own zones is passed on meanwhile.
    let told = kdig(&place, &["resolver-name.arpa", "DNSKEY", "+edns"]);
    assert!(told.contains("SERVFAIL"), "{told}");
    assert!(told.contains("own zones are not signed yet"), "{told}");
    assert!(daemon.stop().success());
    fs::remove_file(&file).unwrap();
    assert!(place.run("check", &[]).status.success());
    let _daemon = place.serve();
    assert_eq!(place.status()["zones-trouble"], serde_json::Value::Null);
}

#[test]
fn a_clock_behind_the_last_publication_is_found_by_check() {
    let place = Place::new(NO_UPSTREAM);
    assert!(place.serve().stop().success());
    let mut check = Command::new(support::daemon::ZZDOT);
    check.args(["check", "--config"]).arg(place.config());
    clock::shift(&mut check, "-400d");
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    assert!(text.contains("hint: set the clock"), "{text}");
}

#[test]
fn an_identity_that_others_may_read_is_told_with_its_cure_and_the_same_code() {
    let place = Place::new(NO_UPSTREAM);
    assert!(place.serve().stop().success());
    let key = place.identity().join("tls-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for command in ["identity", "check", "serve"] {
        let output = place.run(command, &[]);
        assert_eq!(output.status.code(), Some(3), "{command}");
        let cure = format!("zzdot: hint: chmod 0600 {}", key.display());
        assert!(stderr(&output).contains(&cure), "{command}");
    }
}
