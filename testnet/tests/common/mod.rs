//! How a test plays a story: through the command line, so that it enters its box before any thread starts.

use std::process::Command;

/// Plays a story; its words and the logs of its programs are the test's output.
pub(crate) fn play(story: &str) {
    let status = Command::new(env!("CARGO_BIN_EXE_zzdot-testnet"))
        .args(["run", story])
        .status()
        .expect("the binary of this package is built with its tests");
    assert!(
        status.success(),
        "the story '{story}' ended with {status}; what it said is above"
    );
}
