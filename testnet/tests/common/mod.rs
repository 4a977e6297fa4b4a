//! How a test plays a story or a case: through the command line, so that it enters its box before any thread starts.

use std::process::Command;

/// Plays `name` by this command, `run` for a story; its words and the logs of its programs are the test's output.
pub(crate) fn play(command: &str, name: &str) {
    let status = Command::new(env!("CARGO_BIN_EXE_zzdot-testnet"))
        .args([command, name])
        .status()
        .expect("the binary of this package is built with its tests");
    assert!(
        status.success(),
        "{command} '{name}' ended with {status}; what it said is above"
    );
}
