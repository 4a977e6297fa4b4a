//! How `zzdot` starts, or does not: exit code, message, hint.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, net::UdpSocket, os::unix::fs::PermissionsExt, process::Command};

use support::daemon::Place;

/// Nobody listens there, so it is soon known.
const NO_UPSTREAM: &str = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n";

#[test]
fn a_second_start_keeps_the_identity_and_raises_the_serial() {
    let place = Place::new(NO_UPSTREAM);
    let first = place.serve();
    let before = place.status();
    assert!(first.stop().success());
    let files = snapshot(&place);
    let second = place.serve();
    let after = place.status();
    assert_eq!(before["name"], after["name"]);
    assert!(after["zones"]["serial"].as_u64() > before["zones"]["serial"].as_u64());
    assert!(second.stop().success());
    assert_eq!(files, snapshot(&place));
}

/// Every file of the identity but the one that counts publications.
fn snapshot(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(place.identity())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != "publication.state")
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_damaged_identity_is_refused_by_name_and_nothing_is_put_in_its_place() {
    let place = Place::new(NO_UPSTREAM);
    assert!(place.serve().stop().success());
    let whole = snapshot(&place);
    for (file, contents) in &whole {
        let path = place.identity().join(file);
        let refused = |what: &str| {
            let (code, text) = place.refused();
            assert_eq!(code, 3, "{what} {file}: {text}");
            assert!(text.contains(file.as_str()), "{what} {file}: {text}");
            let check = place.run("check", &[]);
            assert_eq!(check.status.code(), Some(3), "{what} {file}");
        };
        // The private half of the stand-by key may be kept off the machine. Without the state of roll-overs the identity
        // is one of a version that knew none, as long as there are no keys that only the state explains.
        if file != "anchor-standby.pem" && file != "rollover.state" {
            fs::remove_file(&path).unwrap();
            refused("missing");
            assert!(!path.exists());
        }
        write_private(&path, b"");
        refused("empty");
        write_private(&path, &contents[..contents.len() / 2]);
        refused("cut off");
        write_private(&path, contents);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        if is_secret(contents) {
            refused("readable by all");
        }
        write_private(&path, contents);
    }
    // Parts of two identities do not make one.
    let stranger = Place::new(NO_UPSTREAM);
    assert!(stranger.serve().stop().success());
    for (file, contents) in &whole {
        let path = place.identity().join(file);
        write_private(&path, &fs::read(stranger.identity().join(file)).unwrap());
        let (code, text) = place.refused();
        assert_eq!(code, 3, "another's {file}: {text}");
        write_private(&path, contents);
    }
    assert!(place.serve().stop().success(), "whole again");
}

fn is_secret(contents: &[u8]) -> bool {
    String::from_utf8_lossy(contents).contains("PRIVATE KEY")
}

fn write_private(path: &std::path::Path, contents: &[u8]) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_cannot_be_served_is_told_with_a_hint() {
    let place = Place::new(NO_UPSTREAM);
    let taken = UdpSocket::bind(format!("{}:5300", place.address)).unwrap();
    let (code, text) = place.refused();
    assert_eq!(code, 3);
    assert!(
        text.contains("5300") && text.contains("zzdot: hint: "),
        "{text}"
    );
    let check = place.run("check", &[]);
    assert_eq!(check.status.code(), Some(3));
    drop(taken);
    place.write("[listen]\ndns = [\"203.0.113.1:5300\"]\ndot = [\"203.0.113.1:8530\"]\n");
    let output = place
        .command("serve")
        .arg("--state-dir")
        .arg(place.state())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("hint: this host does not have that address"),
        "{text}"
    );
}

#[test]
fn a_bad_configuration_ends_with_two_and_says_where() {
    let place = Place::new("[resolve]\nmode = \"magic\"\n");
    for subcommand in ["serve", "check", "identity", "status"] {
        let output = place.run(subcommand, &[]);
        assert_eq!(output.status.code(), Some(2), "{subcommand}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            text,
            format!(
                "zzdot: {}:7: resolve.mode: unknown variant `magic`, expected one of `forward`, \
                 `recursive`, `local`\n",
                place.config().display()
            )
        );
    }
    place.configure("[resolve]\nmode = \"recursive\"\nroot-hints = \"/nowhere/root.hints\"\n");
    let (code, text) = place.refused();
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("/nowhere/root.hints"), "{text}");
    let usage = Command::new(support::daemon::ZZDOT)
        .arg("--nonsense")
        .output()
        .unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn check_changes_nothing_and_says_what_would_be_done() {
    let place = Place::new(NO_UPSTREAM);
    let text = place.told("check", &[]);
    assert!(
        text.contains("none yet; the first start makes one"),
        "{text}"
    );
    assert!(
        text.contains("resolve     forward, from 127.0.0.1:9\n"),
        "{text}"
    );
    assert!(!place.state().exists(), "nothing was made");
    let daemon = place.serve();
    let text = place.told("check", &[]);
    assert!(text.contains("running     yes"), "{text}");
    assert!(daemon.stop().success());
}

#[test]
fn two_daemons_do_not_share_a_folder() {
    let place = Place::new(NO_UPSTREAM);
    let _daemon = place.serve();
    let (code, text) = place.refused();
    assert_eq!(code, 3);
    assert!(text.contains("another daemon"), "{text}");
}

#[test]
fn every_start_that_fails_says_what_helps() {
    let place = Place::new(NO_UPSTREAM);
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let address = &place.address;
    let listen = format!("[listen]\ndns = [\"{address}:5300\"]\ndot = [\"{address}:8530\"]\n");
    for (what, text) in [
        (
            "a state folder below a file",
            format!("state-dir = \"{}/x\"\n{listen}", file.display()),
        ),
        (
            "a control socket below a file",
            format!(
                "state-dir = {:?}\ncontrol-socket = \"{}/x/s\"\n{listen}",
                place.state(),
                file.display()
            ),
        ),
    ] {
        place.write(&text);
        let (code, text) = place.refused();
        assert_eq!(code, 3, "{what}: {text}");
        assert!(
            text.contains("zzdot: hint: name another folder"),
            "{what}: {text}"
        );
        assert!(text.contains(&*file.to_string_lossy()), "{what}: {text}");
    }
    // What is to be logged is a thing to be right about, too.
    place.configure(NO_UPSTREAM);
    let output = place
        .command("check")
        .env("ZZDOT_LOG", "no=such=level")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("zzdot: ZZDOT_LOG: \"no=such=level\": "),
        "{text}"
    );
}
