//! From the start of a program to its first right answer.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::Failure;
use crate::process::Process;

/// Whoever has not answered by then is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often somebody knocks where nobody is yet. It bounds how late an answer is seen.
const KNOCK: Duration = Duration::from_micros(200);
/// When a question that got no answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// When one that got a failure for an answer is.
const AFTER_FAILURE: Duration = Duration::from_millis(5);

/// `n1.bench.example A`, recursion desired.
const QUERY: &[u8] =
    b"\x5a\x5a\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02n1\x05bench\x07example\x00\x00\x01\x00\x01";

/// What came of a start.
pub(super) struct Arrival {
    pub(super) process: Process,
    /// Until the first right answer.
    pub(super) after: Duration,
    /// Answers before it that were failures.
    pub(super) failures: u32,
}

/// Starts a program where this thread is, and asks it until it answers.
pub(super) fn arrive(
    name: &str,
    command: Command,
    log: &Path,
    address: SocketAddr,
) -> Result<Arrival, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(address)?;
    let started = Instant::now();
    let mut arrival = Arrival {
        process: Process::start(name, command, log.to_owned())?,
        after: Duration::ZERO,
        failures: 0,
    };
    let mut answer = [0; 4096];
    loop {
        if started.elapsed() > PATIENCE {
            return Err(Failure::new(format!(
                "{name}: no right answer within {PATIENCE:?}; it said:\n{}",
                crate::process::tail(&arrival.process.output())
            )));
        }
        socket.set_read_timeout(Some(ASK_AGAIN))?;
        match socket.send(QUERY).and_then(|_| socket.recv(&mut answer)) {
            Ok(length) if is_right(&answer[..length]) => {
                arrival.after = started.elapsed();
                return Ok(arrival);
            }
            Ok(_) => {
                arrival.failures += 1;
                thread::sleep(AFTER_FAILURE);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                arrival.process.check_running("an answer")?;
                thread::sleep(KNOCK);
            }
            Err(_) => arrival.process.check_running("an answer")?,
        }
    }
}

/// A response to our question, without an error and with a record.
fn is_right(answer: &[u8]) -> bool {
    let (Some(head), Some(question)) = (answer.get(..12), answer.get(12..QUERY.len())) else {
        return false;
    };
    let no_error = head[2] & 0x80 != 0 && head[3] & 0x0f == 0;
    head[..2] == QUERY[..2] && no_error && head[6..8] != [0, 0] && question == &QUERY[12..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(flags: [u8; 2], answers: u8) -> Vec<u8> {
        let mut message = QUERY.to_vec();
        message[2..4].copy_from_slice(&flags);
        message[7] = answers;
        message
    }

    #[test]
    fn a_failure_an_empty_answer_and_an_echo_are_not_right() {
        assert!(is_right(&answer([0x81, 0x80], 1)));
        assert!(!is_right(&answer([0x81, 0x82], 1)));
        assert!(!is_right(&answer([0x81, 0x80], 0)));
        assert!(!is_right(&answer([0x01, 0x00], 1)));
        assert!(!is_right(&answer([0x81, 0x80], 1)[..20]));
    }
}
