//! Stops a program at each of its system calls (ptrace(2)), and has one of them fail.

use std::{
    collections::HashMap,
    io::Read,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace,
        signal::{self, Signal},
    },
    unistd::Pid,
};

use super::{Call, Fault, Kind, LIMIT, Outcome, TraceError, Traced, calls};
use crate::tracing::{NO_CALL, Watch, alive, call, follow, launcher};

pub(super) fn run(traced: &Traced, fault: Option<Fault>) -> Result<Outcome, TraceError> {
    let mut child = start(traced)?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let readers = [
        read(child.stdout.take(), pid, traced.stop_at.clone()),
        read(child.stderr.take(), pid, traced.stop_at.clone()),
    ];
    let mut session = Session {
        traced,
        fault,
        pid,
        eligible: 0,
        calls: Vec::new(),
        hit: None,
        pending: HashMap::new(),
    };
    let watchdog = Watchdog::start(pid);
    let end = follow(&mut child, &mut session);
    let stuck = watchdog.stop();
    if end.is_err() {
        // It is traced no longer, or not in a way that is understood: it must not stay.
        let _ = child.kill();
    }
    let [stdout, stderr] = readers.map(|reader| reader.join().unwrap_or_default());
    let end = end?;
    if stuck {
        return Err(TraceError::Stuck {
            program: traced.program.clone(),
            fault,
            hit: session.hit.map(Box::new),
            stderr,
        });
    }
    Ok(Outcome {
        end,
        stdout,
        stderr,
        calls: session.calls,
        hit: session.hit,
    })
}

fn start(traced: &Traced) -> Result<Child, TraceError> {
    launcher(&traced.program)
        .args(&traced.arguments)
        // The database library panics at what a fault leaves behind. Each of these calls stops the program twice, and
        // writing down where it was panicking takes thousands of calls; so does memory that grows by pages.
        .env("RUST_BACKTRACE", "0")
        .env("MALLOC_ARENA_MAX", "1")
        .envs(traced.environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| TraceError::Start {
            program: traced.program.clone(),
            source,
        })
}

/// One program under observation.
struct Session<'a> {
    traced: &'a Traced,
    fault: Option<Fault>,
    pid: Pid,
    /// How many calls the fault could have happened to so far.
    eligible: usize,
    calls: Vec<Call>,
    hit: Option<Call>,
    /// What is to be done when a thread's call returns.
    pending: HashMap<Pid, Pending>,
}

#[derive(Clone, Copy)]
enum Pending {
    Fail(Errno),
    Kill,
}

impl Watch for Session<'_> {
    fn before_call(&mut self, tid: Pid) -> Result<(), Errno> {
        let Some(mut registers) = alive(ptrace::getregs(tid))? else {
            return Ok(());
        };
        let (number, arguments) = call(&registers);
        let Some(call) = calls::decode(tid, number, arguments, &self.traced.folder) else {
            return Ok(());
        };
        self.calls.push(call.clone());
        let Some(kind) = self.strikes(&call) else {
            return Ok(());
        };
        self.hit.get_or_insert(call);
        match (kind, kind.errno()) {
            (_, Some(errno)) => {
                registers.orig_rax = NO_CALL;
                self.pending.insert(tid, Pending::Fail(errno));
            }
            (Kind::Torn, None) => {
                registers.rdx /= 2;
                self.pending.insert(tid, Pending::Kill);
            }
            (_, None) => {
                registers.orig_rax = NO_CALL;
                self.kill()?;
            }
        }
        alive(ptrace::setregs(tid, registers)).map(drop)
    }

    fn after_call(&mut self, tid: Pid) -> Result<(), Errno> {
        match self.pending.remove(&tid) {
            None => Ok(()),
            Some(Pending::Kill) => self.kill(),
            Some(Pending::Fail(errno)) => {
                let Some(mut registers) = alive(ptrace::getregs(tid))? else {
                    return Ok(());
                };
                registers.rax = (-i64::from(errno as i32)).cast_unsigned();
                alive(ptrace::setregs(tid, registers)).map(drop)
            }
        }
    }
}

impl Session<'_> {
    /// Whether the fault happens to `call`.
    fn strikes(&mut self, call: &Call) -> Option<Kind> {
        let fault = self.fault?;
        if !fault.kind.concerns(call) {
            return None;
        }
        let index = self.eligible;
        self.eligible += 1;
        let strikes = index == fault.after || (index > fault.after && fault.kind.lasts());
        strikes.then_some(fault.kind)
    }

    fn kill(&self) -> Result<(), Errno> {
        alive(signal::kill(self.pid, Signal::SIGKILL)).map(drop)
    }
}

/// Reads what a program says, and ends it once that contains `stop_at`.
fn read(
    source: Option<impl Read + Send + 'static>,
    pid: Pid,
    stop_at: Option<String>,
) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut said = Vec::new();
        let mut stop_at = stop_at;
        let mut buffer = [0; 4096];
        let Some(mut source) = source else {
            return String::new();
        };
        while let Ok(octets @ 1..) = source.read(&mut buffer) {
            said.extend_from_slice(&buffer[..octets]);
            let text = String::from_utf8_lossy(&said);
            if stop_at.as_ref().is_some_and(|stop| text.contains(stop)) {
                stop_at = None;
                // It may have ended meanwhile.
                let _ = signal::kill(pid, Signal::SIGTERM);
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// Kills a program that does not end.
struct Watchdog {
    done: mpsc::Sender<()>,
    barked: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    fn start(pid: Pid) -> Self {
        let (done, waiting) = mpsc::channel();
        let barked = Arc::new(AtomicBool::new(false));
        let bark = Arc::clone(&barked);
        let thread = thread::spawn(move || {
            if waiting.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                bark.store(true, Ordering::SeqCst);
                let _ = signal::kill(pid, Signal::SIGKILL);
            }
        });
        Self {
            done,
            barked,
            thread,
        }
    }

    /// Whether it had to.
    fn stop(self) -> bool {
        drop(self.done);
        let _ = self.thread.join();
        self.barked.load(Ordering::SeqCst)
    }
}
