//! A program on a host: ended with its guard, its output kept.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use thiserror::Error;

/// How often a condition is looked at; it bounds how late an event is seen, not whether it is.
pub(crate) const POLL: Duration = Duration::from_millis(10);
/// A program that is asked to end gets this long.
const END_GRACE: Duration = Duration::from_secs(3);
/// Lines of output that an error shows.
const TAIL_LINES: usize = 25;

/// What can go wrong with a program.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("{name}: cannot start: {source}")]
    Start {
        /// Who.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It ended while something was expected of it.
    #[error("{name} ended ({status}) before {awaited}; it said:\n{output}")]
    Ended {
        /// Who.
        name: String,
        /// How.
        status: ExitStatus,
        /// What was awaited.
        awaited: String,
        /// Its last lines.
        output: String,
    },
    /// It did not get there in time.
    #[error("{name}: no {awaited} within {within:?}; it said:\n{output}")]
    Late {
        /// Who.
        name: String,
        /// What was awaited.
        awaited: String,
        /// How long.
        within: Duration,
        /// Its last lines.
        output: String,
    },
    /// Signal or wait failed.
    #[error("{name}: {source}")]
    Control {
        /// Who.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// A running program; dropping the guard kills it by its process id.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with both its outputs in `log`.
    pub(crate) fn start(
        name: &str,
        mut command: Command,
        log: PathBuf,
    ) -> Result<Self, ProcessError> {
        let failed = |source| ProcessError::Start {
            name: name.to_owned(),
            source,
        };
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// The process id, in the box.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had in RAM since it started or since [`Process::forget_peak`], in KiB.
    ///
    /// # Errors
    /// It is gone.
    pub fn peak_kib(&self) -> Result<u64, ProcessError> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.map_err(self.failed())?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
        kib.ok_or_else(|| self.failed()(io::Error::other("it has no memory any more")))
    }

    /// From now on another peak is measured (proc(5), `clear_refs`).
    ///
    /// # Errors
    /// It is gone.
    pub fn forget_peak(&self) -> Result<(), ProcessError> {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").map_err(self.failed())
    }

    /// Everything it has said so far.
    #[must_use]
    pub fn output(&self) -> String {
        read_lossy(&self.log)
    }

    /// Waits until it has said `text`.
    ///
    /// # Errors
    /// It ended before, or took longer than `within`.
    pub fn wait_for_line(&mut self, text: &str, within: Duration) -> Result<(), ProcessError> {
        self.wait_until(&format!("line with \"{text}\""), within, |output| {
            output.contains(text)
        })
    }

    /// Waits until `holds`, given its output so far, says yes.
    ///
    /// # Errors
    /// It ended before, or took longer than `within`.
    pub fn wait_until(
        &mut self,
        awaited: &str,
        within: Duration,
        mut holds: impl FnMut(&str) -> bool,
    ) -> Result<(), ProcessError> {
        let deadline = Instant::now() + within;
        loop {
            let ended = self.child.try_wait().map_err(self.failed())?;
            if holds(&self.output()) {
                return Ok(());
            }
            if let Some(status) = ended {
                return Err(ProcessError::Ended {
                    name: self.name.clone(),
                    status,
                    awaited: awaited.into(),
                    output: self.tail(),
                });
            }
            if Instant::now() >= deadline {
                return Err(ProcessError::Late {
                    name: self.name.clone(),
                    awaited: awaited.into(),
                    within,
                    output: self.tail(),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// It has not ended.
    ///
    /// # Errors
    /// It has; `awaited` says before what.
    pub fn check_running(&mut self, awaited: &str) -> Result<(), ProcessError> {
        match self.child.try_wait().map_err(self.failed())? {
            None => Ok(()),
            Some(status) => Err(ProcessError::Ended {
                name: self.name.clone(),
                status,
                awaited: awaited.into(),
                output: self.tail(),
            }),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        kill(self.pid(), signal).map_err(|errno| self.failed()(errno.into()))
    }

    /// Asks it to end (SIGTERM) and waits for that; a program that stays is killed, which is an error.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn end(mut self) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + END_GRACE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().map_err(self.failed())? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        Err(ProcessError::Late {
            name: self.name.clone(),
            awaited: "end after SIGTERM".into(),
            within: END_GRACE,
            output: self.tail(),
        })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(
            i32::try_from(self.child.id()).expect("process ids are positive 32 bit numbers"),
        )
    }

    fn failed(&self) -> impl Fn(io::Error) -> ProcessError + use<> {
        let name = self.name.clone();
        move |source| ProcessError::Control {
            name: name.clone(),
            source,
        }
    }

    fn tail(&self) -> String {
        tail(&self.output())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log.
#[must_use]
pub(crate) fn tail(output: &str) -> String {
    let lines: Vec<_> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..]
        .iter()
        .map(|line| format!("    {line}\n"))
        .collect()
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("sh", command, folder.join("sh.log")).unwrap()
    }

    #[test]
    fn a_program_that_ends_early_is_reported_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo port taken >&2; exit 3", folder.path());
        let error = process
            .wait_for_line("ready", Duration::from_secs(10))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("port taken"),
            "{error}"
        );
    }

    #[test]
    fn a_dropped_guard_leaves_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo ready; exec sleep 1000", folder.path());
        process
            .wait_for_line("ready", Duration::from_secs(10))
            .unwrap();
        let pid = process.pid();
        drop(process);
        assert_eq!(kill(pid, None).unwrap_err(), nix::errno::Errno::ESRCH);
    }
}
