//! The modes `recursive` and `local` of the real binary, in a small signed internet.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use support::{daemon::Place, internet::Internet, program};

fn kdig(place: &Place, arguments: &[&str]) -> String {
    let output = program::run(
        Command::new(program::find("kdig", "knot-dnsutils"))
            .arg(format!("@{}", place.address))
            .args(["-p", "8530", "+tls", "+timeout=15"])
            .args(arguments),
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What both modes have to say about the small internet.
fn check(place: &Place) {
    let text = kdig(place, &["www.signed.test", "A", "+dnssec"]);
    assert!(
        text.contains("192.0.2.1") && text.contains("RRSIG"),
        "{text}"
    );
    assert!(text.contains("qr rd ra ad"), "validated: {text}");
    let text = kdig(place, &["www.unsigned.test", "A", "+dnssec"]);
    assert!(
        text.contains("192.0.2.2") && !text.contains(" ad;"),
        "{text}"
    );
    let text = kdig(place, &["www.bogus.test", "A"]);
    assert!(
        text.contains("SERVFAIL") && !text.contains("192.0.2.66"),
        "{text}"
    );
    let text = kdig(place, &["www.bogus.test", "A", "+cdflag"]);
    assert!(
        text.contains("192.0.2.66"),
        "who checks for himself: {text}"
    );
    let text = kdig(place, &["nothing.signed.test", "A", "+dnssec"]);
    assert!(text.contains("NXDOMAIN") && text.contains("NSEC"), "{text}");
}

#[test]
fn recursive_mode_resolves_the_whole_internet_over_tls() {
    let internet = Internet::start();
    let place = Place::new(&format!(
        "[resolve]\nmode = \"recursive\"\nroot-hints = {:?}\ntrust-anchor = {:?}\n\
         allow-private-nameservers = true\n",
        internet.hints, internet.anchor
    ));
    let _daemon = place.serve();
    check(&place);
    let text = kdig(&place, &["www.expired.test", "A", "+edns"]);
    assert!(text.contains("SERVFAIL") && text.contains("EDE"), "{text}");
    let status = place.status();
    assert_eq!(status["server-type"], "resolver");
    assert_eq!(status["resolve"]["mode"], "recursive");
    assert!(status["resolve"]["bogus"].as_u64() > Some(0));
}

#[test]
fn local_mode_leaves_the_resolver_on_this_machine_as_it_is() {
    let internet = Internet::start();
    let place = Place::new(&format!(
        "[resolve]\nmode = \"local\"\nupstreams = [\"{}\"]\nserver-type = \"resolver\"\n",
        internet.unbound
    ));
    let _daemon = place.serve();
    check(&place);
    let status = place.status();
    assert_eq!(status["server-type"], "resolver");
    assert_eq!(status["resolve"]["mode"], "local");
}
