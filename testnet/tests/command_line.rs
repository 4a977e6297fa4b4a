//! The command line of the lab.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn testnet(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zzdot-testnet"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn list_names_every_story_with_one_sentence_on_standard_output() {
    let output = testnet(&["list"]);
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let stories: Vec<_> = zzdot_testnet::story::STORIES
        .iter()
        .map(|story| story.name)
        .collect();
    assert_eq!(names, stories);
}

#[test]
fn an_unknown_story_is_refused_with_the_names_of_those_that_there_are() {
    let output = testnet(&["run", "no-such-story"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("no story named 'no-such-story'") && said.contains("hint: one of: legacy"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}
