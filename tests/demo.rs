//! `zzdot demo`, as somebody sees it who has just built it.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use support::{
    daemon::ZZDOT,
    program::{self, Running},
};

#[test]
fn the_demo_shows_the_walk_and_a_first_private_answer() {
    let output = Command::new(ZZDOT)
        .args(["demo", "--once", "--offline"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{messages}");
    assert_eq!(messages, "", "nothing is worth a message");
    for expected in [
        "names itself ",
        "trust anchor taken on first use",
        "proved the key of TLSA 3 1 1",
        "upgraded: DNS over TLS to ",
        "hello.example. 60 IN A 192.0.2.1",
        "1 over TLS, 0 in cleartext",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing: {text}");
    }
}

#[test]
fn the_command_line_that_the_demo_prints_works_while_it_stays_up() {
    let child = Command::new(ZZDOT)
        .args(["demo", "--offline"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut next = |wanted: &str| {
        lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.trim_start().starts_with(wanted))
            .unwrap_or_else(|| panic!("{wanted:?} never came"))
    };
    let line = next("dig ");
    next("Ctrl-C");
    let mut words = line.split_whitespace();
    let dig = program::find(words.next().unwrap(), "bind9-dnsutils");
    let output = program::run(Command::new(dig).args(words));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("192.0.2.1"), "{text}");
    kill(Pid::from_raw(running.0.id() as i32), Signal::SIGINT).unwrap();
    let summary = next("2 over TLS");
    assert!(summary.contains("0 in cleartext"), "{summary}");
    assert!(running.0.wait().unwrap().success());
}
